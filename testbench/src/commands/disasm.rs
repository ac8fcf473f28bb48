//! `iom disasm`: programs as assembly, with source lines, labels and names.

use std::io::Write;
use std::path::PathBuf;

use iom_core::hex;
use iom_core::isa::{Insn, encode, list_program, module_text};
use iom_core::module::{Module, Program};
use serde_json::{Value, json};

use super::asm::map_json;
use crate::exit::Exit;
use crate::load_args::LoadArgs;
use crate::program::{Selection, read_program};

/// Arguments of `iom disasm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The text can be assembled again: docs/assembly.md.")]
pub struct Args {
    /// Object (.o), C source (.c), assembly (.bpf), raw instructions (.bin) or vector (.json); - is
    /// standard input
    #[arg(value_name = "PROG")]
    file: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    load: LoadArgs,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Lists the programs that were asked for, all if none was.
///
/// # Errors
/// A file that cannot be read or is no program, or output that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let module = read_program(&args.file, &args.load)?.module;
    let programs = args.selection.all(&module)?;
    if args.json {
        writeln!(out, "{}", to_json(&module, &programs))?;
    } else {
        for refused in &module.refused {
            eprintln!(
                "iom: {} (section {}) is not listed: {}",
                refused.name, refused.section, refused.error
            );
        }
        out.write_all(module_text(&module, &programs).as_bytes())?;
    }
    Ok(Exit::Success)
}

fn to_json(module: &Module, programs: &[usize]) -> Value {
    let refused = module.refused.iter().map(|program| {
        json!({ "name": program.name, "section": program.section, "reason": program.error.to_string() })
    });
    let programs = programs
        .iter()
        .map(|&index| program_json(module, &module.programs[index]));
    json!({
        "version": 1,
        "license": module.license,
        "maps": module.maps.iter().map(map_json).collect::<Vec<_>>(),
        "programs": programs.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn program_json(module: &Module, program: &Program) -> Value {
    let insns = list_program(program, &module.maps).into_iter().map(|line| {
        let source = program.line_of(line.slot).map(
            |source| json!({ "file": &*source.file, "line": source.line, "text": &*source.text }),
        );
        json!({
            "index": line.slot,
            "label": line.label,
            "bytes": hex::encode(&encode(whole_insn(program, line.slot))),
            "text": line.text,
            "source": source,
        })
    });
    json!({
        "name": program.name,
        "section": program.section,
        "insns": insns.collect::<Vec<_>>(),
    })
}

/// The one or two slots of an instruction.
fn whole_insn(program: &Program, slot: usize) -> &[Insn] {
    let wide = program.insns.get(slot + 1) == Some(&Insn::WideTail);
    &program.insns[slot..=slot + usize::from(wide)]
}
