//! `iom link`: several objects to one.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use iom_core::object::{LinkInput, link_objects};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::program::read_object;

/// Arguments of `iom link`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Objects (.o) or C sources (.c, compiled with clang); - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where the result goes; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What was linked, as JSON on standard output
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom link main.o parse.o -o firewall.o      a program and the functions that it calls
  iom link main.c parse.c -o firewall.o      the same from source
  iom link a.o b.o -o - | iom disasm -       without a file between

A name that two objects define is an error, unless one of the definitions is __weak or static.
What stays undefined is named on standard error; programs that use it are refused when loaded.
How names, sections and types are joined: docs/linking.md.";

/// Links the objects.
///
/// # Errors
/// Files that cannot be read, compiled, linked or written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && args.json {
        return Err(Failure::usage("--json and -o - both want standard output"));
    }
    let objects = args.files.iter().map(|path| read_object(path));
    let objects = objects.collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<_> = args
        .files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let inputs = names.iter().zip(&objects);
    let inputs: Vec<_> = inputs
        .map(|(name, bytes)| LinkInput { name, bytes })
        .collect();
    let linked = link_objects(&inputs)?;
    if to_stdout {
        out.write_all(&linked.bytes)?;
    } else {
        let shown = || args.output.display().to_string();
        fs::write(&args.output, &linked.bytes).with_context(shown)?;
    }
    if args.json {
        let report = json!({
            "version": 1,
            "objects": names,
            "output": args.output,
            "bytes": linked.bytes.len(),
            "undefined": linked.undefined,
        });
        writeln!(out, "{report}")?;
    } else {
        for name in &linked.undefined {
            eprintln!("iom: {name} is defined in none of the objects");
        }
    }
    Ok(Exit::Success)
}
