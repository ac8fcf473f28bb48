//! Coverage in the format of lcov's tracefiles (geninfo(1)), which editors, CI services and
//! `genhtml` read. A conditional branch has the ways 0, on behind it, and 1, to its target.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Coverage, Line};

/// Writes a tracefile.
///
/// # Errors
/// The output cannot be written.
pub fn write(coverage: &Coverage<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (file, lines) in &coverage.files {
        writeln!(out, "TN:\nSF:{file}")?;
        write_functions(coverage, file, out)?;
        write_branches(coverage, lines, out)?;
        for (number, line) in lines {
            writeln!(out, "DA:{number},{}", line.executed)?;
        }
        let hit = lines.values().filter(|line| line.executed > 0);
        writeln!(out, "LF:{}\nLH:{}\nend_of_record", lines.len(), hit.count())?;
    }
    Ok(())
}

/// Functions of a file; those that several programs have count together.
fn write_functions(coverage: &Coverage<'_>, file: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut functions: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    for function in &coverage.functions {
        match function.source {
            Some((source, line)) if source == file => {
                *functions.entry((line, function.name)).or_default() += function.calls;
            }
            _ => {}
        }
    }
    for (line, name) in functions.keys() {
        writeln!(out, "FN:{line},{name}")?;
    }
    for ((_, name), calls) in &functions {
        writeln!(out, "FNDA:{calls},{name}")?;
    }
    let hit = functions.values().filter(|calls| **calls > 0).count();
    writeln!(out, "FNF:{}\nFNH:{hit}", functions.len())
}

/// Branches, each instruction a block of its own within its line.
fn write_branches(
    coverage: &Coverage<'_>,
    lines: &BTreeMap<u32, Line<'_>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (mut found, mut hit) = (0, 0);
    for (number, line) in lines {
        let branches = line.places.iter();
        let branches = branches.filter(|place| coverage.is_branch(**place));
        for (block, place) in branches.enumerate() {
            let count = coverage.count(*place);
            for (way, times) in [count.not_taken, count.taken].into_iter().enumerate() {
                // A dash says that the branch itself never ran.
                let times_text = match count.executed {
                    0 => "-".to_owned(),
                    _ => times.to_string(),
                };
                writeln!(out, "BRDA:{number},{block},{way},{times_text}")?;
                found += 1;
                hit += u32::from(times > 0);
            }
        }
    }
    writeln!(out, "BRF:{found}\nBRH:{hit}")
}
