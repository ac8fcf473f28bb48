//! A module's maps in the kernel: created from their declarations, filled from the map set, dumped
//! as [`MapContents`].

use std::os::fd::{AsFd, BorrowedFd};

use iom_core::map::{MapContents, MapEntry, MapFlags, MapSpec, MapType, MapValue};

use super::syscall::{BatchPosition, ENOTSUPP, MapCreate, MapFd, SyscallError};

/// What a map holds cannot be brought into the kernel or out of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MapsError {
    /// A system call failed.
    #[error(transparent)]
    Syscall(#[from] SyscallError),
    /// An entry does not fit the map.
    #[error("map {map}: an entry has {bytes} bytes of {what}, not {expected}")]
    Size {
        /// Map.
        map: String,
        /// Key or value.
        what: &'static str,
        /// Bytes that are there.
        bytes: usize,
        /// Bytes that the map has.
        expected: usize,
    },
    /// An entry of a devmap or cpumap names a program.
    #[error("map {map}: an entry names a program to run behind it, which test-run does not do")]
    Program {
        /// Map.
        map: String,
    },
    /// An xskmap has an entry.
    #[error("map {map}: it has an entry, but test-run has no sockets")]
    Socket {
        /// Map.
        map: String,
    },
    /// A CPU that runs no queue wrote a per-CPU value.
    #[error("map {map}: CPU {cpu} runs no queue but has a value")]
    StrayCpu {
        /// Map.
        map: String,
        /// CPU.
        cpu: usize,
    },
}

/// How many CPUs per-CPU maps have (`/sys/devices/system/cpu/possible`), at least 1.
pub(super) fn possible_cpus() -> u32 {
    std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|list| {
            let last = list.trim().rsplit([',', '-']).next()?;
            last.parse::<u32>().ok()
        })
        .map_or(1, |last| last + 1)
}

/// Creates a map, on the device with this index unless it is 0. Where the kernel does not take its
/// type information, without it, as libbpf does.
pub(super) fn create(
    spec: &MapSpec,
    btf: Option<BorrowedFd<'_>>,
    cpus: u32,
    ifindex: u32,
) -> Result<MapFd, SyscallError> {
    let inner = spec
        .inner
        .as_deref()
        .map(|inner| create(inner, btf, cpus, ifindex))
        .transpose()?;
    let (key_type, value_type) = spec.btf_types;
    let create = MapCreate {
        name: &spec.name,
        map_type: spec.map_type.number(),
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags.0,
        extra: spec.extra,
        ifindex,
        inner: inner.as_ref().map(|inner| inner.descriptor().as_fd()),
        btf: btf
            .filter(|_| value_type != 0)
            .map(|btf| (btf, key_type, value_type)),
        lookup_bytes: lookup_bytes(spec, cpus),
    };
    let map = MapFd::create(&create).or_else(|error| match create.btf {
        Some(_) => MapFd::create(&MapCreate {
            btf: None,
            ..create
        }),
        None => Err(error),
    })?;
    let restricted = MapFlags::RDONLY | MapFlags::WRONLY;
    if spec.flags.0 & restricted != 0 {
        return map.reopen();
    }
    Ok(map)
}

/// Bytes that user space reads and writes as one value.
fn lookup_bytes(spec: &MapSpec, cpus: u32) -> usize {
    if spec.map_type.is_per_cpu() {
        cpu_stride(spec) * cpus as usize
    } else {
        spec.value_size as usize
    }
}

/// Bytes from one CPU's value to the next.
fn cpu_stride(spec: &MapSpec) -> usize {
    (spec.value_size as usize).next_multiple_of(8)
}

/// Puts contents into a map that is new, and freezes it if declared so. Programs in prog arrays
/// are the loader's business. Runs in the namespace whose interfaces devmaps name.
pub(super) fn import(map: &MapFd, spec: &MapSpec, contents: &MapContents) -> Result<(), MapsError> {
    let is_array = matches!(spec.map_type, MapType::Array | MapType::PercpuArray);
    let is_redirect = iom_core::helper::redirect_kind(spec.map_type).is_some();
    for entry in &contents.entries {
        let value = pad(map, spec, entry)?;
        if spec.map_type == MapType::Xskmap {
            return Err(MapsError::Socket {
                map: spec.name.clone(),
            });
        }
        if is_redirect && value.iter().skip(4).any(|byte| *byte != 0) {
            return Err(MapsError::Program {
                map: spec.name.clone(),
            });
        }
        let is_default = is_array && value.iter().all(|byte| *byte == 0);
        if is_default {
            continue;
        }
        match map.update(&entry.key, &value) {
            Err(error) if names_what_is_not_here(spec.map_type, error.errno()) => {}
            result => result?,
        }
    }
    if spec.frozen {
        map.freeze()?;
    }
    Ok(())
}

/// Devmaps take only interfaces, cpumaps only CPUs, that exist.
fn names_what_is_not_here(map_type: MapType, errno: i32) -> bool {
    match map_type {
        MapType::Devmap | MapType::DevmapHash => errno == libc::EINVAL,
        MapType::Cpumap => errno == libc::ENODEV,
        _ => false,
    }
}

/// The bytes of an entry's value as the kernel takes them.
fn pad(map: &MapFd, spec: &MapSpec, entry: &MapEntry) -> Result<Vec<u8>, MapsError> {
    let size_error = |what, bytes, expected| MapsError::Size {
        map: spec.name.clone(),
        what,
        bytes,
        expected,
    };
    if entry.key.len() != map.key_bytes() {
        return Err(size_error("key", entry.key.len(), map.key_bytes()));
    }
    let mut bytes = vec![0; map.value_bytes()];
    let (stride, parts) = match &entry.value {
        MapValue::Plain(value) => (bytes.len(), std::slice::from_ref(value)),
        MapValue::PerQueue(values) => (cpu_stride(spec), values.as_slice()),
    };
    for (place, part) in bytes.chunks_mut(stride.max(1)).zip(parts) {
        if part.len() != spec.value_size as usize {
            return Err(size_error("value", part.len(), spec.value_size as usize));
        }
        place[..part.len()].copy_from_slice(part);
    }
    Ok(bytes)
}

/// Everything in a map, sorted by key; per-CPU values for the CPUs of the queues.
pub(super) fn dump(map: &MapFd, spec: &MapSpec, queues: u32) -> Result<MapContents, MapsError> {
    match spec.map_type {
        MapType::Queue | MapType::Stack => return dump_queue(map, spec),
        MapType::Ringbuf | MapType::BloomFilter | MapType::PerfEventArray | MapType::Xskmap => {
            return Ok(MapContents::default());
        }
        _ => {}
    }
    let mut entries = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        let value = unpad(spec, value, queues)?;
        let key = key.to_vec();
        entries.push(MapEntry { key, value });
        Ok(())
    };
    if !dump_batches(map, spec, &mut add)? {
        dump_keys(map, &mut add)?;
    }
    entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(MapContents { entries })
}

/// Takes the values of a queue or stack out and puts them back, the oldest first.
fn dump_queue(map: &MapFd, spec: &MapSpec) -> Result<MapContents, MapsError> {
    let mut values = Vec::new();
    let mut value = vec![0; map.value_bytes()];
    while map.pop(&mut value)? {
        values.push(value.clone());
    }
    if spec.map_type == MapType::Stack {
        values.reverse();
    }
    for value in &values {
        map.update(&[], value)?;
    }
    let entry = |value| MapEntry {
        key: Vec::new(),
        value: MapValue::Plain(value),
    };
    Ok(MapContents {
        entries: values.into_iter().map(entry).collect(),
    })
}

type AddEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), MapsError>;

/// Dumps by `BPF_MAP_LOOKUP_BATCH`; `false` if the map's type has no such command.
fn dump_batches(map: &MapFd, spec: &MapSpec, add: AddEntry<'_>) -> Result<bool, MapsError> {
    const BATCH_BYTES: usize = 1 << 20;
    let entry_bytes = map.key_bytes() + map.value_bytes();
    let most = (spec.max_entries as usize).max(1);
    let mut count = (BATCH_BYTES / entry_bytes.max(1)).clamp(1, most);
    let mut position = BatchPosition::default();
    loop {
        let mut keys = vec![0; count * map.key_bytes()];
        let mut values = vec![0; count * map.value_bytes()];
        let (found, last) = match map.lookup_batch(&mut position, &mut keys, &mut values) {
            Ok(result) => result,
            // A hash bucket has more entries than the buffer.
            Err(error) if error.errno() == libc::ENOSPC && count < most => {
                count = (2 * count).min(most);
                continue;
            }
            Err(error) if [ENOTSUPP, libc::EOPNOTSUPP, libc::EINVAL].contains(&error.errno()) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let keys = keys.chunks_exact(map.key_bytes());
        let values = values.chunks_exact(map.value_bytes());
        keys.zip(values)
            .take(found)
            .try_for_each(|(key, value)| add(key, value))?;
        if last {
            return Ok(true);
        }
    }
}

/// Dumps key by key, for types without batches.
fn dump_keys(map: &MapFd, add: AddEntry<'_>) -> Result<(), MapsError> {
    let mut key: Option<Vec<u8>> = None;
    let mut next = vec![0; map.key_bytes()];
    let mut value = vec![0; map.value_bytes()];
    while map.next_key(key.as_deref(), &mut next)? {
        // Empty places of devmaps, cpumaps and prog arrays have keys but no value.
        if map.lookup(&next, &mut value)? {
            add(&next, &value)?;
        }
        key = Some(next.clone());
    }
    Ok(())
}

/// A value as the kernel gives it, cut to the queues.
fn unpad(spec: &MapSpec, bytes: &[u8], queues: u32) -> Result<MapValue, MapsError> {
    if !spec.map_type.is_per_cpu() {
        return Ok(MapValue::Plain(bytes.to_vec()));
    }
    let parts = bytes.chunks_exact(cpu_stride(spec));
    let is_set = |part: &[u8]| part.iter().any(|byte| *byte != 0);
    if let Some((cpu, _)) = parts
        .clone()
        .enumerate()
        .skip(queues as usize)
        .find(|(_, part)| is_set(part))
    {
        return Err(MapsError::StrayCpu {
            map: spec.name.clone(),
            cpu,
        });
    }
    let values = parts
        .take(queues as usize)
        .map(|part| part[..spec.value_size as usize].to_vec())
        .collect();
    Ok(MapValue::PerQueue(values))
}
