//! Which stack slots may be read later. Linux (6.18) follows this not by path but by the chain of
//! calls: reads and certain writes of each visited instruction are gathered, and a backward
//! analysis over them says which slots are alive (kernel/bpf/liveness.c).

use std::collections::HashMap;

use super::cfg::successors;
use super::state::State;
use crate::isa::{CallTarget, Insn};

/// Slots of a frame as bits.
type Slots = u64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    may_read: Slots,
    must_write: Slots,
    written_once: bool,
    live_before: Slots,
    must_write_after: Slots,
}

/// What is known of one chain of calls, for each of its frames: marks by slot of the program.
#[derive(Clone, Debug)]
struct Instance {
    /// By frame; each as long as the function.
    marks: Vec<Vec<Marks>>,
    start: usize,
    changed: bool,
}

/// The gathered marks and what they say.
#[derive(Debug, Default)]
pub(super) struct StackLiveness {
    instances: HashMap<Vec<u32>, Instance>,
    /// Writes of the instruction at hand: frame and slots.
    writes: Vec<(usize, Slots)>,
}

fn chain(state: &State, frame: usize) -> Vec<u32> {
    state.frames[1..=frame].iter().map(|f| f.callsite).collect()
}

impl StackLiveness {
    fn instance(&mut self, state: &State, frame: usize, bounds: (usize, usize)) -> &mut Instance {
        let key = chain(state, frame);
        self.instances.entry(key).or_insert_with(|| Instance {
            marks: vec![vec![Marks::default(); bounds.1 - bounds.0]; frame + 1],
            start: bounds.0,
            changed: true,
        })
    }

    /// The instruction at hand may read these slots of a frame.
    pub(super) fn read(
        &mut self,
        state: &State,
        at: (usize, (usize, usize)),
        frame: usize,
        slots: Slots,
    ) {
        let (insn, bounds) = at;
        let instance = self.instance(state, state.current(), bounds);
        let marks = &mut instance.marks[frame][insn - bounds.0];
        instance.changed |= marks.may_read | slots != marks.may_read;
        marks.may_read |= slots;
    }

    /// The instruction at hand writes these slots of a frame.
    pub(super) fn write(&mut self, frame: usize, slots: Slots) {
        self.writes.push((frame, slots));
    }

    /// The instruction is done: what it did not write on this visit, it need not write.
    pub(super) fn commit(&mut self, state: &State, insn: usize, bounds: (usize, usize)) {
        let writes = std::mem::take(&mut self.writes);
        let instance = self.instance(state, state.current(), bounds);
        for (frame, marks) in instance.marks.iter_mut().enumerate() {
            let marks = &mut marks[insn - bounds.0];
            let of_frame = writes.iter().filter(|(written, _)| *written == frame);
            let written = of_frame.fold(0, |slots, (_, more)| slots | more);
            let must = if marks.written_once {
                marks.must_write & written
            } else {
                written
            };
            instance.changed |= must != marks.must_write || !marks.written_once;
            marks.must_write = must;
            marks.written_once = true;
        }
    }

    /// Brings the analysis of a chain of calls up to date and hands its results to its caller.
    fn update(&mut self, key: &[u32], insns: &[Insn]) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if !instance.changed {
            return;
        }
        instance.changed = false;
        let start = instance.start;
        for marks in &mut instance.marks {
            for mark in marks.iter_mut() {
                (mark.live_before, mark.must_write_after) = (0, 0);
            }
            let mut changed = true;
            while changed {
                changed = false;
                for offset in (0..marks.len()).rev() {
                    let (mut after, mut certain, mut any) = (0, u64::MAX, false);
                    for next in successors(insns, start + offset) {
                        if let Some(next) = marks.get(next.wrapping_sub(start)) {
                            after |= next.live_before;
                            certain &= next.must_write_after;
                            any = true;
                        }
                    }
                    let mark = &mut marks[offset];
                    let before = (after & !mark.must_write) | mark.may_read;
                    let certain = if any { certain } else { 0 } | mark.must_write;
                    changed |= before != mark.live_before || certain != mark.must_write_after;
                    (mark.live_before, mark.must_write_after) = (before, certain);
                }
            }
        }
        self.hand_to_caller(key);
    }

    fn hand_to_caller(&mut self, key: &[u32]) {
        let Some((&callsite, outer)) = key.split_last() else {
            return;
        };
        let entries: Vec<Marks> = match self.instances.get(key) {
            Some(instance) => instance.marks.iter().map(|marks| marks[0]).collect(),
            None => return,
        };
        let Some(caller) = self.instances.get_mut(outer) else {
            return;
        };
        let offset = callsite as usize - caller.start;
        for (frame, marks) in caller.marks.iter_mut().enumerate() {
            let mark = &mut marks[offset];
            let read = mark.may_read | entries[frame].live_before;
            caller.changed |= read != mark.may_read;
            mark.may_read = read;
        }
    }

    /// For each frame of a state, the slots that may be read later.
    pub(super) fn alive(&mut self, state: &State, insns: &[Insn]) -> Vec<Slots> {
        let current = state.current();
        let mut keys: Vec<_> = self.instances.keys().cloned().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
        for key in &keys {
            self.update(key, insns);
        }
        let live = |frame: usize, insn: usize, of: usize| {
            let instance = self.instances.get(&chain(state, frame));
            instance.map_or(0, |instance| {
                let marks = instance.marks[of].get(insn.wrapping_sub(instance.start));
                marks.map_or(0, |marks| marks.live_before)
            })
        };
        let alive_of = |of: usize| {
            let mut slots = live(current, state.insn, of);
            for frame in of..current {
                let callsite = state.frames[frame + 1].callsite as usize;
                debug_assert!(matches!(
                    insns[callsite],
                    Insn::Call {
                        target: CallTarget::Local(_)
                    }
                ));
                slots |= live(frame, callsite + 1, of);
            }
            slots
        };
        (0..=current).map(alive_of).collect()
    }
}
