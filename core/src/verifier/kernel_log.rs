//! The log of a verification in the kernel's words: at level 2 all paths with what changes at each
//! instruction, at level 1 the path that failed (`do_check` and kernel/bpf/log.c of 6.18). Not in
//! it are the kernel's notes about stack liveness.

use std::fmt::Write;

use super::explore::{MAX_PROCESSED, Verifier};
use super::liveness::RegisterSet;
use super::maps::Maps;
use super::register::Kind;
use super::report::Verification;
use super::state::{MAX_STACK, SLOT, Slot, State};
use super::state_text::{Shown, StateText, changed_slots};
use crate::helper::{self, Argument};
use crate::isa::{CallTarget, Insn, KernelText, Operand, PacketMode, Reg};
use crate::module::Program;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// The path that failed.
    FailedPath,
    /// All paths.
    AllPaths,
}

/// The log as it grows.
#[derive(Debug)]
pub(super) struct KernelLog {
    level: LogLevel,
    text: String,
    /// Where the last instruction's line ended, and how long it is with its line's end.
    insn_end: usize,
    insn_length: usize,
    /// File and line of the source line that was printed last.
    source: Option<usize>,
    /// What changed since the state was printed last.
    touched: Shown,
    /// The path was just taken up, or a function has returned.
    resumed: bool,
    /// The states of an endless loop.
    loop_states: String,
    /// Before the instruction at hand: the stack of its frame, and how many frames there are.
    stack: Vec<Slot>,
    frames: usize,
    /// The stack slot that it accesses, as a set.
    accessed: u64,
}

impl KernelLog {
    pub(super) fn new(level: LogLevel, program: &Program) -> Self {
        let mut text = String::new();
        if level == LogLevel::AllPaths {
            for (index, function) in program.functions.iter().enumerate() {
                let _ = writeln!(text, "func#{index} @{}", function.start);
            }
        }
        Self {
            level,
            text,
            insn_end: 0,
            insn_length: 0,
            source: None,
            touched: Shown::ALL,
            resumed: false,
            loop_states: String::new(),
            stack: Vec::new(),
            frames: 1,
            accessed: 0,
        }
    }

    /// The whole log: what was refused, if it was, and what verifying took.
    pub(super) fn finish(mut self, verification: &Verification) -> String {
        if let Some(refusal) = &verification.refusal {
            for message in &refusal.messages {
                self.line(format_args!("{message}"));
            }
            self.text.push_str(&self.loop_states);
        }
        self.line(format_args!(
            "processed {} insns (limit {MAX_PROCESSED}) max_states_per_insn {} total_states {} peak_states {} mark_read 0",
            verification.processed,
            verification.max_states_per_insn,
            verification.total_states,
            verification.peak_states
        ));
        self.text
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// A note that only the higher level has.
    pub(super) fn note(&mut self, line: std::fmt::Arguments<'_>) {
        if self.level == LogLevel::AllPaths {
            self.line(line);
        }
    }

    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// No path failed, so the lower level has nothing to show.
    pub(super) fn walked(&mut self) {
        if self.level == LogLevel::FailedPath {
            self.text.clear();
        }
    }

    /// The registers that are read later, and the loops.
    pub(super) fn live(&mut self, insns: &[Insn], live: &[RegisterSet], loops: &[u32]) {
        self.note(format_args!("Live regs before insn:"));
        for (slot, insn) in insns.iter().enumerate() {
            if *insn == Insn::WideTail {
                continue;
            }
            let set = (0..10_u32).map(|reg| {
                let digit = char::from_digit(reg, 10).unwrap_or('.');
                if live[slot] & (1 << reg) == 0 {
                    '.'
                } else {
                    digit
                }
            });
            let set: String = set.collect();
            let number = Some(loops[slot]).filter(|number| *number != 0);
            let number = number.map_or(String::new(), |number| number.to_string());
            self.note(format_args!(
                "{number:>3} {slot:>3}: {set} {}",
                KernelText(*insn)
            ));
        }
    }

    /// A path that waited is followed now; at the lower level, what another one said is dropped.
    pub(super) fn resume(&mut self, length: usize) {
        if self.level == LogLevel::FailedPath {
            self.text.truncate(length);
        }
        self.touched = Shown::ALL;
        self.resumed = true;
    }

    /// The path ends because another one covers it.
    pub(super) fn safe(&mut self, previous: i64, slot: usize) {
        if self.resumed {
            self.line(format_args!("\nfrom {previous} to {slot}: safe"));
        } else {
            self.line(format_args!("{slot}: safe"));
        }
    }

    /// Before an instruction: what changed since the last one, the source line, and the instruction.
    pub(super) fn before(
        &mut self,
        maps: &Maps<'_>,
        program: &Program,
        state: &State,
        at: (i64, usize),
    ) {
        let (previous, slot) = at;
        if std::mem::take(&mut self.resumed) && self.level == LogLevel::AllPaths {
            let _ = write!(self.text, "\nfrom {previous} to {slot}:");
            self.state(maps, state, state.current());
        }
        if self.touched != Shown::NONE {
            self.changes(maps, state, slot);
        }
        self.source_line(program, slot);
        let start = self.text.len();
        self.line(format_args!("{slot}: {}", KernelText(program.insns[slot])));
        self.insn_end = self.text.len();
        self.insn_length = self.insn_end - start;
        self.stack.clone_from(&state.frame().stack);
        self.accessed = accessed_slot(state, program.insns[slot]);
        self.frames = state.frames.len();
    }

    /// After an instruction: notes what it touched, and prints what changes the flow.
    pub(super) fn after(&mut self, maps: &Maps<'_>, state: &State, insn: Insn, slot: usize) {
        let entered = state.frames.len() > self.frames;
        let left = state.frames.len() < self.frames;
        if entered {
            self.line(format_args!("caller:"));
            self.state(maps, state, state.current() - 1);
            self.line(format_args!("callee:"));
            self.state(maps, state, state.current());
            self.touched = Shown::ALL;
        } else if left {
            self.resumed = true;
        } else {
            self.touched.registers |= touched_registers(insn);
            self.touched.slots |= self.accessed;
            if writes_stack(insn) {
                self.touched.slots |= changed_slots(&self.stack, state.frame());
            }
        }
        if matches!(insn, Insn::JumpIf { .. }) {
            self.changes(maps, state, slot);
        }
    }

    /// Before a function returns.
    pub(super) fn returning(&mut self, maps: &Maps<'_>, state: &State) {
        self.line(format_args!("returning from callee:"));
        self.state(maps, state, state.current());
    }

    /// After it returned.
    pub(super) fn returned(&mut self, maps: &Maps<'_>, state: &State, slot: usize) {
        self.line(format_args!("to caller at {slot}:"));
        self.state(maps, state, state.current());
    }

    /// A whole frame of a state.
    pub(super) fn state(&mut self, maps: &Maps<'_>, state: &State, frame: usize) {
        let shown = Shown::ALL;
        self.line(format_args!(
            "{}",
            StateText {
                maps,
                state,
                frame,
                shown
            }
        ));
    }

    /// A frame of a state, with words before it.
    pub(super) fn named_state(
        &mut self,
        maps: &Maps<'_>,
        words: &str,
        state: &State,
        frame: usize,
    ) {
        let shown = Shown::ALL;
        self.note(format_args!(
            "{words}{}",
            StateText {
                maps,
                state,
                frame,
                shown
            }
        ));
    }

    /// The states of an endless loop, for the end of the log.
    pub(super) fn endless(&mut self, maps: &Maps<'_>, current: &State, old: &State) {
        for (name, state) in [("cur", current), ("old", old)] {
            let (frame, shown) = (state.current(), Shown::ALL);
            let text = StateText {
                maps,
                state,
                frame,
                shown,
            };
            let _ = writeln!(self.loop_states, "{name} state:{text}");
        }
    }

    /// What changed, behind the instruction if nothing was printed since.
    fn changes(&mut self, maps: &Maps<'_>, state: &State, slot: usize) {
        if self.insn_end != 0 && self.insn_end == self.text.len() {
            self.text.truncate(self.insn_end - 1);
            let column = (self.insn_length + 4).max(40).next_multiple_of(8);
            let gap = column - self.insn_length - 1;
            let _ = write!(self.text, "{:gap$};", "");
        } else {
            let _ = write!(self.text, "{slot}:");
        }
        let (frame, shown) = (state.current(), self.touched);
        self.line(format_args!(
            "{}",
            StateText {
                maps,
                state,
                frame,
                shown
            }
        ));
        self.touched = Shown::NONE;
    }

    fn source_line(&mut self, program: &Program, slot: usize) {
        let after = program
            .lines
            .partition_point(|line| line.insn as usize <= slot);
        let Some(index) = after.checked_sub(1) else {
            return;
        };
        let line = &program.lines[index];
        let same = self.source.is_some_and(|before| {
            let before = &program.lines[before];
            before.file == line.file && before.line == line.line
        });
        if same {
            return;
        }
        let file = line.file.rsplit('/').next().unwrap_or_default();
        self.line(format_args!(
            "; {} @ {file}:{}",
            line.text.trim_start(),
            line.line
        ));
        self.source = Some(index);
    }
}

/// Registers that an instruction looks at or sets (`check_reg_arg`).
fn touched_registers(insn: Insn) -> u16 {
    const CALLER_SAVED: u16 = 0x3f;
    let bit = |reg: Reg| 1_u16 << reg.index();
    let operand = |src: Operand| match src {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    };
    match insn {
        Insn::Alu { dst, src, .. } | Insn::Mov { dst, src, .. } | Insn::JumpIf { dst, src, .. } => {
            bit(dst) | operand(src)
        }
        Insn::MovSigned { dst, src, .. } => bit(dst) | bit(src),
        Insn::Neg { dst, .. } | Insn::ByteSwap { dst, .. } | Insn::LoadImm64 { dst, .. } => {
            bit(dst)
        }
        Insn::Load { dst, base, .. } => bit(dst) | bit(base),
        Insn::Store { base, src, .. } => bit(base) | operand(src),
        // Compare and exchange uses r0, too.
        Insn::Atomic { op, base, src, .. } => {
            let r0 = u16::from(op == crate::isa::AtomicOp::CompareExchange);
            bit(base) | bit(src) | r0
        }
        Insn::LoadPacket { mode, .. } => {
            let index = match mode {
                PacketMode::Absolute => 0,
                PacketMode::Indirect(index) => bit(index),
            };
            CALLER_SAVED | bit(Reg::R6) | index
        }
        Insn::Call { .. } => CALLER_SAVED,
        Insn::WideTail | Insn::Jump { .. } | Insn::MayGoto { .. } | Insn::Exit => 0,
    }
}

/// Whether an instruction writes to the stack, rather than only learning of it or forgetting.
fn writes_stack(insn: Insn) -> bool {
    match insn {
        Insn::Store { .. }
        | Insn::Atomic { .. }
        | Insn::Call {
            target: CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
        } => true,
        Insn::Call {
            target: CallTarget::Helper(number),
        } => {
            let prototype = helper::by_number(number).and_then(|helper| helper.prototype);
            let arguments = prototype.map_or(&[][..], |prototype| prototype.arguments);
            let fills = |argument: &Argument| {
                matches!(
                    argument,
                    Argument::MemoryWrite | Argument::MapValueWrite | Argument::FixedWrite { .. }
                )
            };
            arguments.iter().any(fills)
        }
        _ => false,
    }
}

/// The stack slot that a load or store accesses, as a set.
fn accessed_slot(state: &State, insn: Insn) -> u64 {
    let (Insn::Load { base, off, .. }
    | Insn::Store { base, off, .. }
    | Insn::Atomic { base, off, .. }) = insn
    else {
        return 0;
    };
    let pointer = state.reg(base.index());
    let (Kind::Stack(_), Some(value)) = (pointer.kind, pointer.scalar.as_const(false)) else {
        return 0;
    };
    let off = i64::from(off) + i64::from(pointer.offset) + value as i64;
    if (-MAX_STACK..0).contains(&off) {
        1 << ((-off - 1) / SLOT)
    } else {
        0
    }
}

impl Verifier<'_> {
    /// Lets the log, if there is one, write.
    pub(super) fn with_log(&self, write: impl FnOnce(&mut KernelLog)) {
        if let Some(log) = self.watch.as_deref().and_then(|watch| watch.log.as_ref()) {
            write(&mut log.borrow_mut());
        }
    }
}
