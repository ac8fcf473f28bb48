//! Our verifier's facts against those that the driver recorded, instruction by instruction.

mod recorded;

use iom_core::object::vector::load_vector;
use iom_core::verifier::{Argument, CallFacts, Facts, InsnFacts, KnownBits, Pointer, PointerFacts};
use iom_nfp_offload::check::check;
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::recorded::facts;
use serde_json::Value;

/// Recorded pointers do not say which map, and which frame of the stack.
fn pointer(mut facts: PointerFacts) -> PointerFacts {
    facts.to = match facts.to {
        Pointer::Map { .. } => Pointer::Map { map: 0 },
        Pointer::MapValue { .. } => Pointer::MapValue { map: 0 },
        Pointer::MapValueOrNull { .. } => Pointer::MapValueOrNull { map: 0 },
        Pointer::Stack { .. } => Pointer::Stack { frame: 0 },
        to @ (Pointer::Context | Pointer::Packet | Pointer::PacketMeta | Pointer::PacketEnd) => to,
    };
    facts
}

fn argument(facts: Argument) -> Argument {
    facts
        .pointer()
        .map_or(facts, |facts| Argument::Pointer(pointer(facts)))
}

/// What is recorded of a call: of the fourth argument, what it points to.
fn call(facts: CallFacts, is_event: bool) -> CallFacts {
    let to = facts.arg4.pointer().filter(|_| is_event);
    let to = to.map(|facts| pointer(facts).to);
    CallFacts {
        map: facts.map.filter(|_| !is_event).map(|_| 0),
        arg2: argument(facts.arg2),
        arg2_differs: false,
        arg3: Argument::Other,
        maybe_nonzero: 0,
        arg4: to.map_or(Argument::Other, |to| {
            Argument::Pointer(PointerFacts {
                to,
                offset: 0,
                variable: KnownBits::default(),
                id: 0,
                differs_by_path: false,
            })
        }),
    }
}

/// What is recorded of an instruction.
fn comparable(facts: &InsnFacts, is_event: bool) -> InsnFacts {
    InsnFacts {
        reachable: !facts.removed,
        pointer: facts.pointer.map(pointer),
        call: facts.call.map(|facts| call(facts, is_event)),
        result: None,
        ..facts.clone()
    }
}

struct Comparison {
    insns: usize,
    different: Vec<String>,
}

fn compare(row: &Value, comparison: &mut Comparison) {
    if recorded::words(row, "words").is_empty() {
        return;
    }
    let vector = load_vector(row.to_string().as_bytes(), "vector").unwrap();
    let Some(theirs) = facts(&vector).unwrap() else {
        return;
    };
    let profile = FirmwareProfile::full()
        .with_settings(&vector.firmware_args)
        .unwrap();
    let (ours, _): (Facts, _) = check(&vector.module, 0, &profile);
    let name = &row["name"];
    for (slot, (ours, theirs)) in ours.insns.iter().zip(&theirs.insns).enumerate() {
        comparison.insns += 1;
        let is_event = row["facts"][slot]["func"] == 25;
        let (ours, theirs) = (comparable(ours, is_event), comparable(theirs, is_event));
        if ours != theirs {
            comparison.different.push(format!(
                "{name} {slot}\n  ours   {ours:?}\n  theirs {theirs:?}"
            ));
        }
    }
    if ours.functions != theirs.functions {
        comparison.different.push(format!(
            "{name} functions {:?} {:?}",
            ours.functions, theirs.functions
        ));
    }
}

/// Compares all instructions of a file's accepted programs; there are `count`.
fn check_file(file: &str, count: usize) {
    let mut comparison = Comparison {
        insns: 0,
        different: Vec::new(),
    };
    let rows = recorded::programs(file);
    for row in &rows {
        compare(row, &mut comparison);
    }
    let Comparison { insns, different } = comparison;
    assert!(
        different.is_empty(),
        "{} of {insns} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    assert!(rows.is_empty() || insns == count, "{insns}");
}

#[test]
fn facts_of_the_vectors() {
    check_file("vectors.jsonl", 3150);
}

#[test]
fn facts_of_the_fuzz_programs() {
    check_file("fuzz.jsonl.gz", 43773);
}
