//! Recorded XDP programs (`verifier/*.jsonl` beside the repository) through the kernel backend:
//! verdicts and return values are the recorded ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use iom_backends::kernel::KernelBackend;
use iom_core::abi::{
    Backend, BackendError, Frame, Instance, LoadRequest, Network, Outcome, QueueId, Receive,
};
use iom_core::map::MapSet;
use iom_core::object::vector::load_vector;
use serde_json::Value;

use crate::support::{ENVIRONMENT, kernel_is_here};

/// Why a program is not run here.
struct Skipped(String);

/// A recorded XDP program.
struct Row {
    line: String,
    name: String,
    value: Value,
}

impl Row {
    fn accepted(&self) -> bool {
        self.value["kernel_6_18"]["verdict"] == "accept"
    }

    /// Loads it; the outer error is that it cannot even be tried.
    fn load(&self) -> Result<Result<Box<dyn Instance>, BackendError>, Skipped> {
        let skipped = |error: &dyn std::fmt::Display| Skipped(error.to_string());
        let vector = load_vector(self.line.as_bytes(), &self.name).map_err(|e| skipped(&e))?;
        let maps = MapSet::create(&vector.module.maps, 1).map_err(|e| skipped(&e))?;
        let module = Arc::new(vector.module);
        Ok(KernelBackend::default().load(&LoadRequest {
            module: &module,
            entry: 0,
            maps: &maps,
            environment: ENVIRONMENT,
            network: Network::empty(),
            ports: 1,
            queues: 1,
        }))
    }
}

/// The XDP programs of a file; none where it is not there.
fn rows(file: &str) -> Vec<Row> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/verifier");
    let path = folder.join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return Vec::new();
    };
    let row = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("a line is JSON");
        Row {
            line: line.to_owned(),
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            value,
        }
    };
    text.lines()
        .map(row)
        .filter(|row| row.value["type"] == "xdp")
        .collect()
}

#[test]
fn kernel_verdicts_are_as_recorded() {
    if !kernel_is_here() {
        return;
    }
    let (mut same, mut skipped) = (0, BTreeMap::new());
    for row in rows("vectors.jsonl").iter().chain(&rows("selftests.jsonl")) {
        // The load request has no alignment: it is the machine's.
        if row.value["alignment"] == "strict" {
            continue;
        }
        match row.load() {
            Ok(Ok(_)) => assert!(row.accepted(), "{} is accepted", row.name),
            Ok(Err(BackendError::Refused { log, .. })) => {
                assert!(!row.accepted(), "{} is refused: {log}", row.name);
            }
            // What is accepted plain and not rewritten comes here, too.
            Ok(Err(error)) => panic!("{}: {error}", row.name),
            Err(Skipped(reason)) => {
                *skipped.entry(reason).or_insert(0) += 1;
                continue;
            }
        }
        same += 1;
    }
    eprintln!("{same} verdicts as recorded; skipped: {skipped:#?}");
}

#[test]
fn kernel_returns_what_was_recorded() {
    if !kernel_is_here() {
        return;
    }
    let mut ran = 0;
    let mut skipped = Vec::new();
    let rows = rows("vectors.jsonl");
    for row in &rows {
        let runs = row.value["runs"].as_array().map_or(&[][..], Vec::as_slice);
        if !row.accepted() || runs.is_empty() {
            continue;
        }
        match run_all(row, runs) {
            Ok(()) => ran += 1,
            Err(Skipped(reason)) => skipped.push(format!("{}: {reason}", row.name)),
        }
    }
    eprintln!("{ran} programs gave what was recorded; skipped: {skipped:#?}");
    assert!(rows.is_empty() || ran >= 20, "only {ran}: {skipped:#?}");
}

fn run_all(row: &Row, runs: &[Value]) -> Result<(), Skipped> {
    let name = &row.name;
    let instance = row
        .load()?
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
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
    let mut frame = Frame::new();
    frame
        .set_packet(&crate::support::bytes(hex))
        .expect("the packet fits");
    frame.receive = Receive {
        ingress_ifindex: 2,
        ..Receive::default()
    };
    frame
}
