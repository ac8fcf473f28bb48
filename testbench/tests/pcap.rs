//! `iom pcap` as a user runs it.

use assert_cmd::Command;
use expect_test::expect;

/// Two frames, of 14 bytes and of 1.
const FRAMES: &str = r#"[{"name":"a","hex":"020000000001 020000000002 0806"},{"hex":"ff"}]"#;

fn iom(args: &[&str], input: impl Into<Vec<u8>>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iom"));
    let output = command
        .args(args)
        .write_stdin(input.into())
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn info_prints_counts_digest_and_no_fault() {
    let (code, text) = iom(&["pcap", "info", "-", "--json"], FRAMES);
    expect![[r#"
        {"packets":2,"bytes":15,"format":"frames","link_types":["ETHERNET"],"digest":"facbc1ecb551dfffd397678bfbff317998a3e75cdb12bb2eec27579041eb0b4f","fault":null}
    "#]]
    .assert_eq(&text);
    assert_eq!(code, 0);
}

#[test]
fn info_of_a_broken_capture_prints_what_there_is_and_exits_2() {
    let (code, text) = iom(&["pcap", "info", "-", "--json"], &FRAMES.as_bytes()[..60]);
    expect![[r#"
        {"packets":1,"bytes":14,"format":"frames","link_types":["ETHERNET"],"digest":"044072ea988bddcbbed8accdc188be1669307ce63da586f6f9a1feee8ee2edeb","fault":{"offset":53,"message":"not a frame {\"name\":\"…\",\"hex\":\"…\"}: EOF while parsing a value at line 1 column 7"}}
    "#]].assert_eq(&text);
    assert_eq!(code, 2);
    let (code, text) = iom(&["pcap", "info", "-"], "no capture");
    expect![[r"
        -: not a capture
          fault       at byte 0: not a capture (starts with 6e 6f 20 63): pcap, pcapng, either of them in gzip or zstd, or a JSON array of frames is expected
    "]].assert_eq(&text);
    assert_eq!(code, 2);
}

#[test]
fn info_for_people_shows_interfaces_times_and_protocols() {
    let (code, text) = iom(&["pcap", "info", "-"], FRAMES);
    expect![[r"
        -: frames
          link types  ETHERNET
          packets     2, 15 bytes
          lengths     1 to 14 bytes, 0 packets truncated
          time        0.000000000 to 0.000001000 s, 0.000001000 s long, 0 jumps back
          interface   1.0 -: ETHERNET, 2 packets
          protocols   other 2
          digest      facbc1ecb551dfffd397678bfbff317998a3e75cdb12bb2eec27579041eb0b4f
    "]]
    .assert_eq(&text);
    assert_eq!(code, 0);
}

#[test]
fn info_of_several_captures_names_each() {
    let (code, text) = iom(&["pcap", "info", "no/such/file", "-", "--json"], FRAMES);
    expect![[r#"
        {"file":"no/such/file","packets":0,"bytes":0,"format":null,"link_types":[],"digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","fault":{"offset":0,"message":"cannot read: No such file or directory (os error 2)"}}
        {"file":"-","packets":2,"bytes":15,"format":"frames","link_types":["ETHERNET"],"digest":"facbc1ecb551dfffd397678bfbff317998a3e75cdb12bb2eec27579041eb0b4f","fault":null}
    "#]].assert_eq(&text);
    assert_eq!(code, 2);
}

/// Interfaces, bytes and times of a capture, without what splitting adds.
fn digest(path: &str) -> String {
    let (code, text) = iom(&["pcap", "info", path, "--json"], "");
    assert_eq!(code, 0, "{text}");
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    info["digest"].as_str().unwrap().to_owned()
}

#[test]
fn merging_by_id_puts_together_what_was_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mix = concat!(env!("CARGO_MANIFEST_DIR"), "/../pcaps/mix.pcap");
    for by in ["interface", "flow", "count", "time"] {
        let (code, text) = iom(
            &["pcap", "split", mix, "-w", &path(by), "--by", by, "--json"],
            "",
        );
        assert_eq!(code, 0, "{text}");
        let split: serde_json::Value = serde_json::from_str(&text).unwrap();
        let files = split["files"].as_object().unwrap();
        let whole = path("whole.pcapng");
        let mut merge = vec!["pcap", "merge", "-w", &whole, "--order", "id"];
        merge.extend(files.keys().map(String::as_str));
        assert_eq!(iom(&merge, "").0, 0);
        assert_eq!(
            digest(&whole),
            digest(mix),
            "split by {by} into {} files",
            files.len()
        );
    }
}

#[test]
fn merging_a_broken_capture_writes_what_is_before_the_fault() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.pcapng").display().to_string();
    let (code, text) = iom(
        &["pcap", "merge", "-", "-w", &whole],
        &FRAMES.as_bytes()[..60],
    );
    assert_eq!(code, 2);
    assert!(text.ends_with("whole.pcapng: 1 packets\n"), "{text}");
    let (_, text) = iom(&["pcap", "info", &whole, "--json"], "");
    assert!(text.starts_with(r#"{"packets":1,"#), "{text}");
}
