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
    name: String,
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
    elapsed_ns: u64,
    runs: u64,
    run_time_ns: u64,
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
    Some(Measured {
        elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
        runs: now.run_count - then.run_count,
        run_time_ns: now.run_time_ns - then.run_time_ns,
    })
}

impl From<DeviceStatus> for Device {
    fn from(status: DeviceStatus) -> Self {
        Self {
            name: status.device,
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
            writeln!(out, "{} (index {})", device.name, device.ifindex)?;
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
                writeln!(out, "    link {link}, pinned in {}", pin.display())
            }
            (Some(link), None) => {
                writeln!(out, "    link {link}, held by a process or a pin elsewhere")
            }
            (None, _) => writeln!(out, "    no link: attached by another tool"),
        }?;
        for map in &self.maps {
            writeln!(out, "    map {}", map.display())?;
        }
        let counts = match &self.measured {
            Some(measured) => measured.text(),
            None => match self.run_time_ns.checked_div(self.run_count) {
                Some(each) => format!("{} runs counted, {each} ns each", self.run_count),
                None if statistics_enabled => "no run yet".to_owned(),
                None => "runs are not counted now: --measure SECONDS, or sysctl kernel.bpf_stats_enabled=1".to_owned(),
            },
        };
        writeln!(out, "    {counts}")
    }
}

impl Measured {
    fn text(&self) -> String {
        let Self {
            elapsed_ns,
            runs,
            run_time_ns,
        } = *self;
        let rate = u128::from(runs) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
        let each = run_time_ns.checked_div(runs);
        let each = each.map_or(String::new(), |ns| format!(", {ns} ns each"));
        let ms = elapsed_ns / 1_000_000;
        format!(
            "{runs} runs in {}.{:03} s, {rate} a second{each}",
            ms / 1000,
            ms % 1000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_what_was_measured() {
        let measured = |runs, run_time_ns| Measured {
            elapsed_ns: 2_000_400_000,
            runs,
            run_time_ns,
        };
        assert_eq!(measured(0, 0).text(), "0 runs in 2.000 s, 0 a second");
        let busy = measured(3_000_000, 120_000_000);
        assert_eq!(
            busy.text(),
            "3000000 runs in 2.000 s, 1499700 a second, 40 ns each"
        );
    }
}
