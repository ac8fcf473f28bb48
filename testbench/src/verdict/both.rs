//! Our verdict beside the kernel's: where they part.

use std::io::{self, Write};

use iom_core::isa::Insn;
use iom_core::module::Program;
use serde_json::{Value, json};

use super::Verdict;
use super::kernel_log::instruction_slot;

/// Something that both verifiers say, differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: &'static str,
    /// Ours.
    pub sim: String,
    /// The kernel's.
    pub kernel: String,
}

/// How two logs compare, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogComparison {
    /// Lines of the longer log.
    pub lines: usize,
    /// Lines that both have, in the same order.
    pub equal: usize,
    /// The first lines that differ, and the instruction that came last before them.
    pub first: Option<LogDifference>,
}

/// The first place where two logs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDifference {
    /// Slot of the instruction that was logged last.
    pub insn: Option<u64>,
    /// Our line; none if our log ended.
    pub sim: Option<String>,
    /// The kernel's.
    pub kernel: Option<String>,
}

/// What differs, the verdict first.
pub fn differences(sim: &Verdict, kernel: &Verdict) -> Vec<Difference> {
    let verdict = |verdict: &Verdict| {
        if verdict.accepted() {
            "accept"
        } else {
            "reject"
        }
    };
    let first = |verdict: &Verdict| verdict.reasons.first().cloned().unwrap_or_default();
    let message = |verdict: &Verdict| first(verdict).messages.join("; ");
    let insn = |verdict: &Verdict| {
        first(verdict)
            .insn
            .map_or("none".to_owned(), |i| i.to_string())
    };
    let all = [
        (
            "verdict",
            verdict(sim).to_owned(),
            verdict(kernel).to_owned(),
        ),
        ("message", message(sim), message(kernel)),
        ("instruction", insn(sim), insn(kernel)),
        (
            "processed",
            sim.effort.processed.to_string(),
            kernel.effort.processed.to_string(),
        ),
        (
            "total_states",
            sim.effort.total_states.to_string(),
            kernel.effort.total_states.to_string(),
        ),
        (
            "peak_states",
            sim.effort.peak_states.to_string(),
            kernel.effort.peak_states.to_string(),
        ),
        (
            "max_states_per_insn",
            sim.effort.max_states_per_insn.to_string(),
            kernel.effort.max_states_per_insn.to_string(),
        ),
        (
            "stack_depth",
            sim.effort.stack_depth.clone(),
            kernel.effort.stack_depth.clone(),
        ),
    ];
    // Errors that are found before any path is followed have no statistics in the kernel.
    let early = kernel.effort.stack_depth.is_empty();
    let counts = |what: &str| what == "stack_depth" && early;
    let differ = all
        .into_iter()
        .filter(|(what, sim, kernel)| sim != kernel && !counts(what));
    differ
        .map(|(what, sim, kernel)| Difference { what, sim, kernel })
        .collect()
}

/// Compares the logs, addresses of maps and the kernel's notes on stack liveness aside.
pub fn compare_logs(program: &Program, sim: &str, kernel: &str) -> LogComparison {
    let (sim, kernel) = (lines(program, sim), lines(program, kernel));
    let pairs = sim.iter().zip(&kernel);
    let same = pairs.take_while(|(sim, kernel)| sim == kernel).count();
    let (rest_sim, rest_kernel) = (&sim[same..], &kernel[same..]);
    let differ = !rest_sim.is_empty() || !rest_kernel.is_empty();
    LogComparison {
        lines: sim.len().max(kernel.len()),
        equal: same + equal_lines(rest_sim, rest_kernel),
        first: differ.then(|| LogDifference {
            insn: sim[..same]
                .iter()
                .rev()
                .find_map(|line| instruction_slot(line)),
            sim: rest_sim.first().cloned(),
            kernel: rest_kernel.first().cloned(),
        }),
    }
}

/// Lines that both have in the same order, where neither leaves out many at once.
fn equal_lines(mut sim: &[String], mut kernel: &[String]) -> usize {
    const WINDOW: usize = 64;
    let mut equal = 0;
    while let (Some(left), Some(right)) = (sim.first(), kernel.first()) {
        if left == right {
            equal += 1;
            (sim, kernel) = (&sim[1..], &kernel[1..]);
            continue;
        }
        let meets = |skipped: usize| {
            (0..=skipped).find(|left| {
                let pair = sim.get(*left).zip(kernel.get(skipped - left));
                pair.is_some_and(|(sim, kernel)| sim == kernel)
            })
        };
        let found = (1..WINDOW).find_map(|skipped| Some((meets(skipped)?, skipped)));
        let (left, right) = found.map_or((1, 1), |(left, skipped)| (left, skipped - left));
        (sim, kernel) = (&sim[left..], &kernel[right..]);
    }
    equal
}

fn lines(program: &Program, log: &str) -> Vec<String> {
    let compared = log.lines().filter(|line| !is_aside(line));
    compared.map(|line| normal(program, line)).collect()
}

/// Lines that are not compared: the time, and the kernel's notes on stack liveness.
fn is_aside(line: &str) -> bool {
    let note = line
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(") "));
    let liveness = note.is_some_and(|(chain, rest)| {
        let chain = chain.chars().all(|c| c.is_ascii_digit() || c == ',');
        chain && (rest.starts_with("frame ") || rest.starts_with("live stack"))
    });
    let statistics = ["verification time", "stack depth"];
    line.is_empty() || liveness || statistics.iter().any(|start| line.starts_with(start))
}

/// A line without the address of a map and the spaces that make columns.
fn normal(program: &Program, line: &str) -> String {
    let (insn, state) = match line.split_once(" ;") {
        Some((insn, state)) => (insn.trim_end(), Some(state.trim_end())),
        None => (line.trim_end(), None),
    };
    let is_map = |slot: u64| {
        let insn = program.insns.get(slot as usize);
        insn.is_some_and(|insn| {
            matches!(insn, Insn::LoadImm64 { .. }) && insn.map_reference().is_some()
        })
    };
    let words: Vec<_> = insn.split_whitespace().collect();
    let load = words.iter().position(|word| *word == "(18)");
    // The slot stands before the opcode, in the list of live registers before the registers.
    let numbers = load.map(|at| words[..at].iter().rev().take(2));
    let slot =
        numbers.and_then(|mut words| words.find_map(|word| word.strip_suffix(':')?.parse().ok()));
    let insn = match (slot.filter(|slot| is_map(*slot)), insn.rfind(" = 0x")) {
        (Some(_), Some(end)) => &insn[..end],
        _ => insn,
    };
    match state {
        Some(state) => format!("{insn} ;{state}"),
        None => insn.to_owned(),
    }
}

/// Both verdicts as JSON.
pub fn to_json(
    (sim, kernel): (Value, Value),
    differences: &[Difference],
    logs: Option<&LogComparison>,
) -> Value {
    let differences = differences.iter().map(|difference| {
        json!({ "what": difference.what, "sim": difference.sim, "kernel": difference.kernel })
    });
    let logs = logs.map(|logs| {
        let first = logs.first.as_ref();
        let first = first
            .map(|first| json!({ "insn": first.insn, "sim": first.sim, "kernel": first.kernel }));
        json!({ "lines": logs.lines, "equal": logs.equal, "first_difference": first })
    });
    json!({
        "version": 1,
        "program": sim["program"],
        "differences": differences.collect::<Vec<_>>(),
        "log": logs,
        "sim": sim,
        "kernel": kernel,
    })
}

/// Writes where the verifiers part.
///
/// # Errors
/// Output that cannot be written.
pub fn write(
    name: &str,
    differences: &[Difference],
    logs: Option<&LogComparison>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if differences.is_empty() {
        writeln!(out, "{name}: both verifiers say the same")?;
    } else {
        let what: Vec<_> = differences
            .iter()
            .map(|difference| difference.what)
            .collect();
        writeln!(out, "{name}: the verifiers part: {}", what.join(", "))?;
    }
    for Difference { what, sim, kernel } in differences {
        writeln!(out, "  {what}: sim {sim}, kernel {kernel}")?;
    }
    let Some(logs) = logs else {
        return Ok(());
    };
    writeln!(
        out,
        "  {} of {} lines of the logs are equal",
        logs.equal, logs.lines
    )?;
    if let Some(first) = &logs.first {
        let after = first
            .insn
            .map_or(String::new(), |insn| format!(" after instruction {insn}"));
        let ended = || "(the log ends)".to_owned();
        writeln!(out, "  they part{after}:")?;
        writeln!(
            out,
            "    sim     {}",
            first.sim.clone().unwrap_or_else(ended)
        )?;
        writeln!(
            out,
            "    kernel  {}",
            first.kernel.clone().unwrap_or_else(ended)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_compared_without_addresses_and_columns() {
        let module = iom_core::isa::assemble(
            ".map m hash key 4 value 8 max 1\nr1 = map[m] ll\nr2 = 0x5 ll\nr0 = 0\nexit\n",
            "test.bpf",
        );
        let program = &module.expect("assembles").programs[0];
        let sim = "0: (18) r1 = 0x0          ; R1=map\n2: (18) r2 = 0x5 ; R2=5\nx\n4: a\n";
        let kernel = "0: (18) r1 = 0xffff8881   ; R1=map\n2: (18) r2 = 0x5 ; R2=5\n\
            (0) frame 0 insn 7 +live -8\ny\nz\n4: a\nverification time 5 usec\n";
        let compared = compare_logs(program, sim, kernel);
        assert_eq!((compared.equal, compared.lines), (3, 5));
        let first = compared.first.expect("a difference");
        assert_eq!(first.insn, Some(2));
        assert_eq!(
            (first.sim.as_deref(), first.kernel.as_deref()),
            (Some("x"), Some("y"))
        );
        assert_eq!(compare_logs(program, sim, sim).first, None);
    }
}
