//! Which numbers matter, as Linux 6.1 finds out: one register or slot at a time, in one frame, and
//! only through the stack as the frame pointer reaches it (`__mark_chain_precision`).

use crate::isa::{AtomicOp, CallTarget, Insn, Operand, Reg};
use crate::verifier::explore::Verifier;
use crate::verifier::precision::previous;
use crate::verifier::state::{Frame, Slot, State, StateId};

use super::parentage::{Read, Spot};

/// What is looked for in one frame.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wanted {
    registers: u16,
    slots: u64,
}

/// The walk back cannot tell where a number comes from.
struct Lost;

fn bit(reg: Reg) -> u16 {
    1 << reg.index()
}

/// The slot that an access through the frame pointer reaches.
fn slot_of(base: Reg, off: i16) -> Option<u64> {
    let slot = (-i64::from(off) - 1) / 8;
    (base == Reg::R10 && (0..64).contains(&slot)).then(|| 1 << slot)
}

impl Wanted {
    const NOTHING: Self = Self {
        registers: 0,
        slots: 0,
    };

    fn has(self, reg: Reg) -> bool {
        self.registers & bit(reg) != 0
    }

    fn want(&mut self, src: Operand) {
        if let Operand::Reg(src) = src {
            self.registers |= bit(src);
        }
    }

    /// Goes back over one instruction (`backtrack_insn`).
    fn back(&mut self, insn: &Insn) -> Result<(), Lost> {
        match *insn {
            Insn::Alu { dst, src, .. } if self.has(dst) => self.want(src),
            Insn::Mov { dst, src, .. } if self.has(dst) => {
                self.registers &= !bit(dst);
                self.want(src);
            }
            Insn::MovSigned { dst, src, .. } if self.has(dst) => {
                self.registers &= !bit(dst);
                self.registers |= bit(src);
            }
            Insn::LoadImm64 { dst, .. } => self.registers &= !bit(dst),
            Insn::Load { dst, base, off, .. } if self.has(dst) => self.load(dst, base, off),
            Insn::Store { base, off, src, .. } => self.store(base, off, src)?,
            Insn::Atomic {
                op, base, off, src, ..
            } => self.atomic(op, base, off, src)?,
            Insn::LoadPacket { .. } if self.has(Reg::R0) => return Err(Lost),
            Insn::JumpIf {
                dst,
                src: Operand::Reg(src),
                ..
            } if self.has(dst) || self.has(src) => self.registers |= bit(dst) | bit(src),
            Insn::Exit
            | Insn::Call {
                target: CallTarget::Local(_) | CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
            } => return Err(Lost),
            Insn::Call {
                target: CallTarget::Helper(_),
            } => self.registers &= !bit(Reg::R0),
            Insn::Alu { .. }
            | Insn::Mov { .. }
            | Insn::MovSigned { .. }
            | Insn::Neg { .. }
            | Insn::ByteSwap { .. }
            | Insn::WideTail
            | Insn::Load { .. }
            | Insn::LoadPacket { .. }
            | Insn::Jump { .. }
            | Insn::JumpIf { .. }
            | Insn::MayGoto { .. } => {}
        }
        Ok(())
    }

    fn load(&mut self, dst: Reg, base: Reg, off: i16) {
        self.registers &= !bit(dst);
        self.slots |= slot_of(base, off).unwrap_or(0);
    }

    fn store(&mut self, base: Reg, off: i16, src: Operand) -> Result<(), Lost> {
        if self.has(base) {
            return Err(Lost);
        }
        let slot = slot_of(base, off).filter(|slot| self.slots & slot != 0);
        if let Some(slot) = slot {
            self.slots &= !slot;
            self.want(src);
        }
        Ok(())
    }

    fn atomic(&mut self, op: AtomicOp, base: Reg, off: i16, src: Reg) -> Result<(), Lost> {
        let loaded = match op {
            AtomicOp::CompareExchange => Reg::R0,
            AtomicOp::Exchange
            | AtomicOp::Add { fetch: true }
            | AtomicOp::Or { fetch: true }
            | AtomicOp::And { fetch: true }
            | AtomicOp::Xor { fetch: true } => src,
            AtomicOp::Add { .. }
            | AtomicOp::Or { .. }
            | AtomicOp::And { .. }
            | AtomicOp::Xor { .. } => return self.store(base, off, Operand::Reg(src)),
        };
        if self.has(loaded) {
            self.load(loaded, base, off);
        }
        Ok(())
    }
}

impl Verifier<'_> {
    /// The program's safety rests on the number in this register.
    pub(in crate::verifier) fn mark_precise_6_1(&mut self, register: usize) {
        self.mark_spot_precise(Spot::Register(self.state.current(), register));
    }

    /// The program's safety rests on a register or a slot of the state at hand.
    fn mark_spot_precise(&mut self, spot: Spot) {
        let mut wanted = Wanted::NOTHING;
        let frame = match spot {
            Spot::Register(frame, index) => {
                let known = &self.state.frames[frame].registers[index];
                wanted.registers = u16::from(known.is_scalar()) << index;
                frame
            }
            Spot::Slot(frame, index) => {
                let slot = self.state.frames[frame].stack.get(index);
                let known = slot.is_some_and(Slot::is_spilled_scalar);
                wanted.slots = u64::from(known) << index;
                frame
            }
        };
        if wanted == Wanted::NOTHING {
            return;
        }
        let mut at: Option<StateId> = None;
        let (mut slot, mut skip) = (self.state.insn as i64, true);
        loop {
            let Some(state) = self.state_at(at) else {
                return;
            };
            let walked = self.walk_stretch(state, &mut wanted, slot, &mut skip);
            let parent = state.parent;
            if walked.is_err() {
                self.mark_ancestors_precise(parent);
                return;
            }
            let Some(id) = parent.filter(|_| wanted != Wanted::NOTHING) else {
                return;
            };
            let known = &mut self.explored_mut(id).state;
            let (first, grandparent) = (known.last_insn, known.parent);
            match mark_frame(&mut known.frames[frame], &mut wanted) {
                Ok(true) => (slot, at) = (first, Some(id)),
                Ok(false) => return,
                Err(Lost) => {
                    self.mark_ancestors_precise(grandparent);
                    return;
                }
            }
        }
    }

    fn state_at(&self, at: Option<StateId>) -> Option<&State> {
        match at {
            None => Some(&self.state),
            Some(id) => self.explored[id].as_deref().map(|known| &known.state),
        }
    }

    /// Goes back to the start of a state's stretch.
    fn walk_stretch(
        &self,
        state: &State,
        wanted: &mut Wanted,
        mut slot: i64,
        skip: &mut bool,
    ) -> Result<(), Lost> {
        let mut left = state.history.len();
        loop {
            let Some(insn) = usize::try_from(slot)
                .ok()
                .and_then(|slot| self.program.insns.get(slot))
            else {
                return Ok(());
            };
            if !std::mem::take(skip) {
                wanted.back(insn)?;
            }
            if *wanted == Wanted::NOTHING {
                return Ok(());
            }
            match previous(state, slot, &mut left) {
                Some(previous) => slot = previous,
                None => return Ok(()),
            }
        }
    }

    /// Gives up: every number in a state and those before it matters.
    fn mark_ancestors_precise(&mut self, mut parent: Option<StateId>) {
        while let Some(id) = parent {
            let state = &mut self.explored_mut(id).state;
            parent = state.parent;
            for register in state.all_registers().filter(|known| known.is_scalar()) {
                register.precise = true;
            }
        }
    }

    /// What mattered in a state that covers the one at hand matters in this one, too.
    pub(super) fn inherit_precision(&mut self, old: &State) {
        for (frame, known) in old.frames.iter().enumerate().rev() {
            for (index, register) in known.registers[..10].iter().enumerate() {
                let spot = Spot::Register(frame, index);
                let matters = register.is_scalar() && register.precise;
                if matters && old.mark(spot).read != Read::None {
                    self.mark_spot_precise(spot);
                }
            }
            for (index, slot) in known.stack.iter().enumerate() {
                let spot = Spot::Slot(frame, index);
                let matters = slot.is_spilled_scalar() && slot.spilled.precise;
                if matters && old.mark(spot).read != Read::None {
                    self.mark_spot_precise(spot);
                }
            }
        }
    }
}

/// Marks what is wanted in a remembered state. Says whether there is more to look for.
fn mark_frame(frame: &mut Frame, wanted: &mut Wanted) -> Result<bool, Lost> {
    let mut any = false;
    for (index, register) in frame.registers.iter_mut().enumerate() {
        let bit = 1 << index;
        if wanted.registers & bit == 0 {
            continue;
        }
        if register.is_scalar() {
            any |= !register.precise;
            register.precise = true;
        } else {
            wanted.registers &= !bit;
        }
    }
    for index in 0..64 {
        let bit = 1_u64 << index;
        if wanted.slots & bit == 0 {
            continue;
        }
        let Some(slot) = frame.stack.get_mut(index) else {
            return Err(Lost);
        };
        if slot.is_spilled_scalar() {
            any |= !slot.spilled.precise;
            slot.spilled.precise = true;
        } else {
            wanted.slots &= !bit;
        }
    }
    Ok(any && *wanted != Wanted::NOTHING)
}
