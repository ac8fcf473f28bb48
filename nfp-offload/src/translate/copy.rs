//! A gathered copy: one read into the transfer registers, one or two writes from them, and the
//! load register as the last load would leave it (or not: see `defects.rs`).

use iom_core::isa::{Reg, Size};
use iom_core::verifier::Pointer;

use super::DefectMode;
use super::emit::{Emitter, low};
use super::memory::map_value_address;
use super::packet::{DIRECT_WORDS, override_length, part, read_range, take_bytes};
use super::step::{Gather, Step};
use crate::isa::{AddressMode, Command, CommandOp, ContextSwap, Operand};

use Operand::{A, Both, Xfer};

/// Copies the bytes of a chain whose first load is this one.
pub(super) fn copy(
    emit: &mut Emitter,
    step: &Step<'_>,
    (size, dst, base, off): (Size, Reg, Reg, i16),
    defects: DefectMode,
) {
    let Some(gather) = step.gather else { return };
    let from_map = matches!(step.points_to(), Some(Pointer::MapValue { .. }));
    let (a, b, mode) = if from_map {
        let (a, b) = map_value_address(emit, base, off);
        (a, b, AddressMode::Bits40Ba)
    } else {
        let offset = emit.small_constant(i32::from(off) as u32);
        (A(low(base)), offset, AddressMode::Bits32)
    };
    read_range(emit, a, b, mode, gather.len);
    let words = gather.len.div_ceil(4) as u8;
    for word in 0..words {
        emit.mov(Xfer(word), Xfer(word));
    }
    write(emit, gather, words);
    match defects {
        DefectMode::Kept => refill(emit, size, low(dst), gather, words),
        DefectMode::Fixed => {
            // The last element that the program copied.
            let last = gather.len - size.bytes() as u16;
            let place = if gather.descending { 0 } else { last };
            take_bytes(emit, size, low(dst), place as u8);
            if size != Size::DW {
                emit.immed(Both(low(dst) + 1), 0);
            }
        }
    }
}

/// One write, as the driver cuts it.
struct Write {
    op: CommandOp,
    xfer: u8,
    /// Words or bytes.
    units: u8,
    indirect: bool,
}

fn write(emit: &mut Emitter, gather: Gather, words: u8) {
    let (len, rest) = (gather.len as u8, (gather.len % 4) as u8);
    let bytes = |xfer, units, indirect| Write {
        op: CommandOp::Write8Swap,
        xfer,
        units,
        indirect,
    };
    let whole_words = |units, indirect| Write {
        op: CommandOp::Write32Swap,
        xfer: 0,
        units,
        indirect,
    };
    let off = gather.store_off;
    let offset = emit.small_constant(i32::from(off) as u32);
    match (len, rest) {
        (..=8, _) => command(emit, gather, offset, &bytes(0, len, false)),
        (..=32, 0) => command(emit, gather, offset, &whole_words(words, false)),
        (..=32, _) => command(emit, gather, offset, &bytes(0, len, true)),
        (_, 0) => command(emit, gather, offset, &whole_words(words, true)),
        (..=40, _) => {
            command(emit, gather, offset, &whole_words(DIRECT_WORDS, false));
            let behind = emit.small_constant((i32::from(off) + 32) as u32);
            command(emit, gather, behind, &bytes(DIRECT_WORDS, len - 32, false));
        }
        _ => {
            command(emit, gather, offset, &whole_words(words - 1, true));
            // The driver keeps 8 bits of this offset.
            let behind = (off as u8).wrapping_add((words - 1).wrapping_mul(4));
            let behind = emit.small_constant(behind.into());
            command(emit, gather, behind, &bytes(words - 1, rest, false));
        }
    }
}

fn command(emit: &mut Emitter, gather: Gather, offset: Operand, write: &Write) {
    if write.indirect {
        override_length(emit, write.units - 1);
    }
    emit.command(Command {
        op: write.op,
        xfer: write.xfer,
        a: A(low(gather.store_base)),
        b: offset,
        mode: AddressMode::Bits32,
        count: (write.units - 1) & 7,
        swap: ContextSwap::Now,
        indirect: write.indirect,
    });
}

/// Loads the register from where the driver thinks its last value is.
fn refill(emit: &mut Emitter, size: Size, d: u8, gather: Gather, words: u8) {
    let rest = (gather.len % 4) as u8;
    let last = match size {
        _ if gather.descending => 0,
        Size::DW => words - 2,
        Size::B | Size::H | Size::W => words - 1,
    };
    match size {
        Size::B => part(emit, d, last, 1, if rest == 0 { 3 } else { rest - 1 }),
        Size::H => part(emit, d, last, 2, rest ^ 2),
        Size::W => emit.mov(Both(d), Xfer(0)),
        Size::DW => {
            emit.mov(Both(d), Xfer(last));
            emit.mov(Both(d + 1), Xfer(last + 1));
        }
    }
    if size != Size::DW {
        emit.immed(Both(d + 1), 0);
    }
}
