//! What verifying takes beside the kernel's own time for the same program, in one interleaved run:
//! every recorded program of `../shared/verifier` and every module of `programs/`; and the memory
//! that a large generated program takes.
//!
//! `cargo bench -p iom-testbench --bench verify_time`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use iom_backends::kernel::{KernelBackend, VerdictOptions};
use iom_core::generate;
use iom_core::module::Module;
use iom_core::object::load_object;
use iom_core::object::vector::{Alignment, load_vector};
use iom_core::verifier::{Options, verify};

/// Interleaved repetitions of each side; the median of each counts.
const ROUNDS: usize = 7;
/// Instructions of the large program.
const LARGE: usize = 8_000;
/// Slowest programs that are listed.
const SLOWEST: usize = 10;

/// A program with both times in microseconds.
struct Timed {
    name: String,
    ours: f64,
    kernel: f64,
}

fn main() {
    if let Err(missing) = KernelBackend::probe() {
        println!("skipped: {missing}");
        return;
    }
    let mut timed: Vec<_> = programs()
        .iter()
        .filter_map(|(name, module, index, options)| time(name, module, *index, *options))
        .collect();
    report(&mut timed);
    large();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn programs() -> Vec<(String, Module, usize, Options)> {
    let mut programs = Vec::new();
    for file in ["vectors.jsonl", "selftests.jsonl"] {
        let path = root().join("../shared/verifier").join(file);
        let Ok(text) = fs::read_to_string(&path) else {
            println!("skipped: {} is not there", path.display());
            continue;
        };
        // Rows whose bytes are no instructions never reach the verifier.
        let vectors = text
            .lines()
            .filter_map(|line| load_vector(line.as_bytes(), "vector").ok());
        programs.extend(vectors.map(|vector| {
            let options = Options {
                strict_alignment: vector.load_flags & 1 != 0
                    || vector.alignment == Some(Alignment::Strict),
                frequent_states: vector.load_flags & 8 != 0,
                ..Options::default()
            };
            (vector.module.name.clone(), vector.module, 0, options)
        }));
    }
    let folders = fs::read_dir(root().join("programs")).expect("programs/ is there");
    let mut folders: Vec<_> = folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let Ok(bytes) = fs::read(folder.join(format!("{name}.o"))) else {
            continue;
        };
        let module = load_object(&bytes, &name).expect("a module of programs/ loads");
        for index in 0..module.programs.len() {
            let name = format!("{name}: {}", module.programs[index].name);
            programs.push((name, module.clone(), index, Options::default()));
        }
    }
    programs
}

/// Both times of a program on which both agree; `None` for others, as they stop at different places.
fn time(name: &str, module: &Module, index: usize, options: Options) -> Option<Timed> {
    let (mut ours, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let asked = VerdictOptions {
            verifier: options,
            ..VerdictOptions::default()
        };
        let verdict = KernelBackend::verdict(module, index, asked).ok()?;
        kernel.push(verdict.time_us()? as f64);
        let start = Instant::now();
        let verification = verify(module, &module.programs[index], options);
        ours.push(start.elapsed().as_secs_f64() * 1e6);
        if verification.refusal.is_none() != verdict.accepted {
            return None;
        }
    }
    Some(Timed {
        name: name.to_owned(),
        ours: median(&mut ours),
        kernel: median(&mut kernel),
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(timed: &mut [Timed]) {
    let mut ours: Vec<_> = timed.iter().map(|timed| timed.ours).collect();
    let mut kernel: Vec<_> = timed.iter().map(|timed| timed.kernel).collect();
    println!(
        "{} programs: median {:.1} us, kernel {:.1} us",
        timed.len(),
        median(&mut ours),
        median(&mut kernel)
    );
    timed.sort_by(|one, other| other.kernel.total_cmp(&one.kernel));
    println!(
        "{:<52} {:>10} {:>10} {:>6}",
        "slowest for the kernel", "us", "kernel us", "ratio"
    );
    for Timed { name, ours, kernel } in timed.iter().take(SLOWEST) {
        println!(
            "{name:<52} {ours:>10.0} {kernel:>10.0} {:>6.2}",
            ours / kernel
        );
    }
}

/// A large program: time of both, and the memory that ours takes at most.
fn large() {
    let module = generate::large(LARGE, 1).module().expect("it decodes");
    forget_peak_memory();
    let verification = verify(&module, &module.programs[0], Options::default());
    let memory = memory_kb("VmHWM:");
    let Some(Timed { ours, kernel, .. }) = time("large", &module, 0, Options::default()) else {
        println!("large: the kernel and we do not agree");
        return;
    };
    println!(
        "large: {} instructions, {}, {} processed, {} states: {:.0} us, kernel {:.0} us, ratio {:.2}; the whole process {} MB",
        module.programs[0].insns.len(),
        verification
            .refusal
            .map_or("accepted".to_owned(), |refusal| refusal.reason),
        verification.processed,
        verification.total_states,
        ours,
        kernel,
        ours / kernel,
        memory / 1024
    );
}

/// The most memory that the process had is counted from now on.
fn forget_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn memory_kb(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|word| word.parse().ok()).unwrap_or(0)
}
