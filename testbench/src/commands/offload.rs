//! `iom offload`: whether a program can be offloaded to a Netronome NFP and every reason why not,
//! the words that Linux's driver would load, and listings of such words.

mod plan;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use iom_core::module::ProgramType;
use iom_core::verifier::Facts;
use iom_nfp_offload::backend::table_ids;
use iom_nfp_offload::check::{Attachment, Reason, TcFilter};
use iom_nfp_offload::isa;
use iom_nfp_offload::offload::{Offload, Request, offload, offload_with};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::recorded;
use iom_nfp_offload::translate::DefectMode;
use serde_json::{Value, json};

use super::run as replay;
use crate::engine_args::firmware;
use crate::exit::{Exit, Failure};
use crate::program::{LoadedProgram, ProgramArgs};
use plan::Plan;

/// Arguments of `iom offload`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "Examples:
  iom offload plan programs/classify/classify.o --profile agilio-cx-2x25
  iom offload build programs/acl/acl.o --emit listing
  iom offload build programs/acl/acl.o --emit hex | iom offload disasm --start 3072 -
  iom offload run programs/acl/acl.o -i pcaps/mix.pcap --firmware agilio-cx-2x25 --cycles --strict
What each says is in docs/nfp.md.";

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Can it be offloaded: resources, and every reason why not
    Plan(PlanArgs),
    /// The words that the driver would load
    Build(BuildArgs),
    /// Replay captures through the model of the card: `iom run --backend nfp`
    Run(Box<replay::Args>),
    /// List words from elsewhere: one hexadecimal number of 16 digits a line
    Disasm(DisasmArgs),
}

#[derive(Debug, clap::Args)]
struct Target {
    #[command(flatten)]
    program: ProgramArgs,
    /// Firmware: full, full-abi3, nic-public, none, agilio-cx-2x10, agilio-cx-2x25, agilio-cx-2x40,
    /// agilio-lx, or a profile file (.toml)
    #[arg(long, default_value = "full", value_name = "NAME|FILE")]
    profile: String,
    /// Words without the driver's defects. No driver makes them: for comparison only
    #[arg(long)]
    fixed: bool,
    /// Firmware of the port that it is put on, if that is another than it is made for
    #[arg(long, value_name = "NAME|FILE")]
    port: Option<String>,
    /// What runs on the port now
    #[arg(long, value_enum, value_name = "KIND")]
    running: Option<Running>,
    /// How the filter of a TC program differs from `protocol all bpf direct-action` in chain 0
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT,...")]
    filter: Vec<FilterOption>,
}

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Running {
    /// A program for XDP
    Xdp,
    /// A program for TC
    Tc,
}

/// What a TC filter may be instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FilterOption {
    /// No BPF classifier
    OtherClassifier,
    /// In another chain than 0
    OtherChain,
    /// For one protocol
    OneProtocol,
    /// With actions, or without direct action
    Actions,
}

#[derive(Debug, clap::Args)]
struct PlanArgs {
    #[command(flatten)]
    target: Target,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    #[command(flatten)]
    target: Target,
    /// Form of the words
    #[arg(long, value_enum, default_value = "listing")]
    emit: Emit,
    /// The same as --emit json
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// Assembly beside the program
    Listing,
    /// One word a line
    Hex,
    /// Everything
    Json,
    /// 8-byte little-endian words
    Bin,
}

#[derive(Debug, clap::Args)]
struct DisasmArgs {
    /// File with words; - is standard input
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Address of the first word
    #[arg(long, default_value_t = 0, value_name = "WORD")]
    start: u16,
}

/// Plans, builds, runs or lists.
///
/// # Errors
/// Unreadable input (exit code 2), a program that is refused (3), output that cannot be written.
pub fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match args.action {
        Action::Plan(args) => plan(&args, out),
        Action::Build(args) => build(&args, out),
        Action::Run(args) => replay::run(&args.on_nfp(), out),
        Action::Disasm(args) => disasm(&args, out),
    }
}

/// A program and what became of it.
struct Built {
    program: LoadedProgram,
    profile: FirmwareProfile,
    result: Result<Offload, Vec<Reason>>,
}

impl Target {
    const fn mode(&self) -> DefectMode {
        if self.fixed {
            DefectMode::Fixed
        } else {
            DefectMode::Kept
        }
    }

    /// The last stage of the load.
    fn attach(
        &self,
        program_type: ProgramType,
        offload: Offload,
        port: &FirmwareProfile,
    ) -> Result<Offload, Vec<Reason>> {
        let is = |option| !self.filter.contains(&option);
        let attachment = Attachment {
            port,
            running: self.running.map(|running| match running {
                Running::Xdp => ProgramType::Xdp,
                Running::Tc => ProgramType::SchedCls,
            }),
            filter: TcFilter {
                is_bpf: is(FilterOption::OtherClassifier),
                in_chain_0: is(FilterOption::OtherChain),
                all_protocols: is(FilterOption::OneProtocol),
                direct_action: is(FilterOption::Actions),
            },
        };
        match attachment.check(program_type, &offload) {
            reasons if reasons.is_empty() => Ok(offload),
            reasons => Err(reasons),
        }
    }

    fn build(&self) -> anyhow::Result<Built> {
        let program = self.program.load()?;
        let mut profile = firmware(&self.profile)?;
        let mut map_ids = table_ids(&program.module.maps);
        let mut facts: Option<Facts> = None;
        if let Some(vector) = &program.vector {
            let settings = profile.with_settings(&vector.firmware_args);
            profile = settings.map_err(|error| Failure::usage(error.to_string()))?;
            for (id, stated) in map_ids.iter_mut().zip(&vector.map_ids) {
                *id = stated.unwrap_or(*id);
            }
            facts = recorded::facts(vector).map_err(|error| Failure::usage(error.to_string()))?;
        }
        let port = match &self.port {
            Some(port) => firmware(port)?,
            None => profile.clone(),
        };
        let request = Request {
            module: &program.module,
            entry: program.entry,
            profile: &profile,
            map_ids: &map_ids,
            mode: self.mode(),
        };
        let result = match facts {
            Some(facts) => offload_with(request, &facts),
            None => offload(request),
        };
        let program_type = program.module.programs[program.entry].program_type;
        let result = result.and_then(|offload| self.attach(program_type, offload, &port));
        Ok(Built {
            program,
            profile,
            result,
        })
    }
}

fn build(args: &BuildArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let built = args.target.build()?;
    let emit = if args.json { Emit::Json } else { args.emit };
    if emit == Emit::Json {
        writeln!(out, "{}", built.json())?;
        return Ok(built.exit());
    }
    let Ok(offload) = &built.result else {
        return Err(Failure::refused(built.reasons()));
    };
    match emit {
        Emit::Listing => out.write_all(built.listing(offload).as_bytes())?,
        Emit::Hex => {
            for word in &offload.words {
                writeln!(out, "{word:016x}")?;
            }
        }
        Emit::Bin => {
            for word in &offload.words {
                out.write_all(&word.to_le_bytes())?;
            }
        }
        Emit::Json => unreachable!("written above"),
    }
    built.warn(offload);
    Ok(Exit::Success)
}

fn plan(args: &PlanArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let built = args.target.build()?;
    if args.json {
        let mut json = built.json();
        if let Ok(offload) = &built.result {
            Plan::new(&built, offload).add_to_json(&mut json);
        }
        writeln!(out, "{json}")?;
        return Ok(built.exit());
    }
    let Ok(offload) = &built.result else {
        return Err(Failure::refused(built.reasons()));
    };
    out.write_all(Plan::new(&built, offload).text().as_bytes())?;
    built.warn(offload);
    Ok(Exit::Success)
}

impl Built {
    const fn exit(&self) -> Exit {
        match self.result {
            Ok(_) => Exit::Success,
            Err(_) => Exit::Refused,
        }
    }

    fn name(&self) -> &str {
        &self.program.module.programs[self.program.entry].name
    }

    /// `file:line: text` of an instruction.
    fn source(&self, insn: usize) -> Option<String> {
        let line = self.program.module.programs[self.program.entry].line_of(insn)?;
        Some(format!("{}:{}: {}", line.file, line.line, line.text.trim()))
    }

    fn source_json(&self, insn: Option<usize>) -> Value {
        let program = &self.program.module.programs[self.program.entry];
        match insn.and_then(|insn| program.line_of(insn)) {
            Some(line) => json!({ "file": &*line.file, "line": line.line, "text": &*line.text }),
            None => Value::Null,
        }
    }

    /// Every reason against the program, as text.
    fn reasons(&self) -> String {
        let mut text = format!(
            "{} cannot be offloaded to {}",
            self.name(),
            self.profile.name
        );
        for reason in self.result.as_ref().err().into_iter().flatten() {
            let _ = write!(text, "\n  {}: {}", reason.stage.name(), reason.message);
            if let Some(insn) = reason.insn {
                let source = self.source(insn);
                let source = source.map_or(String::new(), |source| format!(", {source}"));
                let _ = write!(text, "\n    instruction {insn}{source}");
            }
            let _ = write!(text, "\n    the driver says: {}", reason.driver);
            if let Some(fix) = reason.fix {
                let _ = write!(text, "\n    fix: {fix}");
            }
        }
        text
    }

    /// Defects of the driver go to standard error.
    fn warn(&self, offload: &Offload) {
        for defect in &offload.defects {
            let source = self.source(defect.insn);
            let source = source.map_or(String::new(), |source| format!(" ({source})"));
            eprintln!(
                "iom: defect {} of the driver, instruction {}{source}: {}; to avoid it: {}",
                defect.id, defect.insn, defect.message, defect.fix
            );
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "version": 1, "result": "ACCEPT", "stage": "done", "reasons": [], "driver_message": null,
            "words": [], "pre": [], "program_length": 0, "stack_bytes": 0, "defects": [],
        });
        match &self.result {
            Ok(offload) => {
                let hex = |words: &[u64]| -> Vec<String> {
                    words.iter().map(|word| format!("{word:016x}")).collect()
                };
                value["words"] = json!(hex(&offload.words));
                value["pre"] = json!(hex(&offload.pre));
                value["program_length"] = json!(offload.words.len());
                value["stack_bytes"] = json!(offload.image.stack_bytes);
                let defects = offload.defects.iter().map(|defect| {
                    json!({ "id": defect.id, "insn": defect.insn, "message": defect.message, "fix": defect.fix })
                });
                value["defects"] = defects.collect();
            }
            Err(reasons) => {
                let first = reasons.first();
                value["result"] = json!("REJECT");
                value["stage"] = json!(first.map(|reason| reason.stage.name()));
                value["driver_message"] = json!(first.map(|reason| &reason.driver));
                let reasons = reasons.iter().map(|reason| {
                    json!({
                        "rule": reason.rule.name(), "stage": reason.stage.name(), "insn": reason.insn,
                        "source": self.source_json(reason.insn), "message": reason.message,
                        "driver_message": reason.driver, "fix": reason.fix,
                    })
                });
                value["reasons"] = reasons.collect();
            }
        }
        value
    }

    /// Words beside the instructions that they come from, and those beside their source lines.
    fn listing(&self, offload: &Offload) -> String {
        let module = &self.program.module;
        let program = &module.programs[self.program.entry];
        let mut lines = iom_core::isa::list_program(program, &module.maps)
            .into_iter()
            .peekable();
        let words = isa::listing(&offload.words, self.profile.start_offset);
        let mut text = String::new();
        let mut source = None;
        let first_words = &offload.image.first_words;
        for (word, line) in words.lines().enumerate() {
            while let Some(insn) = lines.next_if(|insn| usize::from(first_words[insn.slot]) <= word)
            {
                let from = self.source(insn.slot);
                if let Some(line) = from.as_ref().filter(|_| from != source) {
                    let _ = writeln!(text, "; {line}");
                }
                source = from;
                let _ = writeln!(text, "; {:>4}: {}", insn.slot, insn.text);
            }
            if word == usize::from(offload.image.target_abort) {
                text.push_str("; epilogue\n");
            }
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

fn disasm(args: &DisasmArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut text = String::new();
    if args.path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)?;
    } else {
        text =
            std::fs::read_to_string(&args.path).with_context(|| args.path.display().to_string())?;
    }
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in line.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let value = u64::from_str_radix(digits, 16);
            words.push(value.map_err(|_| {
                Failure::usage(format!(
                    "line {}: {word} is no hexadecimal word",
                    number + 1
                ))
            })?);
        }
    }
    out.write_all(isa::listing(&words, args.start).as_bytes())?;
    Ok(Exit::Success)
}
