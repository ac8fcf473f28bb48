//! Answers into instructions.

use super::{Answer, CoReError, Resize};
use crate::isa::{CallTarget, Imm64, Insn, Operand, Size};

/// The helper that does not exist which libbpf calls in place of an instruction without an answer.
pub(in crate::object) const POISON: Insn = Insn::Call {
    target: CallTarget::Helper(0xbad_2310),
};

/// Changes the instruction in a slot. If the kernel has no answer, it becomes one that no verifier
/// accepts unless the program never gets there. Gives how many slots did.
pub(in crate::object) fn patch(
    insns: &mut [Insn],
    slot: usize,
    answer: &Answer,
) -> Result<usize, CoReError> {
    let insn = insns.get_mut(slot).ok_or(CoReError::Instruction)?;
    let patched = match answer.new {
        Some(new) => patched(*insn, answer, new)?,
        None => None,
    };
    if let Some(patched) = patched {
        *insn = patched;
        return Ok(0);
    }
    let wide = matches!(insn, Insn::LoadImm64 { .. });
    *insn = POISON;
    if let (true, Some(tail)) = (wide, insns.get_mut(slot + 1)) {
        *tail = POISON;
        return Ok(2);
    }
    Ok(1)
}

/// The changed instruction; `None` where the access would read something else.
fn patched(insn: Insn, answer: &Answer, new: u64) -> Result<Option<Insn>, CoReError> {
    let check = |found: u64| {
        let expected = answer.old;
        if answer.checked && found != expected {
            return Err(CoReError::Unexpected { expected, found });
        }
        Ok(())
    };
    let sign_extended = |value: i64| value as u64;
    let mut insn = insn;
    match &mut insn {
        Insn::Alu {
            src: Operand::Imm(imm),
            ..
        }
        | Insn::Mov {
            src: Operand::Imm(imm),
            ..
        } => {
            check(sign_extended(i64::from(*imm)))?;
            *imm = new as i32;
        }
        Insn::LoadImm64 {
            value: Imm64::Number(number),
            ..
        } => {
            check(*number)?;
            *number = new;
        }
        Insn::Load { off, size, .. }
        | Insn::Store { off, size, .. }
        | Insn::Atomic { off, size, .. } => {
            check(sign_extended(i64::from(*off)))?;
            let offset = new;
            *off = i16::try_from(new).map_err(|_| CoReError::Range { offset })?;
            if let Some(resize) = answer.resize {
                if !resize.safe {
                    return Ok(None);
                }
                *size = resized(*size, resize)?;
            }
        }
        _ => return Err(CoReError::Instruction),
    }
    Ok(Some(insn))
}

fn resized(size: Size, resize: Resize) -> Result<Size, CoReError> {
    let Resize { old, new, .. } = resize;
    let sizes = [Size::B, Size::H, Size::W, Size::DW];
    let found = sizes.into_iter().find(|size| size.bytes() == new as usize);
    found
        .filter(|_| size.bytes() == old as usize)
        .ok_or(CoReError::AccessSize { old, new })
}
