//! Sections of one name joined in the order of the objects, with their relocations.

use std::collections::BTreeMap;

use super::symbols::{SymbolRef, Symbols};
use super::{Input, LinkError};
use crate::isa::SLOT_LEN;
use crate::object::elf::{Relocation, Section, SymbolKind};
use crate::object::error::{ObjectError, ObjectErrorKind};
use crate::object::relocation;

/// Largest alignment that is kept; clang's are 8 at most for code and 64 for data.
const MAX_ALIGN: u64 = 4096;
/// Most sections: with one of relocations for each, below the numbers that ELF reserves.
const MAX_SECTIONS: usize = 30_000;
/// `SHT_NULL`, `SHT_SYMTAB`, `SHT_STRTAB`, `SHT_RELA`, `SHT_REL` and `SHT_LLVM_ADDRSIG`: the file's
/// own tables, which are written anew.
const TABLES: [u32; 6] = [0, 2, 3, 4, 9, 0x6fff_4c03];
/// `SHT_PROGBITS`
const CONTENTS: u32 = 1;
/// `SHT_NOBITS`
pub(super) const NO_CONTENTS: u32 = 8;

/// The sections of the result.
#[derive(Debug, Default)]
pub(super) struct Sections<'a> {
    pub(super) all: Vec<Joined<'a>>,
    /// By object and its section: where it went, unless it was left out.
    placed: Vec<Vec<Option<Placed>>>,
}

/// A section of the result.
#[derive(Debug)]
pub(super) struct Joined<'a> {
    pub(super) name: &'a str,
    /// `sh_type`
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) align: u64,
    pub(super) data: Vec<u8>,
    pub(super) size: u64,
    pub(super) relocations: Vec<JoinedRelocation>,
    /// The object that it first came from.
    first: &'a str,
}

/// A relocation of the result; addends stand in the place that changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinedRelocation {
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) symbol: SymbolRef,
}

/// Where a section of an object went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Section of the result.
    pub(super) section: usize,
    /// Offset in it.
    pub(super) base: u64,
}

impl<'a> Sections<'a> {
    /// Places all sections of all objects.
    pub(super) fn join(objects: &[Input<'a>]) -> Result<Self, LinkError> {
        let mut sections = Self::default();
        let mut by_name = BTreeMap::new();
        for object in objects {
            let mut placed = Vec::with_capacity(object.elf.sections.len());
            for section in &object.elf.sections {
                placed.push(if is_kept(section) {
                    sections.place(object.name, section, &mut by_name)?
                } else {
                    None
                });
            }
            sections.placed.push(placed);
            if sections.all.len() > MAX_SECTIONS {
                return Err(LinkError::Sections {
                    file: object.name.to_owned(),
                    limit: MAX_SECTIONS,
                });
            }
        }
        Ok(sections)
    }

    fn place(
        &mut self,
        file: &'a str,
        section: &Section<'a>,
        by_name: &mut BTreeMap<&'a str, usize>,
    ) -> Result<Option<Placed>, LinkError> {
        let index = *by_name.entry(section.name).or_insert(self.all.len());
        if index == self.all.len() {
            self.all.push(Joined {
                name: section.name,
                kind: section.kind,
                flags: section.flags,
                align: 1,
                data: Vec::new(),
                size: 0,
                relocations: Vec::new(),
                first: file,
            });
        }
        let base = self.all[index].add(file, section)?;
        Ok(base.map(|base| Placed {
            section: index,
            base,
        }))
    }

    /// Where a section of an object went; nothing if it was left out.
    pub(super) fn placed(&self, object: usize, section: usize) -> Option<Placed> {
        self.placed[object][section]
    }

    /// The section of this name.
    pub(super) fn by_name(&self, name: &[u8]) -> Option<&Joined<'a>> {
        let mut all = self.all.iter();
        all.find(|section| section.name.as_bytes() == name)
    }

    /// Adds a section of the result's own.
    pub(super) fn append(&mut self, name: &'a str, data: Vec<u8>) {
        self.all.push(Joined {
            name,
            kind: CONTENTS,
            flags: 0,
            align: 4,
            size: data.len() as u64,
            data,
            relocations: Vec::new(),
            first: "",
        });
    }

    /// Carries the objects' relocations over.
    pub(super) fn relocate(
        &mut self,
        objects: &[Input<'a>],
        symbols: &Symbols,
    ) -> Result<(), LinkError> {
        for (object, input) in objects.iter().enumerate() {
            for (index, section) in input.elf.sections.iter().enumerate() {
                let Some(placed) = self.placed(object, index) else {
                    continue;
                };
                for found in input.elf.relocations(section) {
                    let found = found.map_err(|error| input.error(error))?;
                    self.carry_over(object, &found, placed, symbols)
                        .ok_or_else(|| input.error(unsupported(section, &found)))?;
                }
            }
        }
        Ok(())
    }

    /// Nothing where the relocation has no meaning.
    fn carry_over(
        &mut self,
        object: usize,
        found: &Relocation,
        placed: Placed,
        symbols: &Symbols,
    ) -> Option<()> {
        let symbol = symbols.of(object, found.symbol_index)?;
        let moved = match found.symbol.kind {
            SymbolKind::Section => self.placed(object, found.symbol.section()?)?.base,
            SymbolKind::Function | SymbolKind::Other => 0,
        };
        let joined = &mut self.all[placed.section];
        let offset = found.offset.checked_add(placed.base)?;
        let at = usize::try_from(offset).ok()?;
        change_addend(joined.data.get_mut(at..)?, found, moved)?;
        joined.relocations.push(JoinedRelocation {
            offset,
            kind: found.kind,
            symbol,
        });
        Some(())
    }
}

impl<'a> Joined<'a> {
    /// Appends a section of an object and gives its place, if it adds anything.
    fn add(&mut self, file: &'a str, section: &Section<'a>) -> Result<Option<u64>, LinkError> {
        if (section.kind, section.flags) != (self.kind, self.flags) {
            return Err(LinkError::SectionKind {
                section: self.name.to_owned(),
                first: self.first.to_owned(),
                first_type: self.kind,
                first_flags: self.flags,
                second: file.to_owned(),
                second_type: section.kind,
                second_flags: section.flags,
            });
        }
        // What says something of the whole object is said once.
        if matches!(self.name, "license" | "version") && !self.data.is_empty() {
            if self.data == section.data {
                return Ok(None);
            }
            return Err(LinkError::Contents {
                section: self.name.to_owned(),
                first: self.first.to_owned(),
                second: file.to_owned(),
            });
        }
        let align = section.align.max(1);
        let base = self.size.checked_next_multiple_of(align);
        let end = base.and_then(|base| base.checked_add(section.size));
        let (Some(base), Some(end)) = (base, end) else {
            return Err(misplaced(file, section));
        };
        if !align.is_power_of_two() || align > MAX_ALIGN {
            return Err(misplaced(file, section));
        }
        self.align = self.align.max(align);
        self.size = end;
        if self.kind != NO_CONTENTS {
            self.data.resize(base as usize, 0);
            self.data.extend(section.data);
        }
        Ok(Some(base))
    }
}

fn misplaced(file: &str, section: &Section) -> LinkError {
    LinkError::Placement {
        file: file.to_owned(),
        section: section.name.to_owned(),
        size: section.size,
        align: section.align,
    }
}

fn unsupported(section: &Section, found: &Relocation) -> ObjectError {
    let kind = ObjectErrorKind::Relocation {
        kind: found.kind,
        symbol: found.symbol.name.to_owned(),
    };
    section.error(found.offset, kind)
}

/// Tables and type information are made anew, debugging information is left out, and the empty
/// `.text` that every object has says nothing.
fn is_kept(section: &Section) -> bool {
    let made_anew = TABLES.contains(&section.kind) || section.name.starts_with(".BTF");
    let debugging = section.name.starts_with(".debug") || section.name.starts_with(".rel");
    let empty = section.size == 0 && section.name == ".text";
    !made_anew && !debugging && !empty
}

/// Writes the addend into the place that changes, where it stood elsewhere, and adds how far the
/// section moved that it counts from.
fn change_addend(place: &mut [u8], found: &Relocation, moved: u64) -> Option<()> {
    let word = |place: &[u8], at: usize| {
        let bytes = place.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let put = |place: &mut [u8], at: usize, value: u32| {
        place[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    match found.kind {
        // The immediate counts slots from the instruction after the call's target.
        relocation::CALL => {
            let implicit = word(place, 4)?;
            let explicit = found.addend.map(|addend| addend / SLOT_LEN as i64 - 1);
            let base = explicit.map_or(implicit, |addend| addend as u32);
            put(
                place,
                4,
                base.wrapping_add((moved / SLOT_LEN as u64) as u32),
            );
        }
        relocation::WIDE => {
            let implicit = u64::from(word(place, 4)?) | u64::from(word(place, 12)?) << 32;
            let base = found.addend.map_or(implicit, |addend| addend as u64);
            let value = base.wrapping_add(moved);
            put(place, 4, value as u32);
            put(place, 12, (value >> 32) as u32);
        }
        relocation::ABS64 => {
            let implicit = u64::from(word(place, 0)?) | u64::from(word(place, 4)?) << 32;
            let base = found.addend.map_or(implicit, |addend| addend as u64);
            let value = base.wrapping_add(moved);
            put(place, 0, value as u32);
            put(place, 4, (value >> 32) as u32);
        }
        relocation::ABS32 => {
            let base = found.addend.map_or(word(place, 0)?, |addend| addend as u32);
            put(place, 0, base.wrapping_add(moved as u32));
        }
        _ => return None,
    }
    Some(())
}
