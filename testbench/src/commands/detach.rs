//! `iom detach`: takes a program off a device of this machine.

use std::io::Write;

use iom_backends::kernel::{KernelBackend, live};

use crate::exit::Exit;

/// Arguments of `iom detach`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Device of this network namespace, or path of a pinned link or of its folder
    #[arg(value_name = "DEV|PIN")]
    target: String,
}

const EXAMPLES: &str = "Examples:
  iom detach eth0
  iom detach /sys/fs/bpf/iom/eth0";

/// Detaches and removes the pins.
///
/// # Errors
/// A kernel that cannot be used (exit code 4), a device without a program that can be taken off (2).
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    KernelBackend::probe()?;
    for line in live::detach(&args.target)? {
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Success)
}
