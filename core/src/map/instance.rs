//! A created map: one interface over the storage of each type.

use super::array::{ArrayMap, index_of};
use super::bloom::Bloom;
use super::check::check;
use super::hash::HashMap;
use super::locked::write_locked;
use super::lpm_trie::LpmTrie;
use super::queue::QueueStack;
use super::ringbuf::Ringbuf;
use super::slots::SlotArray;
use super::{
    Errno, InitialEntry, InitialValue, MapContents, MapEntry, MapFlags, MapSpec, MapType, MapValue,
    UpdateMode,
};
use crate::abi::QueueId;
use crate::hex;
use crate::isa::Size;
use crate::memory::SharedBytes;

/// A created map.
#[derive(Debug)]
pub struct Map {
    spec: MapSpec,
    queues: u32,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Array(ArrayMap),
    Hash(Box<HashMap>),
    LpmTrie(Box<LpmTrie>),
    Slots(SlotArray),
    Ringbuf(Ringbuf),
    Queue(QueueStack),
    Bloom(Bloom),
    /// A perf event array, whose events are the recorder's.
    PerfEvents,
}

/// Why a map cannot be created or filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The type is not supported.
    #[error("map {name}: type {map_type} is not supported")]
    Unsupported {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
    },
    /// A number of the declaration is out of range.
    #[error("map {name} ({map_type}): {field} is {value}, allowed is {allowed}; Linux: {errno}")]
    Field {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
        /// `key_size`, `value_size` or `max_entries`.
        field: &'static str,
        /// What it is.
        value: u32,
        /// What it may be.
        allowed: &'static str,
        /// What Linux returns.
        errno: Errno,
    },
    /// The flags do not fit the type.
    #[error("map {name} ({map_type}): map_flags {flags:#x}: {reason}; Linux: {errno}")]
    Flags {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
        /// The flags.
        flags: u32,
        /// What is wrong with them.
        reason: &'static str,
        /// What Linux returns.
        errno: Errno,
    },
    /// The maps in a map of maps are not what it takes.
    #[error("map {name}, inner maps: {reason}; Linux: {errno}")]
    Inner {
        /// Map.
        name: String,
        /// What is wrong.
        reason: &'static str,
        /// What Linux returns.
        errno: Errno,
    },
    /// The system has no memory for it.
    #[error("map {name} ({map_type}): no memory for {max_entries} entries")]
    Memory {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
        /// Declared entries.
        max_entries: u32,
    },
    /// An entry cannot be put into the map.
    #[error("map {name} ({map_type}): entry with key {key}: {errno}")]
    Entry {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
        /// Key in hex.
        key: String,
        /// What Linux returns.
        errno: Errno,
    },
}

impl MapError {
    /// What Linux returns in this case.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Unsupported { .. } => Errno::EINVAL,
            Self::Memory { .. } => Errno::ENOMEM,
            Self::Field { errno, .. }
            | Self::Flags { errno, .. }
            | Self::Inner { errno, .. }
            | Self::Entry { errno, .. } => *errno,
        }
    }
}

impl Map {
    /// Creates an empty map with one value for each RX queue in per-CPU maps.
    pub fn create(spec: &MapSpec, queues: u32) -> Result<Self, MapError> {
        Self::create_for_cpus(spec, queues, queues)
    }

    /// The same; an LRU map evicts as on a machine with this many CPUs (no fewer than the queues),
    /// which is what Linux makes it depend on.
    pub fn create_for_cpus(spec: &MapSpec, queues: u32, cpus: u32) -> Result<Self, MapError> {
        let spec = &with_default_size(spec, cpus.max(queues));
        check(spec)?;
        let storage = match spec.map_type {
            MapType::Array | MapType::PercpuArray => {
                ArrayMap::new(spec, queues).map(Storage::Array)
            }
            MapType::Hash
            | MapType::PercpuHash
            | MapType::LruHash
            | MapType::LruPercpuHash
            | MapType::HashOfMaps
            | MapType::DevmapHash => HashMap::new(spec, queues, cpus.max(queues))
                .map(Box::new)
                .map(Storage::Hash),
            MapType::ProgArray
            | MapType::ArrayOfMaps
            | MapType::Devmap
            | MapType::Cpumap
            | MapType::Xskmap => SlotArray::new(spec).map(Storage::Slots),
            MapType::LpmTrie => Ok(Storage::LpmTrie(Box::new(LpmTrie::new(spec)))),
            MapType::Ringbuf => Ringbuf::new(spec).map(Storage::Ringbuf),
            MapType::Queue | MapType::Stack => Ok(Storage::Queue(QueueStack::new(spec))),
            MapType::PerfEventArray => Ok(Storage::PerfEvents),
            MapType::BloomFilter => Bloom::new(spec).map(Storage::Bloom),
            other => {
                return Err(MapError::Unsupported {
                    name: spec.name.clone(),
                    map_type: other.name(),
                });
            }
        };
        Ok(Self {
            spec: spec.clone(),
            queues,
            storage: storage.map_err(|_| MapError::Memory {
                name: spec.name.clone(),
                map_type: spec.map_type.name(),
                max_entries: spec.max_entries,
            })?,
        })
    }

    /// Its declaration.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// How many values an entry of a per-CPU map has.
    pub fn queues(&self) -> u32 {
        self.queues
    }

    /// Whether programs may read its values.
    pub fn program_reads(&self) -> bool {
        !self.spec.flags.contains(MapFlags::WRONLY_PROG)
    }

    /// Whether programs may write its values, through pointers too.
    pub fn program_writes(&self) -> bool {
        let read_only = matches!(
            self.spec.map_type,
            MapType::Devmap
                | MapType::DevmapHash
                | MapType::Cpumap
                | MapType::Xskmap
                | MapType::ArrayOfMaps
                | MapType::HashOfMaps
                | MapType::ProgArray
        );
        !read_only && !self.spec.flags.contains(MapFlags::RDONLY_PROG)
    }

    /// `map_lookup_elem`: the value of a key, in a per-CPU map this queue's. The view stays valid,
    /// at the same address, while the map lives.
    #[inline]
    pub fn lookup(&self, queue: QueueId, key: &[u8]) -> Option<SharedBytes<'_>> {
        match &self.storage {
            Storage::Array(array) => array.lookup(queue.0, key),
            Storage::Hash(hash) => hash.lookup(queue.0, key),
            Storage::LpmTrie(trie) => trie.lookup(key),
            Storage::Slots(slots) => slots.lookup(key),
            Storage::Ringbuf(_) | Storage::Queue(_) | Storage::Bloom(_) | Storage::PerfEvents => {
                None
            }
        }
    }

    /// The value of a key without a lookup's effect on what an LRU map evicts: for those who go
    /// through all entries.
    pub fn entry(&self, queue: QueueId, key: &[u8]) -> Option<SharedBytes<'_>> {
        match &self.storage {
            Storage::Hash(hash) => hash.entry(queue.0, key),
            _ => self.lookup(queue, key),
        }
    }

    /// `map_update_elem` by a program: sets the value of a key, in a per-CPU map this queue's.
    pub fn update(
        &self,
        queue: QueueId,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), Errno> {
        let (mode, locked) = UpdateMode::from_program_flags(flags)?;
        self.check_sizes(key, Some(value))?;
        if queue.0 >= self.queues {
            return Err(Errno::EINVAL);
        }
        match &self.storage {
            _ if locked => self.update_locked(queue, key, value, mode),
            // The verifier refuses programs that update these.
            _ if self.spec.map_type.holds_maps() => Err(Errno::EOPNOTSUPP),
            Storage::Array(array) => array.update(queue.0, key, value, mode),
            Storage::Hash(hash) => hash.update(queue.0, key, value, mode),
            Storage::LpmTrie(trie) => trie.update(key, value, mode),
            // The verifier refuses programs that update these.
            Storage::Slots(_)
            | Storage::Ringbuf(_)
            | Storage::Queue(_)
            | Storage::Bloom(_)
            | Storage::PerfEvents => Err(Errno::EOPNOTSUPP),
        }
    }

    /// An update with `BPF_F_LOCK`: the value that is there is written where it is.
    fn update_locked(
        &self,
        queue: QueueId,
        key: &[u8],
        value: &[u8],
        mode: UpdateMode,
    ) -> Result<(), Errno> {
        match (&self.storage, self.spec.spin_lock) {
            (Storage::Array(array), None) => array.refuse_lock(key, mode),
            (Storage::Array(array), Some(lock)) => {
                let place = array.lookup(queue.0, key).ok_or(Errno::E2BIG)?;
                mode.check(true)?;
                write_locked(place, value, lock)
            }
            (Storage::Hash(hash), Some(lock)) => {
                let place = hash.entry(queue.0, key);
                mode.check(place.is_some())?;
                match place {
                    Some(place) => write_locked(place, value, lock),
                    None => hash.update(queue.0, key, value, mode),
                }
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// `map_delete_elem` by a program.
    pub fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.check_sizes(key, None)?;
        match &self.storage {
            Storage::Array(_) => Err(Errno::EINVAL),
            Storage::Hash(hash) => hash.delete(key),
            Storage::LpmTrie(trie) => trie.delete(key),
            // The verifier refuses programs that delete from these.
            Storage::Slots(_)
            | Storage::Ringbuf(_)
            | Storage::Queue(_)
            | Storage::Bloom(_)
            | Storage::PerfEvents => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `map_push_elem`: adds a value to a queue, stack or bloom filter.
    pub fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check_sizes(&[], Some(value))?;
        match &self.storage {
            Storage::Queue(queue) => queue.push(value, flags),
            Storage::Bloom(bloom) => bloom.push(value, flags),
            // The verifier refuses programs that push to others.
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `map_pop_elem`: takes the next value out of a queue or stack; zeros if there is none.
    pub fn pop(&self, value: &mut [u8]) -> Result<(), Errno> {
        self.check_sizes(&[], Some(value))?;
        match &self.storage {
            Storage::Queue(queue) => give(queue.pop(), value),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `map_peek_elem`: the next value of a queue or stack, or zeros; of a bloom filter, whether
    /// `value` may be in.
    pub fn peek(&self, value: &mut [u8]) -> Result<(), Errno> {
        self.check_sizes(&[], Some(value))?;
        match &self.storage {
            Storage::Queue(queue) => give(queue.peek(), value),
            Storage::Bloom(bloom) => bloom.peek(value),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// The program at an index of a prog array, by its number in the module.
    #[inline]
    pub fn program(&self, index: u32) -> Option<u32> {
        match &self.storage {
            Storage::Slots(slots) if self.spec.map_type == MapType::ProgArray => {
                slots.program(index)
            }
            _ => None,
        }
    }

    /// The map at a key of a map of maps, by its number in the module: what `map_lookup_elem` there
    /// gives to a program.
    pub fn inner(&self, key: &[u8]) -> Option<u32> {
        match &self.storage {
            Storage::Slots(slots) if self.spec.map_type.holds_maps() => {
                slots.program(index_of(key)?)
            }
            Storage::Hash(hash) if self.spec.map_type.holds_maps() => {
                let map = hash.lookup(0, key)?.load(0, Size::W)?;
                u32::try_from(map).ok()
            }
            _ => None,
        }
    }

    /// The ring buffer, if it is one.
    #[inline]
    pub fn ringbuf(&self) -> Option<&Ringbuf> {
        match &self.storage {
            Storage::Ringbuf(ring) => Some(ring),
            _ => None,
        }
    }

    /// `BPF_MAP_LOOKUP_ELEM` by user space.
    pub fn user_lookup(&self, key: &[u8]) -> Result<MapValue, Errno> {
        if self.spec.flags.contains(MapFlags::WRONLY) {
            return Err(Errno::EPERM);
        }
        self.check_sizes(key, None)?;
        let values = match &self.storage {
            Storage::Array(array) => array.lookup_all(key),
            Storage::Hash(hash) => hash.lookup_all(key),
            Storage::LpmTrie(trie) => trie.lookup(key).map(|value| vec![value.to_vec()]),
            // Sockets have no number outside.
            Storage::Slots(_) if self.spec.map_type == MapType::Xskmap => {
                return Err(Errno::EOPNOTSUPP);
            }
            Storage::Slots(slots) => slots.value(key).map(|value| vec![value]),
            Storage::Queue(queue) => queue.peek().map(|value| vec![value]),
            // There a value is the question: `Map::peek`.
            Storage::Bloom(_) => return Err(Errno::EOPNOTSUPP),
            Storage::Ringbuf(_) | Storage::PerfEvents => return Err(Errno::ENOTSUPP),
        };
        Ok(self.map_value(values.ok_or(Errno::ENOENT)?))
    }

    /// `BPF_MAP_UPDATE_ELEM` by user space. A per-CPU map takes one value for each queue, or one
    /// plain value for all of them. A prog array takes the program's number in the module.
    pub fn user_update(&self, key: &[u8], value: &MapValue, flags: u64) -> Result<(), Errno> {
        if self.spec.frozen || self.spec.flags.contains(MapFlags::RDONLY) {
            return Err(Errno::EPERM);
        }
        self.fill(key, value, flags)
    }

    /// `BPF_MAP_DELETE_ELEM` by user space.
    pub fn user_delete(&self, key: &[u8]) -> Result<(), Errno> {
        if self.spec.frozen || self.spec.flags.contains(MapFlags::RDONLY) {
            return Err(Errno::EPERM);
        }
        self.check_sizes(key, None)?;
        match &self.storage {
            Storage::Array(_) | Storage::Queue(_) => Err(Errno::EINVAL),
            Storage::Hash(hash) => hash.delete(key),
            Storage::LpmTrie(trie) => trie.delete(key),
            Storage::Slots(slots) => slots.delete(key),
            Storage::Bloom(_) => Err(Errno::EOPNOTSUPP),
            Storage::Ringbuf(_) | Storage::PerfEvents => Err(Errno::ENOTSUPP),
        }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` of a queue or stack by user space.
    pub fn user_pop(&self) -> Result<MapValue, Errno> {
        let restricted = MapFlags::RDONLY | MapFlags::WRONLY;
        if self.spec.frozen || self.spec.flags.0 & restricted != 0 {
            return Err(Errno::EPERM);
        }
        match &self.storage {
            Storage::Queue(queue) => queue.pop().map(MapValue::Plain).ok_or(Errno::ENOENT),
            _ => Err(Errno::ENOTSUPP),
        }
    }

    /// What it holds now, sorted by key; of a queue or stack the oldest first; nothing of a ring
    /// buffer or bloom filter. A program that runs meanwhile may change values while they are
    /// read, as in the kernel.
    pub fn contents(&self) -> MapContents {
        let mut entries = match &self.storage {
            Storage::Array(array) => array.entries(),
            Storage::Hash(hash) => hash.entries(),
            Storage::LpmTrie(trie) => trie.entries(),
            Storage::Slots(slots) => slots.entries(),
            Storage::Queue(queue) => queue.entries(),
            Storage::Ringbuf(_) | Storage::Bloom(_) | Storage::PerfEvents => Vec::new(),
        };
        if !self.spec.map_type.is_keyless() {
            entries.sort_unstable();
        }
        self.to_contents(entries)
    }

    /// What another backend puts into its own map to make it like this one was before the first
    /// packet: the contents, and of a bloom filter the values that it was loaded with.
    pub fn seed(&self) -> MapContents {
        let Storage::Bloom(bloom) = &self.storage else {
            return self.contents();
        };
        let values = bloom.seeds().into_iter();
        self.to_contents(values.map(|value| (Vec::new(), vec![value])).collect())
    }

    fn to_contents(&self, entries: Vec<(Vec<u8>, Vec<Vec<u8>>)>) -> MapContents {
        let entries = entries
            .into_iter()
            .map(|(key, values)| MapEntry {
                key,
                value: self.map_value(values),
            })
            .collect();
        MapContents { entries }
    }

    /// Puts entries in beside those that are there, as the loader does before the first packet:
    /// frozen and read-only maps take them too.
    pub fn load(&self, contents: &MapContents) -> Result<(), MapError> {
        for entry in &contents.entries {
            self.insert(entry)?;
        }
        Ok(())
    }

    /// Puts one entry in, as [`Map::load`] does.
    pub fn insert(&self, entry: &MapEntry) -> Result<(), MapError> {
        self.fill(&entry.key, &entry.value, super::ANY)
            .map_err(|errno| MapError::Entry {
                name: self.spec.name.clone(),
                map_type: self.spec.map_type.name(),
                key: hex::encode(&entry.key),
                errno,
            })
    }

    /// Puts an entry of the declaration in. A program or a map stands for its number in the module.
    pub fn insert_initial(&self, entry: &InitialEntry) -> Result<(), MapError> {
        let value = match &entry.value {
            InitialValue::Bytes(bytes) => bytes.clone(),
            InitialValue::Program(number) | InitialValue::Map(number) => {
                number.to_le_bytes().to_vec()
            }
        };
        self.insert(&MapEntry {
            key: entry.key.clone(),
            value: MapValue::Plain(value),
        })
    }

    /// Empties it; arrays become zeros.
    pub fn clear(&self) {
        match &self.storage {
            Storage::Array(array) => array.clear(),
            Storage::Hash(hash) => hash.clear(),
            Storage::LpmTrie(trie) => trie.clear(),
            Storage::Slots(slots) => slots.clear(),
            Storage::Ringbuf(ring) => drop(ring.drain()),
            Storage::Queue(queue) => queue.clear(),
            Storage::Bloom(bloom) => bloom.clear(),
            Storage::PerfEvents => {}
        }
    }

    fn fill(&self, key: &[u8], value: &MapValue, flags: u64) -> Result<(), Errno> {
        let mode = UpdateMode::from_flags(flags)?;
        let values = match value {
            MapValue::Plain(value) => vec![value.clone(); self.values_per_entry()],
            MapValue::PerQueue(values) => values.clone(),
        };
        if values.len() != self.values_per_entry() {
            return Err(Errno::EINVAL);
        }
        for value in &values {
            self.check_sizes(key, Some(value))?;
        }
        let mode = if self.spec.map_type == MapType::DevmapHash {
            device_hash_mode(mode, &values[0])?
        } else {
            mode
        };
        match &self.storage {
            Storage::Array(array) => array.update_all(key, &values, mode),
            Storage::Hash(hash) => hash.update_all(0, key, &values, mode),
            Storage::LpmTrie(trie) => trie.update(key, &values[0], mode),
            Storage::Slots(slots) => slots.update(key, &values[0], mode),
            Storage::Queue(queue) => queue.push(&values[0], flags),
            Storage::Bloom(bloom) => bloom.seed(&values[0], flags),
            Storage::Ringbuf(_) | Storage::PerfEvents => Err(Errno::ENOTSUPP),
        }
    }

    fn values_per_entry(&self) -> usize {
        if self.spec.map_type.is_per_cpu() {
            self.queues as usize
        } else {
            1
        }
    }

    fn map_value(&self, mut values: Vec<Vec<u8>>) -> MapValue {
        if self.spec.map_type.is_per_cpu() {
            MapValue::PerQueue(values)
        } else {
            MapValue::Plain(values.pop().unwrap_or_default())
        }
    }

    fn check_sizes(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let key_fits = key.len() == self.spec.key_size as usize;
        let value_fits = value.is_none_or(|value| value.len() == self.spec.value_size as usize);
        if key_fits && value_fits {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
}

/// A perf event array without a size has one place for each CPU, as libbpf makes it.
fn with_default_size(spec: &MapSpec, cpus: u32) -> MapSpec {
    let mut spec = spec.clone();
    if spec.map_type == MapType::PerfEventArray && spec.max_entries == 0 {
        spec.max_entries = cpus;
    }
    if let Some(inner) = &mut spec.inner {
        **inner = with_default_size(inner, cpus);
    }
    spec
}

/// Hands a value of a queue or stack out, or zeros.
fn give(found: Option<Vec<u8>>, value: &mut [u8]) -> Result<(), Errno> {
    let Some(found) = found else {
        value.fill(0);
        return Err(Errno::ENOENT);
    };
    value.copy_from_slice(&found);
    Ok(())
}

/// A hash of devices has no empty places, and takes new entries under `BPF_EXIST` too
/// (`__dev_map_hash_update_elem`).
fn device_hash_mode(mode: UpdateMode, value: &[u8]) -> Result<UpdateMode, Errno> {
    if value.starts_with(&[0; 4]) {
        return Err(Errno::EINVAL);
    }
    Ok(match mode {
        UpdateMode::Exist => UpdateMode::Any,
        UpdateMode::Any | UpdateMode::NoExist => mode,
    })
}
