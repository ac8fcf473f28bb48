//! Every word of the recorded driver output: it decodes, and encodes to the same word again.

mod recorded;

use std::collections::BTreeSet;

use iom_nfp_offload::{isa, ustore};

fn round_trip(file: &str) {
    let mut insns = BTreeSet::new();
    for program in recorded::programs(file) {
        for word in recorded::words(&program, "words") {
            let bits = ustore::strip(word).unwrap();
            assert_eq!(ustore::with_ecc(bits), word);
            insns.insert(bits);
        }
        // Before relocation the top byte names the kind of relocation.
        let pre = recorded::words(&program, "pre");
        insns.extend(pre.iter().map(|word| word & ustore::INSN_MASK));
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
