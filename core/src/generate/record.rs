//! Ring-buffer records: reserved, written, and given up once on every path.

use super::maps::RING;
use super::model::Holds;
use super::writer::Writer;
use crate::helper::number;
use crate::isa::{Condition, Imm64, Operand, Reg, Width};

const BYTES: i64 = 24;

/// Reserves a record and gives it up.
pub(super) fn record(writer: &mut Writer) {
    if writer.holds_reference || writer.model.reserved & 0x3f != 0 {
        return;
    }
    writer.load_wide(Reg::R1, Imm64::Map(RING), Holds::Nothing);
    writer.set_number(Reg::R2, BYTES as i32);
    writer.set_number(Reg::R3, 0);
    writer.call(number::RINGBUF_RESERVE, Holds::Nothing);
    let before = writer.model.clone();
    let none = writer.jump_if(Condition::Eq, Width::W64, Reg::R0, Operand::Imm(0));
    writer.holds_reference = true;
    for _ in 0..writer.random.below(4) {
        let size = writer.size();
        let mut off = writer.random.between(0, BYTES - size.bytes() as i64);
        if writer.slip() {
            off += 8;
        }
        let src = match writer.holding(|holds| holds == Holds::Number) {
            Some(reg) if writer.random.chance(50) => Operand::Reg(reg),
            _ => Operand::Imm(writer.random.immediate()),
        };
        writer.store(size, Reg::R0, off, src);
    }
    if !writer.slip() {
        writer.mov(Reg::R1, Reg::R0);
        writer.set_number(Reg::R2, 0);
        let give_up = *writer
            .random
            .pick(&[number::RINGBUF_SUBMIT, number::RINGBUF_DISCARD]);
        writer.call(give_up, Holds::Nothing);
    }
    writer.holds_reference = false;
    writer.guarded(none, before, |_| {});
}
