//! The result as an ELF file: header, contents of the sections, relocations, symbols, names, and
//! the table of all sections at the end.

use object::elf::{
    EM_BPF, ET_REL, SHF_INFO_LINK, SHT_REL, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL, STB_LOCAL,
    STB_WEAK, STT_SECTION, STV_DEFAULT, STV_HIDDEN,
};

use super::sections::{Joined, NO_CONTENTS, Sections};
use super::symbols::{OutSymbol, SymbolRef, Symbols};

const HEADER_LEN: u16 = 64;
const SECTION_LEN: u16 = 64;
const SYMBOL_LEN: u64 = 24;
const RELOCATION_LEN: u64 = 16;

/// A row of the table of sections.
#[derive(Clone, Copy, Default)]
struct Row {
    name: u32,
    kind: u32,
    flags: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_len: u64,
}

/// The file as it grows.
struct File {
    bytes: Vec<u8>,
    names: Vec<u8>,
    /// Each with the offset of its contents.
    rows: Vec<(Row, u64)>,
}

/// The bytes of the object.
pub(super) fn object(sections: &Sections, symbols: &Symbols) -> Vec<u8> {
    let mut file = File {
        bytes: vec![0; usize::from(HEADER_LEN)],
        names: vec![0],
        rows: vec![(Row::default(), 0)],
    };
    for section in &sections.all {
        file.add_section(section);
    }
    let relocated = sections.all.iter().enumerate();
    let relocated = relocated.filter(|(_, section)| !section.relocations.is_empty());
    let relocated: Vec<_> = relocated.collect();
    let symbol_table = (file.rows.len() + relocated.len()) as u32;
    let first_global = 1 + sections.all.len() + symbols.locals.len();
    let index_of = |symbol| match symbol {
        SymbolRef::Section(index) => 1 + index,
        SymbolRef::Local(index) => 1 + sections.all.len() + index,
        SymbolRef::Global(index) => first_global + index,
    };
    for (index, section) in relocated {
        let words = section.relocations.iter().flat_map(|relocation| {
            let info = (index_of(relocation.symbol) as u64) << 32 | u64::from(relocation.kind);
            [relocation.offset, info]
        });
        let row = Row {
            name: file.name(&format!(".rel{}", section.name)),
            kind: SHT_REL,
            flags: u64::from(SHF_INFO_LINK),
            link: symbol_table,
            info: index as u32 + 1,
            align: 8,
            entry_len: RELOCATION_LEN,
            ..Row::default()
        };
        file.add(row, &words.flat_map(u64::to_le_bytes).collect::<Vec<_>>());
    }
    file.add_symbols(sections, symbols, first_global as u32);
    file.finish()
}

impl File {
    fn name(&mut self, text: &str) -> u32 {
        let offset = self.names.len() as u32;
        self.names.extend(text.as_bytes());
        self.names.push(0);
        offset
    }

    fn add(&mut self, row: Row, contents: &[u8]) {
        let align = row.align.max(1) as usize;
        let start = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(start, 0);
        self.bytes.extend(contents);
        let size = contents.len() as u64;
        self.rows.push((Row { size, ..row }, start as u64));
    }

    fn add_section(&mut self, section: &Joined) {
        let row = Row {
            name: self.name(section.name),
            kind: section.kind,
            flags: section.flags,
            align: section.align,
            ..Row::default()
        };
        self.add(row, &section.data);
        if let (NO_CONTENTS, Some((row, _))) = (section.kind, self.rows.last_mut()) {
            row.size = section.size;
        }
    }

    fn add_symbols(&mut self, sections: &Sections, symbols: &Symbols, first_global: u32) {
        let mut bytes = vec![0; SYMBOL_LEN as usize];
        let mut put = |name: u32, info: u8, other: u8, section: usize, value: u64, size: u64| {
            bytes.extend(name.to_le_bytes());
            bytes.extend([info, other]);
            bytes.extend((section as u16).to_le_bytes());
            bytes.extend(value.to_le_bytes());
            bytes.extend(size.to_le_bytes());
        };
        for index in 0..sections.all.len() {
            put(0, STT_SECTION, STV_DEFAULT, index + 1, 0, 0);
        }
        let mut put_all = |file: &mut Self, list: &[OutSymbol], local: bool| {
            for symbol in list {
                let name = file.name(symbol.name);
                let bind = match (local, symbol.weak) {
                    (true, _) => STB_LOCAL,
                    (false, true) => STB_WEAK,
                    (false, false) => STB_GLOBAL,
                };
                let other = if symbol.hidden {
                    STV_HIDDEN
                } else {
                    STV_DEFAULT
                };
                let section = symbol.section.map_or(0, |section| section + 1);
                let info = bind << 4 | symbol.elf_type;
                put(name, info, other, section, symbol.value, symbol.size);
            }
        };
        put_all(self, &symbols.locals, true);
        put_all(self, &symbols.globals, false);
        let row = Row {
            name: self.name(".symtab"),
            kind: SHT_SYMTAB,
            link: self.rows.len() as u32 + 1,
            info: first_global,
            align: 8,
            entry_len: SYMBOL_LEN,
            ..Row::default()
        };
        self.add(row, &bytes);
    }

    /// Names, the table of sections and the header that points there.
    fn finish(mut self) -> Vec<u8> {
        let row = Row {
            name: self.name(".strtab"),
            kind: SHT_STRTAB,
            align: 1,
            ..Row::default()
        };
        let names = std::mem::take(&mut self.names);
        self.add(row, &names);
        let table = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(table, 0);
        for (row, offset) in &self.rows {
            let Row {
                name,
                kind,
                flags,
                size,
                link,
                info,
                align,
                entry_len,
            } = *row;
            let head = [name, kind].into_iter().flat_map(u32::to_le_bytes);
            self.bytes.extend(head);
            let places = [flags, 0, *offset, size]
                .into_iter()
                .flat_map(u64::to_le_bytes);
            self.bytes.extend(places);
            self.bytes
                .extend([link, info].into_iter().flat_map(u32::to_le_bytes));
            self.bytes
                .extend([align, entry_len].into_iter().flat_map(u64::to_le_bytes));
        }
        let header = header(table as u64, self.rows.len() as u16);
        self.bytes[..header.len()].copy_from_slice(&header);
        self.bytes
    }
}

/// `Elf64_Ehdr` of a relocatable object; the last of the sections holds their names.
fn header(table: u64, sections: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([ET_REL, EM_BPF].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(1u32.to_le_bytes());
    bytes.extend([0, 0, table].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(0u32.to_le_bytes());
    let lengths = [HEADER_LEN, 0, 0, SECTION_LEN, sections, sections - 1];
    bytes.extend(lengths.into_iter().flat_map(u16::to_le_bytes));
    bytes
}
