//! `iom link`: the result runs alike on simulator and kernel, libbpf loads it, and its programs are those that
//! `bpftool gen object` gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use iom_core::isa::module_text;
use iom_core::object::{Kernel, KernelConfig, load_object_for};

fn part(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/objects/link");
    folder.join(name).with_extension("o")
}

fn iom(arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iom"));
    let output = command.args(arguments).args(paths).output();
    output.expect("iom")
}

fn link(into: &Path, parts: &[&str]) -> Output {
    let paths: Vec<_> = parts.iter().map(|name| part(name)).collect();
    let mut paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    paths.extend([Path::new("-o"), into]);
    iom(&["link"], &paths)
}

/// All programs and maps of an object.
fn text(path: &Path) -> String {
    let config = KernelConfig::parse("CONFIG_HZ=250\n");
    let kernel = Kernel {
        types: None,
        config: Some(&config),
    };
    let bytes = fs::read(path).expect("an object");
    let module = load_object_for(&bytes, "linked", &kernel).expect("a module");
    let all: Vec<_> = (0..module.programs.len()).collect();
    module_text(&module, &all)
}

fn has_bpftool() -> bool {
    let found = Command::new("bpftool").arg("version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: bpftool is not there");
    }
    found
}

fn kernel_is_here() -> bool {
    let Err(missing) = iom_backends::kernel::KernelBackend::probe() else {
        return true;
    };
    let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
    eprintln!("skipped: {missing}");
    false
}

#[test]
fn programs_are_those_of_bpftool() {
    if !has_bpftool() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours.o"), folder.path().join("theirs.o"));
    for parts in [["main", "part"], ["part", "main"]] {
        assert!(link(&ours, &parts).status.success());
        let mut command = Command::new("bpftool");
        command.args(["gen", "object"]).arg(&theirs);
        let status = command.args(parts.map(part)).status();
        assert!(status.expect("bpftool").success());
        assert_eq!(text(&ours), text(&theirs));
    }
}

#[test]
fn kernel_loads_the_result_through_libbpf() {
    if !has_bpftool() || !kernel_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("linked.o");
    assert!(link(&object, &["weak", "library"]).status.success());
    // A BPF file system of the test's own, in mount namespace of the shell's own.
    let script = "mount -t bpf bpf \"$1\" && bpftool prog loadall \"$2\" \"$1/programs\" && ls \"$1/programs\"";
    let bpf = folder.path().join("bpf");
    fs::create_dir(&bpf).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    let output = command.args([&bpf, &object]).output().expect("unshare");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "count\n");
}

#[test]
fn kernel_and_simulator_agree_on_the_result() {
    if !kernel_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("linked.o");
    let frames = folder.path().join("frames.json");
    let frame = format!("{{\"name\":\"a\",\"hex\":\"{}\"}}", "5a".repeat(60));
    fs::write(&frames, format!("[{frame},{frame},{frame}]")).expect("frames");
    assert!(link(&object, &["weak", "library"]).status.success());
    let arguments = ["check", "--backends", "sim,kernel"];
    let paths = [object.as_path(), Path::new("-i"), &frames];
    let output = iom(&arguments, &paths);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn what_stays_undefined_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("linked.o");
    let output = link(&object, &["weak"]);
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "iom: counters is defined in none of the objects\n");
    let output = iom(&["disasm"], &[&object]);
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("counters is not defined"), "{errors}");
}

#[test]
fn errors_name_the_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("linked.o");
    let output = link(&object, &["part", "twice"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("part.o and in ") && errors.contains("twice.o"),
        "{errors}"
    );
    assert!(!object.exists());
}
