//! `iom asm` and `iom disasm` on the command line.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use expect_test::{Expect, expect};
use serde_json::Value;

fn iom(args: &[&str], stdin: &str) -> std::process::Output {
    let mut command = Command::cargo_bin("iom").expect("the binary");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    command.current_dir(root).args(args).write_stdin(stdin);
    command.output().expect("it runs")
}

/// Shows the exit code with standard output and error.
fn check(args: &[&str], stdin: &str, expected: &Expect) {
    let output = iom(args, stdin);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit code");
    let shown = format!(
        "{}{}exit {code}\n",
        text(&output.stdout),
        text(&output.stderr)
    );
    expected.assert_eq(&shown);
}

fn stdout(args: &[&str], stdin: &str) -> String {
    let output = iom(args, stdin);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

const COUNTER: &str = "\
.license GPL
.map counters array key 4 value 8 max 2
.program count xdp
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[counters] ll
    call map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
out:
    r0 = 2
    exit
";

#[test]
fn asm_writes_hex_and_vectors() {
    check(
        &["asm", "-"],
        "r0 = 0x7b ll\nexit",
        &expect![[r"
        180000007b00000000000000000000009500000000000000
        exit 0
    "]],
    );
    check(
        &["asm", "--json", "-"],
        COUNTER,
        &expect![[r#"
        {"maps":[{"data_section":false,"init":[],"key":4,"map_flags":0,"max":2,"name":"counters","type":"array","value":8}],"program":"620afcff00000000bfa200000000000007020000fcffffff1811000000000000000000000000000085000000010000001500020000000000b701000001000000db10000000000000b7000000020000009500000000000000","type":"xdp"}
        exit 0
    "#]],
    );
}

#[test]
fn asm_writes_raw_instructions() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.bin");
    let path = path.to_str().expect("a path in UTF-8");
    check(
        &["asm", "-", "-o", path],
        "r0 = 2\nexit",
        &expect![[r"
        exit 0
    "]],
    );
    assert_eq!(std::fs::read(path).expect("the file").len(), 16);
    check(
        &["disasm", path],
        "",
        &expect![[r"
        .license GPL

        .program main xdp
            0: r0 = 2
            1: exit
        exit 0
    "]],
    );
}

#[test]
fn mistakes_are_shown_in_their_line() {
    check(
        &["asm", "-"],
        "r0 = 2\n\tif r0 > r11 goto +1 ; too far",
        &expect![[r"
            iom: -:2:10: found `r11`, expected a register from 0 to 10
                	if r0 > r11 goto +1 ; too far
                	        ^
            exit 2
        "]],
    );
    check(
        &["asm", "-", "--program", "other"],
        "exit",
        &expect![[r"
        iom: no program has this name and section
          main (section xdp)
        exit 2
    "]],
    );
    check(
        &["disasm", "programs/nothing.o"],
        "",
        &expect![[r"
        iom: programs/nothing.o: No such file or directory (os error 2)
        exit 2
    "]],
    );
}

#[test]
fn disasm_shows_labels_names_and_source_lines() {
    check(
        &["disasm", "-"],
        COUNTER,
        &expect![[r"
        .license GPL
        .map counters array key 4 value 8 max 2

        .program count xdp
            0: *(u32 *)(r10 - 4) = 0
            1: r2 = r10
            2: r2 += -4
            3: r1 = map[counters] ll
        ; -:8 call map_lookup_elem
            5: call bpf_map_lookup_elem
        ; -:9 if r0 == 0 goto out
            6: if r0 == 0 goto L9
            7: r1 = 1
            8: lock *(u64 *)(r0 + 0) += r1
        L9:
            9: r0 = 2
           10: exit
        exit 0
    "]],
    );
    check(
        &["disasm", "programs/drop/drop.o"],
        "",
        &expect![[r#"
        .license "Dual MIT/GPL"

        .program drop xdp
        ; ./drop.c:7 return XDP_DROP;
            0: w0 = 1
            1: exit
        exit 0
    "#]],
    );
    check(
        &["disasm", "--json", "programs/drop/drop.o"],
        "",
        &expect![[r#"
            {"license":"Dual MIT/GPL","maps":[],"programs":[{"insns":[{"bytes":"b400000001000000","index":0,"label":null,"source":{"file":"./drop.c","line":7,"text":"\treturn XDP_DROP;"},"text":"w0 = 1"},{"bytes":"9500000000000000","index":1,"label":null,"source":{"file":"./drop.c","line":7,"text":"\treturn XDP_DROP;"},"text":"exit"}],"name":"drop","section":"xdp"}],"refused":[],"version":1}
            exit 0
        "#]],
    );
}

/// What a machine reads of a program's instructions, without the source.
fn instructions(json: &str) -> Vec<Vec<[Value; 3]>> {
    let listing: Value = serde_json::from_str(json).expect("JSON");
    let programs = listing["programs"].as_array().expect("programs").iter();
    programs
        .map(|program| {
            let insns = program["insns"].as_array().expect("instructions").iter();
            insns
                .map(|insn| ["bytes", "label", "text"].map(|field| insn[field].clone()))
                .collect()
        })
        .collect()
}

#[test]
fn committed_objects_come_back_from_their_listing() {
    for object in objects() {
        let path = object.to_str().expect("a path in UTF-8");
        let listing = stdout(&["disasm", path], "");
        let again = stdout(&["disasm", "--json", "-"], &listing);
        let first = stdout(&["disasm", "--json", path], "");
        assert_eq!(instructions(&again), instructions(&first), "{path}");
    }
}

fn objects() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    let files = std::fs::read_dir(folder).expect("programs/");
    let objects: Vec<_> = files
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let object = folder.join(folder.file_name()?).with_extension("o");
            object.exists().then_some(object)
        })
        .collect();
    assert!(!objects.is_empty(), "no object in programs/");
    objects
}
