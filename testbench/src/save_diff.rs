//! What repeats a difference on another machine: the packets, the maps they start from, the
//! program, and the command line (`--save-diff`, `--minimize`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::engine::Engine;
use crate::engine_args::{DEFAULT_FIRMWARE, EngineArgs};
use crate::exit::Failure;
use crate::kept_packets::{self, KeptPacket};
use crate::map_files;
use crate::mask::Mask;
use crate::program::LoadedProgram;
use crate::replay_args::{ReplayArgs, RssKey};

/// What a check ran on, but for the packets.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The program.
    pub program: &'a LoadedProgram,
    /// Captures and how they were replayed.
    pub replay: &'a ReplayArgs,
    /// Contents of maps, over those of the manifest.
    pub seed_files: &'a [PathBuf],
    /// The backends.
    pub engines: &'a [Engine],
    /// What may differ.
    pub masks: &'a [Mask],
    /// How the backends were set up.
    pub engine: &'a EngineArgs,
}

/// Writes a case with these packets into a directory and returns the words of the command that
/// repeats it.
///
/// # Errors
/// Files that cannot be written; a program from standard input, which is no file.
pub fn save(dir: &Path, case: &Case<'_>, packets: &[KeptPacket]) -> anyhow::Result<Vec<String>> {
    let program = case.program;
    let Some(name) = program.path.file_name().filter(|name| *name != "-") else {
        return Err(Failure::usage(
            "the program is copied: give a file instead of standard input",
        ));
    };
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    kept_packets::write(dir, packets)?;
    let seeds = map_files::Seeds::read(program, case.seed_files)?;
    fs::write(
        dir.join("maps.json"),
        seeds.to_json(&program.module, case.replay.queues)?,
    )?;
    let object = dir.join(name);
    fs::copy(&program.path, &object)
        .with_context(|| format!("copying {}", program.path.display()))?;
    let replay = kept_packets::replay_args(case.replay, packets, dir);
    let words = command(dir, &object, case, &replay);
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    fs::write(dir.join("command.txt"), quoted.join(" ") + "\n")?;
    Ok(words)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn command(dir: &Path, object: &Path, case: &Case<'_>, replay: &ReplayArgs) -> Vec<String> {
    let program = case.program;
    let name = &program.module.programs[program.entry].name;
    let engines: Vec<String> = case.engines.iter().map(ToString::to_string).collect();
    let ports = program.ports.max(replay.ports.unwrap_or(1) as usize);
    // Ports are counted over all captures of the run, also those that gave no packet.
    let inputs = case
        .replay
        .inputs
        .iter()
        .map(|input| input.port as usize + 1);
    let ports = inputs.fold(ports, usize::max);
    let mut words: Vec<String> = vec!["iom".into(), "check".into(), object.display().to_string()];
    words.extend(["--program".to_owned(), name.clone()]);
    words.extend(program.load.words());
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    for input in &replay.inputs {
        option("-i", format!("{}@{}", input.port, input.file));
    }
    option("--seed-maps", dir.join("maps.json").display().to_string());
    option("--backends", engines.join(","));
    option("--seed", replay.seed.to_string());
    option("--queues", replay.queues.to_string());
    option("--ports", ports.to_string());
    option("--packet-ids", "capture".to_owned());
    if let Some(start_ns) = replay.start_ns {
        option("--start-ns", start_ns.to_string());
    }
    if let Some(fib) = replay.fib.as_ref().or(program.fib.as_ref()) {
        option("--fib", fib.display().to_string());
    }
    if replay.rss_key == RssKey::Symmetric {
        option("--rss-key", "symmetric".to_owned());
    }
    if !replay.rss_table.is_empty() {
        let table: Vec<String> = replay.rss_table.iter().map(ToString::to_string).collect();
        option("--rss-table", table.join(","));
    }
    for mask in case.masks {
        option("--mask", format!("{}={}", mask.field, mask.reason));
    }
    if case.engine.firmware != DEFAULT_FIRMWARE {
        option("--firmware", case.engine.firmware.clone());
    }
    if case.engine.no_rewrite {
        words.push("--no-rewrite".to_owned());
    }
    words
}
