//! What each module of `programs/` does with each capture of `pcaps/`, as recorded in
//! `modules.txt` (`UPDATE_EXPECT=1` records anew): actions, redirects, events and counters.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use clap::Parser as _;
use expect_test::expect_file;
use iom_backends::{interpreter::Interpreter, kernel::KernelBackend};
use iom_core::{
    abi::{Backend, Environment, Instance, LoadRequest, Network, Recorder, RedirectKind},
    map::{MapContents, MapEntry, MapSet, MapType, MapValue},
    module::Module,
};
use iom_sim::{
    capture::{Input, MergedReader, Order, Policy},
    replay::{Ingress, IngressConfig, PacketBatch, PacketNumbers, Replay},
    rss::{DEFAULT_KEY, Rss},
};
use iom_testbench::{
    map_files::Seeds,
    program::{LoadedProgram, ProgramArgs},
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

#[test]
fn sim_modules_act_as_recorded() {
    expect_file!["modules.txt"].assert_eq(&report(&Interpreter::default()));
}

/// `drop`, `classify` and `acl` keep to the rules of the NFP offload.
#[test]
fn nfp_and_sim_agree_on_modules_for_the_nfp() {
    for name in ["drop", "classify", "acl"] {
        let mut iom = Command::cargo_bin("iom").expect("the binary");
        iom.arg("check")
            .arg(root().join(format!("programs/{name}/{name}.o")));
        for capture in CAPTURES.concat() {
            iom.arg("-i").arg(root().join("pcaps").join(capture));
        }
        iom.args(["--backends", "sim,nfp"]).assert().success();
    }
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
        writeln!(report, "{}", loaded.program.module.name).expect("memory");
        for captures in CAPTURES {
            let summary = loaded.run(backend, captures);
            writeln!(report, "  {}: {summary}", captures.join(" ")).expect("memory");
        }
    }
    report
}

/// A program as the command line names it.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    program: ProgramArgs,
}

struct Loaded {
    program: LoadedProgram,
    seeds: Seeds,
}

impl Loaded {
    fn read(folder: &Path) -> Self {
        let name = folder.file_name().expect("a folder").to_string_lossy();
        let object = folder.join(format!("{name}.o"));
        let line = Line::parse_from([OsStr::new("iom"), object.as_os_str()]);
        let program = line.program.load().expect("a program that loads");
        let seeds = Seeds::read(&program, &[]).expect("the seed");
        Self { program, seeds }
    }

    fn run(&self, backend: &dyn Backend, captures: &[&str]) -> String {
        let module = &self.program.module;
        let maps = MapSet::create(&module.maps, QUEUES).expect("maps");
        let contents = || maps.iter().map(|map| map.contents()).collect::<Vec<_>>();
        let blank = contents();
        self.seeds.apply(module, &maps).expect("the seed");
        let seeded = contents()
            .iter()
            .zip(&blank)
            .map(|(now, blank)| now != blank)
            .collect::<Vec<_>>();
        let request = LoadRequest {
            module,
            entry: self.program.entry,
            maps: &maps,
            environment: Environment::default(),
            network: Network::empty(),
            ports: PORTS,
            queues: QUEUES,
        };
        let instance = backend
            .load(&request)
            .unwrap_or_else(|error| panic!("{}: {error}", module.name));
        let counts = replay(instance.as_ref(), captures);
        let counters = counters(module, &seeded, &instance.maps().expect("maps"));
        [counts, counters].concat().join(", ")
    }
}

/// Entries of maps that grow, and the first words of small arrays, unless a seed fills them.
fn counters(module: &Module, seeded: &[bool], after: &[MapContents]) -> Vec<String> {
    let mut counters = Vec::new();
    for ((spec, &seeded), after) in module.maps.iter().zip(seeded).zip(after) {
        if seeded {
            continue;
        }
        match spec.map_type {
            MapType::Hash | MapType::PercpuHash | MapType::LruHash => {
                counters.push(format!("{} holds {}", spec.name, after.entries.len()));
            }
            MapType::Array | MapType::PercpuArray if (2..=16).contains(&spec.max_entries) => {
                let words: Vec<String> = after
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
        numbers: PacketNumbers::Counted,
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
