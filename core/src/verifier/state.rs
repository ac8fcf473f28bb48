//! The state of one path: the frames of the functions that are running, each with registers and
//! stack, the references held, and the path's recent history.

use super::linux_6_1::FrameMarks;
use super::maps::Maps;
use super::register::{Kind, Register};
use super::scalar::Scalar;
use crate::helper::DynptrKind;

/// Bytes in a stack slot.
pub(super) const SLOT: i64 = 8;
/// Bytes of stack that a function may use.
pub(super) const MAX_STACK: i64 = 512;
/// Functions that may be running at once.
pub(super) const MAX_FRAMES: usize = 8;
/// Registers whose contents are followed in a frame; the frame pointer never changes.
pub(super) const REGISTERS: usize = 11;
/// Slot of the call for the entry function's frame, which nobody calls.
pub(super) const NO_CALLER: u32 = u32::MAX;

/// What a byte of the stack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Byte {
    /// Never written.
    Invalid,
    /// Part of a register that was stored whole.
    Spill,
    /// Something.
    Misc,
    /// Zero.
    Zero,
    /// Part of a dynptr.
    Dynptr,
    /// Part of an iterator.
    Iterator,
}

/// Eight bytes of stack; byte 7 is the one at the lowest address, as in the kernel's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) bytes: [Byte; 8],
    pub(super) spilled: Register,
}

impl Slot {
    pub(super) const EMPTY: Self = Self {
        bytes: [Byte::Invalid; 8],
        spilled: Register::NOT_INIT,
    };

    /// A register was stored here, whole or a part of it.
    pub(super) fn is_spilled(&self) -> bool {
        self.bytes[7] == Byte::Spill
    }

    /// Something is here that a write of a part of it ends.
    pub(super) fn is_special(&self) -> bool {
        matches!(self.bytes[7], Byte::Spill | Byte::Dynptr | Byte::Iterator)
    }

    pub(super) fn is_spilled_scalar(&self) -> bool {
        self.is_spilled() && self.spilled.is_scalar()
    }

    /// Such a slot reads as any number.
    fn is_all_misc(&self) -> bool {
        let any = |byte: &Byte| matches!(byte, Byte::Misc | Byte::Invalid);
        self.bytes.iter().all(any)
    }

    /// The number that an eight-byte load would give, if it would give one.
    pub(super) fn as_scalar(&self) -> Option<Register> {
        if self.bytes[0] == Byte::Spill && self.spilled.is_scalar() {
            Some(self.spilled)
        } else {
            self.is_all_misc().then_some(Register::UNKNOWN)
        }
    }
}

/// A running function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Function, by index.
    pub(super) function: usize,
    /// Slot of the call, [`NO_CALLER`] for the entry.
    pub(super) callsite: u32,
    /// A helper calls it, perhaps again and again.
    pub(super) callback: bool,
    /// How often a helper that this function called has called back on this path.
    pub(super) callback_depth: u32,
    pub(super) registers: [Register; REGISTERS],
    /// Slots from the frame pointer down.
    pub(super) stack: Vec<Slot>,
}

impl Frame {
    pub(super) fn new(function: usize, callsite: u32, index: usize) -> Self {
        let mut registers = [Register::NOT_INIT; REGISTERS];
        registers[10] = Register::pointer(Kind::Stack(index as u8));
        Self {
            function,
            callsite,
            callback: false,
            callback_depth: 0,
            registers,
            stack: Vec::new(),
        }
    }
}

/// A step of a path that does not follow from the instruction after it, or what was learnt there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) insn: u32,
    pub(super) previous: i64,
    /// Stack slot that was stored to or loaded from: frame and slot.
    pub(super) stack: Option<(usize, usize)>,
    /// The destination register of a comparison points to the stack.
    pub(super) dst_is_stack: bool,
    /// The source register of a comparison points to the stack.
    pub(super) src_is_stack: bool,
    /// Numbers that learnt from each other here.
    pub(super) linked: Vec<Place>,
}

/// Where a register is: in a frame, or spilled to its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) frame: usize,
    pub(super) spilled: bool,
    pub(super) index: usize,
}

/// Index of a remembered state.
pub(super) type StateId = usize;

/// The state of one path.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) frames: Vec<Frame>,
    /// References held: id and the instruction that acquired it.
    pub(super) references: Vec<(u32, usize)>,
    /// The spin lock held: its map and the id of the value that it is in.
    pub(super) lock: Option<(u32, u32)>,
    /// Slot that the state stands before.
    pub(super) insn: usize,
    /// Slot where this stretch of the path began, and the last one of the stretch.
    pub(super) first_insn: usize,
    pub(super) last_insn: i64,
    /// Paths from here that are not finished.
    pub(super) branches: u32,
    pub(super) parent: Option<StateId>,
    /// How many remembered states lead here.
    pub(super) depth: u32,
    /// How often `may_goto` was passed.
    pub(super) may_goto_depth: u32,
    /// How many callbacks were entered.
    pub(super) callback_unroll_depth: u32,
    pub(super) history: Vec<Step>,
    /// What is never read again was already forgotten.
    pub(super) cleaned: bool,
    /// By frame, who read what; only by the rules of Linux 6.1.
    pub(super) marks: Vec<FrameMarks>,
}

impl State {
    /// The state at the entry of the program or of a global function.
    pub(super) fn entry(function: usize, start: usize) -> Self {
        Self {
            frames: vec![Frame::new(function, NO_CALLER, 0)],
            references: Vec::new(),
            lock: None,
            insn: start,
            first_insn: start,
            last_insn: -1,
            branches: 1,
            parent: None,
            depth: 0,
            may_goto_depth: 0,
            callback_unroll_depth: 0,
            history: Vec::new(),
            cleaned: false,
            marks: Vec::new(),
        }
    }

    pub(super) fn current(&self) -> usize {
        self.frames.len() - 1
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    pub(super) fn reg(&self, index: usize) -> &Register {
        &self.frame().registers[index]
    }

    pub(super) fn reg_mut(&mut self, index: usize) -> &mut Register {
        &mut self.frame_mut().registers[index]
    }

    /// Slot that a frame stands before: of callers, that of the call.
    pub(super) fn insn_of_frame(&self, frame: usize) -> usize {
        match self.frames.get(frame + 1) {
            Some(callee) => callee.callsite as usize,
            None => self.insn,
        }
    }

    /// Every register of every frame, spilled ones included.
    pub(super) fn all_registers(&mut self) -> impl Iterator<Item = &mut Register> {
        self.frames.iter_mut().flat_map(|frame| {
            let spilled = frame.stack.iter_mut().filter(|slot| slot.is_spilled());
            let spilled = spilled.map(|slot| &mut slot.spilled);
            frame.registers.iter_mut().chain(spilled)
        })
    }

    /// The register at a place.
    pub(super) fn at(&mut self, place: Place) -> &mut Register {
        let frame = &mut self.frames[place.frame];
        if place.spilled {
            &mut frame.stack[place.index].spilled
        } else {
            &mut frame.registers[place.index]
        }
    }

    pub(super) fn same_callsites(&self, other: &Self) -> bool {
        let callsites = |state: &Self| state.frames.iter().map(|f| f.callsite).collect::<Vec<_>>();
        self.frames.len() == other.frames.len() && callsites(self) == callsites(other)
    }

    /// Forgets which numbers matter, for a state that starts a new stretch.
    pub(super) fn forget_precision(&mut self) {
        for register in self.all_registers().filter(|register| register.is_scalar()) {
            register.precise = false;
        }
    }

    /// Gives up a reference without looking at registers that hold it.
    pub(super) fn release(&mut self, id: u32) -> bool {
        let held = self.references.iter().position(|(known, _)| *known == id);
        if let Some(index) = held {
            self.references.remove(index);
        }
        held.is_some()
    }

    /// What is learnt of a nullable pointer's null-ness goes to all that share its id.
    pub(super) fn mark_null(&mut self, register: usize, is_null: bool, maps: &Maps<'_>) {
        let Register { id, reference, .. } = *self.reg(register);
        if reference != 0 && reference == id && is_null {
            self.release(id);
        }
        for register in self.all_registers() {
            if !register.kind.nullable() || register.id != id {
                continue;
            }
            if is_null {
                register.kind = Kind::Scalar;
                (register.id, register.reference) = (0, 0);
                register.range = 0;
                register.scalar = Scalar::constant(0);
            } else {
                let locked =
                    matches!(register.kind, Kind::MapValue { map, .. } if maps.has_lock(map));
                register.kind = maps.not_null(register.kind);
                if !locked {
                    register.id = 0;
                }
            }
        }
    }

    /// Packet pointers become unusable: the packet may have moved.
    pub(super) fn forget_packet_pointers(&mut self) {
        for register in self.all_registers() {
            let slice = matches!(
                register.kind,
                Kind::Memory {
                    slice: Some(DynptrKind::Skb | DynptrKind::Xdp),
                    ..
                }
            );
            if register.kind.is_any_packet() || slice {
                *register = Register::UNKNOWN;
            }
        }
    }
}
