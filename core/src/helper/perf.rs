//! `bpf_perf_event_output`: whether an event goes out, and how much of the packet goes with it.

use crate::abi::{Frame, QueueId};
use crate::map::{Errno, Map};

/// `BPF_F_INDEX_MASK`, and all of it, `BPF_F_CURRENT_CPU`.
const INDEX_MASK: u64 = 0xffff_ffff;
/// `BPF_F_CTXLEN_MASK`
const PACKET_LEN_MASK: u64 = 0xf_ffff << 32;

/// The packet bytes that follow the program's own in the event. User space has put an event into
/// the array for each of the `queues` queues, and an event takes only what its own CPU sends.
pub fn perf_event_packet(
    map: &Map,
    frame: &Frame,
    queue: QueueId,
    flags: u64,
) -> Result<Vec<u8>, Errno> {
    if flags & !(INDEX_MASK | PACKET_LEN_MASK) != 0 {
        return Err(Errno::EINVAL);
    }
    let len = (flags >> 32) as usize;
    if len > frame.len() {
        return Err(Errno::EFAULT);
    }
    let index = match flags & INDEX_MASK {
        INDEX_MASK => queue.0,
        index => index as u32,
    };
    if index >= map.spec().max_entries {
        return Err(Errno::E2BIG);
    }
    if index >= map.queues() {
        return Err(Errno::ENOENT);
    }
    if index != queue.0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut packet = frame.packet();
    packet.truncate(len);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{MapSpec, MapType};

    #[test]
    fn errors_come_in_the_kernels_order() {
        let map = Map::create(&MapSpec::new("e", MapType::PerfEventArray, 4, 4, 3), 2).unwrap();
        let mut frame = Frame::new();
        frame.set_packet(&[7; 20]).unwrap();
        let output = |flags| perf_event_packet(&map, &frame, QueueId(1), flags);
        assert_eq!(output(INDEX_MASK), Ok(Vec::new()));
        assert_eq!(output(1 | 20 << 32), Ok(vec![7; 20]));
        assert_eq!(output(1 | 21 << 32), Err(Errno::EFAULT));
        assert_eq!(output(1 << 52), Err(Errno::EINVAL));
        assert_eq!(output(0), Err(Errno::EOPNOTSUPP));
        assert_eq!(output(2), Err(Errno::ENOENT));
        assert_eq!(output(3), Err(Errno::E2BIG));
    }
}
