//! `iom diff`: two versions of a program, or one with different map contents, on the same packets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use iom_core::abi::XdpAction;
use iom_core::module::Module;
use serde_json::{Value, json};

use crate::compare::COMPARED;
use crate::cross_check::{CrossCheck, Keep, Report, frame_bytes};
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::exit::{Exit, Failure};
use crate::lane::{Lane, Setup};
use crate::load_args::LoadArgs;
use crate::map_files::Seeds;
use crate::map_pairs::MapPairs;
use crate::mask::{Mask, Masks};
use crate::program::{LoadedProgram, ProgramArgs, Selection};
use crate::progress::Progress;
use crate::replay_args::ReplayArgs;
use crate::report;

/// Arguments of `iom diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// First program, in any form that `iom run` takes
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Second program; the same file may be compared with itself on different map contents
    #[arg(value_name = "B")]
    second: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    load: LoadArgs,
    /// The program of B with this name, if it is not that of A
    #[arg(long, value_name = "NAME")]
    program_b: Option<String>,
    #[command(flatten)]
    replay: ReplayArgs,
    /// Where both run: sim (or sim:interp), kernel, nfp
    #[arg(long, default_value = "sim", value_name = "NAME")]
    backend: Engine,
    #[command(flatten)]
    engine: EngineArgs,
    /// Contents of the maps of both before the first packet, over those of the manifests
    #[arg(long, value_name = "FILE")]
    seed_maps: Vec<PathBuf>,
    /// Contents of the maps of A, over --seed-maps
    #[arg(long, value_name = "FILE")]
    seed_maps_a: Vec<PathBuf>,
    /// Contents of the maps of B, over --seed-maps
    #[arg(long, value_name = "FILE")]
    seed_maps_b: Vec<PathBuf>,
    /// What may differ by design, with the reason: redirect, metadata, events, bytes:OFFSET-LENGTH,
    /// bytes:PROTOCOL.FIELD (such as bytes:ipv4.identification), map:NAME, map:NAME:OFFSET-LENGTH
    #[arg(long = "mask", value_name = "FIELD=REASON")]
    masks: Vec<Mask>,
    /// How many packets to show of each pair of actions, and entries of each map
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    show: usize,
    /// Machine-readable report (schema: docs/differences.md)
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom diff old.o new.o -i pcaps/mix.pcap
  iom diff fw.o fw.o -i mix.pcap --seed-maps-a open.json --seed-maps-b strict.json
  iom diff old.o new.o -i mix.pcap --backend kernel --mask 'map:stats=counters were added'";

/// Names of the two sides.
const SIDES: [&str; 2] = ["A", "B"];

/// Runs both programs on the same packets and says by the exit code whether they do the same.
///
/// # Errors
/// Unreadable input, a refused program, a missing or failing backend.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let programs = load_programs(args)?;
    let [a, b] = &programs;
    let mut setup = args
        .replay
        .setup(a.ports.max(b.ports), a.fib.as_deref().or(b.fib.as_deref()))?;
    setup.cpus = setup.queues.max(args.backend.cpus());
    let lanes = [
        load_lane(args, 0, a, &setup, &args.seed_maps_a)?,
        load_lane(args, 1, b, &setup, &args.seed_maps_b)?,
    ];
    let diff = compare(args, &programs, &setup, &lanes)?;
    if args.json {
        writeln!(out, "{}", diff.to_json(args))?;
    } else {
        diff.write_text(args, out)?;
    }
    if let Some(fault) = &diff.report.capture_fault {
        return Err(Failure::usage(format!(
            "{fault} (all packets before it were compared)"
        )));
    }
    match (diff.report.packets, diff.report.differences) {
        (0, 0) => Err(Failure::usage("no packet could be compared")),
        (_, 0) => Ok(Exit::Success),
        _ => Ok(Exit::Differs),
    }
}

fn load_programs(args: &Args) -> anyhow::Result<[LoadedProgram; 2]> {
    let load = |path: &PathBuf, selection: Selection| {
        ProgramArgs::of(path.clone(), selection, args.load.clone()).load()
    };
    let mut second = args.selection.clone();
    if args.program_b.is_some() {
        second.program.clone_from(&args.program_b);
    }
    let programs = [
        load(&args.first, args.selection.clone()).context("program A")?,
        load(&args.second, second).context("program B")?,
    ];
    Ok(programs)
}

fn load_lane(
    args: &Args,
    side: usize,
    program: &LoadedProgram,
    setup: &Setup,
    seed_files: &[PathBuf],
) -> anyhow::Result<Lane> {
    let files: Vec<PathBuf> = args.seed_maps.iter().chain(seed_files).cloned().collect();
    let seeds = Seeds::read(program, &files)?;
    let seed = |maps: &_| seeds.apply(&program.module, maps);
    let target = (&program.module, program.entry);
    let backend = args.engine.backend(args.backend)?;
    let exact = args.backend.keeps_retval();
    let lane = Lane::load(SIDES[side], &*backend, exact, target, setup, &seed);
    lane.map_err(|error| program.explain(error))
}

fn compare<'a>(
    args: &Args,
    programs: &'a [LoadedProgram; 2],
    setup: &Setup,
    lanes: &[Lane; 2],
) -> anyhow::Result<Diff<'a>> {
    let modules = [&*programs[0].module, &*programs[1].module];
    let masks = Masks::new(&args.masks, &modules)?;
    let check = CrossCheck {
        lanes,
        queues: setup.queues,
        keep: Keep::OfEachKind(args.show),
        masks: &masks,
    };
    let mut source = args.replay.open()?;
    let limits = frame_bytes(lanes);
    let mut ingress = args.replay.ingress(setup, limits, args.backend.pad_to());
    let progress = Progress::start("packets");
    let mut actions: BTreeMap<Actions, u64> = BTreeMap::new();
    let mut of_a = None;
    let report = check.run(&mut source, &mut ingress, &mut |side, packet, view| {
        progress.set(packet.id.saturating_add(1));
        let refused = view.outcome.refused.is_some();
        let action = (!refused).then(|| view.outcome.action());
        if side == SIDES[0] {
            of_a = action;
        } else if let (Some(a), Some(b)) = (of_a, action) {
            *actions.entry((a, b)).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(Diff {
        programs,
        actions,
        not_compared: MapPairs::new(&programs[0].module, &programs[1].module).not_compared,
        report,
    })
}

/// What A and B returned for a packet.
type Actions = (XdpAction, XdpAction);

/// What two programs did with the same packets.
struct Diff<'a> {
    programs: &'a [LoadedProgram; 2],
    /// Packets for each pair of actions.
    actions: BTreeMap<Actions, u64>,
    /// Maps that cannot be compared, with the reason.
    not_compared: Vec<(String, &'static str)>,
    report: Report,
}

impl Diff<'_> {
    fn modules(&self) -> [&Module; 2] {
        [&self.programs[0].module, &self.programs[1].module]
    }

    fn write_text(&self, args: &Args, out: &mut dyn Write) -> io::Result<()> {
        for (side, program) in SIDES.iter().zip(self.programs) {
            let name = &program.module.programs[program.entry].name;
            writeln!(out, "{side}: {} (program {name})", program.path.display())?;
        }
        self.write_matrix(out)?;
        self.write_packets(out)?;
        self.write_maps(out)?;
        for ((side, reason), packets) in &self.report.not_comparable {
            writeln!(out, "not comparable: {packets} packets, {side}: {reason}")?;
        }
        for (known, packets) in &self.report.known {
            writeln!(
                out,
                "known difference: {packets} packets, {}",
                known.reason()
            )?;
        }
        report::write_masked(out, &self.report.masked)?;
        let verdict = match self.report.differences {
            0 => "the same".to_owned(),
            1 => "1 difference".to_owned(),
            more => format!("{more} differences"),
        };
        let (packets, backend) = (self.report.packets, args.backend);
        let compared = COMPARED.join(", ");
        writeln!(
            out,
            "{packets} packets on {backend}: {verdict} ({compared})"
        )
    }

    /// Rows are A's actions, columns B's; those that do not occur are left out.
    fn write_matrix(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows: BTreeSet<XdpAction> = self.actions.keys().map(|(a, _)| *a).collect();
        let columns: BTreeSet<XdpAction> = self.actions.keys().map(|(_, b)| *b).collect();
        write!(out, "\n{:>12}", "A \\ B")?;
        for b in &columns {
            write!(out, "{:>12}", b.name())?;
        }
        writeln!(out)?;
        for a in &rows {
            write!(out, "{:>12}", a.name())?;
            for b in &columns {
                match self.actions.get(&(*a, *b)) {
                    Some(packets) => write!(out, "{packets:>12}")?,
                    None => write!(out, "{:>12}", ".")?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn write_packets(&self, out: &mut dyn Write) -> io::Result<()> {
        for (actions, changed) in &self.report.changed {
            let (a, b) = (actions.0.name(), actions.1.name());
            let of = self.actions.get(actions).copied().unwrap_or_default();
            writeln!(out, "{a} -> {b}: {changed} of {of} packets differ")?;
            let kept = self.report.packet_differences.iter();
            for difference in kept.filter(|kept| kept.actions() == *actions) {
                report::write_packet(out, difference, self.modules())?;
            }
        }
        Ok(())
    }

    fn write_maps(&self, out: &mut dyn Write) -> io::Result<()> {
        let module = self.modules()[0];
        for (map, entries) in &self.report.maps {
            let name = &module.maps[*map].name;
            writeln!(out, "map {name}, entries that differ: {entries}")?;
            let kept = self.report.entry_differences.iter();
            for difference in kept.filter(|kept| kept.map == *map) {
                report::write_entry(out, difference, module)?;
            }
        }
        for (map, reason) in &self.not_compared {
            writeln!(out, "not compared: map {map}: {reason}")?;
        }
        Ok(())
    }

    fn to_json(&self, args: &Args) -> Value {
        let programs = SIDES.iter().zip(self.programs);
        let programs = programs.map(|(side, program)| {
            let name = &program.module.programs[program.entry].name;
            json!({"name": side, "path": program.path, "module": program.module.name, "program": name})
        });
        let actions = self.actions.iter().map(|(actions, packets)| {
            let changed = self.report.changed.get(actions).copied().unwrap_or_default();
            json!({"a": actions.0.name(), "b": actions.1.name(), "packets": packets, "changed": changed})
        });
        let packets = self.report.packet_differences.iter();
        let packets = packets.map(|packet| report::packet_json(packet, self.modules()));
        let maps = self.report.maps.iter().map(|(map, entries)| {
            let module = self.modules()[0];
            let kept = self.report.entry_differences.iter();
            let first = kept.filter(|kept| kept.map == *map);
            let first: Vec<Value> = first
                .map(|entry| report::entry_json(entry, module))
                .collect();
            json!({"map": module.maps[*map].name, "entries": entries, "first": first})
        });
        let not_compared = self.not_compared.iter();
        let not_compared = not_compared.map(|(map, reason)| json!({"map": map, "reason": reason}));
        let not_comparable = self.report.not_comparable.iter().map(|((side, reason), packets)| {
            json!({"backend": side, "reason": reason, "packets": packets})
        });
        let known = self.report.known.iter();
        let known =
            known.map(|(known, packets)| json!({"reason": known.reason(), "packets": packets}));
        json!({
            "version": 1,
            "backend": {"name": args.backend.backend_name(), "engine": args.backend.engine_name()},
            "programs": programs.collect::<Vec<_>>(),
            "packets": self.report.packets,
            "compared": COMPARED,
            "actions": actions.collect::<Vec<_>>(),
            "changed": packets.collect::<Vec<_>>(),
            "maps": maps.collect::<Vec<_>>(),
            "maps_not_compared": not_compared.collect::<Vec<_>>(),
            "not_comparable": not_comparable.collect::<Vec<_>>(),
            "known_differences": known.collect::<Vec<_>>(),
            "masked": report::masked_json(&self.report.masked),
            "differences": self.report.differences,
        })
    }
}
