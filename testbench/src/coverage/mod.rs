//! What the interpreter counted, by source line and function: the model behind the reports.
//!
//! Text and place of a line come from the object's line information, never from files.

pub mod html;
pub mod lcov;
pub mod output;
pub mod profile;

use std::collections::BTreeMap;

use iom_backends::interpreter::{Counts, ProgramCounts, SlotCount};
use iom_core::isa::Insn;
use iom_core::module::{LineInfo, Module, Program};

/// An instruction of a module: index of the program, slot.
pub type Place = (usize, usize);

/// Counts of a module's programs, by line and function.
#[derive(Debug)]
pub struct Coverage<'a> {
    /// The module.
    pub module: &'a Module,
    /// What the interpreter counted.
    pub counts: &'a Counts,
    /// How many instructions ran.
    pub executed: u64,
    /// Lines by file and number.
    pub files: BTreeMap<&'a str, BTreeMap<u32, Line<'a>>>,
    /// Functions in the order of programs and of their place inside them.
    pub functions: Vec<Function<'a>>,
}

/// A source line.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// Its text.
    pub text: &'a str,
    /// How often it ran: in each function as often as its most frequent instruction.
    pub executed: u64,
    /// How many of its instructions ran.
    pub instructions: u64,
    /// Its instructions.
    pub places: Vec<Place>,
}

/// A function of a program.
#[derive(Debug)]
pub struct Function<'a> {
    /// Name; that of the program where the object does not say.
    pub name: &'a str,
    /// Program by index.
    pub program: usize,
    /// File and line where it starts, as far as that is known.
    pub source: Option<(&'a str, u32)>,
    /// How often it was called, or its program reached.
    pub calls: u64,
    /// How many of its instructions ran.
    pub instructions: u64,
}

impl<'a> Coverage<'a> {
    /// Sorts counts by line and function.
    pub fn new(module: &'a Module, counts: &'a Counts) -> Self {
        let mut coverage = Self {
            module,
            counts,
            executed: counts.programs.iter().map(ProgramCounts::executed).sum(),
            files: BTreeMap::new(),
            functions: Vec::new(),
        };
        for (index, (program, counts)) in module.programs.iter().zip(&counts.programs).enumerate() {
            coverage.add_program(index, program, counts);
        }
        coverage
    }

    fn add_program(&mut self, index: usize, program: &'a Program, counts: &ProgramCounts) {
        for (number, function) in program.functions.iter().enumerate() {
            let start = function.start as usize;
            let next = program.functions.get(number + 1);
            let end = next.map_or(program.insns.len(), |next| next.start as usize);
            let slots = counts.slots.get(start..end).unwrap_or_default();
            self.functions.push(Function {
                name: function_name(program, number),
                program: index,
                source: source_of(program, number, start, end),
                calls: counts.calls(program, start),
                instructions: slots.iter().map(|count| count.executed).sum(),
            });
            self.add_lines(index, program, slots, start);
        }
    }

    /// Adds the instructions of a function to their lines.
    fn add_lines(&mut self, index: usize, program: &'a Program, slots: &[SlotCount], start: usize) {
        let mut most: BTreeMap<(&str, u32), u64> = BTreeMap::new();
        for (slot, count) in (start..).zip(slots) {
            if program.insns[slot] == Insn::WideTail {
                continue;
            }
            let Some(info) = program.line_of(slot) else {
                continue;
            };
            let line = self.line(info);
            line.instructions += count.executed;
            line.places.push((index, slot));
            let most = most.entry((&info.file, info.line)).or_default();
            *most = count.executed.max(*most);
        }
        for ((file, number), executed) in most {
            let lines = self.files.entry(file).or_default();
            lines.entry(number).or_default().executed += executed;
        }
    }

    fn line(&mut self, info: &'a LineInfo) -> &mut Line<'a> {
        let lines = self.files.entry(&info.file).or_default();
        let line = lines.entry(info.line).or_default();
        if line.text.is_empty() {
            line.text = &info.text;
        }
        line
    }

    /// Counts of an instruction.
    pub fn count(&self, (program, slot): Place) -> SlotCount {
        self.counts.programs[program].slots[slot]
    }

    /// Whether an instruction goes one of two ways.
    pub fn is_branch(&self, (program, slot): Place) -> bool {
        let insn = self.module.programs[program].insns[slot];
        matches!(insn, Insn::JumpIf { .. } | Insn::MayGoto { .. })
    }

    /// Share of all instructions that ran, as text.
    pub fn share(&self, instructions: u64) -> String {
        let total = u128::from(self.executed.max(1));
        let per_mille = (u128::from(instructions) * 1000 + total / 2) / total;
        format!("{}.{}%", per_mille / 10, per_mille % 10)
    }

    /// How many packets ran.
    pub fn packets(&self) -> u64 {
        self.counts.lengths.values().sum()
    }

    /// Names of the programs that have no line information.
    pub fn without_lines(&self) -> Vec<&'a str> {
        let programs = self.module.programs.iter();
        let without = programs.filter(|program| program.lines.is_empty());
        without.map(|program| program.name.as_str()).collect()
    }

    /// Median and maximum of the instructions that a packet runs; `None` without packets.
    pub fn instructions_per_packet(&self) -> Option<(u64, u64)> {
        let (max, _) = self.counts.lengths.last_key_value()?;
        let middle = self.packets().div_ceil(2);
        let mut seen = 0;
        let median = self.counts.lengths.iter().find(|(_, packets)| {
            seen += **packets;
            seen >= middle
        });
        Some((*median?.0, *max))
    }
}

fn function_name(program: &Program, number: usize) -> &str {
    match program.functions[number].name.as_str() {
        "" if number == 0 => &program.name,
        "" => "(no name)",
        name => name,
    }
}

/// Where a function starts. Its first instruction may come from a function that is inlined there:
/// the line that names it is better, and without one, the first line in the file of its exit.
fn source_of(program: &Program, number: usize, start: usize, end: usize) -> Option<(&str, u32)> {
    let own = |line: &&LineInfo| (start..end).contains(&(line.insn as usize));
    let lines = || program.lines.iter().filter(own);
    let head = format!("{}(", function_name(program, number));
    let exit = (start..end)
        .rev()
        .find(|slot| program.insns[*slot] == Insn::Exit);
    let file = exit.and_then(|exit| Some(&program.line_of(exit)?.file));
    let line = lines()
        .find(|line| names(&line.text, &head))
        .or_else(|| lines().find(|line| Some(&line.file) == file))
        .or_else(|| program.line_of(start))?;
    Some((&line.file, line.line))
}

/// Whether a line has a name and the parenthesis behind it, and not as the end of a longer name.
fn names(text: &str, head: &str) -> bool {
    let is_part = |before: char| before.is_alphanumeric() || before == '_';
    let mut places = text.match_indices(head);
    places.any(|(at, _)| !text[..at].ends_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_function_by_its_whole_name() {
        assert!(names("static int next(struct xdp_md *ctx)", "next("));
        assert!(names("return do_next() + next(ctx);", "next("));
        assert!(!names("return do_next(ctx);", "next("));
        assert!(!names("int next;", "next("));
    }
}
