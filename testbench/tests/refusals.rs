//! What `iom verify` says of refused programs, as golden text: classes of errors in assembly, and
//! mistakes in C. `UPDATE_EXPECT=1` rewrites the text. Linux's lines are the running kernel's.

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::expect_file;
use iom_backends::kernel::KernelBackend;
use iom_core::verifier::Options;
use iom_testbench::program::ProgramArgs;
use iom_testbench::verdict::{self, by_kernel, by_sim};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals")
}

fn read(file: &str) -> iom_core::module::Module {
    // Relative, as the source lines of assembly name it.
    let args = ProgramArgs::at(Path::new("tests/refusals").join(file));
    let (loaded, _) = args.load_all().expect("a readable file");
    (*loaded.module).clone()
}

/// Every program's verdict as text, without the time.
fn text(file: &str) -> (usize, String) {
    let module = read(file);
    let mut text = Vec::new();
    for (entry, program) in module.programs.iter().enumerate() {
        let mut verdict = by_sim(&module, entry, Options::default(), 0);
        assert!(!verdict.accepted(), "{} is accepted", program.name);
        for reason in &verdict.reasons {
            let explained = reason.fix.is_some() && reason.what != reason.messages.join("; ");
            assert!(explained, "{}: {reason:?}", program.name);
        }
        verdict.effort.time_us = None;
        verdict::text::write(&module, program, &verdict, &mut text).expect("writes");
        text.push(b'\n');
    }
    let text = String::from_utf8(text).expect("text");
    (module.programs.len(), text)
}

#[test]
fn classes_of_errors_in_assembly() {
    let (count, text) = text("assembly.bpf");
    assert!(count >= 50, "{count}");
    expect_file!["refusals/assembly.txt"].assert_eq(&text);
}

#[test]
fn mistakes_in_c() {
    let (_, text) = text("programs.o");
    expect_file!["refusals/programs.txt"].assert_eq(&text);
}

#[test]
fn the_object_belongs_to_its_source() {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    if Command::new(&clang).arg("--version").output().is_err() {
        eprintln!("skipped: {clang} is not here");
        return;
    }
    let out = tempfile::tempdir().expect("a folder");
    let built = Command::new("sh")
        .arg(folder().join("build.sh"))
        .env("OUT", out.path())
        .status();
    assert!(built.expect("sh").success());
    let bytes = |folder: &Path| std::fs::read(folder.join("programs.o")).expect("an object");
    assert!(
        bytes(out.path()) == bytes(&folder()),
        "run tests/refusals/build.sh"
    );
}

#[test]
fn kernel_says_the_same_of_refused_programs() {
    if let Err(error) = KernelBackend::probe() {
        let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|set| set == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL is set, but {error}");
        eprintln!("skipped: {error}");
        return;
    }
    let mut parted = Vec::new();
    for file in ["assembly.bpf", "programs.o"] {
        let module = read(file);
        for (entry, program) in module.programs.iter().enumerate() {
            let sim = by_sim(&module, entry, Options::default(), 0);
            let kernel = by_kernel(&module, entry, Options::default(), 0).expect("a kernel");
            let lines = |verdict: &verdict::Verdict| {
                let first = verdict.reasons.first().cloned().unwrap_or_default();
                first.messages
            };
            if lines(&sim) != lines(&kernel) {
                parted.push(format!(
                    "{}: {:?}, Linux {:?}",
                    program.name,
                    lines(&sim),
                    lines(&kernel)
                ));
            }
        }
    }
    assert!(parted.is_empty(), "{}", parted.join("\n"));
}
