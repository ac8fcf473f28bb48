//! Loads and stores of packet bytes, directly or from the transfer registers that cache them.

use iom_core::isa::{Reg, Size};
use iom_core::verifier::InsnFacts;

use super::alu::clear_high;
use super::emit::{Emitter, low};
use super::memory::{read_words, take_words};
use super::step::Cached;
use crate::isa::{AddressMode, Command, CommandOp, ContextSwap, Operand, ShiftControl};

use Operand::{A, Both, Xfer};

/// The most words that a command transfers without an override of its length.
pub(super) const DIRECT_WORDS: u8 = 8;
/// Command override: the length is in bits 12 to 8.
pub(super) const OVERRIDE_LENGTH: u32 = 1 << 7;

pub(super) fn load(
    emit: &mut Emitter,
    size: Size,
    dst: Reg,
    base: Reg,
    off: i16,
    facts: &InsnFacts,
) {
    let offset = emit.small_constant(i32::from(off) as u32);
    read_words(emit, size, A(low(base)), offset, AddressMode::Bits32);
    take_words(emit, size, dst, facts);
}

pub(super) fn store(emit: &mut Emitter, size: Size, base: Reg, off: i16, src: Reg) {
    let b = emit.small_constant(i32::from(off) as u32);
    for word in 0..size.bytes().div_ceil(4) as u8 {
        emit.mov(Xfer(word), A(low(src) + word));
    }
    emit.command(Command {
        op: CommandOp::Write8Swap,
        xfer: 0,
        a: A(low(base)),
        b,
        mode: AddressMode::Bits32,
        count: (size.bytes() - 1) as u8,
        swap: ContextSwap::Now,
        indirect: false,
    });
}

/// Loads from transfer registers; the load that `reads` fills them first.
pub(super) fn load_cached(
    emit: &mut Emitter,
    size: Size,
    dst: Reg,
    base: Reg,
    off: i16,
    cached: Cached,
    facts: &InsnFacts,
) {
    if cached.reads {
        let len = cached.end.wrapping_sub(cached.start) as u8;
        let offset = emit.small_constant(i32::from(cached.start) as u32);
        read_range(emit, A(low(base)), offset, AddressMode::Bits32, len.into());
    }
    let place = off.wrapping_sub(cached.start) as u8;
    take_bytes(emit, size, low(dst), place);
    if size != Size::DW && facts.zero_extend {
        clear_high(emit, dst);
    }
}

/// Reads bytes into the transfer registers, in whole words.
pub(super) fn read_range(
    emit: &mut Emitter,
    a: Operand,
    b: Operand,
    mode: AddressMode,
    bytes: u16,
) {
    let words = bytes.div_ceil(4) as u8;
    let indirect = words > DIRECT_WORDS;
    if indirect {
        override_length(emit, words - 1);
    }
    emit.command(Command {
        op: CommandOp::Read32Swap,
        xfer: 0,
        a,
        b,
        mode,
        count: words.wrapping_sub(1) & 7,
        swap: ContextSwap::Now,
        indirect,
    });
}

/// Makes the next command transfer one unit more than this.
pub(super) fn override_length(emit: &mut Emitter, units_less_one: u8) {
    let value = OVERRIDE_LENGTH | u32::from(units_less_one) << 8;
    emit.immed(Operand::None, value);
}

/// Puts bytes from the transfer registers, from the byte number `place` on, into a register pair.
pub(super) fn take_bytes(emit: &mut Emitter, size: Size, d: u8, place: u8) {
    let (index, skip) = (place / 4, place % 4);
    let len = size.bytes() as u8;
    if skip == 0 && len >= 4 {
        for word in 0..len / 4 {
            emit.mov(Both(d + word), Xfer(index + word));
        }
        return;
    }
    let in_first = len.min(4 - skip);
    part(emit, d, index, in_first, skip);
    if len == in_first {
        return;
    }
    if len <= 4 {
        or_part(emit, d, index + 1, len - in_first, in_first);
    } else {
        or_part(emit, d, index + 1, 4 - in_first, in_first);
        part(emit, d + 1, index + 1, in_first, 4 - in_first);
        or_part(emit, d + 1, index + 2, 4 - in_first, in_first);
    }
}

/// A word with `len` bytes of a transfer register, from its byte `skip` on; zeros above.
pub(super) fn part(emit: &mut Emitter, word: u8, xfer: u8, len: u8, skip: u8) {
    let control = match skip {
        0 => ShiftControl::Rotate,
        _ => ShiftControl::Right,
    };
    let bytes = (1 << len) - 1;
    emit.load_field(Both(word), bytes, Xfer(xfer), control, 8 * skip, true);
}

/// Adds `len` low bytes of a transfer register to a word, from byte `at` on.
fn or_part(emit: &mut Emitter, word: u8, xfer: u8, len: u8, at: u8) {
    let bytes = ((1 << len) - 1) << at;
    let control = ShiftControl::Left;
    emit.load_field(Both(word), bytes, Xfer(xfer), control, 8 * at, false);
}
