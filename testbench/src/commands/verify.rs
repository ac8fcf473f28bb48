//! `iom verify`: what a verifier says of a program, and why: ours, the running kernel's, or both.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use iom_core::module::Module;
use iom_core::object::vector::{Alignment, Vector};
use iom_core::verifier::{Options, explain_messages, kernel_message};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::program::ProgramArgs;
use crate::verdict::baseline::{self, Change};
use crate::verdict::both::{compare_logs, differences};
use crate::verdict::{self, Judge, Verdict, by_kernel, by_sim};

/// `BPF_F_STRICT_ALIGNMENT`
const STRICT_ALIGNMENT: u32 = 1 << 0;
/// `BPF_F_TEST_STATE_FREQ`
const TEST_STATE_FREQ: u32 = 1 << 3;

const EXAMPLES: &str = "Examples:
  iom verify prog.o                          accepted, or refused and why
  iom verify prog.o --log                    every path with the states of registers and stack
  iom verify prog.o --log 1                  only the path that failed
  iom verify prog.o --hot                    where verifying spends its time
  iom verify prog.o --backend kernel         what the running kernel says, in the same form
  iom verify prog.o --both                   where our verifier and the kernel's part
  iom verify prog.o --all --json > old.json  keep the figures of all programs of an object ...
  iom verify prog.o --all --baseline old.json --max-growth 5   ... and compare with them later

Exit codes: 0 accepted; 3 refused; 1 worse than the baseline, or, with --both, another verdict than
the kernel's; 2 usage or unreadable input; 4 no kernel to ask. docs/verifier.md has the JSON.";

/// Arguments of `iom verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line"
)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// Verify all programs of the file, or all that --program or --section name
    #[arg(long)]
    all: bool,
    /// Whose verifier: ours (sim) or the running kernel's
    #[arg(long, value_enum, default_value = "sim", conflicts_with = "both")]
    backend: Judge,
    /// Ask both verifiers and show where they part
    #[arg(long)]
    both: bool,
    /// With --both: any difference is exit code 1, not only another verdict
    #[arg(long, requires = "both")]
    exact: bool,
    /// Print the verifier's log. The kernel's levels: 1 the path that failed, 2 all paths, 4 figures;
    /// they add up
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..=7))]
    log: Option<u32>,
    /// Show the functions and the N source lines and instructions that were looked at most
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10", conflicts_with = "both")]
    hot: Option<usize>,
    /// Compare with figures that --json printed before; worse ones are exit code 1
    #[arg(long, value_name = "FILE", conflicts_with = "both")]
    baseline: Option<PathBuf>,
    /// With --baseline: growth in percent that is not worse
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 0.0,
        requires = "baseline"
    )]
    max_growth: f64,
    /// Every access must be aligned, as on machines that need it
    #[arg(long)]
    strict_alignment: bool,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Verifies one program, or all.
///
/// # Errors
/// A file that cannot be read, a choice that is ambiguous, a kernel that cannot be asked, or output
/// that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let loaded = if args.all {
        args.program.load_all()
    } else {
        args.program.load().map(|loaded| {
            let entry = loaded.entry;
            (loaded, vec![entry])
        })
    };
    let (loaded, entries) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return refuse_encoding(error, args.json, out),
    };
    let mut options = loaded.vector.as_deref().map(options).unwrap_or_default();
    options.strict_alignment |= args.strict_alignment;
    if args.both {
        return run_both(args, &loaded.module, &entries, options, out);
    }
    let mut verdicts = Vec::new();
    for entry in &entries {
        verdicts.push(judge(args, &loaded.module, *entry, options)?);
    }
    let changes = changes(args, &verdicts)?;
    if args.json {
        let programs = entries.iter().zip(&verdicts).map(|(entry, verdict)| {
            verdict::json::verdict(&loaded.module, &loaded.module.programs[*entry], verdict)
        });
        let mut value = one_or_all(args, programs.collect());
        if let (Some(changes), Some(object)) = (&changes, value.as_object_mut()) {
            object.insert("baseline".to_owned(), baseline::to_json(changes));
        }
        writeln!(out, "{value}")?;
    } else {
        for (entry, verdict) in entries.iter().zip(&verdicts) {
            let program = &loaded.module.programs[*entry];
            verdict::text::write(&loaded.module, program, verdict, out)?;
            if let Some(count) = args.hot {
                let effort = &verdict.effort;
                verdict::text::write_hot(&loaded.module, program, effort, count, out)?;
            }
        }
        if let Some(changes) = &changes {
            baseline::write(changes, out)?;
        }
    }
    let worse = changes.is_some_and(|changes| changes.iter().any(|change| change.worse));
    Ok(exit_of(worse, &verdicts))
}

fn exit_of(worse: bool, verdicts: &[Verdict]) -> Exit {
    if worse {
        Exit::Differs
    } else if verdicts.iter().all(Verdict::accepted) {
        Exit::Success
    } else {
        Exit::Refused
    }
}

/// The value of the only program, or the list of all.
fn one_or_all(args: &Args, mut values: Vec<Value>) -> Value {
    if args.all {
        json!({ "version": 1, "programs": values })
    } else {
        values.pop().unwrap_or_default()
    }
}

fn judge(args: &Args, module: &Module, entry: usize, options: Options) -> anyhow::Result<Verdict> {
    let level = args.log.unwrap_or(0);
    Ok(match args.backend {
        Judge::Sim => by_sim(module, entry, options, level),
        Judge::Kernel => by_kernel(module, entry, options, level)?,
    })
}

fn changes(args: &Args, verdicts: &[Verdict]) -> anyhow::Result<Option<Vec<Change>>> {
    let Some(path) = &args.baseline else {
        return Ok(None);
    };
    let saved = baseline::read(path)?;
    let changes = baseline::compare(&saved, verdicts, args.max_growth);
    changes
        .map(Some)
        .with_context(|| path.display().to_string())
}

fn run_both(
    args: &Args,
    module: &Module,
    entries: &[usize],
    options: Options,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let level = args.log.unwrap_or(0);
    let (mut parted, mut refused, mut values) = (false, false, Vec::new());
    for entry in entries {
        let program = &module.programs[*entry];
        let kernel = by_kernel(module, *entry, options, level)?;
        let sim = by_sim(module, *entry, options, level);
        let differ = differences(&sim, &kernel);
        let logs = sim.log.as_deref().zip(kernel.log.as_deref());
        let logs = logs.map(|(sim, kernel)| compare_logs(program, sim, kernel));
        refused |= !sim.accepted();
        parted |= sim.accepted() != kernel.accepted() || args.exact && !differ.is_empty();
        if args.json {
            let [sim, kernel] =
                [&sim, &kernel].map(|one| verdict::json::verdict(module, program, one));
            values.push(verdict::both::to_json(
                (sim, kernel),
                &differ,
                logs.as_ref(),
            ));
        } else {
            let name = format!("{}: {}", module.name, program.name);
            verdict::both::write(&name, &differ, logs.as_ref(), out)?;
            for one in [sim, kernel].iter_mut().filter(|_| !differ.is_empty()) {
                one.log = None;
                write!(out, "{}: ", one.judge.name())?;
                verdict::text::write(module, program, one, out)?;
            }
        }
    }
    if args.json {
        writeln!(out, "{}", one_or_all(args, values))?;
    }
    Ok(match (parted, refused) {
        (true, _) => Exit::Differs,
        (false, true) => Exit::Refused,
        (false, false) => Exit::Success,
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
    let messages: Vec<_> = encoding.iter().map(kernel_message).collect();
    let fix = explain_messages(&messages).1;
    let refusal = json!({
        "version": 1,
        "backend": "sim",
        "program": null,
        "verdict": "reject",
        "reason": format!("{error:#}"),
        "insn": encoding.map(|encoding| encoding.insn),
        "instruction": null,
        "source": null,
        "history": [],
        "fix": fix,
        "kernel_messages": messages,
        "reasons": [],
        "processed": 0,
        "total_states": 0,
        "peak_states": 0,
        "max_states_per_insn": 0,
        "stack_depth": "0",
        "time_us": null,
        "functions": [],
        "hottest_insns": [],
        "hottest_lines": [],
    });
    writeln!(out, "{refusal}")?;
    Ok(Exit::Refused)
}
