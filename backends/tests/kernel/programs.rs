//! The modules of `programs/` on the captures of `pcaps/`: the kernel leaves the same behind as
//! the interpreter, and the same each time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;
use iom_core::abi::{Backend, Frame, LoadRequest, Network, QueueId, Recorder};
use iom_core::map::{MapSeed, MapSet, from_json};
use iom_core::module::Module;
use iom_core::object::load_object;
use pcap_file::pcap::PcapReader;

use crate::support::{ENVIRONMENT, Run, assert_same, frame, kernel_is_here};

/// Time in ns and bytes.
type Packet = (u64, Vec<u8>);

/// A module, its entry program and the entries that its maps begin with.
struct Loaded {
    name: String,
    module: Arc<Module>,
    entry: usize,
    seeds: Vec<MapSeed>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn modules() -> Vec<Loaded> {
    let folders = std::fs::read_dir(root().join("programs")).expect("programs/");
    let mut loaded: Vec<Loaded> = folders
        .filter_map(|folder| read_module(&folder.expect("a folder").path()))
        .collect();
    loaded.sort_by(|one, other| one.name.cmp(&other.name));
    loaded
}

fn read_module(folder: &Path) -> Option<Loaded> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let bytes = std::fs::read(folder.join(format!("{name}.o"))).ok()?;
    let module = load_object(&bytes, &name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let manifest = std::fs::read_to_string(folder.join("module.toml")).expect("a manifest");
    let program = manifest
        .lines()
        .find_map(|line| line.strip_prefix("program = "))
        .map(|name| name.trim_matches('"'));
    let entry = program.and_then(|program| module.program_index(program));
    let seeds = std::fs::read_to_string(folder.join("seed.json"));
    let seeds = seeds.map_or(Vec::new(), |text| from_json(&text).expect("a seed"));
    Some(Loaded {
        entry: entry.unwrap_or(0),
        module: Arc::new(module),
        name,
        seeds,
    })
}

impl Loaded {
    fn maps(&self) -> MapSet {
        let maps = MapSet::create(&self.module.maps, 1)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let index = |index: Option<usize>| index.map(|index| index as u32);
        for seed in &self.seeds {
            let at = self.module.map_index(&seed.name).expect("a seeded map");
            let program = |name: &str| index(self.module.program_index(name));
            let map = |name: &str| index(self.module.map_index(name));
            let contents = seed.contents(&self.module.maps[at], program, map);
            let loaded = maps
                .get(at as u32)
                .expect("the map")
                .load(&contents.expect("a seed"));
            loaded.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        maps
    }

    fn run(&self, backend: &dyn Backend, packets: &[Packet]) -> Run {
        let maps = self.maps();
        let instance = backend
            .load(&LoadRequest {
                module: &self.module,
                entry: self.entry,
                maps: &maps,
                environment: ENVIRONMENT,
                network: Network::empty(),
                ports: 4,
                queues: 1,
            })
            .unwrap_or_else(|error| panic!("{}: {error:#?}", self.name));
        let mut frames: Vec<Frame> = (0..).zip(packets).map(new_frame).collect();
        let mut outcomes = Vec::new();
        let mut recorder = Recorder::default();
        let mut worker = instance.worker(QueueId(0)).expect("a worker");
        worker
            .run(&mut frames, &mut outcomes, Some(&mut recorder))
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        drop(worker);
        Run {
            frames,
            outcomes,
            recorder,
            maps: instance.maps().expect("the maps are dumped"),
        }
    }
}

fn new_frame((packet_id, (time_ns, packet)): (u64, &Packet)) -> Frame {
    let mut frame = frame(packet_id, packet);
    frame.ktime_ns = ENVIRONMENT.start_ns + time_ns;
    frame.receive.ingress_ifindex = 2 + (packet_id % 4) as u32;
    frame
}

/// The packets of the captures that the kernel takes, each with its distance in time from the
/// first.
fn captures() -> Vec<(String, Vec<Packet>)> {
    ["mix", "attack", "malformed", "ipv6", "routed-a"]
        .map(|name| {
            let file = File::open(root().join(format!("pcaps/{name}.pcap"))).expect("a capture");
            let mut reader = PcapReader::new(file).expect("a capture's header");
            let mut packets = Vec::new();
            while let Some(packet) = reader.next_packet() {
                let packet = packet.expect("a packet");
                if packet.data.len() < 14 {
                    continue;
                }
                packets.push((packet.timestamp.as_nanos() as u64, packet.data.into_owned()));
            }
            let first = packets.first().map_or(0, |(time, _)| *time);
            for (time, _) in &mut packets {
                *time = time.saturating_sub(first);
            }
            (name.to_owned(), packets)
        })
        .to_vec()
}

#[test]
fn kernel_and_interpreter_agree() {
    if !kernel_is_here() {
        return;
    }
    let captures = captures();
    for loaded in modules() {
        for (capture, packets) in &captures {
            let name = format!("{} on {capture}", loaded.name);
            let interpreter = loaded.run(&Interpreter::default(), packets);
            let kernel = loaded.run(&KernelBackend::default(), packets);
            assert_same(&name, &interpreter, &kernel, &loaded.module);
        }
    }
}

#[test]
fn kernel_runs_are_repeatable() {
    if !kernel_is_here() {
        return;
    }
    let captures = captures();
    for loaded in modules() {
        let (capture, packets) = &captures[0];
        let run = || loaded.run(&KernelBackend::default(), packets);
        let name = format!("{} on {capture}", loaded.name);
        assert_same(&name, &run(), &run(), &loaded.module);
    }
}
