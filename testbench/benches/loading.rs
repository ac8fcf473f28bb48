//! What loading costs, verification aside: an object of some 9,000 instructions with type and line information (at most
//! 20 ms), and the kernel's types, parsed once (at most 150 ms).
//!
//! `cargo bench -p iom-testbench --bench loading`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use iom_core::object::{KernelTypes, load_object};

const ROUNDS: usize = 15;
/// Functions of the object, each of some ten instructions with its call.
const FUNCTIONS: usize = 920;

fn main() {
    match object() {
        None => println!("object: skipped, clang-19 is not there"),
        Some(bytes) => {
            let module = load_object(&bytes, "bench").expect("a module");
            let insns = module.programs[0].insns.len();
            let times = times(|| load_object(&bytes, "bench").expect("a module"));
            println!(
                "object, {insns} instructions, {} bytes: {times}",
                bytes.len()
            );
        }
    }
    match fs::read("/sys/kernel/btf/vmlinux") {
        Err(error) => println!("kernel's types: skipped, {error}"),
        Ok(bytes) => {
            let times = times(|| KernelTypes::parse(&bytes).expect("the kernel's types"));
            println!("kernel's types, {} bytes: {times}", bytes.len());
        }
    }
}

/// Median, smallest and largest of some runs.
fn times<T>(mut run: impl FnMut() -> T) -> String {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let result = run();
            let time = start.elapsed();
            drop(result);
            time
        })
        .collect();
    times.sort();
    let (median, min, max) = (times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
    format!("{median:.2?} (from {min:.2?} to {max:.2?})")
}

/// A program that calls many functions, compiled.
fn object() -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("bench.c");
    fs::write(&source, text()).expect("a source");
    let output = Command::new("clang-19")
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", "-o", "-"])
        .arg(&source)
        .output()
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(output.stdout)
}

fn text() -> String {
    let mut text = "#define SEC(name) __attribute__((section(name), used))\n\
        unsigned long long counts[64];\n"
        .to_owned();
    for number in 0..FUNCTIONS {
        writeln!(
            text,
            "static __attribute__((noinline)) int part{number}(unsigned int value)\n\
             {{\n\tcounts[value & 63] += {number};\n\tif (value > {number})\n\
             \t\tcounts[{}] ^= value * {}u;\n\treturn (value >> 3) + {number};\n}}",
            number % 64,
            number + 3,
        )
        .expect("text");
    }
    text += "SEC(\"xdp\") int entry(void *ctx)\n{\n\tint value = 1;\n";
    for number in 0..FUNCTIONS {
        writeln!(text, "\tvalue = part{number}(value);").expect("text");
    }
    text + "\treturn value & 1 ? 1 : 2;\n}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
}
