//! Where a value came from: the path that failed, walked back from the instruction that was refused
//! through copies, the stack and calls, with the comparisons that the value took part in.

use std::collections::HashSet;

use super::liveness::uses_and_writes;
use super::maps::Maps;
use super::path::PathStep;
use super::prototype::prototype;
use super::register::{Kind, Register};
use super::words::{condition, context_member, number, value};
use crate::helper;
use crate::isa::{CallTarget, Imm64, Insn, Operand, Reg};
use crate::module::Program;

/// Something that happened to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Slot of the instruction.
    pub insn: usize,
    /// What happened, in plain words.
    pub text: String,
}

/// Events that are told of one value at most.
const MAX_EVENTS: usize = 12;

/// The path that failed, and what its steps refer to.
pub(super) struct History<'a> {
    pub(super) program: &'a Program,
    pub(super) maps: &'a Maps<'a>,
    pub(super) steps: &'a [PathStep],
}

/// A value that is followed back.
struct Trail {
    frame: usize,
    reg: Reg,
    /// The value in the end, to know its relatives.
    last: Register,
    /// Each with the index of its step.
    events: Vec<(usize, Event)>,
    /// Instructions and registers that were told of, as a loop passes them often.
    told: HashSet<(usize, Reg)>,
    compared: bool,
    /// The step that made an offset unknown, and the register that it added.
    index: Option<(usize, Reg)>,
}

/// Whether the walk goes on.
#[derive(PartialEq, Eq)]
enum Walk {
    On,
    Ends,
}

impl History<'_> {
    /// The history of a register that the last step used, oldest event first.
    pub(super) fn of(&self, reg: Reg, last: Register) -> Vec<Event> {
        let Some((failed, before)) = self.steps.split_last() else {
            return Vec::new();
        };
        let mut trail = self.follow(before.len(), failed.frame, reg, last);
        if let Some((step, index)) = trail.index {
            let at = &self.steps[step];
            let other = self.follow(step, at.frame, index, at.right);
            trail.events.extend(other.events);
        }
        self.tell_moved(&mut trail);
        let missing = missing_comparison(&trail, reg);
        let mut events = trail.events;
        events.sort_by_key(|(step, _)| *step);
        let mut events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        events.dedup();
        let insn = failed.insn;
        events.extend(missing.map(|text| Event { insn, text }));
        events
    }

    /// A packet pointer that is a number now was lost when a helper moved the packet.
    fn tell_moved(&self, trail: &mut Trail) {
        let moves = |step: &PathStep| {
            let Insn::Call {
                target: CallTarget::Helper(number),
            } = self.program.insns[step.insn]
            else {
                return false;
            };
            prototype(number, self.program.program_type).is_some_and(|known| known.changes_packet)
        };
        let Some(moved) = self.steps.iter().rposition(moves) else {
            return;
        };
        let was_packet = |(step, _): &(usize, Event)| {
            *step < moved && self.steps[*step].result.kind.is_any_packet()
        };
        if trail.last.is_scalar() && trail.events.iter().any(was_packet) {
            let insn = self.steps[moved].insn;
            let text = format!(
                "{} may move the packet: pointers into it from before are lost",
                self.callee(insn)
            );
            trail.events.push((moved, Event { insn, text }));
        }
    }

    /// The jump that leads back to the start of a loop in which nothing changes.
    pub(super) fn jump_back(&self, start: usize) -> Vec<Event> {
        let back = self.steps.last().filter(|step| step.insn != start);
        let text =
            || "the path comes back from here, with the same values in all registers".to_owned();
        let event = back.map(|step| Event {
            insn: step.insn,
            text: text(),
        });
        event.into_iter().collect()
    }

    /// What a step did, where the error says which instruction it comes from.
    pub(super) fn acquired(&self, insn: usize) -> Vec<Event> {
        let step = self.steps.iter().rev().find(|step| step.insn == insn);
        let text = step.map(|step| {
            format!(
                "{} acquires {}",
                self.callee(insn),
                value(&step.result, self.maps)
            )
        });
        text.map(|text| Event { insn, text }).into_iter().collect()
    }

    fn follow(&self, before: usize, frame: usize, reg: Reg, last: Register) -> Trail {
        let mut trail = Trail {
            frame,
            reg,
            last,
            events: Vec::new(),
            told: HashSet::new(),
            compared: false,
            index: None,
        };
        for index in (0..before).rev() {
            if trail.events.len() >= MAX_EVENTS || self.step_back(index, &mut trail) == Walk::Ends {
                return trail;
            }
        }
        let text = match (trail.reg, trail.frame) {
            (Reg::R1, 0) => "r1 is the context when the program starts".to_owned(),
            (Reg::R10, _) => return trail,
            (reg, _) => format!("nothing writes {reg} on this path"),
        };
        trail.events.push((0, Event { insn: 0, text }));
        trail
    }

    fn step_back(&self, index: usize, trail: &mut Trail) -> Walk {
        let step = self.steps[index];
        let insn = self.program.insns[step.insn];
        if step.frame != trail.frame {
            return self.step_into(index, trail);
        }
        if let Insn::JumpIf { dst, src, .. } = insn {
            self.comparison(index, (dst, src), trail);
            return Walk::On;
        }
        let (_, writes) = uses_and_writes(&insn);
        let loads = matches!(insn, Insn::Load { dst, .. } if dst == trail.reg);
        if writes & (1 << trail.reg.index()) == 0 && !loads {
            return Walk::On;
        }
        self.definition(index, insn, trail)
    }

    /// Follows the value into the function that returned it, or out to the caller that handed it
    /// over.
    fn step_into(&self, index: usize, trail: &mut Trail) -> Walk {
        let step = self.steps[index];
        let insn = self.program.insns[step.insn];
        if step.frame > trail.frame {
            if insn == Insn::Exit && trail.reg == Reg::R0 && step.frame == trail.frame + 1 {
                self.tell(index, trail, "r0 is what the function returns".to_owned());
                trail.frame = step.frame;
            }
            return Walk::On;
        }
        let argument = (1..=5).contains(&trail.reg.index());
        if !argument {
            let text = format!("nothing writes {} in this function", trail.reg);
            self.tell(index, trail, text);
            return Walk::Ends;
        }
        let text = format!("{} is handed to {}", trail.reg, self.callee(step.insn));
        self.tell(index, trail, text);
        trail.frame = step.frame;
        Walk::On
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one short arm for each kind of definition"
    )]
    fn definition(&self, index: usize, insn: Insn, trail: &mut Trail) -> Walk {
        let step = self.steps[index];
        let reg = trail.reg;
        let now = value(&step.result, self.maps);
        match insn {
            Insn::Mov {
                src: Operand::Reg(src),
                ..
            }
            | Insn::MovSigned { src, .. } => {
                self.tell(index, trail, format!("{reg} is copied from {src}"));
                trail.reg = src;
                return Walk::On;
            }
            Insn::Mov { .. } | Insn::LoadImm64 { .. } => {
                let what = match insn {
                    Insn::LoadImm64 {
                        value: Imm64::Map(_) | Imm64::MapValue { .. },
                        ..
                    } => now,
                    _ => format!("set to {now}"),
                };
                self.tell(index, trail, format!("{reg} is {what}"));
            }
            Insn::Alu { src, .. } => {
                if let (Operand::Reg(src), false, true) =
                    (src, step.right.is_scalar(), step.left.is_scalar())
                {
                    self.tell(index, trail, format!("{reg} is added to {src}: {now}"));
                    trail.index.get_or_insert((index, reg));
                    trail.reg = src;
                    return Walk::On;
                }
                if let Operand::Reg(src) = src {
                    let by = value(&step.right, self.maps);
                    self.tell(
                        index,
                        trail,
                        format!("{reg} is changed by {src} ({by}): {now}"),
                    );
                    if src != reg {
                        trail.index.get_or_insert((index, src));
                    }
                } else {
                    self.tell(index, trail, format!("{reg} is changed: {now}"));
                }
                return Walk::On;
            }
            Insn::Neg { .. } | Insn::ByteSwap { .. } => {
                self.tell(index, trail, format!("{reg} is changed: {now}"));
                return Walk::On;
            }
            Insn::Load { off, size, .. } => return self.load(index, (off, size.bytes()), trail),
            Insn::Atomic { .. } => {
                self.tell(
                    index,
                    trail,
                    format!("{reg} is what the memory held before: {now}"),
                );
            }
            Insn::Call { .. } if reg != Reg::R0 => {
                let text = format!(
                    "the call of {} destroys {reg}, as calls do with r1 to r5",
                    self.callee(step.insn)
                );
                self.tell(index, trail, text);
            }
            Insn::Call { .. } => {
                let text = format!("r0 is what {} returns: {now}", self.callee(step.insn));
                self.tell(index, trail, text);
            }
            Insn::LoadPacket { .. } if reg != Reg::R0 => {
                self.tell(
                    index,
                    trail,
                    format!("the load from the packet destroys {reg}"),
                );
            }
            Insn::LoadPacket { .. } => {
                self.tell(index, trail, format!("r0 is read from the packet: {now}"));
            }
            Insn::Store { .. }
            | Insn::WideTail
            | Insn::Jump { .. }
            | Insn::MayGoto { .. }
            | Insn::JumpIf { .. }
            | Insn::Exit => return Walk::On,
        }
        Walk::Ends
    }

    fn load(&self, index: usize, (off, size): (i16, usize), trail: &mut Trail) -> Walk {
        let step = self.steps[index];
        let (reg, at) = (trail.reg, i64::from(off) + i64::from(step.left.offset));
        let plural = if size == 1 { "" } else { "s" };
        let now = value(&step.result, self.maps);
        let text = match step.left.kind {
            Kind::Context => match context_member(self.program.program_type, at) {
                Some(name) => format!("{reg} is {now}: the context's {name}"),
                None => format!("{reg} is read from the context at offset {at}: {now}"),
            },
            Kind::Stack(frame) => {
                self.tell(
                    index,
                    trail,
                    format!("{reg} is read back from the stack (fp{at:+})"),
                );
                return self.stored(index, (frame.into(), at), trail);
            }
            Kind::Packet | Kind::PacketMeta => {
                format!("{reg} is read from the packet ({size} byte{plural}): {now}")
            }
            _ => format!(
                "{reg} is read from {} ({size} byte{plural}): {now}",
                value(&step.left, self.maps)
            ),
        };
        self.tell(index, trail, text);
        Walk::Ends
    }

    /// Goes on with the register that was stored to a place on the stack.
    fn stored(&self, before: usize, place: (usize, i64), trail: &mut Trail) -> Walk {
        for index in (0..before).rev() {
            let step = self.steps[index];
            let Insn::Store { off, src, .. } = self.program.insns[step.insn] else {
                continue;
            };
            let Kind::Stack(frame) = step.left.kind else {
                continue;
            };
            let at = i64::from(off) + i64::from(step.left.offset);
            if (usize::from(frame), at) != place {
                continue;
            }
            let Operand::Reg(src) = src else {
                self.tell(
                    index,
                    trail,
                    format!("a constant is stored there (fp{at:+})"),
                );
                return Walk::Ends;
            };
            self.tell(index, trail, format!("{src} is stored there (fp{at:+})"));
            let (frame, told) = (step.frame, std::mem::take(&mut trail.told));
            let mut earlier = self.follow(index, frame, src, trail.last);
            trail.events.append(&mut earlier.events);
            trail.compared |= earlier.compared;
            trail.told = told;
            return Walk::Ends;
        }
        Walk::Ends
    }

    /// Tells of a comparison that the value, or a relative of it, took part in.
    fn comparison(&self, index: usize, (dst, src): (Reg, Operand), trail: &mut Trail) {
        let step = self.steps[index];
        let insn = self.program.insns[step.insn];
        let Insn::JumpIf { cond, off, .. } = insn else {
            return;
        };
        let relative = |register: &Register| {
            let packets = register.kind.is_packet() && trail.last.kind == register.kind;
            (packets || register.id != 0) && register.base_id() == trail.last.base_id()
        };
        let of_left = dst == trail.reg || relative(&step.left);
        let of_right = src == Operand::Reg(trail.reg) || relative(&step.right);
        if !of_left && !of_right {
            return;
        }
        let end = step.left.kind == Kind::PacketEnd || step.right.kind == Kind::PacketEnd;
        if trail.last.kind.is_packet() && !end {
            return;
        }
        let next = self.steps.get(index + 1).map(|next| next.insn as i64);
        let target = step.insn as i64 + 1 + i64::from(off);
        let taken = off != 0 && next == Some(target);
        let way = if taken {
            "the jump is taken"
        } else {
            "the jump is not taken"
        };
        let operand = match src {
            Operand::Imm(imm) => imm.to_string(),
            Operand::Reg(src) if step.right.kind == Kind::PacketEnd => format!("{src}, data_end"),
            Operand::Reg(src) if step.right.is_scalar() => {
                format!("{src}, {}", number(&step.right.scalar))
            }
            Operand::Reg(src) => src.to_string(),
        };
        let learnt = match step.result.kind {
            Kind::Packet if trail.last.kind.is_packet() => match trail.last.range {
                ..=0 => ", which does not say that any of it is there".to_owned(),
                bytes => format!(", so {bytes} bytes are there"),
            },
            Kind::Scalar => format!(", so {dst} is {}", number(&step.result.scalar)),
            _ => String::new(),
        };
        let learnt = if taken { String::new() } else { learnt };
        let text = format!(
            "{dst} is compared: {dst} {} {operand}; {way}{learnt}",
            condition(cond)
        );
        trail.compared = true;
        self.tell(index, trail, text);
    }

    fn tell(&self, index: usize, trail: &mut Trail, text: String) {
        let insn = self.steps[index].insn;
        if trail.told.insert((insn, trail.reg)) {
            trail.events.push((index, Event { insn, text }));
        }
    }

    /// What an instruction calls.
    fn callee(&self, insn: usize) -> String {
        let Insn::Call { target } = self.program.insns[insn] else {
            return "this instruction".to_owned();
        };
        match target {
            CallTarget::Helper(number) => helper::by_number(number).map_or_else(
                || format!("helper {number}"),
                |helper| helper.name.to_owned(),
            ),
            CallTarget::Kernel(kfunc) => kfunc.name().to_owned(),
            CallTarget::Kfunc { btf_id, .. } => format!("kernel function {btf_id}"),
            CallTarget::Local(_) => {
                let start = self.program.insns[insn].function_target(insn).unwrap_or(0);
                let index = self.program.function_of(start as usize);
                match self.program.functions.get(index) {
                    Some(function) if !function.name.is_empty() => format!("{}()", function.name),
                    _ => format!("the function at instruction {start}"),
                }
            }
        }
    }
}

/// A comparison that the program needs and does not have.
fn missing_comparison(trail: &Trail, reg: Reg) -> Option<String> {
    if trail.compared {
        return None;
    }
    match trail.last.kind {
        Kind::Packet => Some(format!(
            "{reg} was never compared with data_end on this path"
        )),
        Kind::PacketMeta => Some(format!("{reg} was never compared with data on this path")),
        kind if kind.nullable() => Some(format!("{reg} was never compared with NULL on this path")),
        _ => None,
    }
}
