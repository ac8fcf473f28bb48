//! Where the driver itself translates wrongly: programs that it accepts and whose words do
//! something else than the program. The words here are the same; this names the places.

use iom_core::isa::{AluOp, CallTarget, Condition, Insn, Operand, Size, Width};
use iom_core::verifier::{Pointer, Range};

use super::step::{Gather, Step, steps};
use super::{Input, adjust, divide, optimize};

/// A place where the words do not do what the program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Number of the defect.
    pub id: u32,
    /// Slot of the instruction.
    pub insn: usize,
    /// What goes wrong, and how to avoid it.
    pub message: &'static str,
}

/// The driver's defects that a program runs into, in program order.
pub fn defects(input: Input<'_>) -> Vec<Defect> {
    let mut changed = steps(input.program, input.facts);
    optimize::optimize(&mut changed);
    let is_short = adjust::is_short(input.program, input.facts, input.profile);
    let mut found = Vec::new();
    for (insn, step) in changed.iter().enumerate() {
        if step.is_skipped() {
            continue;
        }
        let original = input.program.insns[insn];
        let here = [
            negated_minimum(original),
            gathered(step, input.program.insns.get(insn + 1)),
            division(step),
            arithmetic_shift(step),
            adjust_head(original, is_short),
        ];
        let here = here.into_iter().flatten();
        found.extend(here.map(|(id, message)| Defect { id, insn, message }));
    }
    found
}

type Found = Option<(u32, &'static str)>;

/// -2^31 has no positive counterpart in 32 bits.
fn negated_minimum(insn: Insn) -> Found {
    match insn {
        Insn::Alu {
            op: AluOp::Add | AluOp::Sub,
            width: Width::W64,
            src: Operand::Imm(i32::MIN),
            ..
        } => Some((
            2,
            "adds or subtracts -2^31 with the wrong sign; use the constant from a register",
        )),
        Insn::JumpIf {
            cond: Condition::Ge | Condition::SignedGe | Condition::Lt | Condition::SignedLt,
            src: Operand::Imm(i32::MIN),
            ..
        } => Some((
            2,
            "compares with -2^31 wrongly; use the constant from a register",
        )),
        _ => None,
    }
}

/// Copies that leave the load register wrong, or whose parts overlap.
fn gathered(step: &Step<'_>, store: Option<&Insn>) -> Found {
    let gather = step.gather?;
    let Insn::Load { size, off, .. } = step.insn else {
        return None;
    };
    if overlaps(gather, off, size, step, store) {
        return Some((
            4,
            "a copy whose parts overlap is made in one piece; copy through a local variable",
        ));
    }
    let is_wrong = match size {
        Size::W => !gather.descending,
        Size::B => gather.descending,
        Size::H => gather.descending && gather.len.is_multiple_of(4),
        Size::DW => false,
    };
    is_wrong.then_some((
        3,
        "after this copy the register that it went through holds another value; read it again if it is used",
    ))
}

fn overlaps(gather: Gather, off: i16, size: Size, step: &Step<'_>, store: Option<&Insn>) -> bool {
    let same_base = match store {
        Some(Insn::Store { base, .. }) => {
            matches!(step.insn, Insn::Load { base: from, .. } if from == *base)
        }
        _ => false,
    };
    let distance = (i32::from(gather.store_off) - i32::from(off)).unsigned_abs();
    step.points_to() == Some(Pointer::Packet)
        && same_base
        && distance < u32::from(gather.len)
        && distance % size.bytes() as u32 != 0
}

/// A shift right by 0 is the indirect form, by whatever amount was left there.
fn division(step: &Step<'_>) -> Found {
    let Insn::Alu { op: AluOp::Div, .. } = step.insn else {
        return None;
    };
    let (_, divisor) = step.facts.ranges?;
    let divisor = u32::try_from(divisor.min).ok()?;
    divide::shifts_by_zero(divisor).then_some((
        5,
        "dividing by this constant shifts by an amount that is left over from before; divide in another way",
    ))
}

fn arithmetic_shift(step: &Step<'_>) -> Found {
    let Insn::Alu {
        op: AluOp::Arsh,
        src: Operand::Reg(_),
        ..
    } = step.insn
    else {
        return None;
    };
    let (_, amount) = step.facts.ranges.unwrap_or((Range::FULL, Range::FULL));
    let leaks = amount.as_constant().is_none() && amount.max >= 1 << 31;
    let is_beyond = amount.min >= 64;
    (leaks || is_beyond).then_some((
        6,
        "bit 31 of the amount becomes the sign, and amounts above 63 are not cut; mask the amount with 63",
    ))
}

fn adjust_head(insn: Insn, is_short: bool) -> Found {
    let is_call = insn
        == Insn::Call {
            target: CallTarget::Helper(adjust::ADJUST_HEAD),
        };
    (is_call && is_short).then_some((
        10,
        "the head is moved without a look at the length; frames under 60 bytes may become too short",
    ))
}
