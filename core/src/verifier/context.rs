//! What programs may read and write of their context: `struct xdp_md` and `struct __sk_buff`, by
//! the rules of `xdp_is_valid_access`, `tc_cls_act_is_valid_access` and
//! `sk_filter_is_valid_access` (net/core/filter.c).

use super::register::{Kind, Socket};
use crate::module::{Program, ProgramType, XdpAttach};

/// An access to the context.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextAccess {
    pub(super) offset: i64,
    pub(super) size: i64,
    pub(super) write: bool,
    pub(super) sign_extend: bool,
    /// The program runs on a device.
    pub(super) offloaded: bool,
}

/// What a valid access reads, `None` if it is not valid.
pub(super) fn context_access(program: &Program, access: ContextAccess) -> Option<Kind> {
    match program.program_type {
        ProgramType::Xdp => xdp(program, access),
        ProgramType::SchedCls => sched_cls(access),
        ProgramType::SocketFilter => socket_filter(access),
        ProgramType::Raw => None,
    }
}

fn xdp(program: &Program, access: ContextAccess) -> Option<Kind> {
    const RX_QUEUE_INDEX: i64 = 16;
    const EGRESS_IFINDEX: i64 = 20;
    let ContextAccess { offset, size, .. } = access;
    let egress = offset == EGRESS_IFINDEX && program.attach != XdpAttach::Devmap;
    let chooses_queue = access.offloaded && offset == RX_QUEUE_INDEX;
    if egress
        || (access.write && !chooses_queue)
        || !(0..24).contains(&offset)
        || offset % 4 != 0
        || size != 4
    {
        return None;
    }
    let kind = match offset {
        0 => Kind::Packet,
        4 => Kind::PacketEnd,
        8 => Kind::PacketMeta,
        _ => return Some(Kind::Scalar),
    };
    (!access.sign_extend).then_some(kind)
}

/// Members of `struct __sk_buff` by offset.
mod skb {
    use std::ops::Range;
    pub(super) const MARK: Range<i64> = 8..12;
    pub(super) const QUEUE_MAPPING: Range<i64> = 12..16;
    pub(super) const PRIORITY: Range<i64> = 32..36;
    pub(super) const TC_INDEX: Range<i64> = 44..48;
    pub(super) const CB: Range<i64> = 48..68;
    pub(super) const TC_CLASSID: Range<i64> = 72..76;
    pub(super) const DATA: Range<i64> = 76..80;
    pub(super) const DATA_END: Range<i64> = 80..84;
    pub(super) const FAMILY_TO_LOCAL_PORT: Range<i64> = 88..140;
    pub(super) const ADDRESSES: Range<i64> = 92..132;
    pub(super) const DATA_META: Range<i64> = 140..144;
    pub(super) const FLOW_KEYS: Range<i64> = 144..152;
    pub(super) const TSTAMP: Range<i64> = 152..160;
    pub(super) const WIRE_LEN: Range<i64> = 160..164;
    pub(super) const SK: Range<i64> = 168..176;
    pub(super) const TSTAMP_TYPE: i64 = 180;
    pub(super) const PADDING: Range<i64> = 181..184;
    pub(super) const HWTSTAMP: Range<i64> = 184..192;
    pub(super) const SIZE: i64 = 192;
}

fn sched_cls(access: ContextAccess) -> Option<Kind> {
    let offset = access.offset;
    let writable = [
        skb::MARK,
        skb::TC_INDEX,
        skb::PRIORITY,
        skb::TC_CLASSID,
        skb::CB,
        skb::TSTAMP,
        skb::QUEUE_MAPPING,
    ];
    if access.write && !writable.iter().any(|member| member.contains(&offset)) {
        return None;
    }
    if skb::FAMILY_TO_LOCAL_PORT.contains(&offset) {
        return None;
    }
    if offset == skb::TSTAMP_TYPE {
        return (access.size == 1).then_some(Kind::Scalar);
    }
    let kind = common(access)?;
    Some(match offset {
        _ if skb::DATA.contains(&offset) => Kind::Packet,
        _ if skb::DATA_META.contains(&offset) => Kind::PacketMeta,
        _ if skb::DATA_END.contains(&offset) => Kind::PacketEnd,
        _ => kind,
    })
}

fn socket_filter(access: ContextAccess) -> Option<Kind> {
    let hidden = [
        skb::TC_CLASSID,
        skb::DATA,
        skb::DATA_META,
        skb::DATA_END,
        skb::FAMILY_TO_LOCAL_PORT,
        skb::TSTAMP,
        skb::WIRE_LEN,
        skb::HWTSTAMP,
    ];
    let hidden = hidden.iter().any(|member| member.contains(&access.offset));
    if hidden || (access.write && !skb::CB.contains(&access.offset)) {
        return None;
    }
    common(access)
}

/// What all program types with a socket buffer share.
fn common(access: ContextAccess) -> Option<Kind> {
    let ContextAccess {
        offset,
        size,
        write,
        sign_extend,
        ..
    } = access;
    if !(0..skb::SIZE).contains(&offset) || offset % size != 0 {
        return None;
    }
    let pointers = [skb::DATA, skb::DATA_META, skb::DATA_END];
    let valid = if skb::CB.contains(&offset) {
        offset + size <= skb::CB.end
    } else if skb::ADDRESSES.contains(&offset) {
        size == 4
    } else if pointers.iter().any(|member| member.contains(&offset)) {
        size == 4 && !sign_extend
    } else if skb::FLOW_KEYS.contains(&offset)
        || skb::PADDING.contains(&offset)
        || offset == skb::TSTAMP_TYPE
    {
        false
    } else if skb::HWTSTAMP.contains(&offset) {
        !write && size == 8
    } else if skb::TSTAMP.contains(&offset) {
        size == 8
    } else if skb::SK.contains(&offset) {
        if write || size != 8 {
            return None;
        }
        return Some(Kind::Socket {
            socket: Socket::Common,
            nullable: true,
        });
    } else {
        // Parts of a member can be read, not written.
        size == 4 || (!write && size < 4 && offset % 4 + size <= 4)
    };
    valid.then_some(Kind::Scalar)
}
