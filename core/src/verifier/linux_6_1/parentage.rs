//! Who read what: in Linux 6.1 each register and stack slot points to its place in the remembered
//! state before it, and reads travel along these links until a write stops them (`mark_reg_read`).
//! What no later instruction read does not matter when states are compared; and a 32-bit result that
//! was read whole needs its upper half zeroed.

use crate::isa::{AtomicOp, CallTarget, Insn, Operand, PacketMode, Reg, Size, SwapWidth, Width};
use crate::verifier::explore::Verifier;
use crate::verifier::liveness::uses_and_writes;
use crate::verifier::prototype;
use crate::verifier::state::{State, StateId};

/// How much of a register was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    #[default]
    None,
    Half,
    Whole,
}

/// A register or a stack slot, by frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Register(usize, usize),
    Slot(usize, usize),
}

/// The marks of a register or of a stack slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    parent: Option<(StateId, Spot)>,
    pub(super) read: Read,
    written: bool,
}

/// The marks of a function's registers and stack.
#[derive(Clone, Debug, Default)]
pub(in crate::verifier) struct FrameMarks {
    registers: [Mark; 10],
    stack: Vec<Mark>,
}

impl State {
    pub(super) fn mark(&self, spot: Spot) -> Mark {
        match spot {
            Spot::Register(frame, index) => self.marks[frame].registers[index],
            Spot::Slot(frame, index) => {
                let mark = self.marks[frame].stack.get(index);
                mark.copied().unwrap_or_default()
            }
        }
    }

    fn mark_mut(&mut self, spot: Spot) -> &mut Mark {
        match spot {
            Spot::Register(frame, index) => &mut self.marks[frame].registers[index],
            Spot::Slot(frame, index) => {
                let stack = &mut self.marks[frame].stack;
                if stack.len() <= index {
                    stack.resize(index + 1, Mark::default());
                }
                &mut stack[index]
            }
        }
    }

    /// A function is entered: its arguments keep the links of the caller's registers.
    pub(in crate::verifier) fn enter_marks(&mut self) {
        let Some(caller) = self.marks.last_mut() else {
            return;
        };
        let mut callee = FrameMarks::default();
        callee.registers[1..6].copy_from_slice(&caller.registers[1..6]);
        for mark in &mut caller.registers[..6] {
            mark.written = true;
        }
        self.marks.push(callee);
    }

    /// A function is left: its result keeps its links.
    pub(in crate::verifier) fn leave_marks(&mut self) {
        let Some(callee) = self.marks.pop() else {
            return;
        };
        if let Some(caller) = self.marks.last_mut() {
            caller.registers[0] = callee.registers[0];
        }
    }

    /// The state was remembered as `id`: reads from here on go there. Of callers, only the registers
    /// that survive calls are linked.
    pub(in crate::verifier) fn link_marks(&mut self, id: StateId) {
        let current = self.marks.len().saturating_sub(1);
        for (frame, marks) in self.marks.iter_mut().enumerate() {
            let first = if frame < current { 6 } else { 0 };
            for (index, mark) in marks.registers.iter_mut().enumerate() {
                (mark.read, mark.written) = (Read::None, false);
                if index >= first {
                    mark.parent = Some((id, Spot::Register(frame, index)));
                }
            }
            let slots = self.frames[frame].stack.len();
            marks.stack.resize(slots, Mark::default());
            for (index, mark) in marks.stack.iter_mut().enumerate() {
                *mark = Mark {
                    parent: Some((id, Spot::Slot(frame, index))),
                    ..Mark::default()
                };
            }
        }
    }
}

impl Verifier<'_> {
    /// A register or slot of the state at hand is read.
    pub(super) fn read_spot(&mut self, spot: Spot, read: Read) {
        let mut mark = self.state.mark(spot);
        while let Some((state, spot)) = mark.parent.filter(|_| !mark.written) {
            let Some(known) = self.explored.get_mut(state).and_then(Option::as_mut) else {
                return;
            };
            let parent = known.state.mark_mut(spot);
            if parent.read >= read {
                return;
            }
            parent.read = read;
            mark = *parent;
        }
    }

    /// All eight bytes of the slot were stored: reads after it do not concern what was there before.
    pub(super) fn write_slot(&mut self, frame: usize, slot: usize) {
        self.state.mark_mut(Spot::Slot(frame, slot)).written = true;
    }

    /// The instruction at hand reads its operands and writes its result.
    pub(in crate::verifier) fn mark_operands(&mut self, insn: &Insn) {
        let current = self.state.current();
        for (reg, whole) in self.reads(insn).into_iter().flatten() {
            if reg == Reg::R10 {
                continue;
            }
            let spot = Spot::Register(current, reg.index());
            if whole {
                self.needs_zero_extension(reg.index());
                self.read_spot(spot, Read::Whole);
            } else {
                self.read_spot(spot, Read::Half);
            }
        }
        let written = match insn {
            Insn::LoadPacket { .. } => 0x3f,
            // The caller's registers are marked when the function is entered.
            Insn::Call {
                target: CallTarget::Local(_),
            } => 0,
            _ => uses_and_writes(insn).1,
        };
        for index in (0..10).filter(|index| written & (1 << index) != 0) {
            let mark = self.state.mark_mut(Spot::Register(current, index));
            mark.written = true;
        }
    }

    /// Registers that an instruction reads, and whether whole (`is_reg64`).
    #[expect(clippy::too_many_lines, reason = "one short arm for each instruction")]
    fn reads(&self, insn: &Insn) -> [Option<(Reg, bool)>; 5] {
        let reg = |operand: Operand, whole: bool| match operand {
            Operand::Reg(reg) => Some((reg, whole)),
            Operand::Imm(_) => None,
        };
        let wide = |width: Width| width == Width::W64;
        let stored = |src: Reg, size: Size| {
            let pointer = !self.state.reg(src.index()).is_scalar();
            Some((src, pointer || size == Size::DW))
        };
        match *insn {
            Insn::Alu {
                width, dst, src, ..
            }
            | Insn::JumpIf {
                width, dst, src, ..
            } => {
                let whole = wide(width);
                [reg(src, whole), Some((dst, whole)), None, None, None]
            }
            Insn::Mov { width, src, .. } => [reg(src, wide(width)), None, None, None, None],
            Insn::MovSigned { width, src, .. } => {
                [Some((src, wide(width))), None, None, None, None]
            }
            Insn::Neg { width, dst } => [Some((dst, wide(width))), None, None, None, None],
            Insn::ByteSwap { bits, dst, .. } => {
                [Some((dst, bits == SwapWidth::B64)), None, None, None, None]
            }
            Insn::Load { base, .. } => [Some((base, true)), None, None, None, None],
            Insn::Store {
                size, base, src, ..
            } => {
                let src = match src {
                    Operand::Reg(src) => stored(src, size),
                    Operand::Imm(_) => None,
                };
                [src, Some((base, true)), None, None, None]
            }
            Insn::Atomic {
                op,
                size,
                base,
                src,
                ..
            } => {
                let compared = op == AtomicOp::CompareExchange;
                let old = compared.then_some((Reg::R0, size == Size::DW));
                [stored(src, size), Some((base, true)), old, None, None]
            }
            Insn::LoadPacket { mode, .. } => {
                let index = match mode {
                    PacketMode::Indirect(src) => Some((src, true)),
                    PacketMode::Absolute => None,
                };
                [Some((Reg::R6, true)), index, None, None, None]
            }
            Insn::Call {
                target: CallTarget::Helper(number),
            } => {
                let count = prototype::argument_count(number).unwrap_or(0) as usize;
                let arguments = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];
                let mut reads = arguments.map(|reg| Some((reg, true)));
                reads[count..].fill(None);
                reads
            }
            Insn::Exit if self.state.current() == 0 => {
                [Some((Reg::R0, true)), None, None, None, None]
            }
            Insn::Call { .. }
            | Insn::Exit
            | Insn::Jump { .. }
            | Insn::MayGoto { .. }
            | Insn::LoadImm64 { .. }
            | Insn::WideTail => [None; 5],
        }
    }

    /// The instruction that wrote the register's low half has to zero the upper one
    /// (`mark_insn_zext`).
    fn needs_zero_extension(&mut self, register: usize) {
        let register = self.state.reg_mut(register);
        let written_at = std::mem::take(&mut register.half_written_at);
        if written_at != 0 {
            self.record_zero_extension(written_at as usize - 1);
        }
    }

    /// What paths from a state that covers the one at hand read, this one reads, too
    /// (`propagate_liveness`).
    pub(super) fn inherit_reads(&mut self, old: &State) {
        let current = self.state.current();
        for frame in 0..=current {
            let first = if frame < current { 6 } else { 0 };
            for index in first..10 {
                let spot = Spot::Register(frame, index);
                let inherited = self.inherit_read(old, spot);
                if inherited == Read::Whole {
                    let register = &mut self.state.frames[frame].registers[index];
                    let written_at = std::mem::take(&mut register.half_written_at);
                    if written_at != 0 {
                        self.record_zero_extension(written_at as usize - 1);
                    }
                }
            }
            let slots = old.frames[frame].stack.len();
            for index in 0..slots.min(self.state.frames[frame].stack.len()) {
                self.inherit_read(old, Spot::Slot(frame, index));
            }
        }
    }

    fn inherit_read(&mut self, old: &State, spot: Spot) -> Read {
        let read = old.mark(spot).read;
        let mark = self.state.mark_mut(spot);
        if mark.read == Read::Whole || read == Read::None || mark.read == read {
            return Read::None;
        }
        mark.read = read;
        self.read_spot(spot, read);
        read
    }
}
