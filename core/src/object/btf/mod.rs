//! BTF, the BPF Type Format (kernel `Documentation/bpf/btf.rst`): types and strings, parsed once,
//! every length checked against the bytes that are there. Ids may still point anywhere: those who
//! follow them are bounded ([`Btf::size_of`], [`Btf::format_value`]).

mod format;
mod parse;

pub(super) use parse::check_header;
pub use parse::{BtfError, BtfErrorKind};

/// Longest chain of types that is followed, as in libbpf.
const MAX_DEPTH: usize = 32;

/// A parsed `.BTF` section.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<BtfType>,
    strings: Vec<u8>,
}

/// One type; its id is its place in the list, with `void` at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfType {
    /// Name as an offset into the strings; 0 if there is none.
    pub name: u32,
    /// Offset of the type's record in the section.
    pub offset: usize,
    /// What it is.
    pub kind: BtfKind,
}

/// Kinds of types with what each says. Numbers named `*_id` are type ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the BTF specification")]
pub enum BtfKind {
    Void,
    Int {
        size: u32,
        signed: bool,
        boolean: bool,
        bit_offset: u8,
        bits: u8,
    },
    Pointer {
        type_id: u32,
    },
    Array {
        type_id: u32,
        count: u32,
    },
    Struct {
        size: u32,
        members: Vec<BtfMember>,
    },
    Union {
        size: u32,
        members: Vec<BtfMember>,
    },
    /// `ENUM` and `ENUM64`: values sign-extended if signed.
    Enum {
        size: u32,
        signed: bool,
        values: Vec<(u32, i64)>,
    },
    /// Declared only: a union, or else a struct.
    Forward {
        union: bool,
    },
    Typedef {
        type_id: u32,
    },
    /// `volatile`, `const`, `restrict` and type tags.
    Modifier {
        type_id: u32,
    },
    Func {
        type_id: u32,
        linkage: Linkage,
    },
    FuncProto {
        return_id: u32,
        params: Vec<(u32, u32)>,
    },
    Var {
        type_id: u32,
        linkage: Linkage,
    },
    Datasec {
        size: u32,
        vars: Vec<BtfSectionVar>,
    },
    Float {
        size: u32,
    },
    DeclTag {
        type_id: u32,
        component: i32,
    },
}

impl BtfKind {
    /// Whether both are of one kind, `ENUM` and `ENUM64` being one.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Linkage of a function or variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Only in its object.
    Static,
    /// Defined here, visible outside.
    Global,
    /// Declared here, defined elsewhere.
    Extern,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BtfMember {
    /// Name; 0 for an anonymous struct or union.
    pub name: u32,
    /// Type.
    pub type_id: u32,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Width of a bit field; 0 for an ordinary member.
    pub bit_size: u8,
}

/// A variable of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BtfSectionVar {
    /// Its `VAR`.
    pub type_id: u32,
    /// Offset in the section.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl Btf {
    /// The type with this id.
    pub fn get(&self, id: u32) -> Option<&BtfType> {
        self.types.get(id as usize)
    }

    /// All types with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &BtfType)> {
        (0..).zip(&self.types)
    }

    /// The string at this offset, up to its NUL; `None` outside the strings or if not UTF-8.
    pub fn string(&self, offset: u32) -> Option<&str> {
        std::str::from_utf8(self.string_bytes(offset)?).ok()
    }

    /// The same in any encoding, as source lines are.
    pub(super) fn string_bytes(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.strings.get(offset as usize..)?;
        let len = rest.iter().position(|&byte| byte == 0)?;
        Some(&rest[..len])
    }

    /// Name of a type; empty if it has none.
    pub fn name_of(&self, id: u32) -> &str {
        self.get(id)
            .and_then(|found| self.string(found.name))
            .unwrap_or_default()
    }

    /// The section description with this name.
    pub fn datasec(&self, name: &str) -> Option<(u32, &[BtfSectionVar])> {
        self.iter().find_map(|(id, found)| match &found.kind {
            BtfKind::Datasec { vars, .. } if self.string(found.name) == Some(name) => {
                Some((id, vars.as_slice()))
            }
            _ => None,
        })
    }

    /// Follows typedefs and modifiers to what they stand for.
    pub fn resolve(&self, id: u32) -> Option<(u32, &BtfKind)> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            match &self.get(id)?.kind {
                BtfKind::Typedef { type_id } | BtfKind::Modifier { type_id } => id = *type_id,
                kind => return Some((id, kind)),
            }
        }
        None
    }

    /// Size of a value in bytes; `None` for functions, forward declarations, `void`, broken ids
    /// and sizes above 32 bits.
    pub fn size_of(&self, id: u32) -> Option<u32> {
        let mut id = id;
        let mut count = 1u32;
        for _ in 0..MAX_DEPTH {
            let (_, kind) = self.resolve(id)?;
            match *kind {
                BtfKind::Array {
                    type_id,
                    count: elements,
                } => {
                    count = count.checked_mul(elements)?;
                    id = type_id;
                }
                BtfKind::Var { type_id, .. } => id = type_id,
                BtfKind::Int { size, .. }
                | BtfKind::Struct { size, .. }
                | BtfKind::Union { size, .. }
                | BtfKind::Enum { size, .. }
                | BtfKind::Datasec { size, .. }
                | BtfKind::Float { size } => return count.checked_mul(size),
                BtfKind::Pointer { .. } => return count.checked_mul(8),
                _ => return None,
            }
        }
        None
    }
}
