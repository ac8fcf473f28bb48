//! Facts of each visit of an instruction, and what they add up to: as the kernel's offload hook sees
//! them, before the instruction is checked.

use super::explore::Verifier;
use super::facts::{
    AddendFacts, Argument, CallFacts, Facts, FunctionFacts, InsnFacts, KnownBits, Pointer,
    PointerFacts, Range,
};
use super::register::{Kind, Register};
use super::state::{Byte, SLOT};
use super::tnum::Tnum;
use crate::helper::number;
use crate::isa::{CallTarget, Insn, Operand, Reg};

/// A visit of an instruction on some path.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The instruction's slot.
    pub slot: usize,
    /// Facts of the visits before.
    pub before: &'a InsnFacts,
    /// Facts of this visit alone.
    pub now: &'a InsnFacts,
    /// Facts of the visits so far, with this one.
    pub so_far: &'a InsnFacts,
    registers: &'a [Register],
}

impl Visit<'_> {
    /// What a register holds.
    pub fn register(&self, reg: Reg) -> Argument {
        argument(&self.registers[reg.index()])
    }
}

/// Gathers facts.
pub(super) struct Recorder<'a> {
    facts: Facts,
    on_visit: &'a mut dyn FnMut(Visit<'_>),
}

impl<'a> Recorder<'a> {
    pub(super) fn new(insns: usize, on_visit: &'a mut dyn FnMut(Visit<'_>)) -> Self {
        let facts = Facts {
            insns: vec![InsnFacts::default(); insns],
            ..Facts::default()
        };
        Self { facts, on_visit }
    }

    fn visit(&mut self, slot: usize, now: &InsnFacts, registers: &[Register]) {
        let before = self.facts.insns[slot].clone();
        let so_far = &mut self.facts.insns[slot];
        so_far.add(now);
        (self.on_visit)(Visit {
            slot,
            before: &before,
            now,
            so_far,
            registers,
        });
    }
}

impl InsnFacts {
    /// Adds a visit.
    fn add(&mut self, now: &Self) {
        self.reachable = true;
        self.function = now.function;
        self.caller_stack |= now.caller_stack;
        self.pointer = later(self.pointer, now.pointer);
        self.ranges = match (self.ranges, now.ranges) {
            (Some(old), Some(new)) => Some((old.0.join(new.0), old.1.join(new.1))),
            (old, new) => new.or(old),
        };
        self.call = match (self.call, now.call) {
            (Some(old), Some(new)) => Some(old.later(new)),
            (old, new) => new.or(old),
        };
        if let Some(now) = now.addend {
            let addend = self.addend.get_or_insert_default();
            addend.maybe_16 |= now.maybe_16;
            addend.over_16 |= now.over_16;
        }
        self.result = now.result.or(self.result);
    }
}

impl CallFacts {
    fn later(self, mut now: Self) -> Self {
        now.arg2_differs = self.arg2_differs
            || matches!((self.arg2, now.arg2), (Argument::Number(old), Argument::Number(new)) if old != new);
        if let (Some(old), Argument::Pointer(new)) = (self.arg2.pointer(), &mut now.arg2) {
            new.differs_by_path = old.differs_by_path || old.moved_on_stack(new);
        }
        now
    }
}

impl PointerFacts {
    fn moved_on_stack(&self, now: &Self) -> bool {
        matches!(now.to, Pointer::Stack { .. }) && self.place() != now.place()
    }
}

fn later(before: Option<PointerFacts>, now: Option<PointerFacts>) -> Option<PointerFacts> {
    let (Some(before), Some(mut now)) = (before, now) else {
        return now.or(before);
    };
    now.differs_by_path = before.differs_by_path || before.moved_on_stack(&now);
    Some(now)
}

impl From<Tnum> for KnownBits {
    fn from(bits: Tnum) -> Self {
        Self {
            value: bits.value,
            mask: bits.mask,
        }
    }
}

fn pointer(register: &Register) -> Option<PointerFacts> {
    let to = match register.kind {
        Kind::Context => Pointer::Context,
        Kind::Stack(frame) => Pointer::Stack {
            frame: frame.into(),
        },
        Kind::Packet => Pointer::Packet,
        Kind::PacketMeta => Pointer::PacketMeta,
        Kind::PacketEnd => Pointer::PacketEnd,
        Kind::Map(map) => Pointer::Map { map },
        Kind::MapValue {
            map,
            nullable: false,
        } => Pointer::MapValue { map },
        Kind::MapValue { map, .. } => Pointer::MapValueOrNull { map },
        _ => return None,
    };
    Some(PointerFacts {
        to,
        offset: register.offset.into(),
        variable: register.scalar.bits.into(),
        id: register.id,
        differs_by_path: false,
    })
}

fn argument(register: &Register) -> Argument {
    match register.kind {
        Kind::NotInit => Argument::Unset,
        Kind::Scalar => Argument::Number(register.scalar.bits.into()),
        _ => pointer(register).map_or(Argument::Other, Argument::Pointer),
    }
}

fn range(register: &Register) -> Range {
    Range {
        min: register.scalar.umin,
        max: register.scalar.umax,
    }
}

impl Verifier<'_> {
    /// Records a visit of the instruction at hand, if facts are asked for.
    pub(super) fn record_visit(&mut self, slot: usize) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        let now = self.visit_facts(slot);
        recorder.visit(slot, &now, &self.state.frame().registers);
        self.recorder = Some(recorder);
    }

    /// The upper half of what an instruction wrote has to be zeroed.
    pub(super) fn record_zero_extension(&mut self, slot: usize) {
        if let Some(recorder) = &mut self.recorder {
            recorder.facts.insns[slot].zero_extend = true;
        }
    }

    /// Every path was followed.
    pub(super) fn record_end(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.facts.complete = true;
        }
    }

    /// Bytes of the packet are accessed, up to this one.
    pub(super) fn record_packet_byte(&mut self, byte: i64) {
        if let Some(recorder) = &mut self.recorder {
            let last = &mut recorder.facts.last_packet_byte;
            *last = (*last).max(u32::try_from(byte).unwrap_or(0));
        }
    }

    /// What was recorded.
    pub(super) fn into_facts(self) -> Facts {
        let mut facts = self
            .recorder
            .map_or_else(Facts::default, |recorder| recorder.facts);
        facts.functions = self
            .stack_depth
            .iter()
            .map(|depth| FunctionFacts {
                stack_depth: *depth as u32,
            })
            .collect();
        for (slot, insn) in facts.insns.iter_mut().enumerate() {
            insn.function = self.program.function_of(slot) as u32;
        }
        facts
    }

    fn visit_facts(&self, slot: usize) -> InsnFacts {
        let mut now = InsnFacts {
            reachable: true,
            ..InsnFacts::default()
        };
        let reg = |reg: Reg| self.state.reg(reg.index());
        match self.program.insns[slot] {
            Insn::Alu { dst, src, .. } | Insn::Mov { dst, src, .. } => {
                let source = match src {
                    Operand::Reg(src) => range(reg(src)),
                    Operand::Imm(imm) => Range::constant(i64::from(imm) as u64),
                };
                now.ranges = Some((range(reg(dst)), source));
            }
            Insn::MovSigned { dst, src, .. } => {
                now.ranges = Some((range(reg(dst)), range(reg(src))));
            }
            Insn::Neg { dst, .. } | Insn::ByteSwap { dst, .. } => {
                now.ranges = Some((range(reg(dst)), Range::constant(0)));
            }
            Insn::Load { base, .. } | Insn::Store { base, .. } => self.base_facts(&mut now, base),
            Insn::Atomic { base, src, .. } => {
                self.base_facts(&mut now, base);
                let src = reg(src);
                let Tnum { value, mask } = src.scalar.bits;
                now.addend = src.is_scalar().then_some(AddendFacts {
                    maybe_16: value <= 0xffff,
                    over_16: value > 0xffff || mask > 0xffff,
                });
            }
            Insn::Call {
                target: CallTarget::Helper(helper),
            } => now.call = Some(self.call_facts(helper)),
            Insn::Exit => now.result = Some(argument(reg(Reg::R0))),
            Insn::LoadImm64 { .. }
            | Insn::WideTail
            | Insn::LoadPacket { .. }
            | Insn::Jump { .. }
            | Insn::JumpIf { .. }
            | Insn::MayGoto { .. }
            | Insn::Call { .. } => {}
        }
        now
    }

    fn base_facts(&self, now: &mut InsnFacts, base: Reg) {
        let register = self.state.reg(base.index());
        now.pointer = pointer(register);
        now.caller_stack = matches!(register.kind, Kind::Stack(frame) if usize::from(frame) != self.state.current());
    }

    fn call_facts(&self, helper: u32) -> CallFacts {
        let reg = |reg: Reg| self.state.reg(reg.index());
        let map = match reg(Reg::R1).kind {
            Kind::Map(map) => Some(map),
            _ => None,
        };
        let maybe_nonzero = match (helper, map) {
            (number::MAP_UPDATE_ELEM, Some(map)) => self.maybe_nonzero(reg(Reg::R3), map),
            _ => 0,
        };
        CallFacts {
            map,
            arg2: argument(reg(Reg::R2)),
            arg2_differs: false,
            arg3: argument(reg(Reg::R3)),
            maybe_nonzero,
            arg4: argument(reg(Reg::R4)),
        }
    }

    /// The bytes of a map value on the stack that are not known to be zero.
    fn maybe_nonzero(&self, value: &Register, map: u32) -> u64 {
        let (Kind::Stack(frame), Some(offset)) = (value.kind, value.scalar.as_const(false)) else {
            return u64::MAX;
        };
        let stack = &self.state.frames[usize::from(frame)].stack;
        let start = i64::from(value.offset).wrapping_add(offset as i64);
        let size = self.module.maps[map as usize].value_size.min(64);
        (0..i64::from(size)).fold(0, |bytes, index| {
            let below = start.wrapping_add(index).wrapping_neg().wrapping_sub(1);
            let slot = usize::try_from(below / SLOT)
                .ok()
                .and_then(|slot| stack.get(slot));
            let zero = slot.is_some_and(|slot| slot.bytes[(below % SLOT) as usize] == Byte::Zero);
            bytes | u64::from(!zero) << index
        })
    }
}
