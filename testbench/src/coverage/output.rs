//! The arguments of `iom run` that ask for coverage, and where each report goes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use iom_backends::interpreter::Counts;
use iom_core::module::Module;

use super::{Coverage, html, lcov, profile};
use crate::exit::Failure;

/// Reports of what ran, on the simulator only.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CoverageArgs {
    /// Coverage of source lines, functions and branches as an lcov tracefile; on the simulator only
    #[arg(long, value_name = "FILE", conflicts_with = "trace")]
    coverage: Option<PathBuf>,
    /// The same as one HTML page, with instructions to fold out; a directory gets `index.html`
    #[arg(long, value_name = "PATH", conflicts_with = "trace")]
    coverage_html: Option<PathBuf>,
    /// Print which functions and source lines run how many instructions, hottest first; on the
    /// simulator only
    #[arg(long, conflicts_with_all = ["trace", "json"])]
    profile: bool,
}

impl CoverageArgs {
    /// Whether anything is asked for.
    pub fn any(&self) -> bool {
        self.coverage.is_some() || self.coverage_html.is_some() || self.profile
    }

    /// Refuses, before anything runs, what the module cannot give.
    ///
    /// # Errors
    /// A tracefile is asked for, and no program has line information.
    pub fn check(&self, module: &Module) -> anyhow::Result<()> {
        let lines = module
            .programs
            .iter()
            .any(|program| !program.lines.is_empty());
        if self.coverage.is_none() || lines {
            return Ok(());
        }
        Err(Failure::usage(
            "--coverage needs source lines, and no program has any (.BTF.ext): compile with -g; \
             --coverage-html and --profile do without",
        ))
    }

    /// Writes what is asked for, the profile to `out`.
    ///
    /// # Errors
    /// An output cannot be written.
    pub fn write(
        &self,
        module: &Module,
        counts: &Counts,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let coverage = Coverage::new(module, counts);
        if let Some(path) = &self.coverage {
            write_file(path, |out| lcov::write(&coverage, out))?;
        }
        if let Some(path) = &self.coverage_html {
            write_file(&page_path(path)?, |out| html::write(&coverage, out))?;
        }
        if self.profile {
            profile::write(&coverage, out)?;
        }
        Ok(())
    }
}

/// The page itself: in a directory (one that is there, or a name that ends in a slash), its index.
fn page_path(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() && !path.to_string_lossy().ends_with('/') {
        return Ok(path.to_owned());
    }
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path.join("index.html"))
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.with_context(|| format!("writing {}", path.display()))
}
