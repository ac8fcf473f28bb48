//! Pruning: a path that reaches an instruction in a state that an earlier, safe path covered ends
//! there (`is_state_visited`).

use std::collections::HashMap;

use super::explore::Verifier;
use super::iterator::{depths_differ, is_next_call};
use super::register::{Kind, PLUS_CONSTANT, Register};
use super::reject::{Check, reject};
use super::state::{Byte, Frame, Slot, State, StateId};

/// A remembered state.
#[derive(Debug)]
pub(super) struct Explored {
    pub(super) state: State,
    misses: u32,
    hits: u32,
    /// Taken out of its list, but paths from it still run.
    unlisted: bool,
}

/// A loop that is being followed.
#[derive(Debug, Default)]
pub(super) struct LoopVisit {
    /// The state with which it was entered.
    entry: Option<StateId>,
    /// States that closed the loop, with the state that covers each.
    backedges: Vec<(State, StateId)>,
}

/// How two states are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// What does not matter may differ.
    NotExact,
    Exact,
    /// Numbers must lie within the old ones' bounds.
    Within,
}

/// Pairs of ids that correspond.
struct IdMap {
    pairs: HashMap<u32, u32>,
    taken: HashMap<u32, u32>,
    next: u32,
}

impl IdMap {
    fn new(next: u32) -> Self {
        Self {
            pairs: HashMap::new(),
            taken: HashMap::new(),
            next,
        }
    }

    fn check(&mut self, old: u32, new: u32) -> bool {
        if (old == 0) != (new == 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        if let Some(known) = self.pairs.get(&old) {
            return *known == new;
        }
        if self.taken.contains_key(&new) {
            return false;
        }
        self.pairs.insert(old, new);
        self.taken.insert(new, old);
        true
    }

    /// Numbers without an id are unlike all others.
    fn check_scalars(&mut self, old: u32, new: u32) -> bool {
        let mut some = |id: u32| {
            if id == 0 {
                self.next += 1;
                self.next
            } else {
                id
            }
        };
        let (old, new) = (some(old), some(new));
        self.check(old, new)
    }
}

impl Explored {
    /// Forgets numbers that changed since an earlier round of a loop and do not matter so far.
    pub(super) fn widen_imprecise(&self, queued: &mut State, next_id: u32) {
        let mut ids = IdMap::new(next_id);
        let mut widen = |old: &Register, new: &mut Register| {
            let scalars = old.is_scalar() && new.is_scalar();
            if scalars && !old.precise && !new.precise && !same(old, new, &mut ids) {
                *new = Register {
                    half_written_at: new.half_written_at,
                    ..Register::UNKNOWN
                };
            }
        };
        for (old, new) in self.state.frames.iter().zip(&mut queued.frames) {
            for (old, new) in old.registers.iter().zip(&mut new.registers) {
                widen(old, new);
            }
            for (old, new) in old.stack.iter().zip(&mut new.stack) {
                if old.is_spilled() && new.is_spilled() {
                    widen(&old.spilled, &mut new.spilled);
                }
            }
        }
    }
}

impl Verifier<'_> {
    pub(super) fn bucket(&self, slot: usize) -> usize {
        let callsite = self.state.frame().callsite;
        ((slot as u32 ^ callsite) as usize) % self.buckets.len()
    }

    pub(super) fn listed(&self, id: StateId) -> Option<&Explored> {
        self.explored[id].as_deref()
    }

    /// Whether an earlier state covers this one; if none does, it may be remembered.
    pub(super) fn is_known(&mut self) -> Check<bool> {
        let slot = self.insn;
        let force = self.options.frequent_states
            || self.flow[slot].force_checkpoint
            || self.state.history.len() > 40;
        let jumps = self.counts.jumps - self.counts.jumps_at_state;
        let processed = self.counts.processed - self.counts.processed_at_state;
        let mut add = force || (jumps >= 2 && processed >= 8);
        self.clean_states();
        let bucket = self.bucket(self.insn);
        let listed = self.buckets[bucket].len() as u64;
        for id in self.buckets[bucket].clone().into_iter().rev() {
            let Some(known) = self.listed(id).filter(|known| known.state.insn == slot) else {
                continue;
            };
            let (mut hit, mut closes_loop) = (false, false);
            if known.state.branches > 0 {
                let next_call = is_next_call(&self.program.insns[slot]);
                let depth_differs = known.state.may_goto_depth != self.state.may_goto_depth;
                if next_call {
                    closes_loop =
                        self.covers(&known.state, How::Within) && self.iterator_is_active();
                    hit = closes_loop;
                } else if self.flow[slot].force_checkpoint && depth_differs {
                    closes_loop = self.covers(&known.state, How::Within);
                    hit = closes_loop;
                }
                if self.flow[slot].calls_back {
                    hit = self.covers(&known.state, How::Within);
                } else if !hit && !next_call {
                    let looping = maybe_looping(&known.state, &self.state)
                        && !depths_differ(&known.state, &self.state)
                        && known.state.callback_unroll_depth == self.state.callback_unroll_depth;
                    if looping && !depth_differs && self.covers(&known.state, How::Exact) {
                        self.watch_endless(&known.state);
                        return reject(format!("infinite loop detected at insn {slot}"));
                    }
                }
                if !hit && !force && jumps < 20 && processed < 100 {
                    add = false;
                }
            } else {
                closes_loop = self.is_in_open_loop(&known.state);
                let how = if closes_loop {
                    How::Within
                } else {
                    How::NotExact
                };
                hit = self.covers(&known.state, how);
            }
            if hit {
                self.hit(id, closes_loop);
                return Ok(true);
            }
            self.miss(bucket, id, add);
        }
        self.counts.max_states_per_insn = self.counts.max_states_per_insn.max(listed);
        if add {
            self.remember(bucket);
        }
        Ok(false)
    }

    pub(super) fn note_hit(&mut self, id: StateId) {
        self.explored_mut(id).hits += 1;
    }

    fn hit(&mut self, id: StateId, closes_loop: bool) {
        self.note_hit(id);
        if self.flow[self.insn].jump_point {
            self.push_step(|_| {});
        }
        let old = self.explored_mut(id).state.clone();
        self.propagate_precision(&old, None);
        if closes_loop && let Some(key) = self.loop_of(&old) {
            self.watch_loop("backedge", &key);
            let state = self.state.clone();
            self.loop_visits
                .entry(key)
                .or_default()
                .backedges
                .push((state, id));
            self.counts.backedges += 1;
            self.note_peak();
        }
    }

    pub(super) fn miss(&mut self, bucket: usize, id: StateId, add: bool) {
        let checkpoint = self.flow[self.insn].force_checkpoint;
        let known = self.explored_mut(id);
        known.misses += u32::from(add);
        let patience = if checkpoint && known.state.branches > 0 {
            64
        } else {
            3
        };
        if known.misses > known.hits * patience + patience {
            known.unlisted = true;
            self.buckets[bucket].retain(|listed| *listed != id);
            self.counts.listed -= 1;
            self.counts.to_free += 1;
            self.free_if_done(id);
        }
    }

    /// Gives up an unlisted state from which no path runs, unless it is part of a loop round which
    /// marks have yet to travel.
    fn free_if_done(&mut self, id: StateId) {
        let done = self.listed(id).is_some_and(|known| {
            known.unlisted && known.state.branches == 0 && !self.is_in_open_loop(&known.state)
        });
        if done {
            self.explored[id] = None;
            self.counts.to_free -= 1;
        }
    }

    fn note_peak(&mut self) {
        let counts = &mut self.counts;
        let now = counts.listed + counts.to_free + counts.backedges;
        counts.peak_states = counts.peak_states.max(now);
    }

    pub(super) fn remember(&mut self, bucket: usize) {
        self.counts.total_states += 1;
        self.visits[self.insn].states += 1;
        self.counts.listed += 1;
        self.note_peak();
        self.counts.jumps_at_state = self.counts.jumps;
        self.counts.processed_at_state = self.counts.processed;
        self.state.forget_precision();
        let id = self.explored.len();
        self.explored.push(Some(Box::new(Explored {
            state: self.state.clone(),
            misses: 0,
            hits: 0,
            unlisted: false,
        })));
        if let Some(key) = self.loop_of(&self.state) {
            let visit = self.loop_visits.entry(key.clone()).or_default();
            if visit.entry.is_none() {
                visit.entry = Some(id);
                self.watch_loop("enter", &key);
            }
        }
        self.state.parent = Some(id);
        self.state.first_insn = self.insn;
        self.state.depth += 1;
        self.state.history.clear();
        self.step_open = false;
        self.buckets[bucket].push(id);
        self.state.link_marks(id);
    }

    /// The loop that a state is in, with the calls that lead there.
    fn loop_of(&self, state: &State) -> Option<(Vec<u32>, u32)> {
        let mut callsites = Vec::new();
        for frame in 0..state.frames.len() {
            let insn = state.insn_of_frame(frame);
            if self.loops[insn] != 0 {
                return Some((callsites, self.loops[insn]));
            }
            callsites.push(insn as u32);
        }
        None
    }

    /// Whether marks may still arrive in a state from a loop that is not finished.
    fn is_in_open_loop(&self, state: &State) -> bool {
        let visit = self
            .loop_of(state)
            .and_then(|key| self.loop_visits.get(&key));
        visit.is_some_and(|visit| !visit.backedges.is_empty())
    }

    /// The path at hand is finished, and with it all states from which no other path runs.
    pub(super) fn end_path(&mut self) {
        let mut parent = self.state.parent;
        while let Some(id) = parent {
            let known = self.explored_mut(id);
            known.state.branches -= 1;
            if known.state.branches > 0 {
                return;
            }
            parent = known.state.parent;
            self.leave_loop(id);
            self.free_if_done(id);
        }
    }

    /// When the state that entered a loop is finished, marks travel round the loop until they rest.
    fn leave_loop(&mut self, id: StateId) {
        const MAX_ROUNDS: usize = 64;
        let Some(known) = self.listed(id) else {
            return;
        };
        let Some(key) = self.loop_of(&known.state) else {
            return;
        };
        let Some(visit) = self
            .loop_visits
            .get_mut(&key)
            .filter(|visit| visit.entry == Some(id))
        else {
            return;
        };
        visit.entry = None;
        self.watch_loop("exit", &key);
        let Some(visit) = self.loop_visits.get_mut(&key) else {
            return;
        };
        let mut backedges = std::mem::take(&mut visit.backedges);
        self.counts.backedges -= backedges.len() as u64;
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for (state, covers) in &mut backedges {
                let Some(old) = self.explored[*covers]
                    .as_ref()
                    .map(|known| known.state.clone())
                else {
                    continue;
                };
                let current = std::mem::replace(&mut self.state, state.clone());
                self.propagate_precision(&old, Some(&mut changed));
                *state = std::mem::replace(&mut self.state, current);
            }
            if !changed {
                break;
            }
        }
    }

    /// Forgets in finished states what is never read again.
    fn clean_states(&mut self) {
        let bucket = self.bucket(self.insn);
        for id in self.buckets[bucket].clone() {
            let Some(known) = self.listed(id) else {
                continue;
            };
            let state = &known.state;
            if state.branches > 0
                || state.insn != self.insn
                || state.cleaned
                || !state.same_callsites(&self.state)
                || self.is_in_open_loop(state)
            {
                continue;
            }
            let mut state = state.clone();
            let alive = self.stack_live.alive(&state, &self.program.insns);
            state.cleaned = true;
            for (frame, alive) in alive.into_iter().enumerate() {
                let live = self.live[state.insn_of_frame(frame)];
                let registers = &mut state.frames[frame].registers[..10];
                for (index, register) in registers.iter_mut().enumerate() {
                    if live & (1 << index) == 0 {
                        *register = Register::NOT_INIT;
                    }
                }
                for (index, slot) in state.frames[frame].stack.iter_mut().enumerate() {
                    if alive & (1 << index) == 0 {
                        *slot = Slot::EMPTY;
                    }
                }
            }
            self.explored_mut(id).state = state;
        }
    }

    /// The most recent state at this instruction from which the path at hand runs, if fewer states
    /// than `depth` were remembered on the way there.
    pub(super) fn previous_entry(&self, slot: usize, depth: u32) -> Option<StateId> {
        let runs = |id: &&StateId| {
            self.listed(**id).is_some_and(|known| {
                known.state.insn == slot
                    && known.state.branches > 0
                    && known.state.same_callsites(&self.state)
                    && known.state.depth < depth
            })
        };
        self.buckets[self.bucket(slot)]
            .iter()
            .rev()
            .find(runs)
            .copied()
    }

    /// Whether a state that is known to be safe covers the one at hand.
    fn covers(&self, old: &State, how: How) -> bool {
        let new = &self.state;
        if old.frames.len() != new.frames.len() {
            return false;
        }
        let mut ids = IdMap::new(self.next_id);
        if old.references.len() != new.references.len() {
            return false;
        }
        if !same_lock(old.lock, new.lock, &mut ids) {
            return false;
        }
        let references = old.references.iter().zip(&new.references);
        if !references
            .into_iter()
            .all(|(old, new)| ids.check(old.0, new.0))
        {
            return false;
        }
        (0..old.frames.len()).all(|index| {
            let live = self.live[old.insn_of_frame(index)];
            let (old, new) = (&old.frames[index], &new.frames[index]);
            old.callsite == new.callsite
                && old.callback_depth <= new.callback_depth
                && covers_registers(old, new, live, how, &mut ids)
                && covers_stack(old, new, how, &mut ids)
        })
    }
}

/// Cheap test whether two states could be equal.
fn maybe_looping(old: &State, new: &State) -> bool {
    let registers = || old.frame().registers.iter().zip(&new.frame().registers);
    old.frames.len() == new.frames.len()
        && registers().all(|(old, new)| {
            old.same_value(new) && old.id == new.id && old.reference == new.reference
        })
}

/// Whether the same lock is held, or none.
fn same_lock(old: Option<(u32, u32)>, new: Option<(u32, u32)>, ids: &mut IdMap) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => old.0 == new.0 && ids.check(old.1, new.1),
        _ => false,
    }
}

fn same(old: &Register, new: &Register, ids: &mut IdMap) -> bool {
    old.same_value(new) && ids.check(old.id, new.id) && ids.check(old.reference, new.reference)
}

fn covers_registers(old: &Frame, new: &Frame, live: u16, how: How, ids: &mut IdMap) -> bool {
    let pairs = old.registers.iter().zip(&new.registers).enumerate();
    let mut live = pairs.filter(|(index, _)| live & (1 << index) != 0);
    live.all(|(_, (old, new))| covers_register(old, new, how, ids))
}

/// Whether what is safe with the old register is safe with the new one (`regsafe`).
fn covers_register(old: &Register, new: &Register, how: How, ids: &mut IdMap) -> bool {
    if how == How::Exact {
        return same(old, new, ids);
    }
    if old.kind == Kind::NotInit && (how == How::NotExact || new.kind == Kind::NotInit) {
        return true;
    }
    if old.kind != new.kind {
        return false;
    }
    match old.kind {
        Kind::Scalar => {
            if !old.precise && how == How::NotExact {
                return true;
            }
            let plus = |register: &Register| register.id & PLUS_CONSTANT;
            let moved = plus(old) != 0 && old.offset != new.offset;
            if old.id != 0 && (plus(old) != plus(new) || moved) {
                return false;
            }
            old.scalar.contains(&new.scalar) && ids.check_scalars(old.id, new.id)
        }
        Kind::MapKey(_) | Kind::MapValue { .. } | Kind::Memory { .. } | Kind::Record { .. } => {
            old.offset == new.offset
                && old.range == new.range
                && old.scalar.contains(&new.scalar)
                && ids.check(old.id, new.id)
                && ids.check(old.reference, new.reference)
        }
        Kind::Packet | Kind::PacketMeta => {
            old.range <= new.range
                && old.offset == new.offset
                && ids.check(old.id, new.id)
                && old.scalar.contains(&new.scalar)
        }
        Kind::NotInit
        | Kind::Context
        | Kind::Stack(_)
        | Kind::PacketEnd
        | Kind::Map(_)
        | Kind::Dynptr { .. }
        | Kind::Iterator { .. }
        | Kind::Socket { .. }
        | Kind::Function(_) => same(old, new, ids),
    }
}

/// Whether what is safe with the old stack is safe with the new one (`stacksafe`).
fn covers_stack(old: &Frame, new: &Frame, how: How, ids: &mut IdMap) -> bool {
    old.stack
        .iter()
        .enumerate()
        .all(|(index, slot)| match new.stack.get(index) {
            Some(new) => covers_slot(slot, new, how, ids),
            None if how == How::Exact => false,
            None => slot
                .bytes
                .iter()
                .all(|byte| matches!(byte, Byte::Invalid | Byte::Misc)),
        })
}

fn covers_slot(old: &Slot, new: &Slot, how: How, ids: &mut IdMap) -> bool {
    let mut index = 0;
    while index < 8 {
        let (was, is) = (old.bytes[index], new.bytes[index]);
        if how == How::Exact && was != is {
            return false;
        }
        if matches!(was, Byte::Invalid | Byte::Misc) {
            index += 1;
            continue;
        }
        if let (Some(old), Some(new)) = (old.as_scalar(), new.as_scalar()) {
            return covers_register(&old, &new, how, ids);
        }
        if was != is {
            return false;
        }
        if index == 7 && !covers_object(old, new, how, ids) {
            return false;
        }
        index += 1;
    }
    true
}

/// Whether what is in an old slot that starts alike covers what is in the new one.
fn covers_object(old: &Slot, new: &Slot, how: How, ids: &mut IdMap) -> bool {
    match (old.spilled.kind, new.spilled.kind) {
        (kind @ Kind::Dynptr { .. }, other) => {
            kind == other && ids.check(old.spilled.reference, new.spilled.reference)
        }
        // How often it went round does not matter.
        (Kind::Iterator { drained, .. }, Kind::Iterator { drained: other, .. }) => {
            drained == other && ids.check(old.spilled.reference, new.spilled.reference)
        }
        _ => !old.is_spilled() || covers_register(&old.spilled, &new.spilled, how, ids),
    }
}
