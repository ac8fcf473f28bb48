//! Coverage as one HTML page that needs nothing beside it: source lines with their counts, each
//! with its instructions to fold out, then whole listings.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use iom_core::isa::{ListingLine, list_program};

use super::{Coverage, Line, Place};

/// How many lines are marked as the hottest.
const HOTTEST: usize = 5;

const STYLE: &str = "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}\
td,th{padding:0 .8em;text-align:right;vertical-align:top}td:last-child,th:last-child{text-align:left}\
code,pre{font:13px monospace;white-space:pre;margin:0}pre{padding:.3em 1em;background:#f4f4f4;color:#000}\
.miss{background:#fbdcdc}.hot{background:#ffd890}.part summary code{border-bottom:2px solid #d33}\
.gap td{color:#999}summary{cursor:pointer}";

/// Writes the page.
///
/// # Errors
/// The output cannot be written.
pub fn write(coverage: &Coverage<'_>, out: &mut dyn Write) -> io::Result<()> {
    let name = Escaped(&coverage.module.name);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    )?;
    writeln!(
        out,
        "<title>Coverage of {name}</title><style>{STYLE}</style></head><body>"
    )?;
    let (packets, executed) = (coverage.packets(), coverage.executed);
    writeln!(
        out,
        "<h1>{name}</h1>\n<p>{packets} packets, {executed} instructions"
    )?;
    if let Some((median, max)) = coverage.instructions_per_packet() {
        writeln!(out, "; per packet: median {median}, maximum {max}")?;
    }
    writeln!(out, "</p>")?;
    let page = Page::new(coverage);
    page.functions(out)?;
    for (file, lines) in &coverage.files {
        page.file(file, lines, out)?;
    }
    page.listings(out)?;
    writeln!(out, "</body></html>")
}

/// What all parts of the page need.
struct Page<'a> {
    coverage: &'a Coverage<'a>,
    /// Listings by program.
    listings: Vec<Vec<ListingLine>>,
    /// The hottest lines run at least this many instructions.
    hot: u64,
}

impl<'a> Page<'a> {
    fn new(coverage: &'a Coverage<'a>) -> Self {
        let module = coverage.module;
        let programs = module.programs.iter();
        let lines = coverage.files.values().flat_map(BTreeMap::values);
        let mut heat: Vec<_> = lines.map(|line| line.instructions).collect();
        heat.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            coverage,
            listings: programs
                .map(|program| list_program(program, &module.maps))
                .collect(),
            hot: heat
                .get(HOTTEST - 1)
                .or(heat.last())
                .map_or(1, |least| *least.max(&1)),
        }
    }

    fn functions(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "<table><tr><th>calls<th>instructions<th>share<th>program<th>function"
        )?;
        for function in &self.coverage.functions {
            writeln!(
                out,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
                function.calls,
                function.instructions,
                self.coverage.share(function.instructions),
                Escaped(&self.coverage.module.programs[function.program].name),
                Escaped(function.name)
            )?;
        }
        writeln!(out, "</table>")
    }

    fn file(
        &self,
        file: &str,
        lines: &BTreeMap<u32, Line<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let ran = lines.values().filter(|line| line.executed > 0).count();
        writeln!(
            out,
            "<h2>{}</h2>\n<p>{ran} of {} lines ran</p>",
            Escaped(file),
            lines.len()
        )?;
        writeln!(
            out,
            "<table><tr><th>line<th>runs<th>instructions<th>share<th>source"
        )?;
        let mut last = None;
        for (number, line) in lines {
            if last.is_some_and(|last| last + 1 < *number) {
                writeln!(out, "<tr class=\"gap\"><td>&middot;<td><td><td><td>")?;
            }
            last = Some(*number);
            self.line(*number, line, out)?;
        }
        writeln!(out, "</table>")
    }

    fn line(&self, number: u32, line: &Line<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut class = match line {
            Line { executed: 0, .. } => "miss",
            _ if line.instructions >= self.hot => "hot",
            _ => "",
        }
        .to_owned();
        if line.executed > 0 && line.places.iter().any(|place| self.is_partial(*place)) {
            class.push_str(" part");
        }
        let share = self.coverage.share(line.instructions);
        write!(
            out,
            "<tr class=\"{}\"><td>{number}<td>{}<td>",
            class.trim(),
            line.executed
        )?;
        write!(
            out,
            "{}<td>{share}<td><details><summary>",
            line.instructions
        )?;
        writeln!(out, "<code>{}</code></summary><pre>", Escaped(line.text))?;
        let mut program = None;
        for place in &line.places {
            if program != Some(place.0) && self.coverage.module.programs.len() > 1 {
                program = Some(place.0);
                writeln!(
                    out,
                    "{}:",
                    Escaped(&self.coverage.module.programs[place.0].name)
                )?;
            }
            self.insn(*place, out)?;
        }
        writeln!(out, "</pre></details>")
    }

    /// Whether a branch always went the same way.
    fn is_partial(&self, place: Place) -> bool {
        let count = self.coverage.count(place);
        self.coverage.is_branch(place) && (count.taken == 0 || count.not_taken == 0)
    }

    fn insn(&self, place: Place, out: &mut dyn Write) -> io::Result<()> {
        let listing = &self.listings[place.0];
        let listed = listing.binary_search_by_key(&place.1, |listed| listed.slot);
        let text = listed.map_or("", |index| &listing[index].text);
        let count = self.coverage.count(place);
        write!(
            out,
            "{:>12} {:>5}: {}",
            count.executed,
            place.1,
            Escaped(text)
        )?;
        if self.coverage.is_branch(place) {
            write!(
                out,
                "  [taken {}, not taken {}]",
                count.taken, count.not_taken
            )?;
        }
        writeln!(out)
    }

    fn listings(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "<h2>Instructions</h2>")?;
        let without = self.coverage.without_lines();
        if !without.is_empty() {
            let names = without.join(", ");
            writeln!(
                out,
                "<p>No line information (.BTF.ext): {}</p>",
                Escaped(&names)
            )?;
        }
        for (index, program) in self.coverage.module.programs.iter().enumerate() {
            let executed = self.coverage.counts.programs[index].executed();
            let name = Escaped(&program.name);
            writeln!(
                out,
                "<details><summary>{name}: {executed} instructions</summary><pre>"
            )?;
            for listed in &self.listings[index] {
                if let Some(label) = &listed.label {
                    writeln!(out, "{}:", Escaped(label))?;
                }
                self.insn((index, listed.slot), out)?;
            }
            writeln!(out, "</pre></details>")?;
        }
        Ok(())
    }
}

/// Text in which nothing is markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
