//! Our maps against the running kernel's, over random operations by user space and by a program:
//! every error number, every value, and at the end all contents.

mod bpf;

use bpf::{
    KernelMap, KernelProgram, Operation, QueueOperation, RESERVED, RingOperation, pin,
    possible_cpus,
};
use iom_core::abi::QueueId;
use iom_core::map::{
    Errno, InitialEntry, InitialValue, Map, MapFlags, MapSet, MapSpec, MapType, MapValue,
};

/// Whether the kernel takes part; prints why not.
fn kernel_is_here(test: &str) -> bool {
    let Some(reason) = bpf::missing() else {
        return true;
    };
    assert!(
        std::env::var_os("IOM_REQUIRE_KERNEL").is_none_or(|value| value != "1"),
        "IOM_REQUIRE_KERNEL=1, but {reason}"
    );
    eprintln!("{test}: skipped: {reason}");
    false
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// One kind of map and how to make keys for it.
struct Case {
    spec: MapSpec,
    /// Makes a key from a random source.
    key: fn(&mut Random) -> Vec<u8>,
    /// Makes one value.
    value: fn(&mut Random) -> Vec<u8>,
    /// Whether programs may touch the map.
    by_program: bool,
    /// On how many CPUs operations take turns.
    cpus: u32,
    steps: u32,
}

fn word_key(random: &mut Random) -> Vec<u8> {
    (random.below(14) as u32).to_le_bytes().to_vec()
}

fn word_value(random: &mut Random) -> Vec<u8> {
    (random.below(1 << 32) as u32).to_le_bytes().to_vec()
}

fn case(map_type: MapType, max_entries: u32) -> Case {
    Case {
        spec: MapSpec::new("m", map_type, 4, 4, max_entries),
        key: word_key,
        value: word_value,
        by_program: true,
        cpus: 1,
        steps: 400,
    }
}

impl Case {
    fn flags(mut self, flags: u32) -> Self {
        self.spec.flags = MapFlags(flags);
        self
    }
}

/// Runs the same random operations on both maps.
fn compare(case: &Case, seed: u64) {
    pin(0);
    let cpus = possible_cpus();
    let kernel = KernelMap::create(&case.spec).unwrap();
    let program = case
        .by_program
        .then(|| KernelProgram::new(&kernel).unwrap());
    let ours = Map::create_for_cpus(&case.spec, cpus, cpus).unwrap();
    let mut random = Random(seed);
    let name = case.spec.map_type.name();
    for step in 0..case.steps {
        let at = format!("{name}, seed {seed}, step {step}");
        let key = (case.key)(&mut random);
        let operation = random.below(10);
        let flags = match random.below(8) {
            0 => 1,
            1 => 2,
            2 => 3 + random.below(6),
            _ => 0,
        };
        // User space stands for queue 0.
        let cpu = random.below(u64::from(case.cpus)) as u32;
        match &program {
            Some(program) if cpu > 0 || random.below(2) == 0 => {
                if case.cpus > 1 {
                    pin(cpu as usize);
                }
                let value = (case.value)(&mut random);
                compare_program(
                    program,
                    &ours,
                    operation,
                    QueueId(cpu),
                    &key,
                    &value,
                    flags,
                    &at,
                );
                if case.cpus > 1 {
                    pin(0);
                }
            }
            _ => compare_user(
                case,
                &kernel,
                &ours,
                operation,
                &key,
                &mut random,
                flags,
                &at,
            ),
        }
        let readable = !case.spec.flags.contains(MapFlags::WRONLY);
        let due = (step + 1) % case.steps.div_ceil(6) == 0 || step + 1 == case.steps;
        if readable && due {
            let entries = ours.contents().entries.into_iter();
            let ours: Vec<_> = entries.map(|entry| (entry.key, entry.value)).collect();
            assert_eq!(ours, kernel.contents(), "contents at {at}");
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "both sides of one step")]
fn compare_program(
    program: &KernelProgram,
    ours: &Map,
    operation: u64,
    queue: QueueId,
    key: &[u8],
    value: &[u8],
    flags: u64,
    at: &str,
) {
    let result = |result: Result<(), Errno>| match result {
        Ok(()) => 0,
        Err(errno) => i64::from(-errno.number()),
    };
    match operation {
        0..5 => {
            let expected = program.run(Operation::Update, key, value, flags).0;
            let got = result(ours.update(queue, key, value, flags));
            assert_eq!(
                got, expected,
                "program's update {key:?} flags {flags} at {at}"
            );
        }
        5..7 => {
            let expected = program.run(Operation::Delete, key, value, flags).0;
            assert_eq!(
                result(ours.delete(key)),
                expected,
                "program's delete {key:?} at {at}"
            );
        }
        _ => {
            let (found, word) = program.run(Operation::Lookup, key, value, flags);
            let expected = (found == 1).then(|| word.to_le_bytes().to_vec());
            let got = ours
                .lookup(queue, key)
                .map(|value| value.to_vec()[..4].to_vec());
            assert_eq!(got, expected, "program's lookup {key:?} at {at}");
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "both sides of one step")]
fn compare_user(
    case: &Case,
    kernel: &KernelMap,
    ours: &Map,
    operation: u64,
    key: &[u8],
    random: &mut Random,
    flags: u64,
    at: &str,
) {
    match operation {
        0..5 => {
            let value = if case.spec.map_type.is_per_cpu() {
                let values = (0..possible_cpus()).map(|_| (case.value)(random));
                MapValue::PerQueue(values.collect())
            } else {
                MapValue::Plain((case.value)(random))
            };
            assert_eq!(
                ours.user_update(key, &value, flags),
                kernel.update(key, &value, flags),
                "user's update {key:?} {value:?} flags {flags} at {at}"
            );
        }
        5..7 => {
            let expected = kernel.delete(key);
            assert_eq!(
                ours.user_delete(key),
                expected,
                "user's delete {key:?} at {at}"
            );
        }
        _ => {
            let expected = kernel.lookup(key);
            assert_eq!(
                ours.user_lookup(key),
                expected,
                "user's lookup {key:?} at {at}"
            );
        }
    }
}

fn compare_all(test: &str, cases: &[Case], seeds: u64) {
    if kernel_is_here(test) {
        for case in cases {
            for seed in 0..seeds {
                compare(case, seed);
            }
        }
    }
}

#[test]
fn kernel_arrays() {
    let cases = [case(MapType::Array, 10), case(MapType::PercpuArray, 10)];
    compare_all("kernel_arrays", &cases, 4);
}

#[test]
fn kernel_hashes() {
    let cases = [
        case(MapType::Hash, 10),
        case(MapType::Hash, 10).flags(MapFlags::NO_PREALLOC),
        case(MapType::PercpuHash, 10),
        case(MapType::PercpuHash, 10).flags(MapFlags::NO_PREALLOC),
    ];
    compare_all("kernel_hashes", &cases, 6);
}

/// Keys of 16 bits that share prefixes, now and then too long.
fn lpm_key(random: &mut Random) -> Vec<u8> {
    let len = random.below(18) as u32;
    let data = [random.below(4) as u8 * 0x51, random.below(4) as u8 * 0x30];
    [&len.to_le_bytes()[..], &data].concat()
}

#[test]
fn kernel_lpm_tries() {
    let mut trie = case(MapType::LpmTrie, 12).flags(MapFlags::NO_PREALLOC);
    trie.spec.key_size = 6;
    trie.key = lpm_key;
    compare_all("kernel_lpm_tries", &[trie], 12);
    // The shortest and the longest keys, prefixes of every length and beyond.
    let mut shortest = case(MapType::LpmTrie, 40).flags(MapFlags::NO_PREALLOC);
    shortest.spec.key_size = 5;
    shortest.key = |random| {
        let len = random.below(10) as u32;
        [&len.to_le_bytes()[..], &[random.below(8) as u8 * 0x24]].concat()
    };
    let mut longest = case(MapType::LpmTrie, 40).flags(MapFlags::NO_PREALLOC);
    longest.spec.key_size = 260;
    longest.key = |random| {
        let len = [0, 1, 2046, 2047, 2048, 2049, u64::from(u32::MAX)][random.below(7) as usize];
        let mut data = vec![0_u8; 256];
        data[0] = random.below(2) as u8 * 0x80;
        data[255] = random.below(4) as u8;
        [&(len as u32).to_le_bytes()[..], &data].concat()
    };
    compare_all("kernel_lpm_tries", &[shortest, longest], 6);
}

#[test]
fn kernel_lru_hashes() {
    type Key = fn(&mut Random) -> Vec<u8>;
    let mut cases = Vec::new();
    let keys: [(u32, Key); 5] = [
        (10, |random| {
            (random.below(24) as u32).to_le_bytes().to_vec()
        }),
        (1, word_key),
        (100, |random| {
            (random.below(170) as u32).to_le_bytes().to_vec()
        }),
        (600, |random| {
            (random.below(900) as u32).to_le_bytes().to_vec()
        }),
        (2000, |random| {
            (random.below(2500) as u32).to_le_bytes().to_vec()
        }),
    ];
    for (max_entries, key) in keys {
        for map_type in [MapType::LruHash, MapType::LruPercpuHash] {
            for flags in [0, MapFlags::NO_COMMON_LRU] {
                let mut lru = case(map_type, max_entries).flags(flags);
                lru.key = key;
                lru.steps = 400 + max_entries * 3;
                cases.push(lru);
            }
        }
    }
    compare_all("kernel_lru_hashes", &cases, 2);
}

/// Operations that take turns on all CPUs, which the kernel's lists of each CPU depend on.
#[test]
fn kernel_maps_of_several_cpus() {
    if !kernel_is_here("kernel_maps_of_several_cpus") {
        return;
    }
    let mut cases = vec![
        case(MapType::PercpuArray, 10),
        case(MapType::PercpuHash, 10),
        case(MapType::Hash, 10),
    ];
    for (max_entries, flags) in [
        (10, 0),
        (10, MapFlags::NO_COMMON_LRU),
        (300, 0),
        (300, MapFlags::NO_COMMON_LRU),
    ] {
        for map_type in [MapType::LruHash, MapType::LruPercpuHash] {
            let mut lru = case(map_type, max_entries).flags(flags);
            lru.key = |random| (random.below(500) as u32).to_le_bytes().to_vec();
            lru.steps = 400 + max_entries * 3;
            cases.push(lru);
        }
    }
    for case in &mut cases {
        case.cpus = possible_cpus();
        for seed in 0..2 {
            compare(case, seed);
        }
    }
}

/// Targets that exist everywhere: no interface, and the loopback interface.
fn device(random: &mut Random) -> Vec<u8> {
    (random.below(2) as u32).to_le_bytes().to_vec()
}

#[test]
fn kernel_devmaps() {
    let mut cases = [case(MapType::Devmap, 10), case(MapType::DevmapHash, 10)];
    for case in &mut cases {
        case.value = device;
        case.by_program = false;
    }
    compare_all("kernel_devmaps", &cases, 4);
}

#[test]
fn kernel_cpumaps() {
    let mut cpumap = case(MapType::Cpumap, 2);
    cpumap.value = |random| {
        ([0, 1, 192, 16_385][random.below(4) as usize] as u32)
            .to_le_bytes()
            .to_vec()
    };
    cpumap.key = |random| (random.below(4) as u32).to_le_bytes().to_vec();
    cpumap.by_program = false;
    cpumap.steps = 60;
    compare_all("kernel_cpumaps", &[cpumap], 2);
}

#[test]
fn kernel_prog_arrays() {
    if !kernel_is_here("kernel_prog_arrays") {
        return;
    }
    let spec = MapSpec::new("m", MapType::ProgArray, 4, 4, 4);
    let kernel = KernelMap::create(&spec).unwrap();
    let ours = Map::create(&spec, 1).unwrap();
    let program = {
        let other = KernelMap::create(&MapSpec::new("m", MapType::Array, 4, 4, 1)).unwrap();
        KernelProgram::new(&other).unwrap()
    };
    let mut random = Random(7);
    for step in 0..400 {
        let key = (random.below(6) as u32).to_le_bytes();
        let flags = [0, 0, 0, 1, 2, 4][random.below(6) as usize];
        let plain = |word: u32| MapValue::Plain(word.to_le_bytes().to_vec());
        let (ours, kernel) = match random.below(3) {
            0 => (
                ours.user_update(&key, &plain(0), flags),
                kernel.update(&key, &plain(program.fd()), flags),
            ),
            1 => (ours.user_delete(&key), kernel.delete(&key)),
            _ => (
                ours.user_lookup(&key)
                    .map(|value| assert_eq!(value, plain(0))),
                kernel.lookup(&key).map(|_| ()),
            ),
        };
        assert_eq!(ours, kernel, "key {key:?} flags {flags} at step {step}");
    }
}

fn status(result: Result<(), Errno>) -> i64 {
    result.map_or_else(|errno| i64::from(-errno.number()), |()| 0)
}

#[test]
fn kernel_queues_and_stacks() {
    if !kernel_is_here("kernel_queues_and_stacks") {
        return;
    }
    for (map_type, seed) in [MapType::Queue, MapType::Stack].into_iter().zip(1..) {
        let spec = MapSpec::new("m", map_type, 0, 4, 5);
        let kernel = KernelMap::create(&spec).unwrap();
        let program = KernelProgram::for_queue(&kernel).unwrap();
        let ours = Map::create(&spec, 1).unwrap();
        let mut random = Random(seed);
        for step in 0..1500 {
            let at = format!("{} step {step}", map_type.name());
            let value = word_value(&mut random);
            let flags = [0, 0, 0, 2, 2, 1, 3, 4][random.below(8) as usize];
            let mut found = value.clone();
            let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            match random.below(9) {
                0..2 => {
                    let got = status(ours.push(&value, flags));
                    let expected = program.run_queue(QueueOperation::Push, &value, flags).0;
                    assert_eq!(got, expected, "push flags {flags} at {at}");
                }
                2 => {
                    let got = status(ours.pop(&mut found));
                    let expected = program.run_queue(QueueOperation::Pop, &value, 0);
                    assert_eq!((got, word(&found)), expected, "pop at {at}");
                }
                3 => {
                    let got = status(ours.peek(&mut found));
                    let expected = program.run_queue(QueueOperation::Peek, &value, 0);
                    assert_eq!((got, word(&found)), expected, "peek at {at}");
                }
                4..6 => {
                    let value = MapValue::Plain(value);
                    let expected = kernel.update(&[], &value, flags);
                    assert_eq!(ours.user_update(&[], &value, flags), expected, "{at}");
                }
                6 => assert_eq!(ours.user_pop(), kernel.pop(), "{at}"),
                7 => assert_eq!(ours.user_lookup(&[]), kernel.lookup(&[]), "{at}"),
                _ => assert_eq!(ours.user_delete(&[]), kernel.delete(&[]), "{at}"),
            }
        }
    }
}

/// With `BPF_F_ZERO_SEED` values that were never put in are found or not as in the kernel.
#[test]
fn kernel_bloom_filters() {
    if !kernel_is_here("kernel_bloom_filters") {
        return;
    }
    let shapes = [
        (4, 20, 0),
        (4, 300, 1),
        (8, 40, 3),
        (7, 33, 15),
        (13, 64, 2),
        (24, 9, 7),
    ];
    for (value_size, max_entries, hashes) in shapes {
        let mut spec = MapSpec::new("m", MapType::BloomFilter, 0, value_size, max_entries);
        spec.flags = MapFlags(MapFlags::ZERO_SEED);
        spec.extra = hashes;
        let kernel = KernelMap::create(&spec).unwrap();
        let program = KernelProgram::for_bloom(&kernel).unwrap();
        let ours = Map::create(&spec, 1).unwrap();
        let mut random = Random(u64::from(value_size));
        let mut false_positives = 0;
        for step in 0..2000 {
            let at = format!("{value_size} bytes, {hashes} hashes, step {step}");
            let mut value = vec![random.below(8) as u8; value_size as usize];
            value[0] = random.below(256) as u8;
            let flags = [0, 0, 0, 0, 1, 2, 4][random.below(7) as usize];
            match random.below(60) {
                0 => {
                    let plain = MapValue::Plain(value);
                    let expected = kernel.update(&[], &plain, flags);
                    assert_eq!(ours.user_update(&[], &plain, flags), expected, "{at}");
                }
                1 => {
                    let expected = program.run_queue(QueueOperation::Push, &value, flags).0;
                    assert_eq!(status(ours.push(&value, flags)), expected, "{at}");
                }
                _ => {
                    let got = ours.peek(&mut value);
                    assert_eq!(got, kernel.contains(&value), "{at}");
                    let expected = program.run_queue(QueueOperation::Peek, &value, 0).0;
                    assert_eq!(status(got), expected, "{at}");
                    false_positives += u32::from(got.is_ok());
                }
            }
        }
        assert!(false_positives > 0, "the filter never found anything");
        assert_eq!(ours.user_delete(&[]), kernel.delete(&[]));
    }
}

#[test]
fn kernel_ring_buffers() {
    if !kernel_is_here("kernel_ring_buffers") {
        return;
    }
    let spec = MapSpec::new("m", MapType::Ringbuf, 0, 0, 4096);
    let kernel = KernelMap::create(&spec).unwrap();
    let program = KernelProgram::for_ring(&kernel).unwrap();
    let map = Map::create(&spec, 1).unwrap();
    let ours = map.ringbuf().unwrap();
    let mut random = Random(11);
    for step in 0..600 {
        let len = random.below(901);
        let flags = [0, 0, 1, 2, 3, 4][random.below(6) as usize];
        match random.below(8) {
            0..5 => {
                let result = ours.output(&vec![0; len as usize], flags);
                let result = result.map_or_else(|errno| i64::from(-errno.number()), |()| 0);
                let expected = program.run_ring(RingOperation::Output, len, flags);
                assert_eq!(
                    result, expected,
                    "output of {len} flags {flags} at step {step}"
                );
            }
            5..7 => {
                let record = ours.reserve(RESERVED, flags);
                let got = record.is_some();
                if let Some(record) = record {
                    ours.discard(record.address()).unwrap();
                }
                let expected = program.run_ring(RingOperation::Discard, 0, flags);
                assert_eq!(
                    i64::from(got),
                    expected,
                    "reservation flags {flags} at step {step}"
                );
            }
            _ => {
                ours.drain();
                bpf::set_consumer(&kernel, ours.query(2));
            }
        }
        for question in 0..5 {
            let expected = program.run_ring(RingOperation::Query, 0, question);
            assert_eq!(
                ours.query(question) as i64,
                expected,
                "query {question} at step {step}"
            );
        }
    }
}

/// Maps that user space may only read or only write.
#[test]
fn kernel_access() {
    let mut cases = Vec::new();
    for map_type in [
        MapType::Array,
        MapType::Hash,
        MapType::PercpuHash,
        MapType::LruHash,
    ] {
        for flags in [MapFlags::RDONLY, MapFlags::WRONLY] {
            let mut case = case(map_type, 10).flags(flags);
            case.steps = 60;
            cases.push(case);
        }
    }
    compare_all("kernel_access", &cases, 1);
}

/// Maps of every type, some of which differ from others in one thing.
fn inner_specs() -> Vec<MapSpec> {
    let spec = |map_type, key, value, max_entries, flags| {
        let mut spec = MapSpec::new("inner", map_type, key, value, max_entries);
        spec.flags = MapFlags(flags);
        spec
    };
    let inner_map = MapFlags::INNER_MAP;
    let mut nested = spec(MapType::ArrayOfMaps, 4, 4, 2, 0);
    nested.inner = Some(Box::new(spec(MapType::Array, 4, 4, 1, 0)));
    vec![
        spec(MapType::Array, 4, 4, 1, 0),
        spec(MapType::Array, 4, 4, 2, 0),
        spec(MapType::Array, 4, 8, 2, 0),
        spec(MapType::Array, 4, 4, 1, inner_map),
        spec(MapType::Array, 4, 4, 2, inner_map),
        spec(MapType::PercpuArray, 4, 4, 1, 0),
        spec(MapType::PercpuArray, 4, 4, 2, 0),
        spec(MapType::Hash, 4, 4, 1, 0),
        spec(MapType::Hash, 4, 4, 2, 0),
        spec(MapType::Hash, 8, 4, 2, 0),
        spec(MapType::Hash, 4, 4, 2, MapFlags::NO_PREALLOC),
        spec(MapType::LruHash, 4, 4, 9, 0),
        spec(MapType::LruPercpuHash, 4, 4, 9, 0),
        spec(MapType::PercpuHash, 4, 4, 9, 0),
        spec(MapType::LpmTrie, 8, 4, 9, MapFlags::NO_PREALLOC),
        spec(MapType::Queue, 0, 4, 9, 0),
        spec(MapType::Stack, 0, 4, 9, 0),
        spec(MapType::BloomFilter, 0, 4, 9, 0),
        spec(MapType::Ringbuf, 0, 0, 4096, 0),
        spec(MapType::Ringbuf, 0, 0, 8192, 0),
        spec(MapType::Devmap, 4, 4, 2, 0),
        spec(MapType::Devmap, 4, 4, 3, 0),
        spec(MapType::DevmapHash, 4, 4, 2, 0),
        spec(MapType::Cpumap, 4, 4, 2, 0),
        spec(MapType::Xskmap, 4, 4, 2, 0),
        spec(MapType::Xskmap, 4, 4, 3, 0),
        spec(MapType::PerfEventArray, 4, 4, 2, 0),
        spec(MapType::PerfEventArray, 4, 4, 3, 0),
        spec(MapType::ProgArray, 4, 4, 2, 0),
        nested,
    ]
}

/// What may be the template of a map of maps, and which maps fit it.
#[test]
fn kernel_maps_of_maps() {
    if !kernel_is_here("kernel_maps_of_maps") {
        return;
    }
    let inners = inner_specs();
    let mut differences = Vec::new();
    for outer_type in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        for template in &inners {
            let mut outer = MapSpec::new("outer", outer_type, 4, 4, 2);
            outer.inner = Some(Box::new(template.clone()));
            let kernel = KernelMap::create(&outer);
            let ours = Map::create(&outer, 1).map_err(|error| error.errno());
            let created = (kernel.as_ref().err(), ours.as_ref().err());
            if created.0 != created.1 {
                differences.push(format!("{outer_type:?} of {template:?}: {created:?}"));
            }
            let Ok(kernel) = kernel else { continue };
            for inner in &inners {
                let map = KernelMap::create(inner).unwrap();
                let number = MapValue::Plain(map.fd().to_le_bytes().to_vec());
                let expected = kernel.update(&[0; 4], &number, 0);
                let mut outer = outer.clone();
                outer.initial.push(InitialEntry {
                    key: vec![0; 4],
                    value: InitialValue::Map(0),
                });
                let set = MapSet::create(&[inner.clone(), outer], 1);
                let got = set.map(|_| ()).map_err(|error| error.errno());
                if got != expected {
                    differences.push(format!(
                        "{template:?} takes {inner:?}: kernel {expected:?}, ours {got:?}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What the kernel says to declarations, good and bad.
#[test]
fn kernel_creation() {
    if !kernel_is_here("kernel_creation") {
        return;
    }
    let types = [
        MapType::Array,
        MapType::PercpuArray,
        MapType::Hash,
        MapType::PercpuHash,
        MapType::LruHash,
        MapType::LruPercpuHash,
        MapType::Queue,
        MapType::Stack,
        MapType::BloomFilter,
        MapType::PerfEventArray,
        MapType::Xskmap,
        MapType::ArrayOfMaps,
        MapType::HashOfMaps,
        MapType::LpmTrie,
        MapType::ProgArray,
        MapType::Ringbuf,
        MapType::Devmap,
        MapType::DevmapHash,
        MapType::Cpumap,
    ];
    let keys = [0, 1, 4, 5, 8, 260, 261, 512, 4 << 20];
    let values = [0, 1, 4, 8, 12, 32 << 10, (32 << 10) + 1, 4 << 20];
    let entries = [0, 1, 3, 16, 4096, 4096 * 3, 8192, 8193];
    let mut flags: Vec<u32> = (0..16).map(|bit| 1 << bit).collect();
    flags.extend([0, 0x18, 0x180, 0x88, 0x81, 0x9, 3, 6, 0x41]);
    let mut differences = Vec::new();
    let mut compared = 0;
    for map_type in types {
        for (key, value, max_entries) in sizes(&keys, &values, &entries) {
            for &flags in &flags {
                let mut spec = MapSpec::new("m", map_type, key, value, max_entries);
                spec.flags = MapFlags(flags);
                if map_type.holds_maps() {
                    spec.inner = Some(Box::new(MapSpec::new("inner", MapType::Array, 4, 4, 1)));
                }
                // Ours has the default size that libbpf gives it.
                if map_type == MapType::PerfEventArray && max_entries == 0 {
                    continue;
                }
                let kernel = KernelMap::create(&spec).map(|_| ());
                let ours = Map::create(&spec, 1)
                    .map(|_| ())
                    .map_err(|error| error.errno());
                // How many CPUs a kernel takes at most is a choice of its build.
                if map_type == MapType::Cpumap && kernel == Err(Errno::E2BIG) {
                    continue;
                }
                compared += 1;
                if kernel != ours {
                    differences.push(format!(
                        "{} key {key} value {value} entries {max_entries} flags {flags:#x}: kernel {kernel:?}, ours {ours:?}",
                        map_type.name()
                    ));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(40)].join("\n")
    );
}

/// Every size with the others ordinary, and all pairs of small ones.
fn sizes(keys: &[u32], values: &[u32], entries: &[u32]) -> Vec<(u32, u32, u32)> {
    let mut sizes = Vec::new();
    for &key in keys {
        for &value in values {
            sizes.push((key, value, 16));
        }
    }
    for &max_entries in entries {
        for (key, value) in [(4, 4), (0, 0), (8, 8), (0, 4)] {
            sizes.push((key, value, max_entries));
        }
    }
    sizes
}
