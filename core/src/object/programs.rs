//! Which functions of an object are programs, which of them can be used, and which stand in
//! program arrays from the start.

use std::collections::{BTreeMap, BTreeSet};

use super::btf::Btf;
use super::code::{Code, CodeTable};
use super::elf::Elf;
use super::error::{ObjectError, ProgramError, ProgramErrorKind};
use super::link::{Linker, referenced};
use super::maps::StaticProgram;
use super::section_name::SectionKind;
use crate::isa::{Imm64, Insn};
use crate::map::{InitialEntry, InitialValue, MapSpec};
use crate::module::{Module, Program, RefusedProgram, SkippedProgram};

/// The programs of an object, each with the function that it starts with.
#[derive(Debug, Default)]
pub(super) struct Programs {
    usable: Vec<(usize, Program)>,
    refused: Vec<(usize, RefusedProgram)>,
    skipped: Vec<SkippedProgram>,
}

impl Programs {
    /// Links every function that is a program, of those whose types are decoded here; `kind` says
    /// what a section of a name holds.
    pub(super) fn link(
        elf: &Elf,
        table: &CodeTable,
        btf: Option<&Btf>,
        kind: fn(&str) -> SectionKind,
    ) -> Result<Self, ObjectError> {
        let mut programs = Self::default();
        let mut linker = Linker::new(table, btf);
        let referenced = referenced(table);
        for (index, code) in table.functions.iter().enumerate() {
            let section = elf.sections[code.section].name;
            // Static functions that are called are subprograms wherever they stand.
            if code.local && referenced.contains(&index) {
                continue;
            }
            match kind(section) {
                SectionKind::Subprograms => {}
                SectionKind::Programs {
                    program_type,
                    attach,
                    fragments,
                } => match linker.link(index)? {
                    Ok(linked) => {
                        let program = Program {
                            name: code.name.to_owned(),
                            section: section.to_owned(),
                            program_type,
                            attach,
                            fragments,
                            insns: linked.insns,
                            functions: linked.functions,
                            lines: linked.lines,
                            unresolved: linked.unresolved,
                        };
                        programs.usable.push((index, program));
                    }
                    Err(error) => programs.refuse(index, code.name, section, error),
                },
                SectionKind::Other(program_type) => {
                    let reason = format!("program type {program_type} is not supported");
                    programs.skip(code, section, reason);
                }
                SectionKind::Unknown => {
                    let reason = "no program type has this section name".to_owned();
                    programs.skip(code, section, reason);
                }
            }
        }
        Ok(programs)
    }

    fn refuse(&mut self, function: usize, name: &str, section: &str, error: ProgramError) {
        let refused = RefusedProgram {
            name: name.to_owned(),
            section: section.to_owned(),
            error,
        };
        self.refused.push((function, refused));
    }

    fn skip(&mut self, code: &Code, section: &str, reason: String) {
        self.skipped.push(SkippedProgram {
            name: code.name.to_owned(),
            section: section.to_owned(),
            reason,
        });
    }

    /// Fills program arrays with the programs that their declarations name. Where such a program
    /// cannot be used, neither can those that use the array, and so on.
    pub(super) fn fill_arrays(
        &mut self,
        table: &CodeTable,
        values: &[StaticProgram],
        maps: &mut [MapSpec],
    ) {
        let mut by_program: BTreeMap<Option<usize>, Vec<&StaticProgram>> = BTreeMap::new();
        for value in values {
            let function = table.function_at(value.place.0, value.place.1);
            by_program.entry(function).or_default().push(value);
        }
        self.refuse_users(&by_program, maps);
        for (index, (function, _)) in self.usable.iter().enumerate() {
            for value in by_program.get(&Some(*function)).into_iter().flatten() {
                maps[value.map as usize].initial.push(InitialEntry {
                    key: (value.slot as u32).to_le_bytes().to_vec(),
                    value: InitialValue::Program(index as u32),
                });
            }
        }
    }

    /// Refuses the programs that use an array with a program that cannot be used.
    fn refuse_users(
        &mut self,
        by_program: &BTreeMap<Option<usize>, Vec<&StaticProgram>>,
        maps: &[MapSpec],
    ) {
        let users = self.users();
        let mut usable: BTreeSet<usize> = self.usable.iter().map(|(entry, _)| *entry).collect();
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        for (function, refused) in &self.refused {
            reasons.insert(*function, refused.error.to_string());
        }
        let mut errors = BTreeMap::new();
        let unusable = |function: &&Option<usize>| function.is_none_or(|f| !usable.contains(&f));
        let mut open: Vec<_> = by_program.keys().filter(unusable).copied().collect();
        while let Some(function) = open.pop() {
            let reason = function.and_then(|function| reasons.get(&function).cloned());
            let reason =
                reason.unwrap_or_else(|| "it is no program of a supported type".to_owned());
            for value in by_program.get(&function).into_iter().flatten() {
                for (user, insn) in users.get(&value.map).into_iter().flatten() {
                    if !usable.remove(user) {
                        continue;
                    }
                    let map = maps[value.map as usize].name.clone();
                    let program = value.symbol.to_owned();
                    let kind = ProgramErrorKind::StaticValue {
                        map,
                        program,
                        reason: reason.clone(),
                    };
                    errors.insert(*user, (*insn, kind));
                    reasons.insert(*user, reason.clone());
                    open.push(Some(*user));
                }
            }
        }
        for (function, program) in std::mem::take(&mut self.usable) {
            let Some((insn, kind)) = errors.remove(&function) else {
                self.usable.push((function, program));
                continue;
            };
            let error = ProgramError {
                function: program.name.clone(),
                insn,
                place: program
                    .line_of(insn)
                    .map(|line| format!("{}:{}", line.file, line.line).into()),
                kind,
            };
            self.refuse(function, &program.name, &program.section, error);
        }
    }

    /// By map: the usable programs that refer to it, each with the first slot that does.
    fn users(&self) -> BTreeMap<u32, BTreeMap<usize, usize>> {
        let mut users: BTreeMap<u32, BTreeMap<usize, usize>> = BTreeMap::new();
        for (function, program) in &self.usable {
            for (slot, map) in program.map_references() {
                let users = users.entry(map).or_default();
                users.entry(*function).or_insert(slot);
            }
        }
        users
    }

    /// Leaves out the maps that only programs use which are left out themselves: their types may
    /// be for other program types.
    pub(super) fn drop_maps(&mut self, table: &CodeTable, maps: &mut Vec<MapSpec>) {
        let programs = self
            .usable
            .iter()
            .flat_map(|(_, program)| program.map_references());
        let mut open: Vec<u32> = programs.map(|(_, map)| map).collect();
        let mut used = BTreeSet::new();
        while let Some(map) = open.pop() {
            if used.insert(map) {
                let entries = maps[map as usize].initial.iter();
                open.extend(entries.filter_map(|entry| match entry.value {
                    InitialValue::Map(inner) => Some(inner),
                    InitialValue::Bytes(_) | InitialValue::Program(_) => None,
                }));
            }
        }
        let referenced = table.referenced_maps();
        let kept = |map: &u32| used.contains(map) || !referenced.contains(map);
        let kept: Vec<u32> = (0..maps.len() as u32).filter(kept).collect();
        let renumbered = |map: u32| kept.binary_search(&map).map_or(map, |index| index as u32);
        for insn in self
            .usable
            .iter_mut()
            .flat_map(|(_, program)| &mut program.insns)
        {
            if let Insn::LoadImm64 {
                value: Imm64::Map(map) | Imm64::MapValue { map, .. },
                ..
            } = insn
            {
                *map = renumbered(*map);
            }
        }
        let mut index = 0..;
        maps.retain(|_| {
            index
                .next()
                .is_some_and(|index| kept.binary_search(&index).is_ok())
        });
        for entry in maps.iter_mut().flat_map(|map| &mut map.initial) {
            if let InitialValue::Map(inner) = &mut entry.value {
                *inner = renumbered(*inner);
            }
        }
    }

    /// Hands the programs over to the module.
    pub(super) fn into_module(self, module: &mut Module) {
        module.programs = self
            .usable
            .into_iter()
            .map(|(_, program)| program)
            .collect();
        module.refused = self
            .refused
            .into_iter()
            .map(|(_, refused)| refused)
            .collect();
        module.skipped = self.skipped;
    }
}
