//! The resources that a program takes on the card: words, stack, maps, cycles, by source line.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use iom_core::map::{MapSpec, MapType};
use iom_nfp_offload::cycles::{Cost, ProgramCost, program_cost};
use iom_nfp_offload::offload::Offload;
use serde_json::{Value, json};

use super::Built;
use crate::cycles_report::{CyclesReport, DISCLAIMER};

/// Frames of the prediction: the shortest, without FCS.
const FRAME_BYTES: u64 = 60;

/// A program that can be offloaded, and what it takes.
pub(super) struct Plan<'a> {
    built: &'a Built,
    offload: &'a Offload,
    cost: ProgramCost,
}

/// What a source line takes.
struct Line {
    source: String,
    words: usize,
    /// If all of its words run once.
    cost: Cost,
}

impl<'a> Plan<'a> {
    pub(super) fn new(built: &'a Built, offload: &'a Offload) -> Self {
        let program = &built.program.module.programs[built.program.entry];
        Self {
            cost: program_cost(program, &offload.image),
            built,
            offload,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (slot, insn) in self.cost.insns.iter().enumerate() {
            let Some(source) = self.built.source(slot) else {
                continue;
            };
            match lines.iter_mut().find(|line| line.source == source) {
                Some(line) => {
                    line.words += insn.words;
                    line.cost += insn.cost;
                }
                None => lines.push(Line {
                    source,
                    words: insn.words,
                    cost: insn.cost,
                }),
            }
        }
        lines
    }

    /// Maps on the card that the program uses.
    fn maps(&self) -> impl Iterator<Item = &'a MapSpec> {
        let loaded = &self.built.program;
        let references = loaded.module.programs[loaded.entry].map_references();
        let used: BTreeSet<u32> = references.map(|(_, map)| map).collect();
        let maps = used.into_iter();
        let maps = maps.filter_map(|map| loaded.module.maps.get(map as usize));
        maps.filter(|map| map.map_type != MapType::PerfEventArray)
    }

    fn report(&self, total: Cost) -> CyclesReport<'_> {
        CyclesReport {
            profile: &self.built.profile,
            total,
            packets: 1,
            bytes: FRAME_BYTES,
        }
    }

    pub(super) fn text(&self) -> String {
        let profile = &self.built.profile;
        let name = self.built.name();
        let mut text = format!("{name} can be offloaded to {}\n", profile.name);
        let words = self.offload.words.len();
        let share = 100 * words / usize::from(profile.max_len).max(1);
        let _ = writeln!(
            text,
            "words     {words} of {} ({share} %), {} of them around the program",
            profile.max_len, self.cost.frame_words
        );
        let stack = self.offload.image.stack_bytes;
        let _ = writeln!(text, "stack     {stack} of {} bytes", profile.stack_bytes);
        self.write_maps(&mut text);
        self.write_cycles(&mut text);
        let lines = self.lines();
        if !lines.is_empty() {
            text.push_str("words  cycles  waits  source line\n");
        }
        for line in lines {
            let waits = match line.cost.waits.total() {
                0 => String::new(),
                waits => waits.to_string(),
            };
            let (words, cycles) = (line.words, line.cost.cycles);
            let _ = writeln!(text, "{words:>5}  {cycles:>6}  {waits:>5}  {}", line.source);
        }
        text
    }

    fn write_maps(&self, text: &mut String) {
        let (mut count, mut entries, mut bytes) = (0, 0, 0);
        for map in self.maps() {
            let _ = writeln!(
                text,
                "map       {}: {}, {} entries of {} + {} bytes, {} bytes",
                map.name,
                map.map_type.name(),
                map.max_entries,
                map.key_size,
                map.value_size,
                map_bytes(map)
            );
            count += 1;
            entries += u64::from(map.max_entries);
            bytes += map_bytes(map);
        }
        if let Some(limits) = self.built.profile.maps.filter(|_| count > 0) {
            let (maps, elements) = (limits.max_maps, limits.max_elements);
            let _ = writeln!(
                text,
                "maps      {count} of {maps}, {entries} of {elements} entries, {bytes} bytes"
            );
        }
    }

    fn write_cycles(&self, text: &mut String) {
        let loops = if self.cost.has_loop {
            " (loops count once)"
        } else {
            ""
        };
        let paths = [
            ("shortest", self.cost.shortest),
            ("longest", self.cost.longest),
        ];
        for (path, cost) in paths {
            let report = self.report(cost);
            let _ = writeln!(text, "{path} path{loops}: {}", report.cost_line());
            for line in report.rate_lines().into_iter().flatten() {
                let _ = writeln!(text, "          {line}");
            }
        }
        let _ = match self.built.profile.card {
            Some(_) => writeln!(text, "          {DISCLAIMER}"),
            None => writeln!(
                text,
                "          firmware {} names no card: no rate",
                self.built.profile.name
            ),
        };
    }

    /// The same for machines, beside what `build --json` says.
    pub(super) fn add_to_json(&self, json: &mut Value) {
        let profile = &self.built.profile;
        json["max_words"] = json!(profile.max_len);
        json["words_around"] = json!(self.cost.frame_words);
        json["max_stack_bytes"] = json!(profile.stack_bytes);
        let lines = self.lines().into_iter().map(|line| {
            json!({
                "source": line.source, "words": line.words, "cycles": line.cost.cycles,
                "waits": line.cost.waits.total(),
            })
        });
        json["lines"] = lines.collect();
        let maps = self.maps().map(|map| {
            json!({
                "name": map.name, "type": map.map_type.name(), "entries": map.max_entries,
                "key": map.key_size, "value": map.value_size, "bytes": map_bytes(map),
            })
        });
        json["maps"] = maps.collect();
        json["cycles"] = json!({
            "has_loop": self.cost.has_loop,
            "shortest": self.report(self.cost.shortest).to_json(),
            "longest": self.report(self.cost.longest).to_json(),
        });
    }
}

/// Memory of a map's entries, key and value each rounded up to 8 bytes as the driver counts them.
fn map_bytes(map: &MapSpec) -> u64 {
    let rounded = |size: u32| u64::from(size).next_multiple_of(8);
    u64::from(map.max_entries) * (rounded(map.key_size) + rounded(map.value_size))
}
