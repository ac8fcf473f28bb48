//! Access paths: from the numbers of a relocation to members and elements, with names to find the
//! same in other types.

use super::super::btf::{Btf, BtfKind};
use super::super::btf_ext::CoReRecord;
use super::{CoReError, Kind};

/// Most steps of a path (libbpf's `BPF_CORE_SPEC_MAX_LEN`).
pub(super) const MAX_STEPS: usize = 64;

/// A path into a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// The type that it starts with.
    pub(super) root: u32,
    /// Members with a name and elements; the first is the index of the pointer itself.
    pub(super) steps: Vec<Step>,
    pub(super) bit_offset: u64,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The struct that holds the member, the enum that holds the enumerator, or the type of the
    /// element.
    pub(super) type_id: u32,
    pub(super) index: u32,
    /// A member or enumerator; otherwise an element.
    pub(super) named: bool,
}

impl Access {
    /// Value of the enumerator that the path names; 32-bit ones as libbpf has them, sign-extended.
    pub(super) fn enumerator(&self, btf: &Btf) -> Result<u64, CoReError> {
        let step = self.steps.first();
        let kind = step.and_then(|step| Some((step, &btf.get(step.type_id)?.kind)));
        let Some((step, BtfKind::Enum { size, values, .. })) = kind else {
            return Err(CoReError::NoSize);
        };
        let (_, value) = values.get(step.index as usize).ok_or(CoReError::NoSize)?;
        Ok(match size {
            ..=4 => i64::from(*value as i32) as u64,
            _ => *value as u64,
        })
    }
}

/// Reads a relocation's path, which is one of the program's own types.
pub(super) fn parse_access(
    btf: &Btf,
    record: &CoReRecord,
    kind: Kind,
) -> Result<Access, CoReError> {
    let text = btf.string(record.access).unwrap_or_default();
    let wrong = || CoReError::Access {
        access: text.to_owned(),
    };
    let numbers: Option<Vec<u32>> = text
        .split(':')
        .take(MAX_STEPS + 1)
        .map(|number| number.parse().ok())
        .collect();
    let numbers = numbers.filter(|numbers| numbers.len() <= MAX_STEPS);
    let numbers = numbers.ok_or_else(wrong)?;
    let access = match kind {
        Kind::Type(_) | Kind::LocalTypeId => (numbers == [0]).then(|| Access {
            root: record.type_id,
            steps: Vec::new(),
            bit_offset: 0,
        }),
        Kind::Enumerator(_) => enumerator_access(btf, record.type_id, &numbers),
        Kind::Field(_) => field_access(btf, record.type_id, &numbers),
    };
    access.ok_or_else(wrong)
}

fn enumerator_access(btf: &Btf, root: u32, numbers: &[u32]) -> Option<Access> {
    let (type_id, BtfKind::Enum { values, .. }) = btf.resolve(root)? else {
        return None;
    };
    let &[index] = numbers else { return None };
    let step = Step {
        type_id,
        index,
        named: true,
    };
    ((index as usize) < values.len()).then(|| Access {
        root,
        steps: vec![step],
        bit_offset: 0,
    })
}

fn field_access(btf: &Btf, root: u32, numbers: &[u32]) -> Option<Access> {
    let (mut id, _) = btf.resolve(root)?;
    let (&first, rest) = numbers.split_first()?;
    let mut access = Access {
        root,
        steps: vec![Step {
            type_id: id,
            index: first,
            named: false,
        }],
        bit_offset: elements(btf, id, first)?,
    };
    for &index in rest {
        let (resolved, kind) = btf.resolve(id)?;
        match kind {
            BtfKind::Struct { members, .. } | BtfKind::Union { members, .. } => {
                let member = members.get(index as usize)?;
                access.bit_offset += u64::from(member.bit_offset);
                if member.name != 0 {
                    access.steps.push(Step {
                        type_id: resolved,
                        index,
                        named: true,
                    });
                }
                id = member.type_id;
            }
            BtfKind::Array { type_id, count } => {
                let open = is_flexible(btf, access.steps.last()?, *count);
                if !open && index >= *count {
                    return None;
                }
                (id, _) = btf.resolve(*type_id)?;
                access.steps.push(Step {
                    type_id: id,
                    index,
                    named: false,
                });
                access.bit_offset += elements(btf, id, index)?;
            }
            _ => return None,
        }
    }
    Some(access)
}

/// Bits that lie before the element with this index.
pub(super) fn elements(btf: &Btf, id: u32, index: u32) -> Option<u64> {
    let size = u64::from(btf.size_of(id)?);
    // At most 64 steps of less than 2^57 bits each: the sum stays in range.
    Some((u64::from(index) * size * 8).min(1 << 57))
}

/// Whether an array is the open end of the struct that a path has just stepped into.
pub(super) fn is_flexible(btf: &Btf, last: &Step, count: u32) -> bool {
    let members = match btf.get(last.type_id).map(|found| &found.kind) {
        Some(BtfKind::Struct { members, .. } | BtfKind::Union { members, .. }) => members.len(),
        _ => return false,
    };
    last.named && count == 0 && last.index as usize + 1 == members
}
