//! Instructions after a legacy packet load that clear bits which the load has cleared already.

use iom_core::isa::{AluOp, Insn, Operand, Reg, Size, Width};

use crate::translate::step::Step;

fn loaded_size(step: &Step<'_>) -> Option<Size> {
    match step.insn {
        Insn::LoadPacket { size, .. } => Some(size),
        _ => None,
    }
}

/// The operation and constant of a 64-bit operation on `r0`.
fn on_result(step: &Step<'_>) -> Option<(AluOp, i32)> {
    match step.insn {
        Insn::Alu {
            op,
            width: Width::W64,
            dst: Reg::R0,
            src: Operand::Imm(imm),
        } => Some((op, imm)),
        _ => None,
    }
}

/// `and` with the mask of the load's own size.
pub(super) fn skip_masks(steps: &mut [Step<'_>]) {
    for index in 1..steps.len() {
        let mask = match loaded_size(&steps[index - 1]) {
            Some(Size::B) => 0xff,
            Some(Size::H) => 0xffff,
            Some(Size::W) => -1,
            Some(Size::DW) | None => continue,
        };
        let step = &mut steps[index];
        if on_result(step) == Some((AluOp::And, mask)) && !step.is_target {
            step.merged = true;
        }
    }
}

/// A shift by 32 in one direction and back after a load of four bytes.
pub(super) fn skip_shift_pairs(steps: &mut [Step<'_>]) {
    for index in 2..steps.len() {
        if loaded_size(&steps[index - 2]) != Some(Size::W) {
            continue;
        }
        let pair = &mut steps[index - 1..=index];
        let shifts = (on_result(&pair[0]), on_result(&pair[1]));
        let is_pair = matches!(
            shifts,
            (Some((AluOp::Lsh, 32)), Some((AluOp::Rsh, 32)))
                | (Some((AluOp::Rsh, 32)), Some((AluOp::Lsh, 32)))
        );
        if is_pair && pair.iter().all(|step| !step.is_target) {
            for step in pair {
                step.merged = true;
            }
        }
    }
}
