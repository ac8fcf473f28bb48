//! The verdict: what Linux would say of a program, and why.

use super::explain::explain_messages;
use super::explore::{Options, Verifier};
use super::facts::Facts;
use super::kernel_log::LogLevel;
use super::record::{Recorder, Visit};
use super::watch::Watch;
use crate::module::{Module, Program};

/// What the verifier says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Why the program is refused, `None` if it is accepted.
    pub refusal: Option<Refusal>,
    /// Instructions looked at, over all paths.
    pub processed: u64,
    /// States remembered.
    pub total_states: u64,
    /// States remembered at the same time, at most.
    pub peak_states: u64,
    /// States that one instruction had at the same time, at most.
    pub max_states_per_insn: u64,
    /// Stack of each function in bytes, as Linux prints it: `16+8`.
    pub stack_depth: String,
    /// By slot of the program.
    pub visits: Vec<Visits>,
}

/// What verifying took at one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// How often it was looked at.
    pub visits: u64,
    /// How many states were remembered there.
    pub states: u64,
}

/// Why a program is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Slot of the instruction.
    pub insn: usize,
    /// In plain words.
    pub reason: String,
    /// Linux's lines for the error.
    pub messages: Vec<String>,
}

/// Verifies a program of a module.
pub fn verify(module: &Module, program: &Program, options: Options) -> Verification {
    verify_by(&mut Verifier::new(module, program, options))
}

/// Verifies a program and gathers its facts, up to where it is refused; `on_visit` is told of each
/// visit of an instruction, in the order of the visits.
pub fn verify_with_facts(
    module: &Module,
    program: &Program,
    options: Options,
    on_visit: &mut dyn FnMut(Visit<'_>),
) -> (Verification, Facts) {
    let mut verifier = Verifier::new(module, program, options);
    verifier.recorder = Some(Recorder::new(program.insns.len(), on_visit));
    let verification = verify_by(&mut verifier);
    (verification, verifier.into_facts())
}

/// Verifies a program of a module and gives the log that Linux would print, too.
pub fn verify_with_log(
    module: &Module,
    program: &Program,
    options: Options,
    level: LogLevel,
) -> (Verification, String) {
    let mut verifier = Verifier::new(module, program, options);
    verifier.watch = Some(Box::new(Watch::logging(level, program)));
    let verification = verify_by(&mut verifier);
    let log = verifier.watch.and_then(|watch| watch.log);
    let log = log.map_or(String::new(), |log| log.into_inner().finish(&verification));
    (verification, log)
}

fn verify_by(verifier: &mut Verifier<'_>) -> Verification {
    let refusal = verifier.run().err().map(|rejection| Refusal {
        insn: verifier.rejected_insn(&rejection),
        reason: explain_messages(&rejection.messages).0,
        messages: rejection.messages,
    });
    Verification {
        refusal,
        processed: verifier.counts.processed,
        total_states: verifier.counts.total_states,
        peak_states: verifier.counts.peak_states,
        max_states_per_insn: verifier.counts.max_states_per_insn,
        stack_depth: verifier.stack_depth_text(),
        visits: std::mem::take(&mut verifier.visits),
    }
}
