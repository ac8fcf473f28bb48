//! What a campaign gave, in numbers and in words.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

/// Programs with the same finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// How many.
    pub count: u64,
    /// Seeds of the first few.
    pub seeds: Vec<u64>,
}

/// Numbers of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Programs tried.
    pub programs: u64,
    /// Programs whose bytes are no instructions.
    pub undecodable: u64,
    /// Programs that the verifier accepts.
    pub accepted: u64,
    /// Accepted programs that the interpreter does not take.
    pub not_run: u64,
    /// Packets that accepted programs ran on.
    pub runs: u64,
    /// Accepted programs that trapped.
    pub trapped: u64,
    /// Programs that the kernel was asked about.
    pub asked: u64,
    /// Those on which its verdict differs.
    pub differ: u64,
    /// Programs that both accept.
    pub accepted_by_both: u64,
    /// Those of them that took as many instructions and states here as there.
    pub same_effort: u64,
    /// Findings by class.
    pub classes: BTreeMap<String, Class>,
}

impl Summary {
    /// Notes a finding.
    pub(super) fn note(&mut self, class: String, seed: u64) {
        const SEEDS: usize = 5;
        let class = self.classes.entry(class).or_default();
        class.count += 1;
        if class.seeds.len() < SEEDS {
            class.seeds.push(seed);
        }
    }

    /// Percentage of verdicts on which the kernel differs; 0 if it was not asked.
    pub fn differ_percent(&self) -> f64 {
        percent(self.differ, self.asked)
    }

    /// Writes the numbers as text.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} programs, {} of them no instructions; {} accepted",
            self.programs, self.undecodable, self.accepted
        )?;
        writeln!(
            out,
            "interpreter: {} packets, {} programs trapped, {} not run",
            self.runs, self.trapped, self.not_run
        )?;
        if self.asked > 0 {
            writeln!(
                out,
                "kernel: {} of {} verdicts differ ({:.3} %); of {} that both accept, {} took the same \
                 instructions and states ({:.2} %)",
                self.differ,
                self.asked,
                self.differ_percent(),
                self.accepted_by_both,
                self.same_effort,
                percent(self.same_effort, self.accepted_by_both)
            )?;
        }
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|(_, class)| std::cmp::Reverse(class.count));
        for (name, class) in classes {
            writeln!(out, "  {} x {name} (seeds {:?})", class.count, class.seeds)?;
        }
        Ok(())
    }

    /// The numbers as JSON.
    pub fn to_json(&self, seed: u64) -> Value {
        let classes = self.classes.iter();
        let classes = classes.map(
            |(name, class)| json!({ "class": name, "count": class.count, "seeds": class.seeds }),
        );
        json!({
            "version": 1,
            "seed": seed,
            "programs": self.programs,
            "undecodable": self.undecodable,
            "accepted": self.accepted,
            "not_run": self.not_run,
            "packets": self.runs,
            "trapped": self.trapped,
            "kernel": (self.asked > 0).then(|| json!({
                "asked": self.asked,
                "differ": self.differ,
                "accepted_by_both": self.accepted_by_both,
                "same_effort": self.same_effort,
            })),
            "classes": classes.collect::<Vec<_>>(),
        })
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
