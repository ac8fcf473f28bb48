//! `iom exec` from outside: the conformance suite's protocol, exit codes, and `iom run --trace`.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use assert_cmd::Command;
use expect_test::{Expect, expect};

/// `r0 = *(u8 *)(r1 + 1); exit`
const LOAD: &str = "71 10 01 00 00 00 00 00 95 00 00 00 00 00 00 00";

fn check(arguments: &[&str], stdin: &str, expected: &Expect) {
    let output = Command::cargo_bin("iom")
        .expect("the command")
        .args(arguments)
        .write_stdin(stdin)
        .output()
        .expect("a run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    expected.assert_eq(&format!(
        "exit {}\n{}{}",
        output.status.code().expect("no signal"),
        text(&output.stdout),
        text(&output.stderr)
    ));
}

#[test]
fn the_plugin_protocol() {
    check(
        &["exec", "--plugin", "11 2a 33"],
        LOAD,
        &expect![[r#"
        exit 0
        2a
    "#]],
    );
    check(
        &["exec", "--plugin"],
        LOAD,
        &expect![[r#"
        exit 1
        iom: instruction 0: read of 1 bytes at 0x1, where there is no memory
    "#]],
    );
    check(
        &["exec", "--plugin"],
        "no hex",
        &expect![[r#"
        exit 2
        iom: standard input is not hex bytes
    "#]],
    );
    check(
        &["exec", "--plugin"],
        "ff 00 00 00 00 00 00 00",
        &expect![[r#"
            exit 3
            iom: instruction 0: unknown opcode 0xff
        "#]],
    );
    check(
        &["exec", "--plugin"],
        "85 00 00 00 07 00 00 00 95 00 00 00 00 00 00 00",
        &expect![[r#"
            exit 3
            iom: sim refuses the program: Raw programs cannot call bpf_get_prandom_u32
        "#]],
    );
}

#[test]
fn assembly_and_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.bpf");
    std::fs::write(&path, "*(u8 *)(r1 + 0) = 7\nr0 = -1\nexit\n").expect("a file");
    let path = path.to_str().expect("a path in UTF-8");
    check(
        &["exec", path, "--mem", "0102", "--json"],
        "",
        &expect![[r#"
            exit 0
            {"version":1,"r0":"ffffffffffffffff","memory":"0702","trap":null}
        "#]],
    );
}

#[test]
fn a_traced_packet() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("type.bpf");
    let text = "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 12)\nr0 = 2\nexit\n";
    std::fs::write(&program, text).expect("a file");
    let frames = folder.path().join("frames.json");
    let zeros = "00".repeat(60);
    let packets = format!(r#"[{{"name":"a","hex":"{zeros}"}},{{"name":"b","hex":"{zeros}"}}]"#);
    std::fs::write(&frames, packets).expect("a file");
    let output = Command::cargo_bin("iom")
        .expect("the command")
        .current_dir(folder.path())
        .args(["run", "type.bpf", "-i", "frames.json", "--trace", "1"])
        .output()
        .expect("a run");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let trace: String = text.split_inclusive('\n').take(9).collect();
    expect![[r#"
        ; type.bpf:1: r2 = *(u32 *)(r1 + 0)
            0: r2 = *(u32 *)(r1 + 0)                    r2=packet+0, read 4 at context+0
        ; type.bpf:2: r0 = *(u8 *)(r2 + 12)
            1: r0 = *(u8 *)(r2 + 12)                    read 1 at packet+12
        ; type.bpf:3: r0 = 2
            2: r0 = 2                                   r0=2
        ; type.bpf:4: exit
            3: exit
        ; returns 2 (pass)
    "#]]
    .assert_eq(&trace);
}
