//! Registers, local memory and condition codes of one ME context.
//!
//! All that an operand can name is in one array of words, so that reading most operands is one
//! indexed load: both banks, transfer registers, the 256 immediates, local memory.

use super::execute::DoubleShift;
use super::strict::FindingKind;
use crate::cycles::Cost;

/// Bank of a general-purpose register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bank {
    A,
    B,
}

/// Place of an operand: an index in the array, or one of the two kinds below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u16);

const BANK_A: u16 = 0;
const BANK_B: u16 = 32;
const XFER_IN: u16 = 64;
const XFER_OUT: u16 = 96;
const NOWHERE: u16 = 128;
const IMMEDIATES: u16 = 256;
const LOCAL_MEMORY: u16 = 1024;
const WORDS: usize = 2048;
/// Words of local memory.
const LM_WORDS: u16 = 1024;

/// A register number, to be written in both banks.
const BOTH: u16 = 0x4000;
/// A local-memory index register in bits 9:8, an offset in bits 3:0.
const INDEXED: u16 = 0x8000;

impl Place {
    pub(super) const NOWHERE: Self = Self(NOWHERE);

    pub(super) fn gpr(bank: Bank, number: u8) -> Self {
        let base = match bank {
            Bank::A => BANK_A,
            Bank::B => BANK_B,
        };
        Self(base + u16::from(number))
    }

    pub(super) fn both(number: u8) -> Self {
        Self(BOTH | u16::from(number))
    }

    pub(super) fn xfer_in(number: u8) -> Self {
        Self(XFER_IN + u16::from(number))
    }

    pub(super) fn xfer_out(number: u8) -> Self {
        Self(XFER_OUT + u16::from(number))
    }

    pub(super) fn immediate(value: u8) -> Self {
        Self(IMMEDIATES + u16::from(value))
    }

    pub(super) fn indexed(index: u8, offset: u8) -> Self {
        Self(INDEXED | u16::from(index) << 8 | u16::from(offset))
    }
}

/// How an instruction moves the local-memory indices: two bits an index, 1 up, 2 down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Post(pub(super) u8);

/// A write to an index register that has not taken effect.
#[derive(Clone, Copy, Debug)]
struct PendingIndex {
    index: u8,
    address: u32,
    due_cycle: u64,
}

/// Cycles until a write to an index register takes effect, that of the write included: three
/// instructions in between still see the old value.
const INDEX_LATENCY: u64 = 4;

#[derive(Debug)]
pub(super) struct State {
    words: Box<[u32; WORDS]>,
    lm_addr: [u32; 4],
    /// In order of their cycles; a program can have at most one write a cycle.
    pending: Vec<PendingIndex>,
    /// Result that the N and Z codes come from.
    pub(super) flags: u32,
    pub(super) carry: bool,
    pub(super) overflow: bool,
    /// `PREV_ALU`: the previous result, and the left source of the previous ALU or shift.
    pub(super) previous: u32,
    pub(super) previous_left: u32,
    pub(super) factors: (u32, u32),
    pub(super) product: u64,
    /// A CSR that was read, for the next `immed`.
    pub(super) csr_value: Option<u32>,
    pub(super) cost: Cost,
    pub(super) double_shift: DoubleShift,
    strict: bool,
    /// What the instruction at hand does that a card might not forgive.
    pub(super) finding: Option<FindingKind>,
}

impl State {
    pub(super) fn new(double_shift: DoubleShift, strict: bool) -> Self {
        let mut words: Box<[u32; WORDS]> = vec![0; WORDS]
            .into_boxed_slice()
            .try_into()
            .expect("the length is that of the array");
        for value in 0..=u8::MAX {
            words[usize::from(IMMEDIATES) + usize::from(value)] = value.into();
        }
        Self {
            words,
            lm_addr: [0; 4],
            pending: Vec::with_capacity(INDEX_LATENCY as usize),
            flags: 0,
            carry: false,
            overflow: false,
            previous: 0,
            previous_left: 0,
            factors: (0, 0),
            product: 0,
            csr_value: None,
            cost: Cost::default(),
            double_shift,
            strict,
            finding: None,
        }
    }

    /// Everything as at entry: registers hold a pattern that no program should rely on, local
    /// memory zeros, the index registers these byte addresses.
    pub(super) fn reset(&mut self, lm_addr: [u32; 4]) {
        for (index, word) in (0..).zip(&mut self.words[..usize::from(XFER_IN)]) {
            *word = 0xbad0_0000 | index;
        }
        self.words[usize::from(XFER_IN)..=usize::from(NOWHERE)].fill(0);
        self.words[usize::from(LOCAL_MEMORY)..].fill(0);
        self.lm_addr = lm_addr;
        self.pending.clear();
        self.flags = 0;
        self.carry = false;
        self.overflow = false;
        self.previous = 0;
        self.previous_left = 0;
        self.factors = (0, 0);
        self.product = 0;
        self.csr_value = None;
        self.cost = Cost::default();
    }

    pub(super) fn gpr(&self, bank: Bank, number: u8) -> u32 {
        self.words[usize::from(Place::gpr(bank, number).0) % WORDS]
    }

    pub(super) fn set_gpr(&mut self, bank: Bank, number: u8, value: u32) {
        self.words[usize::from(Place::gpr(bank, number).0) % WORDS] = value;
    }

    /// A word of local memory; the number wraps.
    pub(super) fn local_memory(&self, word: u32) -> u32 {
        self.words[usize::from(lm_word(word))]
    }

    pub(super) fn set_local_memory(&mut self, word: u32, value: u32) {
        self.words[usize::from(lm_word(word))] = value;
    }

    pub(super) fn transfer_in(&mut self) -> &mut [u32] {
        &mut self.words[usize::from(XFER_IN)..usize::from(XFER_OUT)]
    }

    pub(super) fn transfer_out(&self) -> &[u32] {
        &self.words[usize::from(XFER_OUT)..usize::from(NOWHERE)]
    }

    /// Byte address in an index register, as far as writes have taken effect.
    pub(super) fn lm_address(&self, index: u8) -> u32 {
        self.lm_addr[usize::from(index & 3)]
    }

    /// Writes an index register. The value is there after its latency.
    pub(super) fn write_index(&mut self, index: u8, address: u32) {
        self.settle();
        self.pending.push(PendingIndex {
            index,
            address: address & 0xffc,
            due_cycle: self.cost.cycles + INDEX_LATENCY,
        });
    }

    /// Lets those writes to index registers take effect whose time has come.
    pub(super) fn settle(&mut self) {
        if !self.pending.is_empty() {
            self.settle_until(self.cost.cycles);
        }
    }

    /// Before an operand goes through an index register.
    #[inline]
    fn use_index(&mut self, index: u8) {
        if !self.pending.is_empty() {
            self.settle_until(self.cost.cycles);
            if self.strict {
                self.note_early(index);
            }
        }
    }

    #[cold]
    fn note_early(&mut self, index: u8) {
        let early = self.pending.iter().find(|write| write.index == index);
        if let Some(write) = early {
            let cycles = write.due_cycle - self.cost.cycles;
            self.finding = Some(FindingKind::IndexTooEarly { index, cycles });
        }
    }

    /// Notes a read that is not all inside the packet.
    pub(super) fn note_outside(&mut self, len: usize, beyond: usize) {
        if self.strict && beyond > 0 {
            self.finding = Some(FindingKind::OutsidePacket { len, beyond });
        }
    }

    /// Lets all writes to index registers take effect.
    pub(super) fn settle_all(&mut self) {
        self.settle_until(u64::MAX);
    }

    #[cold]
    fn settle_until(&mut self, cycle: u64) {
        let due = self
            .pending
            .iter()
            .take_while(|write| write.due_cycle <= cycle)
            .count();
        for write in self.pending.drain(..due) {
            self.lm_addr[usize::from(write.index & 3)] = write.address;
        }
    }

    /// Index in the array of a place that is in one word.
    #[inline]
    fn resolve(&mut self, place: Place) -> usize {
        if place.0 & INDEXED == 0 {
            return usize::from(place.0) % WORDS;
        }
        self.use_index((place.0 >> 8) as u8 & 3);
        // The offset is ORed into the address, not added.
        let base = self.lm_address((place.0 >> 8) as u8) >> 2;
        usize::from(lm_word(base | u32::from(place.0 & 0xf)))
    }

    #[inline]
    pub(super) fn read(&mut self, place: Place) -> u32 {
        self.words[self.resolve(place)]
    }

    #[inline]
    pub(super) fn write(&mut self, place: Place, value: u32) {
        if place.0 & BOTH != 0 {
            let number = usize::from(place.0 & 31);
            self.words[usize::from(BANK_A) + number] = value;
            self.words[usize::from(BANK_B) + number] = value;
        } else {
            let index = self.resolve(place);
            self.words[index] = value;
        }
    }

    #[inline]
    pub(super) fn post_modify(&mut self, post: Post) {
        if post.0 != 0 {
            self.move_indices(post);
        }
    }

    fn move_indices(&mut self, post: Post) {
        self.settle();
        for (index, address) in (0..).zip(&mut self.lm_addr) {
            let moved = match post.0 >> (2 * index) & 3 {
                1 => address.wrapping_add(4),
                2 => address.wrapping_sub(4),
                _ => continue,
            };
            *address = moved & 0xfff;
        }
    }
}

/// Index in the array of a word of local memory; the number wraps.
const fn lm_word(word: u32) -> u16 {
    LOCAL_MEMORY + (word as u16 & (LM_WORDS - 1))
}
