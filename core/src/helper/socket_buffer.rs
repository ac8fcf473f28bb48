//! Helpers of programs with a socket buffer, with Linux 6.18's bounds (`net/core/filter.c`): bytes,
//! checksums, the flow hash. Packets are neither shared nor checksummed by hardware here.

use crate::abi::{Frame, PacketKind, SocketBuffer};
use crate::map::Errno;

use super::checksum::{add, fold};
use super::packet::{copy_in, copy_out};

/// `ETH_HLEN`: where the network header is.
pub const NETWORK_HEADER: usize = 14;
/// `BPF_F_RECOMPUTE_CSUM` and `BPF_F_INVALIDATE_HASH`.
const RECOMPUTE_CSUM: u64 = 1;
const INVALIDATE_HASH: u64 = 1 << 1;
/// `BPF_F_HDR_FIELD_MASK`: how wide the field is that changed; 0 for a difference.
const FIELD_MASK: u64 = 0xf;
/// `BPF_F_PSEUDO_HDR`, `BPF_F_MARK_MANGLED_0`, `BPF_F_MARK_ENFORCE` and `BPF_F_IPV6`.
const PSEUDO_HEADER: u64 = 1 << 4;
const MARK_MANGLED_0: u64 = 1 << 5;
const MARK_ENFORCE: u64 = 1 << 6;
const IPV6: u64 = 1 << 7;
/// Offsets of checksums and of relative loads at most.
const OFFSET_MAX: u32 = 0xffff;

/// `bpf_skb_load_bytes` from `start`, where the program's type sees the packet begin. On an error
/// `into` is zeroed.
pub fn skb_load_bytes(
    frame: &Frame,
    start: usize,
    offset: u32,
    into: &mut [u8],
) -> Result<(), Errno> {
    let from = start + offset as usize;
    if offset > i32::MAX as u32 || from + into.len() > frame.len() {
        into.fill(0);
        return Err(Errno::EFAULT);
    }
    copy_out(frame, from, into);
    Ok(())
}

/// `bpf_skb_load_bytes_relative`: from the start of the Ethernet header (0) or of the network header
/// (1), in the linear part only.
pub fn skb_load_bytes_relative(
    frame: &Frame,
    offset: u32,
    into: &mut [u8],
    header: u32,
) -> Result<(), Errno> {
    let start = match header {
        0 => Some(0),
        1 => Some(NETWORK_HEADER),
        _ => None,
    };
    let from = start.filter(|_| offset <= OFFSET_MAX);
    let from = from.map(|start| start + offset as usize);
    let part = from.and_then(|from| frame.linear().get(from..from + into.len()));
    let Some(part) = part else {
        into.fill(0);
        return Err(Errno::EFAULT);
    };
    into.copy_from_slice(part);
    Ok(())
}

/// `bpf_skb_store_bytes`.
pub fn skb_store_bytes(
    frame: &mut Frame,
    offset: u32,
    from: &[u8],
    flags: u64,
) -> Result<(), Errno> {
    if flags & !(RECOMPUTE_CSUM | INVALIDATE_HASH) != 0 {
        return Err(Errno::EINVAL);
    }
    if offset > i32::MAX as u32 || offset as usize + from.len() > frame.len() {
        return Err(Errno::EFAULT);
    }
    copy_in(frame, offset as usize, from);
    if flags & INVALIDATE_HASH != 0 {
        frame.socket_buffer.hash = 0;
    }
    Ok(())
}

/// `bpf_l3_csum_replace`: a field of the IPv4 header changed from `from` to `to`.
pub fn l3_csum_replace(
    frame: &mut Frame,
    offset: u32,
    from: u64,
    to: u64,
    flags: u64,
) -> Result<(), Errno> {
    if flags & !FIELD_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    let sum = checksum(frame, offset)?;
    let sum = match flags & FIELD_MASK {
        0 if from == 0 => replace_by_difference(sum, to as u32),
        2 => replace_half(sum, from as u16, to as u16),
        4 => replace_word(sum, from as u32, to as u32),
        _ => return Err(Errno::EINVAL),
    };
    copy_in(frame, offset as usize, &sum.to_le_bytes());
    Ok(())
}

/// `bpf_l4_csum_replace`: the same for TCP, UDP and their kin, where a checksum of 0 may mean none.
pub fn l4_csum_replace(
    frame: &mut Frame,
    offset: u32,
    from: u64,
    to: u64,
    flags: u64,
) -> Result<(), Errno> {
    if flags & !(FIELD_MASK | PSEUDO_HEADER | MARK_MANGLED_0 | MARK_ENFORCE | IPV6) != 0 {
        return Err(Errno::EINVAL);
    }
    let old = checksum(frame, offset)?;
    let may_be_none = flags & MARK_MANGLED_0 != 0;
    if may_be_none && flags & MARK_ENFORCE == 0 && old == 0 {
        return Ok(());
    }
    let sum = match flags & FIELD_MASK {
        0 if from == 0 => replace_by_difference(old, to as u32),
        2 => replace_word(old, u32::from(from as u16), u32::from(to as u16)),
        4 => replace_word(old, from as u32, to as u32),
        _ => return Err(Errno::EINVAL),
    };
    let sum = if may_be_none && sum == 0 { 0xffff } else { sum };
    copy_in(frame, offset as usize, &sum.to_le_bytes());
    Ok(())
}

/// The checksum at an offset, as its two bytes are in memory.
fn checksum(frame: &Frame, offset: u32) -> Result<u16, Errno> {
    let end = offset as usize + 2;
    if offset > OFFSET_MAX || offset & 1 == 1 || end > frame.len() {
        return Err(Errno::EFAULT);
    }
    let mut bytes = [0; 2];
    copy_out(frame, offset as usize, &mut bytes);
    Ok(u16::from_le_bytes(bytes))
}

/// `csum_replace_by_diff`.
const fn replace_by_difference(sum: u16, difference: u32) -> u16 {
    !fold(add(difference, !(sum as u32)))
}

/// `csum_replace4`.
const fn replace_word(sum: u16, from: u32, to: u32) -> u16 {
    !fold(add(add(!(sum as u32), !from), to))
}

/// `csum_replace2`, which adds 16 bits at a time and so may give the other zero.
const fn replace_half(sum: u16, from: u16, to: u16) -> u16 {
    const fn add_half(a: u16, b: u16) -> u16 {
        let (sum, carry) = a.overflowing_add(b);
        sum + carry as u16
    }
    !add_half(add_half(!sum, !from), to)
}

/// `bpf_get_hash_recalc`: the hash that is set, or that of the receiving device.
pub fn get_hash_recalc(frame: &mut Frame) -> u32 {
    if frame.socket_buffer.hash == 0 {
        frame.socket_buffer.hash = frame.receive.hash;
    }
    frame.socket_buffer.hash
}

/// `bpf_skb_pull_data`: makes so many bytes linear. What does not fit into the linear part of a
/// frame is refused as if memory ran out.
pub fn skb_pull_data(frame: &Frame, len: u32) -> Result<(), Errno> {
    if len as usize > frame.linear().len() {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// `bpf_skb_change_type`.
pub fn skb_change_type(buffer: &mut SocketBuffer, kind: u32) -> Result<(), Errno> {
    buffer.kind = PacketKind::from_number(kind).ok_or(Errno::EINVAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        let mut frame = Frame::new();
        let packet: Vec<u8> = (0..len).map(|index| index as u8).collect();
        frame.set_packet(&packet).unwrap();
        frame
    }

    #[test]
    fn loads_begin_where_the_type_sees_the_packet_and_zero_on_error() {
        let frame = frame(20);
        let mut into = [9; 4];
        assert_eq!(skb_load_bytes(&frame, 14, 2, &mut into), Ok(()));
        assert_eq!(into, [16, 17, 18, 19]);
        for offset in [3, 17, 1 << 31, u32::MAX] {
            into.fill(9);
            let loaded = skb_load_bytes(&frame, 14, offset, &mut into);
            assert_eq!((loaded, into), (Err(Errno::EFAULT), [0; 4]), "{offset}");
        }
        assert_eq!(skb_load_bytes_relative(&frame, 1, &mut into, 0), Ok(()));
        assert_eq!(into, [1, 2, 3, 4]);
        assert_eq!(skb_load_bytes_relative(&frame, 1, &mut into, 1), Ok(()));
        assert_eq!(into, [15, 16, 17, 18]);
        let wrong = skb_load_bytes_relative(&frame, 0, &mut into, 2);
        assert_eq!((wrong, into), (Err(Errno::EFAULT), [0; 4]));
    }

    #[test]
    fn checksums_follow_the_fields() {
        // An IPv4 header whose checksum is right, TTL 64 at offset 8.
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8,
            0, 0xc7,
        ];
        for width in [2, 4] {
            let mut frame = Frame::new();
            frame.set_packet(&header).unwrap();
            let (from, to) = (0x1140_u64, 0x113f_u64);
            assert_eq!(l3_csum_replace(&mut frame, 10, from, to, width), Ok(()));
            assert_eq!(frame.linear()[10..12], [0xb9, 0x61]);
            assert_eq!(l4_csum_replace(&mut frame, 10, to, from, width), Ok(()));
            assert_eq!(frame.linear()[10..12], [0xb8, 0x61]);
        }
        let mut frame = frame(20);
        for (offset, flags) in [(1, 2), (19, 2), (0x1_0000, 2)] {
            let replaced = l3_csum_replace(&mut frame, offset, 0, 0, flags);
            assert_eq!(replaced, Err(Errno::EFAULT));
        }
        for flags in [1, 3, 0x10] {
            let replaced = l3_csum_replace(&mut frame, 10, 0, 0, flags);
            assert_eq!(replaced, Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_checksum_of_zero_may_mean_none() {
        let mut frame = Frame::new();
        frame.set_packet(&[0; 20]).unwrap();
        let flags = 2 | MARK_MANGLED_0;
        assert_eq!(l4_csum_replace(&mut frame, 6, 1, 2, flags), Ok(()));
        assert_eq!(frame.linear()[6..8], [0, 0]);
        let enforced = flags | MARK_ENFORCE;
        assert_eq!(l4_csum_replace(&mut frame, 6, 1, 2, enforced), Ok(()));
        assert_ne!(frame.linear()[6..8], [0, 0]);
    }
}
