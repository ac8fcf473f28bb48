//! What programs see at the address in `r1`: `struct xdp_md` and `struct __sk_buff`, built from the
//! frame at each load. Pointers come out as 64-bit guest addresses, as the kernel's loads give them.

use iom_core::abi::Frame;
use iom_core::isa::Size;
use iom_core::module::ProgramType;

use super::address::{self, Kind};

/// Bytes of the Ethernet header, which socket filters do not see.
const ETHERNET: usize = 14;

/// Loads a field, or `None` where the program type has no field of this size.
#[inline]
pub(super) fn load(
    program_type: ProgramType,
    frame: &Frame,
    offset: usize,
    size: Size,
) -> Option<u64> {
    match program_type {
        ProgramType::Xdp => xdp_md(frame, offset, size),
        ProgramType::SchedCls | ProgramType::SocketFilter => {
            sk_buff(program_type, frame, offset, size)
        }
        ProgramType::Raw => None,
    }
}

/// Offset of the first byte that legacy packet loads see.
pub(super) fn packet_start(program_type: ProgramType) -> usize {
    match program_type {
        ProgramType::SocketFilter => ETHERNET,
        ProgramType::Xdp | ProgramType::SchedCls | ProgramType::Raw => 0,
    }
}

#[inline]
fn xdp_md(frame: &Frame, offset: usize, size: Size) -> Option<u64> {
    if size != Size::W {
        return None;
    }
    let pointer = |offset: usize| address::address(Kind::Packet, 0, offset as u32);
    match offset {
        0 => Some(pointer(frame.data())),
        4 => Some(pointer(frame.data_end())),
        8 => Some(pointer(frame.data_meta())),
        12 => Some(u64::from(frame.receive.ingress_ifindex)),
        16 => Some(u64::from(frame.receive.queue)),
        // Only programs in a devmap have an egress interface.
        20 => Some(0),
        _ => None,
    }
}

/// The fields of `struct __sk_buff` that a fresh packet decides; all others are zero.
fn sk_buff(program_type: ProgramType, frame: &Frame, offset: usize, size: Size) -> Option<u64> {
    /// Bytes of the structure.
    const END: usize = 192;
    if offset + size.bytes() > END || !offset.is_multiple_of(size.bytes()) {
        return None;
    }
    let pointer = |offset: usize| address::address(Kind::Packet, 0, offset as u32);
    let start = (frame.data() + packet_start(program_type)).min(frame.data_end());
    match (offset, size) {
        (76, Size::W) => return Some(pointer(start)),
        (80, Size::W) => return Some(pointer(frame.data_end())),
        (140, Size::W) => return Some(pointer(frame.data_meta())),
        _ => {}
    }
    let ether_type = frame.linear().get(12..14);
    let field = match offset & !3 {
        0 => frame.len().saturating_sub(packet_start(program_type)) as u64,
        16 => ether_type.map_or(0, |bytes| u64::from(bytes[0]) | u64::from(bytes[1]) << 8),
        36 | 40 => u64::from(frame.receive.ingress_ifindex),
        _ => 0,
    };
    let shifted = field >> (8 * (offset & 3));
    Some(match size {
        Size::B => shifted & 0xff,
        Size::H => shifted & 0xffff,
        Size::W | Size::DW => shifted,
    })
}
