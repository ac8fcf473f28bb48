//! The stack: stores of all sizes, spilled registers, loads of what was stored, and accesses at
//! offsets that are bounded only.

use super::model::{Holds, SLOTS};
use super::writer::Writer;
use crate::isa::{Operand, Reg, Size};

/// One to three accesses.
pub(super) fn stack(writer: &mut Writer) {
    for _ in 0..=writer.random.below(3) {
        match writer.random.below(6) {
            0 | 1 => store(writer),
            2 => spill(writer),
            3 | 4 => fill(writer),
            _ => somewhere(writer),
        }
    }
}

/// Offset of a slot from the frame pointer.
fn offset(slot: usize) -> i64 {
    -8 * (slot as i64 + 1)
}

fn store(writer: &mut Writer) {
    let (slot, size) = (writer.random.below(SLOTS), writer.size());
    let step = size.bytes() as i64;
    let mut off = offset(slot) + step * writer.random.between(0, 8 / step - 1);
    if writer.slip() {
        off = writer.random.between(-520, 8);
    }
    let src = writer.operand();
    writer.store(size, Reg::R10, off, src);
    let known = size == Size::DW || writer.model.stack[slot] == Holds::Number;
    writer.model.stack[slot] = if known { Holds::Number } else { Holds::Nothing };
}

fn spill(writer: &mut Writer) {
    let slot = writer.random.below(SLOTS);
    let Some(reg) = writer.holding(|holds| holds != Holds::Nothing) else {
        return;
    };
    let size = if writer.slip() { Size::W } else { Size::DW };
    writer.store(size, Reg::R10, offset(slot), Operand::Reg(reg));
    writer.model.stack[slot] = writer.model.of(reg);
}

fn fill(writer: &mut Writer) {
    let stack = writer.model.stack;
    let known = (0..SLOTS).filter(|slot| stack[*slot] != Holds::Nothing);
    let mut slots: Vec<_> = known.collect();
    if writer.slip() {
        slots.push(writer.random.below(SLOTS));
    }
    if slots.is_empty() {
        return;
    }
    let slot = *writer.random.pick(&slots);
    let dst = writer.free_register(&[]);
    let (mut size, mut off, mut holds) = (Size::DW, offset(slot), stack[slot]);
    if holds == Holds::Number || writer.slip() {
        size = writer.size();
        let step = size.bytes() as i64;
        off += step * writer.random.between(0, 8 / step - 1);
        holds = Holds::Number;
    }
    writer.load(size, dst, Reg::R10, off);
    writer.model.set(dst, holds);
}

/// Initialises some slots and accesses one of them.
fn somewhere(writer: &mut Writer) {
    let number = writer.free_number(&[]);
    let slots = *writer.random.pick(&[2, 4]);
    for slot in 0..slots {
        let imm = Operand::Imm(writer.random.immediate());
        writer.store(Size::DW, Reg::R10, offset(slot), imm);
        writer.model.stack[slot] = Holds::Number;
    }
    let before = writer.model.clone();
    let beyond = writer.bound(number, slots as i64 * 8);
    let place = writer.free_register(&[number]);
    writer.mov(place, Reg::R10);
    writer.add(place, Operand::Imm(offset(slots - 1) as i32));
    writer.add(place, Operand::Reg(number));
    writer.model.set(place, Holds::Nothing);
    let dst = writer.free_register(&[place]);
    if writer.random.chance(60) {
        writer.load(Size::B, dst, place, 0);
        writer.model.set(dst, Holds::Number);
    } else {
        let src = writer.operand();
        writer.store(Size::B, place, 0, src);
    }
    if let Some(beyond) = beyond {
        writer.guarded(beyond, before, |_| {});
    }
}

/// Bytes at the end of the stack with something in them: their offset, and as many as asked for.
pub(super) fn initialised(writer: &mut Writer, bytes: u32) -> i64 {
    let slots = (bytes as usize).div_ceil(8).clamp(1, SLOTS);
    let first = writer.random.below(SLOTS - slots + 1);
    for slot in first..first + slots {
        if writer.model.stack[slot] != Holds::Number && !writer.slip() {
            let number = Operand::Imm(writer.random.between(0, 8) as i32);
            writer.store(Size::DW, Reg::R10, offset(slot), number);
            writer.model.stack[slot] = Holds::Number;
        }
    }
    offset(first + slots - 1)
}
