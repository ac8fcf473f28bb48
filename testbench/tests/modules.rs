//! What each module of `programs/` does with each capture of `pcaps/`, as recorded in
//! `modules.txt` (`UPDATE_EXPECT=1` records anew): actions, redirects, events and counters.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use expect_test::expect_file;
use iom_backends::kernel::KernelBackend;
use iom_core::{
    abi::{Backend, Environment, Instance, LoadRequest, Recorder, RedirectKind},
    map::{MapContents, MapEntry, MapSet, MapType, MapValue},
    module::Module,
    object::load_object,
};
use iom_sim::{
    capture::{Input, MergedReader, Order, Policy},
    replay::{Ingress, IngressConfig, PacketBatch, Replay},
    rss::{DEFAULT_KEY, Rss},
};

const CAPTURES: [&[&str]; 6] = [
    &["mix.pcap"],
    &["attack.pcap"],
    &["malformed.pcap"],
    &["vlan.pcapng"],
    &["ipv6.pcap"],
    &["routed-a.pcap", "routed-b.pcapng"],
];

const PORTS: u32 = 4;
const QUEUES: u32 = 1;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn kernel_modules_act_as_recorded() {
    if let Err(missing) = KernelBackend::probe() {
        let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    expect_file!["modules.txt"].assert_eq(&report(&KernelBackend::default()));
}

/// One line for each module and capture.
fn report(backend: &dyn Backend) -> String {
    let mut report = String::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("programs"))
        .expect("programs/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("module.toml").exists())
        .collect();
    folders.sort();
    for folder in folders {
        let loaded = Loaded::read(&folder);
        writeln!(report, "{}", loaded.module.name).expect("memory");
        for captures in CAPTURES {
            let summary = loaded.run(backend, captures);
            writeln!(report, "  {}: {summary}", captures.join(" ")).expect("memory");
        }
    }
    report
}

struct Loaded {
    module: Arc<Module>,
    entry: usize,
    seeds: BTreeMap<String, MapContents>,
}

impl Loaded {
    fn read(folder: &Path) -> Self {
        let name = folder
            .file_name()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let manifest: toml::Table = read(&folder.join("module.toml")).parse().expect("TOML");
        let object = fs::read(folder.join(format!("{name}.o"))).expect("the object");
        let module = load_object(&object, &name).expect("an object that loads");
        let entry = manifest["program"]
            .as_str()
            .and_then(|program| module.program_index(program));
        let seeds = match manifest.get("seed").and_then(toml::Value::as_str) {
            Some(file) => seeds(&module, &read(&folder.join(file))),
            None => BTreeMap::new(),
        };
        Self {
            entry: entry.expect("the entry program"),
            seeds,
            module: Arc::new(module),
        }
    }

    fn run(&self, backend: &dyn Backend, captures: &[&str]) -> String {
        let maps = MapSet::create(&self.module.maps, QUEUES).expect("maps");
        for map in maps.iter() {
            if let Some(seed) = self.seeds.get(&map.spec().name) {
                map.load(seed).expect("the seed");
            }
        }
        let request = LoadRequest {
            module: &self.module,
            entry: self.entry,
            maps: &maps,
            environment: Environment::default(),
            ports: PORTS,
            queues: QUEUES,
        };
        let instance = backend
            .load(&request)
            .unwrap_or_else(|error| panic!("{}: {error}", self.module.name));
        let counts = replay(instance.as_ref(), captures);
        let counters = self.counters(&instance.maps().expect("maps"));
        [counts, counters].concat().join(", ")
    }

    /// Entries of maps that grow, and the first words of small arrays.
    fn counters(&self, maps: &[MapContents]) -> Vec<String> {
        let mut counters = Vec::new();
        for (spec, map) in self.module.maps.iter().zip(maps) {
            if self.seeds.contains_key(&spec.name) {
                continue;
            }
            match spec.map_type {
                MapType::Hash | MapType::PercpuHash | MapType::LruHash => {
                    counters.push(format!("{} holds {}", spec.name, map.entries.len()));
                }
                MapType::Array | MapType::PercpuArray if (2..=16).contains(&spec.max_entries) => {
                    let words: Vec<String> = map
                        .entries
                        .iter()
                        .map(|entry| first_word(entry).to_string())
                        .collect();
                    counters.push(format!("{} [{}]", spec.name, words.join(" ")));
                }
                _ => {}
            }
        }
        counters
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first 64 bits of a value, summed over the queues.
fn first_word(entry: &MapEntry) -> u64 {
    let word = |value: &Vec<u8>| {
        value
            .first_chunk()
            .map_or(0, |&word| u64::from_le_bytes(word))
    };
    match &entry.value {
        MapValue::Plain(value) => word(value),
        MapValue::PerQueue(values) => values.iter().map(word).sum(),
    }
}

fn seeds(module: &Module, text: &str) -> BTreeMap<String, MapContents> {
    let json: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).expect("JSON of maps");
    let entry = |entry: &serde_json::Value| {
        let bytes = |name: &str| entry[name].as_str().map(hex);
        let program = || {
            let index = module.program_index(entry["program"].as_str()?)?;
            Some((index as u32).to_le_bytes().to_vec())
        };
        MapEntry {
            key: bytes("key").expect("a key"),
            value: MapValue::Plain(
                bytes("value")
                    .or_else(program)
                    .expect("a value or a program"),
            ),
        }
    };
    json.into_iter()
        .map(|(name, map)| {
            let entries = map["entries"]
                .as_array()
                .expect("entries")
                .iter()
                .map(entry)
                .collect();
            (name, MapContents { entries })
        })
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).expect("hex") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Counts of actions, redirects and events, in words.
fn replay(instance: &dyn Instance, captures: &[&str]) -> Vec<String> {
    let inputs: Vec<Input> = captures
        .iter()
        .enumerate()
        .map(|(port, name)| Input {
            port: port as u32,
            file: root()
                .join("pcaps")
                .join(name)
                .to_string_lossy()
                .into_owned(),
        })
        .collect();
    let mut source =
        MergedReader::open(&inputs, Policy::default(), Order::ByTime).expect("captures");
    let mut ingress = Ingress::new(IngressConfig {
        rss: Rss::new(&DEFAULT_KEY, QUEUES),
        environment: Environment::default(),
        range: (0, u64::MAX),
        limit: u64::MAX,
        pad_to: 0,
        frame_bytes: (14, 3_520),
    });
    let mut batch = PacketBatch::default();
    let mut workers = Replay::new(instance, QUEUES).expect("workers");
    let mut recorder = Recorder::default();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        ingress.fill(&mut source, &mut batch, 64).expect("packets");
        if batch.is_empty() {
            break;
        }
        workers.run(&batch, Some(&mut recorder)).expect("a run");
        for (_, outcome) in workers.results() {
            assert_eq!(outcome.trap, None);
            assert_eq!(outcome.refused, None);
            let target = outcome
                .redirect
                .and_then(|redirect| Some((redirect.kind, redirect.target?)));
            let name = match target {
                Some((RedirectKind::Cpumap, cpu)) => format!("redirect to CPU {cpu}"),
                Some((_, ifindex)) => format!("redirect to interface {ifindex}"),
                None => outcome.action().name().to_owned(),
            };
            *counts.entry(name).or_default() += 1;
        }
    }
    if !recorder.events.is_empty() {
        counts.insert("events".to_owned(), recorder.events.len() as u64);
    }
    counts
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect()
}
