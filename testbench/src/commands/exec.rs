//! `iom exec`: runs raw bytecode once, as conformance suites ask for it.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use iom_backends::interpreter::{DEFAULT_BUDGET, run_raw};
use iom_core::hex;
use iom_core::module::{Module, ProgramType};
use iom_core::object::load_raw_object;
use iom_core::object::raw::raw_program;

use crate::exit::{Exit, Failure};
use crate::program::read_raw_program;

/// Arguments of `iom exec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Raw instructions (.bin), assembly (.bpf), object (.o), C (.c) or vector (.json); - is standard
    /// input. With --plugin: the memory in hex
    #[arg(required_unless_present = "plugin")]
    program: Option<String>,
    /// Memory in hex: its address goes to r1, its length to r2
    #[arg(long, value_name = "HEX", conflicts_with = "plugin")]
    mem: Option<String>,
    /// What runs the program
    #[arg(long, value_enum, default_value_t = Engine::Interp)]
    engine: Engine,
    /// Instructions at most
    #[arg(long, default_value_t = DEFAULT_BUDGET)]
    budget: u64,
    /// Protocol of the public conformance suite: the program as hex bytes on standard input
    #[arg(long)]
    plugin: bool,
    /// With --plugin: the bytes on standard input are an ELF file, program `main` in `.text`
    #[arg(long, requires = "plugin")]
    elf: bool,
    /// r0 and the memory afterwards as JSON
    #[arg(long)]
    json: bool,
}

/// An engine that runs raw programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The interpreter
    Interp,
}

/// The `--json` form, version 1.
#[derive(serde::Serialize)]
struct Report {
    version: u32,
    r0: Option<String>,
    memory: String,
    trap: Option<String>,
}

/// Runs the program and prints `r0` in hex.
///
/// # Errors
/// A program that cannot be read or is refused.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (module, mut memory) = if args.plugin {
        (
            plugin_program(args.elf)?,
            memory_of(args.program.as_deref())?,
        )
    } else {
        let path = args.program.as_deref().unwrap_or("-");
        (
            as_raw(read_raw_program(Path::new(path))?),
            memory_of(args.mem.as_deref())?,
        )
    };
    let result = match args.engine {
        Engine::Interp => run_raw(&Arc::new(module), &mut memory, args.budget)?,
    };
    if args.json {
        let report = Report {
            version: 1,
            r0: result.as_ref().ok().map(|r0| format!("{r0:x}")),
            memory: hex::encode(&memory),
            trap: result.as_ref().err().map(ToString::to_string),
        };
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(if report.trap.is_some() {
            Exit::Differs
        } else {
            Exit::Success
        });
    }
    match result {
        Ok(r0) => {
            writeln!(out, "{r0:x}")?;
            Ok(Exit::Success)
        }
        Err(trap) => Err(Failure {
            exit: Exit::Differs,
            message: trap.to_string(),
            encoding: None,
        }
        .into()),
    }
}

/// The program that the conformance suite sends.
fn plugin_program(elf: bool) -> anyhow::Result<Module> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("standard input")?;
    let bytes = from_hex(&text).ok_or_else(|| Failure::usage("standard input is not hex bytes"))?;
    if elf {
        return object_program(&bytes);
    }
    raw_module(&bytes)
}

fn raw_module(bytes: &[u8]) -> anyhow::Result<Module> {
    let program = raw_program(bytes, ProgramType::Raw, 0)
        .map_err(|error| Failure::refused(error.to_string()))?;
    Ok(Module {
        name: "exec".to_owned(),
        programs: vec![program],
        ..Module::default()
    })
}

fn object_program(bytes: &[u8]) -> anyhow::Result<Module> {
    let module = load_raw_object(bytes, "exec");
    let module = module.map_err(|error| Failure::refused(error.to_string()))?;
    Ok(as_raw(module))
}

/// Only the first program, or the one called `main`, as a raw one.
fn as_raw(mut module: Module) -> Module {
    let index = module.program_index("main").unwrap_or(0);
    if index < module.programs.len() {
        module.programs.swap(0, index);
        module.programs.truncate(1);
        module.programs[0].program_type = ProgramType::Raw;
    }
    module
}

fn memory_of(text: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    from_hex(text).ok_or_else(|| Failure::usage(format!("memory `{text}` is not hex bytes")))
}

/// Pairs of hexadecimal digits, with white space anywhere between them.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(&digits)
}
