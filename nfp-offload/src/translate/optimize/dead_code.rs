//! What the kernel takes out of a program before the driver translates it (`verifier.c`:
//! `opt_hard_wire_dead_code_branches`, `opt_remove_dead_code`, `opt_remove_nops`).

use iom_core::isa::Insn;
use iom_core::module::Program;
use iom_core::verifier::Facts;

/// Marks instructions that nothing reaches, and jumps that lead to the next instruction left.
pub fn mark_removed(program: &Program, facts: &mut Facts) {
    let mut reached: Vec<bool> = facts.insns.iter().map(|insn| insn.reachable).collect();
    reached.resize(program.insns.len(), false);
    for (slot, insn) in program.insns.iter().enumerate() {
        // A path passes over the second half of a wide load.
        if *insn == Insn::WideTail && slot > 0 {
            reached[slot] = reached[slot - 1];
        }
    }
    let is_reached = |slot: i64| {
        usize::try_from(slot).is_ok_and(|slot| reached.get(slot).copied().unwrap_or(false))
    };
    for (slot, (insn, facts)) in program.insns.iter().zip(&mut facts.insns).enumerate() {
        let next = slot as i64 + 1;
        let has_no_effect = insn.jump_target(slot).is_some_and(|target| match insn {
            Insn::JumpIf { .. } if is_reached(next) => !is_reached(target),
            _ => target >= next && !(next..target).any(is_reached),
        });
        facts.removed = !reached[slot] || has_no_effect;
    }
}
