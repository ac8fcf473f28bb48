//! The parts of an ELF file that a BPF object uses: sections, symbols and relocations. Sections
//! lie inside the file and not over each other, so that nothing made of them outgrows the file.

use object::elf::{
    EM_BPF, ET_REL, FileHeader64, Rel64, Rela64, SHF_COMPRESSED, SHF_EXECINSTR, SHN_UNDEF,
    SHT_NOBITS, SHT_REL, SHT_RELA, SHT_SYMTAB, STB_LOCAL, STB_WEAK, STT_FUNC, STT_SECTION,
    STV_HIDDEN, STV_INTERNAL, Sym64,
};
use object::read::elf::{FileHeader, SectionHeader as _, SectionTable, Sym as _, SymbolTable};
use object::{LittleEndian, SectionIndex};

use super::error::{ObjectError, ObjectErrorKind};

const LE: LittleEndian = LittleEndian;
type Header = FileHeader64<LittleEndian>;

/// A BPF object file.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    /// By ELF section index.
    pub(super) sections: Vec<Section<'a>>,
    /// By ELF symbol index.
    pub(super) symbols: Vec<Symbol<'a>>,
}

/// A section.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    /// Contents; empty without contents in the file (`.bss`).
    pub(super) data: &'a [u8],
    /// Bytes in memory.
    pub(super) size: u64,
    pub(super) executable: bool,
    /// `sh_type`
    pub(super) kind: u32,
    /// `sh_flags`
    pub(super) flags: u64,
    /// `sh_addralign`
    pub(super) align: u64,
    relocations: Relocations<'a>,
}

/// Relocations as the file has them: the addend in the place that changes, or beside.
#[derive(Clone, Copy, Debug)]
enum Relocations<'a> {
    Implicit(&'a [Rel64<LittleEndian>]),
    Explicit(&'a [Rela64<LittleEndian>]),
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol<'a> {
    /// Its name; of a section symbol the section's.
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) value: u64,
    pub(super) size: u64,
    pub(super) kind: SymbolKind,
    /// `STT_*`, which says more than `kind`.
    pub(super) elf_type: u8,
    pub(super) local: bool,
    pub(super) weak: bool,
    /// Hidden or internal visibility.
    pub(super) hidden: bool,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In another object.
    Undefined,
    /// In the section with this index.
    Section(usize),
    /// Absolute or common.
    Other,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Function,
    Section,
    Other,
}

/// A relocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation<'e, 'a> {
    /// Offset in the section that it changes.
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) symbol: &'e Symbol<'a>,
    /// Index of the symbol.
    pub(super) symbol_index: usize,
    /// The addend, where it is not in the place that changes (`SHT_RELA`).
    pub(super) addend: Option<i64>,
}

impl<'a> Elf<'a> {
    /// Reads and checks the file's structure.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        check_ident(bytes)?;
        let header = Header::parse(bytes).map_err(broken)?;
        let machine = header.e_machine.get(LE);
        if machine != EM_BPF {
            return Err(ObjectError::Machine { machine });
        }
        let file_type = header.e_type.get(LE);
        if file_type != ET_REL {
            return Err(ObjectError::NotRelocatable { file_type });
        }
        let table = header.sections(LE, bytes).map_err(broken)?;
        let mut sections = read_sections(&table, bytes)?;
        read_relocations(&table, bytes, &mut sections)?;
        let symbols = table.symbols(LE, bytes, SHT_SYMTAB).map_err(broken)?;
        let symbols = read_symbols(&symbols, &sections)?;
        Ok(Self { sections, symbols })
    }

    /// The first section with this name and its index.
    pub(super) fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        let mut sections = self.sections.iter().enumerate();
        sections.find(|(_, section)| section.name == name)
    }

    /// Relocations of a section, in the order of the file.
    pub(super) fn relocations(
        &self,
        section: &Section<'a>,
    ) -> impl Iterator<Item = Result<Relocation<'_, 'a>, ObjectError>> {
        let (implicit, explicit) = match section.relocations {
            Relocations::Implicit(found) => (found, &[][..]),
            Relocations::Explicit(found) => (&[][..], found),
        };
        let implicit = implicit
            .iter()
            .map(|rel| (rel.r_offset.get(LE), rel.r_type(LE), rel.r_sym(LE), None));
        let explicit = explicit.iter().map(|rel| {
            let addend = Some(rel.r_addend.get(LE));
            let (kind, symbol) = (rel.r_type(LE, false), rel.r_sym(LE, false));
            (rel.r_offset.get(LE), kind, symbol, addend)
        });
        implicit
            .chain(explicit)
            .map(|(offset, kind, index, addend)| {
                let symbol = self.symbols.get(index as usize);
                let symbol = symbol.ok_or_else(|| ObjectError::Elf {
                    message: format!("a relocation names symbol {index}, which does not exist"),
                })?;
                Ok(Relocation {
                    offset,
                    kind,
                    symbol,
                    symbol_index: index as usize,
                    addend,
                })
            })
    }
}

impl Symbol<'_> {
    /// The section that it is in, if it is in one.
    pub(super) fn section(&self) -> Option<usize> {
        match self.place {
            Place::Section(index) => Some(index),
            Place::Undefined | Place::Other => None,
        }
    }
}

impl Section<'_> {
    /// An error at an offset of this section.
    pub(super) fn error(&self, offset: u64, kind: ObjectErrorKind) -> ObjectError {
        ObjectError::At {
            section: self.name.to_owned(),
            offset,
            kind,
        }
    }
}

fn broken(error: object::read::Error) -> ObjectError {
    ObjectError::Elf {
        message: error.to_string(),
    }
}

/// Magic, class and byte order, which come before everything that depends on them.
fn check_ident(bytes: &[u8]) -> Result<(), ObjectError> {
    if !bytes.starts_with(&object::elf::ELFMAG) {
        return Err(ObjectError::NotElf);
    }
    let what = match bytes.get(4..6) {
        Some([2, 1]) => return Ok(()),
        Some([1, _]) => "32-bit",
        Some([2, 2]) => "big-endian",
        _ => "unknown",
    };
    Err(ObjectError::Layout { what })
}

fn read_sections<'a>(
    table: &SectionTable<'a, Header>,
    bytes: &'a [u8],
) -> Result<Vec<Section<'a>>, ObjectError> {
    let mut sections = Vec::with_capacity(table.len());
    let mut total = 0u64;
    for header in table.iter() {
        let name = table.section_name(LE, header).map_err(broken)?;
        let name = std::str::from_utf8(name).map_err(|_| ObjectError::Elf {
            message: "a section's name is not UTF-8".to_owned(),
        })?;
        let flags = header.sh_flags.get(LE);
        let mut section = Section {
            name,
            data: &[],
            size: header.sh_size.get(LE),
            executable: flags & u64::from(SHF_EXECINSTR) != 0,
            kind: header.sh_type.get(LE),
            flags,
            align: header.sh_addralign.get(LE),
            relocations: Relocations::Implicit(&[]),
        };
        if flags & u64::from(SHF_COMPRESSED) != 0 {
            return Err(section.error(0, ObjectErrorKind::Compressed));
        }
        if section.kind != SHT_NOBITS && section.kind != object::elf::SHT_NULL {
            let bounds = ObjectErrorKind::Bounds { len: section.size };
            total = total.saturating_add(section.size);
            if total > bytes.len() as u64 {
                return Err(section.error(0, bounds));
            }
            section.data = header
                .data(LE, bytes)
                .map_err(|_| section.error(0, bounds))?;
        }
        sections.push(section);
    }
    Ok(sections)
}

fn read_relocations<'a>(
    table: &SectionTable<'a, Header>,
    bytes: &'a [u8],
    sections: &mut [Section<'a>],
) -> Result<(), ObjectError> {
    for (index, header) in table.enumerate() {
        let kind = header.sh_type.get(LE);
        if kind != SHT_REL && kind != SHT_RELA {
            continue;
        }
        let target = header.sh_info.get(LE) as usize;
        let Some(Section {
            name: target_name,
            relocations,
            ..
        }) = sections.get(target)
        else {
            let message = format!("relocations for section {target}, which does not exist");
            return Err(ObjectError::Elf { message });
        };
        if !matches!(relocations, Relocations::Implicit([])) {
            let target = (*target_name).to_owned();
            let kind = ObjectErrorKind::SecondRelocations { target };
            return Err(sections[index.0].error(0, kind));
        }
        sections[target].relocations = if kind == SHT_RELA {
            let found = header.rela(LE, bytes).map_err(broken)?;
            Relocations::Explicit(found.map_or(&[], |(relocations, _)| relocations))
        } else {
            let found = header.rel(LE, bytes).map_err(broken)?;
            Relocations::Implicit(found.map_or(&[], |(relocations, _)| relocations))
        };
    }
    Ok(())
}

fn read_symbols<'a>(
    table: &SymbolTable<'a, Header>,
    sections: &[Section<'a>],
) -> Result<Vec<Symbol<'a>>, ObjectError> {
    let mut symbols = Vec::with_capacity(table.len());
    for (index, symbol) in table.enumerate() {
        let place = match table.symbol_section(LE, symbol, index).map_err(broken)? {
            Some(SectionIndex(section)) if section < sections.len() => Place::Section(section),
            Some(SectionIndex(section)) => {
                let message = format!(
                    "symbol {} is in section {section}, which does not exist",
                    index.0
                );
                return Err(ObjectError::Elf { message });
            }
            None if symbol.st_shndx(LE) == SHN_UNDEF => Place::Undefined,
            None => Place::Other,
        };
        symbols.push(read_symbol(table, symbol, place, sections)?);
    }
    Ok(symbols)
}

fn read_symbol<'a>(
    table: &SymbolTable<'a, Header>,
    symbol: &'a Sym64<LittleEndian>,
    place: Place,
    sections: &[Section<'a>],
) -> Result<Symbol<'a>, ObjectError> {
    let kind = match symbol.st_type() {
        STT_FUNC => SymbolKind::Function,
        STT_SECTION => SymbolKind::Section,
        _ => SymbolKind::Other,
    };
    let name = if let (SymbolKind::Section, Place::Section(section)) = (kind, place) {
        sections[section].name
    } else {
        let name = table.symbol_name(LE, symbol).map_err(broken)?;
        std::str::from_utf8(name).map_err(|_| ObjectError::Elf {
            message: "a symbol's name is not UTF-8".to_owned(),
        })?
    };
    Ok(Symbol {
        name,
        place,
        value: symbol.st_value(LE),
        size: symbol.st_size(LE),
        kind,
        elf_type: symbol.st_type(),
        local: symbol.st_bind() == STB_LOCAL,
        weak: symbol.st_bind() == STB_WEAK,
        hidden: matches!(symbol.st_visibility(), STV_HIDDEN | STV_INTERNAL),
    })
}
