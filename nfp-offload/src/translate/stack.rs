//! The stack in local memory: directly through index register 0 for the first 64 bytes, through
//! index register 3 for the rest.

use iom_core::isa::{Reg, Size};

use super::Translator;
use super::alu::clear_high;
use super::emit::{Emitter, SCRATCH, STACK_BASE, low};
use super::memory::stack_offset;
use super::step::Step;
use crate::isa::{AluOp, Csr, LmAccess, Operand, ShiftControl};

use Operand::{A, B, Both};

/// Bytes of the stack that instructions reach without setting an index register.
const DIRECT_BYTES: i64 = 64;
/// Bytes that restricted operands reach from an index register.
const WINDOW_BYTES: i64 = 32;
/// Cycles until a written index register counts.
const INDEX_LATENCY: usize = 3;

/// Where the words of an access are.
struct Place {
    /// Index register.
    index: u8,
    /// The first word, from the index register.
    word: u8,
    /// The index register moves on from word to word.
    moves: bool,
    /// Byte of the first word where the access starts.
    byte: u8,
}

impl Place {
    /// Where the word number `word` of `count` is.
    fn operand(&self, word: u8, count: u8) -> Operand {
        if !self.moves {
            Operand::lm(self.index, self.word + word)
        } else if word + 1 < count {
            Operand::Lm(self.index, LmAccess::Increment)
        } else {
            Operand::lm(self.index, 0)
        }
    }

    /// Bits that a part of a word is away from its low end.
    const fn shift(&self) -> u8 {
        8 * self.byte
    }

    const fn control(&self, control: ShiftControl) -> ShiftControl {
        match self.byte {
            0 => ShiftControl::Rotate,
            _ => control,
        }
    }
}

pub(super) fn load(
    translator: &mut Translator<'_>,
    step: &Step<'_>,
    size: Size,
    dst: Reg,
    base: Reg,
    off: i16,
) {
    let clears = size != Size::DW && step.facts.zero_extend;
    // Clearing the high word takes one of the cycles until the index register counts.
    let waits = INDEX_LATENCY - usize::from(clears);
    let place = reach(translator, step, size, base, off, waits);
    let emit = &mut translator.emit;
    let d = low(dst);
    if clears {
        clear_high(emit, dst);
    }
    match size {
        Size::B | Size::H => {
            let bytes = (1 << size.bytes()) - 1;
            let word = restricted(emit, place.operand(0, 1));
            let control = place.control(ShiftControl::Right);
            emit.load_field(Both(d), bytes, word, control, place.shift(), true);
        }
        Size::W | Size::DW => {
            let words = size.bytes() as u8 / 4;
            for word in 0..words {
                emit.mov(Both(d + word), place.operand(word, words));
            }
        }
    }
}

pub(super) fn store(
    translator: &mut Translator<'_>,
    step: &Step<'_>,
    size: Size,
    base: Reg,
    off: i16,
    src: Reg,
) {
    let place = reach(translator, step, size, base, off, INDEX_LATENCY);
    let emit = &mut translator.emit;
    let s = low(src);
    match size {
        Size::B | Size::H => {
            let bytes = ((1 << size.bytes()) - 1) << place.byte;
            let control = place.control(ShiftControl::Left);
            let word = place.operand(0, 1);
            let reached = restricted(emit, word);
            emit.load_field(reached, bytes, B(s), control, place.shift(), false);
            if reached != word {
                emit.mov(word, reached);
            }
        }
        Size::W | Size::DW => {
            let words = size.bytes() as u8 / 4;
            for word in 0..words {
                emit.mov(place.operand(word, words), B(s + word));
            }
        }
    }
}

/// Sets up an index register if the access needs one.
fn reach(
    translator: &mut Translator<'_>,
    step: &Step<'_>,
    size: Size,
    base: Reg,
    off: i16,
    waits: usize,
) -> Place {
    let pointer = step.facts.pointer;
    let depth = translator.stack_depth;
    let offset = pointer.map_or(0, |pointer| stack_offset(depth, off, pointer));
    let emit = &mut translator.emit;
    let byte = offset.rem_euclid(4) as u8;
    let end = offset + size.bytes() as i64;
    let window = offset / WINDOW_BYTES * WINDOW_BYTES;
    let varies = pointer.is_some_and(|pointer| pointer.differs_by_path);
    let (from, distance, word, moves) = if varies || step.facts.caller_stack {
        (A(low(base)), i64::from(off), 0, true)
    } else if end <= DIRECT_BYTES {
        return Place {
            index: 0,
            word: (offset / 4) as u8,
            moves: false,
            byte,
        };
    } else if end <= window + WINDOW_BYTES {
        (STACK_BASE, window, ((offset - window) / 4) as u8, false)
    } else {
        (STACK_BASE, offset / 4 * 4, 0, true)
    };
    let right = emit.constant(distance as u32);
    emit.alu(B(SCRATCH), from, AluOp::Add, right);
    emit.csr_write(Csr::LmAddr3, B(SCRATCH));
    emit.nops(waits);
    Place {
        index: 3,
        word,
        moves,
        byte,
    }
}

/// The word, or a copy of it that `ld_field` reaches.
fn restricted(emit: &mut Emitter, word: Operand) -> Operand {
    if matches!(word, Operand::Lm(_, LmAccess::Offset(0..8))) {
        return word;
    }
    emit.mov(A(SCRATCH), word);
    A(SCRATCH)
}
