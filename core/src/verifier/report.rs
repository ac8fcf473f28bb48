//! The verdict: what Linux would say of a program, and why.

use super::explore::{Options, Verifier};
use super::facts::Facts;
use super::kernel_log::LogLevel;
use super::record::{Recorder, Visit};
use super::reject::Rejection;
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
    /// In plain words, with what to do about it.
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
        reason: reason(&rejection),
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

/// What helps against an error, by a part of Linux's message.
const ADVICE: &[(&str, &str)] = &[
    (
        "!read_ok",
        "a register is read that was not written on this path, or that a call clobbered",
    ),
    (
        "invalid access to packet",
        "the packet is accessed farther than it was compared with data_end on this path: compare first",
    ),
    (
        "offset is outside of the packet",
        "the packet is accessed farther than it was compared with data_end on this path: compare first",
    ),
    (
        "map_value_or_null",
        "a lookup's result is used before it was compared with null",
    ),
    (
        "_or_null'",
        "a pointer is used before it was compared with null",
    ),
    (
        "invalid access to map value",
        "the access reaches outside of the map's value: bound the index first",
    ),
    (
        "unbounded memory access",
        "the length or index has no upper bound: compare it with a constant first",
    ),
    (
        "min value is negative",
        "the length or index may be negative: use an unsigned number or compare it with 0 first",
    ),
    (
        "invalid bpf_context access",
        "this program type may not access its context at this offset with this size",
    ),
    (
        "infinite loop",
        "a loop comes back with nothing changed, so it may never end",
    ),
    (
        "Unreleased reference",
        "something that was acquired is not given up on this path",
    ),
    (
        "too large",
        "the program has too many paths: simplify branches or shorten loops",
    ),
    ("back-edge", "the program has a loop"),
    ("unreachable insn", "an instruction can never be reached"),
    ("jump out of range", "a jump leaves its function"),
    (
        "last insn is not an exit",
        "a function does not end with exit or a jump",
    ),
    (
        "combined stack",
        "the functions that call each other use more than 512 bytes of stack together",
    ),
    (
        "stack R",
        "the access lies outside of the 512 bytes of stack",
    ),
    (
        "misaligned",
        "the access is not aligned to its size, which was asked for",
    ),
    (
        "cannot use helper",
        "this program type does not have this helper",
    ),
    (
        "GPL",
        "the helper needs a licence that is compatible with the GPL",
    ),
];

fn reason(rejection: &Rejection) -> String {
    let said = rejection.messages.join("; ");
    match ADVICE.iter().find(|(part, _)| said.contains(part)) {
        Some((_, words)) => format!("{words} ({said})"),
        None => said,
    }
}
