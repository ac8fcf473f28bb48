//! What a field is: offset, size, sign and the shifts that take a bit field out of its load.

use super::super::btf::{Btf, BtfKind};
use super::access::Access;
use super::compatible::member;
use super::{CoReError, Field};

/// The answer to a question about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldValue {
    pub(super) value: u64,
    /// The compiler must have come to the same value; for bit fields it may choose another load.
    pub(super) checked: bool,
    /// Type and size of the memory access at this offset, if it may have one.
    pub(super) accessed: Option<(u32, u32)>,
}

impl FieldValue {
    pub(super) fn plain(value: u64) -> Self {
        Self {
            value,
            checked: true,
            accessed: None,
        }
    }
}

/// Answers a question about the last step of a path.
pub(super) fn field_value(
    btf: &Btf,
    access: &Access,
    question: Field,
) -> Result<FieldValue, CoReError> {
    if question == Field::Exists {
        return Ok(FieldValue::plain(1));
    }
    let last = access.steps.last().ok_or(CoReError::NoSize)?;
    let size_of = |id| btf.size_of(id).ok_or(CoReError::NoSize);
    if !last.named {
        return match question {
            Field::Offset => Ok(FieldValue {
                value: access.bit_offset / 8,
                checked: true,
                accessed: Some((last.type_id, size_of(element_of(btf, last.type_id))?)),
            }),
            Field::Size => Ok(FieldValue::plain(u64::from(size_of(last.type_id)?))),
            _ => Err(CoReError::ArrayElement),
        };
    }
    let member = member(btf, last).ok_or(CoReError::NoSize)?;
    let (field_id, kind) = btf.resolve(member.type_id).ok_or(CoReError::NoSize)?;
    let load = match member.bit_size {
        0 => Load {
            offset: access.bit_offset / 8,
            size: u64::from(size_of(field_id)?),
            bits: u64::from(size_of(field_id)?) * 8,
        },
        bits => bit_field_load(access.bit_offset, u64::from(bits), kind)?,
    };
    let bit_field = member.bit_size > 0;
    let ambiguous = |value| FieldValue {
        value,
        checked: !bit_field,
        accessed: None,
    };
    Ok(match question {
        Field::Offset if bit_field => ambiguous(load.offset),
        Field::Offset => FieldValue {
            value: load.offset,
            checked: true,
            accessed: Some((field_id, size_of(element_of(btf, field_id))?)),
        },
        Field::Size => ambiguous(load.size),
        Field::Signed => FieldValue::plain(u64::from(is_signed(kind))),
        Field::LeftShift => {
            let end = access.bit_offset + load.bits - load.offset * 8;
            ambiguous(64u64.wrapping_sub(end))
        }
        Field::RightShift => FieldValue::plain(64u64.wrapping_sub(load.bits)),
        Field::Exists => FieldValue::plain(1),
    })
}

/// The memory access that reads a field.
struct Load {
    /// Bytes.
    offset: u64,
    /// Bytes.
    size: u64,
    /// Width of the field.
    bits: u64,
}

/// The smallest aligned load, from the size of the field's type on, that holds the bit field.
fn bit_field_load(bit_offset: u64, bits: u64, kind: &BtfKind) -> Result<Load, CoReError> {
    let (BtfKind::Int { size, .. } | BtfKind::Enum { size, .. }) = kind else {
        return Err(CoReError::BitField);
    };
    let mut size = u64::from(*size);
    if size == 0 {
        return Err(CoReError::BitField);
    }
    let mut offset = bit_offset / 8 / size * size;
    while bit_offset + bits - offset * 8 > size * 8 {
        if size >= 8 {
            return Err(CoReError::BitField);
        }
        size *= 2;
        offset = bit_offset / 8 / size * size;
    }
    Ok(Load { offset, size, bits })
}

fn is_signed(kind: &BtfKind) -> bool {
    matches!(
        kind,
        BtfKind::Int { signed: true, .. } | BtfKind::Enum { signed: true, .. }
    )
}

/// The type that arrays of arrays hold in the end.
fn element_of(btf: &Btf, id: u32) -> u32 {
    let mut id = id;
    // As deep as other chains of types are followed.
    for _ in 0..32 {
        match btf.resolve(id) {
            Some((_, BtfKind::Array { type_id, .. })) => id = *type_id,
            _ => break,
        }
    }
    id
}
