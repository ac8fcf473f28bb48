//! Programs that were classic BPF start with `r6 = r1`, which is not needed: no access to the
//! context uses the register.

use iom_core::isa::{AluOp, Insn, Operand, Reg, Width};

use crate::translate::step::Step;

pub(super) fn skip_context_copy(steps: &mut [Step<'_>]) {
    for step in steps {
        match step.insn {
            Insn::Alu {
                op: AluOp::Xor,
                width: Width::W64,
                dst,
                src: Operand::Reg(src),
            } if dst == src => continue,
            Insn::Mov {
                width: Width::W64,
                dst: Reg::R6,
                src: Operand::Reg(Reg::R1),
            } => step.merged = true,
            _ => {}
        }
        if !step.is_skipped() {
            return;
        }
    }
}
