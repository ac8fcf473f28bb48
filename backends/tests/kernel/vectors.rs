//! Recorded return values of accepted XDP programs (`verifier/vectors.jsonl` beside the
//! repository), through the kernel backend.

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{ENVIRONMENT, kernel_is_here};
use iom_backends::kernel::KernelBackend;
use iom_core::abi::{Backend, BackendError, Frame, LoadRequest, Outcome, QueueId, Receive};
use iom_core::map::MapSet;
use iom_core::object::vector::load_vector;
use serde_json::Value;

/// Why a program is not run here.
struct Skipped(String);

#[test]
fn kernel_returns_what_was_recorded() {
    if !kernel_is_here() {
        return;
    }
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/verifier/vectors.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return eprintln!("skipped: {} is not there", path.display());
    };
    let mut ran = 0;
    let mut skipped = Vec::new();
    for line in text.lines() {
        let vector: Value = serde_json::from_str(line).expect("a line is JSON");
        let name = vector["name"].as_str().unwrap_or_default();
        let runs = vector["runs"].as_array().map_or(&[][..], Vec::as_slice);
        let accepted = vector["kernel_6_18"]["verdict"] == "accept";
        if vector["type"] != "xdp" || !accepted || runs.is_empty() {
            continue;
        }
        match run_all(line, name, runs) {
            Ok(()) => ran += 1,
            Err(Skipped(reason)) => skipped.push(format!("{name}: {reason}")),
        }
    }
    eprintln!("{ran} programs gave what was recorded; skipped: {skipped:#?}");
    assert!(ran >= 20, "only {ran} programs ran: {skipped:#?}");
}

fn run_all(line: &str, name: &str, runs: &[Value]) -> Result<(), Skipped> {
    let vector =
        load_vector(line.as_bytes(), name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let maps =
        MapSet::create(&vector.module.maps, 1).map_err(|error| Skipped(error.to_string()))?;
    let module = Arc::new(vector.module);
    let request = LoadRequest {
        module: &module,
        entry: 0,
        maps: &maps,
        environment: ENVIRONMENT,
        ports: 1,
        queues: 1,
    };
    let instance = KernelBackend::default()
        .load(&request)
        .unwrap_or_else(|error| match error {
            BackendError::Refused { log, .. } => panic!("{name}: {log}"),
            error => panic!("{name}: {error}"),
        });
    let mut frames: Vec<Frame> = runs.iter().map(frame).collect();
    let mut outcomes = Vec::new();
    let mut worker = instance.worker(QueueId(0)).expect("a worker");
    worker
        .run(&mut frames, &mut outcomes, None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for (run, outcome) in runs.iter().zip(&outcomes) {
        let Outcome {
            retval, refused, ..
        } = outcome;
        assert_eq!(refused, &None, "{name}");
        assert_eq!(run["retval"], *retval, "{name}");
    }
    Ok(())
}

fn frame(run: &Value) -> Frame {
    let hex = run["data"].as_str().expect("data in hex");
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex"))
        .collect();
    let mut frame = Frame::new();
    frame.set_packet(&bytes).expect("the packet fits");
    frame.receive = Receive {
        ingress_ifindex: 2,
        ..Receive::default()
    };
    frame
}
