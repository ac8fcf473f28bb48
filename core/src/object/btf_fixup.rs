//! What only the ELF file knows and the kernel wants to see in BTF: sizes of sections, offsets of
//! variables, and which functions are hidden (libbpf's `btf_fixup_datasec`).

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

/// The bytes of `.BTF` as the kernel takes them.
pub(super) fn fix_btf(elf: &Elf, section: &Section, btf: &Btf) -> Result<Vec<u8>, ObjectError> {
    let mut bytes = section.data.to_vec();
    relocate(elf, section, &mut bytes)?;
    for (_, found) in btf.iter() {
        match &found.kind {
            BtfKind::Datasec { size, vars } => {
                let name = btf.string(found.name).unwrap_or_default();
                if let (0, Some((_, section))) = (*size, elf.section(name)) {
                    put(&mut bytes, found.offset + SIZE, section.size as u32);
                }
                sort_vars(&mut bytes, found.offset + HEAD, vars.len());
            }
            // A hidden function is verified with its caller, like a static one, not on its own.
            BtfKind::Func {
                linkage: Linkage::Global,
                ..
            } if is_hidden(elf, btf.string(found.name).unwrap_or_default()) => {
                let at = found.offset + INFO;
                let info = word(&bytes, at) & !0xffff;
                put(&mut bytes, at, info);
            }
            _ => {}
        }
    }
    Ok(bytes)
}

/// Adds the symbols' values to the words that relocations name.
fn relocate(elf: &Elf, section: &Section, bytes: &mut [u8]) -> Result<(), ObjectError> {
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
        let value = word(bytes, at).wrapping_add(found.symbol.value as u32);
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

fn is_hidden(elf: &Elf, function: &str) -> bool {
    let mut symbols = elf.symbols.iter();
    symbols.any(|symbol| {
        symbol.kind == SymbolKind::Function && symbol.hidden && symbol.name == function
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk();
    u32::from_le_bytes(*word.expect("an offset that the parser has checked"))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
