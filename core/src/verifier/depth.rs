//! The stack of each chain of calls (`check_max_stack_depth`), callbacks included.

use super::explore::Verifier;
use super::linux_6_1::Rules;
use super::reject::{Check, reject};
use super::state::MAX_FRAMES;
use crate::helper::number;
use crate::isa::{CallTarget, Imm64, Insn};

/// Bytes of stack that a chain of calls may use.
const MAX_CHAIN: i64 = 512;
/// Bytes that callers may use of a function with a tail call.
const WITH_TAIL_CALLS: i64 = 256;

/// A function of a chain.
struct Link {
    function: usize,
    /// The next slot to look at.
    slot: usize,
    /// Bytes of its callers' stacks.
    below: i64,
}

impl Verifier<'_> {
    /// Checks the stack of each chain of calls.
    pub(super) fn check_call_depth(&self) -> Check {
        let mut chain = vec![self.enter(0, 0, 1)?];
        while let Some(link) = chain.last_mut() {
            let (_, end) = self.bounds_of(link.function);
            let mut slots = link.slot..end;
            let Some((slot, callee)) = slots.find_map(|slot| Some((slot, self.callee_at(slot)?)))
            else {
                chain.pop();
                continue;
            };
            link.slot = slot + 1;
            let below = link.below + self.rounded_depth(link.function);
            if chain.len() >= MAX_FRAMES {
                let frames = chain.len();
                return reject(format!("the call stack of {frames} frames is too deep !"));
            }
            chain.push(self.enter(callee, below, chain.len() + 1)?);
        }
        Ok(())
    }

    /// One more function on a chain.
    fn enter(&self, function: usize, below: i64, frames: usize) -> Check<Link> {
        if function != 0 && below >= WITH_TAIL_CALLS && self.has_tail_call(function) {
            return reject(format!(
                "tail_calls are not allowed when call stack of previous frames is {below} bytes. Too large"
            ));
        }
        let depth = below + self.rounded_depth(function);
        if depth > MAX_CHAIN {
            return reject(format!(
                "combined stack size of {frames} calls is {depth}. Too large"
            ));
        }
        Ok(Link {
            function,
            slot: self.bounds_of(function).0,
            below,
        })
    }

    fn rounded_depth(&self, function: usize) -> i64 {
        let (least, unit) = match self.options.rules {
            Rules::Linux6_18 => (0, 16),
            // The unit of the interpreter's stacks.
            Rules::Linux6_1 => (1, 32),
        };
        (self.stack_depth[function].max(least) + unit - 1) / unit * unit
    }

    /// The function that an instruction calls, or whose address it takes.
    fn callee_at(&self, slot: usize) -> Option<usize> {
        let insn = &self.program.insns[slot];
        let calls = matches!(
            insn,
            Insn::Call {
                target: CallTarget::Local(_)
            } | Insn::LoadImm64 {
                value: Imm64::Function { .. },
                ..
            }
        );
        let target = insn.function_target(slot).filter(|_| calls)?;
        Some(self.program.function_of(target as usize))
    }

    pub(super) fn has_tail_call(&self, function: usize) -> bool {
        let (start, end) = self.bounds_of(function);
        let target = CallTarget::Helper(number::TAIL_CALL);
        self.program.insns[start..end].contains(&Insn::Call { target })
    }
}
