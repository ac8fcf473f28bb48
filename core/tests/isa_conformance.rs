//! The public instruction-set conformance data: what must be refused is refused, the rest decodes,
//! encodes to the same bytes, and comes back from its text.

use iom_core::hex;
use iom_core::isa::{Insn, assemble, decode, encode, module_text};
use iom_core::module::{Module, ProgramType};
use iom_core::object::raw::raw_program;
use iom_core::object::vector::load_vector;
use std::path::Path;

#[test]
fn rejects_and_accepts_as_the_suite_says() {
    let Some(text) = read("conformance/isa.jsonl") else {
        return;
    };
    let mut counts = [0, 0];
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let name = row["id"].as_str().expect("an id");
        let bytes = hex::decode(row["prog"].as_str().expect("a program")).expect("hex");
        let rejected = row["kind"] == "must_reject";
        counts[usize::from(rejected)] += 1;
        match decode(&bytes) {
            Ok(insns) => {
                assert!(!rejected, "{name} must be refused");
                assert_eq!(encode(&insns), bytes, "{name}");
                let program = raw_program(&bytes, ProgramType::Raw, 16).expect("it decodes");
                let module = Module {
                    programs: vec![program],
                    ..Module::default()
                };
                assert_eq!(from_text(&module, name), insns, "{name}");
            }
            Err(error) => assert!(rejected, "{name} must decode: {error}"),
        }
    }
    assert!(
        counts.iter().all(|&count| count > 0),
        "rows by kind: {counts:?}"
    );
}

/// Programs of the kernel's selftests and of the NFP data, with maps.
#[test]
fn recorded_programs_come_back_from_their_text() {
    for file in [
        "verifier/vectors.jsonl",
        "verifier/selftests.jsonl",
        "nfp/vectors.jsonl",
    ] {
        let Some(text) = read(file) else { return };
        for (number, row) in text.lines().enumerate() {
            let Ok(vector) = load_vector(row.as_bytes(), "row") else {
                continue;
            };
            let name = format!("{file}:{}", number + 1);
            let program = &vector.module.programs[0];
            assert_eq!(from_text(&vector.module, &name), program.insns, "{name}");
        }
    }
}

/// The instructions of a module's program after they were text.
fn from_text(module: &Module, name: &str) -> Vec<Insn> {
    let text = module_text(module, &[0]);
    let again = assemble(&text, name).unwrap_or_else(|error| panic!("{name}:{error}\n{text}"));
    assert_eq!(again.maps, module.maps, "{name}");
    again.programs.into_iter().next().expect("a program").insns
}

fn read(file: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    text
}
