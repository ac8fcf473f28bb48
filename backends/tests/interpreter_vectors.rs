//! Recorded runs of the kernel's own test programs: every accepted vector with a return value, on
//! the interpreter. What cannot run here is listed with its reason.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use iom_backends::interpreter::{DEFAULT_BUDGET, Interpreter};
use iom_core::abi::{Backend, Environment, Frame, LoadRequest, Network, QueueId, TrapKind};
use iom_core::map::MapSet;
use iom_core::object::vector::load_vector;
use serde_json::Value;

/// Instructions for one run: enough for a `may_goto` that is used up, where that takes no seconds.
const BUDGET: u64 = if cfg!(debug_assertions) {
    1 << 20
} else {
    DEFAULT_BUDGET
};

/// The return value of a vector on a packet, or why it has none.
fn run(line: &str, packet: &[u8]) -> Result<u32, String> {
    let vector = load_vector(line.as_bytes(), "vector").map_err(|error| error.to_string())?;
    let maps = MapSet::create(&vector.module.maps, 1).map_err(|error| error.to_string())?;
    let module = Arc::new(vector.module);
    let interpreter = Interpreter {
        budget: BUDGET,
        ..Interpreter::default()
    };
    let instance = interpreter
        .load(&LoadRequest {
            module: &module,
            entry: 0,
            maps: &maps,
            environment: Environment::default(),
            network: Network::empty(),
            ports: 1,
            queues: 1,
        })
        .map_err(|error| error.to_string())?;
    let mut frame = Frame::new();
    frame
        .set_packet(packet)
        .map_err(|error| error.to_string())?;
    frame.receive.ingress_ifindex = 1;
    frame.ktime_ns = Environment::default().start_ns;
    let mut outcomes = Vec::new();
    let mut worker = instance
        .worker(QueueId(0))
        .map_err(|error| error.to_string())?;
    worker
        .run(std::slice::from_mut(&mut frame), &mut outcomes, None)
        .map_err(|error| error.to_string())?;
    match &outcomes[0].trap {
        Some(trap) if matches!(trap.kind, TrapKind::Budget { .. }) => {
            Err(format!("{trap}; a release build has time for more"))
        }
        Some(trap) => Err(format!("TRAP {trap}")),
        None => Ok(outcomes[0].retval),
    }
}

#[test]
fn accepted_vectors_return_what_linux_returned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/verifier");
    let mut counts: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in ["vectors.jsonl", "selftests.jsonl"] {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            eprintln!("skipped: {} is not there", folder.join(file).display());
            return;
        };
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).expect("a JSON line");
            if row["kernel_6_18"]["verdict"] != "accept" {
                continue;
            }
            let (name, kind) = (text_of(&row["name"]), text_of(&row["type"]));
            let count = counts.entry(kind).or_default();
            for (packet, expected) in runs(&row) {
                match run(line, &packet) {
                    Ok(retval) if retval == expected => count[0] += 1,
                    Err(reason) if !reason.starts_with("TRAP") => {
                        eprintln!("not run: {name}: {reason}");
                        count[1] += 1;
                    }
                    other => {
                        count[2] += 1;
                        wrong.push(format!("{name}: {other:?}, Linux {expected}"));
                    }
                }
            }
        }
    }
    eprintln!("same, not run, different: {counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Packets with the return values that Linux gave.
fn runs(row: &Value) -> Vec<(Vec<u8>, u32)> {
    if let Some(retval) = row["expect_retval"].as_i64() {
        return vec![(vec![0; 64], retval as u32)];
    }
    let runs = row["runs"].as_array().into_iter().flatten();
    runs.map(|run| {
        let packet = from_hex(&text_of(&run["data"]));
        (packet, run["retval"].as_i64().expect("a number") as u32)
    })
    .collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn from_hex(text: &str) -> Vec<u8> {
    iom_core::hex::decode(text).expect("hex digits")
}
