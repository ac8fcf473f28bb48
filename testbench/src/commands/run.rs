//! `iom run`: captures through a program on one backend, and what comes out.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use iom_backends::interpreter::{Coverage, Observe, Trace};
use iom_core::abi::{Backend, PortId, Recorder};
use iom_core::module::Module;
use iom_nfp_offload::backend::Nfp;
use iom_sim::capture::{
    Annotations, CaptureError, CaptureWriter, LinkType, MergedReader, Packet, port_name,
};
use iom_sim::device::{Counters, Verdict};
use iom_sim::redirect::{Deliverer, Delivery};
use iom_sim::replay::{Ingress, Ingressed, PacketBatch};
use serde_json::json;

use crate::compare::PacketView;
use crate::coverage::output::CoverageArgs;
use crate::cycles_report::{Counted, CyclesReport};
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::exit::{Exit, Failure};
use crate::lane::{Lane, Running};
use crate::map_files;
use crate::pin_dir::PinDir;
use crate::program::ProgramArgs;
use crate::progress::Progress;
use crate::record::{Delivered, PacketWriter};
use crate::replay_args::ReplayArgs;
use crate::stats::{Report, Stats};

/// Arguments of `iom run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command"
)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    #[command(flatten)]
    replay: ReplayArgs,
    /// Backend: sim (or sim:interp), kernel, nfp (or nfp:fixed)
    #[arg(long, default_value = "sim", value_name = "NAME")]
    backend: Engine,
    #[command(flatten)]
    engine: EngineArgs,
    /// Output: a directory (existing, or ending in a slash) gets the frames that leave, one pcapng
    /// file per port and one for the host; a file gets every packet as the program left it, with
    /// its verdict, queue and number
    #[arg(short, long, value_name = "PATH")]
    write: Option<String>,
    /// One JSON line for each packet
    #[arg(long, value_name = "FILE")]
    packets: Option<PathBuf>,
    /// Packet bytes in --packets, too
    #[arg(long, requires = "packets")]
    bytes: bool,
    /// Contents of maps before the first packet, over those of the manifest
    #[arg(long, value_name = "FILE")]
    seed_maps: Vec<PathBuf>,
    /// Directory that stands for a BPF file system: maps that the program pins by name start with what
    /// a run before left there, and leave what they hold
    #[arg(long, value_name = "DIR")]
    pin_dir: Option<PathBuf>,
    /// Contents of maps after the last packet
    #[arg(long, value_name = "FILE")]
    dump_maps: Option<PathBuf>,
    /// Print what the program does with the packet of this number: instructions, registers that
    /// change, memory that is touched, source lines; on the simulator only
    #[arg(long, value_name = "PACKET", conflicts_with = "json")]
    trace: Option<u64>,
    #[command(flatten)]
    coverage: CoverageArgs,
    /// Packets, bytes and actions by port, queue and program, rates by capture time, drop reasons
    #[arg(long, conflicts_with = "trace")]
    stats: bool,
    /// What a packet costs on the card, and how many a second it could take, by a model; for nfp
    #[arg(long)]
    cycles: bool,
    /// Name what the model lets pass and a card might not forgive: index registers that are used too
    /// early, reads outside of the packet; for nfp
    #[arg(long)]
    strict: bool,
    /// Machine-readable summary
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The same on the model of the NFP.
    #[must_use]
    pub(super) fn on_nfp(self) -> Self {
        Self {
            backend: match self.backend {
                Engine::NfpFixed => Engine::NfpFixed,
                _ => Engine::Nfp,
            },
            ..self
        }
    }
}

const EXAMPLES: &str = "Examples:
  iom run programs/router/router.o -i 0@pcaps/routed-a.pcap -i 1@pcaps/routed-b.pcapng -w out/
  iom run programs/classify/classify.o -i pcaps/mix.pcap --dump-maps maps.json
  iom run programs/firewall/firewall.o -i pcaps/mix.pcap --trace 3
  iom run programs/chain/chain.o -i pcaps/mix.pcap --profile --coverage-html coverage.html";

/// Packets that go through the backend at a time.
const BATCH_PACKETS: usize = 512;

/// Replays and prints counters.
///
/// # Errors
/// Unreadable input, a refused program, a missing or failing backend, output that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let program = args.program.load()?;
    let setup = args.replay.setup(program.ports, program.fib.as_deref())?;
    let pinned = args
        .pin_dir
        .as_deref()
        .map(|dir| PinDir::open(dir, &program.module))
        .transpose()?;
    let pinned_files = pinned.iter().flat_map(PinDir::present);
    let seed_files: Vec<PathBuf> = pinned_files.chain(args.seed_maps.iter().cloned()).collect();
    let seeds = map_files::Seeds::read(&program, &seed_files)?;
    args.coverage.check(&program.module)?;
    let observe = observe(args);
    let (backend, counted) = backend(args, &observe)?;
    let seed = |maps: &_| seeds.apply(&program.module, maps);
    let target = (&program.module, program.entry);
    let lane = Lane::load(
        &args.backend.to_string(),
        &*backend,
        args.backend.keeps_retval(),
        target,
        &setup,
        &seed,
    )
    .map_err(|error| program.explain(error))?;
    let mut source = args.replay.open()?;
    let mut ingress =
        args.replay
            .ingress(&setup, lane.capabilities.frame_bytes, args.backend.pad_to());
    let mut outputs = Outputs::create(args, setup.ports)?;
    let fault = replay(
        &lane,
        setup.queues,
        &mut source,
        &mut ingress,
        &program.module,
        &mut outputs,
    )?;
    outputs.summary.counters.assert_balanced();
    if let Some(path) = &args.dump_maps {
        map_files::dump(path, &program.module, &lane.maps()?)?;
    }
    if let Some(pinned) = &pinned {
        pinned.write(&program.module, &lane.maps()?)?;
    }
    let summary = outputs.finish()?;
    report(
        args,
        out,
        &program.module,
        &summary,
        observe,
        counted.as_ref(),
    )?;
    if let Some(fault) = fault {
        return Err(Failure::usage(format!(
            "{fault} (all packets before it were replayed)"
        )));
    }
    let mut ports = summary.counters.ports.values();
    if ports.all(|port| port.rx_packets == 0) {
        return Err(Failure::usage(
            "the captures hold no packets that this backend takes",
        ));
    }
    Ok(Exit::Success)
}

/// Writes what was observed, then the counters.
fn report(
    args: &Args,
    out: &mut dyn Write,
    module: &Module,
    summary: &Summary,
    observe: Observe,
    counted: Option<&Counted>,
) -> anyhow::Result<()> {
    let mut counts = None;
    match observe {
        Observe::Nothing => {}
        Observe::Trace(trace) => {
            let text = trace.text(module).ok_or_else(|| {
                Failure::usage(format!("packet {} was not replayed", trace.packet_id()))
            })?;
            out.write_all(text.as_bytes())?;
        }
        Observe::Coverage(coverage) => {
            let counts = counts.insert(coverage.counts());
            args.coverage.write(module, counts, out)?;
        }
    }
    let stats = summary.stats.as_ref();
    let stats = stats.map(|stats| stats.report(module, counts.as_ref()));
    print(args, out, summary, stats.as_ref(), counted)
}

/// What the interpreter is to look at.
fn observe(args: &Args) -> Observe {
    match args.trace {
        Some(packet) => Observe::Trace(Trace::of_packet(packet)),
        None if args.coverage.any() => Observe::Coverage(Coverage::default()),
        None if args.stats && args.backend == Engine::SimInterpreter => {
            Observe::Coverage(Coverage::default())
        }
        None => Observe::Nothing,
    }
}

/// The backend, and with --cycles or --strict what is kept of its runs.
type Chosen = (Box<dyn Backend>, Option<Counted>);

fn backend(args: &Args, observe: &Observe) -> anyhow::Result<Chosen> {
    if args.cycles || args.strict {
        let nfp = args.engine.nfp(args.backend)?;
        let counted = Counted {
            profile: nfp.profile.clone(),
            totals: Arc::default(),
        };
        let totals = Some(counted.totals.clone());
        let strict = args.strict;
        let nfp = Nfp {
            totals,
            strict,
            ..nfp
        };
        return Ok((Box::new(nfp), Some(counted)));
    }
    let backend = match (observe, args.backend) {
        (Observe::Nothing, engine) => args.engine.backend(engine),
        (_, Engine::SimInterpreter) => Ok(Engine::observing(observe.clone())),
        (_, engine) => {
            let message = format!("traces, coverage and profiles are for sim, not {engine}");
            Err(Failure::usage(message))
        }
    };
    Ok((backend?, None))
}

fn replay(
    lane: &Lane,
    queues: u32,
    source: &mut MergedReader,
    ingress: &mut Ingress,
    module: &Module,
    outputs: &mut Outputs,
) -> anyhow::Result<Option<CaptureError>> {
    let mut running = lane.start(queues)?;
    let mut deliverer = lane.deliverer()?;
    let mut batch = PacketBatch::default();
    let progress = Progress::start("packets");
    loop {
        let fault = ingress.fill(source, &mut batch, BATCH_PACKETS).err();
        running.run(&batch)?;
        outputs.take(&batch, &running, &mut deliverer, module)?;
        progress.set(
            batch
                .packets()
                .last()
                .map_or(0, |packet| packet.id.saturating_add(1)),
        );
        if fault.is_some() || batch.is_empty() {
            return Ok(fault);
        }
    }
}

/// What came of all packets together.
#[derive(Default)]
struct Summary {
    counters: Counters,
    set_aside: u64,
    stats: Option<Stats>,
}

/// Everything that a replay writes.
struct Outputs {
    summary: Summary,
    packets: Option<PacketWriter<'static>>,
    frames: Option<CaptureWriter>,
    by_port: bool,
}

impl Outputs {
    fn create(args: &Args, ports: u32) -> anyhow::Result<Self> {
        let packets = args
            .packets
            .as_deref()
            .map(|path| PacketWriter::create(path, args.bytes))
            .transpose()?;
        let mut frames = args
            .write
            .as_deref()
            .map(CaptureWriter::create)
            .transpose()?;
        if let Some(writer) = &mut frames {
            (0..ports).try_for_each(|port| writer.declare(&port_name(port), LinkType::ETHERNET))?;
        }
        let by_port = frames.as_ref().is_some_and(CaptureWriter::is_directory);
        Ok(Self {
            summary: Summary {
                stats: args.stats.then(Stats::default),
                ..Summary::default()
            },
            packets,
            frames,
            by_port,
        })
    }

    fn take(
        &mut self,
        batch: &PacketBatch,
        running: &Running<'_>,
        deliverer: &mut Deliverer<'_>,
        module: &Module,
    ) -> anyhow::Result<()> {
        self.summary.set_aside += batch.set_aside().len() as u64;
        for (packet, view) in batch.packets().iter().zip(running.views()) {
            let mut later = Recorder::default();
            let deliveries =
                deliverer.deliver(packet.port, view.outcome, view.frame, &mut later)?;
            let delivered = Delivered {
                deliveries: &deliveries,
                events: &later.events,
            };
            if let Some(writer) = &mut self.packets {
                writer.write(module, &running.lane.name, packet, &view, &delivered)?;
            }
            if view.outcome.refused.is_some() {
                self.summary.set_aside += 1;
                continue;
            }
            self.count(packet, &view, &deliveries);
            for delivery in &deliveries {
                self.write_frame(packet, &view, delivery)?;
                if !self.by_port {
                    break;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, packet: &Ingressed, view: &PacketView<'_>, deliveries: &[Delivery]) {
        let len = |delivery: &Delivery| delivery.frame.as_deref().unwrap_or(view.frame).len();
        let counters = &mut self.summary.counters;
        let Some((first, copies)) = deliveries.split_first() else {
            return;
        };
        let received = packet.len_bytes();
        counters.count(
            packet.port,
            view.outcome,
            first.verdict,
            received,
            len(first),
        );
        for copy in copies {
            counters.count_duplicate(copy.verdict, len(copy));
        }
        if let Some(stats) = &mut self.summary.stats {
            stats.count(packet, view.outcome, first.verdict);
        }
    }

    fn write_frame(
        &mut self,
        packet: &Ingressed,
        view: &PacketView<'_>,
        delivery: &Delivery,
    ) -> anyhow::Result<()> {
        let Some(writer) = &mut self.frames else {
            return Ok(());
        };
        let interface = if self.by_port {
            match delivery.verdict {
                Verdict::Drop(_) => return Ok(()),
                Verdict::Transmit(PortId(port)) => port_name(port),
                Verdict::Host | Verdict::Cpu(_) => "host".to_owned(),
                Verdict::Socket(queue) => format!("socket-{queue}"),
            }
        } else {
            port_name(packet.port.0)
        };
        let left = view.frame;
        let frame = delivery.frame.as_deref().filter(|_| self.by_port);
        let bytes = frame.unwrap_or(left).packet();
        let frame = Packet {
            bytes: &bytes,
            time_ns: packet.time_ns,
            original_len: bytes.len() as u32,
            interface: 0,
            link_type: LinkType::ETHERNET,
            annotations: Annotations {
                xdp_action: Some(u64::from(view.outcome.retval)),
                queue: Some(packet.queue.0),
                packet_id: Some(packet.id),
            },
        };
        Ok(writer.write(&interface, &frame)?)
    }

    fn finish(self) -> anyhow::Result<Summary> {
        if let Some(writer) = self.packets {
            writer.finish()?;
        }
        if let Some(writer) = self.frames {
            writer.finish()?;
        }
        Ok(self.summary)
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one block for each part of the report"
)]
fn print(
    args: &Args,
    out: &mut dyn Write,
    summary: &Summary,
    stats: Option<&Report>,
    counted: Option<&Counted>,
) -> anyhow::Result<()> {
    let Summary {
        counters,
        set_aside,
        ..
    } = summary;
    if args.json {
        let ports: Vec<_> = counters
            .ports
            .iter()
            .map(|(port, counters)| json!({"port": port.0, "counters": counters}))
            .collect();
        let drops: Vec<_> = counters
            .drops
            .iter()
            .map(|(reason, packets)| json!({"reason": reason.text(), "packets": packets}))
            .collect();
        let mut summary = json!({
            "version": 1,
            "backend": args.backend.backend_name(),
            "engine": args.backend.engine_name(),
            "ports": ports,
            "drops": drops,
            "delivered": counters.delivered,
            "not_replayed": set_aside,
        });
        if let Some(stats) = stats {
            summary["stats"] = json!(stats);
        }
        if let Some(counted) = counted.filter(|_| args.cycles) {
            summary["cycles"] = CyclesReport::of(counted).to_json();
        }
        if let Some(counted) = counted.filter(|_| args.strict) {
            summary["strict"] = counted.findings_json();
        }
        writeln!(out, "{summary}")?;
        return Ok(());
    }
    writeln!(
        out,
        "port  rx packets     rx bytes       pass       drop    aborted         tx   redirect   sent packets     sent bytes"
    )?;
    for (port, c) in &counters.ports {
        writeln!(
            out,
            "{:>4}  {:>10} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10}     {:>10}   {:>12}",
            port.0,
            c.rx_packets,
            c.rx_bytes,
            c.rx_xdp_pass,
            c.rx_xdp_drop,
            c.rx_xdp_aborted,
            c.rx_xdp_tx,
            c.rx_xdp_redirect,
            c.tx_packets,
            c.tx_bytes
        )?;
    }
    // Statistics name them in more detail.
    let drops = counters.drops.iter().filter(|_| stats.is_none());
    for (reason, packets) in drops {
        writeln!(out, "dropped {packets}: {}", reason.text())?;
    }
    if *set_aside > 0 {
        writeln!(
            out,
            "not replayed: {set_aside} packets, of a length that this backend does not take"
        )?;
    }
    if let Some(stats) = stats {
        stats.write(out)?;
    }
    if let Some(counted) = counted.filter(|_| args.cycles) {
        CyclesReport::of(counted).write(out)?;
    }
    if let Some(counted) = counted.filter(|_| args.strict) {
        counted.write_findings(out)?;
    }
    Ok(())
}
