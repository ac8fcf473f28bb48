//! Word to typed instruction. Strict: a word that [`encode`] would not write is refused, so that
//! nothing passes that the table does not list.

use super::form::{
    alu, br, br_alu, br_bit, br_byte, cmd, ctx_arb, immed, lcsr, ld_field, mul, shf,
};
use super::operand::{Bank, RESTRICTED_IMM, UNRESTRICTED_IMM, from_restricted, from_unrestricted};
use super::{
    AddressMode, Alu, AluOp, Branch, BranchBit, Command, CommandOp, Condition, ContextSwap, Csr,
    Immed, ImmedShift, ImmedWidth, Insn, LoadField, Mul, MulKind, MulStep, Operand, Return, Shift,
    ShiftControl, ShiftOp, encode,
};

/// A word that is no instruction of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:#014x}: {problem}")]
pub struct DecodeError {
    /// The word.
    pub word: u64,
    /// What is wrong.
    pub problem: &'static str,
}

/// The instruction of a word without ECC.
pub fn decode(word: u64) -> Result<Insn, DecodeError> {
    let error = |problem| DecodeError { word, problem };
    let insn = decode_fields(word).ok_or(error("operation or operand is not in the table"))?;
    if encode(&insn) == Ok(word) {
        Ok(insn)
    } else {
        Err(error("bits are set that the form does not have"))
    }
}

fn decode_fields(word: u64) -> Option<Insn> {
    if shf::FORM.matches(word) {
        decode_shift(word)
    } else if alu::FORM.matches(word) {
        decode_alu(word)
    } else if ld_field::FORM.matches(word) {
        decode_load_field(word)
    } else if br_bit::FORM.matches(word) {
        decode_branch_bit(word)
    } else if br::FORM.matches(word) {
        Some(Insn::Branch(Branch {
            condition: Condition::from_code(br::MASK.get(word))?,
            target: address(word),
            defer: br::DEFBR.get(word) as u8,
        }))
    } else if br_alu::FORM.matches(word) {
        decode_return(word)
    } else if immed::FORM.matches(word) {
        decode_immed(word)
    } else if mul::FORM.matches(word) {
        decode_mul(word)
    } else if lcsr::FORM.matches(word) {
        decode_csr(word)
    } else if ctx_arb::FORM.matches(word) {
        Some(Insn::CtxArb {
            bits: word & !ctx_arb::FORM.class,
        })
    } else if br_byte::FORM.matches(word) {
        Some(Insn::BranchByte {
            bits: word & !br_byte::FORM.class,
        })
    } else {
        decode_command(word)
    }
}

/// Left and right source from the operands of slot A and slot B.
const fn unswap(swapped: bool, a: Operand, b: Operand) -> (Operand, Operand) {
    if swapped { (b, a) } else { (a, b) }
}

/// A left source that the operation has no use for is written as 0.
const fn left_source(used: bool, field_is_zero: bool, operand: Operand) -> Operand {
    if !used && field_is_zero {
        Operand::None
    } else {
        operand
    }
}

const fn bank(in_b: bool) -> Bank {
    if in_b { Bank::B } else { Bank::A }
}

/// A destination is written to both banks if the word says so.
const fn destination(operand: Operand, both: bool) -> Operand {
    match operand {
        Operand::A(n) | Operand::B(n) if both => Operand::Both(n),
        other => other,
    }
}

fn decode_alu(word: u64) -> Option<Insn> {
    let op = AluOp::from_code(alu::OP.get(word))?;
    let (a, b, dst) = (alu::A.get(word), alu::B.get(word), alu::DST.get(word));
    let swapped = alu::SW.get(word) == 1;
    let extension = alu::SRC_LMEXTN.get(word) == 1;
    let (left, right) = unswap(
        swapped,
        from_unrestricted(a, Bank::A, extension)?,
        from_unrestricted(b, Bank::B, extension)?,
    );
    let left_field = if swapped { b } else { a };
    Some(Insn::Alu(Alu {
        dst: unrestricted_destination(
            dst,
            bank(alu::DST_AB.get(word) == 1),
            alu::DST_LMEXTN.get(word) == 1,
            alu::WR_AB.get(word) == 1,
        )?,
        left: left_source(op.uses_left(), left_field == 0, left),
        op,
        right,
    }))
}

fn unrestricted_destination(bits: u64, bank: Bank, lm: bool, both: bool) -> Option<Operand> {
    if bits == UNRESTRICTED_IMM {
        return Some(Operand::None);
    }
    Some(destination(from_unrestricted(bits, bank, lm)?, both))
}

fn decode_shift(word: u64) -> Option<Insn> {
    let op = ShiftOp::from_code(shf::OP.get(word))?;
    let control = ShiftControl::from_code(shf::SC.get(word))?;
    let (a, b) = (shf::A.get(word), shf::B.get(word));
    let swapped = shf::SW.get(word) == 1;
    let extension = shf::SRC_LMEXTN.get(word) == 1;
    let high = shf::I8.get(word) == 1;
    let (left, right) = unswap(
        swapped,
        from_restricted(a, Bank::A, extension, high)?,
        from_restricted(b, Bank::B, extension, high)?,
    );
    let left_field = if swapped { b } else { a };
    let dst = match shf::DST.get(word) {
        RESTRICTED_IMM => Operand::None,
        bits => {
            let bank = bank(shf::DST_AB.get(word) == 1);
            let operand = from_restricted(bits, bank, shf::DST_LMEXTN.get(word) == 1, false)?;
            destination(operand, shf::WR_AB.get(word) == 1)
        }
    };
    let mut insn = Shift {
        dst,
        left,
        op,
        right,
        control,
        amount: shift_amount(control, shf::SHIFT.get(word)),
    };
    insn.left = left_source(insn.uses_left(), left_field == 0, left);
    Some(Insn::Shift(insn))
}

/// The inverse of the encoder's rule for shifts to the left, which is its own inverse.
const fn shift_amount(control: ShiftControl, field: u64) -> u8 {
    super::encode::shift_field(control, field as u8) as u8
}

fn decode_load_field(word: u64) -> Option<Insn> {
    let control = ShiftControl::from_code(ld_field::SC.get(word))?;
    let src_lm = ld_field::SRC_LMEXTN.get(word) == 1;
    let dst_lm = ld_field::DST_LMEXTN.get(word) == 1;
    let swapped = ld_field::SW.get(word) == 1;
    let (dst, src) = if swapped {
        (ld_field::B.get(word), ld_field::A.get(word))
    } else {
        (ld_field::A.get(word), ld_field::B.get(word))
    };
    let dst = from_restricted(dst, bank(swapped), dst_lm, false)?;
    Some(Insn::LoadField(LoadField {
        dst: destination(dst, ld_field::WR_AB.get(word) == 1),
        bytes: ld_field::BMASK.get(word) as u8,
        src: from_restricted(src, bank(!swapped), src_lm, ld_field::I8.get(word) == 1)?,
        control,
        amount: shift_amount(control, ld_field::SHF.get(word)),
        clear: ld_field::ZF.get(word) == 1,
    }))
}

fn decode_immed(word: u64) -> Option<Insn> {
    let lm = immed::DST_LMEXTN.get(word) == 1;
    let a = from_unrestricted(immed::A.get(word), Bank::A, lm)?;
    let b = from_unrestricted(immed::B.get(word), Bank::B, lm)?;
    let (dst, low) = match (a, b) {
        (Operand::Imm(0), Operand::Imm(low)) => (Operand::None, low),
        (Operand::Imm(low), dst) | (dst, Operand::Imm(low)) => (dst, low),
        _ => return None,
    };
    Some(Insn::Immed(Immed {
        dst: destination(dst, immed::WR_AB.get(word) == 1),
        value: (immed::IMM_HI.get(word) << 8) as u16 | u16::from(low),
        width: ImmedWidth::from_code(immed::WIDTH.get(word))?,
        invert: immed::INV.get(word) == 1,
        shift: ImmedShift::from_code(immed::SHIFT.get(word))?,
    }))
}

const fn address(word: u64) -> u16 {
    (br::ADDR_LO.get(word) | br::ADDR_HI.get(word) << br::ADDR_LO.width) as u16
}

fn decode_branch_bit(word: u64) -> Option<Insn> {
    let lm = br_bit::SRC_LMEXTN.get(word) == 1;
    let a = from_restricted(br_bit::A.get(word), Bank::A, lm, false)?;
    let b = from_restricted(br_bit::B.get(word), Bank::B, lm, false)?;
    let (src, rotation) = register_and_imm(a, b)?;
    Some(Insn::BranchBit(BranchBit {
        src,
        bit: rotation.checked_sub(1)?,
        set: br_bit::BV.get(word) == 1,
        target: address(word),
        defer: br_bit::DEFBR.get(word) as u8,
    }))
}

/// The register in one slot and the immediate in the other.
const fn register_and_imm(a: Operand, b: Operand) -> Option<(Operand, u8)> {
    match (a, b) {
        (Operand::Imm(value), src) | (src, Operand::Imm(value)) => Some((src, value)),
        _ => None,
    }
}

fn decode_return(word: u64) -> Option<Insn> {
    let lm = br_alu::SRC_LMEXTN.get(word) == 1;
    let a = from_unrestricted(br_alu::A.get(word), Bank::A, lm)?;
    let b = from_unrestricted(br_alu::B.get(word), Bank::B, lm)?;
    let (src, _) = register_and_imm(a, b)?;
    Some(Insn::Return(Return {
        src,
        defer: br_alu::DEFBR.get(word) as u8,
    }))
}

fn decode_mul(word: u64) -> Option<Insn> {
    let kind = MulKind::from_code(mul::TYPE.get(word))?;
    let step = MulStep::from_code(mul::STEP.get(word))?;
    let (a, b) = (mul::A.get(word), mul::B.get(word));
    let (left, right) = if step.stores() {
        let dst = unrestricted_destination(
            a,
            bank(mul::DST_AB.get(word) == 1),
            mul::DST_LMEXTN.get(word) == 1,
            mul::WR_AB.get(word) == 1,
        )?;
        (dst, Operand::None)
    } else {
        let lm = mul::SRC_LMEXTN.get(word) == 1;
        unswap(
            mul::SW.get(word) == 1,
            from_unrestricted(a, Bank::A, lm)?,
            from_unrestricted(b, Bank::B, lm)?,
        )
    };
    Some(Insn::Mul(Mul {
        kind,
        step,
        left,
        right,
    }))
}

fn decode_csr(word: u64) -> Option<Insn> {
    let csr = Csr::from_code(lcsr::ADDR.get(word) * 4)?;
    if lcsr::WRITE.get(word) == 0 {
        return Some(Insn::CsrRead { csr });
    }
    let lm = lcsr::SRC_LMEXTN.get(word) == 1;
    let a = from_unrestricted(lcsr::A.get(word), Bank::A, lm)?;
    let b = from_unrestricted(lcsr::B.get(word), Bank::B, lm)?;
    let src = match (a, b) {
        (Operand::Imm(0), register @ Operand::B(_)) => register,
        (src, _) => src,
    };
    Some(Insn::CsrWrite { csr, src })
}

fn decode_command(word: u64) -> Option<Insn> {
    let op = cmd::TOKEN.get(word) << cmd::TGT_CMD.width | cmd::TGT_CMD.get(word);
    Some(Insn::Command(Command {
        op: CommandOp::from_code(op)?,
        xfer: cmd::XFER.get(word) as u8,
        a: from_restricted(cmd::A.get(word), Bank::A, false, false)?,
        b: from_restricted(cmd::B.get(word), Bank::B, false, false)?,
        mode: AddressMode::from_code(cmd::MODE.get(word))?,
        count: cmd::CNT.get(word) as u8,
        swap: ContextSwap::from_code(cmd::CTX.get(word))?,
        indirect: cmd::INDIR.get(word) == 1,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::arbitrary;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn decode_inverts_encode(insn in arbitrary::insn(3072)) {
            let word = encode(&insn).unwrap();
            prop_assert_eq!(decode(word), Ok(insn));
        }

        #[test]
        fn any_word_is_an_instruction_or_an_error(word: u64, class in 0..32u64) {
            for word in [word, word & 0x1f07_ffff_ffff | class << 35] {
                if let Ok(insn) = decode(word) {
                    prop_assert_eq!(encode(&insn), Ok(word));
                }
            }
        }
    }

    #[test]
    fn bits_that_no_form_has_are_refused() {
        let nop = encode(&Insn::NOP).unwrap();
        assert_eq!(decode(nop), Ok(Insn::NOP));
        assert!(decode(nop | 1 << 40).is_err());
        assert!(decode(nop | 1 << 45).is_err());
    }
}
