//! `iom check`: the same packets through several backends, and everything compared.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use iom_core::abi::BackendError;
use serde_json::{Value, json};

use crate::args::{Cli, Command};
use crate::cross_check::{CrossCheck, Keep, Report, frame_bytes};
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::exit::{Exit, Failure};
use crate::kept_packets;
use crate::lane::{Lane, Setup};
use crate::map_files;
use crate::mask::{Mask, Masks};
use crate::minimal_case::{Difference, MinimalCase, Trials};
use crate::pin_dir::PinDir;
use crate::program::{LoadedProgram, ProgramArgs};
use crate::progress::Progress;
use crate::record::{Delivered, PacketWriter};
use crate::replay_args::ReplayArgs;
use crate::report::{self, Skipped};
use crate::save_diff::{self, Case};

/// Arguments of `iom check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    #[command(flatten)]
    replay: ReplayArgs,
    /// Backends to compare with the first of them: sim (or sim:interp), kernel, nfp (or nfp:fixed)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sim,kernel",
        value_name = "NAME,..."
    )]
    backends: Vec<Engine>,
    /// Go on without backends that this machine does not have
    #[arg(long)]
    allow_missing: bool,
    /// Contents of maps before the first packet, over those of the manifest
    #[arg(long, value_name = "FILE")]
    seed_maps: Vec<PathBuf>,
    /// Directory that stands for a BPF file system: maps that the program pins by name start with what
    /// a run before left there, and leave what they hold on the first backend
    #[arg(long, value_name = "DIR")]
    pin_dir: Option<PathBuf>,
    /// One JSON line for each packet and backend
    #[arg(long, value_name = "FILE")]
    packets: Option<PathBuf>,
    /// Packet bytes in --packets, too
    #[arg(long, requires = "packets")]
    bytes: bool,
    /// What may differ by design, with the reason: redirect, metadata, events, bytes:OFFSET-LENGTH,
    /// bytes:PROTOCOL.FIELD (such as bytes:ipv4.identification), map:NAME, map:NAME:OFFSET-LENGTH
    #[arg(long = "mask", value_name = "FIELD=REASON")]
    masks: Vec<Mask>,
    /// Keep what repeats the first difference: packets, map seeds, command line
    #[arg(long, value_name = "DIR")]
    save_diff: Option<PathBuf>,
    /// Shrink the first difference to the fewest packets and bytes that still show it, and keep
    /// what repeats it
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "minimized")]
    minimize: Option<PathBuf>,
    /// How often --minimize may run the backends
    #[arg(long, default_value_t = 2000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    minimize_trials: u32,
    /// How many differences to show
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    show: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// Machine-readable report
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom check programs/firewall/firewall.o -i pcaps/mix.pcap
  iom check programs/classify/classify.o -i pcaps/mix.pcap --backends sim,kernel,nfp
  iom check new.o -i 0@lan.pcap -i 1@wan.pcapng --queues 2 --save-diff diff/
  iom check new.o -i mix.pcap --minimize smallest/
  iom check new.o -i mix.pcap --mask 'bytes:ipv4.identification=counts up'";

/// Checks, reports, and says by the exit code whether the backends agree.
///
/// # Errors
/// Unreadable input, a refused program, a missing or failing backend.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let prepared = Prepared::new(args)?;
    let report = prepared.check(args)?;
    let minimized = match (&args.minimize, Difference::first_of(&report)) {
        (Some(dir), Some(difference)) => prepared.minimize(args, dir, &report, difference)?,
        _ => None,
    };
    let module = &prepared.program.module;
    let (engines, skipped) = (&prepared.engines, &prepared.skipped);
    if args.json {
        let mut json = report::to_json(&report, module, engines, skipped);
        if let Some(minimized) = &minimized {
            json["minimized"] = minimized.to_json();
        }
        writeln!(out, "{json}")?;
    } else {
        report::write_text(out, &report, module, engines, skipped)?;
        if let Some(minimized) = &minimized {
            minimized.write_text(out)?;
        }
    }
    prepared.finish(args, &report)
}

/// A check that is ready to run.
struct Prepared {
    program: LoadedProgram,
    /// What pinned maps hold, and the seeds of the command line over it.
    seed_files: Vec<PathBuf>,
    pinned: Option<PinDir>,
    setup: Setup,
    masks: Masks,
    lanes: Vec<Lane>,
    engines: Vec<Engine>,
    skipped: Vec<Skipped>,
}

impl Prepared {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let engines = distinct(&args.backends)?;
        let program = args.program.load()?;
        let masks = Masks::new(&args.masks, &[&program.module])?;
        let mut setup = args.replay.setup(program.ports, program.fib.as_deref())?;
        let cpus = engines.iter().map(|engine| engine.cpus());
        setup.cpus = cpus.fold(setup.queues, u32::max);
        let pin_dir = args.pin_dir.as_deref();
        let pinned = pin_dir
            .map(|dir| PinDir::open(dir, &program.module))
            .transpose()?;
        let present = pinned.iter().flat_map(PinDir::present);
        let seed_files: Vec<PathBuf> = present.chain(args.seed_maps.iter().cloned()).collect();
        let (lanes, engines, skipped) =
            load_lanes(args, &engines, (&program, &seed_files), &setup)?;
        if lanes.len() < 2 {
            let reasons: Vec<String> = skipped
                .iter()
                .map(|s| format!("{}: {}", s.backend, s.reason))
                .collect();
            return Err(Failure::missing(format!(
                "fewer than two backends left to compare ({})",
                reasons.join("; ")
            )));
        }
        Ok(Self {
            program,
            seed_files,
            pinned,
            setup,
            masks,
            lanes,
            engines,
            skipped,
        })
    }

    fn pad_to(&self) -> usize {
        let padded = self.engines.iter().map(|engine| engine.pad_to());
        padded.max().unwrap_or(0)
    }

    fn check(&self, args: &Args) -> anyhow::Result<Report> {
        let mut source = args.replay.open()?;
        let limits = frame_bytes(&self.lanes);
        let mut ingress = args.replay.ingress(&self.setup, limits, self.pad_to());
        let mut packets = args
            .packets
            .as_deref()
            .map(|path| PacketWriter::create(path, args.bytes))
            .transpose()?;
        let progress = Progress::start("packets");
        let check = CrossCheck {
            lanes: &self.lanes,
            queues: self.setup.queues,
            keep: Keep::First(args.show.max(1)),
            masks: &self.masks,
        };
        let report = check.run(&mut source, &mut ingress, &mut |backend, packet, view| {
            progress.set(packet.id.saturating_add(1));
            match &mut packets {
                Some(writer) => {
                    let delivered = Delivered::default();
                    Ok(writer.write(&self.program.module, backend, packet, view, &delivered)?)
                }
                None => Ok(()),
            }
        })?;
        if let Some(writer) = packets {
            writer.finish()?;
        }
        Ok(report)
    }

    fn case<'a>(&'a self, args: &'a Args) -> Case<'a> {
        Case {
            program: &self.program,
            replay: &args.replay,
            seed_files: &self.seed_files,
            engines: &self.engines,
            masks: &args.masks,
            engine: &args.engine,
        }
    }

    /// Looks for the smallest packets, keeps them, and runs the command that was kept with them.
    fn minimize(
        &self,
        args: &Args,
        dir: &Path,
        report: &Report,
        difference: Difference,
    ) -> anyhow::Result<Option<SavedMinimum>> {
        let load = |setup: &Setup| {
            let target = (&self.program, self.seed_files.as_slice());
            let (lanes, ..) = load_lanes(args, &self.engines, target, setup)?;
            Ok(lanes)
        };
        let trials = Trials {
            replay: &args.replay,
            setup: &self.setup,
            pad_to: self.pad_to(),
            masks: &self.masks,
            load: &load,
        };
        let found = trials.search(report, difference, args.minimize_trials)?;
        let Some(case) = found else {
            eprintln!(
                "iom: --minimize: the packets up to the difference do not show it again (with --no-rewrite, time and random numbers are the kernel's own)"
            );
            return Ok(None);
        };
        let packets = &case.minimized.packets;
        let words = save_diff::save(dir, &self.case(args), packets)?;
        let again = Cli::try_parse_from(words)?;
        let repeats = match again.command {
            Command::Check(again) => Self::new(&again)?.check(&again)?,
            _ => unreachable!("the command that was kept is a check"),
        };
        Ok(Some(SavedMinimum {
            repeats: difference.shows(&repeats, packets).is_some(),
            dir: dir.to_owned(),
            case,
        }))
    }

    fn finish(&self, args: &Args, report: &Report) -> anyhow::Result<Exit> {
        if let (Some(dir), Some(difference)) = (&args.save_diff, Difference::first_of(report)) {
            let last = difference.last_packet(report);
            let packets = kept_packets::read(&args.replay, &self.setup, last)?;
            save_diff::save(dir, &self.case(args), &packets)?;
        }
        if let Some(pinned) = &self.pinned {
            pinned.write(&self.program.module, &self.lanes[0].maps()?)?;
        }
        if let Some(fault) = &report.capture_fault {
            return Err(Failure::usage(format!(
                "{fault} (all packets before it were compared)"
            )));
        }
        let set_aside: u64 = report.not_comparable.values().sum();
        match (report.packets, report.differences) {
            (0, 0) if set_aside > 0 => Err(Failure::usage("no packet could be compared")),
            (0, 0) => Err(Failure::usage("the captures hold no packets")),
            (_, 0) => Ok(Exit::Success),
            _ => Ok(Exit::Differs),
        }
    }
}

/// A minimal case as it was kept.
struct SavedMinimum {
    dir: PathBuf,
    case: MinimalCase,
    /// The command that was kept showed the difference again.
    repeats: bool,
}

impl SavedMinimum {
    fn bytes(&self) -> usize {
        let packets = self.case.minimized.packets.iter();
        packets.map(|packet| packet.bytes.len()).sum()
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let found = &self.case.minimized;
        writeln!(
            out,
            "minimized: {} of {} packets, {} bytes, {} trials{}: {}{}",
            found.packets.len(),
            self.case.packets_before,
            self.bytes(),
            found.trials,
            if found.complete {
                ""
            } else {
                ", not at its end (--minimize-trials)"
            },
            self.dir.join("command.txt").display(),
            if self.repeats {
                ""
            } else {
                " (but that command does not show the difference)"
            },
        )?;
        for packet in &found.packets {
            let (id, port, len) = (packet.id, packet.port, packet.bytes.len());
            writeln!(out, "  packet {id} (port {port}, {len} bytes)")?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let found = &self.case.minimized;
        json!({
            "packets": found.packets.iter().map(|packet| packet.id).collect::<Vec<_>>(),
            "packets_before": self.case.packets_before,
            "bytes": self.bytes(),
            "trials": found.trials,
            "complete": found.complete,
            "repeats": self.repeats,
            "directory": self.dir,
        })
    }
}

fn distinct(engines: &[Engine]) -> anyhow::Result<Vec<Engine>> {
    let names: BTreeSet<String> = engines.iter().map(ToString::to_string).collect();
    if engines.len() < 2 || names.len() < engines.len() {
        return Err(Failure::usage(
            "--backends needs two or more different backends, such as sim,kernel",
        ));
    }
    Ok(engines.to_vec())
}

type Lanes = (Vec<Lane>, Vec<Engine>, Vec<Skipped>);

fn load_lanes(
    args: &Args,
    engines: &[Engine],
    (program, seed_files): (&LoadedProgram, &[PathBuf]),
    setup: &Setup,
) -> anyhow::Result<Lanes> {
    let seeds = map_files::Seeds::read(program, seed_files)?;
    let (mut lanes, mut present, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for engine in engines {
        let backend = args.engine.backend(*engine)?;
        let name = engine.to_string();
        let target = (&program.module, program.entry);
        let seed = |maps: &_| seeds.apply(&program.module, maps);
        match Lane::load(
            &name,
            &*backend,
            engine.keeps_retval(),
            target,
            setup,
            &seed,
        ) {
            Ok(lane) => {
                lanes.push(lane);
                present.push(*engine);
            }
            Err(error) => match error.downcast_ref::<BackendError>() {
                Some(BackendError::Missing { reason, .. }) if args.allow_missing => {
                    skipped.push(Skipped {
                        backend: name,
                        reason: reason.clone(),
                    });
                }
                _ => return Err(program.explain(error)),
            },
        }
    }
    Ok((lanes, present, skipped))
}
