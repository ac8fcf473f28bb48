//! `.BTF.ext` of all objects: function info, source lines and CO-RE relocations of the joined
//! sections.

use std::collections::BTreeMap;

use super::Input;
use super::sections::Sections;
use super::types::Types;
use crate::isa::SLOT_LEN;
use crate::object::btf::Btf;
use crate::object::btf_ext::SectionInfo;

/// Bytes of the header with all three parts.
const HEADER_LEN: u32 = 32;

/// What the result says about each of its sections, by the offset of the section's name.
#[derive(Debug, Default)]
pub(super) struct Ext {
    sections: BTreeMap<u32, Records>,
}

/// Records as they stand in the section: the byte offset of an instruction first.
#[derive(Debug, Default)]
struct Records {
    functions: Vec<[u32; 2]>,
    lines: Vec<[u32; 4]>,
    relocations: Vec<[u32; 4]>,
}

impl Ext {
    /// Merges what the objects say.
    pub(super) fn merge(objects: &[Input], sections: &Sections, types: &mut Types) -> Self {
        let mut ext = Self::default();
        for (object, input) in objects.iter().enumerate() {
            let Some((_, btf)) = &input.btf else { continue };
            for (name, info) in &input.ext.sections {
                let section = input.elf.section(name);
                let placed = section.and_then(|(index, _)| sections.placed(object, index));
                if let Some(placed) = placed {
                    let records = ext.sections.entry(types.known_string(name)).or_default();
                    records.add(info, placed.base, object, btf, types);
                }
            }
        }
        ext
    }

    /// The section.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let functions = part(&self.sections, |records| &records.functions);
        let lines = part(&self.sections, |records| &records.lines);
        let relocations = part(&self.sections, |records| &records.relocations);
        let mut words = vec![HEADER_LEN];
        let mut offset = 0;
        for part in [&functions, &lines, &relocations] {
            let len = part.len() as u32 * 4;
            words.extend([offset, len]);
            offset += len;
        }
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let all = [words, functions, lines, relocations].concat();
        bytes.extend(all.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }
}

impl Records {
    fn add(&mut self, info: &SectionInfo, base: u64, object: usize, btf: &Btf, types: &mut Types) {
        let place = |slot: usize| base as u32 + (slot * SLOT_LEN) as u32;
        let functions = info.functions.iter();
        self.functions
            .extend(functions.map(|record| [place(record.slot), types.id(object, record.btf_id)]));
        for line in &info.lines {
            let (file, text) = (types.string(btf, line.file), types.string(btf, line.text));
            let position = line.line << 10 | line.column;
            self.lines.push([place(line.slot), file, text, position]);
        }
        for found in &info.relocations {
            let access = types.string(btf, found.access);
            let type_id = types.id(object, found.type_id);
            let record = [place(found.slot), type_id, access, found.kind];
            self.relocations.push(record);
        }
    }
}

/// One part, empty without records, which libbpf insists on: the size of a record, then for each
/// section that has some its name, their number and the records.
fn part<const N: usize>(
    sections: &BTreeMap<u32, Records>,
    of: impl Fn(&Records) -> &Vec<[u32; N]>,
) -> Vec<u32> {
    let mut words = Vec::new();
    for (name, records) in sections {
        let records = of(records);
        if records.is_empty() {
            continue;
        }
        if words.is_empty() {
            words.push(N as u32 * 4);
        }
        words.extend([*name, records.len() as u32]);
        words.extend(records.iter().flatten());
    }
    words
}
