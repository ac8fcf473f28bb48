//! The verifier against the running kernel's: the same verdict, the same instructions processed and
//! states, the same stack, and the kernel's lines among ours. Over every committed module, over the
//! objects of `verifier/`, and over the folders that `IOM_OBJECTS` names (separated by colons).

mod helpers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use iom_backends::kernel::{KernelBackend, KernelVerdict, VerdictOptions};
use iom_core::isa::Insn;
use iom_core::module::Module;
use iom_core::object::load_object;
use iom_core::verifier::{Options, Verification, verify};
use iom_testbench::target_kernel::TargetKernel;

pub(crate) fn kernel_is_here() -> bool {
    let Err(missing) = KernelBackend::probe() else {
        return true;
    };
    let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
    eprintln!("skipped: {missing}");
    false
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(objects(&path));
        } else if path.extension().is_some_and(|extension| extension == "o") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What differs between the two, `None` if nothing does.
pub(crate) fn difference(ours: &Verification, kernel: &KernelVerdict) -> Option<String> {
    let lines = ours
        .refusal
        .as_ref()
        .map(|refusal| refusal.messages.join("\n"));
    if lines.is_none() != kernel.accepted {
        let said = kernel.message().or(kernel.error.clone());
        return Some(format!("ours {lines:?}, the kernel's {said:?}"));
    }
    let mut text = String::new();
    if let Some(ours) = &lines {
        let message = kernel.message().unwrap_or_default();
        if message.split("; ").any(|line| !ours.contains(line)) {
            let _ = write!(text, "ours {ours:?}, the kernel's {message:?}");
        }
        return (!text.is_empty()).then_some(text);
    }
    let figures = (
        Some(ours.processed),
        Some(ours.total_states),
        Some(ours.peak_states),
        Some(ours.stack_depth.as_str()),
    );
    let kernels = (
        kernel.processed(),
        kernel.total_states(),
        kernel.peak_states(),
        kernel.stack_depth(),
    );
    (figures != kernels).then(|| format!("figures: ours {figures:?}, the kernel's {kernels:?}"))
}

/// Compares all programs of a module; gives how many there are, and the differences.
fn compare(name: &str, module: &Module, differences: &mut Vec<String>) -> usize {
    for (index, program) in module.programs.iter().enumerate() {
        let kernel = match KernelBackend::verdict(module, index, VerdictOptions::default()) {
            Ok(kernel) => kernel,
            Err(error) => {
                eprintln!("{name} {}: not compared: {error}", program.name);
                continue;
            }
        };
        let ours = verify(module, program, Options::default());
        if let Some(text) = difference(&ours, &kernel) {
            differences.push(format!("{name} {}: {text}", program.name));
        }
    }
    module.programs.len()
}

fn compare_folder(folder: &Path) -> (usize, Vec<String>) {
    let kernel = TargetKernel::default();
    let (mut programs, mut differences) = (0, Vec::new());
    for path in objects(folder) {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let bytes = std::fs::read(&path).expect("a readable object");
        match kernel.load(&bytes, &name) {
            Ok(module) => programs += compare(&name, &module, &mut differences),
            Err(error) => eprintln!("{name}: not loaded: {error}"),
        }
    }
    (programs, differences)
}

#[test]
fn kernel_and_verifier_agree_on_the_committed_objects() {
    if !kernel_is_here() {
        return;
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["../programs", "tests/objects", "tests/verifier"] {
        let (programs, differences) = compare_folder(&tests.join(folder));
        eprintln!("{folder}: {programs} programs");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

#[test]
fn kernel_and_verifier_agree_on_chosen_objects() {
    let Ok(folders) = std::env::var("IOM_OBJECTS") else {
        eprintln!("skipped: IOM_OBJECTS names no folder");
        return;
    };
    for folder in folders.split(':').filter(|_| kernel_is_here()) {
        let (programs, differences) = compare_folder(Path::new(folder));
        eprintln!(
            "{folder}: {programs} programs, {} differ",
            differences.len()
        );
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

#[test]
fn kernel_verdicts_tell_planted_faults() {
    if !kernel_is_here() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/acl/acl.o");
    let bytes = std::fs::read(path).expect("a committed module");
    let module = load_object(&bytes, "acl").expect("the module loads");
    let kernel = KernelBackend::verdict(&module, 0, VerdictOptions::default());
    let kernel = kernel.expect("the kernel answers");
    let sound = verify(&module, &module.programs[0], Options::default());
    assert_eq!(difference(&sound, &kernel), None);
    // As if a bug made our verifier miss a comparison, or go another way.
    for fault in [0, 3] {
        let mut program = module.programs[0].clone();
        let jumps = program.insns.iter_mut().filter_map(|insn| match insn {
            Insn::JumpIf { off, .. } => Some(off),
            _ => None,
        });
        *jumps.take(1).next().expect("a comparison") = fault;
        let ours = verify(&module, &program, Options::default());
        assert!(difference(&ours, &kernel).is_some(), "jump by {fault}");
    }
}
