//! `iom run --stats`: what went through by port, RX queue and program, how fast by capture time, and
//! why packets were dropped.

use std::collections::BTreeMap;
use std::io::{self, Write};

use iom_backends::interpreter::Counts;
use iom_core::abi::{Outcome, PortId, QueueId, XdpAction};
use iom_core::module::Module;
use iom_sim::device::{DropReason, Verdict};
use iom_sim::replay::Ingressed;
use serde::Serialize;

/// Most drop reasons that are listed.
const REASONS_SHOWN: usize = 10;

/// Counts while packets go through.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    all: Tally,
    ports: BTreeMap<PortId, Tally>,
    queues: BTreeMap<QueueId, Tally>,
    /// Why packets were dropped; of faults, program and slot, too.
    drops: BTreeMap<(DropReason, Option<(u32, u32)>), u64>,
    /// Earliest and latest capture time.
    span_ns: Option<(u64, u64)>,
}

/// Packets that have something in common.
#[derive(Clone, Debug, Default, Serialize)]
struct Tally {
    packets: u64,
    bytes: u64,
    actions: Actions,
}

/// Packets by the action that the program returned.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Actions {
    aborted: u64,
    drop: u64,
    pass: u64,
    tx: u64,
    redirect: u64,
}

impl Actions {
    fn add(&mut self, action: XdpAction, packets: u64) {
        *match action {
            XdpAction::Aborted => &mut self.aborted,
            XdpAction::Drop => &mut self.drop,
            XdpAction::Pass => &mut self.pass,
            XdpAction::Tx => &mut self.tx,
            XdpAction::Redirect => &mut self.redirect,
        } += packets;
    }
}

impl Tally {
    fn count(&mut self, bytes: u64, action: XdpAction) {
        self.packets += 1;
        self.bytes += bytes;
        self.actions.add(action, 1);
    }
}

impl Stats {
    /// Counts a packet.
    pub fn count(&mut self, packet: &Ingressed, outcome: &Outcome, verdict: Verdict) {
        let (bytes, action) = (packet.len_bytes() as u64, outcome.action());
        self.all.count(bytes, action);
        self.ports
            .entry(packet.port)
            .or_default()
            .count(bytes, action);
        self.queues
            .entry(packet.queue)
            .or_default()
            .count(bytes, action);
        if let Some(reason) = verdict.drop_reason() {
            let place = outcome.trap.as_ref().map(|trap| (trap.program, trap.insn));
            *self.drops.entry((reason, place)).or_default() += 1;
        }
        let (first, last) = self.span_ns.unwrap_or((packet.time_ns, packet.time_ns));
        self.span_ns = Some((first.min(packet.time_ns), last.max(packet.time_ns)));
    }

    /// What was counted. Programs are there if the interpreter counted what ran.
    pub fn report(&self, module: &Module, counts: Option<&Counts>) -> Report {
        let span = self.span_ns.map_or(0, |(first, last)| last - first);
        let seconds = (span > 0).then_some(span as f64 / 1e9);
        let mut drops: Vec<_> = self.drops.iter().collect();
        drops.sort_by_key(|(_, packets)| std::cmp::Reverse(**packets));
        let drops = drops.into_iter().map(|((reason, place), packets)| DropRow {
            reason: reason_text(*reason, *place, module),
            packets: *packets,
        });
        Report {
            version: 1,
            seconds,
            packets_per_second: seconds.map(|seconds| self.all.packets as f64 / seconds),
            bits_per_second: seconds.map(|seconds| self.all.bytes as f64 * 8.0 / seconds),
            all: self.all.clone(),
            ports: rows(&self.ports, |port, tally| PortRow {
                port: port.0,
                tally,
            }),
            queues: rows(&self.queues, |queue, tally| QueueRow {
                queue: queue.0,
                tally,
            }),
            programs: counts.map(|counts| programs(module, counts)),
            drops: drops.collect(),
        }
    }
}

fn rows<K: Copy, R>(tallies: &BTreeMap<K, Tally>, row: impl Fn(K, Tally) -> R) -> Vec<R> {
    let tallies = tallies.iter();
    tallies
        .map(|(key, tally)| row(*key, tally.clone()))
        .collect()
}

fn reason_text(reason: DropReason, place: Option<(u32, u32)>, module: &Module) -> String {
    let Some((program, insn)) = place else {
        return reason.text().to_owned();
    };
    let name = &module.programs[program as usize].name;
    format!("{}: {name}, instruction {insn}", reason.text())
}

/// The programs that ran. A packet counts for each that it went through, its action for the last.
fn programs(module: &Module, counts: &Counts) -> Vec<ProgramRow> {
    let programs = module.programs.iter().zip(&counts.programs);
    let programs = programs.map(|(program, counts)| {
        let mut actions = Actions::default();
        for (action, packets) in &counts.actions {
            actions.add(*action, *packets);
        }
        ProgramRow {
            module: module.name.clone(),
            program: program.name.clone(),
            runs: counts.calls(program, 0),
            actions,
        }
    });
    programs.filter(|program| program.runs > 0).collect()
}

/// Statistics of a run, in the form of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    version: u32,
    /// Time from the first captured packet to the last; `None` if there is none.
    seconds: Option<f64>,
    packets_per_second: Option<f64>,
    bits_per_second: Option<f64>,
    #[serde(flatten)]
    all: Tally,
    ports: Vec<PortRow>,
    queues: Vec<QueueRow>,
    programs: Option<Vec<ProgramRow>>,
    /// Most frequent first.
    drops: Vec<DropRow>,
}

#[derive(Clone, Debug, Serialize)]
struct PortRow {
    port: u32,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Clone, Debug, Serialize)]
struct QueueRow {
    queue: u32,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Clone, Debug, Serialize)]
struct ProgramRow {
    module: String,
    program: String,
    runs: u64,
    actions: Actions,
}

#[derive(Clone, Debug, Serialize)]
struct DropRow {
    reason: String,
    packets: u64,
}

impl Report {
    /// Writes it as text.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if let (Some(seconds), Some(packets), Some(bits)) =
            (self.seconds, self.packets_per_second, self.bits_per_second)
        {
            let megabits = bits / 1e6;
            writeln!(
                out,
                "{seconds:.6} s of capture: {packets:.0} packets/s, {megabits:.3} Mbit/s"
            )?;
        }
        let (packets, bytes) = ("packets", "bytes");
        write!(
            out,
            "{packets:>10} {bytes:>12} {:>10} {:>10}",
            "pass", "drop"
        )?;
        writeln!(out, " {:>10} {:>10} {:>10}", "aborted", "tx", "redirect")?;
        write_tally(out, &self.all, "all")?;
        for PortRow { port, tally } in &self.ports {
            write_tally(out, tally, &format!("port {port}"))?;
        }
        for QueueRow { queue, tally } in &self.queues {
            write_tally(out, tally, &format!("queue {queue}"))?;
        }
        for program in self.programs.iter().flatten() {
            let name = format!("program {} of {}", program.program, program.module);
            write_row(out, program.runs, "", program.actions, &name)?;
        }
        for drop in self.drops.iter().take(REASONS_SHOWN) {
            writeln!(out, "dropped {}: {}", drop.packets, drop.reason)?;
        }
        Ok(())
    }
}

fn write_tally(out: &mut dyn Write, tally: &Tally, name: &str) -> io::Result<()> {
    write_row(
        out,
        tally.packets,
        &tally.bytes.to_string(),
        tally.actions,
        name,
    )
}

fn write_row(
    out: &mut dyn Write,
    packets: u64,
    bytes: &str,
    actions: Actions,
    name: &str,
) -> io::Result<()> {
    let Actions {
        aborted,
        drop,
        pass,
        tx,
        redirect,
    } = actions;
    write!(out, "{packets:>10} {bytes:>12} {pass:>10} {drop:>10}")?;
    writeln!(out, " {aborted:>10} {tx:>10} {redirect:>10}  {name}")
}
