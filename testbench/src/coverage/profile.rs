//! Where a program spends its instructions, as text: functions and source lines, hottest first.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Coverage;

/// Most lines that are listed.
const LINES_SHOWN: usize = 40;

/// Writes the profile.
///
/// # Errors
/// The output cannot be written.
pub fn write(coverage: &Coverage<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{} instructions for {} packets",
        coverage.executed,
        coverage.packets()
    )?;
    if let Some((median, max)) = coverage.instructions_per_packet() {
        writeln!(
            out,
            "instructions per packet: median {median}, maximum {max}"
        )?;
    }
    writeln!(out, "\ninstructions   share      calls  function")?;
    let mut functions: Vec<_> = coverage.functions.iter().collect();
    functions.sort_by_key(|function| std::cmp::Reverse(function.instructions));
    for function in functions {
        let mut name = function.name.to_owned();
        let program = &coverage.module.programs[function.program].name;
        if *program != name {
            let _ = write!(name, " (of {program})");
        }
        let share = coverage.share(function.instructions);
        write_row(out, function.instructions, &share, function.calls, &name)?;
    }
    write_lines(coverage, out)
}

fn write_lines(coverage: &Coverage<'_>, out: &mut dyn Write) -> io::Result<()> {
    let without = coverage.without_lines();
    if !without.is_empty() {
        let names = without.join(", ");
        writeln!(out, "\nno source lines (.BTF.ext): {names}")?;
    }
    let lines = coverage.files.iter();
    let lines = lines.flat_map(|(file, lines)| lines.iter().map(move |line| (file, line)));
    let mut lines: Vec<_> = lines
        .filter(|(_, (_, line))| line.instructions > 0)
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    lines.sort_by_key(|(_, (_, line))| std::cmp::Reverse(line.instructions));
    writeln!(out, "\ninstructions   share       runs  line")?;
    for (file, (number, line)) in lines.iter().take(LINES_SHOWN) {
        let text = format!("{file}:{number}: {}", line.text.trim());
        write_row(
            out,
            line.instructions,
            &coverage.share(line.instructions),
            line.executed,
            text.trim_end(),
        )?;
    }
    if let Some(more) = lines
        .len()
        .checked_sub(LINES_SHOWN)
        .filter(|more| *more > 0)
    {
        writeln!(out, "and {more} more lines")?;
    }
    Ok(())
}

fn write_row(
    out: &mut dyn Write,
    instructions: u64,
    share: &str,
    times: u64,
    text: &str,
) -> io::Result<()> {
    writeln!(out, "{instructions:>12}  {share:>6}  {times:>9}  {text}")
}
