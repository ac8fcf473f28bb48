//! What verifying took, beside what it took before: a saved `--json` as the baseline.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Verdict;
use crate::exit::Failure;

/// The members of a saved verdict that are compared.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Saved {
    #[serde(default)]
    program: String,
    verdict: String,
    processed: u64,
    total_states: u64,
    peak_states: u64,
    stack_depth: String,
}

/// A figure then and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Program.
    pub program: String,
    /// What it is.
    pub what: &'static str,
    /// In the baseline.
    pub before: String,
    /// Now.
    pub now: String,
    /// By how much it grew, for numbers.
    pub grown: Option<(u64, u64)>,
    /// It is worse than was asked for.
    pub worse: bool,
}

/// Reads a saved `--json`, of one program or of several.
///
/// # Errors
/// A file that cannot be read or is none.
pub fn read(path: &Path) -> anyhow::Result<Vec<Saved>> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(shown)?;
    let value: Value = serde_json::from_str(&text).with_context(shown)?;
    let list = match value.get("programs") {
        Some(Value::Array(list)) => list.clone(),
        _ => vec![value],
    };
    let saved = list.into_iter().map(serde_json::from_value);
    saved
        .collect::<Result<_, _>>()
        .with_context(|| format!("{}: no output of iom verify --json", path.display()))
}

/// Compares verdicts with a baseline. Worse is a program that is refused now, and a figure that grew
/// by more than this many percent.
///
/// # Errors
/// A program that the baseline does not have.
pub fn compare(saved: &[Saved], verdicts: &[Verdict], percent: f64) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for verdict in verdicts {
        let fits = |saved: &&Saved| saved.program == verdict.program || saved.program.is_empty();
        let Some(before) = saved.iter().find(fits) else {
            return Err(Failure::usage(format!(
                "the baseline has no program {}",
                verdict.program
            )));
        };
        changes.extend(changes_of(before, verdict, percent));
    }
    Ok(changes)
}

fn changes_of(before: &Saved, verdict: &Verdict, percent: f64) -> Vec<Change> {
    let now = if verdict.accepted() {
        "accept"
    } else {
        "reject"
    };
    let total = |depth: &str| {
        depth
            .split('+')
            .filter_map(|part| part.parse::<u64>().ok())
            .sum::<u64>()
    };
    let effort = &verdict.effort;
    let mut changes = vec![Change {
        program: verdict.program.clone(),
        what: "verdict",
        before: before.verdict.clone(),
        now: now.to_owned(),
        grown: None,
        worse: before.verdict == "accept" && now == "reject",
    }];
    let figures = [
        ("processed", before.processed, effort.processed),
        ("total_states", before.total_states, effort.total_states),
        ("peak_states", before.peak_states, effort.peak_states),
        (
            "stack",
            total(&before.stack_depth),
            total(&effort.stack_depth),
        ),
    ];
    for (what, old, new) in figures {
        let limit = old as f64 * (1.0 + percent / 100.0);
        changes.push(Change {
            program: verdict.program.clone(),
            what,
            before: old.to_string(),
            now: new.to_string(),
            grown: Some((old, new)),
            worse: new > old && new as f64 > limit,
        });
    }
    changes
}

impl Change {
    /// By how much, as text.
    fn difference(&self) -> String {
        let Some((old, new)) = self.grown else {
            return if self.before == self.now {
                String::new()
            } else {
                "changed".to_owned()
            };
        };
        if old == new {
            return "=".to_owned();
        }
        let difference = i128::from(new) - i128::from(old);
        if old == 0 {
            return format!("{difference:+}");
        }
        format!(
            "{difference:+} ({:+.1} %)",
            100.0 * difference as f64 / old as f64
        )
    }
}

/// Writes the comparison as a table.
///
/// # Errors
/// Output that cannot be written.
pub fn write(changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let wide = |width: usize, text: &str| width.max(text.len());
    let name = changes
        .iter()
        .fold(7, |width, change| wide(width, &change.program));
    writeln!(
        out,
        "{:name$}  {:12} {:>10} {:>10}  change",
        "program", "what", "baseline", "now"
    )?;
    for change in changes {
        let Change {
            program,
            what,
            before,
            now,
            ..
        } = change;
        let mark = if change.worse { "  worse" } else { "" };
        let line = format!(
            "{program:name$}  {what:12} {before:>10} {now:>10}  {}{mark}",
            change.difference()
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The comparison as JSON.
pub fn to_json(changes: &[Change]) -> Value {
    let changes = changes.iter().map(|change| {
        json!({
            "program": change.program,
            "what": change.what,
            "baseline": change.before,
            "now": change.now,
            "worse": change.worse,
        })
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::by_sim;
    use expect_test::expect;
    use iom_core::isa::assemble;
    use iom_core::verifier::Options;

    fn table(baseline: &str, percent: f64) -> (String, bool) {
        let module = assemble(
            "r1 = 3\nagain:\nr1 -= 1\nif r1 != 0 goto again\nr0 = 2\nexit\n",
            "test.bpf",
        );
        let mut verdict = by_sim(&module.expect("assembles"), 0, Options::default(), 0);
        verdict.program = "prog".to_owned();
        let saved = vec![serde_json::from_str(baseline).expect("a baseline")];
        let changes = compare(&saved, &[verdict], percent).expect("compares");
        let mut text = Vec::new();
        write(&changes, &mut text).expect("writes");
        let worse = changes.iter().any(|change| change.worse);
        (String::from_utf8(text).expect("text"), worse)
    }

    const SAVED: &str = r#"{"program":"prog","verdict":"accept","processed":8,"total_states":0,"peak_states":0,"stack_depth":"16"}"#;

    #[test]
    fn growth_beyond_the_limit_is_worse() {
        let (text, worse) = table(SAVED, 0.0);
        assert!(worse);
        expect![[r"
            program  what           baseline        now  change
            prog     verdict          accept     accept
            prog     processed             8          9  +1 (+12.5 %)  worse
            prog     total_states          0          0  =
            prog     peak_states           0          0  =
            prog     stack                16          0  -16 (-100.0 %)
        "]]
        .assert_eq(&text);
        assert!(!table(SAVED, 50.0).1);
        assert!(
            table(&SAVED.replace("accept", "reject"), 50.0)
                .0
                .contains("changed")
        );
    }
}
