//! From the compiler's BTF to the kernel's: sizes of sections, offsets of variables and hidden
//! functions, which only the ELF file knows (libbpf's `btf_fixup_datasec`), and no externs.

use std::collections::BTreeSet;

use super::btf::{Btf, BtfKind, Linkage};
use super::elf::{Elf, Section, SymbolKind};
use super::error::{ObjectError, ObjectErrorKind};
use super::relocation;

/// Offset of the second word in `struct btf_type`: kind, flag and `vlen`.
const INFO: usize = 4;
/// Offset of the third word: a size or a type.
const SIZE: usize = 8;
/// Bytes of `struct btf_type`, before the entries of a section.
const HEAD: usize = 12;
/// Bytes of `struct btf_var_secinfo`; the offset is its second word.
const SECTION_VAR: usize = 12;
/// Kinds, as they stand in the second word.
const INT: u32 = 1 << 24;
const TYPEDEF: u32 = 8 << 24;
const ENUM64: u32 = 19 << 24;

/// The bytes of `.BTF` in the final layout.
pub(super) fn fix_btf(elf: &Elf, section: &Section, btf: &Btf) -> Result<Vec<u8>, ObjectError> {
    let mut bytes = place_variables(elf, section, btf)?;
    let hidden = hidden_functions(elf);
    for (_, found) in btf.iter() {
        // A hidden function is verified with its caller, like a static one, not on its own.
        if let BtfKind::Func {
            linkage: Linkage::Global,
            ..
        } = found.kind
            && hidden.contains(btf.string(found.name).unwrap_or_default())
        {
            let at = found.offset + INFO;
            let info = word(&bytes, at) & !0xffff;
            put(&mut bytes, at, info);
        }
    }
    Ok(bytes)
}

/// The bytes of `.BTF` with the sizes of sections and the offsets of variables.
pub(super) fn place_variables(
    elf: &Elf,
    section: &Section,
    btf: &Btf,
) -> Result<Vec<u8>, ObjectError> {
    let mut bytes = section.data.to_vec();
    relocate(elf, section, &mut bytes)?;
    for (_, found) in btf.iter() {
        if let BtfKind::Datasec { size, vars } = &found.kind {
            let name = btf.string(found.name).unwrap_or_default();
            if let (0, Some((_, section))) = (*size, elf.section(name)) {
                put(&mut bytes, found.offset + SIZE, section.size as u32);
            }
            sort_vars(&mut bytes, found.offset + HEAD, vars.len());
        }
    }
    Ok(bytes)
}

/// Replaces what the kernel does not take: declarations of things defined elsewhere. They become
/// types of the same length that nothing refers to, so that all ids stay.
pub(super) fn without_externs(bytes: &[u8], btf: &Btf) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (_, found) in btf.iter() {
        let at = found.offset;
        match &found.kind {
            BtfKind::Func {
                linkage: Linkage::Extern,
                ..
            } => put(&mut bytes, at + INFO, TYPEDEF),
            BtfKind::Var {
                linkage: Linkage::Extern,
                ..
            } => {
                put(&mut bytes, at + INFO, INT);
                put(&mut bytes, at + SIZE, 1);
                put(&mut bytes, at + HEAD, 8);
            }
            BtfKind::Datasec { vars, .. } if vars.iter().any(|var| is_extern(btf, var.type_id)) => {
                put(&mut bytes, at, 0);
                put(&mut bytes, at + INFO, ENUM64 | vars.len() as u32);
                put(&mut bytes, at + SIZE, 8);
                for (index, var) in vars.iter().enumerate() {
                    let at = at + HEAD + index * SECTION_VAR;
                    let name = btf.get(var.type_id).map_or(0, |found| found.name);
                    put(&mut bytes, at, name);
                    put(&mut bytes, at + 4, 0);
                    put(&mut bytes, at + 8, 0);
                }
            }
            _ => {}
        }
    }
    bytes
}

fn is_extern(btf: &Btf, type_id: u32) -> bool {
    match btf.get(type_id).map(|found| &found.kind) {
        Some(BtfKind::Var { linkage, .. }) => *linkage == Linkage::Extern,
        Some(BtfKind::Func { .. }) => true,
        _ => false,
    }
}

/// Adds the symbols' values to the words that relocations name.
pub(super) fn relocate(elf: &Elf, section: &Section, bytes: &mut [u8]) -> Result<(), ObjectError> {
    for found in elf.relocations(section) {
        let found = found?;
        let at = usize::try_from(found.offset).unwrap_or(usize::MAX);
        let inside = at.checked_add(4).is_some_and(|end| end <= bytes.len());
        if !inside || !matches!(found.kind, relocation::NODYLD32 | relocation::ABS32) {
            let kind = ObjectErrorKind::Relocation {
                kind: found.kind,
                symbol: found.symbol.name.to_owned(),
            };
            return Err(section.error(found.offset, kind));
        }
        let addend = found.addend.map_or(word(bytes, at), |addend| addend as u32);
        let value = addend.wrapping_add(found.symbol.value as u32);
        put(bytes, at, value);
    }
    Ok(())
}

/// The kernel wants the variables of a section in order of their offsets.
fn sort_vars(bytes: &mut [u8], start: usize, count: usize) {
    let entries = &mut bytes[start..start + count * SECTION_VAR];
    let (entries, _) = entries.as_chunks_mut::<SECTION_VAR>();
    entries.sort_by_key(|entry| word(entry, 4));
}

/// Names of the functions with hidden or internal visibility.
fn hidden_functions<'a>(elf: &Elf<'a>) -> BTreeSet<&'a str> {
    let symbols = elf.symbols.iter();
    let hidden = symbols.filter(|symbol| symbol.hidden && symbol.kind == SymbolKind::Function);
    hidden.map(|symbol| symbol.name).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk();
    u32::from_le_bytes(*word.expect("an offset that the parser has checked"))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
