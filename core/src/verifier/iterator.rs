//! Number iterators on the stack (`process_iter_arg`, `process_iter_next_call`): a call of the
//! next-function has two ways out, one with a number and one with the iterator drained. Paths round
//! the loop end when they meet an earlier state of it, numbers widened.

use super::explore::Verifier;
use super::register::{Kind, Register};
use super::reject::{Check, reject};
use super::state::{Byte, Slot, State};
use crate::isa::{CallTarget, Insn, Reg};
use crate::kfunc::Kfunc;

/// Whether an instruction calls the next-function of an iterator.
pub(super) fn is_next_call(insn: &Insn) -> bool {
    let target = CallTarget::Kernel(Kfunc::IterNumNext);
    *insn == Insn::Call { target }
}

/// Whether an iterator went round more often in one of two states.
pub(super) fn depths_differ(old: &State, new: &State) -> bool {
    let depth = |slot: &Slot| match slot.spilled.kind {
        Kind::Iterator {
            drained: false,
            depth,
        } => Some(depth),
        _ => None,
    };
    let frames = old.frames.iter().zip(&new.frames);
    let mut slots = frames.flat_map(|(old, new)| old.stack.iter().zip(&new.stack));
    slots.any(|(old, new)| depth(old).is_some_and(|old| depth(new).is_some_and(|new| old != new)))
}

impl Verifier<'_> {
    /// Checks the iterator argument of a function, and makes or ends the iterator if the function
    /// does that. Gives the reference that the program holds with it.
    pub(super) fn check_iterator(&mut self, kfunc: Kfunc, reg: Reg) -> Check<u32> {
        let argument = reg.number() - 1;
        if !matches!(self.state.reg(reg.index()).kind, Kind::Stack(_)) {
            return reject(format!(
                "arg#{argument} expected pointer to an iterator on stack"
            ));
        }
        let place = self.object_place(reg, 1, "iter");
        if kfunc == Kfunc::IterNumNew {
            let expected = format!("expected uninitialized iter_num as arg #{argument}");
            let place = place.map_err(|rejection| rejection.then(expected.clone()))?;
            let taken = place.is_some_and(|(frame, slot)| {
                let bytes = &self.state.frames[frame].stack[slot].bytes;
                bytes.contains(&Byte::Iterator)
            });
            if taken {
                return reject(expected);
            }
            return self.make_iterator(reg);
        }
        let expected = format!("expected an initialized iter_num as arg #{argument}");
        let place = place.map_err(|rejection| rejection.then(expected.clone()))?;
        let found = place.filter(|(frame, slot)| {
            let spilled = self.state.frames[*frame].stack[*slot].spilled;
            matches!(spilled.kind, Kind::Iterator { .. })
        });
        let Some((frame, slot)) = found else {
            return reject(expected);
        };
        self.mark_stack_read(frame, slot);
        let reference = self.state.frames[frame].stack[slot].spilled.reference;
        if kfunc == Kfunc::IterNumDestroy {
            self.release_with_pointers(reference);
            self.state.frames[frame].stack[slot] = Slot::EMPTY;
            self.stack_live.write(frame, 1 << slot);
        }
        Ok(reference)
    }

    fn make_iterator(&mut self, reg: Reg) -> Check<u32> {
        self.write_object(reg, 1)?;
        let Some((frame, slot)) = self.object_place(reg, 1, "iter")? else {
            return reject("expected uninitialized iter_num as arg #0");
        };
        let reference = self.new_id();
        self.state.references.push((reference, self.insn));
        let kind = Kind::Iterator {
            drained: false,
            depth: 0,
        };
        self.state.frames[frame].stack[slot] = Slot {
            bytes: [Byte::Iterator; 8],
            spilled: Register {
                reference,
                ..Register::pointer(kind)
            },
        };
        self.stack_live.write(frame, 1 << slot);
        Ok(reference)
    }

    /// The call of the next-function at hand: a path with a number is put aside, and this one goes
    /// on with the iterator drained. `number` is what `r0` points to on the other path.
    pub(super) fn go_round(&mut self, place: (usize, usize), number: Register) -> Check {
        let (frame, slot) = place;
        let mut iterator = self.state.frames[frame].stack[slot].spilled;
        let Kind::Iterator { drained, depth } = iterator.kind else {
            return Ok(());
        };
        if !drained {
            let mut queued = self.state.clone();
            queued.frames[frame].stack[slot].spilled.kind = Kind::Iterator {
                drained,
                depth: depth + 1,
            };
            *queued.reg_mut(0) = number;
            self.widen_from_last_round(&mut queued);
            self.push_path(self.insn + 1, queued)?;
        }
        iterator.kind = Kind::Iterator {
            drained: true,
            depth,
        };
        self.state.frames[frame].stack[slot].spilled = iterator;
        self.set(Reg::R0, Register::constant(0));
        Ok(())
    }

    /// Whether the iterator that the call at hand takes has numbers left.
    pub(super) fn iterator_is_active(&self) -> bool {
        let place = self.object_place(Reg::R1, 1, "iter");
        matches!(place, Ok(Some((frame, slot)))
            if matches!(self.state.frames[frame].stack[slot].spilled.kind,
                Kind::Iterator { drained: false, .. }))
    }
}
