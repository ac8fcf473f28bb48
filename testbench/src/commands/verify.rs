//! `iom verify`: what Linux's verifier would say of a program, and why.

use std::io::Write;

use iom_core::module::{Module, Program};
use iom_core::object::vector::{Alignment, Vector};
use iom_core::verifier::{Options, Verification, kernel_message, verify};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::program::ProgramArgs;

/// `BPF_F_STRICT_ALIGNMENT`
const STRICT_ALIGNMENT: u32 = 1 << 0;
/// `BPF_F_TEST_STATE_FREQ`
const TEST_STATE_FREQ: u32 = 1 << 3;

/// Arguments of `iom verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Verifies one program.
///
/// # Errors
/// A file that cannot be read, a choice that is ambiguous, or output that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let loaded = match args.program.load() {
        Ok(loaded) => loaded,
        Err(error) => return refuse_encoding(error, args.json, out),
    };
    let program = &loaded.module.programs[loaded.entry];
    let options = loaded.vector.as_deref().map(options).unwrap_or_default();
    let verification = verify(&loaded.module, program, options);
    if args.json {
        writeln!(out, "{}", to_json(program, &verification))?;
    } else {
        write_text(&loaded.module, program, &verification, out)?;
    }
    Ok(match verification.refusal {
        None => Exit::Success,
        Some(_) => Exit::Refused,
    })
}

fn options(vector: &Vector) -> Options {
    let strict = vector.load_flags & STRICT_ALIGNMENT != 0;
    Options {
        strict_alignment: strict || vector.alignment == Some(Alignment::Strict),
        frequent_states: vector.load_flags & TEST_STATE_FREQ != 0,
        ..Options::default()
    }
}

fn to_json(program: &Program, verification: &Verification) -> Value {
    let refusal = verification.refusal.as_ref();
    let source = refusal.and_then(|refusal| program.line_of(refusal.insn));
    let source =
        source.map(|line| json!({ "file": &*line.file, "line": line.line, "text": &*line.text }));
    json!({
        "version": 1,
        "verdict": if refusal.is_some() { "reject" } else { "accept" },
        "reason": refusal.map(|refusal| &refusal.reason),
        "insn": refusal.map(|refusal| refusal.insn),
        "source": source,
        "processed": verification.processed,
        "total_states": verification.total_states,
        "peak_states": verification.peak_states,
        "stack_depth": verification.stack_depth,
        "kernel_messages": refusal.map_or(&[][..], |refusal| &refusal.messages),
    })
}

fn write_text(
    module: &Module,
    program: &Program,
    verification: &Verification,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let name = format!("{}: {}", module.name, program.name);
    match &verification.refusal {
        None => writeln!(out, "{name}: accepted")?,
        Some(refusal) => {
            writeln!(
                out,
                "{name}: refused at instruction {}: {}",
                refusal.insn, refusal.reason
            )?;
            if let Some(line) = program.line_of(refusal.insn) {
                writeln!(out, "  {}:{}: {}", line.file, line.line, line.text.trim())?;
            }
            for message in &refusal.messages {
                writeln!(out, "  Linux: {message}")?;
            }
        }
    }
    writeln!(
        out,
        "  {} instructions processed, {} states ({} at once), stack {}",
        verification.processed,
        verification.total_states,
        verification.peak_states,
        verification.stack_depth
    )?;
    Ok(())
}

/// Bytes that are no program are refused like programs, with what Linux would print.
fn refuse_encoding(
    error: anyhow::Error,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if Exit::of(&error) != Exit::Refused || !as_json {
        return Err(error);
    }
    let failure = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>());
    let encoding = failure.and_then(|failure| failure.encoding);
    let refusal = json!({
        "version": 1,
        "verdict": "reject",
        "reason": format!("{error:#}"),
        "insn": encoding.map(|encoding| encoding.insn),
        "source": null,
        "processed": 0,
        "total_states": 0,
        "peak_states": 0,
        "stack_depth": "0",
        "kernel_messages": encoding.iter().map(kernel_message).collect::<Vec<_>>(),
    });
    writeln!(out, "{refusal}")?;
    Ok(Exit::Refused)
}
