//! Kernel functions in objects: what interpreter and kernel make of the programs of
//! `verifier/kfuncs.c`, and how conntrack is refused.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use iom_backends::kernel::KernelBackend;

fn kernel_is_here() -> bool {
    let Err(missing) = KernelBackend::probe() else {
        return true;
    };
    let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
    eprintln!("skipped: {missing}");
    false
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `iom check` on a program with a capture; gives what it prints.
fn check(program: &str, capture: &str) -> String {
    let object = root().join("testbench/tests/verifier/kfuncs.o");
    let output = Command::cargo_bin("iom")
        .expect("the binary is built")
        .args(["check", "--backends", "sim,kernel", "--program", program])
        .arg(object)
        .arg("-i")
        .arg(root().join("pcaps").join(capture))
        .output()
        .expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{program} {capture}:\n{printed}");
    printed
}

#[test]
fn kernel_and_interpreter_agree_on_kernel_functions() {
    if !kernel_is_here() {
        return;
    }
    for program in ["sum", "nested", "swap", "tail", "record", "memory", "weak"] {
        for capture in ["mix.pcap", "malformed.pcap"] {
            check(program, capture);
        }
    }
}

/// The kernel backend answers for the device that test-run does not have, and says so.
#[test]
fn kernel_and_interpreter_agree_on_receive_metadata() {
    if !kernel_is_here() {
        return;
    }
    let printed = check("receive", "mix.pcap");
    assert!(
        printed.contains("test-run has no XDP metadata"),
        "{printed}"
    );
}
