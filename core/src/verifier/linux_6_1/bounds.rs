//! Numbers as Linux 6.1 follows them: fewer deductions between signed and unsigned, whole and half,
//! and arithmetic that gives up earlier (`adjust_scalar_min_max_vals`, `reg_set_min_max`).

use crate::isa::{AluOp, Condition, Width};
use crate::verifier::branch;
use crate::verifier::scalar::Scalar;
use crate::verifier::tnum::Tnum;

/// `reg_bounds_sync`: one round.
pub(super) fn sync(scalar: &mut Scalar) {
    scalar.bounds_from_bits();
    deduce_32(scalar);
    deduce_64(scalar);
    bits_from_bounds(scalar);
    scalar.bounds_from_bits();
}

/// A range that does not cross the sign is the same, signed and unsigned (`__reg32_deduce_bounds`).
fn deduce_32(s: &mut Scalar) {
    if s.s32_min >= 0 || s.s32_max < 0 {
        s.u32_min = s.u32_min.max(s.s32_min as u32);
        s.u32_max = s.u32_max.min(s.s32_max as u32);
        (s.s32_min, s.s32_max) = (s.u32_min as i32, s.u32_max as i32);
    } else if s.u32_max as i32 >= 0 {
        s.s32_min = s.u32_min as i32;
        s.u32_max = s.u32_max.min(s.s32_max as u32);
        s.s32_max = s.u32_max as i32;
    } else if (s.u32_min as i32) < 0 {
        s.u32_min = s.u32_min.max(s.s32_min as u32);
        s.s32_min = s.u32_min as i32;
        s.s32_max = s.u32_max as i32;
    }
}

fn deduce_64(s: &mut Scalar) {
    if s.smin >= 0 || s.smax < 0 {
        s.umin = s.umin.max(s.smin as u64);
        s.umax = s.umax.min(s.smax as u64);
        (s.smin, s.smax) = (s.umin as i64, s.umax as i64);
    } else if s.umax as i64 >= 0 {
        s.smin = s.umin as i64;
        s.umax = s.umax.min(s.smax as u64);
        s.smax = s.umax as i64;
    } else if (s.umin as i64) < 0 {
        s.umin = s.umin.max(s.smin as u64);
        s.smin = s.umin as i64;
        s.smax = s.umax as i64;
    }
}

fn bits_from_bounds(s: &mut Scalar) {
    let whole = s.bits.intersect(Tnum::range(s.umin, s.umax));
    let low = Tnum::range(u64::from(s.u32_min), u64::from(s.u32_max));
    s.bits = whole.high().or(whole.low().intersect(low));
}

/// Bounds of the whole after the low half changed (`__reg_combine_32_into_64`).
fn spread_low(s: &mut Scalar) {
    if s.bits.high() == Tnum::constant(0) {
        s.zero_extend_32();
    } else {
        s.forget_bounds_64();
    }
    sync(s);
}

/// Bounds of the low half after the whole changed (`__reg_combine_64_into_32`).
fn spread_whole(s: &mut Scalar) {
    s.forget_bounds_32();
    if let (Ok(min), Ok(max)) = (i32::try_from(s.smin), i32::try_from(s.smax)) {
        (s.s32_min, s.s32_max) = (min, max);
    }
    if let (Ok(min), Ok(max)) = (u32::try_from(s.umin), u32::try_from(s.umax)) {
        (s.u32_min, s.u32_max) = (min, max);
    }
    sync(s);
}

/// `coerce_reg_to_size`.
pub(super) fn truncate(s: &mut Scalar, bytes: u32) {
    s.bits = s.bits.truncate(bytes);
    let mask = u64::MAX >> (64 - 8 * bytes);
    (s.umin, s.umax) = if s.umin & !mask == s.umax & !mask {
        (s.umin & mask, s.umax & mask)
    } else {
        (0, mask)
    };
    (s.smin, s.smax) = (s.umin as i64, s.umax as i64);
    if bytes < 4 {
        spread_whole(s);
    }
}

/// Addition without spreading what was learnt; a bound that may wrap makes both unknown.
pub(super) fn add(s: &mut Scalar, other: &Scalar) {
    let low = (
        s.u32_min.checked_add(other.u32_min),
        s.u32_max.checked_add(other.u32_max),
    );
    let whole = (
        s.umin.checked_add(other.umin),
        s.umax.checked_add(other.umax),
    );
    s.add(other);
    (s.u32_min, s.u32_max) = low.0.zip(low.1).unwrap_or((0, u32::MAX));
    (s.umin, s.umax) = whole.0.zip(whole.1).unwrap_or((0, u64::MAX));
}

fn sub(s: &mut Scalar, other: &Scalar) {
    let low = (s.u32_min.checked_sub(other.u32_max))
        .map(|min| (min, s.u32_max.wrapping_sub(other.u32_min)));
    let whole = (s.umin.checked_sub(other.umax)).map(|min| (min, s.umax.wrapping_sub(other.umin)));
    s.sub(other);
    (s.u32_min, s.u32_max) = low.unwrap_or((0, u32::MAX));
    (s.umin, s.umax) = whole.unwrap_or((0, u64::MAX));
}

/// Multiplication of small numbers that are not negative.
fn mul(s: &mut Scalar, other: &Scalar) {
    s.bits = mul_bits(s.bits, other.bits);
    let small = other.u32_max <= 0xffff && s.u32_max <= 0xffff;
    if other.s32_min < 0 || s.s32_min < 0 || !small {
        s.forget_bounds_32();
    } else {
        s.u32_min = s.u32_min.wrapping_mul(other.u32_min);
        s.u32_max = s.u32_max.wrapping_mul(other.u32_max);
        let fits = i32::try_from(s.u32_max).map(|max| (s.u32_min as i32, max));
        (s.s32_min, s.s32_max) = fits.unwrap_or((i32::MIN, i32::MAX));
    }
    let limit = u64::from(u32::MAX);
    if other.smin < 0 || s.smin < 0 || other.umax > limit || s.umax > limit {
        s.forget_bounds_64();
    } else {
        s.umin = s.umin.wrapping_mul(other.umin);
        s.umax = s.umax.wrapping_mul(other.umax);
        let fits = i64::try_from(s.umax).map(|max| (s.umin as i64, max));
        (s.smin, s.smax) = fits.unwrap_or((i64::MIN, i64::MAX));
    }
}

/// Long multiplication with the sums of values and of masks kept apart (`tnum_mul`).
fn mul_bits(mut a: Tnum, mut b: Tnum) -> Tnum {
    let value = a.value.wrapping_mul(b.value);
    let mut masks = Tnum::constant(0);
    while a != Tnum::constant(0) {
        let mask = match (a.value & 1, a.mask & 1) {
            (1, _) => b.mask,
            (_, 1) => b.value | b.mask,
            _ => 0,
        };
        masks = masks.add(Tnum { value: 0, mask });
        (a, b) = (a.rsh(1), b.lsh(1));
    }
    Tnum::constant(value).add(masks)
}

/// A bitwise operation: which bounds it gives from the result's bits and the operands'.
fn bitwise(s: &mut Scalar, other: &Scalar, op: AluOp) {
    let old = *s;
    s.bits = match op {
        AluOp::And => s.bits.and(other.bits),
        AluOp::Or => s.bits.or(other.bits),
        _ => s.bits.xor(other.bits),
    };
    let low = s.bits.low();
    // Linux asks whether the result is constant, not the old destination.
    if low.is_const() && other.bits.low().is_const() {
        let value = low.value as u32;
        (s.u32_min, s.u32_max) = (value, value);
        (s.s32_min, s.s32_max) = (value as i32, value as i32);
    } else {
        let any = (low.value | low.mask) as u32;
        (s.u32_min, s.u32_max) = match op {
            AluOp::And => (low.value as u32, old.u32_max.min(other.u32_max)),
            AluOp::Or => (old.u32_min.max(other.u32_min), any),
            _ => (low.value as u32, any),
        };
        (s.s32_min, s.s32_max) = if old.s32_min < 0 || other.s32_min < 0 {
            (i32::MIN, i32::MAX)
        } else {
            (s.u32_min as i32, s.u32_max as i32)
        };
    }
    if s.bits.is_const() && other.bits.is_const() {
        *s = Scalar::constant(s.bits.value);
        return;
    }
    let any = s.bits.value | s.bits.mask;
    (s.umin, s.umax) = match op {
        AluOp::And => (s.bits.value, old.umax.min(other.umax)),
        AluOp::Or => (old.umin.max(other.umin), any),
        _ => (s.bits.value, any),
    };
    (s.smin, s.smax) = if old.smin < 0 || other.smin < 0 {
        (i64::MIN, i64::MAX)
    } else {
        (s.umin as i64, s.umax as i64)
    };
    s.bounds_from_bits();
}

/// Whether an operand's members contradict each other, as on paths that are never taken.
fn is_broken(other: &Scalar, width: Width) -> bool {
    let known = other.as_const(width == Width::W32).is_some();
    match width {
        Width::W32 => {
            (known && (other.s32_min != other.s32_max || other.u32_min != other.u32_max))
                || other.s32_min > other.s32_max
                || other.u32_min > other.u32_max
        }
        Width::W64 => {
            (known && (other.smin != other.smax || other.umin != other.umax))
                || other.smin > other.smax
                || other.umin > other.umax
        }
    }
}

/// `scalar op= other`; says whether the result is followed at all.
pub(super) fn is_followed(op: AluOp, width: Width, other: &Scalar) -> bool {
    let always = matches!(op, AluOp::Add | AluOp::Sub | AluOp::And);
    (always || other.as_const(width == Width::W32).is_some()) && !is_broken(other, width)
}

/// `scalar op= other`.
pub(super) fn compute(s: &mut Scalar, op: AluOp, width: Width, other: &Scalar) {
    if !is_followed(op, width, other) {
        *s = Scalar::UNKNOWN;
        return;
    }
    let limit = if width == Width::W32 { 32 } else { 64 };
    match op {
        AluOp::Add => add(s, other),
        AluOp::Sub => sub(s, other),
        AluOp::Mul => mul(s, other),
        AluOp::And | AluOp::Or | AluOp::Xor => bitwise(s, other, op),
        AluOp::Lsh if other.umax < limit => s.lsh(width, other.umin as u32),
        AluOp::Rsh if other.umax < limit => s.rsh(width, other.umin as u32),
        AluOp::Arsh if other.umax < limit => s.arsh(width, other.umin as u32),
        AluOp::Lsh
        | AluOp::Rsh
        | AluOp::Arsh
        | AluOp::Div
        | AluOp::SignedDiv
        | AluOp::Mod
        | AluOp::SignedMod => *s = Scalar::UNKNOWN,
    }
    if width == Width::W32 {
        s.zero_extend_32();
    }
    sync(s);
}

/// `is_branch_taken`: only comparisons with constants are decided, equality by the bits alone. Where
/// bounds contradict each other, whether the jump is taken is asked first.
pub(super) fn is_taken(a: &Scalar, b: &Scalar, cond: Condition, half: bool) -> Option<bool> {
    let value = b.as_const(half)?;
    let signed = value as i64;
    let ((umin, umax), (smin, smax), signed) = if half {
        let unsigned = (a.u32_min.into(), a.u32_max.into());
        let signed = i64::from(value as i32);
        (unsigned, (a.s32_min.into(), a.s32_max.into()), signed)
    } else {
        ((a.umin, a.umax), (a.smin, a.smax), signed)
    };
    let known = || a.as_const(half).map(|known| known == value);
    let decide = |taken: bool, passed: bool| (taken || passed).then_some(taken);
    match cond {
        Condition::Eq => known(),
        Condition::Ne => known().map(|equal| !equal),
        Condition::Set => branch::is_taken(a, &Scalar::constant(value), cond, half),
        Condition::Gt => decide(umin > value, umax <= value),
        Condition::Ge => decide(umin >= value, umax < value),
        Condition::Lt => decide(umax < value, umin >= value),
        Condition::Le => decide(umax <= value, umin > value),
        Condition::SignedGt => decide(smin > signed, smax <= signed),
        Condition::SignedGe => decide(smin >= signed, smax < signed),
        Condition::SignedLt => decide(smax < signed, smin >= signed),
        Condition::SignedLe => decide(smax <= signed, smin > signed),
    }
}

/// What a comparison says about both numbers, if one of them is constant or if they are equal.
pub(super) fn learn(a: &mut Scalar, b: &mut Scalar, cond: Condition, half: bool, holds: bool) {
    let constant = |scalar: &Scalar| {
        let known = scalar.is_const() || (half && scalar.as_const(true).is_some());
        known.then_some(scalar.bits.value)
    };
    if let Some(value) = constant(b) {
        narrow(a, value, cond, half, holds);
    } else if let Some(value) = constant(a) {
        narrow(b, value, branch::flip(cond), half, holds);
    } else if !half
        && matches!(
            (cond, holds),
            (Condition::Eq, true) | (Condition::Ne, false)
        )
    {
        a.umin = a.umin.max(b.umin);
        a.umax = a.umax.min(b.umax);
        a.smin = a.smin.max(b.smin);
        a.smax = a.smax.min(b.smax);
        a.bits = a.bits.intersect(b.bits);
        (b.umin, b.umax, b.smin, b.smax) = (a.umin, a.umax, a.smin, a.smax);
        b.bits = a.bits;
        sync(a);
        sync(b);
    }
}

/// Narrows a number by a comparison with a constant (`reg_set_min_max`).
fn narrow(s: &mut Scalar, value: u64, cond: Condition, half: bool, holds: bool) {
    match (cond, holds) {
        (Condition::Eq, true) | (Condition::Ne, false) => assign(s, value, half),
        (Condition::Eq, false) | (Condition::Ne, true) => {}
        (Condition::Set, _) => narrow_bits(s, value, half, holds),
        (Condition::Gt, true) | (Condition::Le, false) => at_least(s, value.wrapping_add(1), half),
        (Condition::Gt, false) | (Condition::Le, true) => at_most(s, value, half),
        (Condition::Ge, true) | (Condition::Lt, false) => at_least(s, value, half),
        (Condition::Ge, false) | (Condition::Lt, true) => at_most(s, value.wrapping_sub(1), half),
        (Condition::SignedGt, true) | (Condition::SignedLe, false) => {
            signed_at_least(s, value.wrapping_add(1), half);
        }
        (Condition::SignedGt, false) | (Condition::SignedLe, true) => {
            signed_at_most(s, value, half);
        }
        (Condition::SignedGe, true) | (Condition::SignedLt, false) => {
            signed_at_least(s, value, half);
        }
        (Condition::SignedGe, false) | (Condition::SignedLt, true) => {
            signed_at_most(s, value.wrapping_sub(1), half);
        }
    }
    if half { spread_low(s) } else { spread_whole(s) }
}

fn assign(s: &mut Scalar, value: u64, half: bool) {
    if half {
        let low = value as u32;
        s.bits = s.bits.with_low(Tnum::constant(low.into()));
        (s.u32_min, s.u32_max) = (low, low);
        (s.s32_min, s.s32_max) = (low as i32, low as i32);
    } else {
        *s = Scalar::constant(value);
    }
}

fn narrow_bits(s: &mut Scalar, value: u64, half: bool, holds: bool) {
    let value = if half { u64::from(value as u32) } else { value };
    let old = s.bits;
    let known = if half { old.low() } else { old };
    let known = if !holds {
        s.forget_bounds();
        known.and(Tnum::constant(!value))
    } else if value.is_power_of_two() {
        known.or(Tnum::constant(value))
    } else {
        known
    };
    s.bits = if half {
        old.with_low(known.low())
    } else {
        known
    };
}

fn at_least(s: &mut Scalar, value: u64, half: bool) {
    if half {
        s.u32_min = s.u32_min.max(value as u32);
    } else {
        s.umin = s.umin.max(value);
    }
}

fn at_most(s: &mut Scalar, value: u64, half: bool) {
    if half {
        s.u32_max = s.u32_max.min(value as u32);
    } else {
        s.umax = s.umax.min(value);
    }
}

fn signed_at_least(s: &mut Scalar, value: u64, half: bool) {
    if half {
        s.s32_min = s.s32_min.max(value as i32);
    } else {
        s.smin = s.smin.max(value as i64);
    }
}

fn signed_at_most(s: &mut Scalar, value: u64, half: bool) {
    if half {
        s.s32_max = s.s32_max.min(value as i32);
    } else {
        s.smax = s.smax.min(value as i64);
    }
}
