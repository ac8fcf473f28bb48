//! `struct bpf_map` as programs read it through a pointer to a map, with the layout of Linux 6.18:
//! what the declaration says. Kernel addresses, ids and hashes in it are 0.

use iom_core::map::MapSpec;

/// Bytes that programs may read.
const BYTES: usize = 128;

/// The object of a map.
pub(super) fn map_object(spec: &MapSpec) -> [u8; BYTES] {
    let mut object = [0; BYTES];
    for (offset, word) in [
        (64, spec.map_type.number()),
        (68, spec.key_size),
        (72, spec.value_size),
        (76, spec.max_entries),
        (88, spec.flags.0),
    ] {
        object[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
    }
    object
}
