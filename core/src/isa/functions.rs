//! Where the functions of a program start, as its instructions say.

use super::Insn;
use std::collections::BTreeSet;

/// Slots where functions start: the entry, and whatever is called or has its address taken.
/// Targets outside of the program or in the middle of a wide load start no function.
pub fn function_starts(insns: &[Insn]) -> BTreeSet<usize> {
    let targets = insns
        .iter()
        .enumerate()
        .filter_map(|(slot, insn)| slot_at(insns, insn.function_target(slot)?));
    std::iter::once(0).chain(targets).collect()
}

/// The slot that a target means, if an instruction starts there.
pub(super) fn slot_at(insns: &[Insn], target: i64) -> Option<usize> {
    let slot = usize::try_from(target).ok()?;
    insns.get(slot).filter(|insn| **insn != Insn::WideTail)?;
    Some(slot)
}
