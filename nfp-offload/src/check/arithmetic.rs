//! Multiplication and division (`nfp_bpf_check_alu`), and operations that the driver lacks.

use iom_core::isa::{AluOp, Insn, Operand, Width};
use iom_core::verifier::{InsnFacts, Range};

use super::{Check, Rule};

/// The largest operand of the multiplier, and dividend.
const U32_MAX: u64 = u32::MAX as u64;
const NARROW: &str = "use 32-bit numbers, or mask the operands";

pub(super) fn check(
    check: &mut Check<'_>,
    insn: Insn,
    op: AluOp,
    width: Width,
    src: Operand,
    facts: &InsnFacts,
) {
    let ranges = facts.ranges.unwrap_or((Range::FULL, Range::FULL));
    match op {
        AluOp::Mul => multiply(check, width, src, ranges),
        AluOp::Div | AluOp::SignedDiv => divide(check, src, ranges),
        AluOp::Mod | AluOp::SignedMod => check.opcode(
            insn,
            "the card has no modulo",
            "for a power of two use `&`; else divide, multiply back and subtract",
        ),
        AluOp::Lsh
        | AluOp::Rsh
        | AluOp::Arsh
        | AluOp::Add
        | AluOp::Sub
        | AluOp::Or
        | AluOp::And
        | AluOp::Xor => {}
    }
}

fn multiply(check: &mut Check<'_>, width: Width, src: Operand, (left, right): (Range, Range)) {
    if left.max > U32_MAX {
        let message = format!(
            "the first factor may be {:#x}, the most is 32 bits",
            left.max
        );
        check.refuse(
            Rule::Multiplier,
            "multiplier is not within u32 value range",
            message,
            NARROW,
        );
    }
    match src {
        Operand::Reg(_) if right.max > U32_MAX => {
            let message = format!(
                "the second factor may be {:#x}, the most is 32 bits",
                right.max
            );
            check.refuse(
                Rule::Multiplicand,
                "multiplicand is not within u32 value range",
                message,
                NARROW,
            );
        }
        Operand::Imm(imm @ ..0) if width == Width::W64 => check.refuse(
            Rule::MultiplicandSign,
            "sign extended multiplicand won't be within u32 value range",
            format!("the second factor is {imm}, which is negative"),
            "multiply by a positive constant and negate",
        ),
        Operand::Reg(_) | Operand::Imm(_) => {}
    }
}

fn divide(check: &mut Check<'_>, src: Operand, (left, right): (Range, Range)) {
    if left.max > U32_MAX {
        let message = format!("the dividend may be {:#x}, the most is 32 bits", left.max);
        check.refuse(
            Rule::Dividend,
            "dividend is not within u32 value range",
            message,
            NARROW,
        );
    }
    match src {
        Operand::Reg(_) if right.as_constant().is_none() => check.refuse(
            Rule::DivisorNotConstant,
            "divisor is not constant",
            format!("the divisor may be {} to {}", right.min, right.max),
            "divide by constants only",
        ),
        Operand::Reg(_) if right.max > U32_MAX => check.refuse(
            Rule::DivisorRange,
            "divisor is not within u32 value range",
            format!("the divisor is {:#x}, the most is 32 bits", right.max),
            NARROW,
        ),
        Operand::Imm(imm @ ..0) => check.refuse(
            Rule::DivisorSign,
            "divide by negative constant is not supported",
            format!("the divisor is {imm}"),
            "divide by a positive constant and negate",
        ),
        Operand::Reg(_) | Operand::Imm(_) => {}
    }
}
