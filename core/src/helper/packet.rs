//! Helpers that move the borders of the packet or copy its bytes, with Linux 6.18's bounds
//! (`net/core/filter.c`); the limits were measured there.

use crate::abi::{Fragment, Frame, HEADROOM_BYTES, LINEAR_MAX};
use crate::map::Errno;

/// `ETH_HLEN`: no helper makes the packet shorter.
const SHORTEST: i64 = 14;
/// `sizeof(struct xdp_frame)`, which Linux keeps at the start of the headroom.
const XDP_FRAME_BYTES: i64 = 40;
/// Metadata at most: its length must fit a byte and be a multiple of four.
const METADATA_MAX: i64 = 252;
/// End of the linear memory that a packet may use.
const HARD_END: i64 = (HEADROOM_BYTES + LINEAR_MAX) as i64;
/// Offsets and lengths of `xdp_load_bytes` and `xdp_store_bytes` at most.
const COPY_MAX: u32 = 0xffff;

/// `bpf_xdp_adjust_head`: moves the start of the packet, and the metadata along with it.
pub fn adjust_head(frame: &mut Frame, delta: i32) -> Result<(), Errno> {
    let (meta, data, end) = (frame.data_meta(), frame.data(), frame.data_end());
    let metadata_len = data - meta;
    let moved = data as i64 + i64::from(delta);
    if moved < XDP_FRAME_BYTES + metadata_len as i64 || moved > end as i64 - SHORTEST {
        return Err(Errno::EINVAL);
    }
    let moved = moved as usize;
    frame
        .memory_mut()
        .copy_within(meta..data, moved - metadata_len);
    frame.set_bounds(moved - metadata_len, moved, end);
    Ok(())
}

/// `bpf_xdp_adjust_meta`: moves the start of the metadata.
pub fn adjust_meta(frame: &mut Frame, delta: i32) -> Result<(), Errno> {
    let (data, end) = (frame.data(), frame.data_end());
    let meta = frame.data_meta() as i64 + i64::from(delta);
    if meta < XDP_FRAME_BYTES || meta > data as i64 {
        return Err(Errno::EINVAL);
    }
    let len = data as i64 - meta;
    if len % 4 != 0 || len > METADATA_MAX {
        return Err(Errno::EACCES);
    }
    frame.set_bounds(meta as usize, data, end);
    Ok(())
}

/// `bpf_xdp_adjust_tail`: moves the end of the packet. New bytes are zero.
pub fn adjust_tail(frame: &mut Frame, delta: i32) -> Result<(), Errno> {
    let delta = i64::from(delta);
    if !frame.fragments().is_empty() {
        return if delta >= 0 {
            // Only drivers that tell how long their fragments may become let them grow; veth, and
            // with it test-run, does not (`bpf_xdp_frags_increase_tail`).
            Err(Errno::EOPNOTSUPP)
        } else {
            shrink_fragments(frame, -delta)
        };
    }
    let (data, old_end) = (frame.data(), frame.data_end());
    let end = old_end as i64 + delta;
    if end > HARD_END || end < data as i64 + SHORTEST {
        return Err(Errno::EINVAL);
    }
    let end = end as usize;
    if end > old_end {
        frame.memory_mut()[old_end..end].fill(0);
    }
    frame.set_bounds(frame.data_meta(), data, end);
    Ok(())
}

/// Cuts from the back; what the fragments do not hold comes off the linear part.
fn shrink_fragments(frame: &mut Frame, less: i64) -> Result<(), Errno> {
    if less > frame.len() as i64 - SHORTEST {
        return Err(Errno::EINVAL);
    }
    let mut less = less as usize;
    while less > 0 {
        let Some(last) = frame.fragments_mut().last_mut() else {
            let end = frame.data_end() - less;
            frame.set_bounds(frame.data_meta(), frame.data(), end);
            break;
        };
        let len = last.bytes().len();
        if less < len {
            last.set_len(len - less);
            break;
        }
        less -= len;
        frame.fragments_mut().pop();
    }
    Ok(())
}

/// `bpf_xdp_load_bytes`: copies packet bytes out, across fragments. On an error `into` is left as
/// it is.
pub fn load_bytes(frame: &Frame, offset: u32, into: &mut [u8]) -> Result<(), Errno> {
    check_copy(frame, offset, into.len())?;
    copy_out(frame, offset as usize, into);
    Ok(())
}

/// Copies bytes out of the packet, across fragments, as far as there are any.
pub(super) fn copy_out(frame: &Frame, offset: usize, into: &mut [u8]) {
    let fragments = frame.fragments().iter().map(Fragment::bytes);
    let parts = std::iter::once(frame.linear()).chain(fragments);
    let mut skip = offset;
    let mut done = 0;
    for part in parts {
        let from = &part[skip.min(part.len())..];
        skip -= skip.min(part.len());
        let len = from.len().min(into.len() - done);
        into[done..done + len].copy_from_slice(&from[..len]);
        done += len;
    }
}

/// `bpf_xdp_store_bytes`: copies bytes into the packet, across fragments.
pub fn store_bytes(frame: &mut Frame, offset: u32, from: &[u8]) -> Result<(), Errno> {
    check_copy(frame, offset, from.len())?;
    copy_in(frame, offset as usize, from);
    Ok(())
}

/// Copies bytes into the packet, across fragments, as far as there is room.
pub(super) fn copy_in(frame: &mut Frame, offset: usize, from: &[u8]) {
    let mut skip = offset;
    let mut rest = from;
    let (data, end) = (frame.data(), frame.data_end());
    copy_part(&mut frame.memory_mut()[data..end], &mut skip, &mut rest);
    for part in frame.fragments_mut() {
        copy_part(part.bytes_mut(), &mut skip, &mut rest);
    }
}

/// Copies as much of `rest` into one part of the packet as falls there.
fn copy_part(part: &mut [u8], skip: &mut usize, rest: &mut &[u8]) {
    let start = (*skip).min(part.len());
    *skip -= start;
    let len = rest.len().min(part.len() - start);
    let (now, later) = rest.split_at(len);
    part[start..start + len].copy_from_slice(now);
    *rest = later;
}

fn check_copy(frame: &Frame, offset: u32, len: usize) -> Result<(), Errno> {
    if offset > COPY_MAX || len > COPY_MAX as usize {
        return Err(Errno::EFAULT);
    }
    if offset as usize + len > frame.len() {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        let mut frame = Frame::new();
        let packet: Vec<u8> = (0..len).map(|index| (index % 251) as u8 + 1).collect();
        frame.set_packet(&packet).unwrap();
        frame
    }

    #[test]
    fn adjust_head_keeps_room_for_a_header_and_the_kernels_own() {
        for (delta, result) in [
            (-216, Ok(())),
            (-217, Err(Errno::EINVAL)),
            (50, Ok(())),
            (51, Err(Errno::EINVAL)),
            (i32::MIN, Err(Errno::EINVAL)),
            (i32::MAX, Err(Errno::EINVAL)),
        ] {
            assert_eq!(adjust_head(&mut frame(64), delta), result, "{delta}");
        }
    }

    #[test]
    fn metadata_moves_with_the_head() {
        let mut frame = frame(64);
        adjust_meta(&mut frame, -8).unwrap();
        let (meta, data) = (frame.data_meta(), frame.data());
        frame.memory_mut()[meta..data].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(adjust_head(&mut frame, -209), Err(Errno::EINVAL));
        adjust_head(&mut frame, -20).unwrap();
        assert_eq!(frame.metadata(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(frame.len(), 84);
        adjust_head(&mut frame, 3).unwrap();
        assert_eq!(frame.metadata(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn adjust_meta_wants_multiples_of_four_up_to_252() {
        for (head, delta, result) in [
            (0, -216, Ok(())),
            (0, -220, Err(Errno::EINVAL)),
            (0, -3, Err(Errno::EACCES)),
            (0, 4, Err(Errno::EINVAL)),
            (200, -252, Ok(())),
            (200, -256, Err(Errno::EACCES)),
        ] {
            let mut frame = frame(300);
            adjust_head(&mut frame, head).unwrap();
            assert_eq!(adjust_meta(&mut frame, delta), result, "{head} {delta}");
        }
    }

    #[test]
    fn adjust_tail_grows_with_zeros_to_the_end_of_the_linear_part() {
        for (delta, result) in [
            (3456, Ok(())),
            (3457, Err(Errno::EINVAL)),
            (-50, Ok(())),
            (-51, Err(Errno::EINVAL)),
            (i32::MIN, Err(Errno::EINVAL)),
        ] {
            assert_eq!(adjust_tail(&mut frame(64), delta), result, "{delta}");
        }
        let mut frame = frame(64);
        adjust_tail(&mut frame, -10).unwrap();
        adjust_tail(&mut frame, 10).unwrap();
        assert_eq!(frame.linear()[54..], [0; 10]);
    }

    #[test]
    fn adjust_tail_of_fragments() {
        for (len, delta, result) in [
            (3521, 4095, Err(Errno::EOPNOTSUPP)),
            (3521, 4096, Err(Errno::EOPNOTSUPP)),
            (8000, 4095, Err(Errno::EOPNOTSUPP)),
            (8000, 1, Err(Errno::EOPNOTSUPP)),
            (8000, -5000, Ok(3000)),
            (8000, -7986, Ok(14)),
            (8000, -7987, Err(Errno::EINVAL)),
            (9000, -1, Ok(8999)),
            (9000, i32::MIN, Err(Errno::EINVAL)),
        ] {
            let mut frame = frame(len);
            let outcome = adjust_tail(&mut frame, delta).map(|()| frame.len());
            assert_eq!(outcome, result, "{len} {delta}");
        }
    }

    #[test]
    fn bytes_are_copied_across_fragments() {
        let mut frame = frame(9000);
        let whole = frame.packet();
        let mut bytes = [0; 4200];
        load_bytes(&frame, 3518, &mut bytes).unwrap();
        assert_eq!(bytes, whole[3518..7718]);
        store_bytes(&mut frame, 3518, &[0xee; 4200]).unwrap();
        let mut expected = whole;
        expected[3518..7718].fill(0xee);
        assert_eq!(frame.packet(), expected);
    }

    #[test]
    fn copies_beyond_the_packet_are_refused() {
        let mut bytes = [7; 4];
        for (offset, error) in [
            (8997, Errno::EINVAL),
            (0xffff, Errno::EINVAL),
            (0x1_0000, Errno::EFAULT),
            (u32::MAX, Errno::EFAULT),
        ] {
            let mut frame = frame(9000);
            assert_eq!(load_bytes(&frame, offset, &mut bytes), Err(error));
            assert_eq!(store_bytes(&mut frame, offset, &bytes), Err(error));
        }
        assert_eq!(bytes, [7; 4]);
    }
}
