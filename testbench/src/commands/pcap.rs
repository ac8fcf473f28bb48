//! `iom pcap`: what captures hold.

use std::io::Write;

use clap::Subcommand;

use crate::capture_info::CaptureInfo;
use crate::exit::Exit;

/// Arguments of `iom pcap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Format, link types, packets, protocols and faults of captures
    Info(InfoArgs),
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// pcap, pcapng (gzip or zstd, too) or frames in JSON; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Output that cannot be written. A broken capture is part of the output and of the exit code.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Info(args) => info(args, out),
    }
}

fn info(args: &InfoArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    for path in &args.files {
        let mut info = CaptureInfo::read(path);
        if info.fault.is_some() {
            exit = Exit::Usage;
        }
        if args.json {
            info.file = (args.files.len() > 1).then(|| path.clone());
            writeln!(out, "{}", serde_json::to_string(&info)?)?;
        } else {
            info.print(path, out)?;
        }
    }
    Ok(exit)
}
