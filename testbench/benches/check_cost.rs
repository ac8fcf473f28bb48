//! What a cross-check costs beside the kernel's test-runs alone: for every module, over all
//! captures of `pcaps/` and, where it is there, `../shared/pcaps`, in one interleaved run.
//!
//! `cargo bench -p iom-testbench --bench check_cost`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;
use iom_core::abi::{Backend, Environment};
use iom_sim::capture::{Input, MergedReader, Order, Policy};
use iom_sim::replay::{Ingress, IngressConfig, PacketBatch, PacketNumbers};
use iom_sim::rss::{DEFAULT_KEY, Rss};
use iom_testbench::cross_check::{CrossCheck, Keep, frame_bytes};
use iom_testbench::lane::{Lane, Setup};
use iom_testbench::map_files::Seeds;
use iom_testbench::mask::Masks;
use iom_testbench::program::{LoadedProgram, ProgramArgs};

/// Interleaved repetitions of each side; the smallest time of each counts.
const ROUNDS: usize = 3;
const BATCH_PACKETS: usize = 512;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn main() {
    if let Err(missing) = KernelBackend::probe() {
        println!("skipped: {missing}");
        return;
    }
    let inputs = captures();
    let (mut check_total, mut alone_total) = (Duration::ZERO, Duration::ZERO);
    println!(
        "{:<12} {:>9} {:>14} {:>14} {:>7}",
        "module", "packets", "check ns", "test-run ns", "ratio"
    );
    for program in modules() {
        let (mut check, mut alone, mut packets) = (Duration::MAX, Duration::MAX, 0);
        for _ in 0..ROUNDS {
            let (time, count) = cross_check(&program, &inputs);
            (check, packets) = (check.min(time), count);
            alone = alone.min(test_runs_alone(&program, &inputs));
        }
        check_total += check;
        alone_total += alone;
        let per_packet = |time: Duration| time.as_nanos() as u64 / packets;
        let ratio = check.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{:<12} {packets:>9} {:>14} {:>14} {ratio:>7.2}",
            program.module.name,
            per_packet(check),
            per_packet(alone)
        );
    }
    println!(
        "all: {:.2}",
        check_total.as_secs_f64() / alone_total.as_secs_f64()
    );
}

fn modules() -> Vec<LoadedProgram> {
    let folders = std::fs::read_dir(root().join("programs"))
        .expect("programs/")
        .map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = folders
        .filter(|path| path.join("module.toml").exists())
        .collect();
    folders.sort();
    let object = |folder: &PathBuf| {
        folder
            .join(folder.file_name().expect("a name"))
            .with_extension("o")
    };
    folders
        .iter()
        .map(|folder| ProgramArgs::at(object(folder)).load().expect("a module"))
        .collect()
}

/// Every capture that can be read to its end as Ethernet.
fn captures() -> Vec<Input> {
    let folders = [root().join("pcaps"), root().join("../shared/pcaps")];
    let files = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let inputs = files.iter().map(|path| Input {
        port: 0,
        file: path.display().to_string(),
    });
    inputs
        .filter(|input| {
            open(std::slice::from_ref(input)).is_some_and(|mut source| reads_to_end(&mut source))
        })
        .collect()
}

fn open(inputs: &[Input]) -> Option<MergedReader> {
    MergedReader::open(inputs, Policy::default(), Order::default()).ok()
}

fn reads_to_end(source: &mut MergedReader) -> bool {
    loop {
        match source.advance() {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
    }
}

fn setup(program: &LoadedProgram) -> Setup {
    let cpus = KernelBackend::cpus();
    Setup {
        ports: program.ports.max(1) as u32,
        queues: 1,
        cpus,
        environment: Environment::default(),
        network: None,
    }
}

fn lane(backend: &dyn Backend, program: &LoadedProgram) -> Lane {
    let seeds = Seeds::read(program, &[]).expect("seeds");
    let target = (&program.module, program.entry);
    Lane::load(
        backend.name(),
        backend,
        true,
        target,
        &setup(program),
        &|maps| seeds.apply(&program.module, maps),
    )
    .expect("it loads")
}

fn ingress(program: &LoadedProgram, lanes: &[Lane]) -> Ingress {
    Ingress::new(IngressConfig {
        rss: Rss::new(&DEFAULT_KEY, 1),
        environment: setup(program).environment,
        numbers: PacketNumbers::Counted,
        range: (0, u64::MAX),
        limit: u64::MAX,
        pad_to: 0,
        frame_bytes: frame_bytes(lanes),
    })
}

/// Time of a whole check behind loading: reading, both backends, comparing packets and maps.
fn cross_check(program: &LoadedProgram, inputs: &[Input]) -> (Duration, u64) {
    let lanes = [
        lane(&Interpreter::default(), program),
        lane(&KernelBackend::default(), program),
    ];
    let mut source = open(inputs).expect("opened before");
    let mut ingress = ingress(program, &lanes);
    let check = CrossCheck {
        lanes: &lanes,
        queues: 1,
        keep: Keep::First(1),
        masks: &Masks::default(),
    };
    let start = Instant::now();
    let report = check
        .run(&mut source, &mut ingress, &mut |_, _, _| Ok(()))
        .expect("it runs");
    let time = start.elapsed();
    assert_eq!(report.differences, 0, "{}", program.module.name);
    (time, report.packets)
}

/// Time that the kernel's worker alone takes for the same packets, which are there already.
fn test_runs_alone(program: &LoadedProgram, inputs: &[Input]) -> Duration {
    let lanes = [lane(&KernelBackend::default(), program)];
    let mut source = open(inputs).expect("opened before");
    let mut ingress = ingress(program, &lanes);
    let mut running = lanes[0].start(1).expect("it starts");
    let mut batch = PacketBatch::default();
    let mut time = Duration::ZERO;
    loop {
        ingress
            .fill(&mut source, &mut batch, BATCH_PACKETS)
            .expect("read before");
        if batch.is_empty() {
            return time;
        }
        let start = Instant::now();
        running.run(&batch).expect("it runs");
        time += start.elapsed();
    }
}
