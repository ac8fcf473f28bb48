//! Precision: when the program's safety rests on the value of a number, all numbers that it was
//! made of matter, too, back through the path; only those are compared when paths are pruned
//! (`mark_chain_precision`).

use super::callback::calls_back;
use super::explore::Verifier;
use super::function::FunctionInfo;
use super::state::{Place, State, StateId, Step};
use crate::isa::{CallTarget, Insn, KernelText, Operand, Reg};
use crate::module::Program;

/// Registers and stack slots that are looked for, by frame.
struct Wanted {
    frame: usize,
    registers: Vec<u16>,
    slots: Vec<u64>,
}

/// The walk back cannot tell where a number comes from.
struct Lost;

/// The program that is walked over.
struct Code<'a> {
    insns: &'a [Insn],
    program: &'a Program,
    functions: &'a [FunctionInfo],
}

impl Code<'_> {
    /// Whether the function that is called was not entered, because it is verified on its own.
    fn calls_global(&self, slot: usize) -> bool {
        let target = self.insns[slot].function_target(slot).unwrap_or(0);
        let function = self.program.function_of(target as usize);
        self.functions[function].global
    }
}

impl Wanted {
    fn new(frame: usize) -> Self {
        Self {
            frame,
            registers: vec![0; 8],
            slots: vec![0; 8],
        }
    }

    fn is_empty(&self) -> bool {
        self.registers.iter().all(|set| *set == 0) && self.slots.iter().all(|set| *set == 0)
    }

    /// What is wanted of a frame, in the kernel's words.
    fn text(&self, frame: usize) -> String {
        let registers = names(self.registers[frame].into(), |index| format!("r{index}"));
        let slots = names(self.slots[frame], |index| format!("-{}", 8 * (index + 1)));
        format!("regs={registers} stack={slots}")
    }

    fn has(&self, reg: Reg) -> bool {
        self.registers[self.frame] & (1 << reg.index()) != 0
    }

    fn want(&mut self, reg: Reg) {
        if reg != Reg::R10 {
            self.registers[self.frame] |= 1 << reg.index();
        }
    }

    fn drop(&mut self, reg: Reg) {
        self.registers[self.frame] &= !(1 << reg.index());
    }

    fn has_place(&self, place: Place) -> bool {
        if place.spilled {
            self.slots[place.frame] & (1 << place.index) != 0
        } else {
            self.registers[place.frame] & (1 << place.index) != 0
        }
    }

    /// Numbers that learnt from each other matter together.
    fn sync_linked(&mut self, step: Option<&Step>) {
        let Some(step) = step.filter(|step| step.linked.iter().any(|place| self.has_place(*place)))
        else {
            return;
        };
        for place in &step.linked {
            if place.spilled {
                self.slots[place.frame] |= 1 << place.index;
            } else {
                self.registers[place.frame] |= 1 << place.index;
            }
        }
    }

    /// Goes back over one instruction.
    fn back(
        &mut self,
        insn: &Insn,
        slot: usize,
        after: i64,
        step: Option<&Step>,
        code: &Code<'_>,
    ) -> Result<(), Lost> {
        if *insn == Insn::WideTail {
            return Ok(());
        }
        self.sync_linked(step);
        self.back_over(insn, slot, after, step, code)?;
        self.sync_linked(step);
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "one short arm for each instruction")]
    fn back_over(
        &mut self,
        insn: &Insn,
        slot: usize,
        after: i64,
        step: Option<&Step>,
        code: &Code<'_>,
    ) -> Result<(), Lost> {
        let stack = step.and_then(|step| step.stack);
        match *insn {
            Insn::Alu { dst, src, .. } => {
                if let (true, Operand::Reg(src)) = (self.has(dst), src) {
                    self.want(src);
                }
            }
            Insn::Mov { dst, src, .. } => {
                if self.has(dst) {
                    self.drop(dst);
                    if let Operand::Reg(src) = src {
                        self.want(src);
                    }
                }
            }
            Insn::MovSigned { dst, src, .. } => {
                if self.has(dst) {
                    self.drop(dst);
                    self.want(src);
                }
            }
            Insn::LoadImm64 { dst, .. } => self.drop(dst),
            Insn::Load { dst, .. } => {
                if self.has(dst) {
                    self.drop(dst);
                    if let Some((frame, slot)) = stack {
                        self.slots[frame] |= 1 << slot;
                    }
                }
            }
            Insn::Store { base, src, .. } => {
                if self.has(base) {
                    return Err(Lost);
                }
                if let Some((frame, slot)) = stack
                    && self.slots[frame] & (1 << slot) != 0
                {
                    self.slots[frame] &= !(1 << slot);
                    if let Operand::Reg(src) = src {
                        self.want(src);
                    }
                }
            }
            Insn::Atomic { base, src, .. } => {
                if self.has(base) {
                    return Err(Lost);
                }
                if let Some((frame, slot)) = stack
                    && self.slots[frame] & (1 << slot) != 0
                {
                    self.slots[frame] &= !(1 << slot);
                    self.want(src);
                }
            }
            Insn::LoadPacket { .. } => {
                if self.has(Reg::R0) {
                    return Err(Lost);
                }
                if after != slot as i64 + 1 {
                    self.enter()?;
                }
            }
            Insn::JumpIf {
                dst,
                src: Operand::Reg(src),
                ..
            } => {
                if self.has(dst) || self.has(src) {
                    if !step.is_some_and(|step| step.src_is_stack) {
                        self.want(src);
                    }
                    if !step.is_some_and(|step| step.dst_is_stack) {
                        self.want(dst);
                    }
                }
            }
            Insn::Call { target } => self.back_over_call(target, slot, after, code)?,
            Insn::Exit => self.back_into_function(after, code.insns)?,
            Insn::Neg { .. }
            | Insn::ByteSwap { .. }
            | Insn::WideTail
            | Insn::Jump { .. }
            | Insn::JumpIf { .. }
            | Insn::MayGoto { .. } => {}
        }
        Ok(())
    }

    fn back_over_call(
        &mut self,
        target: CallTarget,
        slot: usize,
        after: i64,
        code: &Code<'_>,
    ) -> Result<(), Lost> {
        const ARGUMENTS: u16 = 0x3e;
        let insn = &code.insns[slot];
        let into_callback = calls_back(insn) && slot as i64 != after - 1;
        let local = matches!(target, CallTarget::Local(_)) && !code.calls_global(slot);
        if !local && !into_callback {
            self.drop(Reg::R0);
            return Ok(());
        }
        if self.frame == 0 {
            return Err(Lost);
        }
        if into_callback {
            // What a callback is handed was made by the helper.
            self.registers[self.frame] = 0;
            self.frame -= 1;
            return Ok(());
        }
        // Out of the callee at its start: what it was handed.
        let arguments = self.registers[self.frame] & ARGUMENTS;
        self.registers[self.frame] = 0;
        self.frame -= 1;
        self.registers[self.frame] |= arguments;
        Ok(())
    }

    fn back_into_function(&mut self, after: i64, insns: &[Insn]) -> Result<(), Lost> {
        let call = usize::try_from(after - 1)
            .ok()
            .and_then(|slot| insns.get(slot));
        let called = matches!(
            call,
            Some(Insn::Call {
                target: CallTarget::Local(_)
            })
        );
        let result = called && self.has(Reg::R0);
        self.drop(Reg::R0);
        self.enter()?;
        if result {
            self.want(Reg::R0);
        }
        Ok(())
    }

    /// Into the function that was left last.
    fn enter(&mut self) -> Result<(), Lost> {
        if self.frame + 1 >= self.registers.len() {
            return Err(Lost);
        }
        self.frame += 1;
        Ok(())
    }
}

/// The instruction before one on a path, and how much of the history is left.
pub(super) fn previous(state: &State, slot: i64, left: &mut usize) -> Option<i64> {
    let last = left.checked_sub(1).map(|index| &state.history[index]);
    if slot == state.first_insn as i64 {
        let only = *left == 1 && i64::from(state.history[0].insn) == slot;
        if *left == 0 || only {
            return None;
        }
    }
    match last {
        Some(step) if i64::from(step.insn) == slot => {
            *left -= 1;
            Some(step.previous)
        }
        _ => Some(slot - 1),
    }
}

impl Verifier<'_> {
    /// The program's safety rests on the number in this register.
    pub(super) fn mark_precise(&mut self, register: usize) {
        if self.options.rules.are_6_1() {
            return self.mark_precise_6_1(register);
        }
        let mut wanted = Wanted::new(self.state.current());
        if !self.state.reg(register).is_scalar() {
            return;
        }
        wanted.registers[wanted.frame] |= 1 << register;
        self.mark_chain(wanted, None);
    }

    /// The program's safety rests on the number in this stack slot.
    pub(super) fn mark_slot_precise(&mut self, frame: usize, slot: usize) {
        let mut wanted = Wanted::new(self.state.current());
        wanted.slots[frame] |= 1 << slot;
        self.mark_chain(wanted, None);
    }

    /// What mattered in a state that covers the one at hand matters in this one, too.
    pub(super) fn propagate_precision(&mut self, old: &State, changed: Option<&mut bool>) {
        let mut wanted = Wanted::new(self.state.current());
        for (index, frame) in old.frames.iter().enumerate().rev() {
            for (register, known) in frame.registers[..10].iter().enumerate() {
                if known.is_scalar() && known.precise {
                    wanted.registers[index] |= 1 << register;
                }
            }
            for (slot, known) in frame.stack.iter().enumerate() {
                if known.is_spilled_scalar() && known.spilled.precise {
                    wanted.slots[index] |= 1 << slot;
                }
            }
            self.log_propagated(index, &wanted);
        }
        self.mark_chain(wanted, changed);
    }

    fn mark_chain(&mut self, mut wanted: Wanted, changed: Option<&mut bool>) {
        if wanted.is_empty() {
            return;
        }
        let mut any = false;
        let mut at: Option<StateId> = None;
        let (mut slot, mut after, mut skip) = (self.state.insn as i64, -1, true);
        loop {
            let state = match at {
                None => &self.state,
                Some(id) => match self.explored[id].as_deref() {
                    Some(known) => &known.state,
                    None => break,
                },
            };
            self.with_log(|log| {
                log.note(format_args!(
                    "mark_precise: frame{}: last_idx {slot} first_idx {} subseq_idx {after} ",
                    wanted.frame, state.first_insn
                ));
            });
            let done = self.walk_back(state, &mut wanted, &mut slot, &mut after, &mut skip);
            let (parent, first) = (state.parent, state.first_insn as i64);
            match done {
                Err(Lost) => {
                    self.mark_all_precise();
                    break;
                }
                Ok(()) if wanted.is_empty() => break,
                Ok(()) => {}
            }
            let Some(parent) = parent else {
                if !wanted.is_empty() {
                    self.mark_all_precise();
                }
                break;
            };
            any |= mark_state(&mut self.explored_mut(parent).state, &mut wanted);
            self.log_parent(parent, &wanted);
            if wanted.is_empty() {
                break;
            }
            after = first;
            slot = self.explored_mut(parent).state.last_insn;
            at = Some(parent);
        }
        if let Some(changed) = changed {
            *changed |= any;
        }
    }

    /// Goes back to the start of a state's stretch.
    fn walk_back(
        &self,
        state: &State,
        wanted: &mut Wanted,
        slot: &mut i64,
        after: &mut i64,
        skip: &mut bool,
    ) -> Result<(), Lost> {
        let code = Code {
            insns: &self.program.insns,
            program: self.program,
            functions: &self.functions,
        };
        let mut left = state.history.len();
        if *slot < 0 {
            return Ok(());
        }
        loop {
            if *skip {
                *skip = false;
            } else {
                let step = left.checked_sub(1).map(|index| &state.history[index]);
                let step = step.filter(|step| i64::from(step.insn) == *slot);
                let Some(insn) = code.insns.get(*slot as usize) else {
                    return Err(Lost);
                };
                self.log_step_back(*slot, insn, wanted);
                wanted.back(insn, *slot as usize, *after, step, &code)?;
            }
            if wanted.is_empty() {
                return Ok(());
            }
            *after = *slot;
            match previous(state, *slot, &mut left) {
                Some(previous) if previous >= 0 => *slot = previous,
                _ => return Ok(()),
            }
        }
    }

    fn log_propagated(&self, frame: usize, wanted: &Wanted) {
        self.with_log(|log| {
            let registers = names(wanted.registers[frame].into(), |index| format!("r{index}"));
            let slots = names(wanted.slots[frame], |index| {
                format!("fp-{}", 8 * (index + 1))
            });
            let all: Vec<_> = [registers, slots]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect();
            if !all.is_empty() {
                log.note(format_args!("frame {frame}: propagating {}", all.join(",")));
            }
        });
    }

    fn log_step_back(&self, slot: i64, insn: &Insn, wanted: &Wanted) {
        if *insn == Insn::WideTail {
            return;
        }
        self.with_log(|log| {
            log.note(format_args!(
                "mark_precise: frame{}: {} before {slot}: {}",
                wanted.frame,
                wanted.text(wanted.frame),
                KernelText(*insn)
            ));
        });
    }

    /// What is still wanted of a remembered state, frame by frame.
    fn log_parent(&self, parent: StateId, wanted: &Wanted) {
        self.with_log(|log| {
            let Some(known) = self.explored[parent].as_deref() else {
                return;
            };
            for frame in (0..=wanted.frame).rev() {
                let words = format!(
                    "mark_precise: frame{frame}: parent state {}: ",
                    wanted.text(frame)
                );
                log.named_state(&self.maps, &words, &known.state, frame);
            }
        });
    }

    /// Gives up: every number on the way here matters.
    fn mark_all_precise(&mut self) {
        self.with_log(|log| {
            log.note(format_args!(
                "mark_precise: frame{}: falling back to forcing all scalars precise",
                self.state.current()
            ));
        });
        let mut parent = self.state.parent;
        while let Some(id) = parent {
            let state = &mut self.explored_mut(id).state;
            parent = state.parent;
            for register in state
                .all_registers()
                .filter(|register| register.is_scalar())
            {
                register.precise = true;
            }
        }
    }
}

/// The members of a set, with commas between them.
fn names(set: u64, name: impl Fn(u32) -> String) -> String {
    let members = (0..64).filter(|index| set & (1 << index) != 0);
    members.map(name).collect::<Vec<_>>().join(",")
}

/// Marks what is wanted in a remembered state; what is no number, or marked already, is no longer
/// wanted. Says whether a mark is new.
fn mark_state(state: &mut State, wanted: &mut Wanted) -> bool {
    let mut any = false;
    for (index, frame) in state.frames.iter_mut().enumerate() {
        for (register, known) in frame.registers[..10].iter_mut().enumerate() {
            let bit = 1 << register;
            if wanted.registers[index] & bit == 0 {
                continue;
            }
            if !known.is_scalar() || known.precise {
                wanted.registers[index] &= !bit;
            } else {
                known.precise = true;
                any = true;
            }
        }
        for slot in 0..64 {
            let bit = 1_u64 << slot;
            if wanted.slots[index] & bit == 0 {
                continue;
            }
            match frame
                .stack
                .get_mut(slot)
                .filter(|slot| slot.is_spilled_scalar())
            {
                Some(known) if !known.spilled.precise => {
                    known.spilled.precise = true;
                    any = true;
                }
                _ => wanted.slots[index] &= !bit,
            }
        }
    }
    any
}
