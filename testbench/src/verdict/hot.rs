//! Where verifying spends its time: visits and states by function, source line and instruction.

use std::collections::BTreeMap;

use iom_core::module::Program;
use iom_core::verifier::Visits;

use super::Effort;

/// What a function took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionEffort {
    /// Name; empty if the object does not say.
    pub name: String,
    /// First slot.
    pub start: u32,
    /// Bytes of stack, where a path reached it.
    pub stack: Option<u64>,
    /// Instructions looked at.
    pub visits: u64,
    /// States remembered.
    pub states: u64,
}

/// What a source line took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineEffort {
    /// File name as compiled.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Text of the line.
    pub text: String,
    /// Instructions looked at.
    pub visits: u64,
    /// States remembered.
    pub states: u64,
}

fn sum(visits: &[Visits]) -> (u64, u64) {
    let add = |sum: (u64, u64), one: &Visits| (sum.0 + one.visits, sum.1 + one.states);
    visits.iter().fold((0, 0), add)
}

/// What each function took, in the order of the program; none for the kernel.
pub fn functions(program: &Program, effort: &Effort) -> Vec<FunctionEffort> {
    let mut depths = effort.stack_depth.split('+').map(str::parse::<u64>);
    let mut found = Vec::new();
    for (index, function) in program.functions.iter().enumerate() {
        let next = program.functions.get(index + 1);
        let end = next.map_or(program.insns.len(), |next| next.start as usize);
        let Some(visits) = effort.visits.get(function.start as usize..end) else {
            continue;
        };
        let (visits, states) = sum(visits);
        let reached = index == 0 || visits > 0;
        found.push(FunctionEffort {
            name: function.name.clone(),
            start: function.start,
            stack: reached.then(|| depths.next()?.ok()).flatten(),
            visits,
            states,
        });
    }
    found
}

/// The instructions that were looked at most, with what they took.
pub fn hottest_insns(effort: &Effort, count: usize) -> Vec<(usize, Visits)> {
    let slots = effort.visits.iter().copied().enumerate();
    let mut slots: Vec<_> = slots.filter(|(_, visits)| visits.visits > 0).collect();
    slots.sort_by_key(|(slot, visits)| (std::cmp::Reverse(visits.visits), *slot));
    slots.truncate(count);
    slots
}

/// The source lines that were looked at most.
pub fn hottest_lines(program: &Program, effort: &Effort, count: usize) -> Vec<LineEffort> {
    let mut lines: BTreeMap<(&str, u32), LineEffort> = BTreeMap::new();
    for (slot, visits) in effort.visits.iter().enumerate() {
        let Some(line) = program.line_of(slot).filter(|_| visits.visits > 0) else {
            continue;
        };
        let entry = lines.entry((&line.file, line.line));
        let sum = entry.or_insert_with(|| LineEffort {
            file: line.file.to_string(),
            line: line.line,
            text: line.text.trim().to_owned(),
            visits: 0,
            states: 0,
        });
        sum.visits += visits.visits;
        sum.states += visits.states;
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.visits));
    lines.truncate(count);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::by_sim;
    use iom_core::isa::assemble;
    use iom_core::verifier::Options;

    #[test]
    fn visits_add_up() {
        let source = "r6 = 0\nagain:\ncall twice\nr6 += 1\nif r6 < 8 goto again\nr0 = 2\nexit\n\
            twice:\nr0 = 1\nr0 <<= 1\nexit\n";
        let module = assemble(source, "test.bpf").expect("assembles");
        let program = &module.programs[0];
        let verdict = by_sim(&module, 0, Options::default(), 0);
        assert!(verdict.accepted(), "{:?}", verdict.reasons);
        let functions = functions(program, &verdict.effort);
        let visits: Vec<_> = functions.iter().map(|function| function.visits).collect();
        assert_eq!(visits.iter().sum::<u64>(), verdict.effort.processed);
        assert_eq!(visits[1], 24);
        let hottest = hottest_insns(&verdict.effort, 2);
        assert_eq!(hottest[0].1.visits, 8);
        let lines = hottest_lines(program, &verdict.effort, 100);
        let total: u64 = lines.iter().map(|line| line.visits).sum();
        assert_eq!(total, verdict.effort.processed);
    }
}
