//! Every word of the recorded driver output: it decodes, and encodes to the same word again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use iom_nfp_offload::{isa, ustore};
use serde_json::Value;

/// The recorded programs of a file, or nothing where the data is missing.
fn recorded(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/nfp")
        .join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no {}", path.display());
        return Vec::new();
    };
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

fn words<'a>(program: &'a Value, key: &str) -> impl Iterator<Item = u64> + use<'a> {
    program[key]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| u64::from_str_radix(word.as_str().unwrap(), 16).unwrap())
}

fn round_trip(file: &str) {
    let mut insns = BTreeSet::new();
    for program in recorded(file) {
        for word in words(&program, "words") {
            let bits = ustore::strip(word).unwrap();
            assert_eq!(ustore::with_ecc(bits), word);
            insns.insert(bits);
        }
        // Before relocation the top byte names the kind of relocation.
        insns.extend(words(&program, "pre").map(|word| word & ustore::INSN_MASK));
    }
    for &bits in &insns {
        let insn = isa::decode(bits).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(isa::encode(&insn), Ok(bits), "{insn}");
    }
    eprintln!("{file}: {} different words", insns.len());
}

#[test]
fn words_of_the_vectors_round_trip() {
    round_trip("vectors.jsonl");
}

#[test]
fn words_of_the_fuzz_programs_round_trip() {
    round_trip("fuzz.jsonl.gz");
}
