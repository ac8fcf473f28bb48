//! The verifier against what Linux said of recorded programs, and against the interpreter: what it
//! accepts never traps. `IOM_MUTANTS` sets how many changed programs are tried, `IOM_SEED` the
//! first seed.

use std::path::Path;
use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_core::abi::{Backend, Environment, Frame, LoadRequest, Network, QueueId, Trap, TrapKind};
use iom_core::hex;
use iom_core::map::MapSet;
use iom_core::module::{Module, ProgramType};
use iom_core::object::raw::{RawProgramError, raw_program};
use iom_core::object::vector::{Alignment, Vector, VectorError, load_vector};
use iom_core::verifier::{Options, Verification, kernel_message, verify};
use serde_json::Value;

/// Every recorded row, or `None` where the data is not there.
fn rows() -> Option<Vec<(String, Value)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/verifier");
    let mut rows = Vec::new();
    for file in ["vectors.jsonl", "selftests.jsonl"] {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            eprintln!("skipped: {} is not there", folder.join(file).display());
            return None;
        };
        for line in text.lines() {
            let row = serde_json::from_str(line).expect("a JSON line");
            rows.push((line.to_owned(), row));
        }
    }
    Some(rows)
}

fn options(vector: &Vector) -> Options {
    Options {
        strict_alignment: vector.load_flags & 1 != 0 || vector.alignment == Some(Alignment::Strict),
        frequent_states: vector.load_flags & 8 != 0,
        ..Options::default()
    }
}

/// Whether the program is accepted, Linux's lines if not, and what verifying it took.
fn judge(line: &str) -> (bool, Vec<String>, Option<Verification>) {
    match load_vector(line.as_bytes(), "vector") {
        Ok(vector) => {
            let options = options(&vector);
            let verification = verify(&vector.module, &vector.module.programs[0], options);
            let refusal = verification.refusal.clone();
            let messages = refusal.map(|refusal| refusal.messages);
            (
                messages.is_none(),
                messages.unwrap_or_default(),
                Some(verification),
            )
        }
        Err(VectorError::Program(RawProgramError::Decode(error))) => {
            (false, vec![kernel_message(&error)], None)
        }
        Err(error) => panic!("{error}: {line}"),
    }
}

#[test]
fn recorded_programs_are_judged_as_linux_judged_them() {
    let Some(rows) = rows() else {
        return;
    };
    let (mut wrong, mut messages, mut counts) = (Vec::new(), (0, 0), (0, 0));
    for (line, row) in &rows {
        let linux = &row["kernel_6_18"];
        let (accepted, lines, verification) = judge(line);
        if accepted != (linux["verdict"] == "accept") {
            wrong.push(format!(
                "{}: {lines:?}, Linux {}",
                row["name"], linux["last_log"]
            ));
            continue;
        }
        let wanted = linux["message_contains"]
            .as_array()
            .or(linux["messages"].as_array());
        if let (false, Some(wanted)) = (accepted, wanted) {
            let text = lines.join("\n");
            let mut wanted = wanted.iter().filter_map(Value::as_str);
            messages.0 += i32::from(wanted.all(|line| text.contains(line.trim())));
            messages.1 += 1;
        }
        if let (true, Some(verification)) = (accepted, verification) {
            let same = Some(verification.processed) == linux["processed"].as_u64()
                && Some(verification.total_states) == linux["total_states"].as_u64()
                && Some(verification.peak_states) == linux["peak_states"].as_u64();
            if !same {
                eprintln!(
                    "{} {} {} {} {linux}",
                    row["name"],
                    verification.processed,
                    verification.total_states,
                    verification.peak_states
                );
            }
            counts.0 += i32::from(same);
            counts.1 += 1;
        }
    }
    eprintln!(
        "messages {messages:?}, processed and states {counts:?} of {}",
        rows.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(messages.0 * 100 >= messages.1 * 95, "messages {messages:?}");
    assert!(
        counts.0 * 100 >= counts.1 * 95,
        "processed and states {counts:?}"
    );
}

/// Xorshift (Marsaglia 2003): the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Changes a field or two of some instructions.
fn mutate(program: &mut [u8], random: &mut Random) {
    const NUMBERS: [i32; 10] = [0, 1, -1, 2, 4, 8, 16, 255, -8, i32::MAX];
    for _ in 0..=random.below(3) {
        let slot = random.below(program.len() / 8) * 8;
        match random.below(5) {
            0 => program[slot] = random.next() as u8,
            1 => program[slot + 1] = (random.below(11) | random.below(11) << 4) as u8,
            2 => {
                let off = (random.below(41) as i16 - 20).to_le_bytes();
                program[slot + 2..slot + 4].copy_from_slice(&off);
            }
            3 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                program[slot + 4..slot + 8].copy_from_slice(&number.to_le_bytes());
            }
            _ => {
                let other = random.below(program.len() / 8) * 8;
                program.copy_within(other..other + 8, slot);
            }
        }
    }
}

/// Runs an accepted program on a packet.
fn run(module: &Arc<Module>, packet: &[u8]) -> Result<Option<Box<Trap>>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let maps = MapSet::create(&module.maps, 1).map_err(|error| text(&error))?;
    let interpreter = Interpreter {
        budget: 1 << 18,
        ..Interpreter::default()
    };
    let request = LoadRequest {
        module,
        entry: 0,
        maps: &maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: 1,
    };
    let instance = interpreter.load(&request).map_err(|error| text(&error))?;
    let mut frame = Frame::new();
    frame.set_packet(packet).map_err(|error| text(&error))?;
    let mut outcomes = Vec::new();
    let mut worker = instance.worker(QueueId(0)).map_err(|error| text(&error))?;
    worker
        .run(std::slice::from_mut(&mut frame), &mut outcomes, None)
        .map_err(|error| text(&error))?;
    Ok(outcomes.remove(0).trap)
}

/// Traps that say nothing about the verifier: the interpreter gives up earlier than Linux, or the
/// program reads the kernel's own memory, which is not there.
fn is_ours(kind: &TrapKind) -> bool {
    match kind {
        TrapKind::Budget { .. } | TrapKind::Unresolved | TrapKind::RefusedProgram { .. } => true,
        TrapKind::NotAllowed { region, .. } => region.ends_with("itself"),
        _ => false,
    }
}

#[test]
fn accepted_programs_never_trap() {
    let Some(rows) = rows() else {
        return;
    };
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
        set.unwrap_or(default)
    };
    let (mutants, first) = (number("IOM_MUTANTS", 800), number("IOM_SEED", 1));
    eprintln!("IOM_MUTANTS={mutants} IOM_SEED={first}");
    let originals: Vec<_> = rows
        .iter()
        .filter_map(|(line, row)| {
            let vector = load_vector(line.as_bytes(), "vector").ok()?;
            let bytes = hex::decode(row["program"].as_str()?)?;
            (bytes.len() <= 8 * 64).then_some((vector.module, bytes))
        })
        .collect();
    let (mut accepted, mut ran, mut trapped) = (0, 0, Vec::new());
    for seed in first..first + mutants {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (module, bytes) = &originals[random.below(originals.len())];
        let mut bytes = bytes.clone();
        mutate(&mut bytes, &mut random);
        let Ok(program) = raw_program(&bytes, ProgramType::Xdp, module.maps.len()) else {
            continue;
        };
        let mut module = module.clone();
        module.programs = vec![program];
        if verify(&module, &module.programs[0], Options::default())
            .refusal
            .is_some()
        {
            continue;
        }
        accepted += 1;
        let module = Arc::new(module);
        for _ in 0..3 {
            let length = 14 + random.below(120);
            let packet: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            match run(&module, &packet) {
                Ok(Some(trap)) if !is_ours(&trap.kind) => {
                    trapped.push(format!("seed {seed}: {trap}: {}", hex::encode(&bytes)));
                    break;
                }
                Ok(_) => ran += 1,
                Err(_) => break,
            }
        }
    }
    eprintln!("{accepted} of {mutants} accepted, {ran} runs");
    assert!(accepted > 0, "no program was accepted");
    assert!(trapped.is_empty(), "{}", trapped.join("\n"));
}
