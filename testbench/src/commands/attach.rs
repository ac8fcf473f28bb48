//! `iom attach`: puts a program on a device of this machine.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use iom_backends::kernel::KernelBackend;
use iom_backends::kernel::live::{self, AttachOptions, Attachment, Hold, LiveError, Mode};
use iom_core::abi::{Environment, LoadRequest, Network};
use iom_core::map::MapSet;
use serde_json::json;

use crate::exit::Exit;
use crate::map_files::Seeds;
use crate::program::ProgramArgs;

/// Arguments of `iom attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// Device of this network namespace
    #[arg(value_name = "DEV")]
    device: String,
    /// Where the program runs: in the driver, in the network stack, on the device itself [default:
    /// native where the driver can, else skb]
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<ModeArg>,
    /// Put it in the place of the device's program, without a packet that meets none
    #[arg(long)]
    replace: bool,
    /// Folder of a bpffs to pin the link and the maps in [default: /sys/fs/bpf/iom/DEV]
    #[arg(long, value_name = "PATH")]
    pin: Option<PathBuf>,
    /// Pin nothing: the program stays until this process ends (Ctrl-C)
    #[arg(long, conflicts_with = "pin")]
    foreground: bool,
    /// Contents of maps before the first packet, over those of the manifest
    #[arg(long, value_name = "FILE")]
    seed_maps: Vec<PathBuf>,
    /// Machine-readable output (schema: docs/kernel-backend.md)
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom attach programs/drop/drop.o eth0
  iom attach programs/acl/acl.o eth0 --mode skb --seed-maps rules.json
  iom attach programs/classify/classify.o eth0 --replace
  ip netns exec lab iom attach programs/drop/drop.o veth0 --foreground";

/// [`Mode`] as the user writes it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// In the driver
    Native,
    /// In the network stack, on any device
    Skb,
    /// On the device itself
    Hw,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Native => Self::Native,
            ModeArg::Skb => Self::Skb,
            ModeArg::Hw => Self::Hw,
        }
    }
}

/// Attaches, and stays if nothing is to be pinned.
///
/// # Errors
/// A program or seeds that cannot be read or used (exit code 2 or 3), a kernel that cannot be used
/// (4), a device that is not there or has a program already (2).
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    KernelBackend::probe()?;
    let program = args.program.load()?;
    let seeds = Seeds::read(&program, &args.seed_maps)?;
    let cpus = KernelBackend::cpus();
    let maps =
        MapSet::create_for_cpus(&program.module.maps, cpus, cpus).context("creating the maps")?;
    seeds
        .apply(&program.module, &maps)
        .context("filling the maps")?;
    let request = LoadRequest {
        module: &program.module,
        entry: program.entry,
        maps: &maps,
        environment: Environment::default(),
        network: Network::empty(),
        ports: 1,
        queues: cpus,
    };
    let options = AttachOptions {
        device: args.device.clone(),
        mode: args.mode.map(Mode::from),
        replace: args.replace,
        hold: if args.foreground {
            Hold::Process
        } else {
            Hold::Pin(args.pin.clone())
        },
    };
    let attachment = live::attach(&request, &options).map_err(|error| match error {
        LiveError::Backend(error) => program.explain(error.into()),
        error => error.into(),
    })?;
    let name = &program.module.programs[program.entry].name;
    print(&attachment, name, args.json, out)?;
    if args.foreground {
        out.flush()?;
        loop {
            std::thread::park();
        }
    }
    Ok(Exit::Success)
}

fn print(
    attachment: &Attachment,
    name: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Attachment {
        device,
        mode,
        program,
        link,
        pin,
        replaced,
        ..
    } = attachment;
    if as_json {
        let value = json!({
            "version": 1, "device": device, "mode": mode.name(), "program": name, "id": program,
            "link": link, "pin": pin, "replaced": replaced,
        });
        return writeln!(out, "{value}");
    }
    let instead = replaced.map_or(String::new(), |id| format!(" in the place of id {id}"));
    write!(
        out,
        "{device}: program {name} (id {program}, {mode}){instead}, "
    )?;
    match pin {
        Some(pin) => writeln!(out, "pinned in {}", pin.display()),
        None => writeln!(out, "until this process ends"),
    }
}
