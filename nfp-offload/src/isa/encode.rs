//! Typed instruction to word. First the operands are assigned to the slots A and B, then the form's
//! fields are filled.

use super::form::{
    alu, br, br_alu, br_bit, br_byte, cmd, ctx_arb, immed, lcsr, ld_field, mul, shf,
};
use super::operand::{RESTRICTED_IMM, UNRESTRICTED_IMM};
use super::{
    Alu, Branch, BranchBit, Command, Condition, ContextSwap, Csr, Immed, Insn, LoadField, Mul,
    MulKind, MulStep, Operand, Return, Shift, ShiftControl,
};

/// Why an instruction has no encoding. The driver answers all of these with `-EFAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Two sources of one kind cannot be in two slots.
    #[error("both sources are of the same kind: {left:?} and {right:?}")]
    SameKind {
        /// Left source.
        left: Operand,
        /// Right source.
        right: Operand,
    },
    /// An immediate as destination, or a pair of banks as source.
    #[error("{operand:?} cannot stand in this place")]
    Place {
        /// The operand.
        operand: Operand,
    },
    /// A source that the operation needs is missing.
    #[error("an operand is missing")]
    Missing,
    /// A register or index number that does not exist.
    #[error("there is no {operand:?}")]
    Number {
        /// The operand.
        operand: Operand,
    },
    /// A local-memory offset or modification that this operand encoding does not have.
    #[error("{operand:?} has no encoding in this instruction")]
    LmOffset {
        /// The operand.
        operand: Operand,
    },
    /// An immediate that does not fit the operand.
    #[error("immediate {value} is above {max}")]
    Immediate {
        /// The value.
        value: u8,
        /// The largest that fits.
        max: u8,
    },
    /// A shift by more than 31.
    #[error("shift by {amount}, the most is 31")]
    ShiftAmount {
        /// The amount.
        amount: u8,
    },
    /// The operands of a command cannot be exchanged.
    #[error("the operands of a command would have to be exchanged")]
    CommandSwap,
    /// The start of a multiplication with a step number.
    #[error("multiplication {kind:?} has no {step:?}")]
    MulStep {
        /// Kind.
        kind: MulKind,
        /// Step.
        step: MulStep,
    },
    /// A branch target beyond 14 bits, more than 3 defer slots, or a bit number above 31.
    #[error("{what} {value} is above {max}")]
    Range {
        /// What is too large.
        what: &'static str,
        /// The value.
        value: u16,
        /// The largest allowed.
        max: u16,
    },
}

/// Operands in their slots.
#[expect(clippy::struct_excessive_bools, reason = "each is one bit of the word")]
struct Slots {
    a: u64,
    b: u64,
    dst: u64,
    /// The destination is in bank B only.
    dst_b: bool,
    /// The destination is written in both banks.
    both: bool,
    /// Left is in slot B.
    swapped: bool,
    src_lm: bool,
    dst_lm: bool,
    /// Bit 7 of an immediate, where the form has a place for it.
    imm_high: bool,
}

/// The two operand encodings, and the largest immediate.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Unrestricted,
    Restricted { max: u8 },
}

impl Encoding {
    const RESTRICTED_7: Self = Self::Restricted { max: 127 };
    const RESTRICTED_8: Self = Self::Restricted { max: 255 };

    fn source(self, operand: Operand) -> Result<u64, EncodeError> {
        match (self, operand) {
            (Self::Unrestricted, _) => operand.unrestricted(0),
            (Self::Restricted { max }, Operand::Imm(value)) if value > max => {
                Err(EncodeError::Immediate { value, max })
            }
            (Self::Restricted { .. }, _) => operand.restricted(0),
        }
    }

    fn destination(self, operand: Operand) -> Result<u64, EncodeError> {
        if operand.is_imm() {
            return Err(EncodeError::Place { operand });
        }
        match self {
            Self::Unrestricted => operand.unrestricted(UNRESTRICTED_IMM),
            Self::Restricted { .. } => operand.restricted(RESTRICTED_IMM),
        }
    }

    /// Left goes to slot A and right to slot B, unless a bank says otherwise.
    fn slots(self, dst: Operand, left: Operand, right: Operand) -> Result<Slots, EncodeError> {
        let same = std::mem::discriminant(&left) == std::mem::discriminant(&right);
        if same && left != Operand::None {
            return Err(EncodeError::SameKind { left, right });
        }
        let swapped = matches!(left, Operand::B(_)) || matches!(right, Operand::A(_));
        let (a, b) = if swapped {
            (right, left)
        } else {
            (left, right)
        };
        Ok(Slots {
            a: self.source(a)?,
            b: self.source(b)?,
            dst: self.destination(dst)?,
            dst_b: matches!(dst, Operand::B(_)),
            both: matches!(dst, Operand::Both(_)),
            swapped,
            src_lm: left.needs_lm_extension() || right.needs_lm_extension(),
            dst_lm: dst.needs_lm_extension(),
            imm_high: [left, right]
                .iter()
                .any(|operand| matches!(operand, Operand::Imm(0x80..))),
        })
    }
}

/// A source that the instruction needs.
fn needed(operand: Operand) -> Result<Operand, EncodeError> {
    match operand {
        Operand::None => Err(EncodeError::Missing),
        _ => source(operand),
    }
}

/// A source that may be missing.
fn source(operand: Operand) -> Result<Operand, EncodeError> {
    match operand {
        Operand::Both(_) => Err(EncodeError::Place { operand }),
        _ => Ok(operand),
    }
}

/// A left source that is there exactly if the operation uses it.
fn left_source(operand: Operand, used: bool) -> Result<Operand, EncodeError> {
    match operand {
        _ if used => needed(operand),
        Operand::None => Ok(operand),
        _ => Err(EncodeError::Place { operand }),
    }
}

fn range(what: &'static str, value: u16, max: u16) -> Result<u64, EncodeError> {
    if value <= max {
        Ok(value.into())
    } else {
        Err(EncodeError::Range { what, value, max })
    }
}

/// The word of an instruction, without ECC.
pub fn encode(insn: &Insn) -> Result<u64, EncodeError> {
    match *insn {
        Insn::Alu(ref insn) => encode_alu(insn),
        Insn::Shift(ref insn) => encode_shift(insn),
        Insn::LoadField(ref insn) => encode_load_field(insn),
        Insn::Immed(insn) => encode_immed(insn),
        Insn::Branch(insn) => encode_branch(insn),
        Insn::BranchBit(insn) => encode_branch_bit(insn),
        Insn::Return(insn) => encode_return(insn),
        Insn::Mul(insn) => encode_mul(insn),
        Insn::CsrRead { csr } => Ok(lcsr::FORM.base | csr_address(csr)),
        Insn::CsrWrite { csr, src } => encode_csr_write(csr, src),
        Insn::Command(ref insn) => encode_command(insn),
        Insn::CtxArb { bits } => {
            Ok(ctx_arb::FORM.base | bits & (ctx_arb::LOW.mask() | ctx_arb::HIGH.mask()))
        }
        Insn::BranchByte { bits } => {
            Ok(br_byte::FORM.base | bits & (br_byte::LOW.mask() | br_byte::HIGH.mask()))
        }
    }
}

fn encode_alu(insn: &Alu) -> Result<u64, EncodeError> {
    let left = left_source(insn.left, insn.op.uses_left())?;
    let slots = Encoding::Unrestricted.slots(insn.dst, left, needed(insn.right)?)?;
    Ok(alu::FORM.base
        | alu::A.put(slots.a)
        | alu::B.put(slots.b)
        | alu::DST.put(slots.dst)
        | alu::SW.put(slots.swapped.into())
        | alu::OP.put(insn.op.code())
        | alu::DST_AB.put(slots.dst_b.into())
        | alu::WR_AB.put(slots.both.into())
        | alu::SRC_LMEXTN.put(slots.src_lm.into())
        | alu::DST_LMEXTN.put(slots.dst_lm.into()))
}

fn encode_shift(insn: &Shift) -> Result<u64, EncodeError> {
    let amount = insn.amount;
    if amount > 31 {
        return Err(EncodeError::ShiftAmount { amount });
    }
    let left = left_source(insn.left, insn.uses_left())?;
    let slots = Encoding::RESTRICTED_8.slots(insn.dst, left, needed(insn.right)?)?;
    Ok(shf::FORM.base
        | shf::A.put(slots.a)
        | shf::SC.put(insn.control.code())
        | shf::B.put(slots.b)
        | shf::I8.put(slots.imm_high.into())
        | shf::SW.put(slots.swapped.into())
        | shf::DST.put(slots.dst)
        | shf::SHIFT.put(shift_field(insn.control, amount))
        | shf::OP.put(insn.op.code())
        | shf::DST_AB.put(slots.dst_b.into())
        | shf::WR_AB.put(slots.both.into())
        | shf::SRC_LMEXTN.put(slots.src_lm.into())
        | shf::DST_LMEXTN.put(slots.dst_lm.into()))
}

/// A shift to the left by n is written as 32 - n, in five bits.
pub(super) const fn shift_field(control: ShiftControl, amount: u8) -> u64 {
    let field = match control {
        ShiftControl::Left => amount.wrapping_neg(),
        ShiftControl::Rotate | ShiftControl::Right | ShiftControl::Double => amount,
    };
    (field & 31) as u64
}

fn encode_load_field(insn: &LoadField) -> Result<u64, EncodeError> {
    if insn.dst == Operand::None {
        return Err(EncodeError::Missing);
    }
    // The destination is the left source; it is a pair of banks if both are written.
    let slots = Encoding::RESTRICTED_8.slots(insn.dst, insn.dst, needed(insn.src)?)?;
    Ok(ld_field::FORM.base
        | ld_field::A.put(slots.a)
        | ld_field::SC.put(insn.control.code())
        | ld_field::B.put(slots.b)
        | ld_field::I8.put(slots.imm_high.into())
        | ld_field::SW.put(slots.swapped.into())
        | ld_field::ZF.put(insn.clear.into())
        | ld_field::BMASK.put(range("byte mask", insn.bytes.into(), 15)?)
        | ld_field::SHF.put(shift_field(insn.control, insn.amount))
        | ld_field::WR_AB.put(slots.both.into())
        | ld_field::SRC_LMEXTN.put(slots.src_lm.into())
        | ld_field::DST_LMEXTN.put(slots.dst_lm.into()))
}

fn encode_immed(insn: Immed) -> Result<u64, EncodeError> {
    let low = Operand::Imm((insn.value & 0xff) as u8);
    let mut slots = Encoding::Unrestricted.slots(insn.dst, insn.dst, low)?;
    if insn.dst == Operand::None {
        slots.a = slots.dst;
    }
    Ok(immed::FORM.base
        | immed::A.put(slots.a)
        | immed::B.put(slots.b)
        | immed::IMM_HI.put((insn.value >> 8).into())
        | immed::WIDTH.put(insn.width.code())
        | immed::INV.put(insn.invert.into())
        | immed::SHIFT.put(insn.shift.code())
        | immed::WR_AB.put(slots.both.into())
        | immed::SRC_LMEXTN.put(slots.src_lm.into())
        | immed::DST_LMEXTN.put(slots.dst_lm.into()))
}

/// The 14 bits of a branch address.
fn address(target: u16) -> Result<u64, EncodeError> {
    let target = range("branch target", target, 0x3fff)?;
    Ok(br::ADDR_LO.put(target) | br::ADDR_HI.put(target >> br::ADDR_LO.width))
}

fn defer_field(defer: u8) -> Result<u64, EncodeError> {
    Ok(br::DEFBR.put(range("defer", defer.into(), 3)?))
}

fn encode_branch(insn: Branch) -> Result<u64, EncodeError> {
    Ok(br::FORM.base
        | br::MASK.put(insn.condition.code())
        | br::EV_PIP.put((insn.condition != Condition::Always).into())
        | defer_field(insn.defer)?
        | address(insn.target)?)
}

fn encode_branch_bit(insn: BranchBit) -> Result<u64, EncodeError> {
    // The word names the rotation to the right that brings the bit to the top.
    let rotation = Operand::Imm(range("bit", insn.bit.into(), 31)? as u8 + 1);
    let slots = Encoding::RESTRICTED_7.slots(Operand::None, needed(insn.src)?, rotation)?;
    Ok(br_bit::FORM.base
        | br_bit::A.put(slots.a)
        | br_bit::B.put(slots.b)
        | br_bit::BV.put(insn.set.into())
        | br_bit::SRC_LMEXTN.put(slots.src_lm.into())
        | defer_field(insn.defer)?
        | address(insn.target)?)
}

fn encode_return(insn: Return) -> Result<u64, EncodeError> {
    let slots = Encoding::Unrestricted.slots(Operand::None, needed(insn.src)?, Operand::Imm(0))?;
    Ok(br_alu::FORM.base
        | br_alu::A.put(slots.a)
        | br_alu::B.put(slots.b)
        | br_alu::SRC_LMEXTN.put(slots.src_lm.into())
        | defer_field(insn.defer)?)
}

fn encode_mul(insn: Mul) -> Result<u64, EncodeError> {
    let Mul {
        kind,
        step,
        left,
        right,
    } = insn;
    if kind == MulKind::Start && step != MulStep::Step1 {
        return Err(EncodeError::MulStep { kind, step });
    }
    let slots = if step.stores() {
        let right = left_source(right, false)?;
        let mut slots = Encoding::Unrestricted.slots(left, Operand::None, right)?;
        slots.a = slots.dst;
        slots
    } else {
        Encoding::Unrestricted.slots(Operand::None, needed(left)?, needed(right)?)?
    };
    Ok(mul::FORM.base
        | mul::A.put(slots.a)
        | mul::B.put(slots.b)
        | mul::STEP.put(step.code())
        | mul::DST_AB.put(slots.dst_b.into())
        | mul::SW.put(slots.swapped.into())
        | mul::TYPE.put(kind.code())
        | mul::WR_AB.put(slots.both.into())
        | mul::SRC_LMEXTN.put(slots.src_lm.into())
        | mul::DST_LMEXTN.put(slots.dst_lm.into()))
}

fn csr_address(csr: Csr) -> u64 {
    lcsr::ADDR.put(csr.code() / 4)
}

fn encode_csr_write(csr: Csr, src: Operand) -> Result<u64, EncodeError> {
    let other = if src.is_imm() {
        Operand::None
    } else {
        Operand::Imm(0)
    };
    let mut slots = Encoding::Unrestricted.slots(Operand::None, needed(src)?, other)?;
    if src.is_imm() {
        slots.b = slots.a;
    }
    Ok(lcsr::FORM.base
        | lcsr::A.put(slots.a)
        | lcsr::B.put(slots.b)
        | lcsr::WRITE.put(1)
        | csr_address(csr)
        | lcsr::SRC_LMEXTN.put(slots.src_lm.into()))
}

fn encode_command(insn: &Command) -> Result<u64, EncodeError> {
    let slots = Encoding::RESTRICTED_7.slots(Operand::None, needed(insn.a)?, needed(insn.b)?)?;
    if slots.swapped {
        return Err(EncodeError::CommandSwap);
    }
    if let Some(operand) = [insn.a, insn.b]
        .into_iter()
        .find(|operand| operand.needs_lm_extension())
    {
        return Err(EncodeError::LmOffset { operand });
    }
    // The implicit signal is asked for whenever the ME context is given up.
    let signal = insn.swap != ContextSwap::Never;
    Ok(cmd::FORM.base
        | cmd::A.put(slots.a)
        | cmd::CTX.put(insn.swap.code())
        | cmd::B.put(slots.b)
        | cmd::TOKEN.put(insn.op.code() >> cmd::TGT_CMD.width)
        | cmd::XFER.put(range("transfer register", insn.xfer.into(), 31)?)
        | cmd::CNT.put(insn.count.into())
        | cmd::SIG.put(signal.into())
        | cmd::TGT_CMD.put(insn.op.code())
        | cmd::INDIR.put(insn.indirect.into())
        | cmd::MODE.put(insn.mode.code()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{AddressMode, AluOp, CommandOp, ImmedShift, ImmedWidth, ShiftOp};

    /// Words as the driver emits them.
    #[test]
    fn words_of_the_driver() {
        let immed = |dst, value| {
            Insn::Immed(Immed {
                dst,
                value,
                width: ImmedWidth::All,
                invert: false,
                shift: ImmedShift::By0,
            })
        };
        let alu = |dst, left, op, right| {
            Insn::Alu(Alu {
                dst,
                left,
                op,
                right,
            })
        };
        let cases = [
            (Insn::NOP, 0xf0_000c_0300),
            (immed(Operand::B(22), 0x3fff), 0xf0_03f0_5bff),
            (immed(Operand::Both(0), 2), 0x2f0_000c_0800),
            (
                alu(
                    Operand::B(22),
                    Operand::B(22),
                    AluOp::And,
                    Operand::lm(1, 0),
                ),
                0xb4_4160_5a20,
            ),
            (
                alu(Operand::None, Operand::Imm(3), AluOp::Sub, Operand::B(0)),
                0xaa_b000_0303,
            ),
            (
                Insn::Shift(Shift {
                    dst: Operand::B(2),
                    left: Operand::Imm(0xff),
                    op: ShiftOp::And,
                    right: Operand::B(2),
                    control: ShiftControl::Right,
                    amount: 0,
                }),
                0x94_0024_09ff,
            ),
            (
                Insn::LoadField(LoadField {
                    dst: Operand::A(0),
                    bytes: 0b1100,
                    src: Operand::Imm(0x82),
                    control: ShiftControl::Left,
                    amount: 16,
                    clear: false,
                }),
                0xc1_0c04_8a00,
            ),
            (
                Insn::Return(Return {
                    src: Operand::A(21),
                    defer: 0,
                }),
                0xe8_000c_0015,
            ),
        ];
        for (insn, word) in cases {
            assert_eq!(encode(&insn), Ok(word), "{insn}");
        }
    }

    #[test]
    fn what_has_no_encoding() {
        let alu = |left, right| {
            encode(&Insn::Alu(Alu {
                dst: Operand::None,
                left,
                op: AluOp::Add,
                right,
            }))
        };
        let (a, b) = (Operand::A(1), Operand::B(1));
        assert!(alu(a, b).is_ok());
        assert!(alu(b, a).is_ok());
        assert!(matches!(
            alu(a, Operand::A(2)),
            Err(EncodeError::SameKind { .. })
        ));
        assert!(matches!(
            alu(Operand::Imm(1), Operand::Imm(1)),
            Err(EncodeError::SameKind { .. })
        ));
        assert_eq!(alu(a, Operand::None), Err(EncodeError::Missing));
        assert!(matches!(
            alu(a, Operand::B(32)),
            Err(EncodeError::Number { .. })
        ));
        assert!(matches!(
            alu(a, Operand::lm(0, 16)),
            Err(EncodeError::LmOffset { .. })
        ));
        assert!(matches!(
            alu(Operand::Both(1), b),
            Err(EncodeError::Place { .. })
        ));
    }

    #[test]
    fn a_command_cannot_exchange_its_operands() {
        let command = |a, b, count| {
            encode(&Insn::Command(Command {
                op: CommandOp::Read32Swap,
                xfer: 0,
                a,
                b,
                mode: AddressMode::Bits32,
                count,
                swap: ContextSwap::Now,
                indirect: false,
            }))
        };
        let (a, offset) = (Operand::A(4), Operand::Imm(14));
        assert_eq!(command(offset, a, 0), Err(EncodeError::CommandSwap));
        assert_eq!(
            command(a, Operand::Imm(128), 0),
            Err(EncodeError::Immediate {
                value: 128,
                max: 127
            })
        );
        // Three bits of the length stay, as in the driver.
        assert_eq!(command(a, offset, 9), command(a, offset, 1));
    }
}
