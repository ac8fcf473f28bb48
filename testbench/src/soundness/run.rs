//! Accepted programs in the checked interpreter, on a few random packets.

use std::sync::Arc;

use iom_backends::interpreter::Interpreter;
use iom_core::abi::{
    Backend, BackendError, Environment, Frame, LoadRequest, Network, QueueId, TrapKind,
};
use iom_core::generate::Random;
use iom_core::map::MapSet;
use iom_core::module::Module;

/// Instructions for one packet. Linux has no such limit; a program that needs more is stopped, which
/// says nothing about the verifier.
const BUDGET: u64 = 1 << 18;
/// Lengths of packets: the shortest, around headers, and a whole frame.
const LENGTHS: [usize; 8] = [14, 15, 34, 42, 60, 64, 128, 1514];

/// What running a program gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It ran on so many packets.
    Fine(u64),
    /// It trapped.
    Trapped(String),
    /// The interpreter does not take it.
    NotRun,
}

/// Runs the only program of a module on some packets.
pub(super) fn run(module: Module, packets: usize, random: &mut Random) -> Ran {
    let Ok(outcomes) = outcomes(module, packets, random) else {
        return Ran::NotRun;
    };
    let mut ran = 0;
    for trap in outcomes {
        match trap {
            Some((kind, text)) if says_something(&kind) => return Ran::Trapped(text),
            _ => ran += 1,
        }
    }
    Ran::Fine(ran)
}

fn outcomes(
    module: Module,
    packets: usize,
    random: &mut Random,
) -> Result<Vec<Option<(TrapKind, String)>>, BackendError> {
    let failed = |message: String| BackendError::Failed {
        backend: "sim",
        message,
    };
    let maps = MapSet::create(&module.maps, 1).map_err(|error| failed(error.to_string()))?;
    let module = Arc::new(module);
    let interpreter = Interpreter {
        budget: BUDGET,
        ..Interpreter::default()
    };
    let instance = interpreter.load(&LoadRequest {
        module: &module,
        entry: 0,
        maps: &maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: 1,
    })?;
    let mut frames = Vec::new();
    for _ in 0..packets {
        let len = *random.pick(&LENGTHS);
        let bytes: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
        let mut frame = Frame::new();
        let packet = frame.set_packet(&bytes);
        packet.map_err(|error| failed(error.to_string()))?;
        frame.receive.ingress_ifindex = 2;
        frames.push(frame);
    }
    let mut outcomes = Vec::new();
    let mut worker = instance.worker(QueueId(0))?;
    worker.run(&mut frames, &mut outcomes, None)?;
    let traps = outcomes.into_iter().map(|outcome| outcome.trap);
    Ok(traps
        .map(|trap| trap.map(|trap| (trap.kind.clone(), trap.to_string())))
        .collect())
}

/// Whether a trap says that the verifier was wrong: not where the interpreter gives up earlier than
/// Linux, or where the program reads the kernel's own memory, which is not there.
fn says_something(kind: &TrapKind) -> bool {
    match kind {
        TrapKind::Budget { .. } | TrapKind::Unresolved | TrapKind::RefusedProgram { .. } => false,
        TrapKind::NotAllowed { region, .. } => !region.ends_with("itself"),
        _ => true,
    }
}
