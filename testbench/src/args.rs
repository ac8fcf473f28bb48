//! The command line: one variant for each command, whose arguments stand beside the command.

use clap::{Parser, Subcommand};

use crate::commands::{
    asm, attach, check, detach, diff, disasm, exec, feature, link, offload, pcap, run, soundness,
    status, verify,
};

/// Runs IO modules (eBPF programs) on a simulated NIC, on the Linux kernel and on a model of the
/// Netronome NFP, and checks that they agree.
#[derive(Debug, Parser)]
#[command(name = "iom", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 same or passed, 1 differs or failed, 2 usage or unreadable \
input, 3 program refused, 4 backend missing here, 5 internal error.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Assemble a program: text to raw instructions or a vector
    Asm(asm::Args),
    /// Put a program on a device of this machine
    Attach(attach::Args),
    /// Run captures through several backends and compare everything they leave behind
    Check(check::Args),
    /// Take a program off a device of this machine
    Detach(detach::Args),
    /// Compare two versions of a program on the same captures
    Diff(diff::Args),
    /// List the instructions of a program as assembly
    Disasm(disasm::Args),
    /// Run raw bytecode once and print r0
    Exec(exec::Args),
    /// What each backend can do on this machine, and why not
    Feature(feature::Args),
    /// Link several objects into one
    Link(link::Args),
    /// Offload to a Netronome NFP: can it be, why not, and the driver's words
    Offload(offload::Args),
    /// What captures hold
    Pcap(pcap::Args),
    /// Replay captures through a backend: outputs per port, counters
    Run(run::Args),
    /// Try random programs: verifier, interpreter and kernel must agree
    Soundness(soundness::Args),
    /// The XDP programs on the devices of this machine
    Status(status::Args),
    /// What Linux's verifier would say of a program, and why
    Verify(verify::Args),
}
