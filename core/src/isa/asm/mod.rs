//! The assembler: text as `docs/assembly.md` describes it to a [`Module`].

mod directive;
mod insn;
mod source;
mod token;

pub(super) use directive::{flags_text, kind_word};
pub(super) use token::{is_name, quoted};

use super::{CallTarget, Imm64, Insn, function_starts};
use crate::helper;
use crate::kfunc::Kfunc;
use crate::map::{InitialEntry, InitialValue, MapSpec};
use crate::module::{Function, LineInfo, Module, Program, ProgramType, XdpAttach};
use directive::{Directive, EntryValue, ProgramHeader, ProgramKind};
use insn::{Reference, ReferenceKind, Statement};
use source::{Line, Place};
use std::collections::HashMap;

/// A text that is not valid assembly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {kind}")]
pub struct AsmError {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// What is wrong there.
    pub kind: AsmErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum AsmErrorKind {
    #[error("found {found}, expected {expected}")]
    Syntax { found: String, expected: String },
    #[error("`{name}` is no label of this program")]
    UnknownLabel { name: String },
    #[error("`{name}` is neither a label of this program nor a helper")]
    UnknownCallee { name: String },
    #[error("no map is called `{name}`: declare it with `.map {name} TYPE key N value N max N`")]
    UnknownMap { name: String },
    #[error("no program is called `{name}`")]
    UnknownProgram { name: String },
    #[error("`{name}` is there already, on line {line}")]
    Duplicate { name: String, line: u32 },
    #[error(
        "`{name}` is {distance} slots away, too far for this instruction; `gotol` reaches further"
    )]
    OutOfReach { name: String, distance: i64 },
    #[error("this belongs to a map, but there is no `.map` before it")]
    NoMap,
}

/// Assembles a text. `file` names it in the source lines of the programs.
pub fn assemble(text: &str, file: &str) -> Result<Module, AsmError> {
    let mut assembler = Assembler {
        file,
        ..Assembler::default()
    };
    for (index, text) in text.lines().enumerate() {
        assembler.line(Line::new(index as u32 + 1, text))?;
    }
    assembler.finish()
}

/// What has been read so far.
#[derive(Default)]
struct Assembler<'a> {
    file: &'a str,
    license: Option<String>,
    maps: Vec<MapSpec>,
    map_names: Names,
    entries: Vec<Entry>,
    programs: Vec<Draft>,
    program_names: Names,
}

/// An entry of a map whose value may be a name.
struct Entry {
    map: usize,
    key: Vec<u8>,
    value: EntryValue,
    place: Place,
}

/// A program whose names are not looked up yet.
struct Draft {
    header: ProgramHeader,
    insns: Vec<Insn>,
    lines: Vec<LineInfo>,
    references: Vec<(usize, Reference, Place)>,
    labels: Names,
}

/// What a name stands for (slot or index), and the line that says so.
#[derive(Default)]
struct Names(HashMap<String, (usize, u32)>);

impl Names {
    fn get(&self, name: &str) -> Option<usize> {
        self.0.get(name).map(|(index, _)| *index)
    }

    fn define(&mut self, name: &str, index: usize, place: Place) -> Result<(), AsmError> {
        match self.0.insert(name.to_owned(), (index, place.line)) {
            None => Ok(()),
            Some((_, line)) => Err(place.error(AsmErrorKind::Duplicate {
                name: name.to_owned(),
                line,
            })),
        }
    }
}

impl Assembler<'_> {
    fn line(&mut self, line: Line<'_>) -> Result<(), AsmError> {
        let content = line.parse()?;
        for (label, place) in content.labels {
            let program = self.program();
            let slot = program.insns.len();
            program.labels.define(label, slot, place)?;
        }
        match content.item {
            None => Ok(()),
            Some(source::Item::Directive(directive)) => self.directive(directive, content.place),
            Some(source::Item::Statement(statement)) => {
                self.statement(statement, line, content.place);
                Ok(())
            }
        }
    }

    /// The program that statements go to; without a `.program` before it, an XDP program `main`.
    fn program(&mut self) -> &mut Draft {
        if self.programs.is_empty() {
            let kind = ProgramKind {
                program_type: ProgramType::Xdp,
                attach: XdpAttach::Device,
                fragments: false,
            };
            let header = ProgramHeader {
                name: "main".to_owned(),
                kind,
                section: None,
            };
            self.programs.push(Draft::new(header));
        }
        let last = self.programs.len() - 1;
        &mut self.programs[last]
    }

    fn statement(&mut self, statement: Statement, line: Line<'_>, place: Place) {
        let file = self.file.into();
        let program = self.program();
        let slot = program.insns.len();
        program.lines.push(LineInfo {
            insn: slot as u32,
            file,
            line: place.line,
            column: place.column,
            text: line.from(place).into(),
            btf_offsets: (0, 0),
        });
        if let Some(reference) = statement.reference {
            let place = line.place(reference.to_end);
            program.references.push((slot, reference, place));
        }
        program.insns.push(statement.insn);
        if matches!(statement.insn, Insn::LoadImm64 { .. }) {
            program.insns.push(Insn::WideTail);
        }
    }

    fn directive(&mut self, directive: Directive, place: Place) -> Result<(), AsmError> {
        match directive {
            Directive::License(license) => self.license = Some(license),
            Directive::Program(header) => {
                self.program_names
                    .define(&header.name, self.programs.len(), place)?;
                self.programs.push(Draft::new(header));
            }
            Directive::Map(spec) => {
                self.map_names.define(&spec.name, self.maps.len(), place)?;
                self.maps.push(spec);
            }
            Directive::Inner(spec) => {
                let outer = self.maps.last_mut();
                outer.ok_or_else(|| place.error(AsmErrorKind::NoMap))?.inner = Some(Box::new(spec));
            }
            Directive::Entry { key, value } => {
                let last = self.maps.len().checked_sub(1);
                let map = last.ok_or_else(|| place.error(AsmErrorKind::NoMap))?;
                self.entries.push(Entry {
                    map,
                    key,
                    value,
                    place,
                });
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Module, AsmError> {
        for Entry {
            map,
            key,
            value,
            place,
        } in std::mem::take(&mut self.entries)
        {
            let value = self.entry_value(value, place)?;
            self.maps[map].initial.push(InitialEntry { key, value });
        }
        let drafts = self.programs.into_iter();
        let programs = drafts
            .map(|draft| draft.finish(&self.map_names))
            .collect::<Result<_, _>>()?;
        Ok(Module {
            programs,
            maps: self.maps,
            license: self.license,
            ..Module::default()
        })
    }

    fn entry_value(&self, value: EntryValue, place: Place) -> Result<InitialValue, AsmError> {
        match value {
            EntryValue::Known(value) => Ok(value),
            EntryValue::ProgramNamed(name) => match self.program_names.get(&name) {
                Some(index) => Ok(InitialValue::Program(index as u32)),
                None => Err(place.error(AsmErrorKind::UnknownProgram { name })),
            },
            EntryValue::MapNamed(name) => match self.map_names.get(&name) {
                Some(index) => Ok(InitialValue::Map(index as u32)),
                None => Err(place.error(AsmErrorKind::UnknownMap { name })),
            },
        }
    }
}

impl Draft {
    fn new(header: ProgramHeader) -> Self {
        Self {
            header,
            insns: Vec::new(),
            lines: Vec::new(),
            references: Vec::new(),
            labels: Names::default(),
        }
    }

    fn finish(mut self, maps: &Names) -> Result<Program, AsmError> {
        for (slot, reference, place) in std::mem::take(&mut self.references) {
            let resolved = self.resolve(slot, reference, maps);
            self.insns[slot] = resolved.map_err(|kind| place.error(kind))?;
        }
        let functions = self.functions();
        let ProgramHeader {
            name,
            kind,
            section,
        } = self.header;
        let word = kind_word(kind.program_type, kind.attach, kind.fragments);
        Ok(Program {
            name,
            section: section.unwrap_or_else(|| word.to_owned()),
            program_type: kind.program_type,
            attach: kind.attach,
            fragments: kind.fragments,
            insns: self.insns,
            functions,
            lines: self.lines,
            unresolved: Vec::new(),
        })
    }

    /// The instruction with its name replaced by what it stands for.
    fn resolve(
        &self,
        slot: usize,
        reference: Reference,
        maps: &Names,
    ) -> Result<Insn, AsmErrorKind> {
        let insn = self.insns[slot];
        let name = reference.name;
        match (reference.kind, self.labels.get(&name)) {
            (ReferenceKind::Map, _) => match maps.get(&name) {
                Some(index) => Ok(with_map(insn, index as u32)),
                None => Err(AsmErrorKind::UnknownMap { name }),
            },
            (ReferenceKind::Label | ReferenceKind::Callee, Some(label)) => {
                let distance = label as i64 - slot as i64 - 1;
                with_distance(insn, distance).ok_or(AsmErrorKind::OutOfReach { name, distance })
            }
            (ReferenceKind::Label, None) => Err(AsmErrorKind::UnknownLabel { name }),
            (ReferenceKind::Callee, None) => {
                let helper = helper::by_name(&name).map(|helper| helper.number);
                let target = helper.map(CallTarget::Helper);
                let kfunc = || Kfunc::by_name(&name).map(CallTarget::Kernel);
                match target.or_else(kfunc) {
                    Some(target) => Ok(Insn::Call { target }),
                    None => Err(AsmErrorKind::UnknownCallee { name }),
                }
            }
        }
    }

    /// The entry has the program's name, the others that of their label.
    fn functions(&self) -> Vec<Function> {
        let mut labels: Vec<(usize, u32, &str)> = self
            .labels
            .0
            .iter()
            .map(|(name, (slot, line))| (*slot, *line, &**name))
            .collect();
        labels.sort_unstable();
        let function = |start: usize| {
            let label = labels.iter().find(|(slot, ..)| *slot == start);
            let name = match (start, label) {
                (0, _) => &self.header.name,
                (_, Some((_, _, label))) => *label,
                (_, None) => "",
            };
            Function {
                name: name.to_owned(),
                start: start as u32,
                btf_id: None,
            }
        };
        function_starts(&self.insns)
            .into_iter()
            .map(function)
            .collect()
    }
}

/// A wide load of this map.
fn with_map(insn: Insn, index: u32) -> Insn {
    match insn {
        Insn::LoadImm64 {
            dst,
            value: Imm64::MapValue { offset, .. },
        } => Insn::LoadImm64 {
            dst,
            value: Imm64::MapValue { map: index, offset },
        },
        Insn::LoadImm64 { dst, .. } => Insn::LoadImm64 {
            dst,
            value: Imm64::Map(index),
        },
        other => unreachable!("only wide loads refer to maps, not {other}"),
    }
}

/// A jump, call or function address over this distance; `None` if it does not fit.
fn with_distance(insn: Insn, distance: i64) -> Option<Insn> {
    let far = i32::try_from(distance).ok()?;
    let near = i16::try_from(distance);
    Some(match insn {
        Insn::Jump { long: true, .. } => Insn::Jump {
            off: far,
            long: true,
        },
        Insn::Jump { long: false, .. } => Insn::Jump {
            off: near.ok()?.into(),
            long: false,
        },
        Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            ..
        } => Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off: near.ok()?,
        },
        Insn::MayGoto { .. } => Insn::MayGoto { off: near.ok()? },
        Insn::Call { .. } => Insn::Call {
            target: CallTarget::Local(far),
        },
        Insn::LoadImm64 { dst, .. } => Insn::LoadImm64 {
            dst,
            value: Imm64::Function { offset: far },
        },
        other => unreachable!("{other} refers to no label"),
    })
}

#[cfg(test)]
mod tests;
