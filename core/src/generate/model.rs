//! What the writer knows of a program while it writes: what registers and stack slots hold.

use crate::isa::Reg;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing that may be read.
    Nothing,
    Number,
    Context,
    /// A packet pointer with as many bytes behind it.
    Packet(i64),
    PacketEnd,
    /// A pointer to the start of a map value, by map.
    Value(u32),
    /// The same, or null.
    ValueOrNull(u32),
    Frame,
}

/// Slots of stack that the writer uses.
pub(super) const SLOTS: usize = 16;

/// What is known at a place of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) registers: [Holds; Reg::COUNT],
    /// Slots of 8 bytes from the frame pointer down.
    pub(super) stack: [Holds; SLOTS],
    /// Registers that statements must leave alone, as a set of bits.
    pub(super) reserved: u16,
}

impl Model {
    /// The start of a function with these arguments.
    pub(super) fn entry(arguments: &[Holds]) -> Self {
        let mut registers = [Holds::Nothing; Reg::COUNT];
        registers[1..=arguments.len()].copy_from_slice(arguments);
        registers[10] = Holds::Frame;
        Self {
            registers,
            stack: [Holds::Nothing; SLOTS],
            reserved: 0,
        }
    }

    pub(super) fn of(&self, reg: Reg) -> Holds {
        self.registers[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, holds: Holds) {
        self.registers[reg.index()] = holds;
    }

    pub(super) fn is_reserved(&self, reg: Reg) -> bool {
        self.reserved >> reg.index() & 1 == 1
    }

    /// What holds on both of two ways that meet.
    pub(super) fn join(&mut self, other: &Self) {
        let pairs = self.registers.iter_mut().zip(&other.registers);
        let slots = self.stack.iter_mut().zip(&other.stack);
        for (here, there) in pairs.chain(slots) {
            *here = match (*here, *there) {
                (Holds::Packet(one), Holds::Packet(two)) => Holds::Packet(one.min(two)),
                (one, two) if one == two => one,
                _ => Holds::Nothing,
            };
        }
    }

    /// What holds at the head of a loop, whatever its body does: what is reserved.
    pub(super) fn at_loop_head(&self) -> Self {
        let mut head = Self::entry(&[]);
        head.reserved = self.reserved;
        for (index, holds) in self.registers.iter().enumerate() {
            if self.reserved >> index & 1 == 1 {
                head.registers[index] = *holds;
            }
        }
        head
    }

    /// A call that is no function of ours clobbers the argument registers.
    pub(super) fn after_call(&mut self) {
        self.registers[..6].fill(Holds::Nothing);
    }

    /// Packet pointers are gone.
    pub(super) fn forget_packet(&mut self) {
        for holds in self.registers.iter_mut().chain(&mut self.stack) {
            if matches!(holds, Holds::Packet(_) | Holds::PacketEnd) {
                *holds = Holds::Nothing;
            }
        }
    }
}
