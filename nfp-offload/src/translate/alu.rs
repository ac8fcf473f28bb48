//! Moves, arithmetic and logic, word by word.

use iom_core::isa::{AluOp as BpfAlu, Imm64, Operand as BpfOperand, Reg, SwapWidth, Width};
use iom_core::verifier::InsnFacts;

use super::DefectMode;
use super::emit::{ADDRESS, Emitter, SCRATCH, STACK_BASE, low};
use crate::isa::{AluOp, MulKind, MulStep, Operand, ShiftControl};

use Operand::{A, B, Both, Imm, None};

/// The operation on low words, and the one on high words.
fn operations(op: BpfAlu) -> (AluOp, AluOp) {
    match op {
        BpfAlu::Add => (AluOp::Add, AluOp::AddCarry),
        BpfAlu::Sub => (AluOp::Sub, AluOp::SubCarry),
        BpfAlu::And => (AluOp::And, AluOp::And),
        BpfAlu::Or => (AluOp::Or, AluOp::Or),
        BpfAlu::Xor => (AluOp::Xor, AluOp::Xor),
        BpfAlu::Mul
        | BpfAlu::Div
        | BpfAlu::SignedDiv
        | BpfAlu::Lsh
        | BpfAlu::Rsh
        | BpfAlu::Mod
        | BpfAlu::SignedMod
        | BpfAlu::Arsh => unreachable!("{op:?} has recipes of its own"),
    }
}

/// Sets the high word of a 32-bit result to zero.
pub(super) fn clear_high(emit: &mut Emitter, dst: Reg) {
    emit.immed(Both(low(dst) + 1), 0);
}

pub(super) fn register(
    emit: &mut Emitter,
    op: BpfAlu,
    width: Width,
    dst: Reg,
    src: Reg,
    facts: &InsnFacts,
) {
    let (d, s) = (low(dst), low(src));
    let (op_low, op_high) = operations(op);
    emit.alu(Both(d), A(d), op_low, B(s));
    match width {
        Width::W64 => emit.alu(Both(d + 1), A(d + 1), op_high, B(s + 1)),
        Width::W32 if facts.zero_extend => clear_high(emit, dst),
        Width::W32 => {}
    }
}

pub(super) fn immediate(
    emit: &mut Emitter,
    op: BpfAlu,
    width: Width,
    dst: Reg,
    imm: i32,
    facts: &InsnFacts,
) {
    let d = low(dst);
    let wide = i64::from(imm) as u64;
    let no_effect = matches!((op, imm), (BpfAlu::Or | BpfAlu::Xor, 0) | (BpfAlu::And, -1));
    if width == Width::W64 && no_effect {
        return;
    }
    let (op_low, op_high) = operations(op);
    word_immediate(emit, d, op_low, wide as u32);
    match width {
        Width::W64 => word_immediate(emit, d + 1, op_high, (wide >> 32) as u32),
        Width::W32 if facts.zero_extend => clear_high(emit, dst),
        Width::W32 => {}
    }
}

/// One word of an operation with a constant, shorter where the constant is all zeros or all ones.
fn word_immediate(emit: &mut Emitter, word: u8, op: AluOp, value: u32) {
    match (op, value) {
        (AluOp::And, 0) => emit.immed(Both(word), 0),
        (AluOp::Or, u32::MAX) => emit.immed(Both(word), u32::MAX),
        (AluOp::Xor, u32::MAX) => emit.alu(Both(word), None, AluOp::NotB, B(word)),
        (AluOp::And, u32::MAX) | (AluOp::Or | AluOp::Xor, 0) => {}
        (op, value) => {
            let right = emit.constant(value);
            emit.alu(Both(word), A(word), op, right);
        }
    }
}

pub(super) fn mov(emit: &mut Emitter, width: Width, dst: Reg, src: BpfOperand) {
    let d = low(dst);
    match (src, width) {
        (BpfOperand::Reg(src), Width::W64) => {
            emit.mov(Both(d), B(low(src)));
            emit.mov(Both(d + 1), B(low(src) + 1));
        }
        (BpfOperand::Reg(src), Width::W32) => {
            emit.mov(Both(d), B(low(src)));
            clear_high(emit, dst);
        }
        (BpfOperand::Imm(imm), width) => {
            let wide = i64::from(imm) as u64;
            emit.immed(Both(d), wide as u32);
            emit.immed(
                Both(d + 1),
                if width == Width::W64 {
                    (wide >> 32) as u32
                } else {
                    0
                },
            );
        }
    }
}

/// `dst = r10`: the end of the frame in local memory.
pub(super) fn move_frame_pointer(emit: &mut Emitter, dst: Reg, stack_depth: u32) {
    let depth = emit.constant(stack_depth);
    emit.alu(Both(low(dst)), STACK_BASE, AluOp::Add, depth);
    clear_high(emit, dst);
}

pub(super) fn negate(emit: &mut Emitter, width: Width, dst: Reg, facts: &InsnFacts) {
    let d = low(dst);
    emit.alu(Both(d), Imm(0), AluOp::Sub, B(d));
    match width {
        Width::W64 => emit.alu(Both(d + 1), Imm(0), AluOp::SubCarry, B(d + 1)),
        Width::W32 if facts.zero_extend => clear_high(emit, dst),
        Width::W32 => {}
    }
}

pub(super) fn to_big_endian(emit: &mut Emitter, bits: SwapWidth, dst: Reg) {
    let d = low(dst);
    match bits {
        SwapWidth::B16 => {
            emit.load_field(Both(d), 0b1001, B(d), ShiftControl::Rotate, 8, false);
            emit.load_field(Both(d), 0b1110, A(d), ShiftControl::Right, 16, false);
            clear_high(emit, dst);
        }
        SwapWidth::B32 => {
            swap_word(emit, d, A(d));
            clear_high(emit, dst);
        }
        SwapWidth::B64 => {
            emit.mov(A(SCRATCH), B(d + 1));
            swap_word(emit, d + 1, A(d));
            swap_word(emit, d, A(SCRATCH));
        }
    }
}

/// Reverses the bytes of a word.
fn swap_word(emit: &mut Emitter, dst: u8, src: Operand) {
    emit.load_field(Both(dst), 0b1111, src, ShiftControl::Rotate, 8, false);
    emit.load_field(Both(dst), 0b0101, A(dst), ShiftControl::Rotate, 16, false);
}

/// What a wide load puts into its register; maps are table ids.
pub(super) fn wide_value(value: Imm64, map_ids: &[u32]) -> Option<u64> {
    match value {
        Imm64::Number(number) => Some(number),
        Imm64::Map(map) => map_ids.get(map as usize).map(|id| u64::from(*id)),
        Imm64::MapValue { .. } | Imm64::Variable { .. } | Imm64::Function { .. } => Option::None,
    }
}

pub(super) fn load_wide(emit: &mut Emitter, dst: Reg, value: u64) {
    let d = low(dst);
    emit.immed(Both(d), value as u32);
    if value >> 32 == value & 0xffff_ffff {
        emit.mov(Both(d + 1), A(d));
    } else {
        emit.immed(Both(d + 1), (value >> 32) as u32);
    }
}

/// Multiplication of 16-bit numbers, or of 32-bit numbers to a 64-bit product.
pub(super) fn multiply(
    emit: &mut Emitter,
    width: Width,
    dst: Reg,
    src: BpfOperand,
    facts: &InsnFacts,
    mode: DefectMode,
) {
    let d = low(dst);
    let (left_max, right_max) = facts
        .ranges
        .map_or((u64::MAX, u64::MAX), |(left, right)| (left.max, right.max));
    let (right, right_max) = match src {
        BpfOperand::Reg(src) => (B(low(src)), right_max),
        BpfOperand::Imm(imm) => (emit.constant(imm as u32), u64::from(imm as u32)),
    };
    let is_wide = width == Width::W64 && left_max.max(right_max) > u64::from(u32::MAX);
    if mode == DefectMode::Fixed && is_wide {
        return multiply_64(emit, d, right, src);
    }
    emit.mul(MulKind::Start, MulStep::Step1, A(d), right);
    if left_max <= 0xffff && right_max <= 0xffff {
        emit.mul(MulKind::By16x16, MulStep::Step1, A(d), right);
        emit.mul(MulKind::By16x16, MulStep::Step2, A(d), right);
        emit.mul(MulKind::By16x16, MulStep::Last, Both(d), None);
        return;
    }
    multiply_steps(emit, d, right);
    emit.mul(MulKind::By32x32, MulStep::Last, Both(d), None);
    match width {
        Width::W64 => emit.mul(MulKind::By32x32, MulStep::Last2, Both(d + 1), None),
        Width::W32 => clear_high(emit, dst),
    }
}

/// The low 64 bits of a product of 64-bit numbers, which the driver does not multiply: the product
/// of the low words, and in its high word what the high words add.
fn multiply_64(emit: &mut Emitter, d: u8, right: Operand, src: BpfOperand) {
    let mut low_word = |dst, left, right| {
        emit.mul(MulKind::Start, MulStep::Step1, A(left), right);
        multiply_steps(emit, left, right);
        emit.mul(MulKind::By32x32, MulStep::Last, dst, None);
    };
    low_word(Both(ADDRESS), d + 1, right);
    if let BpfOperand::Reg(src) = src {
        low_word(Both(SCRATCH), d, B(low(src) + 1));
    }
    low_word(Both(d), d, right);
    emit.mul(MulKind::By32x32, MulStep::Last2, Both(d + 1), None);
    emit.alu(Both(d + 1), A(d + 1), AluOp::Add, B(ADDRESS));
    if let BpfOperand::Reg(_) = src {
        emit.alu(Both(d + 1), A(d + 1), AluOp::Add, B(SCRATCH));
    }
}

/// The steps of a 32-bit multiplication, between its start and its results.
pub(super) fn multiply_steps(emit: &mut Emitter, left: u8, right: Operand) {
    for step in [
        MulStep::Step1,
        MulStep::Step2,
        MulStep::Step3,
        MulStep::Step4,
    ] {
        emit.mul(MulKind::By32x32, step, A(left), right);
    }
}
