//! CO-RE relocations: what a program asks of the kernel's types, and the answer. The rules are
//! libbpf's (`relo_core.c`), so that a program gets the instructions that libbpf would load.

mod access;
mod compatible;
mod patch;
mod value;

use std::collections::HashMap;

use super::btf::{Btf, BtfKind};
use super::btf_ext::CoReRecord;
use super::kernel_types::KernelTypes;

use access::{Access, parse_access};
use compatible::Matcher;
pub(super) use patch::{POISON, patch};
use value::{FieldValue, field_value};

/// Kinds of relocations (`enum bpf_core_relo_kind`), with libbpf's names.
const KINDS: [(Kind, &str); 13] = [
    (Kind::Field(Field::Offset), "byte_off"),
    (Kind::Field(Field::Size), "byte_sz"),
    (Kind::Field(Field::Exists), "field_exists"),
    (Kind::Field(Field::Signed), "signed"),
    (Kind::Field(Field::LeftShift), "lshift_u64"),
    (Kind::Field(Field::RightShift), "rshift_u64"),
    (Kind::LocalTypeId, "local_type_id"),
    (Kind::Type(Type::Id), "target_type_id"),
    (Kind::Type(Type::Exists), "type_exists"),
    (Kind::Type(Type::Size), "type_size"),
    (Kind::Enumerator(Enumerator::Exists), "enumval_exists"),
    (Kind::Enumerator(Enumerator::Value), "enumval_value"),
    (Kind::Type(Type::Matches), "type_matches"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Field(Field),
    Type(Type),
    Enumerator(Enumerator),
    /// The only kind that asks nothing of the kernel.
    LocalTypeId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Offset,
    Size,
    Exists,
    Signed,
    LeftShift,
    RightShift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Id,
    Exists,
    Size,
    Matches,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enumerator {
    Exists,
    Value,
}

/// Why a relocation cannot be answered at all. That the kernel lacks a type or field is no error:
/// the instruction becomes one that the verifier refuses if it can be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoReError {
    /// Nothing is known of the kernel.
    #[error(
        "it needs the types of a kernel, and none are given; name a file with them (--btf FILE, for example a copy of /sys/kernel/btf/vmlinux)"
    )]
    NoKernelTypes,
    /// A kind that nobody has defined yet.
    #[error("kind {kind} is unknown")]
    UnknownKind {
        /// The number.
        kind: u32,
    },
    /// Types or access string do not fit each other.
    #[error("the access string {access:?} does not fit the type")]
    Access {
        /// The string.
        access: String,
    },
    /// Types without a name cannot be searched for.
    #[error("the type has no name by which the kernel's can be found")]
    Anonymous,
    /// A type in the path has no size.
    #[error("a type has no size")]
    NoSize,
    /// A bit field that no load of 8 bytes covers.
    #[error("the bit field cannot be read with one load of 8 bytes")]
    BitField,
    /// A question that elements of arrays have no answer to.
    #[error("this cannot be asked of an element of an array")]
    ArrayElement,
    /// The kernel has several types of the name, with different answers.
    #[error("the kernel's types {first} and {second} of this name give different answers")]
    Ambiguous {
        /// Type id.
        first: u32,
        /// Type id.
        second: u32,
    },
    /// Types that contain each other too many times over.
    #[error("comparing the types takes too many steps")]
    TooComplex,
    /// The instruction is not what the compiler makes for this.
    #[error("the instruction is none that the relocation can change")]
    Instruction,
    /// The instruction holds something else than the compiler's own types say.
    #[error(
        "the instruction holds {found}, but by the program's own types it should be {expected}"
    )]
    Unexpected {
        /// What it should hold.
        expected: u64,
        /// What it holds.
        found: u64,
    },
    /// An offset beyond what an instruction can hold.
    #[error("offset {offset} does not fit the instruction")]
    Range {
        /// The offset in the kernel's type.
        offset: u64,
    },
    /// A size of memory access that there is none of.
    #[error(
        "the field has {old} bytes here and {new} in the kernel, and the instruction cannot be changed to that"
    )]
    AccessSize {
        /// By the program's types.
        old: u32,
        /// By the kernel's.
        new: u32,
    },
}

/// What an instruction held and what it is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    old: u64,
    /// `None`: the kernel has no such thing.
    new: Option<u64>,
    /// The instruction must hold `old`.
    checked: bool,
    /// Sizes of the field where they differ: memory accesses change theirs.
    resize: Option<Resize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resize {
    old: u32,
    new: u32,
    /// Both are pointers or unsigned integers: the value stays the same.
    safe: bool,
}

/// Answers the relocations of one object.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    local: &'a Btf,
    kernel: Option<&'a KernelTypes>,
    /// By local type: the kernel's types of this name, those that ever fitted once one did.
    candidates: HashMap<u32, Vec<u32>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(local: &'a Btf, kernel: Option<&'a KernelTypes>) -> Self {
        Self {
            local,
            kernel,
            candidates: HashMap::new(),
        }
    }

    /// The answer to a relocation.
    pub(super) fn resolve(&mut self, record: &CoReRecord) -> Result<Answer, CoReError> {
        let unknown = CoReError::UnknownKind { kind: record.kind };
        let (kind, _) = *KINDS.get(record.kind as usize).ok_or(unknown)?;
        if kind == Kind::LocalTypeId {
            let id = u64::from(record.type_id);
            return Ok(Answer {
                old: id,
                new: Some(id),
                checked: false,
                resize: None,
            });
        }
        let kernel = self.kernel.ok_or(CoReError::NoKernelTypes)?;
        let local = parse_access(self.local, record, kind)?;
        let candidates = match self.candidates.remove(&record.type_id) {
            Some(found) => found,
            None => self.find_candidates(kernel, record.type_id)?,
        };
        let mut matcher = Matcher::new(self.local, kernel.btf());
        let mut fitting = Vec::new();
        let mut first: Option<(Answer, Access)> = None;
        for id in &candidates {
            let Some(target) = matcher.find(&local, kind, *id)? else {
                continue;
            };
            let answer = self.answer(kind, &local, Some((kernel.btf(), &target)))?;
            match &first {
                None => first = Some((answer, target)),
                Some((known, access)) => {
                    if access.bit_offset != target.bit_offset || known.new != answer.new {
                        let (first, second) = (access.root, *id);
                        return Err(CoReError::Ambiguous { first, second });
                    }
                }
            }
            fitting.push(*id);
        }
        let kept = if fitting.is_empty() {
            candidates
        } else {
            fitting
        };
        self.candidates.insert(record.type_id, kept);
        match first {
            Some((answer, _)) => Ok(answer),
            None => self.answer(kind, &local, None),
        }
    }

    fn find_candidates(&self, kernel: &KernelTypes, local: u32) -> Result<Vec<u32>, CoReError> {
        let name = self.local.name_of(local);
        if name.is_empty() {
            return Err(CoReError::Anonymous);
        }
        let wanted = self.local.get(local).map(|found| &found.kind);
        let same_kind = kernel.named(name).filter(|id| {
            let found = kernel.btf().get(*id).map(|found| &found.kind);
            wanted.zip(found).is_some_and(|(a, b)| a.is_like(b))
        });
        Ok(same_kind.collect())
    }

    fn answer(
        &self,
        kind: Kind,
        local: &Access,
        target: Option<(&Btf, &Access)>,
    ) -> Result<Answer, CoReError> {
        let of_kind = |(btf, access): (&Btf, &Access)| match kind {
            Kind::Type(question) => type_value(btf, access, question),
            Kind::Enumerator(Enumerator::Exists) => Ok(1),
            Kind::Enumerator(Enumerator::Value) => access.enumerator(btf),
            Kind::Field(_) | Kind::LocalTypeId => Ok(0),
        };
        let own = (self.local, local);
        let Kind::Field(question) = kind else {
            let absent = match kind {
                Kind::Enumerator(Enumerator::Value) => None,
                _ => Some(0),
            };
            return Ok(Answer {
                old: of_kind(own)?,
                new: target.map_or(Ok(absent), |target| of_kind(target).map(Some))?,
                checked: kind != Kind::Type(Type::Id),
                resize: None,
            });
        };
        let old = field_value(own.0, own.1, question)?;
        let new = match target {
            Some((btf, access)) => Some(field_value(btf, access, question)?),
            None if question == Field::Exists => Some(FieldValue::plain(0)),
            None => None,
        };
        let resize = match (new, target) {
            (Some(new), Some((btf, _))) => resize(self.local, &old, btf, &new),
            _ => None,
        };
        Ok(Answer {
            old: old.value,
            new: new.map(|new| new.value),
            checked: old.checked,
            resize,
        })
    }
}

/// The sizes of a field where they differ. Pointers keep their value (32-bit kernels have shorter
/// ones), and so do unsigned integers, which are extended with zeros.
fn resize(local: &Btf, old: &FieldValue, kernel: &Btf, new: &FieldValue) -> Option<Resize> {
    let ((old_id, old), (new_id, new)) = (old.accessed?, new.accessed?);
    if old == new {
        return None;
    }
    let kinds = local.resolve(old_id).zip(kernel.resolve(new_id));
    let safe = kinds.is_some_and(|((_, old), (_, new))| match (old, new) {
        (BtfKind::Pointer { .. }, BtfKind::Pointer { .. }) => true,
        (BtfKind::Int { signed: a, .. }, BtfKind::Int { signed: b, .. }) => !a && !b,
        _ => false,
    });
    Some(Resize { old, new, safe })
}

fn type_value(btf: &Btf, access: &Access, question: Type) -> Result<u64, CoReError> {
    match question {
        Type::Id => Ok(u64::from(access.root)),
        Type::Exists | Type::Matches => Ok(1),
        Type::Size => btf
            .size_of(access.root)
            .map(u64::from)
            .ok_or(CoReError::NoSize),
    }
}

/// A name without its flavour: what follows the last `___` that stands between other characters.
pub(super) fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    for at in (0..bytes.len().saturating_sub(4)).rev() {
        let window = &bytes[at..at + 5];
        if window[0] != b'_' && &window[1..4] == b"___" && window[4] != b'_' {
            return name.get(..=at).unwrap_or(name);
        }
    }
    name
}

/// Whether the answer depends on the kernel's types.
pub(super) fn asks_kernel(record: &CoReRecord) -> bool {
    !matches!(
        KINDS.get(record.kind as usize),
        Some((Kind::LocalTypeId, _))
    )
}

/// libbpf's name of a relocation kind.
pub(super) fn kind_name(kind: u32) -> &'static str {
    KINDS
        .get(kind as usize)
        .map_or("unknown kind", |(_, name)| name)
}

/// What the kernel lacks, for a user.
pub(super) fn unresolved(btf: &Btf, record: &CoReRecord) -> String {
    let (kind, target) = (kind_name(record.kind), target(btf, record));
    format!(
        "CO-RE relocation {kind} of {target}: the kernel has no such type or field, or one of another size"
    )
}

/// Type and field, as in C: `struct sk_buff.len`.
pub(super) fn target(btf: &Btf, record: &CoReRecord) -> String {
    let mut id = record.type_id;
    let resolved = btf.resolve(id);
    let mut text = match resolved {
        Some((resolved, BtfKind::Struct { .. })) => format!("struct {}", btf.name_of(resolved)),
        Some((resolved, BtfKind::Union { .. })) => format!("union {}", btf.name_of(resolved)),
        Some((resolved, BtfKind::Enum { .. })) => format!("enum {}", btf.name_of(resolved)),
        _ => btf.name_of(id).to_owned(),
    };
    let access = btf.string(record.access).unwrap_or_default();
    if let (Some((_, BtfKind::Enum { values, .. })), true) = (
        resolved,
        matches!(
            KINDS.get(record.kind as usize),
            Some((Kind::Enumerator(_), _))
        ),
    ) {
        let index = access.parse().unwrap_or(usize::MAX);
        let name = values.get(index).and_then(|(name, _)| btf.string(*name));
        return text + "." + name.unwrap_or("?");
    }
    // The first number indexes the pointer itself.
    for index in access.split(':').skip(1) {
        let Ok(index) = index.parse::<usize>() else {
            break;
        };
        match btf.resolve(id) {
            Some((_, BtfKind::Struct { members, .. } | BtfKind::Union { members, .. })) => {
                let Some(member) = members.get(index) else {
                    break;
                };
                let name = btf.string(member.name).unwrap_or_default();
                if !name.is_empty() {
                    text.push('.');
                    text.push_str(name);
                }
                id = member.type_id;
            }
            Some((_, BtfKind::Array { type_id, .. })) => {
                text += "[";
                text += &index.to_string();
                text += "]";
                id = *type_id;
            }
            _ => break,
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours() {
        for (name, expected) in [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("___leading", "___leading"),
            ("trailing___", "trailing___"),
            ("four____", "four____"),
            ("four____x", "four____x"),
            ("é___x", "é"),
            ("", ""),
        ] {
            assert_eq!(essential_name(name), expected, "{name}");
        }
    }
}
