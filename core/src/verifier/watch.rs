//! Watching the verifier at work. Verification is deterministic, so that a run which is watched
//! finds what one that is not found, and the latter costs nothing for it.

use std::cell::RefCell;

use super::explain::{Explanation, MAX_REASONS, MORE_PROCESSED};
use super::explore::{MAX_PROCESSED, Next, Verifier};
use super::kernel_log::{KernelLog, LogLevel};
use super::path::Path;
use super::reject::{Check, Rejection};
use super::state::State;
use crate::isa::Insn;
use crate::module::Program;

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Also written where the verifier only looks, hence the cell.
    pub(super) log: Option<RefCell<KernelLog>>,
    /// The path at hand, and why paths before it were refused.
    pub(super) path: Option<Path>,
    pub(super) found: Vec<Explanation>,
    /// Instructions looked at when the first refusal was found.
    found_at: u64,
    /// Of each path that waits: how long log and path were.
    marks: Vec<(usize, usize)>,
}

impl Watch {
    /// Writes the log.
    pub(super) fn logging(level: LogLevel, program: &Program) -> Self {
        Self {
            log: Some(RefCell::new(KernelLog::new(level, program))),
            ..Self::default()
        }
    }

    /// Remembers the path, and goes on after a refusal.
    pub(super) fn explaining() -> Self {
        Self {
            path: Some(Path::default()),
            ..Self::default()
        }
    }
}

impl Verifier<'_> {
    /// A path is put aside.
    pub(super) fn watch_push(&mut self) {
        if let Some(watch) = self.watch.as_deref_mut() {
            let log = watch.log.as_ref().map_or(0, |log| log.borrow().len());
            let path = watch.path.as_ref().map_or(0, Path::len);
            watch.marks.push((log, path));
        }
    }

    /// The path that was put aside last is followed.
    pub(super) fn watch_pop(&mut self) {
        if let Some(watch) = self.watch.as_deref_mut() {
            let (log_length, path_length) = watch.marks.pop().unwrap_or_default();
            if let Some(log) = &watch.log {
                log.borrow_mut().resume(log_length);
            }
            if let Some(path) = &mut watch.path {
                path.truncate(path_length);
            }
        }
    }

    pub(super) fn watch_before(&mut self, slot: usize) {
        if let Some(path) = self
            .watch
            .as_deref_mut()
            .and_then(|watch| watch.path.as_mut())
        {
            path.before(&self.state, self.program.insns[slot], slot);
        }
        self.with_log(|log| {
            log.before(&self.maps, self.program, &self.state, (self.previous, slot));
            if self.program.insns[slot] == Insn::Exit && self.state.frames.len() > 1 {
                log.returning(&self.maps, &self.state);
            }
        });
    }

    pub(super) fn watch_after(&mut self, slot: usize, next: &Next) {
        if let Some(path) = self
            .watch
            .as_deref_mut()
            .and_then(|watch| watch.path.as_mut())
        {
            path.after(&self.state, self.program.insns[slot]);
        }
        self.with_log(|log| {
            let insn = self.program.insns[slot];
            if let (Insn::Exit, Next::Go(target)) = (insn, next) {
                log.returned(&self.maps, &self.state, *target as usize);
            }
            log.after(&self.maps, &self.state, insn, slot);
        });
    }

    /// A path is refused. One that is explained counts as finished, so that others are looked at,
    /// too, as long as that is cheap.
    pub(super) fn watch_refused(&mut self, rejection: Rejection) -> Check<Next> {
        let processed = self.counts.processed;
        let Some(mut watch) = self.watch.take() else {
            return Err(rejection);
        };
        let Some(path) = &watch.path else {
            self.watch = Some(watch);
            return Err(rejection);
        };
        if !watch.found.iter().any(|known| known.insn == self.insn) {
            let explanation = self.explain_here(&rejection, path.steps());
            watch.found.push(explanation);
        }
        if watch.found.len() == 1 {
            watch.found_at = processed;
        }
        let limit = (watch.found_at + MORE_PROCESSED).min(MAX_PROCESSED);
        let goes_on = watch.found.len() < MAX_REASONS && processed < limit;
        self.watch = Some(watch);
        if goes_on {
            Ok(Next::PathEnds)
        } else {
            Err(rejection)
        }
    }

    /// The calls that lead to a loop, and its number.
    pub(super) fn watch_loop(&self, what: &str, key: &(Vec<u32>, u32)) {
        self.with_log(|log| {
            // Linux ends the list of calls at one from instruction 0.
            let calls = key.0.iter().take_while(|call| **call != 0);
            let numbers = calls.chain(std::iter::once(&key.1));
            let numbers: Vec<_> = numbers.map(u32::to_string).collect();
            log.note(format_args!("SCC {what} ({})", numbers.join(",")));
        });
    }

    /// A loop came back with nothing changed.
    pub(super) fn watch_endless(&self, old: &State) {
        self.with_log(|log| log.endless(&self.maps, &self.state, old));
    }
}
