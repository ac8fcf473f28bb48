//! Maps against a plain ordered map, over random operations, and from several threads at once.

use std::collections::BTreeMap;

use iom_core::abi::QueueId;
use iom_core::map::{ANY, EXIST, Errno, Map, MapFlags, MapSpec, MapType, MapValue, NOEXIST};
use iom_core::memory::SharedBytes;
use proptest::prelude::*;

const QUEUES: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Update {
        queue: u32,
        key: u8,
        value: u32,
        flags: u64,
    },
    Delete {
        key: u8,
    },
    Lookup {
        queue: u32,
        key: u8,
    },
    Add {
        queue: u32,
        key: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    let key = 0..24_u8;
    prop_oneof![
        4 => (queue.clone(), key.clone(), any::<u32>(), 0..4_u64)
            .prop_map(|(queue, key, value, flags)| Op::Update { queue, key, value, flags }),
        3 => key.clone().prop_map(|key| Op::Delete { key }),
        1 => (queue.clone(), key.clone()).prop_map(|(queue, key)| Op::Lookup { queue, key }),
        1 => (queue, key).prop_map(|(queue, key)| Op::Add { queue, key }),
    ]
}

/// The rules of one map type, stated plainly.
struct Model {
    map_type: MapType,
    max_entries: usize,
    entries: BTreeMap<Vec<u8>, Vec<u32>>,
}

impl Model {
    fn new(map_type: MapType, max_entries: usize) -> Self {
        let mut model = Self {
            map_type,
            max_entries,
            entries: BTreeMap::new(),
        };
        if model.is_array() {
            for index in 0..max_entries as u32 {
                model
                    .entries
                    .insert(index.to_le_bytes().to_vec(), model.zeros());
            }
        }
        model
    }

    fn is_array(&self) -> bool {
        matches!(self.map_type, MapType::Array | MapType::PercpuArray)
    }

    fn zeros(&self) -> Vec<u32> {
        vec![
            0;
            if self.map_type.is_per_cpu() {
                QUEUES as usize
            } else {
                1
            }
        ]
    }

    fn place(&self, queue: u32) -> usize {
        if self.map_type.is_per_cpu() {
            queue as usize
        } else {
            0
        }
    }

    fn update(&mut self, queue: u32, key: &[u8], value: u32, flags: u64) -> Result<(), Errno> {
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let exists = self.entries.contains_key(key);
        if !exists && self.is_array() {
            return Err(Errno::E2BIG);
        }
        if exists && flags == NOEXIST {
            return Err(Errno::EEXIST);
        }
        if !exists && flags == EXIST {
            return Err(Errno::ENOENT);
        }
        if !exists && self.entries.len() == self.max_entries {
            return Err(Errno::E2BIG);
        }
        let zeros = self.zeros();
        let place = self.place(queue);
        self.entries.entry(key.to_vec()).or_insert(zeros)[place] = value;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Errno> {
        if self.is_array() {
            return Err(Errno::EINVAL);
        }
        self.entries.remove(key).map(|_| ()).ok_or(Errno::ENOENT)
    }
}

fn key_bytes(key: u8) -> Vec<u8> {
    u32::from(key).to_le_bytes().to_vec()
}

fn check(map_type: MapType, max_entries: u32, ops: &[Op]) {
    let map = Map::create(&MapSpec::new("m", map_type, 4, 4, max_entries), QUEUES).unwrap();
    let mut model = Model::new(map_type, max_entries as usize);
    for op in ops {
        match *op {
            Op::Update {
                queue,
                key,
                value,
                flags,
            } => {
                let key = key_bytes(key);
                assert_eq!(
                    map.update(QueueId(queue), &key, &value.to_le_bytes(), flags),
                    model.update(queue, &key, value, flags),
                    "{op:?}"
                );
            }
            Op::Delete { key } => {
                let key = key_bytes(key);
                assert_eq!(map.delete(&key), model.delete(&key), "{op:?}");
            }
            Op::Lookup { queue, key } => {
                let key = key_bytes(key);
                let value = map.lookup(QueueId(queue), &key).map(SharedBytes::to_vec);
                let expected = model.entries.get(&key);
                let expected =
                    expected.map(|values| values[model.place(queue)].to_le_bytes().to_vec());
                assert_eq!(value, expected, "{op:?}");
            }
            Op::Add { queue, key } => {
                let key = key_bytes(key);
                let place = model.place(queue);
                if let Some(value) = map.lookup(QueueId(queue), &key) {
                    let counter = value.atomic_u32(0).unwrap();
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                if let Some(values) = model.entries.get_mut(&key) {
                    values[place] = values[place].wrapping_add(1);
                }
            }
        }
    }
    let contents: Vec<_> = map
        .contents()
        .entries
        .into_iter()
        .map(|entry| match entry.value {
            MapValue::Plain(value) => (entry.key, vec![value]),
            MapValue::PerQueue(values) => (entry.key, values),
        })
        .collect();
    let expected: Vec<_> = model
        .entries
        .into_iter()
        .map(|(key, values)| {
            let values = values.iter().map(|value| value.to_le_bytes().to_vec());
            (key, values.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(contents, expected);
}

proptest! {
    #[test]
    fn arrays_agree_with_the_model(ops in proptest::collection::vec(op(), 0..200)) {
        check(MapType::Array, 10, &ops);
        check(MapType::PercpuArray, 10, &ops);
    }

    #[test]
    fn hashes_agree_with_the_model(ops in proptest::collection::vec(op(), 0..400)) {
        check(MapType::Hash, 10, &ops);
        check(MapType::PercpuHash, 10, &ops);
        check(MapType::Hash, 100, &ops);
    }
}

/// Churn through many more keys than fit, so that tables are rebuilt and elements used again.
#[test]
fn churn_loses_nothing() {
    let map = Map::create(&MapSpec::new("m", MapType::Hash, 8, 8, 1000), 1).unwrap();
    for round in 0..50_000_u64 {
        map.update(
            QueueId(0),
            &round.to_le_bytes(),
            &(round * 3).to_le_bytes(),
            ANY,
        )
        .unwrap();
        if let Some(old) = round.checked_sub(999) {
            let value = map.lookup(QueueId(0), &old.to_le_bytes()).unwrap();
            assert!(value.equals(&(old * 3).to_le_bytes()));
            map.delete(&old.to_le_bytes()).unwrap();
            assert!(map.lookup(QueueId(0), &old.to_le_bytes()).is_none());
        }
    }
    assert_eq!(map.contents().entries.len(), 999);
}

/// Readers always find keys that stay, while writers replace them and churn others, so that
/// tables grow and elements are used again.
fn share(spec: &MapSpec, key: impl Fn(u64) -> Vec<u8> + Sync) {
    let map = Map::create(spec, 2).unwrap();
    let pair = |number: u64| [number.to_le_bytes(), (!number).to_le_bytes()].concat();
    for steady in 0..16 {
        map.update(QueueId(0), &key(steady), &pair(steady), ANY)
            .unwrap();
    }
    std::thread::scope(|scope| {
        for writer in 1..3_u64 {
            let (map, key) = (&map, &key);
            scope.spawn(move || {
                let queue = QueueId(writer as u32 - 1);
                for round in 0..20_000_u64 {
                    let number = writer * 10_000 + round % 3000;
                    let _ = map.update(queue, &key(number), &pair(number), ANY);
                    let _ = map.delete(&key(writer * 10_000 + (round * 7) % 3000));
                    let steady = round % 16;
                    map.update(queue, &key(steady), &pair(steady), EXIST)
                        .unwrap();
                }
            });
        }
        let (map, key) = (&map, &key);
        scope.spawn(move || {
            for round in 0..100_000_u64 {
                let value = map.lookup(QueueId(0), &key(round % 16));
                assert_eq!(value.expect("a key that stays").len(), 16);
            }
        });
    });
    let live = map.contents().entries;
    assert!(live.len() >= 16);
    for entry in live {
        let MapValue::Plain(value) = entry.value else {
            unreachable!("maps of these types have plain values");
        };
        let number = u64::from_le_bytes(value[..8].try_into().unwrap());
        assert_eq!((entry.key, value), (key(number), pair(number)));
    }
}

#[test]
fn threads_share_a_hash() {
    let spec = MapSpec::new("m", MapType::Hash, 8, 16, 8192);
    share(&spec, |number| number.to_le_bytes().to_vec());
}

#[test]
fn threads_share_an_lru_hash() {
    // With room for all, as an entry that is evicted is no error.
    let spec = MapSpec::new("m", MapType::LruHash, 8, 16, 20_000);
    share(&spec, |number| number.to_le_bytes().to_vec());
}

#[test]
fn threads_share_an_lpm_trie() {
    let mut spec = MapSpec::new("m", MapType::LpmTrie, 8, 16, 8192);
    spec.flags = MapFlags(MapFlags::NO_PREALLOC);
    share(&spec, |number| {
        let spread = (number as u32).wrapping_mul(0x9e37_79b1);
        [32_u32.to_le_bytes(), spread.to_be_bytes()].concat()
    });
}

/// What a ring's producers put in comes out once and whole, in each producer's order.
#[test]
fn threads_share_a_ring_buffer() {
    const RECORDS: u64 = 20_000;
    let map = Map::create(&MapSpec::new("m", MapType::Ringbuf, 0, 0, 4096), 2).unwrap();
    let ring = map.ringbuf().unwrap();
    let mut next = [0_u64; 2];
    std::thread::scope(|scope| {
        for producer in 0..2_u64 {
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let sample = [producer.to_le_bytes(), number.to_le_bytes()].concat();
                    while ring.output(&sample, 0).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        while next != [RECORDS; 2] {
            for sample in ring.drain() {
                let word = |at: usize| u64::from_le_bytes(sample[at..at + 8].try_into().unwrap());
                let producer = word(0) as usize;
                assert_eq!(word(8), next[producer], "producer {producer}");
                next[producer] += 1;
            }
        }
    });
}

/// A declaration of 2^31 entries costs only what is used.
#[test]
fn huge_declarations_are_lazy() {
    let spec = MapSpec::new("m", MapType::Hash, 64, 1024, 1 << 31);
    let map = Map::create(&spec, 1).unwrap();
    map.update(QueueId(0), &[7; 64], &[9; 1024], ANY).unwrap();
    assert_eq!(map.contents().entries.len(), 1);
    let spec = MapSpec::new("m", MapType::Array, 4, 1 << 20, 1 << 30);
    assert_eq!(Map::create(&spec, 1).unwrap_err().errno(), Errno::ENOMEM);
}
