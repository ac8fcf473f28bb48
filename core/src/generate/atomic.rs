//! Atomic operations on the stack and on map values.

use super::model::Holds;
use super::stack::initialised;
use super::writer::Writer;
use crate::isa::{AtomicOp, Insn, Reg, Size};

/// An atomic operation on the stack.
pub(super) fn atomic(writer: &mut Writer) {
    let off = initialised(writer, 8);
    atomic_at(writer, Reg::R10, off);
}

/// An atomic operation at a place.
pub(super) fn atomic_at(writer: &mut Writer, base: Reg, off: i64) {
    let fetch = writer.random.chance(40);
    let op = *writer.random.pick(&[
        AtomicOp::Add { fetch },
        AtomicOp::Or { fetch },
        AtomicOp::And { fetch },
        AtomicOp::Xor { fetch },
        AtomicOp::Exchange,
        AtomicOp::CompareExchange,
    ]);
    let size = *writer.random.pick(&[Size::W, Size::DW, Size::DW]);
    let src = writer.free_number(&[base]);
    if op == AtomicOp::CompareExchange {
        let free = base != Reg::R0 && !writer.model.is_reserved(Reg::R0);
        if writer.model.of(Reg::R0) != Holds::Number && !free {
            return;
        }
        if writer.model.of(Reg::R0) != Holds::Number {
            writer.set_number(Reg::R0, 7);
        }
    }
    let off = if writer.slip() { off + 4 } else { off };
    writer.emit(Insn::Atomic {
        op,
        size,
        base,
        off: off as i16,
        src,
    });
}
