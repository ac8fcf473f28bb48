//! Map declarations, as an object makes them and the kernel's `BPF_MAP_CREATE` takes them.

/// Map types, with Linux's numbers (`enum bpf_map_type`), so that one that is not supported can be
/// refused by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are Linux's own")]
pub enum MapType {
    Unspec = 0,
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PercpuHash = 5,
    PercpuArray = 6,
    StackTrace = 7,
    CgroupArray = 8,
    LruHash = 9,
    LruPercpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
    Devmap = 14,
    Sockmap = 15,
    Cpumap = 16,
    Xskmap = 17,
    Sockhash = 18,
    CgroupStorage = 19,
    ReuseportSockarray = 20,
    PercpuCgroupStorage = 21,
    Queue = 22,
    Stack = 23,
    SkStorage = 24,
    DevmapHash = 25,
    StructOps = 26,
    Ringbuf = 27,
    InodeStorage = 28,
    TaskStorage = 29,
    BloomFilter = 30,
    UserRingbuf = 31,
    CgrpStorage = 32,
    Arena = 33,
}

impl MapType {
    /// Every type with its bpftool name, in order of the numbers.
    pub const ALL: [(Self, &'static str); 34] = [
        (Self::Unspec, "unspec"),
        (Self::Hash, "hash"),
        (Self::Array, "array"),
        (Self::ProgArray, "prog_array"),
        (Self::PerfEventArray, "perf_event_array"),
        (Self::PercpuHash, "percpu_hash"),
        (Self::PercpuArray, "percpu_array"),
        (Self::StackTrace, "stack_trace"),
        (Self::CgroupArray, "cgroup_array"),
        (Self::LruHash, "lru_hash"),
        (Self::LruPercpuHash, "lru_percpu_hash"),
        (Self::LpmTrie, "lpm_trie"),
        (Self::ArrayOfMaps, "array_of_maps"),
        (Self::HashOfMaps, "hash_of_maps"),
        (Self::Devmap, "devmap"),
        (Self::Sockmap, "sockmap"),
        (Self::Cpumap, "cpumap"),
        (Self::Xskmap, "xskmap"),
        (Self::Sockhash, "sockhash"),
        (Self::CgroupStorage, "cgroup_storage"),
        (Self::ReuseportSockarray, "reuseport_sockarray"),
        (Self::PercpuCgroupStorage, "percpu_cgroup_storage"),
        (Self::Queue, "queue"),
        (Self::Stack, "stack"),
        (Self::SkStorage, "sk_storage"),
        (Self::DevmapHash, "devmap_hash"),
        (Self::StructOps, "struct_ops"),
        (Self::Ringbuf, "ringbuf"),
        (Self::InodeStorage, "inode_storage"),
        (Self::TaskStorage, "task_storage"),
        (Self::BloomFilter, "bloom_filter"),
        (Self::UserRingbuf, "user_ringbuf"),
        (Self::CgrpStorage, "cgrp_storage"),
        (Self::Arena, "arena"),
    ];

    /// The type with this Linux number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(number as usize)
            .map(|&(map_type, _)| map_type)
    }

    /// The type with this bpftool name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|&(map_type, _)| map_type)
    }

    /// Linux's number.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// bpftool's name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Whether the map keeps one value for each CPU (here: each RX queue).
    pub const fn is_per_cpu(self) -> bool {
        matches!(
            self,
            Self::PercpuHash | Self::PercpuArray | Self::LruPercpuHash
        )
    }

    /// Whether its values are maps.
    pub const fn holds_maps(self) -> bool {
        matches!(self, Self::ArrayOfMaps | Self::HashOfMaps)
    }

    /// Whether its entries have values but no keys, and programs push, pop and peek them.
    pub const fn is_keyless(self) -> bool {
        matches!(self, Self::Queue | Self::Stack | Self::BloomFilter)
    }
}

/// `map_flags` of `BPF_MAP_CREATE`, with Linux's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapFlags(pub u32);

impl MapFlags {
    /// `BPF_F_NO_PREALLOC`
    pub const NO_PREALLOC: u32 = 1 << 0;
    /// `BPF_F_NO_COMMON_LRU`
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// `BPF_F_NUMA_NODE`
    pub const NUMA_NODE: u32 = 1 << 2;
    /// `BPF_F_RDONLY`: user space may not write.
    pub const RDONLY: u32 = 1 << 3;
    /// `BPF_F_WRONLY`: user space may not read.
    pub const WRONLY: u32 = 1 << 4;
    /// `BPF_F_ZERO_SEED`
    pub const ZERO_SEED: u32 = 1 << 6;
    /// `BPF_F_RDONLY_PROG`: programs may not write.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// `BPF_F_WRONLY_PROG`: programs may not read.
    pub const WRONLY_PROG: u32 = 1 << 8;
    /// `BPF_F_MMAPABLE`
    pub const MMAPABLE: u32 = 1 << 10;
    /// `BPF_F_PRESERVE_ELEMS`: events stay in the array when who put them there is gone.
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    /// `BPF_F_INNER_MAP`
    pub const INNER_MAP: u32 = 1 << 12;

    /// The flags above with their names in text.
    pub const NAMES: [(u32, &'static str); 11] = [
        (Self::NO_PREALLOC, "no_prealloc"),
        (Self::NO_COMMON_LRU, "no_common_lru"),
        (Self::NUMA_NODE, "numa_node"),
        (Self::RDONLY, "rdonly"),
        (Self::WRONLY, "wronly"),
        (Self::ZERO_SEED, "zero_seed"),
        (Self::RDONLY_PROG, "rdonly_prog"),
        (Self::WRONLY_PROG, "wronly_prog"),
        (Self::MMAPABLE, "mmapable"),
        (Self::PRESERVE_ELEMS, "preserve_elems"),
        (Self::INNER_MAP, "inner_map"),
    ];

    /// The bit with this name.
    pub fn from_name(name: &str) -> Option<u32> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(bit, _)| *bit)
    }

    /// Whether all these bits are set.
    pub const fn contains(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// A map declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name; for global data the name of its section (`.rodata`, `.bss`, `.data.counters`).
    pub name: String,
    /// Type.
    pub map_type: MapType,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value; in a per-CPU map, in one CPU's value.
    pub value_size: u32,
    /// How many entries at most; of a ring buffer, its bytes.
    pub max_entries: u32,
    /// Flags.
    pub flags: MapFlags,
    /// `map_extra` (hash functions of a bloom filter).
    pub extra: u64,
    /// BTF type ids of key and value in the module's BTF; 0 where there is none.
    pub btf_types: (u32, u32),
    /// Where the `struct bpf_spin_lock` of a value starts, if values have one.
    pub spin_lock: Option<u32>,
    /// Entries that the object itself declares: contents of global data (one entry with a 4-byte
    /// zero key), static prog-array values.
    pub initial: Vec<InitialEntry>,
    /// The loader freezes the map after filling it (`.rodata`): neither programs nor user space
    /// change it afterwards.
    pub frozen: bool,
    /// Global data section rather than a declared map.
    pub data_section: bool,
    /// `LIBBPF_PIN_BY_NAME` was asked for.
    pub pin_by_name: bool,
    /// Template of the inner maps of a map of maps.
    pub inner: Option<Box<MapSpec>>,
}

impl MapSpec {
    /// A declaration without flags, contents or type information.
    pub fn new(
        name: &str,
        map_type: MapType,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    ) -> Self {
        Self {
            name: name.to_owned(),
            map_type,
            key_size,
            value_size,
            max_entries,
            flags: MapFlags::default(),
            extra: 0,
            btf_types: (0, 0),
            spin_lock: None,
            initial: Vec::new(),
            frozen: false,
            data_section: false,
            pin_by_name: false,
            inner: None,
        }
    }
}

/// An entry that exists before the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialEntry {
    /// Key bytes.
    pub key: Vec<u8>,
    /// Value.
    pub value: InitialValue,
}

/// Value of an [`InitialEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialValue {
    /// Bytes, for every CPU of a per-CPU map the same.
    Bytes(Vec<u8>),
    /// A program of the same module, by index (prog arrays, devmap and cpumap programs).
    Program(u32),
    /// A map of the same module, by index (maps of maps).
    Map(u32),
}
