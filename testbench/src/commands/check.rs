//! `iom check`: the same packets through several backends, and everything compared.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use iom_core::abi::BackendError;

use crate::cross_check::{CrossCheck, Keep, Report, frame_bytes};
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::lane::{Lane, Setup};
use crate::mask::{Mask, Masks};
use crate::program::{LoadedProgram, ProgramArgs};
use crate::progress::Progress;
use crate::record::PacketWriter;
use crate::replay_args::ReplayArgs;
use crate::report::{self, Skipped};
use crate::{map_files, save_diff};

/// Arguments of `iom check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    #[command(flatten)]
    replay: ReplayArgs,
    /// Backends to compare with the first of them: sim (or sim:interp), kernel, nfp
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
    /// How many differences to show
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    show: usize,
    /// Load programs into the kernel as they are: time and random numbers are then its own
    #[arg(long)]
    no_rewrite: bool,
    /// Machine-readable report
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom check programs/firewall/firewall.o -i pcaps/mix.pcap
  iom check programs/classify/classify.o -i pcaps/mix.pcap --backends sim,kernel,nfp
  iom check new.o -i 0@lan.pcap -i 1@wan.pcapng --queues 2 --save-diff diff/";

/// Checks, reports, and says by the exit code whether the backends agree.
///
/// # Errors
/// Unreadable input, a refused program, a missing or failing backend.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let engines = distinct(&args.backends)?;
    let program = args.program.load()?;
    let mut setup = args.replay.setup(program.ports)?;
    let cpus = engines.iter().map(|engine| engine.cpus());
    setup.cpus = cpus.fold(setup.queues, u32::max);
    let (lanes, engines, skipped) = load_lanes(args, &engines, &program, &setup)?;
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
    let report = cross_check(args, &program, &setup, &lanes, &engines)?;
    if args.json {
        writeln!(
            out,
            "{}",
            report::to_json(&report, &program.module, &engines, &skipped)
        )?;
    } else {
        report::write_text(out, &report, &program.module, &engines, &skipped)?;
    }
    finish(args, &program, &report)
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
    program: &LoadedProgram,
    setup: &Setup,
) -> anyhow::Result<Lanes> {
    let seeds = map_files::Seeds::read(program, &args.seed_maps)?;
    let (mut lanes, mut present, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for engine in engines {
        let backend = engine.backend(!args.no_rewrite);
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

fn cross_check(
    args: &Args,
    program: &LoadedProgram,
    setup: &Setup,
    lanes: &[Lane],
    engines: &[Engine],
) -> anyhow::Result<Report> {
    let pad_to = engines
        .iter()
        .map(|engine| engine.pad_to())
        .max()
        .unwrap_or(0);
    let mut source = args.replay.open()?;
    let mut ingress = args.replay.ingress(setup, frame_bytes(lanes), pad_to);
    let mut packets = args
        .packets
        .as_deref()
        .map(|path| PacketWriter::create(path, args.bytes))
        .transpose()?;
    let progress = Progress::start("packets");
    let check = CrossCheck {
        lanes,
        queues: setup.queues,
        keep: Keep::First(args.show.max(1)),
        masks: &Masks::new(&args.masks, &[&program.module])?,
    };
    let report = check.run(&mut source, &mut ingress, &mut |backend, packet, view| {
        progress.set(packet.id.saturating_add(1));
        match &mut packets {
            Some(writer) => Ok(writer.write(&program.module, backend, packet, view)?),
            None => Ok(()),
        }
    })?;
    if let Some(writer) = packets {
        writer.finish()?;
    }
    Ok(report)
}

fn finish(args: &Args, program: &LoadedProgram, report: &Report) -> anyhow::Result<Exit> {
    if report.differences > 0
        && let Some(dir) = &args.save_diff
    {
        save_diff::save(
            dir,
            program,
            &args.replay,
            &args.seed_maps,
            (&args.backends, !args.no_rewrite),
            report,
        )?;
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
