//! What is known of a number: its bits and its bounds, signed and unsigned, of all 64 and of the
//! low 32 bits; and what each of these says about the others. The deductions and their order are
//! those of Linux (`reg_bounds_sync` in kernel/bpf/verifier.c), so that both know the same.

use super::tnum::Tnum;

/// A number: every value that satisfies all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) bits: Tnum,
    pub(super) smin: i64,
    pub(super) smax: i64,
    pub(super) umin: u64,
    pub(super) umax: u64,
    pub(super) s32_min: i32,
    pub(super) s32_max: i32,
    pub(super) u32_min: u32,
    pub(super) u32_max: u32,
}

impl Scalar {
    pub(super) const UNKNOWN: Self = Self {
        bits: Tnum::UNKNOWN,
        smin: i64::MIN,
        smax: i64::MAX,
        umin: 0,
        umax: u64::MAX,
        s32_min: i32::MIN,
        s32_max: i32::MAX,
        u32_min: 0,
        u32_max: u32::MAX,
    };

    pub(super) const fn constant(value: u64) -> Self {
        Self {
            bits: Tnum::constant(value),
            smin: value as i64,
            smax: value as i64,
            umin: value,
            umax: value,
            s32_min: value as i32,
            s32_max: value as i32,
            u32_min: value as u32,
            u32_max: value as u32,
        }
    }

    pub(super) fn is_const(&self) -> bool {
        self.bits.is_const()
    }

    /// The value of the whole register, or of its low half, if there is only one.
    pub(super) fn as_const(&self, half: bool) -> Option<u64> {
        let bits = if half { self.bits.low() } else { self.bits };
        bits.is_const().then_some(bits.value)
    }

    /// How many low bits the values need.
    pub(super) fn width(&self) -> u32 {
        64 - self.umax.leading_zeros()
    }

    pub(super) fn forget_bounds(&mut self) {
        *self = Self {
            bits: self.bits,
            ..Self::UNKNOWN
        };
    }

    pub(super) fn forget_bounds_32(&mut self) {
        (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
        (self.u32_min, self.u32_max) = (0, u32::MAX);
    }

    pub(super) fn forget_bounds_64(&mut self) {
        (self.smin, self.smax) = (i64::MIN, i64::MAX);
        (self.umin, self.umax) = (0, u64::MAX);
    }

    fn narrow_u64(&mut self, min: u64, max: u64) {
        self.umin = self.umin.max(min);
        self.umax = self.umax.min(max);
    }

    fn narrow_s64(&mut self, min: i64, max: i64) {
        self.smin = self.smin.max(min);
        self.smax = self.smax.min(max);
    }

    fn narrow_u32(&mut self, min: u32, max: u32) {
        self.u32_min = self.u32_min.max(min);
        self.u32_max = self.u32_max.min(max);
    }

    fn narrow_s32(&mut self, min: i32, max: i32) {
        self.s32_min = self.s32_min.max(min);
        self.s32_max = self.s32_max.min(max);
    }

    /// Bounds of the low half from its bits.
    pub(super) fn bounds_32_from_bits(&mut self) {
        let (value, mask) = (self.bits.value as u32, self.bits.mask as u32);
        let sign = mask & (1 << 31);
        self.narrow_s32(
            (value | sign) as i32,
            (value | (mask & i32::MAX as u32)) as i32,
        );
        self.narrow_u32(value, value | mask);
    }

    /// Bounds from the bits.
    pub(super) fn bounds_from_bits(&mut self) {
        self.bounds_32_from_bits();
        let Tnum { value, mask } = self.bits;
        let sign = mask & (1 << 63);
        self.narrow_s64(
            (value | sign) as i64,
            (value | (mask & i64::MAX as u64)) as i64,
        );
        self.narrow_u64(value, value | mask);
    }

    fn deduce_32(&mut self) {
        let (low_min, low_max) = (self.umin as u32, self.umax as u32);
        if self.umin >> 32 == self.umax >> 32 {
            self.narrow_u32(low_min, low_max);
            if low_min as i32 <= low_max as i32 {
                self.narrow_s32(low_min as i32, low_max as i32);
            }
        }
        let (signed_min, signed_max) = (self.smin as u32, self.smax as u32);
        if self.smin >> 32 == self.smax >> 32 {
            if signed_min <= signed_max {
                self.narrow_u32(signed_min, signed_max);
            }
            if signed_min as i32 <= signed_max as i32 {
                self.narrow_s32(signed_min as i32, signed_max as i32);
            }
        }
        // Upper halves that are neighbours, and low halves that go from negative to positive.
        let neighbours = |min: u64, max: u64| {
            ((min >> 32) as u32).wrapping_add(1) == (max >> 32) as u32
                && min & (1 << 31) != 0
                && max & (1 << 31) == 0
        };
        if neighbours(self.umin, self.umax) {
            self.narrow_s32(low_min as i32, low_max as i32);
        }
        if neighbours(self.smin as u64, self.smax as u64) {
            self.narrow_s32(signed_min as i32, signed_max as i32);
        }
        if self.u32_min as i32 <= self.u32_max as i32 {
            self.narrow_s32(self.u32_min as i32, self.u32_max as i32);
        }
        if self.s32_min as u32 <= self.s32_max as u32 {
            self.narrow_u32(self.s32_min as u32, self.s32_max as u32);
        } else if self.u32_max < self.s32_min as u32 {
            // As for 64 bits: only one end of the unsigned range is possible.
            self.s32_min = self.u32_min as i32;
            self.u32_max = self.u32_max.min(self.s32_max as u32);
        } else if (self.s32_max as u32) < self.u32_min {
            self.s32_max = self.u32_max as i32;
            self.u32_min = self.u32_min.max(self.s32_min as u32);
        }
    }

    fn deduce_64(&mut self) {
        if self.umin as i64 <= self.umax as i64 {
            self.narrow_s64(self.umin as i64, self.umax as i64);
        }
        if self.smin as u64 <= self.smax as u64 {
            self.narrow_u64(self.smin as u64, self.smax as u64);
        } else if self.umax < self.smin as u64 {
            // The signed range has a part at each end of the unsigned one; only one is possible.
            self.smin = self.umin as i64;
            self.umax = self.umax.min(self.smax as u64);
        } else if (self.smax as u64) < self.umin {
            self.smax = self.umax as i64;
            self.umin = self.umin.max(self.smin as u64);
        }
    }

    fn deduce_mixed(&mut self) {
        const HIGH: u64 = !0xffff_ffff;
        let (low_min, low_max) = (u64::from(self.u32_min), u64::from(self.u32_max));
        self.narrow_u64((self.umin & HIGH) | low_min, (self.umax & HIGH) | low_max);
        let smin = ((self.smin as u64 & HIGH) | low_min) as i64;
        let smax = ((self.smax as u64 & HIGH) | low_max) as i64;
        self.narrow_s64(smin, smax);
        let fits = self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX);
        if self.s32_min >= 0 && fits {
            // The low half is not negative and the whole sign-extends some 32-bit value.
            (self.smin, self.smax) = (i64::from(self.s32_min), i64::from(self.s32_max));
            (self.umin, self.umax) = (self.smin as u64, self.smax as u64);
            self.bits = self.bits.intersect(Tnum::range(self.umin, self.umax));
        }
    }

    /// Spreads what each member says to the others.
    pub(super) fn sync(&mut self) {
        self.bounds_from_bits();
        self.meet_in_one();
        for _ in 0..3 {
            self.deduce_32();
            self.deduce_64();
            self.deduce_mixed();
        }
        let whole = self.bits.intersect(Tnum::range(self.umin, self.umax));
        let low = Tnum::range(u64::from(self.u32_min), u64::from(self.u32_max));
        self.bits = whole.high().or(whole.low().intersect(low));
        self.bounds_from_bits();
        self.meet_in_one();
    }

    /// Where bits and bounds have only one number in common, it is that.
    fn meet_in_one(&mut self) {
        let Tnum { value, mask } = self.bits;
        if mask == 0 {
            return;
        }
        let largest = value | mask;
        let next = self.bits.after(self.umin);
        let only = if self.umin & !mask == value {
            (next > self.umax).then_some(self.umin)
        } else if next == largest {
            Some(largest)
        } else {
            (next <= self.umax && self.bits.after(next) > self.umax).then_some(next)
        };
        if let Some(only) = only {
            *self = Self::constant(only);
        }
    }

    /// Whether no value satisfies all members, which happens on paths that cannot be taken.
    fn is_contradictory(&self) -> bool {
        let crossed = self.umin > self.umax
            || self.smin > self.smax
            || self.u32_min > self.u32_max
            || self.s32_min > self.s32_max;
        let bounds_differ = |value: u64| {
            (self.umin, self.umax) != (value, value)
                || (self.smin, self.smax) != (value as i64, value as i64)
        };
        let low_differ = |value: u32| {
            (self.u32_min, self.u32_max) != (value, value)
                || (self.s32_min, self.s32_max) != (value as i32, value as i32)
        };
        crossed
            || self.as_const(false).is_some_and(bounds_differ)
            || self
                .as_const(true)
                .is_some_and(|value| low_differ(value as u32))
    }

    /// Gives up the bounds where they contradict each other.
    pub(super) fn sanitize(&mut self) {
        if self.is_contradictory() {
            self.forget_bounds();
        }
    }

    /// Bounds of the whole from those of the low half, the upper half being zero.
    fn assign_32_into_64(&mut self) {
        self.umin = u64::from(self.u32_min);
        self.umax = u64::from(self.u32_max);
        if self.s32_min >= 0 && self.s32_max >= 0 {
            (self.smin, self.smax) = (i64::from(self.s32_min), i64::from(self.s32_max));
        } else {
            (self.smin, self.smax) = (0, i64::from(u32::MAX));
        }
    }

    /// Zeroes the upper half.
    pub(super) fn zero_extend_32(&mut self) {
        self.bits = self.bits.low();
        self.assign_32_into_64();
    }

    /// Keeps the low `bytes` bytes, as a load does.
    pub(super) fn truncate(&mut self, bytes: u32) {
        self.bits = self.bits.truncate(bytes);
        let mask = u64::MAX >> (64 - 8 * bytes);
        if self.umin & !mask == self.umax & !mask {
            self.umin &= mask;
            self.umax &= mask;
        } else {
            (self.umin, self.umax) = (0, mask);
        }
        (self.smin, self.smax) = (self.umin as i64, self.umax as i64);
        if bytes < 4 {
            self.forget_bounds_32();
        }
        self.sync();
    }

    /// Sign-extends the low `bytes` bytes to 64 bits.
    pub(super) fn sign_extend_64(&mut self, bytes: u32) {
        if bytes == 8 {
            return;
        }
        let shift = 64 - 8 * bytes;
        let extend = |value: u64| ((value << shift) as i64) >> shift;
        if let Some(value) = self.as_const(false) {
            *self = Self::constant(extend(value) as u64);
            return;
        }
        let keep = u64::MAX << (8 * bytes);
        if self.smax as u64 & keep == self.smin as u64 & keep {
            let (max, min) = (extend(self.smax as u64), extend(self.smin as u64));
            if (max >= 0) == (min >= 0) {
                (self.smin, self.smax) = (min, max);
                (self.umin, self.umax) = (min as u64, max as u64);
                self.bits = Tnum::range(min as u64, max as u64);
                (self.s32_min, self.s32_max) = (min as i32, max as i32);
                (self.u32_min, self.u32_max) = (min as u32, max as u32);
                return;
            }
        }
        let limit = 1_i64 << (8 * bytes - 1);
        *self = Self::UNKNOWN;
        (self.smin, self.smax) = (-limit, limit - 1);
        (self.s32_min, self.s32_max) = ((-limit) as i32, (limit - 1) as i32);
    }

    /// Sign-extends the low `bytes` bytes to 32 bits; the upper half is left to the caller.
    pub(super) fn sign_extend_32(&mut self, bytes: u32) {
        let shift = 32 - 8 * bytes;
        let extend = |value: u32| ((value << shift) as i32) >> shift;
        if let Some(value) = self.as_const(false) {
            *self = Self::constant(u64::from(extend(value as u32) as u32));
            return;
        }
        let keep = u32::MAX << (8 * bytes);
        let limit = 1_i32 << (8 * bytes - 1);
        let (mut min, mut max) = (-limit, limit - 1);
        if self.s32_max as u32 & keep == self.s32_min as u32 & keep {
            let ends = (extend(self.s32_min as u32), extend(self.s32_max as u32));
            if (ends.0 >= 0) == (ends.1 >= 0) {
                (min, max) = ends;
                (self.s32_min, self.s32_max) = ends;
                (self.u32_min, self.u32_max) = (min as u32, max as u32);
                self.bits = Tnum::range(u64::from(min as u32), u64::from(max as u32)).low();
                return;
            }
        }
        (self.s32_min, self.s32_max) = (min, max);
        (self.u32_min, self.u32_max) = (0, u32::MAX);
        self.bits = Tnum::UNKNOWN.low();
    }

    /// Whether every value of `other` is one of `self`.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.u32_min <= other.u32_min
            && self.u32_max >= other.u32_max
            && self.s32_min <= other.s32_min
            && self.s32_max >= other.s32_max
            && self.bits.contains(other.bits)
    }
}
