//! The public instruction-set conformance data: what must be refused is refused, the rest decodes
//! and encodes to the same bytes.

use iom_core::isa::{decode, encode};
use std::path::Path;

#[test]
fn rejects_and_accepts_as_the_suite_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance/isa.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    let mut counts = [0, 0];
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let name = row["id"].as_str().expect("an id");
        let program = from_hex(row["prog"].as_str().expect("a program"));
        let rejected = row["kind"] == "must_reject";
        counts[usize::from(rejected)] += 1;
        match decode(&program) {
            Ok(insns) => {
                assert!(!rejected, "{name} must be refused");
                assert_eq!(encode(&insns), program, "{name}");
            }
            Err(error) => assert!(rejected, "{name} must decode: {error}"),
        }
    }
    assert!(
        counts.iter().all(|&count| count > 0),
        "rows by kind: {counts:?}"
    );
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.map(|pair| byte(pair).expect("hex digits")).collect()
}
