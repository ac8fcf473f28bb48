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

/// What it says about one section; each list ascends strictly by slot but the relocations.
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
