//! Tristate numbers: for each of 64 bits known zero, known one or unknown. The operations are those
//! of Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers"
//! (CGO 2022), which Linux uses, too; exact where Linux is exact, so that both know the same.

/// A tristate number: `value` holds the known bits, `mask` the unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tnum {
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl Tnum {
    pub(super) const UNKNOWN: Self = Self {
        value: 0,
        mask: u64::MAX,
    };

    pub(super) const fn constant(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    pub(super) const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// The smallest tristate number that holds all of `min..=max`.
    pub(super) const fn range(min: u64, max: u64) -> Self {
        let bits = 64 - (min ^ max).leading_zeros();
        if bits > 63 {
            return Self::UNKNOWN;
        }
        let delta = (1 << bits) - 1;
        Self {
            value: min & !delta,
            mask: delta,
        }
    }

    /// The smallest member above a number; the largest member if there is none.
    pub(super) const fn after(self, number: u64) -> u64 {
        let Self { value, mask } = self;
        if number >= value | mask {
            return value | mask;
        }
        let least = number + 1;
        let conflict = (least ^ value) & !mask;
        if conflict == 0 {
            return least;
        }
        // The highest bit that cannot be as it is, and the bits up to it.
        let top = conflict.ilog2();
        let low = u64::MAX >> (63 - top);
        if value & (1 << top) != 0 {
            return (least & !low) | (value & low);
        }
        let free = mask & !least & !low;
        let carry = 1 << free.trailing_zeros();
        (least & !(carry | (carry - 1))) | carry | (value & (carry - 1))
    }

    pub(super) const fn add(self, other: Self) -> Self {
        let masks = self.mask.wrapping_add(other.mask);
        let values = self.value.wrapping_add(other.value);
        let carries = masks.wrapping_add(values) ^ values;
        let mask = carries | self.mask | other.mask;
        Self {
            value: values & !mask,
            mask,
        }
    }

    pub(super) const fn sub(self, other: Self) -> Self {
        let difference = self.value.wrapping_sub(other.value);
        let high = difference.wrapping_add(self.mask);
        let low = difference.wrapping_sub(other.mask);
        let mask = (high ^ low) | self.mask | other.mask;
        Self {
            value: difference & !mask,
            mask,
        }
    }

    pub(super) const fn neg(self) -> Self {
        Self::constant(0).sub(self)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        let possible = (self.value | self.mask) & (other.value | other.mask);
        let value = self.value & other.value;
        Self {
            value,
            mask: possible & !value,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self {
            value,
            mask: (self.mask | other.mask) & !value,
        }
    }

    pub(super) const fn xor(self, other: Self) -> Self {
        let mask = self.mask | other.mask;
        Self {
            value: (self.value ^ other.value) & !mask,
            mask,
        }
    }

    /// Every value of one or of the other.
    pub(super) const fn union(self, other: Self) -> Self {
        let mask = (self.value ^ other.value) | self.mask | other.mask;
        Self {
            value: self.value & other.value & !mask,
            mask,
        }
    }

    /// Long multiplication: each bit of `self` that may be set adds `other`, shifted.
    pub(super) const fn mul(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        let mut sum = Self::constant(0);
        while a.value != 0 || a.mask != 0 {
            if a.value & 1 != 0 {
                sum = sum.add(b);
            } else if a.mask & 1 != 0 {
                sum = sum.union(sum.add(b));
            }
            a = a.rsh(1);
            b = b.lsh(1);
        }
        sum
    }

    pub(super) const fn lsh(self, bits: u32) -> Self {
        Self {
            value: self.value << bits,
            mask: self.mask << bits,
        }
    }

    pub(super) const fn rsh(self, bits: u32) -> Self {
        Self {
            value: self.value >> bits,
            mask: self.mask >> bits,
        }
    }

    /// Arithmetic shift of the low 32 bits, the upper ones becoming zero.
    pub(super) const fn arsh32(self, bits: u32) -> Self {
        Self {
            value: ((self.value as i32) >> bits) as u32 as u64,
            mask: ((self.mask as i32) >> bits) as u32 as u64,
        }
    }

    pub(super) const fn arsh64(self, bits: u32) -> Self {
        Self {
            value: ((self.value as i64) >> bits) as u64,
            mask: ((self.mask as i64) >> bits) as u64,
        }
    }

    /// What both allow; where they contradict each other, what `self | other` says.
    pub(super) const fn intersect(self, other: Self) -> Self {
        let value = self.value | other.value;
        let mask = self.mask & other.mask;
        Self {
            value: value & !mask,
            mask,
        }
    }

    /// Whether some value fits both.
    pub(super) const fn overlaps(self, other: Self) -> bool {
        let known = !(self.mask | other.mask);
        self.value & known == other.value & known
    }

    /// Whether every value of `other` is one of `self`.
    pub(super) const fn contains(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && self.value == other.value & !self.mask
    }

    /// Whether every value is a multiple of `size`, a power of two.
    pub(super) const fn is_aligned(self, size: u64) -> bool {
        (self.value | self.mask) & (size - 1) == 0
    }

    /// The low 32 bits, the upper ones zero.
    pub(super) const fn low(self) -> Self {
        self.truncate(4)
    }

    /// The low `bytes` bytes, the upper ones zero.
    pub(super) const fn truncate(self, bytes: u32) -> Self {
        let keep = u64::MAX >> (64 - 8 * bytes);
        Self {
            value: self.value & keep,
            mask: self.mask & keep,
        }
    }

    /// The bytes in reverse order.
    pub(super) const fn swap_bytes(self) -> Self {
        Self {
            value: self.value.swap_bytes(),
            mask: self.mask.swap_bytes(),
        }
    }

    /// The upper 32 bits, the low ones zero.
    pub(super) const fn high(self) -> Self {
        Self {
            value: self.value >> 32 << 32,
            mask: self.mask >> 32 << 32,
        }
    }

    /// The upper 32 bits of `self` over the low ones of `low`.
    pub(super) const fn with_low(self, low: Self) -> Self {
        self.high().or(low.low())
    }
}

impl std::fmt::Display for Tnum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_const() {
            // The kernel prints small constants as signed numbers.
            write!(f, "{:#x}", self.value)
        } else {
            write!(f, "({:#x}; {:#x})", self.value, self.mask)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tristate number and a value that it holds.
    fn member() -> impl Strategy<Value = (Tnum, u64)> {
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(value, mask, pick)| {
            let value = value & !mask;
            (Tnum { value, mask }, value | (pick & mask))
        })
    }

    fn holds(tnum: Tnum, value: u64) -> bool {
        tnum.contains(Tnum::constant(value))
    }

    #[test]
    fn the_next_member() {
        for value in 0..64_u64 {
            for mask in (0..64_u64).filter(|mask| mask & value == 0) {
                let tnum = Tnum { value, mask };
                let members: Vec<u64> = (0..64).filter(|one| one & !mask == value).collect();
                for number in 0..70 {
                    let next = members.iter().find(|member| **member > number);
                    let expected = next.copied().unwrap_or(value | mask);
                    assert_eq!(tnum.after(number), expected, "{tnum:?} after {number}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn results_hold_the_concrete_results((a, x) in member(), (b, y) in member(), bits in 0..64u32) {
            prop_assert!(holds(a.add(b), x.wrapping_add(y)));
            prop_assert!(holds(a.sub(b), x.wrapping_sub(y)));
            prop_assert!(holds(a.mul(b), x.wrapping_mul(y)));
            prop_assert!(holds(a.and(b), x & y));
            prop_assert!(holds(a.or(b), x | y));
            prop_assert!(holds(a.xor(b), x ^ y));
            prop_assert!(holds(a.neg(), x.wrapping_neg()));
            prop_assert!(holds(a.lsh(bits), x << bits));
            prop_assert!(holds(a.rsh(bits), x >> bits));
            prop_assert!(holds(a.arsh64(bits), ((x as i64) >> bits) as u64));
            prop_assert!(holds(a.low().arsh32(bits & 31), u64::from(((x as i32) >> (bits & 31)) as u32)));
            prop_assert!(holds(a.union(b), x) && holds(a.union(b), y));
            prop_assert!(a.overlaps(a.union(b)));
            prop_assert!(a.union(b).contains(a));
        }

        #[test]
        fn a_range_holds_its_ends(x: u64, y: u64) {
            let range = Tnum::range(x.min(y), x.max(y));
            prop_assert!(holds(range, x) && holds(range, y));
        }
    }
}
