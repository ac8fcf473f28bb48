//! What the cycle model of the NFP says, as text and JSON (`docs/nfp.md` has the schema).

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use iom_nfp_offload::backend::Totals;
use iom_nfp_offload::cycles::{Band, Cost, PacketCost, Wait, predict};
use iom_nfp_offload::profile::FirmwareProfile;
use serde_json::{Value, json};

/// What this is, in a sentence that goes with every prediction.
pub const DISCLAIMER: &str = "a model from published figures, not a measurement of a card: contention for memory, the firmware around the program and the host are not in it";

/// A run that is being counted.
#[derive(Debug)]
pub struct Counted {
    /// The firmware.
    pub profile: FirmwareProfile,
    /// The sums.
    pub totals: Arc<Totals>,
}

impl Counted {
    /// What strict mode noted, for people.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn write_findings(&self, out: &mut dyn Write) -> io::Result<()> {
        let total = self.totals.get();
        if total.findings.get().is_empty() {
            writeln!(out, "strict: nothing that a card might not forgive")?;
        }
        for finding in total.findings.get() {
            writeln!(out, "strict: {finding}")?;
        }
        Ok(())
    }

    /// The same for machines.
    pub fn findings_json(&self) -> Value {
        let total = self.totals.get();
        let findings = total.findings.get().iter().map(
            |finding| json!({ "word": finding.word_index, "message": finding.kind.to_string() }),
        );
        findings.collect()
    }
}

/// Costs of packets, and what they come to on a card.
#[derive(Clone, Copy, Debug)]
pub struct CyclesReport<'a> {
    /// The card.
    pub profile: &'a FirmwareProfile,
    /// Costs, added up.
    pub total: Cost,
    /// Of how many packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl<'a> CyclesReport<'a> {
    /// What was counted.
    pub fn of(counted: &'a Counted) -> Self {
        let total = counted.totals.get();
        Self {
            profile: &counted.profile,
            total: total.cost,
            packets: total.packets,
            bytes: total.bytes,
        }
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "a packet costs {}", self.cost_line())?;
        match self.rate_lines() {
            Some([rate, bounds]) => {
                writeln!(out, "{}: {rate}", self.profile.name)?;
                writeln!(out, "  {bounds}")?;
                writeln!(out, "  {DISCLAIMER}")
            }
            None => writeln!(out, "firmware {} names no card: no rate", self.profile.name),
        }
    }

    fn mean(&self) -> PacketCost {
        PacketCost::mean(&self.total, self.packets, self.bytes)
    }

    fn waits(&self) -> impl Iterator<Item = (Wait, f64)> {
        let each = move |wait| self.total.waits.of(wait) as f64 / self.packets.max(1) as f64;
        let waits = Wait::ALL.into_iter().map(move |wait| (wait, each(wait)));
        waits.filter(|(_, count)| *count > 0.0)
    }

    /// Cycles and waits of a packet, in one line.
    pub fn cost_line(&self) -> String {
        let mean = self.mean();
        let mut text = format!(
            "{:.1} cycles for {:.1} instructions",
            mean.cycles, mean.instructions
        );
        let mut sign = format!(
            "; waits {:.0} to {:.0} cycles: ",
            mean.waiting.min, mean.waiting.max
        );
        for (wait, count) in self.waits() {
            let _ = write!(text, "{sign}{} x {}", round(count), wait.name());
            ", ".clone_into(&mut sign);
        }
        text
    }

    /// Packets a second and what limits them; nothing for a profile that names no card.
    pub fn rate_lines(&self) -> Option<[String; 2]> {
        let card = self.profile.card?;
        let mean = self.mean();
        let found = predict(&mean, &card);
        Some([
            format!(
                "{} Mpps with frames of {:.0} bytes and FCS, limited by {}",
                band(found.mpps),
                mean.frame_bytes.max(60.0) + 4.0,
                found.bound.name()
            ),
            format!(
                "instruction issue {:.1}, memory latency {}, the wire {:.1} Mpps; {} packets in flight at {} MHz",
                found.issue,
                band(found.latency),
                found.wire,
                found.packets_in_flight,
                card.clock_mhz
            ),
        ])
    }

    /// The same for machines.
    pub fn to_json(&self) -> Value {
        let mean = self.mean();
        let waits: serde_json::Map<String, Value> = self
            .waits()
            .map(|(wait, count)| {
                let latency = wait.latency();
                let value = json!({ "count": count, "cycles": [latency.min, latency.max] });
                (wait.name().replace(' ', "_"), value)
            })
            .collect();
        let rate = self.profile.card.map(|card| {
            let found = predict(&mean, &card);
            let band =
                |band: Band| json!({ "low": band.low, "middle": band.middle, "high": band.high });
            json!({
                "mpps": band(found.mpps), "bound": found.bound.name(), "issue_mpps": found.issue,
                "latency_mpps": band(found.latency), "wire_mpps": found.wire,
                "packets_in_flight": found.packets_in_flight,
            })
        });
        json!({
            "model": DISCLAIMER, "packets": self.packets, "instructions": mean.instructions,
            "cycles": mean.cycles, "waiting_cycles": [mean.waiting.min, mean.waiting.max],
            "waits": waits, "frame_bytes": mean.frame_bytes, "rate": rate,
        })
    }
}

fn band(band: Band) -> String {
    if band.high - band.low < 0.05 {
        return format!("{:.1}", band.middle);
    }
    format!("{:.1} ({:.1} to {:.1})", band.middle, band.low, band.high)
}

/// Two digits behind the point, as far as they say something.
fn round(count: f64) -> String {
    let text = format!("{count:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
