//! `iom asm`: a program as raw instructions.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use iom_core::hex::{self, Hex};
use iom_core::isa::encode;
use iom_core::map::{InitialEntry, InitialValue, MapSpec};
use iom_core::module::{Module, Program};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::load_args::LoadArgs;
use crate::program::{Selection, read_program};

/// Arguments of `iom asm`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The language: docs/assembly.md. Maps are only in the vector (--json); raw \
instructions hold their indexes."
)]
pub struct Args {
    /// Assembly (.bpf), or any other form of a program; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    load: LoadArgs,
    /// Write to this file [default: hex to standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Hex digits instead of raw bytes
    #[arg(long)]
    hex: bool,
    /// A vector: the program in hex with its type and maps
    #[arg(long, conflicts_with = "hex")]
    json: bool,
}

/// Assembles one program.
///
/// # Errors
/// A file that cannot be read or written, or that is no program.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let module = read_program(&args.file, &args.load)?.module;
    let index = args.selection.only(&module)?;
    let program = &module.programs[index];
    let bytes = encode(&program.insns);
    let mut text = if args.json {
        serde_json::to_string(&vector(&module, program))?
    } else {
        Hex(&bytes).to_string()
    };
    text.push('\n');
    match &args.output {
        None => out.write_all(text.as_bytes())?,
        Some(path) => {
            let raw = !args.hex && !args.json;
            let contents = if raw { &bytes } else { text.as_bytes() };
            fs::write(path, contents).with_context(|| path.display().to_string())?;
        }
    }
    Ok(Exit::Success)
}

/// The form that is accepted wherever a program is (`.json`).
fn vector(module: &Module, program: &Program) -> Value {
    json!({
        "type": program.program_type.name(),
        "program": hex::encode(&encode(&program.insns)),
        "maps": module.maps.iter().map(map_json).collect::<Vec<_>>(),
    })
}

/// A map as vectors declare it.
pub(crate) fn map_json(spec: &MapSpec) -> Value {
    let entry = |entry: &InitialEntry| match &entry.value {
        InitialValue::Bytes(value) => {
            Some(json!({ "key": hex::encode(&entry.key), "value": hex::encode(value) }))
        }
        // A vector has one program and no maps of maps.
        InitialValue::Program(_) | InitialValue::Map(_) => None,
    };
    json!({
        "name": spec.name,
        "type": spec.map_type.name(),
        "key": spec.key_size,
        "value": spec.value_size,
        "max": spec.max_entries,
        "map_flags": spec.flags.0,
        "data_section": spec.data_section,
        "init": spec.initial.iter().filter_map(entry).collect::<Vec<_>>(),
    })
}
