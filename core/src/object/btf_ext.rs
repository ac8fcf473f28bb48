//! `.BTF.ext` (kernel `Documentation/bpf/btf.rst`, section 4.2): function info, line info and
//! CO-RE relocations, each by section and by slot in the section.

use std::collections::BTreeMap;

use super::btf::{Btf, BtfError, BtfErrorKind, check_header};
use super::reader::Reader;
use crate::isa::SLOT_LEN;

/// A parsed `.BTF.ext` section: what it says about each section of code.
#[derive(Debug, Default)]
pub(super) struct BtfExt {
    pub(super) sections: BTreeMap<String, SectionInfo>,
}

/// What it says about one section; each list ascends by slot, the first two strictly.
#[derive(Debug, Default)]
pub(super) struct SectionInfo {
    pub(super) functions: Vec<FunctionRecord>,
    pub(super) lines: Vec<LineRecord>,
    pub(super) relocations: Vec<CoReRecord>,
}

/// `struct bpf_func_info`
#[derive(Clone, Copy, Debug)]
pub(super) struct FunctionRecord {
    pub(super) slot: usize,
    pub(super) btf_id: u32,
}

/// `struct bpf_line_info`
#[derive(Clone, Copy, Debug)]
pub(super) struct LineRecord {
    pub(super) slot: usize,
    pub(super) file: u32,
    pub(super) text: u32,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// `struct bpf_core_relo`
#[derive(Clone, Copy, Debug)]
pub(super) struct CoReRecord {
    pub(super) slot: usize,
    pub(super) type_id: u32,
    pub(super) access: u32,
    pub(super) kind: u32,
}

impl BtfExt {
    /// Parses the section; `btf` holds its strings.
    pub(super) fn parse(bytes: &[u8], btf: &Btf) -> Result<Self, BtfError> {
        let header_len = check_header(bytes)?;
        let mut header = Reader::at(bytes, 8);
        let mut part = |what| match (header.u32(), header.u32()) {
            (Some(offset), Some(len)) => Ok((offset, len)),
            _ => Err(truncated(bytes.len(), what)),
        };
        let functions = part("the header")?;
        let lines = part("the header")?;
        let relocations = if header_len >= 32 {
            part("the header")?
        } else {
            (0, 0)
        };
        let mut parser = Parser {
            bytes,
            btf,
            start: header_len as usize,
            ext: Self::default(),
        };
        parser.part(functions, "function info", 8, |info, slot, record| {
            let btf_id = record.u32()?;
            info.functions.push(FunctionRecord { slot, btf_id });
            Some(())
        })?;
        parser.part(lines, "line info", 16, |info, slot, record| {
            let (file, text, line) = (record.u32()?, record.u32()?, record.u32()?);
            info.lines.push(LineRecord {
                slot,
                file,
                text,
                line: line >> 10,
                column: line & 0x3ff,
            });
            Some(())
        })?;
        parser.part(relocations, "CO-RE relocation", 16, |info, slot, record| {
            info.relocations.push(CoReRecord {
                slot,
                type_id: record.u32()?,
                access: record.u32()?,
                kind: record.u32()?,
            });
            Some(())
        })?;
        parser.ext.check_order()?;
        for info in parser.ext.sections.values_mut() {
            info.relocations.sort_by_key(|record| record.slot);
        }
        Ok(parser.ext)
    }

    /// The kernel takes function and line info in strictly ascending order only.
    fn check_order(&self) -> Result<(), BtfError> {
        let unordered = |what| BtfError {
            offset: 0,
            kind: BtfErrorKind::Unordered { what },
        };
        for info in self.sections.values() {
            if !info.functions.is_sorted_by(|a, b| a.slot < b.slot) {
                return Err(unordered("function info"));
            }
            if !info.lines.is_sorted_by(|a, b| a.slot < b.slot) {
                return Err(unordered("line info"));
            }
        }
        Ok(())
    }
}

fn truncated(offset: usize, what: &'static str) -> BtfError {
    BtfError {
        offset,
        kind: BtfErrorKind::Truncated { what },
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    btf: &'a Btf,
    start: usize,
    ext: BtfExt,
}

impl Parser<'_> {
    /// One of the three parts: a record size, then for each section its name, a count and records
    /// that start with the byte offset of an instruction.
    fn part(
        &mut self,
        (offset, len): (u32, u32),
        what: &'static str,
        needed: u32,
        mut record: impl FnMut(&mut SectionInfo, usize, &mut Reader) -> Option<()>,
    ) -> Result<(), BtfError> {
        if len == 0 {
            return Ok(());
        }
        let start = self.start.saturating_add(offset as usize);
        let part = Reader::at(self.bytes, start).take(len as usize);
        let part = part.ok_or_else(|| truncated(start, what))?;
        let mut reader = Reader::at(part, 0);
        let record_len = reader.u32().ok_or_else(|| truncated(start, what))?;
        if record_len < needed {
            let kind = BtfErrorKind::RecordSize {
                what,
                len: record_len,
                needed,
            };
            return Err(BtfError {
                offset: start,
                kind,
            });
        }
        while reader.remaining() > 0 {
            let at = start + reader.position();
            let (Some(name), Some(count)) = (reader.u32(), reader.u32()) else {
                return Err(truncated(at, what));
            };
            let name = self.btf.string(name).unwrap_or_default().to_owned();
            let info = self.ext.sections.entry(name).or_default();
            for _ in 0..count {
                let at = start + reader.position();
                let bytes = reader.take(record_len as usize);
                let mut fields = Reader::at(bytes.ok_or_else(|| truncated(at, what))?, 0);
                let offset = fields.u32().ok_or_else(|| truncated(at, what))?;
                if !(offset as usize).is_multiple_of(SLOT_LEN) {
                    let kind = BtfErrorKind::Misaligned { offset };
                    return Err(BtfError { offset: at, kind });
                }
                record(info, offset as usize / SLOT_LEN, &mut fields)
                    .ok_or_else(|| truncated(at, what))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRINGS: &[u8] = b"\0xdp\0";

    fn btf() -> Btf {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let header = [24, 0, 0, 0, STRINGS.len() as u32];
        bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(STRINGS);
        Btf::parse(&bytes).unwrap()
    }

    /// A section with these line records only: header, size of a record, one section, records.
    fn lines(record_len: u32, count: u32, records: &[u32]) -> Vec<u8> {
        let part = [&[record_len, 1, count], records].concat();
        let header = [24, 0, 0, 0, part.len() as u32 * 4];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let words = header.iter().chain(&part);
        bytes.extend(words.flat_map(|word| word.to_le_bytes()));
        bytes
    }

    #[test]
    fn line_info() {
        let bytes = lines(16, 2, &[0, 1, 0, 7 << 10 | 3, 24, 1, 0, 8 << 10]);
        let ext = BtfExt::parse(&bytes, &btf()).unwrap();
        let found = &ext.sections["xdp"].lines;
        assert_eq!((found[0].slot, found[0].line, found[0].column), (0, 7, 3));
        assert_eq!((found[1].slot, found[1].line), (3, 8));
    }

    #[test]
    fn errors_say_where() {
        let check = |bytes: Vec<u8>, expected: &str| {
            let error = BtfExt::parse(&bytes, &btf()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            lines(12, 0, &[]),
            "offset 0x18: line info records of 12 bytes, but 16 are needed",
        );
        check(
            lines(16, u32::MAX, &[0, 0, 0, 0]),
            "offset 0x34: the section ends inside line info",
        );
        check(
            lines(16, 1, &[4, 0, 0, 0]),
            "offset 0x24: instruction offset 0x4 is no multiple of 8",
        );
        check(
            lines(16, 2, &[8, 0, 0, 0, 8, 0, 0, 0]),
            "offset 0x0: line info records are not in ascending order of instructions",
        );
    }

    proptest! {
        #[test]
        fn never_panics(words in proptest::collection::vec(prop_oneof![0..40u32, any::<u32>()], 0..40)) {
            let mut bytes = vec![0x9f, 0xeb, 1, 0];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            let _ = BtfExt::parse(&bytes, &btf());
        }
    }
}
