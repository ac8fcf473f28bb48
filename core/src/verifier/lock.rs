//! Spin locks in map values (`process_spin_lock`): one at a time, nothing but its unlocking is
//! called while it is held, and no path ends with it.

use super::explore::Verifier;
use super::maps::Special;
use super::register::Kind;
use super::reject::{Check, reject};
use crate::helper::number;
use crate::isa::{CallTarget, Reg};

impl Verifier<'_> {
    /// Refuses calls that may not happen while a lock is held.
    pub(super) fn check_call_with_lock(&self, target: CallTarget) -> Check {
        let allowed = match target {
            CallTarget::Helper(helper) => helper == number::SPIN_UNLOCK,
            CallTarget::Kfunc { .. } | CallTarget::Kernel(_) => false,
            CallTarget::Local(_) => true,
        };
        if self.state.lock.is_some() && !allowed {
            return reject("function calls are not allowed while holding a lock");
        }
        Ok(())
    }

    /// Refuses to leave a region that must end with the lock given up.
    pub(super) fn check_no_lock(&self, what: &str) -> Check {
        if self.state.lock.is_some() {
            return reject(format!(
                "{what} cannot be used inside bpf_spin_lock-ed region"
            ));
        }
        Ok(())
    }

    /// Takes or gives up the lock that a register points to.
    pub(super) fn spin_lock(&mut self, reg: Reg, takes: bool) -> Check {
        let register = *self.state.reg(reg.index());
        let Kind::MapValue { map, .. } = register.kind else {
            return Ok(());
        };
        let Some(variable) = register.scalar.as_const(false) else {
            return reject(format!(
                "R{} doesn't have constant offset. bpf_spin_lock has to be at the constant offset",
                reg.number()
            ));
        };
        let name = kernel_name(&self.map(map).name);
        if !self.maps.is_typed(map) {
            return reject(format!(
                "map '{name}' has to have BTF in order to use bpf_spin_lock"
            ));
        }
        let Some(field) = self.maps.field(map, Special::SpinLock) else {
            return reject(format!("map '{name}' has no valid bpf_spin_lock"));
        };
        let offset = i64::from(register.offset) + variable as i64;
        if offset != i64::from(field.offset) {
            return reject(format!(
                "off {offset} doesn't point to 'struct bpf_spin_lock' that is at {}",
                field.offset
            ));
        }
        let lock = (map, register.id);
        match (self.state.lock, takes) {
            (Some(_), true) => reject("Locking two bpf_spin_locks are not allowed"),
            (None, true) => {
                self.state.lock = Some(lock);
                Ok(())
            }
            (None, false) => reject("bpf_spin_unlock without taking a lock"),
            (Some(held), false) if held != lock => reject("bpf_spin_unlock of different lock"),
            (Some(_), false) => {
                self.state.lock = None;
                Ok(())
            }
        }
    }
}

/// A map's name as the kernel keeps it.
fn kernel_name(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}
