//! Calls of kernel functions (`check_kfunc_call`).

use super::explore::Verifier;
use super::reject::{Check, reject};
use crate::kfunc::Kfunc;

impl Verifier<'_> {
    /// Checks a call of a kernel function.
    pub(super) fn call_kfunc(&mut self, kfunc: Kfunc) -> Check {
        let (slot, name) = (self.insn, kfunc.name());
        reject(format!(
            "calls of {name} are not followed by this verifier (instruction {slot})"
        ))
    }
}
