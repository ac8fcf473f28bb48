//! Conditional jumps: which way they go, and what each way says about the numbers compared.

use super::scalar::Scalar;
use super::tnum::Tnum;
use crate::isa::Condition;

/// The condition with its operands swapped.
pub(super) fn flip(cond: Condition) -> Condition {
    match cond {
        Condition::Gt => Condition::Lt,
        Condition::Ge => Condition::Le,
        Condition::Lt => Condition::Gt,
        Condition::Le => Condition::Ge,
        Condition::SignedGt => Condition::SignedLt,
        Condition::SignedGe => Condition::SignedLe,
        Condition::SignedLt => Condition::SignedGt,
        Condition::SignedLe => Condition::SignedGe,
        Condition::Eq | Condition::Ne | Condition::Set => cond,
    }
}

/// The condition of the other way; `None` for "no common bit", which has no name.
fn reverse(cond: Condition) -> Option<Condition> {
    Some(match cond {
        Condition::Eq => Condition::Ne,
        Condition::Ne => Condition::Eq,
        Condition::Set => return None,
        Condition::Gt => Condition::Le,
        Condition::Ge => Condition::Lt,
        Condition::Lt => Condition::Ge,
        Condition::Le => Condition::Gt,
        Condition::SignedGt => Condition::SignedLe,
        Condition::SignedGe => Condition::SignedLt,
        Condition::SignedLt => Condition::SignedGe,
        Condition::SignedLe => Condition::SignedGt,
    })
}

struct View {
    bits: Tnum,
    u: (u64, u64),
    s: (i64, i64),
}

fn view(scalar: &Scalar, half: bool) -> View {
    if half {
        View {
            bits: scalar.bits.low(),
            u: (scalar.u32_min.into(), scalar.u32_max.into()),
            s: (scalar.s32_min.into(), scalar.s32_max.into()),
        }
    } else {
        View {
            bits: scalar.bits,
            u: (scalar.umin, scalar.umax),
            s: (scalar.smin, scalar.smax),
        }
    }
}

fn never_equal(a: &Scalar, b: &Scalar, half: bool) -> bool {
    fn apart<T: Ord + Copy>(a: (T, T), b: (T, T)) -> bool {
        a.0 > b.1 || a.1 < b.0
    }
    let (x, y) = (view(a, half), view(b, half));
    if !x.bits.overlaps(y.bits) || apart(x.u, y.u) || apart(x.s, y.s) {
        return true;
    }
    let (x, y) = (view(a, true), view(b, true));
    !half && (apart(x.u, y.u) || apart(x.s, y.s))
}

/// Whether the jump is taken, if that is known.
pub(super) fn is_taken(a: &Scalar, b: &Scalar, cond: Condition, half: bool) -> Option<bool> {
    fn greater<T: Ord + Copy>(a: (T, T), b: (T, T)) -> Option<bool> {
        if a.0 > b.1 {
            Some(true)
        } else if a.1 <= b.0 {
            Some(false)
        } else {
            None
        }
    }
    let (x, y) = (view(a, half), view(b, half));
    let equal = || {
        if x.bits.is_const() && y.bits.is_const() {
            return Some(x.bits.value == y.bits.value);
        }
        never_equal(a, b, half).then_some(false)
    };
    match cond {
        Condition::Eq => equal(),
        Condition::Ne => equal().map(|equal| !equal),
        Condition::Set => {
            let (x, y) = if y.bits.is_const() { (x, y) } else { (y, x) };
            if !y.bits.is_const() {
                None
            } else if x.bits.value & y.bits.value != 0 {
                Some(true)
            } else if (x.bits.mask | x.bits.value) & y.bits.value == 0 {
                Some(false)
            } else {
                None
            }
        }
        Condition::Gt => greater(x.u, y.u),
        Condition::Le => greater(x.u, y.u).map(|greater| !greater),
        Condition::Lt => greater(y.u, x.u),
        Condition::Ge => greater(y.u, x.u).map(|less| !less),
        Condition::SignedGt => greater(x.s, y.s),
        Condition::SignedLe => greater(x.s, y.s).map(|greater| !greater),
        Condition::SignedLt => greater(y.s, x.s),
        Condition::SignedGe => greater(y.s, x.s).map(|less| !less),
    }
}

/// Narrows both numbers by the condition that holds, or, if `holds` is false, does not hold.
pub(super) fn learn(a: &mut Scalar, b: &mut Scalar, cond: Condition, half: bool, holds: bool) {
    let cond = if holds { Some(cond) } else { reverse(cond) };
    match cond {
        Some(cond) => refine(a, b, cond, half),
        None => refine_no_common_bit(a, b, half),
    }
    a.sync();
    b.sync();
}

fn refine(a: &mut Scalar, b: &mut Scalar, cond: Condition, half: bool) {
    match cond {
        Condition::Eq => refine_equal(a, b, half),
        Condition::Ne => refine_not_equal(a, b, half),
        Condition::Set => refine_common_bit(a, b, half),
        Condition::Le if half => {
            a.u32_max = a.u32_max.min(b.u32_max);
            b.u32_min = a.u32_min.max(b.u32_min);
        }
        Condition::Le => {
            a.umax = a.umax.min(b.umax);
            b.umin = a.umin.max(b.umin);
        }
        Condition::Lt if half => {
            a.u32_max = a.u32_max.min(b.u32_max.wrapping_sub(1));
            b.u32_min = a.u32_min.wrapping_add(1).max(b.u32_min);
        }
        Condition::Lt => {
            a.umax = a.umax.min(b.umax.wrapping_sub(1));
            b.umin = a.umin.wrapping_add(1).max(b.umin);
        }
        Condition::SignedLe if half => {
            a.s32_max = a.s32_max.min(b.s32_max);
            b.s32_min = a.s32_min.max(b.s32_min);
        }
        Condition::SignedLe => {
            a.smax = a.smax.min(b.smax);
            b.smin = a.smin.max(b.smin);
        }
        Condition::SignedLt if half => {
            a.s32_max = a.s32_max.min(b.s32_max.wrapping_sub(1));
            b.s32_min = a.s32_min.wrapping_add(1).max(b.s32_min);
        }
        Condition::SignedLt => {
            a.smax = a.smax.min(b.smax.wrapping_sub(1));
            b.smin = a.smin.wrapping_add(1).max(b.smin);
        }
        Condition::Gt | Condition::Ge | Condition::SignedGt | Condition::SignedGe => {
            refine(b, a, flip(cond), half);
        }
    }
}

fn refine_equal(a: &mut Scalar, b: &mut Scalar, half: bool) {
    if half {
        a.u32_min = a.u32_min.max(b.u32_min);
        a.u32_max = a.u32_max.min(b.u32_max);
        a.s32_min = a.s32_min.max(b.s32_min);
        a.s32_max = a.s32_max.min(b.s32_max);
        (b.u32_min, b.u32_max) = (a.u32_min, a.u32_max);
        (b.s32_min, b.s32_max) = (a.s32_min, a.s32_max);
        let common = a.bits.low().intersect(b.bits.low());
        a.bits = a.bits.with_low(common);
        b.bits = b.bits.with_low(common);
    } else {
        a.umin = a.umin.max(b.umin);
        a.umax = a.umax.min(b.umax);
        a.smin = a.smin.max(b.smin);
        a.smax = a.smax.min(b.smax);
        (b.umin, b.umax) = (a.umin, a.umax);
        (b.smin, b.smax) = (a.smin, a.smax);
        a.bits = a.bits.intersect(b.bits);
        b.bits = a.bits;
    }
}

/// A constant that lies on an edge of the other's bounds moves the edge.
fn refine_not_equal(a: &mut Scalar, b: &mut Scalar, half: bool) {
    let (a, value) = match (a.as_const(half), b.as_const(half)) {
        (_, Some(value)) => (a, value),
        (Some(value), None) => (b, value),
        (None, None) => return,
    };
    if half {
        let value = value as u32;
        a.u32_min += u32::from(a.u32_min == value && value != u32::MAX);
        a.u32_max -= u32::from(a.u32_max == value && value != 0);
        let value = value as i32;
        a.s32_min += i32::from(a.s32_min == value && value != i32::MAX);
        a.s32_max -= i32::from(a.s32_max == value && value != i32::MIN);
    } else {
        a.umin += u64::from(a.umin == value && value != u64::MAX);
        a.umax -= u64::from(a.umax == value && value != 0);
        let value = value as i64;
        a.smin += i64::from(a.smin == value && value != i64::MAX);
        a.smax -= i64::from(a.smax == value && value != i64::MIN);
    }
}

/// A common bit with a constant of one bit: that bit is set.
fn refine_common_bit(a: &mut Scalar, b: &mut Scalar, half: bool) {
    let (a, value) = match (a.as_const(half), b.as_const(half)) {
        (_, Some(value)) => (a, value),
        (Some(value), None) => (b, value),
        (None, None) => return,
    };
    if !value.is_power_of_two() {
        return;
    }
    let bit = Tnum::constant(value);
    a.bits = if half {
        a.bits.with_low(a.bits.low().or(bit))
    } else {
        a.bits.or(bit)
    };
}

/// No common bit with a constant: its bits are all clear.
fn refine_no_common_bit(a: &mut Scalar, b: &mut Scalar, half: bool) {
    let (a, value) = match (a.as_const(half), b.as_const(half)) {
        (_, Some(value)) => (a, value),
        (Some(value), None) => (b, value),
        (None, None) => return,
    };
    // Linux forgets the bounds here, which avoids contradictions on paths that are never taken.
    a.forget_bounds();
    let clear = Tnum::constant(!value);
    a.bits = if half {
        a.bits.with_low(a.bits.low().and(clear))
    } else {
        a.bits.and(clear)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Condition; 11] = [
        Condition::Eq,
        Condition::Ne,
        Condition::Set,
        Condition::Gt,
        Condition::Ge,
        Condition::Lt,
        Condition::Le,
        Condition::SignedGt,
        Condition::SignedGe,
        Condition::SignedLt,
        Condition::SignedLe,
    ];

    fn holds(a: u64, b: u64, cond: Condition, half: bool) -> bool {
        let (a, b) = if half {
            (a & 0xffff_ffff, b & 0xffff_ffff)
        } else {
            (a, b)
        };
        let signed = |value: u64| {
            if half {
                i64::from(value as i32)
            } else {
                value as i64
            }
        };
        match cond {
            Condition::Eq => a == b,
            Condition::Ne => a != b,
            Condition::Set => a & b != 0,
            Condition::Gt => a > b,
            Condition::Ge => a >= b,
            Condition::Lt => a < b,
            Condition::Le => a <= b,
            Condition::SignedGt => signed(a) > signed(b),
            Condition::SignedGe => signed(a) >= signed(b),
            Condition::SignedLt => signed(a) < signed(b),
            Condition::SignedLe => signed(a) <= signed(b),
        }
    }

    fn member() -> impl Strategy<Value = (Scalar, u64)> {
        let span = (-600..600_i64, 0..300_i64, 0..300_i64, 0..3_u32);
        span.prop_map(|(base, length, pick, kind)| {
            let mut scalar = Scalar::UNKNOWN;
            let value = base + pick.min(length);
            match kind {
                0 => scalar = Scalar::constant(value as u64),
                1 => (scalar.smin, scalar.smax) = (base, base + length),
                _ => (scalar.s32_min, scalar.s32_max) = (base as i32, (base + length) as i32),
            }
            scalar.sync();
            (scalar, value as u64)
        })
    }

    proptest! {
        #[test]
        fn both_ways_keep_the_concrete_values((a, x) in member(), (b, y) in member()) {
            for cond in ALL {
                for half in [false, true] {
                    let held = holds(x, y, cond, half);
                    if let Some(taken) = is_taken(&a, &b, cond, half) {
                        prop_assert_eq!(taken, held, "{:?} {}", cond, half);
                        continue;
                    }
                    let (mut c, mut d) = (a, b);
                    learn(&mut c, &mut d, cond, half, held);
                    prop_assert!(c.contains(&Scalar::constant(x)), "{cond:?} {half} {x} {c:?}");
                    prop_assert!(d.contains(&Scalar::constant(y)), "{cond:?} {half} {y} {d:?}");
                }
            }
        }
    }
}
