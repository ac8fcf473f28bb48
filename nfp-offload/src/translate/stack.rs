//! The stack in local memory: directly through index register 0 for the first 64 bytes, through
//! index register 3 for the rest.

use iom_core::isa::{Reg, Size};
use iom_core::verifier::{InsnFacts, PointerFacts};

use super::Translator;
use super::alu::clear_high;
use super::emit::{Emitter, SCRATCH, STACK_BASE, low};
use super::memory::stack_offset;
use crate::isa::{AluOp, Csr, LmAccess, Operand, ShiftControl};

use Operand::{A, B, Both};

/// Bytes of the stack that instructions reach without setting an index register.
const DIRECT_BYTES: i64 = 64;
/// Bytes that restricted operands reach from an index register.
const WINDOW_BYTES: i64 = 32;
/// Cycles until a written index register counts.
const INDEX_LATENCY: usize = 3;

/// Where the words of an access are.
enum Place {
    /// The first at this word from an index register, the others behind it.
    Words { index: u8, word: u8 },
    /// At an index register that moves on with every word.
    Moving { index: u8 },
}

impl Place {
    fn operand(&self, word: u8) -> Operand {
        match *self {
            Self::Words { index, word: first } => Operand::lm(index, first + word),
            Self::Moving { index } => Operand::Lm(index, LmAccess::Increment),
        }
    }
}

pub(super) fn load(
    translator: &mut Translator<'_>,
    size: Size,
    dst: Reg,
    off: i16,
    pointer: PointerFacts,
    facts: &InsnFacts,
) {
    let offset = stack_offset(translator.stack_depth, off, pointer);
    let emit = &mut translator.emit;
    let place = reach(emit, offset, size);
    let d = low(dst);
    if size != Size::DW && facts.zero_extend {
        clear_high(emit, dst);
    }
    match size {
        Size::B | Size::H => {
            let bytes = (1 << size.bytes()) - 1;
            let word = restricted(emit, place.operand(0));
            emit.load_field(
                Both(d),
                bytes,
                word,
                right_or_none(offset),
                shift_of(offset),
                true,
            );
        }
        Size::W => emit.mov(Both(d), place.operand(0)),
        Size::DW => {
            emit.mov(Both(d), place.operand(0));
            emit.mov(Both(d + 1), place.operand(1));
        }
    }
}

pub(super) fn store(
    translator: &mut Translator<'_>,
    size: Size,
    off: i16,
    src: Reg,
    pointer: PointerFacts,
) {
    let offset = stack_offset(translator.stack_depth, off, pointer);
    let emit = &mut translator.emit;
    let place = reach(emit, offset, size);
    let s = low(src);
    match size {
        Size::B | Size::H => {
            let bytes = ((1 << size.bytes()) - 1) << offset.rem_euclid(4);
            let word = place.operand(0);
            if is_restricted(word) {
                store_field(emit, word, bytes, s, offset);
            } else {
                emit.mov(A(SCRATCH), word);
                store_field(emit, A(SCRATCH), bytes, s, offset);
                emit.mov(word, A(SCRATCH));
            }
        }
        Size::W => emit.mov(place.operand(0), B(s)),
        Size::DW => {
            emit.mov(place.operand(0), B(s));
            emit.mov(place.operand(1), B(s + 1));
        }
    }
}

fn store_field(emit: &mut Emitter, word: Operand, bytes: u8, src: u8, offset: i64) {
    let control = if offset.rem_euclid(4) == 0 {
        ShiftControl::Rotate
    } else {
        ShiftControl::Left
    };
    emit.load_field(word, bytes, B(src), control, shift_of(offset), false);
}

/// Bits that a part of a word is away from its low end.
fn shift_of(offset: i64) -> u8 {
    8 * offset.rem_euclid(4) as u8
}

fn right_or_none(offset: i64) -> ShiftControl {
    if offset.rem_euclid(4) == 0 {
        ShiftControl::Rotate
    } else {
        ShiftControl::Right
    }
}

/// Sets up an index register if the access needs one.
fn reach(emit: &mut Emitter, offset: i64, size: Size) -> Place {
    let end = offset + size.bytes() as i64;
    if end <= DIRECT_BYTES {
        return Place::Words {
            index: 0,
            word: (offset / 4) as u8,
        };
    }
    let window = offset / WINDOW_BYTES * WINDOW_BYTES;
    let in_window = end <= window + WINDOW_BYTES;
    let base = if in_window { window } else { offset / 4 * 4 };
    let right = emit.constant(base as u32);
    emit.alu(B(SCRATCH), STACK_BASE, AluOp::Add, right);
    emit.csr_write(Csr::LmAddr3, B(SCRATCH));
    emit.nops(INDEX_LATENCY);
    if in_window {
        Place::Words {
            index: 3,
            word: ((offset - window) / 4) as u8,
        }
    } else {
        Place::Moving { index: 3 }
    }
}

/// Whether `ld_field` reaches the word.
fn is_restricted(word: Operand) -> bool {
    matches!(word, Operand::Lm(_, LmAccess::Offset(0..8)))
}

/// The word, or a copy of it that `ld_field` reaches.
fn restricted(emit: &mut Emitter, word: Operand) -> Operand {
    if is_restricted(word) {
        return word;
    }
    emit.mov(A(SCRATCH), word);
    A(SCRATCH)
}
