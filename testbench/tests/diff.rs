//! `iom diff` from outside: two small versions of a program, and one with different map contents.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use expect_test::{Expect, expect};
use serde_json::Value;

/// Drops IPv6, lowers the time to live of IPv4, counts packets.
const OLD: &str = r#"
.license "GPL"
.map packets array key 4 value 8 max 1
.map old_only hash key 4 value 4 max 8
.program filter xdp
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r6 = r2
    r4 = r2
    r4 += 34
    if r4 > r3 goto pass
    r5 = *(u16 *)(r2 + 12)
    r5 = be16 r5
    if r5 == 0x86dd goto drop
    if r5 != 0x0800 goto pass
    r5 = *(u8 *)(r2 + 22)
    r5 += -1
    *(u8 *)(r2 + 22) = r5
pass:
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[packets] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
out:
    r0 = 2
    exit
drop:
    r0 = 1
    exit
"#;

/// IPv6 goes back, the time to live falls by two, and a map stands in front of the old one.
fn new() -> String {
    OLD.replace(
        ".map packets",
        ".map extra hash key 4 value 4 max 8\n.map packets",
    )
    .replace(".map old_only hash key 4 value 4 max 8\n", "")
    .replace("r5 += -1", "r5 += -2")
    .replace("drop:\n    r0 = 1", "drop:\n    r0 = 3")
}

/// Two IPv4 frames, one IPv6, one too short for both.
const FRAMES: &str = r#"[
{"hex":"020000000001 020000000002 0800 4500001c 00010000 4011 0000 0a000001 0a000002 0035 0036 0008 0000"},
{"hex":"020000000001 020000000002 0800 4500001c 00020000 4011 0000 0a000001 0a000002 0035 0036 0008 0000"},
{"hex":"020000000001 020000000002 86dd 60000000 0000 3b40 00000000000000000000000000000001 00000000000000000000000000000002"},
{"hex":"020000000001 020000000002 0806 0001"}]"#;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("old.bpf", OLD.to_owned()),
        ("new.bpf", new()),
        ("frames.json", FRAMES.to_owned()),
        (
            "ten.json",
            r#"{"packets":{"type":"array","entries":[{"key":"00000000","value":"0a00000000000000"}]}}"#.to_owned(),
        ),
    ];
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn iom(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("iom").unwrap();
    let output = command
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

fn check(arguments: &[&str], expected: &Expect) {
    let directory = directory();
    let (code, text) = iom(directory.path(), arguments);
    expected.assert_eq(&format!("exit {code}\n{text}"));
}

#[test]
fn two_versions() {
    check(
        &["diff", "old.bpf", "new.bpf", "-i", "frames.json"],
        &expect![[r#"
            exit 1
            A: old.bpf (program filter)
            B: new.bpf (program filter)

                   A \ B        pass          tx
                    drop           .           1
                    pass           3           .

            drop -> tx: 1 of 1 packets differ
            packet 2 (port 0, queue 0, 54 bytes):
              action: A drop, B tx
              received:
                0000  02 00 00 00 00 01 02 00 00 00 00 02 86 dd 60 00
                0010  00 00 00 00 3b 40 00 00 00 00 00 00 00 00 00 00
                0020  00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00
                0030  00 00 00 00 00 02

            pass -> pass: 2 of 3 packets differ
            packet 0 (port 0, queue 0, 42 bytes):
              bytes: first difference at offset 22, IPv4 time to live: A 3f, B 3e
              received:
                0000  02 00 00 00 00 01 02 00 00 00 00 02 08 00 45 00
                0010  00 1c 00 01 00 00 40 11 00 00 0a 00 00 01 0a 00
                0020  00 02 00 35 00 36 00 08 00 00
              after A:
                0000  02 00 00 00 00 01 02 00 00 00 00 02 08 00 45 00
                0010  00 1c 00 01 00 00 3f 11 00 00 0a 00 00 01 0a 00
                0020  00 02 00 35 00 36 00 08 00 00
              after B:
                0000  02 00 00 00 00 01 02 00 00 00 00 02 08 00 45 00
                0010  00 1c 00 01 00 00 3e 11 00 00 0a 00 00 01 0a 00
                0020  00 02 00 35 00 36 00 08 00 00

            not compared: map extra: only in the second program
            not compared: map old_only: only in the first program
            4 packets on sim: 3 differences (action, redirect, bytes, metadata, events, maps)
        "#]],
    );
}

#[test]
fn the_same_program() {
    check(
        &["diff", "old.bpf", "old.bpf", "-i", "frames.json"],
        &expect![[r#"
            exit 0
            A: old.bpf (program filter)
            B: old.bpf (program filter)

                   A \ B        drop        pass
                    drop           1           .
                    pass           .           3

            4 packets on sim: the same (action, redirect, bytes, metadata, events, maps)
        "#]],
    );
}

#[test]
fn the_same_program_on_other_map_contents() {
    check(
        &[
            "diff",
            "old.bpf",
            "old.bpf",
            "-i",
            "frames.json",
            "--seed-maps-b",
            "ten.json",
        ],
        &expect![[r#"
            exit 1
            A: old.bpf (program filter)
            B: old.bpf (program filter)

                   A \ B        drop        pass
                    drop           1           .
                    pass           .           3

            map packets, entries that differ: 1
            map packets, key 00000000:
              A: 0300000000000000
              B: 0d00000000000000

            4 packets on sim: 1 difference (action, redirect, bytes, metadata, events, maps)
        "#]],
    );
}

#[test]
fn masks_are_counted() {
    check(
        &[
            "diff",
            "old.bpf",
            "old.bpf",
            "-i",
            "frames.json",
            "--seed-maps-b",
            "ten.json",
            "--mask",
            "map:packets:0-8=seeded",
        ],
        &expect![[r#"
            exit 0
            A: old.bpf (program filter)
            B: old.bpf (program filter)

                   A \ B        drop        pass
                    drop           1           .
                    pass           .           3

            masked: 0 packets, 1 map entries, map:packets:0-8: seeded
            4 packets on sim: the same (action, redirect, bytes, metadata, events, maps)
        "#]],
    );
    check(
        &[
            "diff",
            "old.bpf",
            "new.bpf",
            "-i",
            "frames.json",
            "--mask",
            "bytes:ipv4.time_to_live",
        ],
        &expect![[r#"
            exit 2
            error: invalid value 'bytes:ipv4.time_to_live' for '--mask <FIELD=REASON>': a mask needs a reason: `bytes:ipv4.time_to_live=why it may differ`

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn json_has_the_same() {
    let directory = directory();
    let arguments = [
        "diff",
        "old.bpf",
        "new.bpf",
        "-i",
        "frames.json",
        "--json",
        "--mask",
        "bytes:ipv4.time_to_live=two hops",
    ];
    let (code, text) = iom(directory.path(), &arguments);
    assert_eq!(code, 1);
    let json: Value = serde_json::from_str(&text).unwrap();
    expect![[r#"
        [{"a":"drop","b":"tx","changed":1,"packets":1},{"a":"pass","b":"pass","changed":0,"packets":3}]
        []
        [{"map":"extra","reason":"only in the second program"},{"map":"old_only","reason":"only in the first program"}]
        [{"entries":0,"field":"bytes:ipv4.time_to_live","packets":2,"reason":"two hops"}]
        1"#]].assert_eq(&format!(
        "{}\n{}\n{}\n{}\n{}",
        json["actions"],
        json["maps"],
        json["maps_not_compared"],
        json["masked"],
        json["differences"]
    ));
    assert_eq!(json["changed"][0]["packet"], 2);
    assert_eq!(json["version"], 1);
}
