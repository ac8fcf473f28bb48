//! Dynptrs: their slots on the stack, and the memory that they lead to.

use super::explore::Verifier;
use super::reject::{Check, reject};

impl Verifier<'_> {
    /// Checks an argument that is a dynptr.
    pub(super) fn check_dynptr_argument(&mut self) -> Check {
        let slot = self.insn;
        reject(format!(
            "dynptrs are not followed by this verifier (instruction {slot})"
        ))
    }
}
