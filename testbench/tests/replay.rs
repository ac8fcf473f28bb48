//! `iom run` and `iom check` as a user meets them: output, files, exit codes.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use expect_test::expect;
use iom_backends::kernel::KernelBackend;
use serde_json::Value;

fn iom() -> Command {
    let mut command = Command::cargo_bin("iom").unwrap();
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// Exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = iom().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, out, error) = run(arguments);
    (
        code,
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{error}")),
    )
}

/// Whether the kernel is missing here; then a test is skipped, unless it must run.
fn kernel_is_missing() -> bool {
    let Err(missing) = KernelBackend::probe() else {
        return false;
    };
    let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
    assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
    eprintln!("skipped: {missing}");
    true
}

fn path(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

const MIX: &str = "pcaps/mix.pcap";

#[test]
fn kernel_three_backends_agree_on_the_classifier() {
    if kernel_is_missing() {
        return;
    }
    let (code, report) = json(&[
        "check",
        "programs/classify/classify.o",
        "-i",
        MIX,
        "--backends",
        "sim,kernel,nfp",
        "--json",
    ]);
    assert_eq!(code, 0);
    assert_eq!(report["differences"], 0);
    assert_eq!(report["backends"].as_array().unwrap().len(), 3);
    let set_aside: u64 = report["not_comparable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["packets"].as_u64().unwrap())
        .sum();
    assert_eq!(report["packets"].as_u64().unwrap() + set_aside, 755);
    assert_eq!(report["first"], Value::Null);
}

#[test]
fn kernel_random_numbers_of_its_own_are_a_difference_that_can_be_kept() {
    if kernel_is_missing() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let kept = path(&directory, "kept");
    let sampler = [
        "check",
        "programs/sampler/sampler.o",
        "-i",
        MIX,
        "--no-rewrite",
        "--save-diff",
        &kept,
        "--show",
        "1",
    ];
    let (code, out, _) = run(&sampler);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("events: sim"), "{out}");
    let command = fs::read_to_string(Path::new(&kept).join("command.txt")).unwrap();
    assert!(command.contains("--no-rewrite"), "{command}");
    // The same packets with the rewrite agree: what was kept can be replayed.
    let words = command.replace(" --no-rewrite", "").replace('\'', "");
    let words: Vec<&str> = words.split_whitespace().skip(1).collect();
    let (code, out, error) = run(&words);
    assert_eq!(code, 0, "{out}{error}");
}

#[test]
fn the_nfp_says_every_reason_against_a_program() {
    let (code, _, error) = run(&[
        "check",
        "programs/spreader/spreader.o",
        "-i",
        MIX,
        "--backends",
        "sim,nfp",
    ]);
    assert_eq!(code, 3);
    let reasons: Vec<&str> = error
        .lines()
        .filter(|line| line.starts_with("    "))
        .collect();
    assert!(
        reasons.iter().any(|reason| reason.contains("global data")),
        "{error}"
    );
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("bpf_redirect_map")),
        "{error}"
    );
}

#[test]
fn frames_leave_by_port() {
    let directory = tempfile::tempdir().unwrap();
    let out_dir = path(&directory, "out/");
    let packets = path(&directory, "packets.jsonl");
    let inputs = [
        "-i",
        "0@pcaps/routed-a.pcap",
        "-i",
        "1@pcaps/routed-b.pcapng",
    ];
    let options = ["-w", &out_dir, "--packets", &packets, "--json"];
    let (code, summary) =
        json(&[&["run", "programs/router/router.o"][..], &inputs, &options].concat());
    assert_eq!(code, 0);
    let lines = fs::read_to_string(&packets).unwrap();
    assert_eq!(lines.lines().count(), 390);
    let mut sent = 0;
    for port in summary["ports"].as_array().unwrap() {
        let file = format!("{out_dir}port-{}.pcapng", port["port"]);
        let (code, info) = json(&["pcap", "info", &file, "--json"]);
        assert_eq!(
            (code, &info["packets"]),
            (0, &port["counters"]["tx_packets"]),
            "{file}"
        );
        sent += port["counters"]["tx_packets"].as_u64().unwrap();
    }
    let redirected = lines
        .lines()
        .filter(|line| line.contains(r#""action":"redirect""#))
        .count();
    assert!(
        redirected > 100 && sent > 100 && sent <= redirected as u64,
        "{redirected} {sent}"
    );
}

#[test]
fn the_form_of_a_packet_is_stable() {
    let directory = tempfile::tempdir().unwrap();
    let packets = path(&directory, "packets.jsonl");
    let one = ["--packets-range", "40-40", "--packets", &packets, "--bytes"];
    let (code, _, error) = run(&[
        &["run", "programs/metadata/metadata.o", "-i", MIX][..],
        &one,
    ]
    .concat());
    assert_eq!(code, 0, "{error}");
    expect![[r#"
        {"packet":40,"backend":"sim","time_ns":1704067200135800000,"port":0,"queue":0,"retval":2,"action":"pass","redirect":null,"length":60,"bytes":"0204cb00715002040a000103080045000028035040004006f02c0a000103cb0071509c5301bb10009c7a2000a1cc5010faf0613a0000000000000000","metadata":"ee4d11f836000406000001bb3c000000","events":[],"drop_reason":null}
    "#]]
    .assert_eq(&fs::read_to_string(&packets).unwrap());
}

#[test]
fn maps_come_back_as_they_were_dumped() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (
        path(&directory, "first.json"),
        path(&directory, "second.json"),
    );
    let stats = [
        "run",
        "programs/stats/stats.o",
        "-i",
        MIX,
        "--queues",
        "2",
        "--dump-maps",
    ];
    assert_eq!(run(&[&stats[..], &[&first]].concat()).0, 0);
    // No packet counts twice: an empty range leaves the seeded maps as they are.
    let seeded = ["--seed-maps", &first, "--limit", "0"];
    assert_eq!(run(&[&stats[..], &[&second], &seeded].concat()).0, 2);
    assert_eq!(
        fs::read_to_string(&first).unwrap(),
        fs::read_to_string(&second).unwrap()
    );
}

#[test]
fn queues_are_chosen_by_flow_and_results_do_not_depend_on_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let record = |name: &str| {
        let packets = path(&directory, name);
        let queues = [
            "--queues",
            "4",
            "--rss-key",
            "symmetric",
            "--packets",
            &packets,
            "--bytes",
        ];
        assert_eq!(
            run(&[
                &["run", "programs/firewall/firewall.o", "-i", MIX][..],
                &queues
            ]
            .concat())
            .0,
            0
        );
        fs::read_to_string(packets).unwrap()
    };
    let first = record("a.jsonl");
    assert_eq!(first, record("b.jsonl"));
    for queue in 0..4 {
        assert!(
            first.contains(&format!(r#""queue":{queue},"#)),
            "queue {queue}"
        );
    }
}

/// Exit codes of what goes wrong, and the first line that says so.
#[test]
fn errors_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let empty = path(&directory, "empty.json");
    fs::write(&empty, "[]").unwrap();
    let cases: [(i32, &[&str]); 8] = [
        (2, &["run", "no-such.o", "-i", MIX]),
        (2, &["run", "programs/drop/drop.o", "-i", "no-such.pcap"]),
        (2, &["run", "programs/drop/drop.o", "-i", &empty]),
        (
            2,
            &[
                "check",
                "programs/drop/drop.o",
                "-i",
                &empty,
                "--backends",
                "sim,nfp",
            ],
        ),
        (
            2,
            &[
                "check",
                "programs/drop/drop.o",
                "-i",
                MIX,
                "--backends",
                "sim",
            ],
        ),
        (
            2,
            &[
                "check",
                "programs/drop/drop.o",
                "-i",
                MIX,
                "--backends",
                "sim,moon",
            ],
        ),
        (
            2,
            &[
                "run",
                "programs/drop/drop.o",
                "-i",
                MIX,
                "--seed-maps",
                "programs/router/seed.json",
            ],
        ),
        (
            2,
            &["run", "programs/drop/drop.o", "-i", MIX, "--rss-table", "7"],
        ),
    ];
    for (want, arguments) in cases {
        let (code, _, error) = run(arguments);
        assert_eq!(code, want, "{arguments:?}: {error}");
        assert!(
            !error.is_empty() && !error.contains("panicked"),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn a_broken_capture_loses_nothing_before_its_fault() {
    let directory = tempfile::tempdir().unwrap();
    let cut: PathBuf = directory.path().join("cut.pcap");
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(MIX)).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let packets = path(&directory, "packets.jsonl");
    let (code, out, error) = run(&[
        "run",
        "programs/drop/drop.o",
        "-i",
        &cut.display().to_string(),
        "--packets",
        &packets,
    ]);
    assert_eq!(code, 2, "{out}");
    assert!(
        error.contains("all packets before it were replayed"),
        "{error}"
    );
    assert!(fs::read_to_string(&packets).unwrap().lines().count() > 100);
}

#[test]
fn kernel_routes_as_the_fib_file_says() {
    if kernel_is_missing() {
        return;
    }
    let inputs = [
        "-i",
        "0@pcaps/routed-a.pcap",
        "-i",
        "1@pcaps/routed-b.pcapng",
    ];
    let fib = [
        "programs/fibrouter/fibrouter.o",
        "--fib",
        "programs/fibrouter/fib.toml",
        "--json",
    ];
    let (code, report) = json(&[&["check"][..], &fib, &inputs].concat());
    assert_eq!((code, &report["differences"]), (0, &Value::from(0)));
    let (_, summary) = json(&[&["run"][..], &fib, &inputs].concat());
    let sent = summary["ports"].as_array().unwrap().iter();
    let sent: Vec<u64> = sent
        .map(|port| port["counters"]["tx_packets"].as_u64().unwrap())
        .collect();
    assert!(sent.iter().all(|packets| *packets > 0), "{sent:?}");
}
