//! Entry functions to programs: each gets the subprograms that it uses, appended in libbpf's
//! order, and the source lines of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::btf::Btf;
use super::code::{Code, CodeTable, Linked};
use super::core_relocation;
use super::error::{ObjectError, ProgramError};
use crate::isa::{CallTarget, Imm64, Insn, function_starts};
use crate::module::{Function, LineInfo, Unresolved};

/// Most slots that all programs of an object have together: subprograms are copied into every
/// program that uses them, which a hostile object could use to fill the memory.
const MAX_SLOTS: usize = 1 << 22;
/// Bytes of a source line that are kept.
const MAX_TEXT: usize = 1024;

/// Links programs one by one.
pub(super) struct Linker<'e, 'a> {
    table: &'e CodeTable<'e, 'a>,
    btf: Option<&'e Btf>,
    texts: BTreeMap<u32, Arc<str>>,
    slots_left: usize,
}

/// A linked program: the part that does not depend on its section's name.
#[derive(Debug, Default)]
pub(super) struct LinkedProgram {
    pub(super) insns: Vec<Insn>,
    pub(super) functions: Vec<Function>,
    pub(super) lines: Vec<LineInfo>,
    pub(super) unresolved: Vec<Unresolved>,
}

impl LinkedProgram {
    /// Adds the functions that are no more than a label inside another.
    fn add_labelled_functions(&mut self) {
        for start in function_starts(&self.insns) {
            let start = start as u32;
            let place = self.functions.partition_point(|known| known.start < start);
            if self
                .functions
                .get(place)
                .is_none_or(|known| known.start != start)
            {
                let function = Function {
                    name: String::new(),
                    start,
                    btf_id: None,
                };
                self.functions.insert(place, function);
            }
        }
    }
}

impl<'e, 'a> Linker<'e, 'a> {
    pub(super) fn new(table: &'e CodeTable<'e, 'a>, btf: Option<&'e Btf>) -> Self {
        Self {
            table,
            btf,
            texts: BTreeMap::new(),
            slots_left: MAX_SLOTS,
        }
    }

    /// Links the program that starts with this function. A subprogram is appended when the first
    /// instruction that refers to it is met, and its own references are followed before the rest.
    pub(super) fn link(
        &mut self,
        entry: usize,
    ) -> Result<Result<LinkedProgram, ProgramError>, ObjectError> {
        let mut program = LinkedProgram::default();
        let mut starts = BTreeMap::new();
        let mut open = Vec::new();
        let mut next = Some(entry);
        while next.is_some() || !open.is_empty() {
            if let Some(function) = next.take() {
                let code = &self.table.functions[function];
                self.slots_left = self
                    .slots_left
                    .checked_sub(code.len)
                    .ok_or(ObjectError::TooLarge { limit: MAX_SLOTS })?;
                starts.insert(function, program.insns.len());
                open.push((function, 0));
                if let Err(error) = self.append(code, &mut program) {
                    return Ok(Err(error));
                }
            }
            let Some((function, slot)) = open.last_mut() else {
                break;
            };
            let code = &self.table.functions[*function];
            if *slot == code.len {
                open.pop();
                continue;
            }
            let at = starts[function] + *slot;
            match self.table.link(code, *slot, program.insns[at]) {
                Ok(Linked::Done(insn)) => program.insns[at] = insn,
                Ok(Linked::Function(target)) => {
                    let Some(start) = starts.get(&target) else {
                        next = Some(target);
                        continue;
                    };
                    refer(&mut program.insns[at], at, *start);
                }
                Ok(Linked::Missing) => {
                    let what = self.table.missing(code, *slot);
                    program.insns[at] = core_relocation::POISON;
                    program.unresolved.push(Unresolved {
                        insn: at as u32,
                        what,
                    });
                }
                Err(error) => return Ok(Err(error)),
            }
            *slot += 1;
        }
        program.add_labelled_functions();
        Ok(Ok(program))
    }

    fn append(&mut self, code: &'e Code, program: &mut LinkedProgram) -> Result<(), ProgramError> {
        let start = program.insns.len();
        program.insns.extend(self.table.checked(code)?);
        let unresolved = code.unresolved.iter().map(|found| Unresolved {
            insn: start as u32 + found.insn,
            what: found.what.clone(),
        });
        program.unresolved.extend(unresolved);
        let info = self.table.section_info(code);
        let btf_id = info.and_then(|info| {
            let functions = &info.functions;
            let found = functions.binary_search_by_key(&code.start, |record| record.slot);
            found.ok().map(|index| functions[index])
        });
        program.functions.push(Function {
            name: code.name.to_owned(),
            start: start as u32,
            btf_id: btf_id.map(|record| record.btf_id),
        });
        let (Some(info), Some(btf)) = (info, self.btf) else {
            return Ok(());
        };
        let first = info.lines.partition_point(|line| line.slot < code.start);
        let lines = info.lines[first..].iter();
        for line in lines.take_while(|line| line.slot < code.start + code.len) {
            program.lines.push(LineInfo {
                insn: (start + line.slot - code.start) as u32,
                file: self.text(btf, line.file),
                line: line.line,
                column: line.column,
                text: self.text(btf, line.text),
                btf_offsets: (line.file, line.text),
            });
        }
        Ok(())
    }

    /// A string of the BTF, shared between the lines that have it.
    fn text(&mut self, btf: &Btf, offset: u32) -> Arc<str> {
        let text = self.texts.entry(offset).or_insert_with(|| {
            let text = btf.string(offset).unwrap_or_default();
            text[..text.floor_char_boundary(MAX_TEXT)].into()
        });
        text.clone()
    }
}

/// Functions that some other function calls or takes the address of.
pub(super) fn referenced(table: &CodeTable) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (index, code) in table.functions.iter().enumerate() {
        for (slot, insn) in code.insns.iter().flatten().enumerate() {
            if let Ok(Linked::Function(target)) = table.link(code, slot, *insn)
                && target != index
            {
                found.insert(target);
            }
        }
    }
    found
}

/// Makes the call or address in the slot `at` refer to a function that starts at `start`.
fn refer(insn: &mut Insn, at: usize, start: usize) {
    let offset = start as i32 - at as i32 - 1;
    match insn {
        Insn::Call { target } => *target = CallTarget::Local(offset),
        Insn::LoadImm64 { value, .. } => *value = Imm64::Function { offset },
        _ => {}
    }
}
