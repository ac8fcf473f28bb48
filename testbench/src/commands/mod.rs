//! The commands, one file each: `Args` (what the user says) and `run` (what is done). Results go
//! to `out`, everything else to standard error.

use std::io::Write;

use crate::args::{Cli, Command};
use crate::exit::Exit;

pub mod asm;
pub mod attach;
pub mod check;
pub mod detach;
pub mod diff;
pub mod disasm;
pub mod exec;
pub mod feature;
pub mod link;
pub mod offload;
pub mod pcap;
pub mod run;
pub mod soundness;
pub mod status;
pub mod verify;

/// Runs the command that the user asked for.
///
/// # Errors
/// Whatever ends the command early; [`Exit::of`] gives the exit code.
pub fn run(cli: Cli, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Asm(args) => asm::run(&args, out),
        Command::Attach(args) => attach::run(&args, out),
        Command::Check(args) => check::run(&args, out),
        Command::Detach(args) => detach::run(&args, out),
        Command::Diff(args) => diff::run(&args, out),
        Command::Disasm(args) => disasm::run(&args, out),
        Command::Exec(args) => exec::run(&args, out),
        Command::Feature(args) => feature::run(&args, out),
        Command::Link(args) => link::run(&args, out),
        Command::Offload(args) => offload::run(args, out),
        Command::Pcap(args) => pcap::run(&args, out),
        Command::Run(args) => run::run(&args, out),
        Command::Soundness(args) => soundness::run(&args, out),
        Command::Status(args) => status::run(&args, out),
        Command::Verify(args) => verify::run(&args, out),
    }
}
