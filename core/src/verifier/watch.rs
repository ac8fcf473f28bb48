//! Watching the verifier at work. Verification is deterministic, so that a run which is watched
//! finds what one that is not found, and the latter costs nothing for it.

use std::cell::RefCell;

use super::explore::{Next, Verifier};
use super::kernel_log::{KernelLog, LogLevel};
use super::state::State;
use crate::isa::Insn;
use crate::module::Program;

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Also written where the verifier only looks, hence the cell.
    pub(super) log: Option<RefCell<KernelLog>>,
    /// Of each path that waits: how long the log was.
    marks: Vec<usize>,
}

impl Watch {
    /// Writes the log.
    pub(super) fn logging(level: LogLevel, program: &Program) -> Self {
        Self {
            log: Some(RefCell::new(KernelLog::new(level, program))),
            marks: Vec::new(),
        }
    }
}

impl Verifier<'_> {
    /// A path is put aside.
    pub(super) fn watch_push(&mut self) {
        if let Some(watch) = self.watch.as_deref_mut() {
            let length = watch.log.as_ref().map_or(0, |log| log.borrow().len());
            watch.marks.push(length);
        }
    }

    /// The path that was put aside last is followed.
    pub(super) fn watch_pop(&mut self) {
        if let Some(watch) = self.watch.as_deref_mut() {
            let length = watch.marks.pop().unwrap_or(0);
            if let Some(log) = &watch.log {
                log.borrow_mut().resume(length);
            }
        }
    }

    pub(super) fn watch_before(&self, slot: usize) {
        self.with_log(|log| {
            log.before(&self.maps, self.program, &self.state, (self.previous, slot));
            if self.program.insns[slot] == Insn::Exit && self.state.frames.len() > 1 {
                log.returning(&self.maps, &self.state);
            }
        });
    }

    pub(super) fn watch_after(&self, slot: usize, next: &Next) {
        self.with_log(|log| {
            let insn = self.program.insns[slot];
            if let (Insn::Exit, Next::Go(target)) = (insn, next) {
                log.returned(&self.maps, &self.state, *target as usize);
            }
            log.after(&self.maps, &self.state, insn, slot);
        });
    }

    /// The calls that lead to a loop, and its number.
    pub(super) fn watch_loop(&self, what: &str, key: &(Vec<u32>, u32)) {
        self.with_log(|log| {
            let numbers = key.0.iter().chain(std::iter::once(&key.1));
            let numbers: Vec<_> = numbers.map(u32::to_string).collect();
            log.note(format_args!("SCC {what} ({})", numbers.join(",")));
        });
    }

    /// A loop came back with nothing changed.
    pub(super) fn watch_endless(&self, old: &State) {
        self.with_log(|log| log.endless(&self.maps, &self.state, old));
    }
}
