//! An instruction as the translator sees it: with its facts, and with what the optimisation
//! passes decided. The driver's `struct nfp_insn_meta`.

use iom_core::isa::{CallTarget, Insn, Reg};
use iom_core::module::Program;
use iom_core::verifier::{Facts, InsnFacts, Pointer};

/// One slot of the program.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent decisions of passes that do not know each other"
)]
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    /// The instruction; passes may have changed its operation, constant or offset.
    pub(super) insn: Insn,
    pub(super) facts: &'a InsnFacts,
    /// A jump or call leads here, even one that is itself removed.
    pub(super) is_target: bool,
    /// A function other than the entry starts here.
    pub(super) starts_function: bool,
    /// Words of an instruction before it do its work.
    pub(super) merged: bool,
    /// A comparison with a negative constant became an addition.
    pub(super) negated: bool,
    /// A load that became a copy of several.
    pub(super) gather: Option<Gather>,
    /// A packet load that takes its bytes from transfer registers.
    pub(super) cached: Option<Cached>,
}

/// A chain of loads and stores that is one copy; the load's own offset is the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gather {
    pub(super) len: u16,
    /// The program copied from the highest address down.
    pub(super) descending: bool,
    pub(super) store_base: Reg,
    pub(super) store_off: i16,
}

/// The part of the packet that is in transfer registers, by offset from the base register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) start: i16,
    pub(super) end: i16,
    /// This load reads it.
    pub(super) reads: bool,
}

impl Step<'_> {
    /// No words are made for it.
    pub(super) fn is_skipped(&self) -> bool {
        self.merged || self.facts.removed
    }

    /// What its base register points to.
    pub(super) fn points_to(&self) -> Option<Pointer> {
        self.facts.pointer.map(|pointer| pointer.to)
    }
}

/// The program as steps, one for each slot.
pub(super) fn steps<'a>(program: &Program, facts: &'a Facts) -> Vec<Step<'a>> {
    let mut steps: Vec<_> = program
        .insns
        .iter()
        .zip(&facts.insns)
        .map(|(insn, facts)| Step {
            insn: *insn,
            facts,
            is_target: false,
            starts_function: false,
            merged: false,
            negated: false,
            gather: None,
            cached: None,
        })
        .collect();
    for (slot, insn) in program.insns.iter().enumerate() {
        let is_call = matches!(
            insn,
            Insn::Call {
                target: CallTarget::Local(_)
            }
        );
        let called = insn.function_target(slot).filter(|_| is_call);
        let target = insn.jump_target(slot).or(called);
        let target = target.and_then(|target| usize::try_from(target).ok());
        if let Some(step) = target.and_then(|target| steps.get_mut(target)) {
            step.is_target = true;
            step.starts_function |= is_call;
        }
    }
    steps
}
