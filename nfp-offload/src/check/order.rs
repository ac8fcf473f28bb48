//! The order in which the kernel's verifier first comes to the instructions: along the path that
//! does not jump, then back to the branches left.

use iom_core::isa::Insn;
use iom_core::module::Program;
use iom_core::verifier::Facts;

/// Slots that are reached, in order of the first visit.
pub(super) fn visited(program: &Program, facts: &Facts) -> Vec<usize> {
    let mut seen: Vec<bool> = facts.insns.iter().map(|insn| !insn.reachable).collect();
    let mut order = Vec::with_capacity(seen.len());
    let mut left = vec![0];
    while let Some(mut slot) = left.pop() {
        while seen.get(slot) == Some(&false) {
            seen[slot] = true;
            order.push(slot);
            let insn = program.insns[slot];
            let target = insn.jump_target(slot).or(insn.function_target(slot));
            let target = target.and_then(|target| usize::try_from(target).ok());
            slot = match (insn, target) {
                (Insn::Exit, _) => break,
                (Insn::Jump { .. }, Some(target)) => target,
                // Into the function first, then on behind the call.
                (Insn::Call { .. }, Some(target)) => {
                    left.push(slot + 1);
                    target
                }
                (_, Some(target)) => {
                    left.push(target);
                    slot + 1
                }
                (Insn::LoadImm64 { .. }, None) => slot + 2,
                (_, None) => slot + 1,
            };
        }
    }
    order
}
