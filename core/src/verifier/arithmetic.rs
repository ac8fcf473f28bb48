//! Ranges of unsigned values under the instructions' arithmetic and conditions.

use super::facts::Range;
use crate::isa::{AluOp, Condition, Size, Width};

const U32: Range = Range {
    min: 0,
    max: u32::MAX as u64,
};

/// The low 32 bits of a number.
pub(super) fn truncate(range: Range) -> Range {
    match range.as_constant() {
        Some(constant) => Range::constant(u64::from(constant as u32)),
        None if range.max <= U32.max => range,
        None => U32,
    }
}

/// Result of a two-operand instruction.
pub(super) fn alu(op: AluOp, width: Width, a: Range, b: Range) -> Range {
    match width {
        Width::W64 => alu64(op, a, b, 63),
        Width::W32 => {
            let signed = matches!(op, AluOp::Arsh | AluOp::SignedDiv | AluOp::SignedMod);
            if signed {
                U32
            } else {
                truncate(alu64(op, truncate(a), truncate(b), 31))
            }
        }
    }
}

fn alu64(op: AluOp, a: Range, b: Range, shift_mask: u64) -> Range {
    if let (Some(a), Some(b)) = (a.as_constant(), b.as_constant()) {
        return constant(op, a, b, shift_mask).map_or(Range::FULL, Range::constant);
    }
    let bounds = |min: Option<u64>, max: Option<u64>| {
        Some(Range {
            min: min?,
            max: max?,
        })
    };
    let shift = b.as_constant().map(|amount| (amount & shift_mask) as u32);
    let known = match op {
        AluOp::Add => bounds(a.min.checked_add(b.min), a.max.checked_add(b.max)),
        AluOp::Sub => bounds(a.min.checked_sub(b.max), a.max.checked_sub(b.min)),
        AluOp::Mul => bounds(a.min.checked_mul(b.min), a.max.checked_mul(b.max)),
        // Division by zero gives zero.
        AluOp::Div => bounds(
            Some(if b.min == 0 { 0 } else { a.min / b.max }),
            Some(a.max / b.min.max(1)),
        ),
        // Modulo zero leaves the value.
        AluOp::Mod => bounds(
            Some(0),
            Some(if b.min == 0 {
                a.max
            } else {
                a.max.min(b.max - 1)
            }),
        ),
        AluOp::And => bounds(Some(0), Some(a.max.min(b.max))),
        AluOp::Or => bounds(Some(a.min.max(b.min)), Some(all_bits(a.max | b.max))),
        AluOp::Xor => bounds(Some(0), Some(all_bits(a.max | b.max))),
        AluOp::Lsh => shift.and_then(|by| bounds(shl(a.min, by), shl(a.max, by))),
        AluOp::Rsh => bounds(
            Some(shift.map_or(0, |by| a.min >> by)),
            Some(shift.map_or(a.max, |by| a.max >> by)),
        ),
        AluOp::Arsh if i64::try_from(a.max).is_ok() => {
            shift.and_then(|by| bounds(Some(a.min >> by), Some(a.max >> by)))
        }
        AluOp::Arsh | AluOp::SignedDiv | AluOp::SignedMod => None,
    };
    known.unwrap_or(Range::FULL)
}

fn constant(op: AluOp, a: u64, b: u64, shift_mask: u64) -> Option<u64> {
    let shift = (b & shift_mask) as u32;
    Some(match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << shift,
        AluOp::Rsh => a >> shift,
        AluOp::Arsh => ((a as i64) >> shift) as u64,
        AluOp::SignedDiv | AluOp::SignedMod => return None,
    })
}

fn shl(value: u64, by: u32) -> Option<u64> {
    (value.leading_zeros() >= by).then(|| value << by)
}

/// All bits up to the highest one of a value.
const fn all_bits(value: u64) -> u64 {
    match value.leading_zeros() {
        64 => 0,
        zeros => u64::MAX >> zeros,
    }
}

/// `-value`.
pub(super) fn negate(range: Range, width: Width) -> Range {
    alu(AluOp::Sub, width, Range::constant(0), range)
}

/// A register move that extends the sign of a narrower value.
pub(super) fn sign_extend(range: Range, from: Size, width: Width) -> Range {
    let positive_max = (1 << (8 * from.bytes() - 1)) - 1;
    match (range.max <= positive_max, width) {
        (true, _) => range,
        (false, Width::W64) => Range::FULL,
        (false, Width::W32) => U32,
    }
}

/// What a condition says about its operands if it holds, or if it does not; `None` if that cannot
/// be. Signed and bit-test conditions say nothing here.
pub(super) fn assume(
    cond: Condition,
    width: Width,
    a: Range,
    b: Range,
    taken: bool,
) -> Option<(Range, Range)> {
    if width == Width::W32 && (a.max > U32.max || truncate(b) != b) {
        return Some((a, b));
    }
    let (cond, a_first) = match (cond, taken) {
        (Condition::Eq, true) | (Condition::Ne, false) => return equal(a, b),
        (Condition::Eq, false) | (Condition::Ne, true) => return unequal(a, b),
        (Condition::Gt, true) | (Condition::Le, false) => (Order::Less, false),
        (Condition::Lt, true) | (Condition::Ge, false) => (Order::Less, true),
        (Condition::Ge, true) | (Condition::Lt, false) => (Order::LessOrEqual, false),
        (Condition::Le, true) | (Condition::Gt, false) => (Order::LessOrEqual, true),
        (
            Condition::Set
            | Condition::SignedGt
            | Condition::SignedGe
            | Condition::SignedLt
            | Condition::SignedLe,
            _,
        ) => return Some((a, b)),
    };
    if a_first {
        ordered(cond, a, b)
    } else {
        ordered(cond, b, a).map(|(b, a)| (a, b))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
}

fn equal(a: Range, b: Range) -> Option<(Range, Range)> {
    let both = non_empty(a.min.max(b.min), a.max.min(b.max))?;
    Some((both, both))
}

fn unequal(a: Range, b: Range) -> Option<(Range, Range)> {
    let without = |range: Range, other: Range| match other.as_constant() {
        Some(value) if range.min == value && range.max == value => None,
        Some(value) if range.min == value => Some(Range {
            min: value + 1,
            ..range
        }),
        Some(value) if range.max == value => Some(Range {
            max: value - 1,
            ..range
        }),
        _ => Some(range),
    };
    Some((without(a, b)?, without(b, a)?))
}

/// What holds if the first operand is less than the second, or at most equal to it.
fn ordered(order: Order, small: Range, large: Range) -> Option<(Range, Range)> {
    let (small_max, large_min) = match order {
        Order::Less => (large.max.checked_sub(1)?, small.min.checked_add(1)?),
        Order::LessOrEqual => (large.max, small.min),
    };
    let small_after = non_empty(small.min, small.max.min(small_max))?;
    Some((small_after, non_empty(large.min.max(large_min), large.max)?))
}

fn non_empty(min: u64, max: u64) -> Option<Range> {
    (min <= max).then_some(Range { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPS: [AluOp; 11] = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::Or,
        AluOp::And,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Mod,
        AluOp::Xor,
        AluOp::Arsh,
    ];

    fn range() -> impl Strategy<Value = (Range, u64)> {
        let value = prop_oneof![
            any::<u64>(),
            0..100u64,
            (0..100u64).prop_map(|value| u64::MAX - value)
        ];
        (value.clone(), value.clone(), any::<u64>()).prop_map(|(a, b, inside)| {
            let range = Range {
                min: a.min(b),
                max: a.max(b),
            };
            let width = (range.max - range.min).wrapping_add(1);
            let inside = if width == 0 {
                inside
            } else {
                range.min + inside % width
            };
            (range, inside)
        })
    }

    fn holds(range: Range, value: u64) -> bool {
        (range.min..=range.max).contains(&value)
    }

    proptest! {
        /// The result of operands inside their ranges lies inside the result's range.
        #[test]
        fn arithmetic_is_sound((a, x) in range(), (b, y) in range(), op in 0..OPS.len()) {
            let op = OPS[op];
            let wide = constant(op, x, y, 63).unwrap();
            prop_assert!(holds(alu(op, Width::W64, a, b), wide), "{op:?} {x:#x} {y:#x} = {wide:#x}");
            if op != AluOp::Arsh {
                let narrow = constant(op, x & U32.max, y & U32.max, 31).unwrap() & U32.max;
                prop_assert!(holds(alu(op, Width::W32, a, b), narrow), "{op:?} {x:#x} {y:#x} = {narrow:#x}");
            }
        }

        /// Operands for which a condition holds stay inside the ranges that are left.
        #[test]
        fn conditions_are_sound((a, x) in range(), (b, y) in range()) {
            let conditions = [
                (Condition::Eq, x == y), (Condition::Ne, x != y), (Condition::Gt, x > y),
                (Condition::Ge, x >= y), (Condition::Lt, x < y), (Condition::Le, x <= y),
            ];
            for (cond, taken) in conditions {
                let left = assume(cond, Width::W64, a, b, taken);
                prop_assert!(left.is_some_and(|(a, b)| holds(a, x) && holds(b, y)), "{cond:?} {x:#x} {y:#x}");
            }
        }
    }
}
