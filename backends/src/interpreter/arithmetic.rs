//! Arithmetic, comparisons and byte swaps (RFC 9669 sections 4.1 to 4.3) as pure functions.

use iom_core::isa::{AluOp, ByteOrder, Condition, Size, SwapWidth, Width};

/// `a op b` in 64 bits.
#[inline]
pub(super) const fn alu64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => match a.checked_div(b) {
            Some(quotient) => quotient,
            None => 0,
        },
        AluOp::SignedDiv if b == 0 => 0,
        AluOp::SignedDiv => (a as i64).wrapping_div(b as i64) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a.wrapping_shl(b as u32),
        AluOp::Rsh => a.wrapping_shr(b as u32),
        AluOp::Mod => match a.checked_rem(b) {
            Some(remainder) => remainder,
            None => a,
        },
        AluOp::SignedMod if b == 0 => a,
        AluOp::SignedMod => (a as i64).wrapping_rem(b as i64) as u64,
        AluOp::Xor => a ^ b,
        AluOp::Arsh => (a as i64).wrapping_shr(b as u32) as u64,
    }
}

/// `a op b` in 32 bits, zero-extended.
#[inline]
pub(super) const fn alu32(op: AluOp, a: u32, b: u32) -> u64 {
    let result = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => match a.checked_div(b) {
            Some(quotient) => quotient,
            None => 0,
        },
        AluOp::SignedDiv if b == 0 => 0,
        AluOp::SignedDiv => (a as i32).wrapping_div(b as i32) as u32,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a.wrapping_shl(b),
        AluOp::Rsh => a.wrapping_shr(b),
        AluOp::Mod => match a.checked_rem(b) {
            Some(remainder) => remainder,
            None => a,
        },
        AluOp::SignedMod if b == 0 => a,
        AluOp::SignedMod => (a as i32).wrapping_rem(b as i32) as u32,
        AluOp::Xor => a ^ b,
        AluOp::Arsh => (a as i32).wrapping_shr(b) as u32,
    };
    result as u64
}

/// Whether `a cond b` holds in 64 bits.
#[inline]
pub(super) const fn holds64(cond: Condition, a: u64, b: u64) -> bool {
    match cond {
        Condition::Eq => a == b,
        Condition::Ne => a != b,
        Condition::Set => a & b != 0,
        Condition::Gt => a > b,
        Condition::Ge => a >= b,
        Condition::Lt => a < b,
        Condition::Le => a <= b,
        Condition::SignedGt => a as i64 > b as i64,
        Condition::SignedGe => a as i64 >= b as i64,
        Condition::SignedLt => (a as i64) < b as i64,
        Condition::SignedLe => a as i64 <= b as i64,
    }
}

/// Whether `a cond b` holds in 32 bits.
#[inline]
pub(super) const fn holds32(cond: Condition, a: u32, b: u32) -> bool {
    match cond {
        Condition::Eq
        | Condition::Ne
        | Condition::Set
        | Condition::Gt
        | Condition::Ge
        | Condition::Lt
        | Condition::Le => holds64(cond, a as u64, b as u64),
        Condition::SignedGt | Condition::SignedGe | Condition::SignedLt | Condition::SignedLe => {
            holds64(cond, a as i32 as u64, b as i32 as u64)
        }
    }
}

/// The low bytes of `value`, sign-extended to 64 bits.
#[inline]
pub(super) const fn sign_extend(value: u64, from: Size) -> u64 {
    match from {
        Size::B => value as i8 as u64,
        Size::H => value as i16 as u64,
        Size::W => value as i32 as u64,
        Size::DW => value,
    }
}

/// `dst = (sN)src`.
#[inline]
pub(super) const fn mov_signed(width: Width, value: u64, from: Size) -> u64 {
    let extended = sign_extend(value, from);
    match width {
        Width::W32 => extended as u32 as u64,
        Width::W64 => extended,
    }
}

/// `-value`.
#[inline]
pub(super) const fn negate(width: Width, value: u64) -> u64 {
    match width {
        Width::W32 => (value as u32).wrapping_neg() as u64,
        Width::W64 => value.wrapping_neg(),
    }
}

/// `beN`, `leN` and `bswapN`; the virtual machine is little-endian on every host.
#[inline]
pub(super) const fn byte_swap(order: ByteOrder, bits: SwapWidth, value: u64) -> u64 {
    let swaps = match order {
        ByteOrder::Little => false,
        ByteOrder::Big | ByteOrder::Swap => true,
    };
    match (bits, swaps) {
        (SwapWidth::B16, false) => value as u16 as u64,
        (SwapWidth::B32, false) => value as u32 as u64,
        (SwapWidth::B64, false) => value,
        (SwapWidth::B16, true) => (value as u16).swap_bytes() as u64,
        (SwapWidth::B32, true) => (value as u32).swap_bytes() as u64,
        (SwapWidth::B64, true) => value.swap_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_has_no_faults() {
        assert_eq!(alu64(AluOp::Div, 7, 0), 0);
        assert_eq!(alu64(AluOp::Mod, 7, 0), 7);
        assert_eq!(alu64(AluOp::SignedDiv, 1 << 63, u64::MAX), 1 << 63);
        assert_eq!(alu64(AluOp::SignedMod, 1 << 63, u64::MAX), 0);
        assert_eq!(alu64(AluOp::SignedMod, -13_i64 as u64, 4), -1_i64 as u64);
        assert_eq!(alu32(AluOp::SignedDiv, 1 << 31, u32::MAX), 1 << 31);
        assert_eq!(alu32(AluOp::SignedMod, 1 << 31, u32::MAX), 0);
        assert_eq!(alu32(AluOp::Mod, 7, 0), 7);
    }

    #[test]
    fn shifts_are_masked() {
        assert_eq!(alu64(AluOp::Lsh, 1, 65), 2);
        assert_eq!(alu32(AluOp::Lsh, 1, 33), 2);
        assert_eq!(alu32(AluOp::Arsh, 0x8000_0000, 31), 0xffff_ffff);
    }

    #[test]
    fn comparisons_by_width_and_sign() {
        let minus = u64::MAX;
        assert!(holds64(Condition::SignedLt, minus, 0));
        assert!(!holds64(Condition::Lt, minus, 0));
        assert!(holds32(Condition::SignedLt, minus as u32, 0));
        assert!(holds32(Condition::Gt, minus as u32, 0));
    }
}
