//! `iom pcap`: what captures hold, taking them apart and putting them together.

use std::io::Write;

use clap::{Subcommand, ValueEnum};
use iom_sim::capture::Order;

use crate::capture_copy::{self, By, Copied};
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
    /// One capture into several, which `merge --order id` puts together again
    Split(SplitArgs),
    /// Several captures into one
    Merge(MergeArgs),
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

#[derive(Debug, clap::Args)]
struct SplitArgs {
    /// The capture; - is standard input
    file: String,
    /// Directory for the parts
    #[arg(short, long)]
    write: String,
    /// What decides which file a packet goes to
    #[arg(long, value_enum, default_value_t = SplitBy::Interface)]
    by: SplitBy,
    /// flow: number of files; count: packets in each file; time: seconds in each file
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SplitBy {
    /// Interfaces of the capture
    Interface,
    /// Both directions of a flow stay together
    Flow,
    /// Packets, in their order
    Count,
    /// Time since the first packet
    Time,
}

#[derive(Debug, clap::Args)]
struct MergeArgs {
    /// The captures; - is standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// The pcapng file to write; - is standard output
    #[arg(short, long)]
    write: String,
    /// What orders the packets
    #[arg(long, value_enum, default_value_t = MergeOrder::Time)]
    order: MergeOrder,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MergeOrder {
    /// Time, then the order of the files
    Time,
    /// One file after the other
    Named,
    /// Packet ids, as split and run note them
    Id,
}

/// Runs the subcommand.
///
/// # Errors
/// Output that cannot be written. A broken capture is part of the output and of the exit code.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Info(args) => info(args, out),
        Command::Split(args) => {
            let by = match args.by {
                SplitBy::Interface => By::Interface,
                SplitBy::Flow => By::Flow(args.size),
                SplitBy::Count => By::Count(args.size.into()),
                SplitBy::Time => By::Seconds(args.size.into()),
            };
            let copied = capture_copy::split(&args.file, &args.write, by)?;
            print(&copied, args.json, out)
        }
        Command::Merge(args) => {
            let order = match args.order {
                MergeOrder::Time => Order::ByTime,
                MergeOrder::Named => Order::AsNamed,
                MergeOrder::Id => Order::ById,
            };
            let copied = capture_copy::merge(&args.files, &args.write, order)?;
            // The capture itself may be standard output.
            if args.write == "-" {
                report(&copied)
            } else {
                print(&copied, args.json, out)
            }
        }
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

fn print(copied: &Copied, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if json {
        writeln!(out, "{}", serde_json::to_string(copied)?)?;
    } else {
        for (file, packets) in &copied.files {
            writeln!(out, "{file}: {packets} packets")?;
        }
    }
    report(copied)
}

/// A fault in the input is an unreadable input, though the packets before it are written.
fn report(copied: &Copied) -> anyhow::Result<Exit> {
    match &copied.fault {
        None => Ok(Exit::Success),
        Some(fault) => Err(crate::exit::Failure::usage(format!(
            "{} at byte {}",
            fault.message, fault.offset
        ))),
    }
}
