//! Each known difference of `known.rs` has a program here on which it shows. One that no longer
//! shows fails, and must leave the table.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// The known differences that a check of a program between two backends reports.
fn known(assembly: &str, backends: &str) -> Vec<(String, u64)> {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program.bpf");
    fs::write(&program, assembly).unwrap();
    let mut command = Command::cargo_bin("iom").unwrap();
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.arg("check").arg(&program).args([
        "-i",
        "pcaps/mix.pcap",
        "--json",
        "--backends",
        backends,
    ]);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let known = report["known_differences"].as_array().unwrap();
    known
        .iter()
        .map(|entry| {
            (
                entry["reason"].as_str().unwrap().to_owned(),
                entry["packets"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_nfp_has_no_redirect() {
    let known = known("r0 = 4\nexit\n", "sim,nfp");
    assert!(
        matches!(&known[..], [(reason, 742)] if reason.contains("no redirect")),
        "{known:?}"
    );
}

#[test]
fn printed_lines_are_not_compared() {
    if let Err(missing) = iom_backends::kernel::KernelBackend::probe() {
        assert!(std::env::var("IOM_REQUIRE_KERNEL").is_err(), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let program = "
        *(u32 *)(r10 - 4) = 0x0a6968
        r1 = r10
        r1 += -4
        r2 = 4
        call bpf_trace_printk
        r0 = 2
        exit
    ";
    let known = known(
        &format!(".license \"GPL\"\n.program p xdp\n{program}"),
        "sim,kernel",
    );
    assert!(
        matches!(&known[..], [(reason, 0)] if reason.contains("trace_printk")),
        "{known:?}"
    );
}

#[test]
fn nothing_else_is_forgiven() {
    assert_eq!(known("r0 = 2\nexit\n", "sim,nfp"), []);
}
