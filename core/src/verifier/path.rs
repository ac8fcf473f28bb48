//! The path that the verifier is on, step by step, with the values that each step worked on: kept
//! only on a run that is watched, to say later where a value came from.

use super::register::Register;
use super::state::State;
use crate::isa::{Insn, Operand, Reg};

/// Steps that are kept of a path; older ones are forgotten.
const MAX_STEPS: usize = 1 << 15;

/// One instruction of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathStep {
    pub(super) insn: usize,
    /// Index of the frame that it ran in.
    pub(super) frame: usize,
    /// The destination or base before it, and the source, where it has them.
    pub(super) left: Register,
    pub(super) right: Register,
    /// The destination after it: of calls, what they return.
    pub(super) result: Register,
}

/// The path at hand.
#[derive(Debug, Default)]
pub(super) struct Path {
    steps: Vec<PathStep>,
    /// Steps before those.
    forgotten: usize,
}

impl Path {
    pub(super) fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    pub(super) fn len(&self) -> usize {
        self.forgotten + self.steps.len()
    }

    /// Goes back to where the path had this length.
    pub(super) fn truncate(&mut self, length: usize) {
        self.steps.truncate(length.saturating_sub(self.forgotten));
        self.forgotten = self.forgotten.min(length);
    }

    /// An instruction is about to run.
    pub(super) fn before(&mut self, state: &State, insn: Insn, slot: usize) {
        if self.steps.len() == 2 * MAX_STEPS {
            self.steps.drain(..MAX_STEPS);
            self.forgotten += MAX_STEPS;
        }
        let (left, right) = operands(insn);
        let value =
            |reg: Option<Reg>| reg.map_or(Register::NOT_INIT, |reg| *state.reg(reg.index()));
        self.steps.push(PathStep {
            insn: slot,
            frame: state.current(),
            left: value(left),
            right: value(right),
            result: Register::NOT_INIT,
        });
    }

    /// It has run.
    pub(super) fn after(&mut self, state: &State, insn: Insn) {
        let result = match insn {
            Insn::Call { .. } | Insn::LoadPacket { .. } => Some(Reg::R0),
            Insn::Load { dst, .. } => Some(dst),
            _ => operands(insn).0,
        };
        if let (Some(step), Some(result)) = (self.steps.last_mut(), result) {
            step.result = *state.reg(result.index());
        }
    }
}

/// The register that an instruction changes or goes through, and the one that it takes.
fn operands(insn: Insn) -> (Option<Reg>, Option<Reg>) {
    let source = |src: Operand| match src {
        Operand::Reg(reg) => Some(reg),
        Operand::Imm(_) => None,
    };
    match insn {
        Insn::Alu { dst, src, .. } | Insn::Mov { dst, src, .. } | Insn::JumpIf { dst, src, .. } => {
            (Some(dst), source(src))
        }
        Insn::MovSigned { dst, src, .. } => (Some(dst), Some(src)),
        Insn::Neg { dst, .. } | Insn::ByteSwap { dst, .. } | Insn::LoadImm64 { dst, .. } => {
            (Some(dst), None)
        }
        Insn::Load { base, .. } => (Some(base), None),
        Insn::Store { base, src, .. } => (Some(base), source(src)),
        Insn::Atomic { base, src, .. } => (Some(base), Some(src)),
        Insn::WideTail
        | Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => (None, None),
    }
}
