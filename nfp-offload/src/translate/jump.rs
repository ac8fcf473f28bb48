//! Jumps: comparisons of one or two words, and the branch.

use iom_core::isa::{Condition as BpfCondition, Insn, Operand as BpfOperand, Width};

use super::Translator;
use super::emit::{SCRATCH, low};
use super::step::Step;
use crate::isa::{AluOp, Condition, Operand};
use crate::relocate::Relocation;

use Operand::{A, B};

pub(super) fn jump(translator: &mut Translator<'_>, slot: usize, step: &Step<'_>) {
    // Verified control flow stays inside the program.
    let target = step.insn.jump_target(slot).unwrap_or_default() as usize;
    let mut jump = Jump {
        translator,
        target,
        negated: step.negated,
    };
    match step.insn {
        Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            ..
        } => match src {
            BpfOperand::Reg(src) => jump.with_register(cond, width, low(dst), low(src)),
            BpfOperand::Imm(imm) => {
                jump.with_constant(cond, width, low(dst), i64::from(imm) as u64);
            }
        },
        _ => jump.branch(Condition::Always),
    }
}

struct Jump<'t, 'a> {
    translator: &'t mut Translator<'a>,
    target: usize,
    /// The constant is that of the program with the other sign.
    negated: bool,
}

/// How an ordered comparison is made: operands exchanged or not, and the branch after it.
fn ordered(cond: BpfCondition) -> Option<(bool, Condition)> {
    Some(match cond {
        BpfCondition::Gt => (true, Condition::Lower),
        BpfCondition::Ge => (false, Condition::HigherSame),
        BpfCondition::Lt => (false, Condition::Lower),
        BpfCondition::Le => (true, Condition::HigherSame),
        BpfCondition::SignedGt => (true, Condition::Less),
        BpfCondition::SignedGe => (false, Condition::GreaterEqual),
        BpfCondition::SignedLt => (false, Condition::Less),
        BpfCondition::SignedLe => (true, Condition::GreaterEqual),
        BpfCondition::Eq | BpfCondition::Ne | BpfCondition::Set => return None,
    })
}

impl Jump<'_, '_> {
    fn branch(&mut self, condition: Condition) {
        let word = self
            .translator
            .emit
            .branch(condition, 0, 0, Relocation::Branch);
        self.translator.jumps.push((word, self.target));
    }

    fn with_register(&mut self, cond: BpfCondition, width: Width, d: u8, s: u8) {
        let emit = &mut self.translator.emit;
        let words = if width == Width::W64 { 2 } else { 1 };
        if let Some((exchanged, branch)) = ordered(cond) {
            let (left, right) = if exchanged { (s, d) } else { (d, s) };
            emit.test(A(left), AluOp::Sub, B(right));
            if words == 2 {
                emit.test(A(left + 1), AluOp::SubCarry, B(right + 1));
            }
            return self.branch(branch);
        }
        match (cond, words) {
            (BpfCondition::Eq, 2) => {
                emit.alu(A(SCRATCH), A(d), AluOp::Xor, B(s));
                emit.alu(B(SCRATCH), A(d + 1), AluOp::Xor, B(s + 1));
                emit.test(A(SCRATCH), AluOp::Or, B(SCRATCH));
                self.branch(Condition::Equal);
            }
            (BpfCondition::Eq, _) => {
                emit.alu(A(SCRATCH), A(d), AluOp::Xor, B(s));
                self.branch(Condition::Equal);
            }
            (_, words) => {
                let op = if cond == BpfCondition::Set {
                    AluOp::And
                } else {
                    AluOp::Xor
                };
                for word in 0..words {
                    self.translator.emit.test(A(d + word), op, B(s + word));
                    self.branch(Condition::NotEqual);
                }
            }
        }
    }

    fn with_constant(&mut self, cond: BpfCondition, width: Width, d: u8, imm: u64) {
        let (imm_low, imm_high) = (imm as u32, (imm >> 32) as u32);
        if let Some((exchanged, branch)) = ordered(cond) {
            let (op, op_high) = if self.negated {
                (AluOp::Add, AluOp::AddCarry)
            } else {
                (AluOp::Sub, AluOp::SubCarry)
            };
            self.compare_constant(exchanged, d, op, imm_low);
            if width == Width::W64 {
                self.compare_constant(exchanged, d + 1, op_high, imm_high);
            }
            return self.branch(branch);
        }
        match (cond, width) {
            (BpfCondition::Eq, Width::W64) => self.equal_constant(d, imm_low, imm_high),
            (BpfCondition::Eq, Width::W32) => {
                self.test_constant(d, AluOp::Xor, imm_low);
                self.branch(Condition::Equal);
            }
            (BpfCondition::Set, _) => self.bits_of_constant(width, d, imm_low, imm_high),
            (_, Width::W64) if imm == 0 => {
                self.translator.emit.test(A(d), AluOp::Or, B(d + 1));
                self.branch(Condition::NotEqual);
            }
            (_, Width::W64) => {
                self.test_constant(d, AluOp::Xor, imm_low);
                self.branch(Condition::NotEqual);
                self.test_constant(d + 1, AluOp::Xor, imm_high);
                self.branch(Condition::NotEqual);
            }
            (_, Width::W32) if imm_low == 0 => {
                self.translator.emit.mov(Operand::None, B(d));
                self.branch(Condition::NotEqual);
            }
            (_, Width::W32) => {
                self.test_constant(d, AluOp::Xor, imm_low);
                self.branch(Condition::NotEqual);
            }
        }
    }

    fn test_constant(&mut self, word: u8, op: AluOp, value: u32) {
        let right = self.translator.emit.constant(value);
        self.translator.emit.test(A(word), op, right);
    }

    fn compare_constant(&mut self, exchanged: bool, word: u8, op: AluOp, value: u32) {
        let constant = self.translator.emit.constant(value);
        let (left, right) = if exchanged {
            (constant, A(word))
        } else {
            (A(word), constant)
        };
        self.translator.emit.test(left, op, right);
    }

    /// Both differences, or the register itself where the constant's word is zero, into one test.
    fn equal_constant(&mut self, d: u8, imm_low: u32, imm_high: u32) {
        let emit = &mut self.translator.emit;
        let mut low_difference = A(d);
        if imm_low != 0 {
            let right = emit.constant(imm_low);
            emit.alu(A(SCRATCH), A(d), AluOp::Xor, right);
            low_difference = A(SCRATCH);
        }
        let mut high_difference = B(d + 1);
        if imm_high != 0 {
            let right = emit.constant(imm_high);
            emit.alu(B(SCRATCH), A(d + 1), AluOp::Xor, right);
            high_difference = B(SCRATCH);
        }
        emit.test(low_difference, AluOp::Or, high_difference);
        self.branch(Condition::Equal);
    }

    fn bits_of_constant(&mut self, width: Width, d: u8, imm_low: u32, imm_high: u32) {
        let emit = &mut self.translator.emit;
        let right = emit.constant(imm_low);
        emit.alu(B(SCRATCH), A(d), AluOp::And, right);
        // The upper half of a sign-extended constant is all zeros or all ones.
        if width == Width::W64 && imm_high == u32::MAX {
            emit.test(A(d + 1), AluOp::Or, B(SCRATCH));
        }
        self.branch(Condition::NotEqual);
    }
}
