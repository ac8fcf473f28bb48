//! Packet loads near each other share one read: the first reads the whole range into transfer
//! registers, all take their bytes from there.

use iom_core::isa::{Insn, Operand};
use iom_core::verifier::{Pointer, PointerFacts};

use crate::translate::step::{Cached, Step};

/// The longest range, in bytes.
const RANGE_BYTES: i32 = 64;

struct Range {
    /// Slot of the load that reads it.
    slot: usize,
    pointer: PointerFacts,
    start: i16,
    end: i16,
}

impl Range {
    fn new(slot: usize, pointer: PointerFacts, (start, end): (i16, i16)) -> Self {
        Self {
            slot,
            pointer,
            start,
            end,
        }
    }

    /// Grows to hold the bytes, if they are near and belong to the same pointer.
    fn takes(&mut self, pointer: PointerFacts, (start, end): (i16, i16)) -> bool {
        let same = pointer.id == self.pointer.id
            && pointer.offset == self.pointer.offset
            && !pointer.differs_by_path
            && !self.pointer.differs_by_path;
        let (start, end) = (start.min(self.start), end.max(self.end));
        let is_grown = (start, end) != (self.start, self.end);
        if !same || is_grown && i32::from(end) - i32::from(start) > RANGE_BYTES {
            return false;
        }
        (self.start, self.end) = (start, end);
        true
    }
}

/// What an instruction means for the cache.
enum Effect {
    None,
    /// The transfer registers, or the packet, change.
    Flush,
    /// A load of these bytes of the packet.
    Load(PointerFacts, (i16, i16)),
}

fn effect(step: &Step<'_>) -> Effect {
    let is_packet = step.points_to() == Some(Pointer::Packet);
    match step.insn {
        Insn::Store {
            src: Operand::Reg(_) | Operand::Imm(_),
            ..
        } if is_packet => Effect::Flush,
        Insn::Call { .. } | Insn::LoadPacket { .. } => Effect::Flush,
        Insn::Load {
            size,
            off,
            signed: false,
            ..
        } => match step.facts.pointer {
            Some(pointer) if is_packet && step.gather.is_none() => {
                Effect::Load(pointer, (off, off.wrapping_add(size.bytes() as i16)))
            }
            _ => Effect::Flush,
        },
        _ => Effect::None,
    }
}

pub(super) fn cache_loads(steps: &mut [Step<'_>]) {
    let mut current = None;
    let mut valid = false;
    for slot in 0..steps.len() {
        valid &= !steps[slot].is_target;
        if steps[slot].is_skipped() {
            continue;
        }
        match effect(&steps[slot]) {
            Effect::None => {}
            Effect::Flush => valid = false,
            Effect::Load(pointer, bytes) => {
                let joins = |range: &mut Range| valid && range.takes(pointer, bytes);
                if !current.as_mut().is_some_and(joins) {
                    install(steps, current.as_ref());
                    current = Some(Range::new(slot, pointer, bytes));
                }
                valid = true;
            }
        }
    }
    install(steps, current.as_ref());
    share(steps);
}

fn install(steps: &mut [Step<'_>], range: Option<&Range>) {
    if let Some(&Range {
        slot, start, end, ..
    }) = range
    {
        steps[slot].cached = Some(Cached {
            start,
            end,
            reads: true,
        });
    }
}

/// Gives every packet load the range that was read last before it, in program order.
fn share(steps: &mut [Step<'_>]) {
    let mut range = None;
    for step in steps.iter_mut().filter(|step| !step.is_skipped()) {
        if matches!(effect(step), Effect::Load(..)) {
            match step.cached {
                Some(cached) => range = Some(cached),
                None => {
                    step.cached = range.map(|cached| Cached {
                        reads: false,
                        ..cached
                    });
                }
            }
        }
    }
    for step in steps {
        // A range that ends at the base register itself reads as "no range" in the driver.
        step.cached = step.cached.filter(|cached| cached.end != 0);
    }
}
