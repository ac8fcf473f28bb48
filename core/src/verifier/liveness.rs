//! Which registers are read later: a backward analysis over the control flow of each function, so
//! that states are compared only in what matters (`compute_live_registers`).

use super::cfg::successors;
use super::prototype;
use crate::isa::{AtomicOp, CallTarget, Insn, Operand, Reg};

/// Registers as a set of bits: bit n for `rN`.
pub type RegisterSet = u16;

fn bit(reg: Reg) -> RegisterSet {
    1 << reg.index()
}

fn bit_of(operand: Operand) -> RegisterSet {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// Registers that an instruction reads, and those that it writes.
pub(super) fn uses_and_writes(insn: &Insn) -> (RegisterSet, RegisterSet) {
    match *insn {
        Insn::Alu { dst, src, .. } => (bit(dst) | bit_of(src), bit(dst)),
        Insn::Mov { dst, src, .. } => (bit_of(src), bit(dst)),
        Insn::MovSigned { dst, src, .. } => (bit(src), bit(dst)),
        Insn::Neg { dst, .. } | Insn::ByteSwap { dst, .. } => (bit(dst), bit(dst)),
        Insn::LoadImm64 { dst, .. } => (0, bit(dst)),
        Insn::Load { dst, base, .. } => (bit(base), bit(dst)),
        Insn::Store { base, src, .. } => (bit(base) | bit_of(src), 0),
        Insn::Atomic { op, base, src, .. } => {
            let uses = bit(base) | bit(src);
            match op {
                AtomicOp::CompareExchange => (uses | bit(Reg::R0), bit(Reg::R0)),
                AtomicOp::Exchange
                | AtomicOp::Add { fetch: true }
                | AtomicOp::Or { fetch: true }
                | AtomicOp::And { fetch: true }
                | AtomicOp::Xor { fetch: true } => (uses, bit(src)),
                AtomicOp::Add { .. }
                | AtomicOp::Or { .. }
                | AtomicOp::And { .. }
                | AtomicOp::Xor { .. } => (uses, 0),
            }
        }
        Insn::LoadPacket { .. } => (u16::MAX, 0),
        Insn::JumpIf { dst, src, .. } => (bit(dst) | bit_of(src), 0),
        Insn::Jump { .. } | Insn::MayGoto { .. } | Insn::WideTail => (0, 0),
        Insn::Call { target } => {
            let count = match target {
                CallTarget::Helper(number) => prototype::argument_count(number),
                CallTarget::Kernel(kfunc) => Some(kfunc.prototype().arguments.len() as u32),
                CallTarget::Local(_) | CallTarget::Kfunc { .. } => None,
            };
            ((2 << count.unwrap_or(5)) - 2, 0x3f)
        }
        Insn::Exit => (bit(Reg::R0), 0),
    }
}

/// Registers that are live before each instruction.
pub fn live_registers(insns: &[Insn]) -> Vec<RegisterSet> {
    let mut live = vec![0; insns.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for slot in (0..insns.len()).rev() {
            let after = successors(insns, slot).fold(0, |set, next| set | live[next]);
            let (uses, writes) = uses_and_writes(&insns[slot]);
            let before = (after & !writes) | uses;
            changed |= before != live[slot];
            live[slot] = before;
        }
    }
    live
}
