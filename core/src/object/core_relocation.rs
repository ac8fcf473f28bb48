//! CO-RE relocations in words: what a program asks of the running kernel's types.

use super::btf::{Btf, BtfKind};
use super::btf_ext::CoReRecord;

/// libbpf's name of a relocation kind (`enum bpf_core_relo_kind`).
pub(super) fn kind_name(kind: u32) -> &'static str {
    const NAMES: [&str; 13] = [
        "byte_off",
        "byte_sz",
        "field_exists",
        "signed",
        "lshift_u64",
        "rshift_u64",
        "local_type_id",
        "target_type_id",
        "type_exists",
        "type_size",
        "enumval_exists",
        "enumval_value",
        "type_matches",
    ];
    NAMES.get(kind as usize).copied().unwrap_or("unknown kind")
}

/// Type and field, as in C: `struct sk_buff.len`.
pub(super) fn target(btf: &Btf, record: &CoReRecord) -> String {
    let mut id = record.type_id;
    let mut text = match btf.resolve(id) {
        Some((resolved, BtfKind::Struct { .. })) => format!("struct {}", btf.name_of(resolved)),
        Some((resolved, BtfKind::Union { .. })) => format!("union {}", btf.name_of(resolved)),
        Some((resolved, BtfKind::Enum { .. })) => format!("enum {}", btf.name_of(resolved)),
        _ => btf.name_of(id).to_owned(),
    };
    let access = btf.string(record.access).unwrap_or_default();
    // The first number indexes the pointer itself.
    for index in access.split(':').skip(1) {
        let Ok(index) = index.parse::<usize>() else {
            break;
        };
        match btf.resolve(id) {
            Some((_, BtfKind::Struct { members, .. } | BtfKind::Union { members, .. })) => {
                let Some(member) = members.get(index) else {
                    break;
                };
                let name = btf.string(member.name).unwrap_or_default();
                if !name.is_empty() {
                    text.push('.');
                    text.push_str(name);
                }
                id = member.type_id;
            }
            Some((_, BtfKind::Array { type_id, .. })) => {
                text += "[";
                text += &index.to_string();
                text += "]";
                id = *type_id;
            }
            _ => break,
        }
    }
    text
}
