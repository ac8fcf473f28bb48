//! The verifier's log beside the running kernel's, line by line, over the modules and the recorded
//! programs. `cargo test -p iom-testbench --test kernel_log -- --nocapture` prints the shares.
#![expect(clippy::print_stdout, reason = "the shares are figures to read")]

use std::path::Path;

use iom_backends::kernel::KernelBackend;
use iom_core::module::Module;
use iom_core::object::vector::{Alignment, load_vector};
use iom_core::verifier::{Options, verify};
use iom_testbench::program::ProgramArgs;
use iom_testbench::verdict::both::{LogComparison, compare_logs};
use iom_testbench::verdict::{by_kernel, by_sim};

/// Programs that take more are left out: their logs hold the same lines again and again.
const MAX_PROCESSED: u64 = 4_000;

fn kernel_is_here() -> bool {
    if let Err(error) = KernelBackend::probe() {
        let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|set| set == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL is set, but {error}");
        eprintln!("skipped: {error}");
        return false;
    }
    true
}

/// The logs of all paths of a program; none if it is large, or the kernel cannot be asked about it.
fn compare(module: &Module, entry: usize, options: Options) -> Option<LogComparison> {
    if verify(module, &module.programs[entry], options).processed > MAX_PROCESSED {
        return None;
    }
    let kernel = by_kernel(module, entry, options, 2).ok()?;
    let sim = by_sim(module, entry, options, 2);
    Some(compare_logs(
        &module.programs[entry],
        &sim.log?,
        &kernel.log?,
    ))
}

/// Adds up comparisons and prints where programs part first.
#[derive(Default)]
struct Total {
    lines: usize,
    equal: usize,
    programs: usize,
    alike: usize,
}

impl Total {
    fn add(&mut self, name: &str, logs: &LogComparison) {
        self.lines += logs.lines;
        self.equal += logs.equal;
        self.programs += 1;
        self.alike += usize::from(logs.first.is_none());
        if let Some(first) = &logs.first {
            println!("{name}: sim    {}", first.sim.as_deref().unwrap_or("-"));
            println!("{name}: kernel {}", first.kernel.as_deref().unwrap_or("-"));
        }
    }

    /// At least this share of the lines is equal, in thousandths.
    fn check(&self, what: &str, thousandths: usize) {
        println!(
            "{what}: {} of {} lines are equal, {} of {} logs whole",
            self.equal, self.lines, self.alike, self.programs
        );
        assert!(self.equal * 1000 >= self.lines * thousandths, "{what}");
    }
}

#[test]
fn kernel_logs_of_modules_are_alike() {
    if !kernel_is_here() {
        return;
    }
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    let mut folders: Vec<_> = std::fs::read_dir(programs)
        .expect("programs/")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    let mut total = Total::default();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let object = folder.join(format!("{name}.o"));
        if !object.exists() {
            continue;
        }
        let (loaded, entries) = ProgramArgs::at(object).load_all().expect("an object");
        for entry in entries {
            if let Some(logs) = compare(&loaded.module, entry, Options::default()) {
                total.add(&loaded.module.programs[entry].name, &logs);
            }
        }
    }
    // `spreader` asks for the number of the CPU, which Linux knows the limit of.
    total.check("modules", 900);
}

#[test]
fn kernel_logs_of_recorded_programs_are_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/verifier");
    if !kernel_is_here() {
        return;
    }
    let mut total = Total::default();
    for file in ["vectors.jsonl", "selftests.jsonl"] {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            eprintln!("skipped: {} is not there", folder.join(file).display());
            return;
        };
        for line in text.lines() {
            let Ok(vector) = load_vector(line.as_bytes(), "vector") else {
                continue;
            };
            let strict = vector.load_flags & 1 != 0;
            let options = Options {
                strict_alignment: strict || vector.alignment == Some(Alignment::Strict),
                frequent_states: vector.load_flags & 8 != 0,
                ..Options::default()
            };
            if let Some(logs) = compare(&vector.module, 0, options) {
                total.add(&vector.module.programs[0].name, &logs);
            }
        }
    }
    total.check("recorded", 990);
}
