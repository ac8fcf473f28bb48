//! The functions of an object: where they are, their instructions, and what the relocated ones
//! among those refer to.

use std::collections::{BTreeMap, BTreeSet};

use super::btf::Btf;
use super::btf_ext::{BtfExt, SectionInfo};
use super::core_relocation::{self, Resolver};
use super::elf::{Elf, Place, Relocation, Section, Symbol, SymbolKind};
use super::error::{ObjectError, ObjectErrorKind, ProgramError, ProgramErrorKind};
use super::externs::ConfigVariables;
use super::kernel_types::KernelTypes;
use super::maps::ObjectMaps;
use super::relocation;
use crate::isa::{CallTarget, DecodeErrorKind, Imm64, Insn, SLOT_LEN, decode};
use crate::kfunc::{self, Kfunc};
use crate::module::Unresolved;

/// Stands for the address of a kernel function that is there.
const PRESENT: u64 = 1;

/// A function as the object has it.
#[derive(Debug)]
pub(super) struct Code<'a> {
    pub(super) name: &'a str,
    /// ELF section.
    pub(super) section: usize,
    /// First slot in the section.
    pub(super) start: usize,
    /// Slots.
    pub(super) len: usize,
    /// Not visible outside the object.
    pub(super) local: bool,
    /// Instructions before relocation, by slot, but for what the kernel's types decide.
    pub(super) insns: Result<Vec<Insn>, Fault>,
    /// Instructions that need something which the kernel does not have.
    pub(super) unresolved: Vec<Unresolved>,
}

/// What is wrong with a function, and in which slot of it.
type Fault = (usize, ProgramErrorKind);

/// All functions of an object, in the order of sections and of places inside them.
pub(super) struct CodeTable<'e, 'a> {
    elf: &'e Elf<'a>,
    btf: Option<&'e Btf>,
    ext: &'e BtfExt,
    maps: &'e ObjectMaps<'a>,
    config: &'e ConfigVariables,
    pub(super) functions: Vec<Code<'a>>,
    /// By section and first slot.
    by_place: BTreeMap<(usize, usize), usize>,
    /// By section and slot.
    relocations: BTreeMap<(usize, usize), Relocation<'e, 'a>>,
    /// The first relocation of each section of global data: pointers there mean nothing.
    pointers: BTreeMap<usize, Relocation<'e, 'a>>,
}

/// What an instruction of a function becomes.
pub(super) enum Linked {
    /// Final.
    Done(Insn),
    /// Refers to the start of the function with this index.
    Function(usize),
    /// Calls a weak function that the kernel does not have.
    Missing,
}

impl<'e, 'a> CodeTable<'e, 'a> {
    pub(super) fn read(
        elf: &'e Elf<'a>,
        btf: Option<&'e Btf>,
        ext: &'e BtfExt,
        maps: &'e ObjectMaps<'a>,
        config: &'e ConfigVariables,
        kernel: Option<&KernelTypes>,
    ) -> Result<Self, ObjectError> {
        let mut table = Self {
            elf,
            btf,
            ext,
            maps,
            config,
            functions: Vec::new(),
            by_place: BTreeMap::new(),
            relocations: BTreeMap::new(),
            pointers: BTreeMap::new(),
        };
        table.read_functions()?;
        if let Some(btf) = btf {
            table.resolve_types(Resolver::new(btf, kernel), btf);
        }
        for (index, section) in elf.sections.iter().enumerate() {
            if section.executable {
                table.read_relocations(index, section)?;
            } else if maps.data.contains_key(&index)
                && let Some(found) = elf.relocations(section).next()
            {
                table.pointers.insert(index, found?);
            }
        }
        Ok(table)
    }

    fn read_functions(&mut self) -> Result<(), ObjectError> {
        let mut symbols: Vec<_> = self
            .elf
            .symbols
            .iter()
            .filter(|symbol| symbol.kind == SymbolKind::Function)
            .filter_map(|symbol| match symbol.place {
                Place::Section(index) if self.elf.sections[index].executable => {
                    Some((index, symbol))
                }
                _ => None,
            })
            .collect();
        symbols.sort_by_key(|(section, symbol)| (*section, symbol.value));
        for (position, (index, symbol)) in symbols.iter().enumerate() {
            let section = &self.elf.sections[*index];
            let next = symbols.get(position + 1);
            let next = next.filter(|(next_index, _)| next_index == index);
            let limit = next.map_or(section.size, |(_, next)| next.value);
            let code = read_function(*index, section, symbol, limit)?;
            self.by_place
                .insert((*index, code.start), self.functions.len());
            self.functions.push(code);
        }
        Ok(())
    }

    /// Changes the instructions with CO-RE relocations to what the kernel's types say.
    fn resolve_types(&mut self, mut resolver: Resolver, btf: &Btf) {
        let elf = self.elf;
        let ext = self.ext;
        for code in &mut self.functions {
            let Some(info) = ext.sections.get(elf.sections[code.section].name) else {
                continue;
            };
            let first = info
                .relocations
                .partition_point(|record| record.slot < code.start);
            let records = info.relocations[first..].iter();
            for record in records.take_while(|record| record.slot < code.start + code.len) {
                let slot = record.slot - code.start;
                let Ok(insns) = &mut code.insns else { break };
                let answer = resolver.resolve(record);
                match answer.and_then(|answer| core_relocation::patch(insns, slot, &answer)) {
                    Ok(poisoned) => {
                        let slots = slot..slot + poisoned;
                        code.unresolved.extend(slots.map(|insn| Unresolved {
                            insn: insn as u32,
                            what: core_relocation::unresolved(btf, record),
                        }));
                    }
                    Err(reason) => {
                        let kind = ProgramErrorKind::CoRe {
                            relocation: core_relocation::kind_name(record.kind),
                            target: core_relocation::target(btf, record),
                            reason: Box::new(reason),
                        };
                        code.insns = Err((slot, kind));
                    }
                }
            }
        }
    }

    fn read_relocations(&mut self, index: usize, section: &Section<'a>) -> Result<(), ObjectError> {
        for found in self.elf.relocations(section) {
            let found = found?;
            let slot = found.offset as usize / SLOT_LEN;
            let aligned =
                found.offset.is_multiple_of(SLOT_LEN as u64) && found.offset < section.size;
            let old = self.relocations.insert((index, slot), found);
            if !aligned || old.is_some() {
                let kind = ObjectErrorKind::Relocation {
                    kind: found.kind,
                    symbol: found.symbol.name.to_owned(),
                };
                return Err(section.error(found.offset, kind));
            }
        }
        Ok(())
    }

    /// Index of the function that starts at this byte of a section.
    pub(super) fn function_at(&self, section: usize, offset: u64) -> Option<usize> {
        if !offset.is_multiple_of(SLOT_LEN as u64) {
            return None;
        }
        let slot = usize::try_from(offset).ok()? / SLOT_LEN;
        self.by_place.get(&(section, slot)).copied()
    }

    /// What `.BTF.ext` says about a function's section.
    pub(super) fn section_info(&self, code: &Code) -> Option<&'e SectionInfo> {
        self.ext.sections.get(self.elf.sections[code.section].name)
    }

    /// An error at a slot of a function.
    pub(super) fn error(&self, code: &Code, insn: usize, kind: ProgramErrorKind) -> ProgramError {
        ProgramError {
            function: code.name.to_owned(),
            insn,
            place: self.source(code, insn),
            kind,
        }
    }

    /// File and line of a slot of a function.
    fn source(&self, code: &Code, insn: usize) -> Option<Box<str>> {
        let lines = &self.section_info(code)?.lines;
        let after = lines.partition_point(|line| line.slot <= code.start + insn);
        let line = &lines[after.checked_sub(1)?];
        let file = self.btf?.string(line.file)?;
        (line.slot >= code.start).then(|| format!("{file}:{}", line.line).into())
    }

    /// Instructions of a function, if they can be decoded and need nothing that is missing.
    pub(super) fn checked(&self, code: &'e Code) -> Result<&'e [Insn], ProgramError> {
        let insns = code.insns.as_ref();
        insns
            .map(Vec::as_slice)
            .map_err(|(slot, kind)| self.error(code, *slot, kind.clone()))
    }

    /// What the instruction in a slot of a function refers to.
    pub(super) fn link(
        &self,
        code: &Code,
        slot: usize,
        insn: Insn,
    ) -> Result<Linked, ProgramError> {
        let at = (code.section, code.start + slot);
        match self.relocations.get(&at) {
            Some(found) => self.relocated(code, slot, insn, found),
            None => self.unrelocated(code, slot, insn),
        }
        .map_err(|kind| self.error(code, slot, kind))
    }

    fn relocated(
        &self,
        code: &Code,
        slot: usize,
        insn: Insn,
        found: &Relocation,
    ) -> Result<Linked, ProgramErrorKind> {
        let symbol = found.symbol;
        let Place::Section(section) = symbol.place else {
            return self.external(symbol, insn);
        };
        let value = symbol.value;
        match (insn, found.kind) {
            (
                Insn::Call {
                    target: CallTarget::Local(off),
                },
                relocation::CALL,
            ) => {
                let implicit = (i64::from(off) + 1) * SLOT_LEN as i64;
                let bytes = found.addend.unwrap_or(implicit);
                self.function(section, value.wrapping_add_signed(bytes))
            }
            (
                Insn::LoadImm64 {
                    dst,
                    value: Imm64::Number(addend),
                },
                relocation::WIDE,
            ) => {
                let addend = found.addend.map_or(addend, |addend| addend as u64);
                let offset = value.wrapping_add(addend);
                if self.elf.sections[section].executable {
                    return self.function(section, offset);
                }
                let value = self.data_reference(found, section, offset)?;
                Ok(Linked::Done(Insn::LoadImm64 { dst, value }))
            }
            _ => Err(ProgramErrorKind::Opcode {
                relocation: found.kind,
                opcode: self.opcode(code, slot),
            }),
        }
    }

    /// A map or a place in global data.
    fn data_reference(
        &self,
        found: &Relocation,
        section: usize,
        offset: u64,
    ) -> Result<Imm64, ProgramErrorKind> {
        if let Some(map) = self.maps.declared.get(&(section, offset)) {
            return Ok(Imm64::Map(*map));
        }
        let symbol = found.symbol.name.to_owned();
        let name = self.elf.sections[section].name;
        if let Some(pointer) = self.pointers.get(&section) {
            return Err(ProgramErrorKind::PointerInData {
                section: name.to_owned(),
                offset: pointer.offset,
                symbol: pointer.symbol.name.to_owned(),
            });
        }
        match self.maps.data.get(&section) {
            Some(map) => Ok(Imm64::MapValue {
                map: *map,
                offset: offset as u32,
            }),
            None if name.starts_with(".addr_space") => Err(ProgramErrorKind::Arena { symbol }),
            None if matches!(name, ".maps" | "maps") => Err(ProgramErrorKind::InsideMap { symbol }),
            None => Err(ProgramErrorKind::Relocation {
                relocation: found.kind,
                symbol,
                section: name.to_owned(),
            }),
        }
    }

    /// What the call in a slot of a function misses.
    pub(super) fn missing(&self, code: &Code, slot: usize) -> String {
        let found = self.relocations.get(&(code.section, code.start + slot));
        let name = found.map_or("", |found| found.symbol.name);
        let reason = kfunc::missing(name);
        format!("{name} is a weak kernel function (kfunc): {reason}")
    }

    /// Maps that some function refers to, usable or not.
    pub(super) fn referenced_maps(&self) -> BTreeSet<u32> {
        let functions = self.functions.iter();
        let insns = functions.flat_map(|code| {
            let insns = code.insns.iter().flatten().enumerate();
            insns.filter_map(|(slot, insn)| self.link(code, slot, *insn).ok())
        });
        let maps = insns.filter_map(|linked| match linked {
            Linked::Done(insn) => insn.map_reference(),
            Linked::Function(_) | Linked::Missing => None,
        });
        maps.collect()
    }

    /// Calls inside a section may be final already; references to maps never are.
    fn unrelocated(
        &self,
        code: &Code,
        slot: usize,
        insn: Insn,
    ) -> Result<Linked, ProgramErrorKind> {
        let unresolved = || ProgramErrorKind::Unresolved {
            opcode: self.opcode(code, slot),
        };
        match insn {
            Insn::Call {
                target: CallTarget::Local(_),
            }
            | Insn::LoadImm64 {
                value: Imm64::Function { .. },
                ..
            } => {
                let target = insn.function_target(code.start + slot).unwrap_or(-1);
                let found =
                    self.function(code.section, target.wrapping_mul(SLOT_LEN as i64) as u64);
                let inside = code.start as i64..(code.start + code.len) as i64;
                match found {
                    // Hand-written assembly: a subprogram that is a label inside the function.
                    Err(_) if inside.contains(&target) => Ok(Linked::Done(insn)),
                    found => found,
                }
            }
            Insn::Call {
                target: CallTarget::Kfunc { .. },
            }
            | Insn::LoadImm64 {
                value: Imm64::Map(_) | Imm64::MapValue { .. } | Imm64::Variable { .. },
                ..
            } => Err(unresolved()),
            insn => Ok(Linked::Done(insn)),
        }
    }

    fn function(&self, section: usize, offset: u64) -> Result<Linked, ProgramErrorKind> {
        let found = self.function_at(section, offset);
        found
            .map(Linked::Function)
            .ok_or_else(|| ProgramErrorKind::NoFunction {
                section: self.elf.sections[section].name.to_owned(),
                offset: offset as i64,
            })
    }

    fn opcode(&self, code: &Code, slot: usize) -> u8 {
        let at = (code.start + slot) * SLOT_LEN;
        let data = self.elf.sections[code.section].data;
        data.get(at).copied().unwrap_or_default()
    }

    /// What a symbol that is defined elsewhere becomes; BTF says where it should come from.
    fn external(&self, symbol: &Symbol, insn: Insn) -> Result<Linked, ProgramErrorKind> {
        let name = symbol.name.to_owned();
        let dst = match insn {
            Insn::LoadImm64 { dst, .. } => Some(dst),
            _ => None,
        };
        let load = |dst, value| Ok(Linked::Done(Insn::LoadImm64 { dst, value }));
        if let Some(place) = self.config.places.get(symbol.name) {
            return match (place, self.maps.config, dst) {
                (Ok(offset), Some(map), Some(dst)) => load(
                    dst,
                    Imm64::MapValue {
                        map,
                        offset: *offset,
                    },
                ),
                (Err(kind), ..) => Err(kind.clone()),
                _ => Err(ProgramErrorKind::Undefined { symbol: name }),
            };
        }
        let vars = self
            .btf
            .and_then(|btf| Some((btf, btf.datasec(".ksyms")?.1)));
        let of_kernel = vars.is_some_and(|(btf, vars)| {
            vars.iter()
                .any(|var| btf.name_of(var.type_id) == symbol.name)
        });
        if let (true, Some(kfunc)) = (of_kernel, Kfunc::by_name(symbol.name)) {
            let target = CallTarget::Kernel(kfunc);
            return match dst {
                // A program asks whether the kernel has it; that is all an address is good for.
                Some(dst) => load(dst, Imm64::Number(PRESENT)),
                None => Ok(Linked::Done(Insn::Call { target })),
            };
        }
        Err(match (of_kernel, dst) {
            // A program asks whether the kernel has it.
            (true, Some(dst)) if symbol.weak => return load(dst, Imm64::Number(0)),
            (true, Some(_)) => ProgramErrorKind::Ksym { symbol: name },
            (true, None) if symbol.weak => return Ok(Linked::Missing),
            (true, None) => {
                let missing = kfunc::missing(symbol.name);
                let symbol = name;
                ProgramErrorKind::Kfunc { symbol, missing }
            }
            (false, _) if symbol.weak => ProgramErrorKind::WeakExtern { symbol: name },
            (false, _) => ProgramErrorKind::Undefined { symbol: name },
        })
    }
}

/// Why instructions cannot be used; those that an arena needs by its name.
fn not_decoded(kind: DecodeErrorKind) -> ProgramErrorKind {
    match kind {
        // `BPF_ADDR_SPACE_CAST`: a 64-bit move with offset 1.
        DecodeErrorKind::UnknownForm {
            opcode: 0xbf,
            value: 1,
            ..
        } => ProgramErrorKind::AddressSpaceCast,
        kind => ProgramErrorKind::Decode(kind),
    }
}

/// A function reaches as far as its symbol says, or, in hand-written assembly that does not say,
/// to the limit: the next function or the end of the section.
fn read_function<'a>(
    index: usize,
    section: &Section<'a>,
    symbol: &Symbol<'a>,
    limit: u64,
) -> Result<Code<'a>, ObjectError> {
    let end = match symbol.size {
        0 => Some(limit),
        size => symbol.value.checked_add(size),
    };
    let bytes = end
        .filter(|end| symbol.value < *end && *end <= limit)
        .filter(|end| (symbol.value | end).is_multiple_of(SLOT_LEN as u64))
        .and_then(|end| {
            section
                .data
                .get(usize::try_from(symbol.value).ok()?..usize::try_from(end).ok()?)
        });
    let Some(bytes) = bytes else {
        let kind = ObjectErrorKind::Function {
            function: symbol.name.to_owned(),
            len: symbol.size,
        };
        return Err(section.error(symbol.value, kind));
    };
    Ok(Code {
        name: symbol.name,
        section: index,
        start: symbol.value as usize / SLOT_LEN,
        len: bytes.len() / SLOT_LEN,
        local: symbol.local,
        insns: decode(bytes).map_err(|error| (error.insn, not_decoded(error.kind))),
        unresolved: Vec::new(),
    })
}
