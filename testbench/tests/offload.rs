//! `iom offload` as users meet it: exit codes, words that are lists of each other, reasons.

use std::path::Path;

use assert_cmd::Command;
use expect_test::expect;
use serde_json::Value;

fn iom(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("iom").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    command.current_dir(root).arg("offload").args(args);
    command
}

fn text(args: &[&str]) -> String {
    let output = iom(args).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

const DROP: &str = "programs/drop/drop.o";

#[test]
fn all_forms_hold_the_same_words() {
    let json: Value = serde_json::from_str(&text(&["build", DROP, "--json"])).unwrap();
    let hex = text(&["build", DROP, "--emit", "hex"]);
    let words: Vec<&str> = hex.lines().collect();
    assert_eq!(json["result"], "ACCEPT");
    assert_eq!(json["words"], serde_json::json!(words));
    assert_eq!(json["program_length"], words.len());
    let bin = iom(&["build", DROP, "--emit", "bin"]).assert().success();
    let bin = bin.get_output().stdout.chunks_exact(8).map(|word| {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        format!("{word:016x}")
    });
    assert_eq!(bin.collect::<Vec<_>>(), words);
    let listing = text(&["build", DROP]);
    let instructions = listing.lines().filter(|line| line.starts_with('.'));
    let output = iom(&["disasm", "--start", "3072", "-"])
        .write_stdin(hex.as_str())
        .assert()
        .success();
    let disasm = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(
        instructions.collect::<Vec<_>>(),
        disasm.lines().collect::<Vec<_>>()
    );
}

#[test]
fn a_plan_says_what_is_used() {
    let plan = text(&["plan", DROP, "--profile", "agilio-cx-2x25"]);
    assert!(
        plan.contains("can be offloaded to agilio-cx-2x25"),
        "{plan}"
    );
    expect![[r"
        drop can be offloaded to agilio-cx-2x25
        words     26 of 2560 (1 %), 23 of them around the program
        stack     0 of 512 bytes
        shortest path: 20.0 cycles for 15.0 instructions
                  74.4 Mpps with frames of 64 bytes and FCS, limited by the wire
                  instruction issue 2000.0, memory latency 8000.0, the wire 74.4 Mpps; 200 packets in flight at 800 MHz
        longest path: 20.0 cycles for 15.0 instructions
                  74.4 Mpps with frames of 64 bytes and FCS, limited by the wire
                  instruction issue 2000.0, memory latency 8000.0, the wire 74.4 Mpps; 200 packets in flight at 800 MHz
                  a model from published figures, not a measurement of a card: contention for memory, the firmware around the program and the host are not in it
        words  cycles  waits  source line
            3       5         ./drop.c:7: return XDP_DROP;
    "]].assert_eq(&plan);
    let json = text(&["plan", DROP, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["max_words"], 8192);
    assert_eq!(json["cycles"]["longest"]["rate"], Value::Null);
    assert!(json["cycles"]["longest"]["cycles"].as_f64().unwrap() > 10.0);
}

#[test]
fn runs_say_what_packets_cost() {
    let args = [
        "run",
        "programs/acl/acl.o",
        "-i",
        "pcaps/mix.pcap",
        "--firmware",
        "agilio-cx-2x25",
        "--cycles",
    ];
    let output = text(&args);
    let cycles = output.split_once("a packet costs").unwrap().1;
    expect![[r"
         113.7 cycles for 72.6 instructions; waits 301 to 532 cycles: 1.79 x packet read, 0.04 x packet write, 0.03 x map read, 0.68 x map lookup
        agilio-cx-2x25: 33.5 Mpps with frames of 167 bytes and FCS, limited by the wire
          instruction issue 351.7, memory latency 301.9 (247.9 to 386.0), the wire 33.5 Mpps; 200 packets in flight at 800 MHz
          a model from published figures, not a measurement of a card: contention for memory, the firmware around the program and the host are not in it
    "]].assert_eq(cycles);
    let json = text(&[&args[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let rate = &json["cycles"]["rate"];
    assert!(rate["mpps"]["low"].as_f64() <= rate["mpps"]["high"].as_f64());
}

#[test]
fn refusals_name_source_driver_sentence_and_fix() {
    let output = iom(&["plan", "programs/classify/classify.o", "--profile", "none"])
        .assert()
        .code(3);
    let message = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for part in [
        "cannot be offloaded to none",
        "the driver says: ",
        "fix: ",
        ".c:",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn the_port_may_refuse_what_was_translated() {
    let output = iom(&["plan", DROP, "--running", "tc", "--json"])
        .assert()
        .code(3);
    let json: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(json["stage"], "load");
    assert_eq!(json["reasons"][0]["rule"], "port-busy");
    let replace = ["plan", DROP, "--running", "xdp", "--port"];
    iom(&[&replace[..], &["nic-public"]].concat())
        .assert()
        .success();
    iom(&[&replace[..], &["none"]].concat()).assert().code(3);
}

/// A classifier on interpreter and card: IPv4 is dropped, ARP stolen, the rest goes on.
#[test]
fn classifiers_run_on_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cls.bpf");
    let write = |stolen: i32| {
        let text = format!(
            ".license GPL
             .program main sched_cls
             r2 = *(u32 *)(r1 + 76)
             r3 = *(u32 *)(r1 + 80)
             r4 = r2
             r4 += 14
             if r4 > r3 goto on
             r5 = *(u16 *)(r2 + 12)
             if r5 == 8 goto drop
             if r5 == 1544 goto steal
             on:
             r0 = -1
             exit
             drop:
             r0 = 2
             exit
             steal:
             r0 = {stolen}
             exit"
        );
        std::fs::write(&path, text).unwrap();
    };
    let check = || {
        let mut command = Command::cargo_bin("iom").unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        command.current_dir(root).arg("check").arg(&path);
        command.args(["-i", "pcaps/mix.pcap", "--backends", "sim,nfp"]);
        command.assert()
    };
    write(4);
    check().success();
    let path = path.to_str().unwrap();
    iom(&["plan", path]).assert().success();
    // TC_ACT_QUEUED is another thing on the card, and the lint says so.
    write(5);
    check().code(1);
    let output = iom(&["plan", path]).assert().success();
    let warning = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(warning.contains("defect 12"), "{warning}");
}

#[test]
fn captures_run_on_the_model() {
    let args = ["run", DROP, "-i", "pcaps/attack.pcap"];
    iom(&args)
        .args(["--firmware", "nic-public"])
        .assert()
        .success();
}

#[test]
fn strict_runs_say_what_a_card_might_not_forgive() {
    let args = ["run", "programs/classify/classify.o", "-i"];
    let output = text(&[&args[..], &["pcaps/malformed.pcap", "--strict"]].concat());
    let (_, strict) = output.split_once("strict: ").unwrap();
    expect![[r"
        nothing that a card might not forgive
    "]]
    .assert_eq(strict);
}

#[test]
fn unknown_profiles_and_bad_words_are_usage_errors() {
    iom(&["plan", DROP, "--profile", "agilio"]).assert().code(2);
    iom(&["disasm", "-"]).write_stdin("xyz").assert().code(2);
}
