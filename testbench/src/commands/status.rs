//! `iom status`: the XDP programs on the devices of this machine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use iom_backends::kernel::KernelBackend;
use iom_backends::kernel::live::{self, Counting, DeviceStatus, ProgramStatus};
use serde::Serialize;

use crate::exit::Exit;

/// Arguments of `iom status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Device of this network namespace [default: all that have a program]
    #[arg(value_name = "DEV")]
    device: Option<String>,
    /// Let the kernel count runs for this long and tell their rate
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    measure: Option<u64>,
    /// Machine-readable output (schema: docs/kernel-backend.md)
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom status
  iom status eth0 --measure 5
  iom status --json | jq '.devices[].programs[] | {name, mode, run_count}'";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    /// The kernel counts runs all the time.
    statistics_enabled: bool,
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
struct Device {
    device: String,
    ifindex: u32,
    programs: Vec<Program>,
}

#[derive(Debug, Serialize)]
struct Program {
    mode: &'static str,
    id: u32,
    name: String,
    tag: String,
    link: Option<u32>,
    pin: Option<PathBuf>,
    maps: Vec<PathBuf>,
    run_count: u64,
    run_time_ns: u64,
    measured: Option<Measured>,
}

/// What happened between two looks.
#[derive(Debug, PartialEq, Serialize)]
struct Measured {
    seconds: f64,
    runs: u64,
    runs_per_second: f64,
    ns_per_run: Option<f64>,
}

/// Prints what is attached, with counters.
///
/// # Errors
/// A kernel that cannot be used (exit code 4), a device that is not there (2).
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    KernelBackend::probe()?;
    let look = || live::status(args.device.as_deref());
    let mut devices: Vec<Device>;
    if let Some(seconds) = args.measure {
        let _counting = Counting::start()?;
        let start = Instant::now();
        let before = look()?;
        std::thread::sleep(Duration::from_secs(seconds));
        let after = look()?;
        let elapsed = start.elapsed();
        devices = after.into_iter().map(Device::from).collect();
        for program in devices.iter_mut().flat_map(|device| &mut device.programs) {
            program.measured = measured(&before, program, elapsed);
        }
    } else {
        devices = look()?.into_iter().map(Device::from).collect();
    }
    let report = Report {
        version: 1,
        statistics_enabled: live::statistics_enabled(),
        devices,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        report.write(out)?;
    }
    Ok(Exit::Success)
}

/// What a program did since it was looked at before; none if it was not there.
fn measured(before: &[DeviceStatus], now: &Program, elapsed: Duration) -> Option<Measured> {
    let programs = before.iter().flat_map(|device| &device.programs);
    let then: &ProgramStatus = programs.into_iter().find(|then| then.id == now.id)?;
    let runs = now.run_count - then.run_count;
    let time_ns = now.run_time_ns - then.run_time_ns;
    let seconds = elapsed.as_secs_f64();
    Some(Measured {
        seconds,
        runs,
        runs_per_second: runs as f64 / seconds,
        ns_per_run: (runs > 0).then(|| time_ns as f64 / runs as f64),
    })
}

impl From<DeviceStatus> for Device {
    fn from(status: DeviceStatus) -> Self {
        Self {
            device: status.device,
            ifindex: status.ifindex,
            programs: status.programs.into_iter().map(Program::from).collect(),
        }
    }
}

impl From<ProgramStatus> for Program {
    fn from(program: ProgramStatus) -> Self {
        Self {
            mode: program.mode.name(),
            id: program.id,
            name: program.name,
            tag: program.tag,
            link: program.link,
            pin: program.pin,
            maps: program.maps,
            run_count: program.run_count,
            run_time_ns: program.run_time_ns,
            measured: None,
        }
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.devices.is_empty() {
            writeln!(
                out,
                "no device of this network namespace has an XDP program"
            )?;
        }
        for device in &self.devices {
            writeln!(out, "{} (index {})", device.device, device.ifindex)?;
            if device.programs.is_empty() {
                writeln!(out, "  no XDP program")?;
            }
            for program in &device.programs {
                program.write(self.statistics_enabled, out)?;
            }
        }
        Ok(())
    }
}

impl Program {
    fn write(&self, statistics_enabled: bool, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            mode,
            id,
            name,
            tag,
            ..
        } = self;
        writeln!(out, "  {mode:<7} program {name}, id {id}, tag {tag}")?;
        match (&self.link, &self.pin) {
            (Some(link), Some(pin)) => {
                writeln!(out, "    link {link}, pinned in {}", pin.display())?
            }
            (Some(link), None) => {
                writeln!(out, "    link {link}, held by a process or a pin elsewhere")?
            }
            (None, _) => writeln!(out, "    no link: attached by another tool")?,
        }
        for map in &self.maps {
            writeln!(out, "    map {}", map.display())?;
        }
        if let Some(measured) = &self.measured {
            let each = measured.ns_per_run;
            let each = each.map_or(String::new(), |ns| format!(", {ns:.0} ns each"));
            let Measured {
                runs,
                seconds,
                runs_per_second,
                ..
            } = measured;
            return writeln!(
                out,
                "    {runs} runs in {seconds:.1} s, {runs_per_second:.0} a second{each}"
            );
        }
        let count = self.run_count;
        if count > 0 {
            return writeln!(
                out,
                "    {count} runs counted, {} ns each",
                self.run_time_ns / count
            );
        }
        if !statistics_enabled {
            return writeln!(
                out,
                "    runs are not counted now: --measure SECONDS, or sysctl kernel.bpf_stats_enabled=1"
            );
        }
        writeln!(out, "    no run yet")
    }
}
