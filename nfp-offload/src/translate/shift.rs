//! Shifts: by a constant, by a register whose range decides the form, and by any register.

use iom_core::isa::{AluOp as BpfAlu, Operand as BpfOperand, Reg, Width};
use iom_core::verifier::{InsnFacts, Range};

use super::DefectMode;
use super::alu::clear_high;
use super::emit::{ADDRESS, Emitter, SCRATCH, low};
use crate::isa::{AluOp, Condition, Operand, ShiftControl, ShiftOp};
use crate::relocate::Relocation;

use Operand::{A, B, Both, Imm};

/// The amount "in the left source of the previous ALU instruction".
const INDIRECT: u8 = 0;

pub(super) fn shift(
    emit: &mut Emitter,
    (op, width): (BpfAlu, Width),
    dst: Reg,
    src: BpfOperand,
    facts: &InsnFacts,
    mode: DefectMode,
) {
    let mut amount = facts.ranges.map_or(Range::FULL, |(_, amount)| amount);
    let src = match src {
        BpfOperand::Imm(imm) => {
            return match width {
                Width::W64 => constant64(emit, op, low(dst), imm as u8),
                Width::W32 => constant32(emit, op, dst, imm as u8, facts),
            };
        }
        BpfOperand::Reg(src) => src,
    };
    let mut s = low(src);
    if mode == DefectMode::Fixed {
        (s, amount) = cut(emit, s, amount, width);
    }
    match (amount.as_constant(), width) {
        (Some(constant), Width::W64) => constant64(emit, op, low(dst), constant as u8),
        (Some(constant), Width::W32) => constant32(emit, op, dst, constant as u8, facts),
        (Option::None, Width::W64) => register64(emit, op, low(dst), s, amount),
        (Option::None, Width::W32) => register32(emit, op, dst, s, facts),
    }
}

/// The amount as eBPF cuts it, where the register may hold more: where it is then, and its range.
fn cut(emit: &mut Emitter, s: u8, amount: Range, width: Width) -> (u8, Range) {
    let max = width_bits(width) - 1;
    match amount.as_constant() {
        _ if amount.max <= max => (s, amount),
        Some(constant) => (s, Range::constant(constant & max)),
        Option::None => {
            emit.alu(Both(ADDRESS), A(s), AluOp::And, Imm(max as u8));
            (ADDRESS, Range { min: 0, max })
        }
    }
}

/// How a register's amount is cut by eBPF: modulo this.
const fn width_bits(width: Width) -> u64 {
    match width {
        Width::W64 => 64,
        Width::W32 => 32,
    }
}

/// A shift of a whole word: operation, direction.
fn word_shift(op: BpfAlu) -> (ShiftOp, ShiftControl) {
    match op {
        BpfAlu::Lsh => (ShiftOp::B, ShiftControl::Left),
        BpfAlu::Rsh => (ShiftOp::B, ShiftControl::Right),
        BpfAlu::Arsh => (ShiftOp::Ashr, ShiftControl::Right),
        other => unreachable!("{other:?} is no shift"),
    }
}

fn constant32(emit: &mut Emitter, op: BpfAlu, dst: Reg, amount: u8, facts: &InsnFacts) {
    let d = low(dst);
    if amount != 0 {
        if op == BpfAlu::Arsh {
            emit.test(A(d), AluOp::Or, Imm(0));
        }
        let (shift_op, control) = word_shift(op);
        emit.shift(Both(d), shift_op, B(d), control, amount);
    }
    if facts.zero_extend {
        clear_high(emit, dst);
    }
}

fn register32(emit: &mut Emitter, op: BpfAlu, dst: Reg, s: u8, facts: &InsnFacts) {
    let d = low(dst);
    // The right operand only gives the result its sign.
    emit.test(
        A(s),
        AluOp::Or,
        if op == BpfAlu::Arsh { B(d) } else { Imm(0) },
    );
    let (shift_op, control) = word_shift(op);
    emit.shift(Both(d), shift_op, B(d), control, INDIRECT);
    if facts.zero_extend {
        clear_high(emit, dst);
    }
}

fn constant64(emit: &mut Emitter, op: BpfAlu, d: u8, amount: u8) {
    let (shift_op, control) = word_shift(op);
    match (op, amount) {
        (_, 0) => {}
        (BpfAlu::Lsh, 1..32) => {
            emit.shift_double(Both(d + 1), A(d + 1), B(d), 32 - amount);
            emit.shift(Both(d), shift_op, B(d), control, amount);
        }
        (BpfAlu::Lsh, 32) => {
            emit.mov(Both(d + 1), B(d));
            emit.immed(Both(d), 0);
        }
        (BpfAlu::Lsh, _) => {
            emit.shift(Both(d + 1), shift_op, B(d), control, amount - 32);
            emit.immed(Both(d), 0);
        }
        (BpfAlu::Arsh, _) => arithmetic64(emit, d, amount),
        (_, 1..32) => {
            emit.shift_double(Both(d), A(d + 1), B(d), amount);
            emit.shift(Both(d + 1), shift_op, B(d + 1), control, amount);
        }
        (_, 32) => {
            emit.mov(Both(d), B(d + 1));
            emit.immed(Both(d + 1), 0);
        }
        (_, _) => {
            emit.shift(Both(d), shift_op, B(d + 1), control, amount - 32);
            emit.immed(Both(d + 1), 0);
        }
    }
}

fn arithmetic64(emit: &mut Emitter, d: u8, amount: u8) {
    let sign_of_high = |emit: &mut Emitter| emit.test(A(d + 1), AluOp::Or, Imm(0));
    let ashr = |emit: &mut Emitter, dst, amount| {
        emit.shift(
            Both(dst),
            ShiftOp::Ashr,
            B(d + 1),
            ShiftControl::Right,
            amount,
        );
    };
    match amount {
        0..32 => {
            emit.shift_double(Both(d), A(d + 1), B(d), amount);
            sign_of_high(emit);
            ashr(emit, d + 1, amount);
        }
        32 => {
            // The move sets the sign, too.
            emit.mov(Both(d), B(d + 1));
            ashr(emit, d + 1, 31);
        }
        33.. => {
            sign_of_high(emit);
            ashr(emit, d, amount - 32);
            ashr(emit, d + 1, 31);
        }
    }
}

fn register64(emit: &mut Emitter, op: BpfAlu, d: u8, s: u8, amount: Range) {
    if amount.max < 32 {
        below_32(emit, op, d, s);
        below_32_second(emit, op, d, s);
    } else if amount.min >= 32 {
        from_32(emit, op, d, s);
    } else {
        let to_from_32 = emit.branch_if_bit(A(s), 5);
        below_32(emit, op, d, s);
        // The second half is two words and runs in the branch's slots.
        let to_end = emit.branch(Condition::Always, 0, 2, Relocation::Branch);
        below_32_second(emit, op, d, s);
        emit.land(to_from_32);
        from_32(emit, op, d, s);
        emit.land(to_end);
    }
}

/// First half of a shift by less than 32: the word that takes bits from the other.
fn below_32(emit: &mut Emitter, op: BpfAlu, d: u8, s: u8) {
    if op == BpfAlu::Lsh {
        emit.alu(Both(SCRATCH), Imm(32), AluOp::Sub, B(s));
        emit.test(A(SCRATCH), AluOp::Or, Imm(0));
        emit.shift_double(Both(d + 1), A(d + 1), B(d), INDIRECT);
    } else {
        emit.test(A(s), AluOp::Or, Imm(0));
        emit.shift_double(Both(d), A(d + 1), B(d), INDIRECT);
    }
}

/// Second half: the other word.
fn below_32_second(emit: &mut Emitter, op: BpfAlu, d: u8, s: u8) {
    let (shift_op, control) = word_shift(op);
    let word = if op == BpfAlu::Lsh { d } else { d + 1 };
    emit.test(
        A(s),
        AluOp::Or,
        if op == BpfAlu::Arsh { B(d + 1) } else { Imm(0) },
    );
    emit.shift(Both(word), shift_op, B(word), control, INDIRECT);
}

/// A shift by 32 to 63: one word moves to the other.
fn from_32(emit: &mut Emitter, op: BpfAlu, d: u8, s: u8) {
    let (shift_op, control) = word_shift(op);
    let (to, from) = if op == BpfAlu::Lsh {
        (d + 1, d)
    } else {
        (d, d + 1)
    };
    emit.test(
        A(s),
        AluOp::Or,
        if op == BpfAlu::Arsh { B(d + 1) } else { Imm(0) },
    );
    emit.shift(Both(to), shift_op, B(from), control, INDIRECT);
    if op == BpfAlu::Arsh {
        emit.shift(Both(from), ShiftOp::Ashr, B(from), ShiftControl::Right, 31);
    } else {
        emit.immed(Both(from), 0);
    }
}
