//! Verdicts as text.

use std::io::{self, Write};

use iom_core::module::{Module, Program};

use super::hot::{functions, hottest_insns, hottest_lines};
use super::{Effort, Reason, Verdict, instruction};

/// Writes a verdict: what is wrong first, then where, why and what to do.
///
/// # Errors
/// Output that cannot be written.
pub fn write(
    module: &Module,
    program: &Program,
    verdict: &Verdict,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(log) = &verdict.log {
        out.write_all(log.as_bytes())?;
    }
    let name = format!("{}: {}", module.name, program.name);
    match verdict.reasons.split_first() {
        None => writeln!(out, "{name}: accepted")?,
        Some((first, others)) => {
            writeln!(out, "{name}: refused: {}", first.what)?;
            write_reason(module, program, first, out)?;
            for other in others {
                writeln!(out, "  also: {}", other.what)?;
                write_reason(module, program, other, out)?;
            }
        }
    }
    write_effort(&verdict.effort, out)
}

fn write_reason(
    module: &Module,
    program: &Program,
    reason: &Reason,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(insn) = reason.insn {
        let text = instruction(module, program, insn).unwrap_or_default();
        writeln!(out, "  at instruction {insn}: {text}")?;
        if let Some(line) = program.line_of(insn) {
            writeln!(
                out,
                "     {}:{}: {}",
                line.file,
                line.line,
                line.text.trim()
            )?;
        }
    }
    if !reason.history.is_empty() {
        writeln!(out, "  how it came to this:")?;
    }
    let mut before = None;
    for event in &reason.history {
        // Where the source is the assembly itself, the line says nothing new.
        let text = instruction(module, program, event.insn).unwrap_or_default();
        let place = program
            .line_of(event.insn)
            .filter(|line| line.text.trim() != text);
        let place = place.map(|line| format!("{}:{}: {}", line.file, line.line, line.text.trim()));
        if place.is_none() {
            writeln!(out, "    {:>5}: {text}: {}", event.insn, event.text)?;
            continue;
        }
        if place.is_some() && place != before {
            writeln!(out, "     {}", place.as_deref().unwrap_or_default())?;
        }
        writeln!(out, "    {:>5}: {}", event.insn, event.text)?;
        before = place;
    }
    if let Some(fix) = &reason.fix {
        writeln!(out, "  what to do: {fix}")?;
    }
    for message in &reason.messages {
        writeln!(out, "  Linux: {message}")?;
    }
    Ok(())
}

fn write_effort(effort: &Effort, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "  {} instructions processed, {} states ({} at once, {} at one instruction), stack {}",
        effort.processed,
        effort.total_states,
        effort.peak_states,
        effort.max_states_per_insn,
        effort.stack_depth
    )?;
    match effort.time_us {
        Some(time) => writeln!(out, ", {} ms", time as f64 / 1000.0),
        None => writeln!(out),
    }
}

/// Writes where verifying spent its time.
///
/// # Errors
/// Output that cannot be written.
pub fn write_hot(
    module: &Module,
    program: &Program,
    effort: &Effort,
    count: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let all = effort.processed.max(1);
    let share = |visits: u64| 100.0 * visits as f64 / all as f64;
    writeln!(out, "  functions:          visits   states  stack")?;
    for function in functions(program, effort) {
        let (visits, stack) = (function.visits, function.stack.unwrap_or(0));
        let states = function.states;
        let name = if function.name.is_empty() {
            "(no name)"
        } else {
            &function.name
        };
        writeln!(
            out,
            "    {:5.1} %  {visits:>13} {states:>8} {stack:>6}  {name}",
            share(visits)
        )?;
    }
    let lines = hottest_lines(program, effort, count);
    if !lines.is_empty() {
        writeln!(out, "  source lines:")?;
    }
    for line in lines {
        let (visits, states) = (line.visits, line.states);
        let place = format!("{}:{}: {}", line.file, line.line, line.text);
        writeln!(
            out,
            "    {:5.1} %  {visits:>13} {states:>8}  {place}",
            share(visits)
        )?;
    }
    writeln!(out, "  instructions:")?;
    for (slot, visits) in hottest_insns(effort, count) {
        let text = instruction(module, program, slot).unwrap_or_default();
        let (percent, states) = (share(visits.visits), visits.states);
        let visits = visits.visits;
        writeln!(
            out,
            "    {percent:5.1} %  {visits:>13} {states:>8}  {slot}: {text}"
        )?;
    }
    Ok(())
}
