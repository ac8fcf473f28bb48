//! Packet access after a comparison with the packet's end, at fixed and at bounded offsets.

use super::context::packet_offsets;
use super::model::Holds;
use super::writer::{Pending, Writer};
use crate::isa::{Condition, Operand, Reg, Size, Width};
use crate::module::ProgramType;

/// Loads the packet's pointers, checks a length and accesses so much of it.
pub(super) fn packet(writer: &mut Writer) {
    let context = writer.holding(|holds| holds == Holds::Context);
    let (Some(context), Some((start, end))) = (context, packet_offsets(writer.program_type)) else {
        return;
    };
    let data = writer.free_register(&[context]);
    let data_end = writer.free_register(&[context, data]);
    writer.load(Size::W, data, context, start);
    writer.load(Size::W, data_end, context, end);
    writer.model.set(data, Holds::Packet(0));
    writer.model.set(data_end, Holds::PacketEnd);
    let before = writer.model.clone();
    let beyond = writer
        .random
        .chance(40)
        .then(|| advance(writer, data, data_end));
    let limit = writer.free_register(&[data, data_end]);
    let len = writer.random.between(1, 60);
    writer.mov(limit, data);
    writer.add(limit, Operand::Imm(len as i32));
    let short = compare(writer, limit, data_end);
    writer.model.set(data, Holds::Packet(len));
    let behind = |writer: &mut Writer| {
        for _ in 0..=writer.random.below(4) {
            access(writer);
        }
    };
    writer.guarded(short, before.clone(), behind);
    if let Some(Some(beyond)) = beyond {
        writer.guarded(beyond, before, |_| {});
    }
}

/// Moves a packet pointer by a number that is not known but bounded.
fn advance(writer: &mut Writer, data: Reg, data_end: Reg) -> Option<Pending> {
    let number = writer.free_number(&[data, data_end]);
    let below = *writer.random.pick(&[2, 16, 64, 1024, 0x8000]);
    let beyond = writer.bound(number, below);
    writer.add(data, Operand::Reg(number));
    beyond
}

/// Jumps where the packet is too short, in one of the ways that compilers write it.
fn compare(writer: &mut Writer, limit: Reg, data_end: Reg) -> Pending {
    if writer.slip() {
        let number = writer.number(&[]);
        return writer.jump_if(Condition::Eq, Width::W64, number, Operand::Imm(0));
    }
    let (left, right, cond) = *writer.random.pick(&[
        (limit, data_end, Condition::Gt),
        (limit, data_end, Condition::Ge),
        (data_end, limit, Condition::Lt),
        (data_end, limit, Condition::Le),
    ]);
    if writer.random.chance(80) {
        return writer.jump_if(cond, Width::W64, left, Operand::Reg(right));
    }
    let opposite = match cond {
        Condition::Gt => Condition::Le,
        Condition::Ge => Condition::Lt,
        Condition::Lt => Condition::Ge,
        _ => Condition::Gt,
    };
    let enough = writer.jump_if(opposite, Width::W64, left, Operand::Reg(right));
    let short = writer.jump();
    writer.land(enough);
    short
}

/// One load or store where a packet pointer has bytes behind it.
pub(super) fn access(writer: &mut Writer) {
    let found = writer.holding(|holds| matches!(holds, Holds::Packet(len) if len > 0));
    let Some(base) = found else {
        return;
    };
    let Holds::Packet(len) = writer.model.of(base) else {
        return;
    };
    let size = writer.size();
    let bytes = size.bytes() as i64;
    let mut off = if len >= bytes {
        writer.random.between(0, len - bytes)
    } else {
        0
    };
    if len < bytes && !writer.slip() {
        return;
    }
    if writer.slip() {
        off = writer.random.between(-2, len + 2);
    }
    if writer.random.chance(60) {
        let dst = writer.free_register(&[base]);
        writer.load(size, dst, base, off);
        writer.model.set(dst, Holds::Number);
    } else if writer.program_type != ProgramType::SocketFilter {
        let src = writer.operand();
        writer.store(size, base, off, src);
    }
}
