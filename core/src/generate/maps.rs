//! The maps that every generated program may use.

use crate::map::{InitialEntry, InitialValue, MapFlags, MapSpec, MapType};

/// Indexes of the maps.
pub(super) const ARRAY: u32 = 0;
pub(super) const HASH: u32 = 1;
pub(super) const PERCPU_ARRAY: u32 = 2;
pub(super) const LRU_HASH: u32 = 3;
pub(super) const LPM_TRIE: u32 = 4;
pub(super) const RING: u32 = 5;
pub(super) const PROGRAMS: u32 = 6;
pub(super) const DEVICES: u32 = 7;
pub(super) const QUEUE: u32 = 8;
pub(super) const BLOOM: u32 = 9;
pub(super) const EVENTS: u32 = 10;
pub(super) const READ_ONLY: u32 = 11;
pub(super) const VARIABLES: u32 = 12;

/// Maps with keys and values that programs look up.
pub(super) const TABLES: [u32; 5] = [ARRAY, HASH, PERCPU_ARRAY, LRU_HASH, LPM_TRIE];

/// Text in the read-only map: strings that end with zero, at these offsets.
pub(super) const TEXTS: &[u8; 32] = b"plain\0two %d %x\0%s\0ab\0\0\0\0\0\0\0\0\0\0\0";

/// The declarations, in order of the indexes.
pub(super) fn declarations() -> Vec<MapSpec> {
    let map = MapSpec::new;
    let with_flags = |mut spec: MapSpec, flags| {
        spec.flags = MapFlags(flags);
        spec
    };
    let mut read_only = with_flags(
        map(".rodata", MapType::Array, 4, 32, 1),
        MapFlags::RDONLY_PROG,
    );
    read_only.frozen = true;
    read_only.initial.push(InitialEntry {
        key: vec![0; 4],
        value: InitialValue::Bytes(TEXTS.to_vec()),
    });
    vec![
        map("array", MapType::Array, 4, 16, 4),
        map("hash", MapType::Hash, 8, 24, 8),
        map("percpu", MapType::PercpuArray, 4, 8, 2),
        map("lru", MapType::LruHash, 4, 40, 16),
        with_flags(
            map("trie", MapType::LpmTrie, 8, 4, 8),
            MapFlags::NO_PREALLOC,
        ),
        map("ring", MapType::Ringbuf, 0, 0, 4096),
        map("programs", MapType::ProgArray, 4, 4, 4),
        map("devices", MapType::Devmap, 4, 4, 8),
        map("queue", MapType::Queue, 0, 8, 4),
        map("bloom", MapType::BloomFilter, 0, 8, 16),
        map("events", MapType::PerfEventArray, 4, 4, 1),
        read_only,
        map(".bss", MapType::Array, 4, 64, 1),
    ]
}
