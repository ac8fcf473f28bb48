//! Additions, subtractions and comparisons of negative constants become those of positive ones,
//! which more often fit an operand. The negation wraps: -2^31 stays itself.

use iom_core::isa::{AluOp, Condition, Insn, Operand};

use crate::translate::DefectMode;
use crate::translate::step::Step;

pub(super) fn make_positive(steps: &mut [Step<'_>], mode: DefectMode) {
    for step in steps.iter_mut().filter(|step| !step.is_skipped()) {
        match &mut step.insn {
            Insn::Alu {
                src: Operand::Imm(i32::MIN),
                ..
            }
            | Insn::JumpIf {
                src: Operand::Imm(i32::MIN),
                ..
            } if mode == DefectMode::Fixed => {}
            Insn::Alu {
                op: op @ (AluOp::Add | AluOp::Sub),
                src: Operand::Imm(imm @ ..0),
                ..
            } => {
                *op = if *op == AluOp::Add {
                    AluOp::Sub
                } else {
                    AluOp::Add
                };
                *imm = imm.wrapping_neg();
            }
            Insn::JumpIf {
                cond: Condition::Ge | Condition::SignedGe | Condition::Lt | Condition::SignedLt,
                src: Operand::Imm(imm @ ..0),
                ..
            } => {
                *imm = imm.wrapping_neg();
                step.negated = true;
            }
            _ => {}
        }
    }
}
