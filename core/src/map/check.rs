//! What the kernel demands of a declaration before it creates a map (`map_alloc_check` and
//! `map_alloc` of each type).

use super::{Errno, MapError, MapFlags, MapSpec, MapType};

/// Bytes of one map's arrays at most; the system may still give fewer.
const MEMORY_MAX: u64 = 1 << 32;
/// Most entries of the maps that round their number up to a power of two.
const ENTRIES_MAX: u32 = 1 << 31;
/// Largest per-CPU value (`PCPU_MIN_UNIT_SIZE`).
const PERCPU_VALUE_MAX: u32 = 32 << 10;
/// Key and value of a hash map's element together stay below this (`KMALLOC_MAX_SIZE` less the
/// element's header).
const HASH_ELEMENT_MAX: u64 = (4 << 20) - 48;
/// Largest LPM value, likewise.
const LPM_VALUE_MAX: u32 = (4 << 20) - 256 - 40;
/// Largest value of a queue, stack or bloom filter (`KMALLOC_MAX_SIZE`).
const KMALLOC_MAX: u32 = 4 << 20;
/// Most hash functions of a bloom filter.
const BLOOM_HASHES_MAX: u64 = 15;
/// Most CPUs that x86-64 kernels are built for.
const CPUS_MAX: u32 = 8192;
/// Page size that a ring buffer's size is measured in.
const PAGE: u32 = 4096;

const ACCESS: u32 =
    MapFlags::RDONLY | MapFlags::WRONLY | MapFlags::RDONLY_PROG | MapFlags::WRONLY_PROG;

/// Refuses what Linux refuses, with its error number.
pub(super) fn check(spec: &MapSpec) -> Result<(), MapError> {
    check_flags(spec)?;
    if spec.extra != 0 && spec.map_type != MapType::BloomFilter {
        return Err(field(spec, "map_extra", "0", Errno::EINVAL));
    }
    if spec.max_entries == 0 {
        return Err(field(spec, "max_entries", "at least 1", Errno::EINVAL));
    }
    match spec.map_type {
        MapType::Array | MapType::PercpuArray | MapType::ProgArray | MapType::PerfEventArray => {
            check_array(spec)
        }
        MapType::Xskmap => check_xskmap(spec),
        MapType::ArrayOfMaps => check_array(spec).and_then(|()| check_inner(spec)),
        MapType::HashOfMaps => {
            let value = spec.value_size == 4;
            require(spec, "value_size", value, "4", Errno::EINVAL)?;
            check_hash(spec)?;
            check_inner(spec)
        }
        MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash => {
            check_hash(spec)
        }
        MapType::Queue | MapType::Stack => check_queue(spec),
        MapType::BloomFilter => check_bloom(spec),
        MapType::LpmTrie => check_lpm(spec),
        MapType::Ringbuf => check_ringbuf(spec),
        MapType::Devmap | MapType::DevmapHash | MapType::Cpumap => check_targets(spec),
        other => Err(MapError::Unsupported {
            name: spec.name.clone(),
            map_type: other.name(),
        }),
    }
}

/// Flags that a type takes, or `None` if the type is not supported.
const fn allowed_flags(map_type: MapType) -> Option<u32> {
    let array = MapFlags::NUMA_NODE | ACCESS;
    match map_type {
        MapType::Array => Some(array | MapFlags::MMAPABLE | MapFlags::INNER_MAP),
        MapType::PercpuArray => Some(ACCESS),
        MapType::ProgArray
        | MapType::ArrayOfMaps
        | MapType::Devmap
        | MapType::DevmapHash
        | MapType::Xskmap => Some(MapFlags::NUMA_NODE | MapFlags::RDONLY | MapFlags::WRONLY),
        MapType::PerfEventArray => Some(
            MapFlags::NUMA_NODE | MapFlags::RDONLY | MapFlags::WRONLY | MapFlags::PRESERVE_ELEMS,
        ),
        MapType::Hash | MapType::HashOfMaps => {
            Some(array | MapFlags::NO_PREALLOC | MapFlags::ZERO_SEED)
        }
        MapType::PercpuHash => Some(ACCESS | MapFlags::NO_PREALLOC | MapFlags::ZERO_SEED),
        MapType::LruHash => Some(array | MapFlags::NO_COMMON_LRU | MapFlags::ZERO_SEED),
        MapType::LruPercpuHash => Some(ACCESS | MapFlags::NO_COMMON_LRU | MapFlags::ZERO_SEED),
        MapType::LpmTrie => Some(array | MapFlags::NO_PREALLOC),
        MapType::Queue | MapType::Stack => Some(array),
        MapType::BloomFilter => Some(array | MapFlags::ZERO_SEED),
        MapType::Ringbuf | MapType::Cpumap => Some(MapFlags::NUMA_NODE),
        _ => None,
    }
}

fn check_flags(spec: &MapSpec) -> Result<(), MapError> {
    let Some(allowed) = allowed_flags(spec.map_type) else {
        return Err(MapError::Unsupported {
            name: spec.name.clone(),
            map_type: spec.map_type.name(),
        });
    };
    let error = |reason, errno| MapError::Flags {
        name: spec.name.clone(),
        map_type: spec.map_type.name(),
        flags: spec.flags.0,
        reason,
        errno,
    };
    let flags = spec.flags;
    let lru = matches!(spec.map_type, MapType::LruHash | MapType::LruPercpuHash);
    if lru && flags.contains(MapFlags::NO_PREALLOC) {
        return Err(error("an LRU map is always preallocated", Errno::ENOTSUPP));
    }
    if flags.0 & !allowed != 0 {
        return Err(error("a flag that this type does not take", Errno::EINVAL));
    }
    if flags.contains(MapFlags::RDONLY | MapFlags::WRONLY)
        || flags.contains(MapFlags::RDONLY_PROG | MapFlags::WRONLY_PROG)
    {
        return Err(error("read-only and write-only at once", Errno::EINVAL));
    }
    if lru && flags.contains(MapFlags::NO_COMMON_LRU | MapFlags::NUMA_NODE) {
        return Err(error(
            "lists of each CPU's own, but memory of one node",
            Errno::EINVAL,
        ));
    }
    if spec.map_type == MapType::LpmTrie && !flags.contains(MapFlags::NO_PREALLOC) {
        return Err(error("an LPM trie needs BPF_F_NO_PREALLOC", Errno::EINVAL));
    }
    Ok(())
}

fn check_array(spec: &MapSpec) -> Result<(), MapError> {
    require(spec, "key_size", spec.key_size == 4, "4", Errno::EINVAL)?;
    require(
        spec,
        "value_size",
        spec.value_size != 0,
        "at least 1",
        Errno::EINVAL,
    )?;
    if matches!(
        spec.map_type,
        MapType::ProgArray | MapType::PerfEventArray | MapType::ArrayOfMaps
    ) {
        require(spec, "value_size", spec.value_size == 4, "4", Errno::EINVAL)?;
    }
    require(
        spec,
        "value_size",
        i32::try_from(spec.value_size).is_ok(),
        "at most 2147483647",
        Errno::E2BIG,
    )?;
    check_percpu_value(spec)?;
    check_memory(spec, spec.value_size.next_multiple_of(8))
}

fn check_hash(spec: &MapSpec) -> Result<(), MapError> {
    require(
        spec,
        "key_size",
        spec.key_size != 0,
        "at least 1",
        Errno::EINVAL,
    )?;
    require(
        spec,
        "value_size",
        spec.value_size != 0,
        "at least 1",
        Errno::EINVAL,
    )?;
    require(
        spec,
        "value_size",
        u64::from(spec.key_size) + u64::from(spec.value_size) < HASH_ELEMENT_MAX,
        "less than 4 MiB together with the key",
        Errno::E2BIG,
    )?;
    check_percpu_value(spec)?;
    check_entries(spec, Errno::E2BIG)
}

/// What `bpf_map_meta_alloc` demands of the template of a map of maps.
fn check_inner(spec: &MapSpec) -> Result<(), MapError> {
    let error = |reason, errno| MapError::Inner {
        name: spec.name.clone(),
        reason,
        errno,
    };
    let Some(inner) = &spec.inner else {
        return Err(error("there is no template of them", Errno::EINVAL));
    };
    if inner.map_type.holds_maps() {
        let reason = "maps of maps cannot be in one";
        return Err(error(reason, Errno::EINVAL));
    }
    if inner.map_type == MapType::ProgArray {
        return Err(error("prog arrays cannot be in one", Errno::ENOTSUPP));
    }
    check(inner)
}

/// Whether a map of maps with this template takes a map: `bpf_map_meta_equal`, and of arrays and
/// xskmaps the same number of entries unless `BPF_F_INNER_MAP` says otherwise.
pub(super) fn fits_template(template: &MapSpec, inner: &MapSpec) -> bool {
    let facts = |spec: &MapSpec| (spec.map_type, spec.key_size, spec.value_size, spec.flags);
    let sized = matches!(template.map_type, MapType::Array | MapType::Xskmap);
    let any_size = !sized || template.flags.contains(MapFlags::INNER_MAP);
    facts(template) == facts(inner) && (any_size || template.max_entries == inner.max_entries)
}

fn check_lpm(spec: &MapSpec) -> Result<(), MapError> {
    let key = (5..=260).contains(&spec.key_size);
    require(spec, "key_size", key, "5 to 260", Errno::EINVAL)?;
    let value = (1..=LPM_VALUE_MAX).contains(&spec.value_size);
    require(spec, "value_size", value, "1 to about 4 MiB", Errno::EINVAL)
}

fn check_ringbuf(spec: &MapSpec) -> Result<(), MapError> {
    require(spec, "key_size", spec.key_size == 0, "0", Errno::EINVAL)?;
    require(spec, "value_size", spec.value_size == 0, "0", Errno::EINVAL)?;
    let size = spec.max_entries.is_power_of_two() && spec.max_entries.is_multiple_of(PAGE);
    let allowed = "a power of two and a multiple of the page size, 4096";
    require(spec, "max_entries", size, allowed, Errno::EINVAL)
}

fn check_queue(spec: &MapSpec) -> Result<(), MapError> {
    check_keyless(spec)?;
    let bytes = (u64::from(spec.max_entries) + 1) * u64::from(spec.value_size);
    let fits = bytes <= MEMORY_MAX;
    let allowed = "what takes at most 4 GiB";
    require(spec, "max_entries", fits, allowed, Errno::ENOMEM)
}

fn check_bloom(spec: &MapSpec) -> Result<(), MapError> {
    check_keyless(spec)?;
    if spec.extra & !BLOOM_HASHES_MAX == 0 {
        return Ok(());
    }
    Err(field(
        spec,
        "map_extra",
        "at most 15 hash functions",
        Errno::EINVAL,
    ))
}

fn check_keyless(spec: &MapSpec) -> Result<(), MapError> {
    require(spec, "key_size", spec.key_size == 0, "0", Errno::EINVAL)?;
    let some = spec.value_size != 0;
    require(spec, "value_size", some, "at least 1", Errno::EINVAL)?;
    let fits = spec.value_size <= KMALLOC_MAX;
    require(spec, "value_size", fits, "at most 4 MiB", Errno::E2BIG)
}

fn check_targets(spec: &MapSpec) -> Result<(), MapError> {
    require(spec, "key_size", spec.key_size == 4, "4", Errno::EINVAL)?;
    let value = matches!(spec.value_size, 4 | 8);
    require(spec, "value_size", value, "4 or 8", Errno::EINVAL)?;
    match spec.map_type {
        MapType::Cpumap => require(
            spec,
            "max_entries",
            spec.max_entries <= CPUS_MAX,
            "at most 8192, the kernel's number of CPUs",
            Errno::E2BIG,
        ),
        MapType::DevmapHash => check_entries(spec, Errno::EINVAL),
        _ => check_memory(spec, 8),
    }
}

fn check_xskmap(spec: &MapSpec) -> Result<(), MapError> {
    require(spec, "key_size", spec.key_size == 4, "4", Errno::EINVAL)?;
    require(spec, "value_size", spec.value_size == 4, "4", Errno::EINVAL)?;
    check_memory(spec, 8)
}

fn check_percpu_value(spec: &MapSpec) -> Result<(), MapError> {
    let fits = !spec.map_type.is_per_cpu() || spec.value_size <= PERCPU_VALUE_MAX;
    require(
        spec,
        "value_size",
        fits,
        "at most 32768 per CPU",
        Errno::E2BIG,
    )
}

fn check_entries(spec: &MapSpec, errno: Errno) -> Result<(), MapError> {
    let fits = spec.max_entries <= ENTRIES_MAX;
    require(spec, "max_entries", fits, "at most 2147483648", errno)
}

/// Limits what is allocated when the map is created.
fn check_memory(spec: &MapSpec, stride: u32) -> Result<(), MapError> {
    let fits = u64::from(stride) * u64::from(spec.max_entries) <= MEMORY_MAX;
    require(
        spec,
        "max_entries",
        fits,
        "what takes at most 4 GiB",
        Errno::ENOMEM,
    )
}

fn require(
    spec: &MapSpec,
    name: &'static str,
    holds: bool,
    allowed: &'static str,
    errno: Errno,
) -> Result<(), MapError> {
    if holds {
        Ok(())
    } else {
        Err(field(spec, name, allowed, errno))
    }
}

fn field(spec: &MapSpec, name: &'static str, allowed: &'static str, errno: Errno) -> MapError {
    let value = match name {
        "key_size" => spec.key_size,
        "value_size" => spec.value_size,
        "map_extra" => spec.extra as u32,
        _ => spec.max_entries,
    };
    MapError::Field {
        name: spec.name.clone(),
        map_type: spec.map_type.name(),
        field: name,
        value,
        allowed,
        errno,
    }
}
