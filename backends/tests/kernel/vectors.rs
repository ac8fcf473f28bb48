//! Recorded programs (`verifier/*.jsonl` beside the repository) of all types through the kernel
//! backend: verdicts and return values are the recorded ones, and the interpreter leaves behind the
//! same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;
use iom_core::abi::{
    Backend, BackendError, Frame, Instance, LoadRequest, Network, QueueId, Recorder,
};
use iom_core::map::MapSet;
use iom_core::module::Module;
use iom_core::object::vector::load_vector;
use serde_json::Value;

use crate::support::{ENVIRONMENT, Run, assert_same, bytes, frame, kernel_is_here};

/// Programs whose results differ, by name and reason.
const DIFFERENT: [(&str, &str); 1] = [(
    "check wire_len is readable by tc classifier",
    "test-run sets it only where it is given a context, as our harness does",
)];

/// Programs that store parts of addresses, by what is in their names.
const LEAKING: [&str; 5] = [
    "leak",
    "test19 (imm += pkt_ptr, 2)",
    "direct_packet_access_test4_write",
    "test18_imm_pkt_ptr_1",
    "test19_imm_pkt_ptr_2",
];

/// Why a program is not run here.
struct Skipped(String);

/// A recorded program.
struct Row {
    line: String,
    name: String,
    value: Value,
}

impl Row {
    fn accepted(&self) -> bool {
        self.value["kernel_6_18"]["verdict"] == "accept"
    }

    fn module(&self) -> Result<Arc<Module>, Skipped> {
        let vector = load_vector(self.line.as_bytes(), &self.name);
        vector
            .map(|vector| Arc::new(vector.module))
            .map_err(|error| Skipped(error.to_string()))
    }

    /// Packets with the return values that Linux gave.
    fn runs(&self) -> Vec<(Vec<u8>, u32)> {
        if let Some(retval) = self.value["expect_retval"].as_i64() {
            return vec![(vec![0; 64], retval as u32)];
        }
        let runs = self.value["runs"].as_array().into_iter().flatten();
        runs.map(|run| {
            let packet = bytes(run["data"].as_str().expect("data in hex"));
            (packet, run["retval"].as_i64().expect("a number") as u32)
        })
        .collect()
    }
}

/// Loads a program; the outer error is that it cannot even be tried.
fn load(
    backend: &dyn Backend,
    module: &Arc<Module>,
) -> Result<Result<Box<dyn Instance>, BackendError>, Skipped> {
    let maps = MapSet::create(&module.maps, 1).map_err(|error| Skipped(error.to_string()))?;
    Ok(backend.load(&LoadRequest {
        module,
        entry: 0,
        maps: &maps,
        environment: ENVIRONMENT,
        network: Network::empty(),
        ports: 1,
        queues: 1,
    }))
}

/// The programs of a file; none where it is not there.
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
    text.lines().map(row).collect()
}

fn all_rows() -> Vec<Row> {
    let files = ["vectors.jsonl", "selftests.jsonl"];
    files.into_iter().flat_map(rows).collect()
}

#[test]
fn kernel_verdicts_are_as_recorded() {
    if !kernel_is_here() {
        return;
    }
    let (mut same, mut skipped) = (0, BTreeMap::new());
    for row in all_rows() {
        // The load request has no alignment: it is the machine's.
        if row.value["alignment"] == "strict" || row.value["load_flags"] == 1 {
            continue;
        }
        let loaded = row
            .module()
            .and_then(|module| load(&KernelBackend::default(), &module));
        match loaded {
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
fn kernel_and_interpreter_return_what_was_recorded() {
    if !kernel_is_here() {
        return;
    }
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    let mut skipped = Vec::new();
    let rows = all_rows();
    for row in rows.iter().filter(|row| row.accepted()) {
        let runs = row.runs();
        if runs.is_empty() || DIFFERENT.iter().any(|(name, _)| *name == row.name) {
            continue;
        }
        match run_both(row, &runs) {
            Ok(()) => *ran.entry(row.value["type"].to_string()).or_default() += runs.len(),
            Err(Skipped(reason)) => skipped.push(format!("{}: {reason}", row.name)),
        }
    }
    eprintln!("runs that gave what was recorded: {ran:?}; skipped: {skipped:#?}");
    let total: usize = ran.values().sum();
    assert!(rows.is_empty() || total >= 300, "{ran:?}: {skipped:#?}");
}

fn run_both(row: &Row, runs: &[(Vec<u8>, u32)]) -> Result<(), Skipped> {
    let module = row.module()?;
    let interpreter = run(row, &Interpreter::default(), &module, runs)?;
    let kernel = run(row, &KernelBackend::default(), &module, runs)?;
    if !LEAKING.iter().any(|part| row.name.contains(part)) {
        assert_same(&row.name, &interpreter, &kernel, &module);
    }
    for ((_, retval), outcome) in runs.iter().zip(&kernel.outcomes) {
        assert_eq!(outcome.refused, None, "{}", row.name);
        assert_eq!(outcome.retval, *retval, "{}", row.name);
    }
    Ok(())
}

fn run(
    row: &Row,
    backend: &dyn Backend,
    module: &Arc<Module>,
    runs: &[(Vec<u8>, u32)],
) -> Result<Run, Skipped> {
    let name = &row.name;
    let instance = load(backend, module)?.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let packets = (0..).zip(runs);
    let mut frames: Vec<Frame> = packets.map(|(id, (data, _))| frame(id, data)).collect();
    let (mut outcomes, mut recorder) = (Vec::new(), Recorder::default());
    let mut worker = instance.worker(QueueId(0)).expect("a worker");
    worker
        .run(&mut frames, &mut outcomes, Some(&mut recorder))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    drop(worker);
    Ok(Run {
        frames,
        outcomes,
        recorder,
        maps: instance.maps().expect("the maps are dumped"),
    })
}
