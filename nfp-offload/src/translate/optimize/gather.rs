//! Copies: loads from packet or map value, each followed by its store to the packet, become one
//! read and one write.

use iom_core::isa::{Insn, Operand, Reg, Size};
use iom_core::verifier::{Pointer, PointerFacts};

use crate::translate::DefectMode;
use crate::translate::step::{Gather, Step};

/// Bytes from which on a chain takes no further pair: the most that one command transfers.
const CHAIN_BYTES: u16 = 128;

/// A load and the store of what it loaded.
#[derive(Clone, Copy)]
struct Pair {
    /// Slot of the load; the store is in the next.
    slot: usize,
    size: Size,
    value: Reg,
    load_base: Reg,
    load_off: i16,
    store_base: Reg,
    store_off: i16,
    load: PointerFacts,
    store: PointerFacts,
}

/// Pairs that follow each other in memory, in one direction.
struct Chain {
    head: Pair,
    last: Pair,
    pairs: usize,
    len: u16,
}

impl Pair {
    fn at(steps: &[Step<'_>], slot: usize) -> Option<Self> {
        let (load, store) = (&steps[slot], &steps[slot + 1]);
        let Insn::Load {
            size,
            signed: false,
            dst: value,
            base: load_base,
            off: load_off,
        } = load.insn
        else {
            return None;
        };
        let Insn::Store {
            size: store_size,
            base: store_base,
            off: store_off,
            src: Operand::Reg(stored),
        } = store.insn
        else {
            return None;
        };
        let (from, to) = (load.facts.pointer?, store.facts.pointer?);
        let is_copy = matches!(from.to, Pointer::Packet | Pointer::MapValue { .. })
            && to.to == Pointer::Packet
            && size == store_size
            && value == stored
            && !store.is_target
            && [from, to].iter().all(is_exact);
        is_copy.then_some(Self {
            slot,
            size,
            value,
            load_base,
            load_off,
            store_base,
            store_off,
            load: from,
            store: to,
        })
    }

    const fn len(&self) -> i16 {
        self.size.bytes() as i16
    }

    /// Whether `next` continues the copy.
    fn is_followed_by(&self, next: &Self, steps: &[Step<'_>]) -> bool {
        let same = next.value == self.value
            && next.load_base == self.load_base
            && next.store_base == self.store_base
            && next.size == self.size
            && !steps[next.slot].is_target;
        let len = self.len();
        let ascending = self.load_off.wrapping_add(len) == next.load_off
            && self.store_off.wrapping_add(len) == next.store_off;
        let descending = next.load_off.wrapping_add(len) == self.load_off
            && next.store_off.wrapping_add(len) == self.store_off;
        same && (ascending || descending)
    }
}

/// A packet pointer whose place is the same on all paths, as far as id and offset tell.
fn is_exact(pointer: &PointerFacts) -> bool {
    pointer.to != Pointer::Packet || !pointer.differs_by_path
}

impl Chain {
    fn new(head: Pair) -> Self {
        Self {
            head,
            last: head,
            pairs: 1,
            len: head.size.bytes() as u16,
        }
    }

    /// Whether a load at this offset might read what the chain stored.
    fn crosses(&self, load_off: i16) -> bool {
        let (load, store) = (self.head.load, self.head.store);
        if load.to != store.to {
            return false;
        }
        if load.id != store.id {
            return true;
        }
        let place = |off: i16, pointer: PointerFacts| off.wrapping_add(pointer.offset as i16);
        let head_load = place(self.head.load_off, load);
        let head_store = place(self.head.store_off, store);
        let current = place(load_off, load);
        (current > head_load && head_load < head_store && current >= head_store)
            || (current < head_load && head_load > head_store && current <= head_store)
    }

    /// Whether this load reads a byte that the chain has stored: what [`crosses`](Self::crosses)
    /// is meant to find, but for parts of an element.
    fn overlaps(&self, pair: &Pair) -> bool {
        if self.head.load.to != self.head.store.to {
            return false;
        }
        let place = |off: i16, pointer: PointerFacts| i64::from(off) + pointer.offset;
        let load = place(pair.load_off, pair.load);
        let [a, b] = [self.head, self.last].map(|pair| place(pair.store_off, pair.store));
        let len = i64::from(pair.len());
        load < a.max(b) + len && a.min(b) < load + len
    }

    fn takes(&self, pair: &Pair, steps: &[Step<'_>], mode: DefectMode) -> bool {
        self.last.is_followed_by(pair, steps)
            && !self.crosses(pair.load_off)
            && (mode == DefectMode::Kept || !self.overlaps(pair))
            && self.len < CHAIN_BYTES
    }

    fn add(&mut self, pair: Pair, steps: &mut [Step<'_>]) {
        steps[pair.slot].merged = true;
        steps[pair.slot + 1].merged = true;
        self.len += pair.size.bytes() as u16;
        self.pairs += 1;
        self.last = pair;
    }

    /// Makes the first load the copy; a single pair stays as it is.
    fn finish(self, steps: &mut [Step<'_>]) {
        if self.pairs == 1 {
            return;
        }
        let descending = self.last.load_off < self.head.load_off;
        let lowest = if descending { self.last } else { self.head };
        let head = &mut steps[self.head.slot];
        if let Insn::Load { off, .. } = &mut head.insn {
            *off = lowest.load_off;
        }
        head.gather = Some(Gather {
            len: self.len,
            descending,
            store_base: self.head.store_base,
            store_off: lowest.store_off,
        });
        steps[self.head.slot + 1].merged = true;
    }
}

pub(super) fn gather_copies(steps: &mut [Step<'_>], mode: DefectMode) {
    let mut chain: Option<Chain> = None;
    let mut slot = 0;
    while slot + 1 < steps.len() {
        let pair = Pair::at(steps, slot);
        slot += if pair.is_some() { 2 } else { 1 };
        match (&mut chain, pair) {
            (Some(chain), Some(pair)) if chain.takes(&pair, steps, mode) => chain.add(pair, steps),
            (_, pair) => {
                if let Some(chain) = chain.take() {
                    chain.finish(steps);
                }
                chain = pair.map(Chain::new);
            }
        }
    }
}
