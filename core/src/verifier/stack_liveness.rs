//! Which stack slots may be read later. Linux (6.18) follows this not by path but by the chain of
//! calls: reads and certain writes of each visited instruction are gathered, and a backward
//! analysis over them says which slots are alive (kernel/bpf/liveness.c).

use std::collections::HashMap;

use super::callback::calls_back;
use super::cfg::successors;
use super::state::State;
use crate::isa::Insn;

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
    /// Something that was always written so far was not on a later visit.
    dropped: bool,
}

impl Instance {
    fn read(&mut self, frame: usize, insn: usize, slots: Slots) {
        let marks = &mut self.marks[frame][insn - self.start];
        self.changed |= marks.may_read | slots != marks.may_read;
        marks.may_read |= slots;
    }

    fn commit(&mut self, frame: usize, insn: usize, written: Slots) {
        let marks = &mut self.marks[frame][insn - self.start];
        let must = if marks.written_once {
            marks.must_write & written
        } else {
            written
        };
        self.dropped |= marks.must_write & !must != 0;
        self.changed |= must != marks.must_write;
        marks.must_write = must;
        marks.written_once = true;
    }

    /// Goes over the function until nothing changes; false if nothing had changed before.
    fn update(&mut self, insns: &[Insn]) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        let dropped = std::mem::take(&mut self.dropped);
        let start = self.start;
        for marks in &mut self.marks {
            if dropped {
                for mark in marks.iter_mut() {
                    (mark.live_before, mark.must_write_after) = (0, 0);
                }
            }
            while (0..marks.len()).rev().fold(false, |changed, offset| {
                changed | step(marks, insns, start, offset)
            }) {}
        }
        true
    }
}

/// Brings what holds before one instruction up to date with what holds behind it.
fn step(marks: &mut [Marks], insns: &[Insn], start: usize, offset: usize) -> bool {
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
    let changed = before != mark.live_before || certain != mark.must_write_after;
    (mark.live_before, mark.must_write_after) = (before, certain);
    changed
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
            dropped: false,
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
        instance.read(frame, insn, slots);
    }

    /// The instruction at hand writes these slots of a frame.
    pub(super) fn write(&mut self, frame: usize, slots: Slots) {
        self.writes.push((frame, slots));
    }

    /// The instruction is done: what it did not write on this visit, it need not write.
    pub(super) fn commit(&mut self, state: &State, insn: usize, bounds: (usize, usize)) {
        let writes = std::mem::take(&mut self.writes);
        let instance = self.instance(state, state.current(), bounds);
        for frame in 0..instance.marks.len() {
            let of_frame = writes.iter().filter(|(written, _)| *written == frame);
            let written = of_frame.fold(0, |slots, (_, more)| slots | more);
            instance.commit(frame, insn, written);
        }
    }

    /// A path is finished: brings the analysis of its chain of calls up to date.
    pub(super) fn update(&mut self, state: &State, insns: &[Insn]) {
        self.writes.clear();
        for frame in (0..state.frames.len()).rev() {
            let key = chain(state, frame);
            let Some(instance) = self.instances.get_mut(&key) else {
                continue;
            };
            if instance.update(insns) {
                self.hand_to_caller(&key);
            }
        }
    }

    /// What a function reads and writes of its callers' stacks, the call reads and writes.
    fn hand_to_caller(&mut self, key: &[u32]) {
        let Some((&callsite, outer)) = key.split_last() else {
            return;
        };
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let entries: Vec<Marks> = instance.marks.iter().map(|marks| marks[0]).collect();
        let Some(caller) = self.instances.get_mut(outer) else {
            return;
        };
        let callsite = callsite as usize;
        for (frame, entry) in entries[..caller.marks.len()].iter().enumerate() {
            caller.read(frame, callsite, entry.live_before);
            caller.commit(frame, callsite, entry.must_write_after);
        }
    }

    /// For each frame of a state, the slots that may be read later.
    pub(super) fn alive(&self, state: &State, insns: &[Insn]) -> Vec<Slots> {
        let current = state.current();
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
                // A helper that calls back may do it again.
                let behind = !calls_back(&insns[callsite]);
                slots |= live(frame, callsite + usize::from(behind), of);
            }
            slots
        };
        (0..=current).map(alive_of).collect()
    }
}
