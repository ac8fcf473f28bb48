//! What programs see at the address in `r1`: `struct xdp_md` and `struct __sk_buff`, built from the
//! frame at each load. Pointers come out as 64-bit guest addresses, as the kernel's loads give them.
//! Fields of a socket buffer that nothing set are 0, as in the kernel's test-run without a context: no
//! socket, no segments, no hardware time stamps, no length on the wire.

use iom_core::abi::{Frame, SocketBuffer};
use iom_core::helper::NETWORK_HEADER;
use iom_core::isa::Size;
use iom_core::module::ProgramType;

use super::address::{self, Kind};

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
            sk_buff::load(program_type, frame, offset, size)
        }
        ProgramType::Raw => None,
    }
}

/// Stores the low bytes of a value into a field, or `None` where that cannot be written.
pub(super) fn store(
    program_type: ProgramType,
    frame: &mut Frame,
    offset: usize,
    size: Size,
    value: u64,
) -> Option<()> {
    match program_type {
        ProgramType::SchedCls => sk_buff::store(&mut frame.socket_buffer, offset, size, value),
        ProgramType::SocketFilter if sk_buff::CB.contains(&offset) => {
            sk_buff::store(&mut frame.socket_buffer, offset, size, value)
        }
        ProgramType::SocketFilter | ProgramType::Xdp | ProgramType::Raw => None,
    }
}

/// Offset of the first byte that legacy packet loads see.
pub(super) fn packet_start(program_type: ProgramType) -> usize {
    match program_type {
        ProgramType::SocketFilter => NETWORK_HEADER,
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
        20 => Some(u64::from(frame.egress_ifindex)),
        _ => None,
    }
}

/// `struct __sk_buff`.
mod sk_buff {
    use std::ops::Range;

    use super::{Frame, Kind, NETWORK_HEADER, ProgramType, Size, SocketBuffer, address};

    /// Bytes of the structure.
    const END: usize = 192;
    /// The scratch space, which alone may be read and written in any size.
    pub(super) const CB: Range<usize> = 48..68;

    pub(super) fn load(
        program_type: ProgramType,
        frame: &Frame,
        offset: usize,
        size: Size,
    ) -> Option<u64> {
        if offset + size.bytes() > END || !offset.is_multiple_of(size.bytes()) {
            return None;
        }
        let buffer = &frame.socket_buffer;
        if CB.contains(&offset) {
            return load_cb(buffer, offset, size);
        }
        let pointer = |offset: usize| address::address(Kind::Packet, 0, offset as u32);
        match (offset, size) {
            (76, Size::W) => return Some(pointer(frame.data())),
            (80, Size::W) => return Some(pointer(frame.data_end())),
            (140, Size::W) => return Some(pointer(frame.data_meta())),
            (152, Size::DW) => return Some(buffer.tstamp),
            _ => {}
        }
        let field = word(program_type, frame, offset & !3) >> (8 * (offset & 3));
        Some(match size {
            Size::B => u64::from(field as u8),
            Size::H => u64::from(field as u16),
            Size::W | Size::DW => u64::from(field),
        })
    }

    /// The word at an offset that is a multiple of 4.
    fn word(program_type: ProgramType, frame: &Frame, offset: usize) -> u32 {
        let (buffer, receive) = (&frame.socket_buffer, &frame.receive);
        match offset {
            0 if program_type == ProgramType::SocketFilter => {
                frame.len().saturating_sub(NETWORK_HEADER) as u32
            }
            0 => frame.len() as u32,
            4 => buffer.kind as u32,
            8 => buffer.mark,
            12 => u32::from(buffer.queue_mapping),
            16 => u32::from(buffer.protocol.swap_bytes()),
            20 => u32::from(receive.vlan_protocol != 0),
            24 => u32::from(receive.vlan_tci),
            28 => u32::from(receive.vlan_protocol.swap_bytes()),
            32 => buffer.priority,
            36 | 40 => receive.ingress_ifindex,
            44 => u32::from(buffer.tc_index),
            68 => buffer.hash,
            72 => buffer.tc_classid,
            _ => 0,
        }
    }

    fn load_cb(buffer: &SocketBuffer, offset: usize, size: Size) -> Option<u64> {
        let start = offset - CB.start;
        let mut bytes = [0; 8];
        let part = buffer.cb.get(start..start + size.bytes())?;
        bytes[..part.len()].copy_from_slice(part);
        Some(u64::from_le_bytes(bytes))
    }

    pub(super) fn store(
        buffer: &mut SocketBuffer,
        offset: usize,
        size: Size,
        value: u64,
    ) -> Option<()> {
        if CB.contains(&offset) && offset.is_multiple_of(size.bytes()) {
            let start = offset - CB.start;
            let part = buffer.cb.get_mut(start..start + size.bytes())?;
            part.copy_from_slice(&value.to_le_bytes()[..size.bytes()]);
            return Some(());
        }
        let number = value as u32;
        match (offset, size) {
            (8, Size::W) => buffer.mark = number,
            // A queue that no driver has is not taken (`bpf_convert_ctx_access`).
            (12, Size::W) if number >= u32::from(u16::MAX) => {}
            (12, Size::W) => buffer.queue_mapping = number as u16,
            (32, Size::W) => buffer.priority = number,
            (44, Size::W) => buffer.tc_index = number as u16,
            (72, Size::W) => buffer.tc_classid = u32::from(number as u16),
            (152, Size::DW) => buffer.tstamp = value,
            _ => return None,
        }
        Some(())
    }
}
