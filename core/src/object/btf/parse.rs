//! Bytes of a `.BTF` section to types.

use super::{Btf, BtfKind, BtfMember, BtfSectionVar, BtfType, Linkage};
use crate::object::reader::Reader;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the header that every version has.
const HEADER_LEN: u32 = 24;

/// A `.BTF` section that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset:#x}: {kind}")]
pub struct BtfError {
    /// Offset in the section.
    pub offset: usize,
    /// What is wrong.
    pub kind: BtfErrorKind,
}

/// What is wrong with a `.BTF` or `.BTF.ext` section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfErrorKind {
    /// Not BTF, or in big-endian order.
    #[error("no BTF in little-endian order: magic {magic:#06x}")]
    Magic {
        /// The first two bytes.
        magic: u16,
    },
    /// An unknown version.
    #[error("version {version} is not supported")]
    Version {
        /// The version.
        version: u8,
    },
    /// The section ends inside something.
    #[error("the section ends inside {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A type kind that nobody has defined yet.
    #[error("type {id} is of unknown kind {kind}")]
    UnknownKind {
        /// Type id.
        id: u32,
        /// Kind.
        kind: u8,
    },
    /// Linkage other than static, global or extern.
    #[error("type {id} has unknown linkage {linkage}")]
    UnknownLinkage {
        /// Type id.
        id: u32,
        /// Linkage.
        linkage: u32,
    },
    /// A record size that cannot hold the fields.
    #[error("{what} records of {len} bytes, but {needed} are needed")]
    RecordSize {
        /// Kind of records.
        what: &'static str,
        /// Size that the section states.
        len: u32,
        /// Size of the fields.
        needed: u32,
    },
    /// Records out of order.
    #[error("{what} records are not in ascending order of instructions")]
    Unordered {
        /// Kind of records.
        what: &'static str,
    },
    /// An instruction offset that is not a multiple of 8.
    #[error("instruction offset {offset:#x} is no multiple of 8")]
    Misaligned {
        /// The offset.
        offset: u32,
    },
}

impl Btf {
    /// Parses a `.BTF` section.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let truncated = |offset, what| BtfError {
            offset,
            kind: BtfErrorKind::Truncated { what },
        };
        let header_len = check_header(bytes)?;
        let mut header = Reader::at(bytes, 8);
        let mut field = || header.u32().ok_or(truncated(bytes.len(), "the header"));
        let (type_offset, type_len) = (field()?, field()?);
        let (string_offset, string_len) = (field()?, field()?);
        let part = |offset: u32, len: u32, what| {
            let start = (header_len as usize).saturating_add(offset as usize);
            let part = Reader::at(bytes, start).take(len as usize);
            Ok((start, part.ok_or(truncated(start, what))?))
        };
        let (_, strings) = part(string_offset, string_len, "the strings")?;
        let (start, records) = part(type_offset, type_len, "the types")?;
        let mut types = vec![BtfType {
            name: 0,
            offset: 0,
            kind: BtfKind::Void,
        }];
        let mut reader = Reader::at(records, 0);
        while reader.remaining() > 0 {
            let id = types.len() as u32;
            let offset = start + reader.position();
            let parsed = parse_type(&mut reader, id, offset);
            types.push(parsed.map_err(|kind| BtfError { offset, kind })?);
        }
        Ok(Self {
            types,
            strings: strings.to_vec(),
        })
    }
}

/// Checks magic and version, which `.BTF` and `.BTF.ext` share, and gives the header's length.
pub(in crate::object) fn check_header(bytes: &[u8]) -> Result<u32, BtfError> {
    let mut header = Reader::at(bytes, 0);
    let at = |offset, kind| BtfError { offset, kind };
    let truncated = at(0, BtfErrorKind::Truncated { what: "the header" });
    let magic = header.u16().ok_or(truncated.clone())?;
    if magic != MAGIC {
        return Err(at(0, BtfErrorKind::Magic { magic }));
    }
    let version = header.u8().ok_or(truncated.clone())?;
    if version != VERSION {
        return Err(at(2, BtfErrorKind::Version { version }));
    }
    header.u8().ok_or(truncated.clone())?;
    let len = header.u32().ok_or(truncated.clone())?;
    if len < HEADER_LEN {
        return Err(truncated);
    }
    Ok(len)
}

fn parse_type(reader: &mut Reader, id: u32, offset: usize) -> Result<BtfType, BtfErrorKind> {
    let truncated = BtfErrorKind::Truncated { what: "a type" };
    let mut word = || reader.u32().ok_or(truncated.clone());
    let (name, info, size_or_type) = (word()?, word()?, word()?);
    let head = Head {
        id,
        number: (info >> 24 & 0x1f) as u8,
        count: (info & 0xffff) as usize,
        flag: info >> 31 != 0,
        size_or_type,
    };
    let kind = parse_kind(reader, &head)?;
    Ok(BtfType { name, offset, kind })
}

/// The part of a record that all kinds share (`struct btf_type`).
struct Head {
    id: u32,
    number: u8,
    /// `vlen`: entries that follow, or the linkage of a function.
    count: usize,
    /// `kind_flag`
    flag: bool,
    size_or_type: u32,
}

fn parse_kind(reader: &mut Reader, head: &Head) -> Result<BtfKind, BtfErrorKind> {
    let truncated = || BtfErrorKind::Truncated { what: "a type" };
    let type_id = head.size_or_type;
    let size = head.size_or_type;
    Ok(match head.number {
        1 => {
            let encoding = reader.u32().ok_or_else(truncated)?;
            BtfKind::Int {
                size,
                signed: encoding >> 24 & 1 != 0,
                boolean: encoding >> 24 & 4 != 0,
                bit_offset: (encoding >> 16) as u8,
                bits: encoding as u8,
            }
        }
        2 => BtfKind::Pointer { type_id },
        3 => {
            let [type_id, _index, count] = words(reader).ok_or_else(truncated)?;
            BtfKind::Array { type_id, count }
        }
        4 | 5 => {
            let members = entries(reader, head.count, 12, |entry| member(entry, head.flag))?;
            match head.number {
                4 => BtfKind::Struct { size, members },
                _ => BtfKind::Union { size, members },
            }
        }
        6 | 19 => parse_enum(reader, head)?,
        7 => BtfKind::Forward { union: head.flag },
        8 => BtfKind::Typedef { type_id },
        9..=11 | 18 => BtfKind::Modifier { type_id },
        12 => BtfKind::Func {
            type_id,
            linkage: linkage(head.id, head.count as u32)?,
        },
        13 => BtfKind::FuncProto {
            return_id: type_id,
            params: entries(reader, head.count, 8, |entry| {
                words(entry).map(|[name, type_id]| (name, type_id))
            })?,
        },
        14 => {
            let [value] = words(reader).ok_or_else(truncated)?;
            let linkage = linkage(head.id, value)?;
            BtfKind::Var { type_id, linkage }
        }
        15 => BtfKind::Datasec {
            size,
            vars: entries(reader, head.count, 12, |entry| {
                words(entry).map(|[type_id, offset, size]| BtfSectionVar {
                    type_id,
                    offset,
                    size,
                })
            })?,
        },
        16 => BtfKind::Float { size },
        17 => {
            let [component] = words(reader).ok_or_else(truncated)?;
            BtfKind::DeclTag {
                type_id,
                component: component as i32,
            }
        }
        kind => return Err(BtfErrorKind::UnknownKind { id: head.id, kind }),
    })
}

/// `ENUM` (6) has 32-bit values, `ENUM64` (19) 64-bit ones.
fn parse_enum(reader: &mut Reader, head: &Head) -> Result<BtfKind, BtfErrorKind> {
    let signed = head.flag;
    let values = if head.number == 6 {
        entries(reader, head.count, 8, |entry| {
            let [name, value] = words(entry)?;
            let signed_value = i64::from(value as i32);
            Some((
                name,
                if signed {
                    signed_value
                } else {
                    i64::from(value)
                },
            ))
        })?
    } else {
        entries(reader, head.count, 12, |entry| {
            words(entry)
                .map(|[name, low, high]| (name, (u64::from(low) | u64::from(high) << 32) as i64))
        })?
    };
    Ok(BtfKind::Enum {
        size: head.size_or_type,
        signed,
        values,
    })
}

/// With the kind flag, the upper byte of a member's offset is the width of a bit field.
fn member(reader: &mut Reader, flag: bool) -> Option<BtfMember> {
    let [name, type_id, offset] = words(reader)?;
    let (bit_offset, bit_size) = if flag {
        (offset & 0x00ff_ffff, (offset >> 24) as u8)
    } else {
        (offset, 0)
    };
    Some(BtfMember {
        name,
        type_id,
        bit_offset,
        bit_size,
    })
}

/// `count` entries of `len` bytes each; nothing is allocated unless they are all there.
fn entries<T>(
    reader: &mut Reader,
    count: usize,
    len: usize,
    mut read: impl FnMut(&mut Reader) -> Option<T>,
) -> Result<Vec<T>, BtfErrorKind> {
    let truncated = BtfErrorKind::Truncated { what: "a type" };
    if reader.remaining() / len < count {
        return Err(truncated);
    }
    (0..count)
        .map(|_| read(reader))
        .collect::<Option<_>>()
        .ok_or(truncated)
}

fn words<const N: usize>(reader: &mut Reader) -> Option<[u32; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = reader.u32()?;
    }
    Some(words)
}

fn linkage(id: u32, value: u32) -> Result<Linkage, BtfErrorKind> {
    match value {
        0 => Ok(Linkage::Static),
        1 => Ok(Linkage::Global),
        2 => Ok(Linkage::Extern),
        linkage => Err(BtfErrorKind::UnknownLinkage { id, linkage }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A section with these type records and strings.
    fn section(records: &[u32], strings: &[u8]) -> Vec<u8> {
        let records: Vec<u8> = records.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = records.len() as u32;
        let header = [24, 0, len, len, strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(&records);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn types_and_names() {
        let records = [1, 1 << 24, 4, 0x0100_0020, 0, 2 << 24, 1];
        let btf = Btf::parse(&section(&records, b"\0int\0")).unwrap();
        assert_eq!(btf.name_of(1), "int");
        assert_eq!(btf.get(2).unwrap().kind, BtfKind::Pointer { type_id: 1 });
        assert_eq!(btf.size_of(1), Some(4));
        assert_eq!(btf.size_of(2), Some(8));
        assert_eq!(btf.size_of(3), None);
    }

    #[test]
    fn errors_say_where() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(Btf::parse(bytes).unwrap_err().to_string(), expected);
        };
        check(
            &[0xeb, 0x9f, 1, 0],
            "offset 0x0: no BTF in little-endian order: magic 0x9feb",
        );
        check(
            &section(&[0, 31 << 24, 0], b""),
            "offset 0x18: type 1 is of unknown kind 31",
        );
        check(
            &section(&[0, 4 << 24 | 0xffff, 0], b""),
            "offset 0x18: the section ends inside a type",
        );
        let whole = section(&[], b"\0int\0");
        check(
            &whole[..whole.len() - 1],
            "offset 0x18: the section ends inside the strings",
        );
    }

    proptest! {
        #[test]
        fn never_panics(
            records in proptest::collection::vec(prop_oneof![
                0..8u32,
                (0..24u32, 0..4u32, any::<bool>())
                    .prop_map(|(kind, count, flag)| kind << 24 | count | u32::from(flag) << 31),
                any::<u32>(),
            ], 0..30),
            strings: Vec<u8>,
        ) {
            if let Ok(btf) = Btf::parse(&section(&records, &strings)) {
                for (id, _) in btf.iter() {
                    btf.size_of(id);
                    btf.format_value(id, &[0x5a; 32]);
                    btf.name_of(id);
                }
            }
        }

        #[test]
        fn garbage_is_an_error(bytes: Vec<u8>) {
            let _ = Btf::parse(&bytes);
        }
    }
}
