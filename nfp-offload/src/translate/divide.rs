//! Division of a 32-bit number by a constant: multiplication by a reciprocal (Granlund and
//! Montgomery 1994, as in the kernel's `reciprocal_div.h`).

use iom_core::isa::Reg;
use iom_core::verifier::{InsnFacts, Range};

use super::alu::multiply_steps;
use super::emit::{Emitter, SCRATCH, low};
use super::{DefectMode, TranslateErrorKind, Translated};
use crate::isa::{AluOp, MulKind, MulStep, Operand, ShiftControl, ShiftOp};

use Operand::{A, B, Both, Imm, None};

/// Reciprocal of a divisor: `n / d = (n * multiplier >> 32, adjusted) >> shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reciprocal {
    multiplier: u32,
    shift: u8,
    /// The multiplier has 33 bits; this is its low part.
    wide: bool,
    /// Rounded-up logarithm of the divisor.
    log: u8,
}

impl Reciprocal {
    /// Reciprocal of `divisor`, from 1 to 2^31, for dividends of `bits` bits.
    fn new(divisor: u32, bits: u8) -> Self {
        let log = (32 - (divisor - 1).leading_zeros()) as u8;
        let one = 1u128 << (32 + log);
        let mut low = one / u128::from(divisor);
        let mut high = (one + (1u128 << (32 + log - bits))) / u128::from(divisor);
        let mut shift = log;
        while shift > 0 && low >> 1 < high >> 1 {
            low >>= 1;
            high >>= 1;
            shift -= 1;
        }
        Self {
            multiplier: high as u32,
            shift,
            wide: high >> 32 != 0,
            log,
        }
    }
}

/// Divides the low word of `dst` by the constant that the facts know; the high word, which the
/// checks want to be zero, is left alone.
pub(super) fn divide(
    emit: &mut Emitter,
    dst: Reg,
    facts: &InsnFacts,
    mode: DefectMode,
) -> Translated {
    let d = low(dst);
    let (dividend, divisor) = facts.ranges.unwrap_or((Range::FULL, Range::constant(0)));
    let is_known = divisor.as_constant().is_some() && u32::try_from(dividend.max).is_ok();
    if mode == DefectMode::Fixed && !is_known {
        return Err(TranslateErrorKind::NotConstantDivision);
    }
    let divisor = divisor.min;
    match u32::try_from(divisor) {
        Err(_) => emit.immed(Both(d), 0),
        Ok(0) => return Err(TranslateErrorKind::DivideByZero),
        Ok(divisor) if divisor > 1 << 31 => {
            let right = emit.constant(divisor);
            emit.test(A(d), AluOp::Sub, right);
            emit.immed(A(SCRATCH), 0);
            emit.alu(Both(d), A(SCRATCH), AluOp::AddCarry, Imm(0));
        }
        Ok(divisor) => by_reciprocal(emit, d, divisor, mode),
    }
    Ok(())
}

/// Bits by which dividend and result are shifted apart from the multiplication: the divisor of the
/// reciprocal is without its factors of two where that makes the multiplier fit.
fn reciprocals(divisor: u32) -> (Reciprocal, Reciprocal, u8) {
    let first = Reciprocal::new(divisor, 32);
    let pre_shift = if first.wide && divisor.is_multiple_of(2) {
        divisor.trailing_zeros() as u8
    } else {
        0
    };
    match pre_shift {
        0 => (first, first, 0),
        shift => (first, Reciprocal::new(divisor >> shift, 32 - shift), shift),
    }
}

/// Whether the words for this divisor contain a shift by 0, which is another instruction.
pub(super) fn shifts_by_zero(divisor: u32) -> bool {
    if divisor == 0 || divisor > 1 << 31 {
        return false;
    }
    let (first, reciprocal, _) = reciprocals(divisor);
    if divisor.is_power_of_two() {
        first.log == 0
    } else {
        reciprocal.shift == u8::from(reciprocal.wide)
    }
}

fn by_reciprocal(emit: &mut Emitter, d: u8, divisor: u32, mode: DefectMode) {
    let (first, reciprocal, pre_shift) = reciprocals(divisor);
    // By 0 this is the indirect form, with whatever amount there is: a defect of the driver.
    let shift_right = |emit: &mut Emitter, amount| {
        if amount == 0 && mode == DefectMode::Fixed {
            return;
        }
        emit.shift(Both(d), ShiftOp::B, A(d), ShiftControl::Right, amount);
    };
    let magic = emit.constant(reciprocal.multiplier);
    if divisor.is_power_of_two() {
        shift_right(emit, first.log);
    } else if reciprocal.wide {
        multiply_high(emit, Both(SCRATCH), d, magic);
        emit.alu(Both(d), A(d), AluOp::Sub, B(SCRATCH));
        shift_right(emit, 1);
        emit.alu(Both(d), A(d), AluOp::Add, B(SCRATCH));
        shift_right(emit, reciprocal.shift.wrapping_sub(1));
    } else {
        if pre_shift != 0 {
            shift_right(emit, pre_shift);
        }
        multiply_high(emit, Both(d), d, magic);
        shift_right(emit, reciprocal.shift);
    }
}

/// `dst` = high word of the product.
fn multiply_high(emit: &mut Emitter, dst: Operand, left: u8, right: Operand) {
    emit.mul(MulKind::Start, MulStep::Step1, A(left), right);
    multiply_steps(emit, left, right);
    emit.mul(MulKind::By32x32, MulStep::Last, None, None);
    emit.mul(MulKind::By32x32, MulStep::Last2, dst, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(dividend: u32, divisor: u32) -> u32 {
        let reciprocal = Reciprocal::new(divisor, 32);
        let product = ((u64::from(dividend) * u64::from(reciprocal.multiplier)) >> 32) as u32;
        if reciprocal.wide {
            (((dividend - product) >> 1) + product) >> (reciprocal.shift - 1)
        } else {
            product >> reciprocal.shift
        }
    }

    proptest::proptest! {
        #[test]
        fn reciprocals_divide(dividend: u32, divisor in 3u32..1 << 31) {
            proptest::prop_assume!(!divisor.is_power_of_two());
            proptest::prop_assert_eq!(divide(dividend, divisor), dividend / divisor);
        }
    }

    #[test]
    fn small_divisors_divide() {
        for divisor in (3u32..200).filter(|divisor| !divisor.is_power_of_two()) {
            for dividend in [
                0,
                1,
                divisor - 1,
                divisor,
                divisor + 1,
                u32::MAX - 1,
                u32::MAX,
            ] {
                assert_eq!(
                    divide(dividend, divisor),
                    dividend / divisor,
                    "{dividend} / {divisor}"
                );
            }
        }
    }
}
