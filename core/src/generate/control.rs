//! Branches, bounded loops and loops that `may_goto` ends.

use super::function::statements;
use super::model::Holds;
use super::writer::Writer;
use crate::isa::{Condition, Insn, Operand, Reg, Width};

const CONDITIONS: [Condition; 11] = [
    Condition::Eq,
    Condition::Ne,
    Condition::Set,
    Condition::Gt,
    Condition::Ge,
    Condition::Lt,
    Condition::Le,
    Condition::SignedGt,
    Condition::SignedGe,
    Condition::SignedLt,
    Condition::SignedLe,
];

/// `if`, with or without `else`.
pub(super) fn branch(writer: &mut Writer, depth: usize) {
    let cond = *writer.random.pick(&CONDITIONS);
    let width = *writer.random.pick(&[Width::W32, Width::W64]);
    let (dst, src) = (writer.number(&[]), writer.operand());
    let other = writer.jump_if(cond, width, dst, src);
    let before = writer.model.clone();
    let count = 1 + writer.random.below(3);
    statements(writer, depth, count);
    if writer.random.chance(40) {
        let end = writer.jump();
        writer.land(other);
        let then = std::mem::replace(&mut writer.model, before);
        statements(writer, depth, count);
        writer.land(end);
        writer.model.join(&then);
    } else {
        writer.land(other);
        writer.model.join(&before);
    }
}

/// A loop whose number of rounds is a constant or a bounded number.
pub(super) fn bounded_loop(writer: &mut Writer, depth: usize) {
    let free = [Reg::R9, Reg::R8, Reg::R7];
    let free = free.into_iter().find(|reg| !writer.model.is_reserved(*reg));
    let Some(counter) = free else {
        return;
    };
    if writer.random.chance(20) {
        return may_goto_loop(writer, depth);
    }
    writer.set_number(counter, 0);
    let before = writer.model.clone();
    writer.model = before.at_loop_head();
    writer.model.reserved |= 1 << counter.index();
    writer.model.set(counter, Holds::Number);
    let head = writer.insns.len();
    let count = 1 + writer.random.below(2);
    statements(writer, depth, count);
    if !writer.slip() {
        let step = writer.random.between(1, 3) as i32;
        writer.add(counter, Operand::Imm(step));
    }
    let rounds = *writer.random.pick(&[1, 2, 4, 8, 20, 100]);
    let cond = *writer
        .random
        .pick(&[Condition::Lt, Condition::Le, Condition::SignedLt]);
    let width = *writer.random.pick(&[Width::W32, Width::W64]);
    let back = writer.jump_if(cond, width, counter, Operand::Imm(rounds));
    writer.go_back(back, head);
    writer.model.reserved = before.reserved;
}

/// A loop that ends when the budget is used up.
fn may_goto_loop(writer: &mut Writer, depth: usize) {
    let before = writer.model.clone();
    writer.model = before.at_loop_head();
    let head = writer.insns.len();
    writer.emit(Insn::MayGoto { off: 0 });
    let end = writer.last_as_jump();
    statements(writer, depth, 1);
    let back = writer.jump();
    writer.go_back(back, head);
    writer.land(end);
    writer.model = before.at_loop_head();
}
