//! Values in plain words, for explanations.

use super::maps::Maps;
use super::register::{Kind, Register};
use super::scalar::Scalar;
use crate::isa::Condition;
use crate::module::ProgramType;

/// What a register holds.
pub(super) fn value(register: &Register, maps: &Maps<'_>) -> String {
    let or_null = if register.kind.nullable() {
        " or NULL"
    } else {
        ""
    };
    let map_name = |map: u32| maps.spec(map).name.clone();
    match register.kind {
        Kind::NotInit => "nothing".to_owned(),
        Kind::Scalar => number(&register.scalar),
        Kind::Context => "the context".to_owned(),
        Kind::Stack(_) => format!("the stack (fp{:+})", register.offset),
        Kind::Packet => format!("the packet{}", offset(register)),
        Kind::PacketMeta => format!("the metadata{}", offset(register)),
        Kind::PacketEnd => "the packet's end (data_end)".to_owned(),
        Kind::Map(map) => format!("map {}", map_name(map)),
        Kind::MapValue { map, .. } => {
            format!(
                "a value of map {}{}{or_null}",
                map_name(map),
                offset(register)
            )
        }
        Kind::MapKey(map) => format!("a key of map {}", map_name(map)),
        Kind::Memory { .. } => format!("memory of {} bytes{or_null}", register.range),
        Kind::Record { .. } => {
            format!("a ring-buffer record of {} bytes{or_null}", register.range)
        }
        Kind::Dynptr { .. } => "a dynptr".to_owned(),
        Kind::Iterator { .. } => "an iterator".to_owned(),
        Kind::Socket { .. } => format!("a socket{or_null}"),
        Kind::Function(_) => "the address of a function".to_owned(),
    }
}

fn offset(register: &Register) -> String {
    let known = (register.offset != 0).then(|| format!(" {:+}", register.offset));
    let variable = match register.scalar.as_const(false) {
        Some(0) => None,
        Some(value) => Some(format!(" {:+}", value as i64)),
        None => Some(format!(" + ({})", number(&register.scalar))),
    };
    [known, variable].into_iter().flatten().collect()
}

/// A number by its bounds.
pub(super) fn number(scalar: &Scalar) -> String {
    if let Some(value) = scalar.as_const(false) {
        return (value as i64).to_string();
    }
    match (scalar.smin, scalar.smax, scalar.umax) {
        (i64::MIN, i64::MAX, u64::MAX) => "any number".to_owned(),
        (0.., _, _) => format!("{} to {}", scalar.umin, scalar.umax),
        (i64::MIN, max, _) => format!("at most {max}, or negative"),
        (min, i64::MAX, _) => format!("{min} or more"),
        (min, max, _) => format!("{min} to {max}"),
    }
}

/// The name of a context's member at an offset, where programs use it often.
pub(super) fn context_member(program_type: ProgramType, offset: i64) -> Option<&'static str> {
    let members: &[(i64, &str)] = match program_type {
        ProgramType::Xdp => &[
            (0, "data"),
            (4, "data_end"),
            (8, "data_meta"),
            (12, "ingress_ifindex"),
            (16, "rx_queue_index"),
            (20, "egress_ifindex"),
        ],
        ProgramType::SchedCls | ProgramType::SocketFilter => &[
            (0, "len"),
            (4, "pkt_type"),
            (8, "mark"),
            (12, "queue_mapping"),
            (16, "protocol"),
            (20, "vlan_present"),
            (24, "vlan_tci"),
            (28, "vlan_proto"),
            (32, "priority"),
            (36, "ingress_ifindex"),
            (40, "ifindex"),
            (44, "tc_index"),
            (48, "cb"),
            (68, "hash"),
            (72, "tc_classid"),
            (76, "data"),
            (80, "data_end"),
            (84, "napi_id"),
            (140, "data_meta"),
            (152, "tstamp"),
            (160, "wire_len"),
            (164, "gso_segs"),
            (168, "sk"),
            (176, "gso_size"),
        ],
        ProgramType::Raw => &[],
    };
    let found = members.iter().find(|(start, _)| *start == offset);
    found.map(|(_, name)| *name)
}

/// A condition as C writes it; signed ones say so.
pub(super) fn condition(cond: Condition) -> &'static str {
    match cond {
        Condition::Eq => "==",
        Condition::Ne => "!=",
        Condition::Set => "&",
        Condition::Gt => ">",
        Condition::Ge => ">=",
        Condition::Lt => "<",
        Condition::Le => "<=",
        Condition::SignedGt => "> (signed)",
        Condition::SignedGe => ">= (signed)",
        Condition::SignedLt => "< (signed)",
        Condition::SignedLe => "<= (signed)",
    }
}
