//! `iom soundness`: random programs through verifier, interpreter and kernel.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use iom_core::generate::Candidate;
use iom_core::verifier::{Options, verify};

use crate::exit::Exit;
use crate::progress::Progress;
use crate::soundness::{Campaign, Finding, Opinion, read_originals};

/// Arguments of `iom soundness`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A seed gives the same program everywhere: --seed S --programs 1 tries one again. \
Exit code 1: an accepted program trapped, or more verdicts differ than --tolerance allows."
)]
pub struct Args {
    /// How many programs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    programs: u64,
    /// Seed of the first program
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Mutate the programs of these files, too: program inputs, or vectors one a line (.jsonl)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    mutate: Vec<PathBuf>,
    /// Ask the running kernel for its verdict
    #[arg(long)]
    kernel: bool,
    /// Packets for each accepted program
    #[arg(long, value_name = "N", default_value_t = 4)]
    packets: usize,
    /// Percentage of verdicts in which the kernel may differ
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5)]
    tolerance: f64,
    /// Keep each program on which not all agree here, as a vector
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Runs a campaign.
///
/// # Errors
/// A file that cannot be read or written, a kernel that cannot be asked (exit code 4).
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut originals = Vec::new();
    for path in &args.mutate {
        originals.extend(read_originals(path)?);
    }
    if let Some(folder) = &args.save {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let (progress, done) = (Progress::start("programs"), Cell::new(0));
    let judge = |module: &iom_core::module::Module| {
        done.set(done.get() + 1);
        progress.set(done.get());
        verify(module, &module.programs[0], Options::default())
    };
    let oracle = args.kernel.then(kernel_oracle).transpose()?;
    let campaign = Campaign {
        seed: args.seed,
        programs: args.programs,
        originals: &originals,
        packets: args.packets,
        judge: &judge,
        oracle: oracle.as_deref(),
    };
    let mut save = |finding: &Finding| match &args.save {
        Some(folder) => {
            let path = folder.join(format!("{}.json", finding.seed));
            let text = finding.to_vector().to_string();
            fs::write(&path, text).with_context(|| path.display().to_string())
        }
        None => Ok(()),
    };
    let summary = campaign.run(&mut save)?;
    drop(progress);
    if args.json {
        writeln!(out, "{}", summary.to_json(args.seed))?;
    } else {
        write!(out, "seeds {} to {}: ", args.seed, last_seed(args))?;
        summary.write(out)?;
    }
    let fine = summary.trapped == 0 && summary.differ_percent() <= args.tolerance;
    Ok(if fine { Exit::Success } else { Exit::Differs })
}

fn last_seed(args: &Args) -> u64 {
    args.seed.saturating_add(args.programs.saturating_sub(1))
}

type BoxedOracle = Box<dyn Fn(&Candidate) -> anyhow::Result<Opinion>>;

/// Asks the running kernel.
#[cfg(target_os = "linux")]
fn kernel_oracle() -> anyhow::Result<BoxedOracle> {
    let kernel = RefCell::new(iom_backends::kernel::KernelVerifier::new()?);
    Ok(Box::new(move |candidate| {
        let Candidate {
            program_type,
            bytes,
            maps,
        } = candidate;
        let verdict = kernel.borrow_mut().verify(*program_type, bytes, maps, 0)?;
        let refusal = (!verdict.accepted).then(|| {
            let error = verdict.error.clone().unwrap_or_default();
            verdict.message().unwrap_or(error)
        });
        Ok(Opinion {
            refusal,
            effort: verdict.processed().zip(verdict.total_states()),
        })
    }))
}

/// There is no kernel to ask.
#[cfg(not(target_os = "linux"))]
fn kernel_oracle() -> anyhow::Result<BoxedOracle> {
    iom_backends::kernel::KernelBackend::probe()?;
    unreachable!("probe refuses other systems");
}
