//! Arithmetic on numbers of which only bits and bounds are known, as Linux does it
//! (`adjust_scalar_min_max_vals`).

use super::scalar::Scalar;
use super::tnum::Tnum;
use crate::isa::{AluOp, ByteOrder, SwapWidth, Width};

impl Scalar {
    /// `self op= other`.
    pub(super) fn compute(&mut self, op: AluOp, width: Width, other: &Self) {
        if !is_computable(op, width, other) {
            *self = Self::UNKNOWN;
            return;
        }
        match op {
            AluOp::Add => self.add(other),
            AluOp::Sub => self.sub(other),
            AluOp::Mul => self.mul(other),
            AluOp::And => self.and(other),
            AluOp::Or => self.or(other),
            AluOp::Xor => self.xor(other),
            AluOp::Lsh => self.lsh(width, other.umin as u32),
            AluOp::Rsh => self.rsh(width, other.umin as u32),
            AluOp::Arsh => self.arsh(width, other.umin as u32),
            AluOp::Div | AluOp::SignedDiv | AluOp::Mod | AluOp::SignedMod => {}
        }
        self.finish(width);
    }

    /// `self = -self`.
    pub(super) fn negate(&mut self, width: Width) {
        let operand = std::mem::replace(self, Self::constant(0));
        self.sub_bounds(&operand);
        self.bits = operand.bits.neg();
        self.finish(width);
    }

    /// A byte swap on a little-endian machine: bits move, bounds follow from them.
    pub(super) fn swap_bytes(&mut self, order: ByteOrder, bits: SwapWidth) {
        let bytes = bits.bits() / 8;
        if order != ByteOrder::Little {
            let swapped = self.bits.swap_bytes();
            *self = Self {
                bits: swapped.rsh(64 - bits.bits()),
                ..Self::UNKNOWN
            };
        }
        if bits != SwapWidth::B64 {
            self.truncate(bytes);
        }
        self.sync();
    }

    fn finish(&mut self, width: Width) {
        if width == Width::W32 {
            self.zero_extend_32();
        }
        self.sync();
    }

    /// Addition without spreading what was learnt.
    pub(super) fn add(&mut self, other: &Self) {
        let signed = |a: Option<i64>, b: Option<i64>| a.zip(b).unwrap_or((i64::MIN, i64::MAX));
        (self.smin, self.smax) = signed(
            self.smin.checked_add(other.smin),
            self.smax.checked_add(other.smax),
        );
        let signed = |a: Option<i32>, b: Option<i32>| a.zip(b).unwrap_or((i32::MIN, i32::MAX));
        (self.s32_min, self.s32_max) = signed(
            self.s32_min.checked_add(other.s32_min),
            self.s32_max.checked_add(other.s32_max),
        );
        // Wrapping is fine as long as all values wrap, or none.
        let (min, min_wraps) = self.umin.overflowing_add(other.umin);
        let (max, max_wraps) = self.umax.overflowing_add(other.umax);
        let all = min_wraps || !max_wraps;
        (self.umin, self.umax) = if all { (min, max) } else { (0, u64::MAX) };
        let (min, min_wraps) = self.u32_min.overflowing_add(other.u32_min);
        let (max, max_wraps) = self.u32_max.overflowing_add(other.u32_max);
        let all = min_wraps || !max_wraps;
        (self.u32_min, self.u32_max) = if all { (min, max) } else { (0, u32::MAX) };
        self.bits = self.bits.add(other.bits);
    }

    pub(super) fn sub(&mut self, other: &Self) {
        self.sub_bounds(other);
        self.bits = self.bits.sub(other.bits);
    }

    fn sub_bounds(&mut self, other: &Self) {
        let signed = |a: Option<i64>, b: Option<i64>| a.zip(b).unwrap_or((i64::MIN, i64::MAX));
        (self.smin, self.smax) = signed(
            self.smin.checked_sub(other.smax),
            self.smax.checked_sub(other.smin),
        );
        let signed = |a: Option<i32>, b: Option<i32>| a.zip(b).unwrap_or((i32::MIN, i32::MAX));
        (self.s32_min, self.s32_max) = signed(
            self.s32_min.checked_sub(other.s32_max),
            self.s32_max.checked_sub(other.s32_min),
        );
        let (min, min_wraps) = self.umin.overflowing_sub(other.umax);
        let (max, max_wraps) = self.umax.overflowing_sub(other.umin);
        let all = !min_wraps || max_wraps;
        (self.umin, self.umax) = if all { (min, max) } else { (0, u64::MAX) };
        let (min, min_wraps) = self.u32_min.overflowing_sub(other.u32_max);
        let (max, max_wraps) = self.u32_max.overflowing_sub(other.u32_min);
        let all = !min_wraps || max_wraps;
        (self.u32_min, self.u32_max) = if all { (min, max) } else { (0, u32::MAX) };
    }

    fn mul(&mut self, other: &Self) {
        self.bits = self.bits.mul(other.bits);
        let unsigned = |a: Option<u32>, b: Option<u32>| a.zip(b).unwrap_or((0, u32::MAX));
        (self.u32_min, self.u32_max) = unsigned(
            self.u32_min.checked_mul(other.u32_min),
            self.u32_max.checked_mul(other.u32_max),
        );
        let unsigned = |a: Option<u64>, b: Option<u64>| a.zip(b).unwrap_or((0, u64::MAX));
        (self.umin, self.umax) = unsigned(
            self.umin.checked_mul(other.umin),
            self.umax.checked_mul(other.umax),
        );
        let corners = [
            self.s32_min.checked_mul(other.s32_min),
            self.s32_min.checked_mul(other.s32_max),
            self.s32_max.checked_mul(other.s32_min),
            self.s32_max.checked_mul(other.s32_max),
        ];
        (self.s32_min, self.s32_max) = ends(corners).unwrap_or((i32::MIN, i32::MAX));
        let corners = [
            self.smin.checked_mul(other.smin),
            self.smin.checked_mul(other.smax),
            self.smax.checked_mul(other.smin),
            self.smax.checked_mul(other.smax),
        ];
        (self.smin, self.smax) = ends(corners).unwrap_or((i64::MIN, i64::MAX));
    }

    /// Sets signed bounds from unsigned ones where these do not cross the sign.
    fn signed_from_unsigned(&mut self, low_known: bool) {
        if !low_known {
            let (min, max) = (self.u32_min as i32, self.u32_max as i32);
            let ordered = min <= max;
            (self.s32_min, self.s32_max) = if ordered {
                (min, max)
            } else {
                (i32::MIN, i32::MAX)
            };
        }
        let (min, max) = (self.umin as i64, self.umax as i64);
        let ordered = min <= max;
        (self.smin, self.smax) = if ordered {
            (min, max)
        } else {
            (i64::MIN, i64::MAX)
        };
        self.bounds_from_bits();
    }

    /// Handles bitwise operations on constants: the whole, then only the low half.
    fn bitwise_consts(&mut self, result: Tnum, known: (bool, bool)) -> bool {
        self.bits = result;
        if known.1 {
            let low = result.value as u32;
            (self.u32_min, self.u32_max) = (low, low);
            (self.s32_min, self.s32_max) = (low as i32, low as i32);
        }
        if known.0 {
            *self = Self::constant(result.value);
        }
        known.0
    }

    fn both_known(&self, other: &Self) -> (bool, bool) {
        let low = self.as_const(true).is_some() && other.as_const(true).is_some();
        (self.is_const() && other.is_const(), low)
    }

    fn and(&mut self, other: &Self) {
        let known = self.both_known(other);
        if self.bitwise_consts(self.bits.and(other.bits), known) {
            return;
        }
        if !known.1 {
            self.u32_min = self.bits.value as u32;
            self.u32_max = self.u32_max.min(other.u32_max);
        }
        self.umin = self.bits.value;
        self.umax = self.umax.min(other.umax);
        self.signed_from_unsigned(known.1);
    }

    fn or(&mut self, other: &Self) {
        let known = self.both_known(other);
        if self.bitwise_consts(self.bits.or(other.bits), known) {
            return;
        }
        if !known.1 {
            self.u32_min = self.u32_min.max(other.u32_min);
            self.u32_max = (self.bits.value | self.bits.mask) as u32;
        }
        self.umin = self.umin.max(other.umin);
        self.umax = self.bits.value | self.bits.mask;
        self.signed_from_unsigned(known.1);
    }

    fn xor(&mut self, other: &Self) {
        let known = self.both_known(other);
        if self.bitwise_consts(self.bits.xor(other.bits), known) {
            return;
        }
        if !known.1 {
            self.u32_min = self.bits.value as u32;
            self.u32_max = (self.bits.value | self.bits.mask) as u32;
        }
        self.umin = self.bits.value;
        self.umax = self.bits.value | self.bits.mask;
        self.signed_from_unsigned(known.1);
    }

    fn lsh_32_bounds(&mut self, bits: u32) {
        (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
        if bits > 31 || self.u32_max > 1 << (31 - bits) {
            (self.u32_min, self.u32_max) = (0, u32::MAX);
        } else {
            self.u32_min <<= bits;
            self.u32_max <<= bits;
        }
    }

    pub(super) fn lsh(&mut self, width: Width, bits: u32) {
        if width == Width::W32 {
            self.lsh_32_bounds(bits);
            self.bits = self.bits.low().lsh(bits).low();
            self.forget_bounds_64();
            self.bounds_32_from_bits();
            return;
        }
        // Shifting by 32 there and back is how compilers extend the sign.
        (self.smin, self.smax) = if bits == 32 {
            (i64::from(self.s32_min) << 32, i64::from(self.s32_max) << 32)
        } else {
            (i64::MIN, i64::MAX)
        };
        if self.umax > 1 << (63 - bits) {
            (self.umin, self.umax) = (0, u64::MAX);
        } else {
            self.umin <<= bits;
            self.umax <<= bits;
        }
        self.lsh_32_bounds(bits);
        self.bits = self.bits.lsh(bits);
        self.bounds_from_bits();
    }

    pub(super) fn rsh(&mut self, width: Width, bits: u32) {
        if width == Width::W32 {
            (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
            self.bits = self.bits.low().rsh(bits);
            self.u32_min >>= bits;
            self.u32_max >>= bits;
            self.forget_bounds_64();
            self.bounds_32_from_bits();
            return;
        }
        (self.smin, self.smax) = (i64::MIN, i64::MAX);
        self.bits = self.bits.rsh(bits);
        self.umin >>= bits;
        self.umax >>= bits;
        self.forget_bounds_32();
        self.bounds_from_bits();
    }

    pub(super) fn arsh(&mut self, width: Width, bits: u32) {
        if width == Width::W32 {
            self.s32_min >>= bits;
            self.s32_max >>= bits;
            self.bits = self.bits.low().arsh32(bits);
            (self.u32_min, self.u32_max) = (0, u32::MAX);
            self.forget_bounds_64();
            self.bounds_32_from_bits();
            return;
        }
        self.smin >>= bits;
        self.smax >>= bits;
        self.bits = self.bits.arsh64(bits);
        (self.umin, self.umax) = (0, u64::MAX);
        self.forget_bounds_32();
        self.bounds_from_bits();
    }
}

/// Smallest and largest, if none overflowed.
fn ends<T: Ord + Copy>(corners: [Option<T>; 4]) -> Option<(T, T)> {
    let [a, b, c, d] = corners;
    let (a, b, c, d) = (a?, b?, c?, d?);
    Some((a.min(b).min(c).min(d), a.max(b).max(c).max(d)))
}

/// Whether bits and bounds of the result are followed: division never, shifts by constants only.
fn is_computable(op: AluOp, width: Width, other: &Scalar) -> bool {
    match op {
        AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor => true,
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => match width {
            Width::W32 => other.as_const(true).is_some() && other.umax < 32,
            Width::W64 => other.is_const() && other.umax < 64,
        },
        AluOp::Div | AluOp::SignedDiv | AluOp::Mod | AluOp::SignedMod => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is known of some numbers near each other or far apart, and one of them.
    fn member() -> impl Strategy<Value = (Scalar, u64)> {
        let near = (any::<u64>(), 0..1000_u64, 0..1000_u64).prop_map(|(base, length, pick)| {
            let base = base.min(u64::MAX - 2000);
            let mut scalar = Scalar::UNKNOWN;
            (scalar.umin, scalar.umax) = (base, base + length);
            scalar.sync();
            (scalar, base + pick.min(length))
        });
        let small = (-500..500_i64, 0..400_i64, 0..400_i64).prop_map(|(base, length, pick)| {
            let mut scalar = Scalar::UNKNOWN;
            (scalar.smin, scalar.smax) = (base, base + length);
            scalar.sync();
            (scalar, (base + pick.min(length)) as u64)
        });
        let low = any::<u32>().prop_map(|value| {
            let mut scalar = Scalar::UNKNOWN;
            scalar.truncate(4);
            (scalar, u64::from(value))
        });
        let constant = any::<u64>().prop_map(|value| (Scalar::constant(value), value));
        prop_oneof![near, small, low, constant]
    }

    fn concrete(op: AluOp, width: Width, a: u64, b: u64) -> u64 {
        let wide = match op {
            AluOp::Add => a.wrapping_add(b),
            AluOp::Sub => a.wrapping_sub(b),
            AluOp::Mul => a.wrapping_mul(b),
            AluOp::And => a & b,
            AluOp::Or => a | b,
            AluOp::Xor => a ^ b,
            AluOp::Lsh if width == Width::W32 => u64::from((a as u32) << (b & 31)),
            AluOp::Rsh if width == Width::W32 => u64::from(a as u32 >> (b & 31)),
            AluOp::Arsh if width == Width::W32 => ((a as i32) >> (b & 31)) as u64,
            AluOp::Lsh => a << (b & 63),
            AluOp::Rsh => a >> (b & 63),
            AluOp::Arsh => ((a as i64) >> (b & 63)) as u64,
            AluOp::Div | AluOp::SignedDiv | AluOp::Mod | AluOp::SignedMod => 0,
        };
        if width == Width::W32 {
            u64::from(wide as u32)
        } else {
            wide
        }
    }

    proptest! {
        #[test]
        fn results_hold_the_concrete_results((a, x) in member(), (b, y) in member(), bits in 0..32u64) {
            let operations = [AluOp::Add, AluOp::Sub, AluOp::Mul, AluOp::And, AluOp::Or, AluOp::Xor];
            for width in [Width::W32, Width::W64] {
                for op in operations {
                    let mut result = a;
                    result.compute(op, width, &b);
                    let value = concrete(op, width, x, y);
                    prop_assert!(result.contains(&Scalar::constant(value)), "{op:?} {width:?} {x:#x} {y:#x}: {result:?}");
                }
                for op in [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh] {
                    let mut result = a;
                    result.compute(op, width, &Scalar::constant(bits));
                    let value = concrete(op, width, x, bits);
                    prop_assert!(result.contains(&Scalar::constant(value)), "{op:?} {width:?} {x:#x} {bits}: {result:?}");
                }
                let mut result = a;
                result.negate(width);
                prop_assert!(result.contains(&Scalar::constant(concrete(AluOp::Sub, width, 0, x))));
            }
        }

        #[test]
        fn extensions_hold_the_concrete_results((a, x) in member(), bytes in 1..=3u32) {
            let bytes = 1 << (bytes - 1);
            let mut truncated = a;
            truncated.truncate(bytes);
            prop_assert!(truncated.contains(&Scalar::constant(x & (u64::MAX >> (64 - 8 * bytes)))));
            let mut extended = a;
            extended.sign_extend_64(bytes);
            let shift = 64 - 8 * bytes;
            prop_assert!(extended.contains(&Scalar::constant((((x << shift) as i64) >> shift) as u64)));
            if bytes < 4 {
                let mut extended = a;
                extended.sign_extend_32(bytes);
                extended.zero_extend_32();
                extended.sync();
                let shift = 32 - 8 * bytes;
                let value = ((((x as u32) << shift) as i32) >> shift) as u32;
                prop_assert!(extended.contains(&Scalar::constant(u64::from(value))), "{extended:?}");
            }
        }
    }
}
