//! Abstract values and the state of registers and stack at one instruction.

use super::facts::{Pointer, Range};
use crate::isa::Reg;

/// Bytes of one stack frame.
pub(super) const STACK_BYTES: i64 = 512;
const SLOTS: usize = STACK_BYTES as usize / 8;

/// What a register or a stack slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing that the program may read.
    Unset,
    /// A number.
    Number(Range),
    /// A pointer; `id` is 0 if its offset is known.
    Pointer {
        to: Pointer,
        offset: i64,
        id: u32,
        differs: bool,
    },
    /// Different kinds on different paths.
    Mixed,
}

impl Value {
    pub(super) const ANY_NUMBER: Self = Self::Number(Range::FULL);

    pub(super) const fn pointer(to: Pointer, offset: i64) -> Self {
        Self::Pointer {
            to,
            offset,
            id: 0,
            differs: false,
        }
    }

    /// What is known where a path with `self` and one with `other` meet.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a.join(b)),
            (
                Self::Pointer {
                    to,
                    offset,
                    id,
                    differs,
                },
                Self::Pointer {
                    to: to_b,
                    offset: offset_b,
                    id: id_b,
                    differs: differs_b,
                },
            ) if to == to_b => {
                let differs = differs || differs_b || offset != offset_b || id != id_b;
                Self::Pointer {
                    to,
                    offset,
                    id: id.max(id_b),
                    differs,
                }
            }
            // A value that one path looked at and found there is still one that may be null.
            (
                Self::Pointer {
                    to: Pointer::MapValue { map } | Pointer::MapValueOrNull { map },
                    offset,
                    id,
                    differs,
                },
                Self::Pointer {
                    to: Pointer::MapValue { map: b } | Pointer::MapValueOrNull { map: b },
                    offset: offset_b,
                    ..
                },
            ) if map == b => Self::Pointer {
                to: Pointer::MapValueOrNull { map },
                offset,
                id,
                differs: differs || offset != offset_b,
            },
            (a, b) if a == b => a,
            (Self::Unset, _) | (_, Self::Unset) => Self::Unset,
            _ => Self::Mixed,
        }
    }

    /// The range of a number; nothing is known of anything else.
    pub(super) const fn range(self) -> Range {
        match self {
            Self::Number(range) => range,
            Self::Unset | Self::Pointer { .. } | Self::Mixed => Range::FULL,
        }
    }
}

/// Registers and stack of the running function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; Reg::COUNT],
    /// Eight-byte slots, from the frame pointer down.
    stack: [Value; SLOTS],
}

impl State {
    /// State at the entry of a program: the context in `r1`, the frame pointer in `r10`.
    pub(super) fn entry() -> Self {
        let mut registers = [Value::Unset; Reg::COUNT];
        registers[Reg::R1.index()] = Value::pointer(Pointer::Context, 0);
        registers[Reg::R10.index()] = Value::pointer(Pointer::Stack { frame: 0 }, 0);
        Self {
            registers,
            stack: [Value::Unset; SLOTS],
        }
    }

    pub(super) fn get(&self, reg: Reg) -> Value {
        self.registers[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    /// Every register and slot that holds exactly `old` now holds `new`.
    pub(super) fn replace(&mut self, old: Value, new: Value) {
        for value in self.registers.iter_mut().chain(&mut self.stack) {
            if *value == old {
                *value = new;
            }
        }
    }

    /// Forgets every packet pointer: the packet may have moved.
    pub(super) fn forget_packet(&mut self) {
        for value in self.registers.iter_mut().chain(&mut self.stack) {
            if let Value::Pointer {
                to: Pointer::Packet | Pointer::PacketMeta | Pointer::PacketEnd,
                ..
            } = value
            {
                *value = Value::Mixed;
            }
        }
    }

    /// Forgets every pointer with this id.
    pub(super) fn forget_id(&mut self, forgotten: u32) {
        for value in self.registers.iter_mut().chain(&mut self.stack) {
            if matches!(value, Value::Pointer { id, .. } if *id == forgotten) {
                *value = Value::Mixed;
            }
        }
    }

    /// The value that a load of eight aligned bytes at `offset` from the frame pointer gives.
    pub(super) fn load_slot(&self, offset: i64) -> Value {
        slot(offset).map_or(Value::ANY_NUMBER, |slot| self.stack[slot])
    }

    /// Stores into `size` bytes at `offset` from the frame pointer: a value that fills its slot
    /// is kept, any other becomes a number.
    pub(super) fn store_slots(&mut self, offset: i64, size: i64, value: Value) {
        if size == 8 && offset % 8 == 0 {
            if let Some(slot) = slot(offset) {
                self.stack[slot] = value;
            }
            return;
        }
        for byte in offset..offset + size {
            if let Some(slot) = slot(byte - byte.rem_euclid(8)) {
                self.stack[slot] = Value::ANY_NUMBER;
            }
        }
    }

    /// Forgets what the stack holds: something was written at an unknown place.
    pub(super) fn forget_stack(&mut self) {
        self.stack = [Value::Mixed; SLOTS];
    }

    /// What is known where a path with `self` and one with `other` meet; numbers that still grow
    /// after many visits are widened to any number.
    pub(super) fn join(&self, other: &Self, widen: bool) -> Self {
        let mut joined = self.clone();
        let ours = joined.registers.iter_mut().chain(&mut joined.stack);
        for (ours, theirs) in ours.zip(other.registers.iter().chain(&other.stack)) {
            let both = ours.join(*theirs);
            let grew = widen && both != *ours;
            *ours = if grew && matches!(both, Value::Number(_)) {
                Value::ANY_NUMBER
            } else {
                both
            };
        }
        joined
    }
}

fn slot(offset: i64) -> Option<usize> {
    let index = usize::try_from(-offset - 1).ok()? / 8;
    (index < SLOTS).then_some(index)
}
