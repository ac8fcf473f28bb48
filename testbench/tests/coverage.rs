//! Coverage, profile and statistics of `iom run` as a user meets them.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use expect_test::expect;

/// A program of two by a tail call, with a function: short packets go one way, long ones the other.
const PROGRAM: &str = "\
.map next prog_array key 4 value 4 max 1
.entry 00000000 = program long
.program start xdp
  r6 = r1
  call length
  if r0 < 30 goto short
  r1 = r6
  r2 = map[next] ll
  r3 = 0
  call bpf_tail_call
short:
  r0 = 1
  exit
length:
  r0 = *(u32 *)(r1 + 4)
  r2 = *(u32 *)(r1 + 0)
  r0 -= r2
  exit
.program long xdp
  r0 = 2
  if r0 == 3 goto never
  exit
never:
  r0 = 0
  exit
";

/// Exit code, standard output and standard error, in a directory.
fn run_in(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("iom").unwrap();
    let output = command.current_dir(directory).args(arguments).output();
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A directory with the program and three frames: 20, 60 and 60 bytes.
fn tiny() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tiny.bpf"), PROGRAM).unwrap();
    let frames = [20, 60, 60].map(|len| format!("{{\"hex\":\"{}\"}}", "00".repeat(len)));
    let frames = format!("[{}]", frames.join(","));
    fs::write(directory.path().join("frames.json"), frames).unwrap();
    directory
}

const TINY: [&str; 6] = ["run", "tiny.bpf", "--program", "start", "-i", "frames.json"];

#[test]
fn a_tracefile_has_exact_counts() {
    let directory = tiny();
    let arguments = [&TINY[..], &["--coverage", "tiny.info"]].concat();
    let (code, _, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 0, "{error}");
    let tracefile = fs::read_to_string(directory.path().join("tiny.info")).unwrap();
    expect![[r#"
        TN:
        SF:tiny.bpf
        FN:4,start
        FN:15,length
        FN:20,long
        FNDA:3,start
        FNDA:3,length
        FNDA:2,long
        FNF:3
        FNH:3
        BRDA:6,0,0,2
        BRDA:6,0,1,1
        BRDA:21,0,0,2
        BRDA:21,0,1,0
        BRF:4
        BRH:3
        DA:4,3
        DA:5,3
        DA:6,3
        DA:7,2
        DA:8,2
        DA:9,2
        DA:10,2
        DA:12,1
        DA:13,1
        DA:15,3
        DA:16,3
        DA:17,3
        DA:18,3
        DA:20,2
        DA:21,2
        DA:22,2
        DA:24,0
        DA:25,0
        LF:18
        LH:16
        end_of_record
    "#]]
    .assert_eq(&tracefile);
}

#[test]
fn a_profile_names_the_hottest_first() {
    let directory = tiny();
    let arguments = [&TINY[..], &["--profile"]].concat();
    let (code, out, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 0, "{error}");
    let profile = out.split("port  rx").next().unwrap();
    expect![[r#"
        37 instructions for 3 packets
        instructions per packet: median 14, maximum 14

        instructions   share      calls  function
                  19   51.4%          3  start
                  12   32.4%          3  length (of start)
                   6   16.2%          2  long

        instructions   share       runs  line
                   3    8.1%          3  tiny.bpf:4: r6 = r1
                   3    8.1%          3  tiny.bpf:5: call length
                   3    8.1%          3  tiny.bpf:6: if r0 < 30 goto short
                   3    8.1%          3  tiny.bpf:15: r0 = *(u32 *)(r1 + 4)
                   3    8.1%          3  tiny.bpf:16: r2 = *(u32 *)(r1 + 0)
                   3    8.1%          3  tiny.bpf:17: r0 -= r2
                   3    8.1%          3  tiny.bpf:18: exit
                   2    5.4%          2  tiny.bpf:7: r1 = r6
                   2    5.4%          2  tiny.bpf:8: r2 = map[next] ll
                   2    5.4%          2  tiny.bpf:9: r3 = 0
                   2    5.4%          2  tiny.bpf:10: call bpf_tail_call
                   2    5.4%          2  tiny.bpf:20: r0 = 2
                   2    5.4%          2  tiny.bpf:21: if r0 == 3 goto never
                   2    5.4%          2  tiny.bpf:22: exit
                   1    2.7%          1  tiny.bpf:12: r0 = 1
                   1    2.7%          1  tiny.bpf:13: exit
    "#]]
    .assert_eq(profile);
}

#[test]
fn a_page_needs_nothing_beside_it() {
    let directory = tiny();
    let arguments = [&TINY[..], &["--coverage-html", "pages/"]].concat();
    let (code, _, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 0, "{error}");
    let page = fs::read_to_string(directory.path().join("pages/index.html")).unwrap();
    for outside in ["http", "src=", "href=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for expected in [
        "3 packets, 37 instructions",
        "if r0 &lt; 30 goto short",
        "[taken 1, not taken 2]",
        "<tr><td>3<td>12<td>32.4%<td>start<td>length",
    ] {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
    for tag in ["details", "pre", "table"] {
        let count = |what: &str| page.matches(what).count();
        assert_eq!(count(&format!("<{tag}>")), count(&format!("</{tag}>")));
    }
}

#[test]
fn counts_of_a_chain_do_not_depend_on_queues() {
    let directory = tempfile::tempdir().unwrap();
    let tracefile = |name: &str, queues: &str| {
        let path = directory.path().join(name);
        let shown = path.display().to_string();
        let chain = ["run", "programs/chain/chain.o", "-i", "pcaps/mix.pcap"];
        let options = ["--queues", queues, "--coverage", &shown];
        let (code, _, error) = run_in(&repository(), &[&chain[..], &options].concat());
        assert_eq!(code, 0, "{error}");
        fs::read_to_string(path).unwrap()
    };
    let one = tracefile("one", "1");
    assert_eq!(one, tracefile("again", "1"));
    assert_eq!(one, tracefile("four", "4"));
    for expected in [
        "SF:./chain.c\n",
        "SF:./../include/packet.h\n",
        "FNDA:755,chain\n",
        "FNDA:509,chain_ipv4\n",
        "FNDA:84,policy_other\n",
    ] {
        assert!(one.contains(expected), "{expected} is not in\n{one}");
    }
}

#[test]
fn without_source_lines_there_is_a_listing_but_no_tracefile() {
    let directory = tiny();
    let insns = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    fs::write(directory.path().join("raw.bin"), insns).unwrap();
    let raw = ["run", "raw.bin", "-i", "frames.json"];
    let (code, _, error) = run_in(directory.path(), &[&raw[..], &["--coverage", "x"]].concat());
    assert_eq!(code, 2);
    assert!(error.contains("compile with -g"), "{error}");
    let html = ["--coverage-html", "raw.html"];
    let (code, _, error) = run_in(directory.path(), &[&raw[..], &html].concat());
    assert_eq!(code, 0, "{error}");
    let page = fs::read_to_string(directory.path().join("raw.html")).unwrap();
    assert!(page.contains("No line information"), "{page}");
    assert!(page.contains("           3     1: exit"), "{page}");
}

#[test]
fn only_the_simulator_counts() {
    let directory = tiny();
    let arguments = [&TINY[..], &["--profile", "--backend", "nfp"]].concat();
    let (code, _, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 2);
    assert!(error.contains("for sim, not nfp"), "{error}");
}

#[test]
fn statistics_count_by_port_queue_and_program() {
    let directory = tiny();
    let arguments = [&TINY[..], &["--stats"]].concat();
    let (code, out, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 0, "{error}");
    expect![[r#"
        port  rx packets     rx bytes       pass       drop    aborted         tx   redirect   sent packets     sent bytes
           0           3          140          2          1          0          0          0              0              0
        0.000002 s of capture: 1500000 packets/s, 560.000 Mbit/s
           packets        bytes       pass       drop    aborted         tx   redirect
                 3          140          2          1          0          0          0  all
                 3          140          2          1          0          0          0  port 0
                 3          140          2          1          0          0          0  queue 0
                 3                       0          1          0          0          0  program start of tiny
                 2                       2          0          0          0          0  program long of tiny
        dropped 1: dropped by the program
    "#]].assert_eq(&out);
    let (code, out, error) = run_in(directory.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(code, 0, "{error}");
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    let stats = &summary["stats"];
    assert_eq!(
        (&stats["version"], &stats["packets"]),
        (&1.into(), &3.into())
    );
    assert_eq!(stats["queues"][0]["actions"]["pass"], 2);
    let long = &stats["programs"][1];
    assert_eq!(
        (&long["program"], &long["runs"]),
        (&"long".into(), &2.into())
    );
    assert_eq!(stats["drops"][0]["reason"], "dropped by the program");
}

#[test]
fn a_fault_is_a_drop_reason_with_its_place() {
    let directory = tiny();
    fs::write(
        directory.path().join("fault.bpf"),
        "r1 = 0\nr0 = *(u8 *)(r1 + 0)\nexit\n",
    )
    .unwrap();
    let arguments = ["run", "fault.bpf", "-i", "frames.json", "--stats"];
    let (code, out, error) = run_in(directory.path(), &arguments);
    assert_eq!(code, 0, "{error}");
    let last = out.lines().last().unwrap();
    assert_eq!(last, "dropped 3: the program faulted: main, instruction 1");
}
