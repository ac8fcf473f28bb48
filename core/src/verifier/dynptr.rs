//! Dynptrs on the stack: two slots each, which programs neither read nor write themselves, and the
//! memory that they lead to (`process_dynptr_func`).

use super::explore::Verifier;
use super::register::{Kind, Register};
use super::reject::{Check, reject};
use super::state::{Byte, SLOT, Slot};
use crate::helper::DynptrKind;
use crate::isa::Reg;

/// Slots of a dynptr.
const SLOTS: usize = 2;

/// A dynptr that was handed to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownDynptr {
    pub(super) kind: DynptrKind,
    /// Shared by the pointers to its memory.
    pub(super) id: u32,
    /// The reference that must be given up, 0 if none.
    pub(super) reference: u32,
}

/// Frame of a stack and the first slot of an object there, which is the one at the lowest address.
pub(super) type ObjectPlace = (usize, usize);

impl Verifier<'_> {
    /// Where on a stack the object is that a register points to (`stack_slot_obj_get_spi`). `None`
    /// if the stack does not reach as far yet.
    pub(super) fn object_place(
        &self,
        reg: Reg,
        slots: usize,
        what: &str,
    ) -> Check<Option<ObjectPlace>> {
        let register = self.state.reg(reg.index());
        let Kind::Stack(frame) = register.kind else {
            return Ok(None);
        };
        let Some(known) = register.scalar.as_const(false) else {
            return reject(format!("{what} has to be at a constant offset"));
        };
        let off = i64::from(register.offset).wrapping_add(known as i64);
        let slot = ((-off - 1) / SLOT).max(0) as usize;
        if off % SLOT != 0 || slot + 1 < slots {
            return reject(format!("cannot pass in {what} at an offset={off}"));
        }
        let frame = usize::from(frame);
        let reached = slot < self.state.frames[frame].stack.len();
        Ok(reached.then_some((frame, slot)))
    }

    /// Checks the place of a dynptr that a function makes, and makes it; `clone_of` is the
    /// reference that it shares.
    pub(super) fn make_dynptr(
        &mut self,
        reg: Reg,
        kind: DynptrKind,
        clone_of: Option<u32>,
    ) -> Check {
        self.check_on_stack(reg)?;
        self.object_place(reg, SLOTS, "dynptr")
            .map_err(|rejection| rejection.then("Dynptr has to be an uninitialized dynptr"))?;
        self.write_object(reg, SLOTS)?;
        let Some((frame, slot)) = self.object_place(reg, SLOTS, "dynptr")? else {
            return reject("Dynptr has to be an uninitialized dynptr");
        };
        self.destroy_dynptr(frame, slot)?;
        self.destroy_dynptr(frame, slot - 1)?;
        let id = self.new_id();
        let reference = match (kind, clone_of) {
            (DynptrKind::Ringbuf, Some(reference)) => reference,
            (DynptrKind::Ringbuf, None) => {
                let reference = self.new_id();
                self.state.references.push((reference, self.insn));
                reference
            }
            _ => 0,
        };
        for (index, first) in [(slot, true), (slot - 1, false)] {
            let mut register = Register::pointer(Kind::Dynptr { kind, first });
            (register.id, register.reference) = (id, reference);
            self.state.frames[frame].stack[index] = Slot {
                bytes: [Byte::Dynptr; 8],
                spilled: register,
            };
        }
        self.mark_written(frame, slot);
        Ok(())
    }

    /// Checks a dynptr that a function takes.
    pub(super) fn use_dynptr(&mut self, reg: Reg) -> Check<KnownDynptr> {
        self.check_on_stack(reg)?;
        let argument = reg.number() - 1;
        let expected = format!("Expected an initialized dynptr as arg #{argument}");
        let place = self.object_place(reg, SLOTS, "dynptr");
        let place = place.map_err(|rejection| rejection.then(expected.clone()))?;
        let known = place.and_then(|place| Some((place, self.dynptr_at(place)?)));
        let Some(((frame, slot), known)) = known else {
            return reject(expected);
        };
        self.mark_stack_read(frame, slot);
        self.mark_stack_read(frame, slot - 1);
        Ok(known)
    }

    /// Checks a dynptr that a function gives up, before the others are looked at.
    pub(super) fn check_released_dynptr(&mut self, reg: Reg) -> Check<KnownDynptr> {
        self.check_on_stack(reg)?;
        let unacquired = format!("arg {} is an unacquired reference", reg.number());
        let place = self.object_place(reg, SLOTS, "dynptr");
        let place = place.map_err(|rejection| rejection.then(unacquired.clone()))?;
        let acquired = place.is_some_and(|(frame, slot)| {
            self.state.frames[frame].stack[slot].spilled.reference != 0
        });
        if !acquired {
            return reject(unacquired);
        }
        let known = self.use_dynptr(reg)?;
        if known.kind != DynptrKind::Ringbuf {
            let argument = reg.number() - 1;
            return reject(format!(
                "Expected a dynptr of type ringbuf as arg #{argument}"
            ));
        }
        Ok(known)
    }

    /// Gives up the reference of a dynptr, with its clones and what leads into its memory
    /// (`unmark_stack_slots_dynptr`).
    pub(super) fn release_dynptr(&mut self, reg: Reg, dynptr: KnownDynptr) {
        let Ok(Some((frame, _))) = self.object_place(reg, SLOTS, "dynptr") else {
            return;
        };
        self.release_with_pointers(dynptr.reference);
        for slot in 1..self.state.frames[frame].stack.len() {
            let spilled = self.state.frames[frame].stack[slot].spilled;
            let first = matches!(spilled.kind, Kind::Dynptr { first: true, .. });
            if first && spilled.reference == dynptr.reference {
                self.forget_dynptr(frame, slot);
            }
        }
    }

    /// Gives up a reference; pointers that depend on it are numbers now.
    pub(super) fn release_with_pointers(&mut self, reference: u32) {
        self.state.release(reference);
        for register in self.state.all_registers() {
            if register.reference == reference {
                *register = Register::UNKNOWN;
            }
        }
    }

    /// A write to a slot of a dynptr destroys all of it, unless it must be given up
    /// (`destroy_if_dynptr_stack_slot`).
    pub(super) fn destroy_dynptr(&mut self, frame: usize, slot: usize) -> Check {
        let stack = &self.state.frames[frame].stack;
        let Some(spilled) = stack.get(slot).map(|slot| slot.spilled) else {
            return Ok(());
        };
        let Kind::Dynptr { kind, first } = spilled.kind else {
            return Ok(());
        };
        if kind == DynptrKind::Ringbuf {
            return reject("cannot overwrite referenced dynptr");
        }
        self.forget_dynptr(frame, if first { slot } else { slot + 1 });
        for register in self.state.all_registers() {
            // Linux looks for pointers that `bpf_dynptr_data` gave, not for slices.
            if matches!(register.kind, Kind::Memory { dynptr, slice: None, read_only: false, .. }
                if dynptr == spilled.id)
            {
                *register = Register::UNKNOWN;
            }
        }
        Ok(())
    }

    fn forget_dynptr(&mut self, frame: usize, slot: usize) {
        for index in [slot, slot - 1] {
            self.state.frames[frame].stack[index] = Slot::EMPTY;
        }
        self.mark_written(frame, slot);
    }

    fn mark_written(&mut self, frame: usize, slot: usize) {
        self.stack_live.write(frame, 1 << slot | 1 << (slot - 1));
    }

    /// The dynptr whose first slot this is.
    fn dynptr_at(&self, (frame, slot): ObjectPlace) -> Option<KnownDynptr> {
        let spilled = self.state.frames[frame].stack[slot].spilled;
        let Kind::Dynptr { kind, first: true } = spilled.kind else {
            return None;
        };
        Some(KnownDynptr {
            kind,
            id: spilled.id,
            reference: spilled.reference,
        })
    }

    fn check_on_stack(&self, reg: Reg) -> Check {
        if matches!(self.state.reg(reg.index()).kind, Kind::Stack(_)) {
            return Ok(());
        }
        let argument = reg.number() - 1;
        reject(format!(
            "arg#{argument} expected pointer to stack or const struct bpf_dynptr"
        ))
    }
}

/// A pointer into a dynptr's memory, to so many bytes.
pub(super) fn dynptr_memory(dynptr: KnownDynptr, size: u64) -> Register {
    let kind = Kind::Memory {
        dynptr: dynptr.id,
        slice: None,
        read_only: false,
        nullable: true,
    };
    Register {
        range: size as i32,
        reference: dynptr.reference,
        ..Register::pointer(kind)
    }
}
