//! Pruning in Linux 6.1: states are compared in what later instructions were seen to read
//! (`is_state_visited`, `states_equal`).

use std::collections::HashMap;

use crate::verifier::explore::Verifier;
use crate::verifier::register::{Kind, Register};
use crate::verifier::reject::{Check, reject};
use crate::verifier::state::{Byte, Slot, State};

use super::parentage::{Read, Spot};

/// Ids of the old state with those that stand for them in the new one.
struct Ids {
    pairs: HashMap<u32, u32>,
    /// All numbers matter.
    keeps_ranges: bool,
}

impl Verifier<'_> {
    /// Whether an earlier state covers this one; if none does, it may be remembered.
    pub(in crate::verifier) fn is_known_6_1(&mut self) -> Check<bool> {
        let slot = self.insn;
        let jumps = self.counts.jumps - self.counts.jumps_at_state;
        let processed = self.counts.processed - self.counts.processed_at_state;
        let mut add = self.options.frequent_states || (jumps >= 2 && processed >= 8);
        let bucket = self.bucket(self.insn);
        self.clean_states_6_1(bucket);
        for id in self.buckets[bucket].clone().into_iter().rev() {
            let Some(known) = self.listed(id).filter(|known| known.state.insn == slot) else {
                continue;
            };
            if known.state.branches > 0 {
                if is_unchanged(&known.state, &self.state) && self.covers_6_1(&known.state) {
                    return reject(format!("infinite loop detected at insn {slot}"));
                }
                if jumps < 20 && processed < 100 {
                    add = false;
                }
            } else if self.covers_6_1(&known.state) {
                self.hit_6_1(id);
                return Ok(true);
            }
            self.miss(bucket, id, add);
        }
        if add {
            self.remember(bucket);
        }
        Ok(false)
    }

    /// Whether a state that is known to be safe covers the one at hand (`states_equal`).
    fn covers_6_1(&self, old: &State) -> bool {
        let keeps = self.options.keep_ranges;
        let mut frames = 0..old.frames.len();
        old.same_callsites(&self.state)
            && frames.all(|frame| covers_frame(old, &self.state, frame, keeps))
    }

    fn hit_6_1(&mut self, id: usize) {
        self.note_hit(id);
        let old = self.explored_mut(id).state.clone();
        self.inherit_reads(&old);
        if self.flow[self.insn].jump_point {
            self.push_step(|_| {});
        }
        self.inherit_precision(&old);
    }

    /// Forgets in finished states what was never read.
    fn clean_states_6_1(&mut self, bucket: usize) {
        for id in self.buckets[bucket].clone() {
            let finished = self.listed(id).is_some_and(|known| {
                let state = &known.state;
                state.branches == 0
                    && state.insn == self.insn
                    && !state.cleaned
                    && state.same_callsites(&self.state)
            });
            if finished {
                clean(&mut self.explored_mut(id).state);
            }
        }
    }
}

fn clean(state: &mut State) {
    state.cleaned = true;
    for frame in 0..state.frames.len() {
        for index in 0..10 {
            if state.mark(Spot::Register(frame, index)).read == Read::None {
                state.frames[frame].registers[index] = Register::NOT_INIT;
            }
        }
        for index in 0..state.frames[frame].stack.len() {
            if state.mark(Spot::Slot(frame, index)).read == Read::None {
                state.frames[frame].stack[index] = Slot::EMPTY;
            }
        }
    }
}

fn same(old: &Register, new: &Register) -> bool {
    old.same_value(new) && old.id == new.id && old.reference == new.reference
}

/// Cheap test whether a loop came back with nothing changed (`states_maybe_looping`).
fn is_unchanged(old: &State, new: &State) -> bool {
    let mut registers = old.frame().registers.iter().zip(&new.frame().registers);
    old.frames.len() == new.frames.len() && registers.all(|(old, new)| same(old, new))
}

fn covers_frame(old: &State, new: &State, frame: usize, keeps_ranges: bool) -> bool {
    let mut ids = Ids {
        pairs: HashMap::new(),
        keeps_ranges,
    };
    let (before, now) = (&old.frames[frame], &new.frames[frame]);
    let registers = (0..10).all(|index| {
        let read = old.mark(Spot::Register(frame, index)).read != Read::None;
        !read || covers_register(&before.registers[index], &now.registers[index], &mut ids)
    });
    registers
        && before.stack.iter().enumerate().all(|(index, slot)| {
            let read = old.mark(Spot::Slot(frame, index)).read != Read::None;
            !read || covers_slot(slot, now.stack.get(index), &mut ids)
        })
        && old.references == new.references
}

/// Ids must correspond, each to the first one met.
fn check_ids(old: u32, new: u32, ids: &mut Ids) -> bool {
    *ids.pairs.entry(old).or_insert(new) == new
}

/// Whether what is safe with the old register is safe with the new one (`regsafe`).
fn covers_register(old: &Register, new: &Register, ids: &mut Ids) -> bool {
    if matches!(old.kind, Kind::Stack(_)) || same(old, new) {
        return same(old, new);
    }
    if old.kind == Kind::NotInit {
        return true;
    }
    if old.kind != new.kind {
        return false;
    }
    match old.kind {
        Kind::Scalar => {
            let matters = old.precise || ids.keeps_ranges;
            !matters || old.scalar.contains(&new.scalar)
        }
        Kind::MapValue { nullable: true, .. } => {
            old.offset == new.offset && check_ids(old.id, new.id, ids)
        }
        Kind::MapValue { .. } => old.offset == new.offset && old.scalar.contains(&new.scalar),
        Kind::Packet | Kind::PacketMeta => {
            let enough = if old.range < 0 || new.range < 0 {
                old.range == new.range
            } else {
                old.range <= new.range
            };
            enough
                && old.offset == new.offset
                && (old.id == 0 || check_ids(old.id, new.id, ids))
                && old.scalar.contains(&new.scalar)
        }
        _ => false,
    }
}

/// Whether what is safe with the old slot is safe with the new one (`stacksafe`).
fn covers_slot(old: &Slot, new: Option<&Slot>, ids: &mut Ids) -> bool {
    let used = |byte: &Byte| !matches!(byte, Byte::Invalid | Byte::Misc);
    let Some(new) = new else {
        return !old.bytes.iter().any(used);
    };
    let mut bytes = old.bytes.iter().zip(&new.bytes);
    bytes.all(|(old, new)| !used(old) || old == new)
        && (!old.is_spilled() || covers_register(&old.spilled, &new.spilled, ids))
}
