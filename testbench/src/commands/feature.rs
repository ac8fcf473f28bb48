//! `iom feature`: what each backend can do here.

use std::io::Write;

use crate::exit::Exit;

/// Arguments of `iom feature`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Machine-readable output
    #[arg(long)]
    pub json: bool,
}

/// Prints the capabilities of every backend.
///
/// # Errors
/// Output that cannot be written.
pub fn run(_args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    writeln!(out, "sim")?;
    Ok(Exit::Success)
}
