//! Writes a program: instructions, jumps that are completed later, and the choice of registers.

use super::model::{Holds, Model};
use super::random::Random;
use crate::isa::{AluOp, CallTarget, Condition, Imm64, Insn, Operand, Reg, Size, Width};
use crate::module::ProgramType;

/// A jump whose target is not written yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a jump needs a target"]
pub(super) struct Pending(usize);

/// A program that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) random: Random,
    pub(super) program_type: ProgramType,
    pub(super) insns: Vec<Insn>,
    pub(super) model: Model,
    /// How many of a hundred decisions are wrong on purpose.
    pub(super) slips: u32,
    /// Jumps to the end of the function.
    pub(super) early_exits: Vec<Pending>,
    /// Arguments of functions that are called, in order.
    pub(super) functions: Vec<Vec<Holds>>,
    /// Calls of functions: slot of the call and function.
    pub(super) calls: Vec<(usize, usize)>,
    /// Function that is being written.
    pub(super) function: usize,
    /// A reference is held, so that the function must not end here.
    pub(super) holds_reference: bool,
}

impl Writer {
    /// Whether to do the next thing wrong.
    pub(super) fn slip(&mut self) -> bool {
        let slips = self.slips;
        self.random.chance(slips)
    }

    pub(super) fn emit(&mut self, insn: Insn) {
        self.insns.push(insn);
        if matches!(insn, Insn::LoadImm64 { .. }) {
            self.insns.push(Insn::WideTail);
        }
    }

    pub(super) fn mov(&mut self, dst: Reg, src: Reg) {
        self.emit(Insn::Mov {
            width: Width::W64,
            dst,
            src: Operand::Reg(src),
        });
        self.model.set(dst, self.model.of(src));
    }

    pub(super) fn set_number(&mut self, dst: Reg, number: i32) {
        self.emit(Insn::Mov {
            width: Width::W64,
            dst,
            src: Operand::Imm(number),
        });
        self.model.set(dst, Holds::Number);
    }

    pub(super) fn add(&mut self, dst: Reg, src: Operand) {
        self.emit(Insn::Alu {
            op: AluOp::Add,
            width: Width::W64,
            dst,
            src,
        });
    }

    pub(super) fn load(&mut self, size: Size, dst: Reg, base: Reg, off: i64) {
        self.emit(Insn::Load {
            size,
            signed: false,
            dst,
            base,
            off: off as i16,
        });
    }

    pub(super) fn store(&mut self, size: Size, base: Reg, off: i64, src: Operand) {
        self.emit(Insn::Store {
            size,
            base,
            off: off as i16,
            src,
        });
    }

    pub(super) fn load_wide(&mut self, dst: Reg, value: Imm64, holds: Holds) {
        self.emit(Insn::LoadImm64 { dst, value });
        self.model.set(dst, holds);
    }

    /// Calls a helper, which leaves this in `r0`.
    pub(super) fn call(&mut self, helper: u32, result: Holds) {
        self.emit(Insn::Call {
            target: CallTarget::Helper(helper),
        });
        self.model.after_call();
        self.model.set(Reg::R0, result);
    }

    /// A conditional jump to somewhere ahead.
    pub(super) fn jump_if(
        &mut self,
        cond: Condition,
        width: Width,
        dst: Reg,
        src: Operand,
    ) -> Pending {
        self.emit(Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off: 0,
        });
        Pending(self.insns.len() - 1)
    }

    /// A jump to somewhere ahead.
    pub(super) fn jump(&mut self) -> Pending {
        let long = self.random.chance(5);
        self.emit(Insn::Jump { off: 0, long });
        Pending(self.insns.len() - 1)
    }

    /// A pending jump goes to what is written next.
    pub(super) fn land(&mut self, pending: Pending) {
        let distance = self.insns.len() - pending.0 - 1;
        self.set_distance(pending, distance as i64);
    }

    /// A jump that was just written goes back.
    pub(super) fn go_back(&mut self, pending: Pending, target: usize) {
        let distance = target as i64 - pending.0 as i64 - 1;
        self.set_distance(pending, distance);
    }

    fn set_distance(&mut self, pending: Pending, distance: i64) {
        match &mut self.insns[pending.0] {
            Insn::JumpIf { off, .. } | Insn::MayGoto { off } => *off = distance as i16,
            Insn::Jump { off, .. } => *off = distance as i32,
            other => unreachable!("{other:?} is no jump"),
        }
    }

    /// The last instruction, as a jump to complete.
    pub(super) fn last_as_jump(&self) -> Pending {
        Pending(self.insns.len() - 1)
    }

    /// What happens where a check fails: the function ends, or only what is behind the check is
    /// left out. The statements of `body` are those behind the check.
    pub(super) fn guarded(
        &mut self,
        failed: Pending,
        mut before: Model,
        body: impl FnOnce(&mut Self),
    ) {
        if self.holds_reference || self.random.chance(50) {
            body(self);
            self.land(failed);
            before.reserved = self.model.reserved;
            self.model.join(&before);
        } else {
            self.early_exits.push(failed);
            body(self);
        }
    }

    /// Any register, whatever it holds.
    pub(super) fn any_register(&mut self) -> Reg {
        let number = self.random.below(Reg::COUNT);
        Reg::new(number as u8).expect("a register")
    }

    /// A register that may be overwritten, other than these.
    pub(super) fn free_register(&mut self, but: &[Reg]) -> Reg {
        if self.slip() {
            return self.any_register();
        }
        loop {
            let reg = self.any_register();
            if reg != Reg::R10 && !but.contains(&reg) && !self.model.is_reserved(reg) {
                return reg;
            }
        }
    }

    /// A register that holds what is asked for.
    pub(super) fn holding(&mut self, wanted: impl Fn(Holds) -> bool) -> Option<Reg> {
        let registers = (0..10).filter_map(Reg::new);
        let found: Vec<_> = registers
            .filter(|reg| wanted(self.model.of(*reg)))
            .collect();
        (!found.is_empty()).then(|| *self.random.pick(&found))
    }

    /// A register with a number, which is made if there is none.
    pub(super) fn number(&mut self, but: &[Reg]) -> Reg {
        if self.slip() {
            return self.any_register();
        }
        let found = self.holding(|holds| holds == Holds::Number);
        if let Some(found) = found.filter(|found| !but.contains(found)) {
            return found;
        }
        let reg = self.free_register(but);
        let number = self.random.immediate();
        self.set_number(reg, number);
        reg
    }

    /// A register with a number that may be changed.
    pub(super) fn free_number(&mut self, but: &[Reg]) -> Reg {
        let number = self.number(but);
        if !self.model.is_reserved(number) && number != Reg::R10 {
            return number;
        }
        let copy = self.free_register(but);
        self.mov(copy, number);
        copy
    }

    /// A number or a constant.
    pub(super) fn operand(&mut self) -> Operand {
        if self.random.chance(50) {
            Operand::Imm(self.random.immediate())
        } else {
            Operand::Reg(self.number(&[]))
        }
    }

    pub(super) fn size(&mut self) -> Size {
        *self.random.pick(&[Size::B, Size::H, Size::W, Size::DW])
    }

    /// Makes a number lie below a power of two, in one of the ways that programs do it; where it
    /// is compared, the path of larger numbers is left pending.
    pub(super) fn bound(&mut self, number: Reg, below: i64) -> Option<Pending> {
        let limit = if self.slip() { below * 4 } else { below } as i32;
        let width = *self.random.pick(&[Width::W32, Width::W64]);
        match self.random.below(4) {
            0 => {
                let (cond, limit) = *self
                    .random
                    .pick(&[(Condition::Gt, limit - 1), (Condition::Ge, limit)]);
                Some(self.jump_if(cond, Width::W64, number, Operand::Imm(limit)))
            }
            1 if limit.count_ones() == 1 => {
                self.emit(Insn::Alu {
                    op: AluOp::Mod,
                    width,
                    dst: number,
                    src: Operand::Imm(limit),
                });
                None
            }
            2 if limit.count_ones() == 1 => {
                let shift = 64 - limit.trailing_zeros() as i32;
                self.emit(Insn::Alu {
                    op: AluOp::Rsh,
                    width: Width::W64,
                    dst: number,
                    src: Operand::Imm(shift.min(63)),
                });
                None
            }
            _ => {
                let mask = (limit as u32).next_power_of_two() as i32 - 1;
                let mask = if mask < limit { mask } else { mask >> 1 };
                self.emit(Insn::Alu {
                    op: AluOp::And,
                    width,
                    dst: number,
                    src: Operand::Imm(mask),
                });
                None
            }
        }
    }
}
