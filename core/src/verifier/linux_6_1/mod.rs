//! What Linux 6.1 does in another way than Linux 6.18. The nfp driver's words depend on it: ranges
//! and offsets come from the paths that the verifier of that version visits.

mod bounds;
mod parentage;
mod precision;
mod prune;
mod stack;

pub(super) use parentage::FrameMarks;

use super::branch;
use super::register::Register;
use super::reject::Rejection;
use super::scalar::Scalar;
use super::state::State;
use crate::isa::{AluOp, Condition, Reg, Width};

/// Whose rules hold where versions of Linux differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// Those of Linux 6.18.
    #[default]
    Linux6_18,
    /// Those of Linux 6.1, which the nfp driver's facts come from. Functions of the kernel,
    /// callbacks, references and locks are not followed by them.
    Linux6_1,
}

impl Rules {
    pub(super) fn are_6_1(self) -> bool {
        self == Self::Linux6_1
    }

    /// What is said of a helper's access to the stack.
    pub(super) fn by_helper(self, mut rejection: Rejection) -> Rejection {
        if self.are_6_1() {
            for message in &mut rejection.messages {
                for verb in [" read from", " write to"] {
                    *message = message.replace(verb, " indirect access to");
                }
            }
        }
        rejection
    }

    /// Spreads what each member of a number says to the others (`reg_bounds_sync`).
    pub(super) fn sync(self, scalar: &mut Scalar) {
        match self {
            Self::Linux6_18 => scalar.sync(),
            Self::Linux6_1 => bounds::sync(scalar),
        }
    }

    /// Gives up bounds that contradict each other, which only later versions do.
    pub(super) fn sanitize(self, scalar: &mut Scalar) {
        match self {
            Self::Linux6_18 => scalar.sanitize(),
            Self::Linux6_1 => {}
        }
    }

    /// Addition without spreading what was learnt.
    pub(super) fn add(self, scalar: &mut Scalar, other: &Scalar) {
        match self {
            Self::Linux6_18 => scalar.add(other),
            Self::Linux6_1 => bounds::add(scalar, other),
        }
    }

    /// `scalar op= other`.
    pub(super) fn compute(self, scalar: &mut Scalar, op: AluOp, width: Width, other: &Scalar) {
        match self {
            Self::Linux6_18 => scalar.compute(op, width, other),
            Self::Linux6_1 => bounds::compute(scalar, op, width, other),
        }
    }

    /// `scalar = -scalar`, of which Linux 6.1 knows nothing.
    pub(super) fn negate(self, scalar: &mut Scalar, width: Width) {
        match self {
            Self::Linux6_18 => scalar.negate(width),
            Self::Linux6_1 => *scalar = Scalar::UNKNOWN,
        }
    }

    /// Keeps the low `bytes` bytes, as a load does.
    pub(super) fn truncate(self, scalar: &mut Scalar, bytes: u32) {
        match self {
            Self::Linux6_18 => scalar.truncate(bytes),
            Self::Linux6_1 => bounds::truncate(scalar, bytes),
        }
    }

    /// Whether a jump on two numbers is taken, if that is known.
    pub(super) fn is_taken(
        self,
        a: &Scalar,
        b: &Scalar,
        cond: Condition,
        half: bool,
    ) -> Option<bool> {
        match self {
            Self::Linux6_18 => branch::is_taken(a, b, cond, half),
            Self::Linux6_1 => bounds::is_taken(a, b, cond, half),
        }
    }

    /// Narrows both numbers by the condition that holds, or, if `holds` is false, does not hold.
    pub(super) fn learn(
        self,
        a: &mut Scalar,
        b: &mut Scalar,
        cond: Condition,
        half: bool,
        holds: bool,
    ) {
        match self {
            Self::Linux6_18 => branch::learn(a, b, cond, half, holds),
            Self::Linux6_1 => bounds::learn(a, b, cond, half, holds),
        }
    }
}

impl State {
    /// Hands what a number learnt to all that were copied from it (`find_equal_scalars`).
    pub(super) fn share_6_1(&mut self, known: Reg) {
        let source = *self.reg(known.index());
        if !source.is_scalar() || source.id == 0 {
            return;
        }
        let equal = |register: &&mut Register| register.is_scalar() && register.id == source.id;
        for register in self.all_registers().filter(equal) {
            let half_written_at = register.half_written_at;
            *register = source;
            register.half_written_at = half_written_at;
        }
    }
}
