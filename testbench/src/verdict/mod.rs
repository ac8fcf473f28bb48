//! What a verifier says of a program, ours or the running kernel's, in one form.

use std::time::Instant;

use iom_backends::kernel::{KernelBackend, VerdictOptions};
use iom_core::abi::BackendError;
use iom_core::isa::{InsnText, list_program};
use iom_core::module::{Module, Program};
use iom_core::verifier::{
    Event, Explanation, LogLevel, Options, Verification, Visits, explain, explain_messages, verify,
    verify_with_log,
};

pub mod baseline;
pub mod both;
pub mod hot;
pub mod json;
pub mod kernel_log;
pub mod text;

/// Who judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Judge {
    /// Our verifier
    Sim,
    /// The running kernel's
    Kernel,
}

impl Judge {
    /// Name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
        }
    }
}

/// A verdict.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whose it is.
    pub judge: Judge,
    /// Name of the program.
    pub program: String,
    /// Why it is refused, in the order of importance; empty if it is accepted.
    pub reasons: Vec<Reason>,
    /// What it took.
    pub effort: Effort,
    /// The log, if one was asked for.
    pub log: Option<String>,
}

/// Why a program is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// Slot, where the verifier names one.
    pub insn: Option<usize>,
    /// What is wrong, in plain words.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// Where the values came from, oldest event first.
    pub history: Vec<Event>,
    /// Linux's lines.
    pub messages: Vec<String>,
}

/// What verifying took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Instructions looked at.
    pub processed: u64,
    /// States remembered.
    pub total_states: u64,
    /// At the same time.
    pub peak_states: u64,
    /// At one instruction at the same time.
    pub max_states_per_insn: u64,
    /// Stack of each function, `16+8`.
    pub stack_depth: String,
    /// Time in microseconds, where a clock was looked at.
    pub time_us: Option<u64>,
    /// By slot; empty for the kernel, which does not say.
    pub visits: Vec<Visits>,
}

impl Verdict {
    /// Whether the program is accepted.
    pub fn accepted(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Our verifier's verdict; `level` is the kernel's log level, 0 for none.
pub fn by_sim(module: &Module, entry: usize, options: Options, level: u32) -> Verdict {
    let program = &module.programs[entry];
    let start = Instant::now();
    let verification = verify(module, program, options);
    let time_us = start.elapsed().as_micros() as u64;
    let log = log_level(level).map(|level| verify_with_log(module, program, options, level).1);
    let log = log.map(|log| with_statistics(log, level, &verification, time_us));
    let log = log.or_else(|| (level != 0).then(|| statistics(&verification, time_us)));
    let mut reasons = Vec::new();
    if let Some(refusal) = &verification.refusal {
        reasons = explain(module, program, options)
            .into_iter()
            .map(Reason::from)
            .collect();
        if reasons.is_empty() {
            let (what, fix) = explain_messages(&refusal.messages);
            reasons.push(Reason {
                insn: Some(refusal.insn),
                what,
                fix,
                history: Vec::new(),
                messages: refusal.messages.clone(),
            });
        }
    }
    Verdict {
        judge: Judge::Sim,
        program: program.name.clone(),
        reasons,
        effort: Effort::of(verification, time_us),
        log,
    }
}

impl From<Explanation> for Reason {
    fn from(explanation: Explanation) -> Self {
        Self {
            insn: Some(explanation.insn),
            what: explanation.what,
            fix: explanation.fix,
            history: explanation.history,
            messages: explanation.messages,
        }
    }
}

impl Effort {
    fn of(verification: Verification, time_us: u64) -> Self {
        Self {
            processed: verification.processed,
            total_states: verification.total_states,
            peak_states: verification.peak_states,
            max_states_per_insn: verification.max_states_per_insn,
            stack_depth: verification.stack_depth,
            time_us: Some(time_us),
            visits: verification.visits,
        }
    }
}

/// Bits of the kernel's log levels.
const LOG_PATH: u32 = 1;
const LOG_ALL: u32 = 2;
const LOG_STATS: u32 = 4;

fn log_level(level: u32) -> Option<LogLevel> {
    if level & LOG_ALL != 0 {
        Some(LogLevel::AllPaths)
    } else {
        (level & LOG_PATH != 0).then_some(LogLevel::FailedPath)
    }
}

fn with_statistics(log: String, level: u32, verification: &Verification, time_us: u64) -> String {
    if level & LOG_STATS == 0 {
        return log;
    }
    let body = log.rfind("processed ").map_or(log.len(), |start| start);
    format!("{}{}", &log[..body], statistics(verification, time_us))
}

/// The kernel's lines about what verifying took.
fn statistics(verification: &Verification, time_us: u64) -> String {
    format!(
        "verification time {time_us} usec\nstack depth {}\nprocessed {} insns (limit 1000000) max_states_per_insn {} total_states {} peak_states {} mark_read 0\n",
        verification.stack_depth,
        verification.processed,
        verification.max_states_per_insn,
        verification.total_states,
        verification.peak_states
    )
}

/// The running kernel's verdict in the same form.
///
/// # Errors
/// There is no kernel to ask.
pub fn by_kernel(
    module: &Module,
    entry: usize,
    options: Options,
    level: u32,
) -> Result<Verdict, BackendError> {
    let ask = VerdictOptions {
        verifier: options,
        // The path that failed says which instruction it was.
        level: if level & LOG_ALL == 0 {
            LOG_PATH
        } else {
            LOG_ALL
        },
    };
    let answer = KernelBackend::verdict(module, entry, ask)?;
    let mut reasons = Vec::new();
    if !answer.accepted {
        let (insn, mut messages) = kernel_log::refusal(&answer.log);
        if messages.is_empty() {
            messages.extend(answer.error.clone());
        }
        let (what, fix) = explain_messages(&messages);
        reasons.push(Reason {
            insn,
            what,
            fix,
            history: Vec::new(),
            messages,
        });
    }
    let effort = Effort {
        processed: answer.processed().unwrap_or(0),
        total_states: answer.total_states().unwrap_or(0),
        peak_states: answer.peak_states().unwrap_or(0),
        max_states_per_insn: kernel_log::number(&answer.log, "max_states_per_insn ").unwrap_or(0),
        stack_depth: answer.stack_depth().unwrap_or_default().to_owned(),
        time_us: answer.time_us(),
        visits: Vec::new(),
    };
    Ok(Verdict {
        judge: Judge::Kernel,
        program: module.programs[entry].name.clone(),
        reasons,
        effort,
        log: (level != 0).then_some(answer.log),
    })
}

/// The text of an instruction, with the names of labels, maps and helpers.
pub fn instruction(module: &Module, program: &Program, insn: usize) -> Option<String> {
    let listing = list_program(program, &module.maps);
    let line = listing.into_iter().find(|line| line.slot == insn);
    let plain = || {
        program
            .insns
            .get(insn)
            .map(|insn| InsnText::plain(*insn).to_string())
    };
    line.map(|line| line.text).or_else(plain)
}
