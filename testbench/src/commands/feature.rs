//! `iom feature`: what each backend can do on this machine, and why not.

use std::fs;
use std::io::{self, Write};

use iom_backends::kernel::KernelBackend;
use iom_core::abi::BackendError;
use iom_core::helper;
use serde::Serialize;

use iom_nfp_offload::profile::FirmwareProfile;

use crate::engine::Engine;
use crate::exit::Exit;

/// Arguments of `iom feature`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Machine-readable output (schema: docs/abi.md)
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  iom feature
  iom feature --json | jq '.backends[] | {name, available, reason}'";

/// Width of the text form.
const LINE_CHARS: usize = 100;

/// One backend with one engine, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Feature {
    name: &'static str,
    engine: &'static str,
    available: bool,
    /// Why it is not available.
    reason: Option<String>,
    /// Release of the kernel that it runs on.
    release: Option<String>,
    program_types: Vec<&'static str>,
    map_types: Vec<&'static str>,
    helpers: Vec<&'static str>,
    /// Shortest and longest frame.
    frame_bytes: (usize, usize),
    notes: Vec<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Features {
    version: u32,
    backends: Vec<Feature>,
}

/// Prints the capabilities of every backend. A backend that is missing here is no failure.
///
/// # Errors
/// Output that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let backends = Engine::ALL.map(Feature::of).into();
    let features = Features {
        version: 1,
        backends,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&features)?)?;
    } else {
        for feature in &features.backends {
            feature.write(out)?;
        }
    }
    Ok(Exit::Success)
}

impl Feature {
    fn of(engine: Engine) -> Self {
        let capabilities = engine
            .backend(true, &FirmwareProfile::full())
            .capabilities();
        let (reason, release) = match engine {
            Engine::Kernel => (missing_kernel(), kernel_release()),
            Engine::SimInterpreter | Engine::Nfp | Engine::NfpFixed => (None, None),
        };
        let helpers = capabilities.helpers.iter();
        let helpers = helpers.filter_map(|number| helper::by_number(*number));
        Self {
            name: engine.backend_name(),
            engine: engine.engine_name(),
            available: reason.is_none(),
            reason,
            release,
            program_types: capabilities
                .program_types
                .iter()
                .map(|kind| kind.name())
                .collect(),
            map_types: capabilities
                .map_types
                .iter()
                .map(|kind| kind.name())
                .collect(),
            helpers: helpers.map(|helper| helper.name).collect(),
            frame_bytes: capabilities.frame_bytes,
            notes: capabilities.notes,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let state = match &self.reason {
            None => "available".to_owned(),
            Some(reason) => format!("not available here: {reason}"),
        };
        writeln!(out, "{} ({}): {state}", self.name, self.engine)?;
        if let Some(release) = &self.release {
            writeln!(out, "  kernel         {release}")?;
        }
        write_list(out, "program types", &self.program_types)?;
        write_list(out, "map types", &self.map_types)?;
        write_list(out, "helpers", &self.helpers)?;
        let (min, max) = self.frame_bytes;
        writeln!(out, "  frames         {min} to {max} bytes")?;
        for (index, note) in self.notes.iter().enumerate() {
            let title = if index == 0 { "notes" } else { "" };
            writeln!(out, "  {title:<13}  {note}")?;
        }
        writeln!(out)
    }
}

/// Why the running kernel cannot be used, if it cannot.
fn missing_kernel() -> Option<String> {
    match KernelBackend::probe() {
        Ok(()) => None,
        Err(BackendError::Missing { reason, .. }) => Some(reason),
        Err(other) => Some(other.to_string()),
    }
}

/// Release of the running kernel, if it is Linux.
fn kernel_release() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(release.trim().to_owned())
}

/// Names under a title, as many on a line as fit.
fn write_list(out: &mut dyn Write, title: &str, names: &[&str]) -> io::Result<()> {
    let mut line = format!("  {title:<13} ");
    if names.is_empty() {
        line.push_str(" none");
    }
    for (index, name) in names.iter().enumerate() {
        if line.len() + name.len() + 2 > LINE_CHARS {
            writeln!(out, "{line}")?;
            line = " ".repeat(16);
        }
        line.push(' ');
        line.push_str(name);
        if index + 1 < names.len() {
            line.push(',');
        }
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn text_lists_what_there_is_and_why_not() {
        let feature = Feature {
            name: "kernel",
            engine: "jit",
            available: false,
            reason: Some("this process lacks CAP_BPF".to_owned()),
            release: Some("6.12.0".to_owned()),
            program_types: vec!["xdp"],
            map_types: vec!["hash"; 20],
            helpers: vec![],
            frame_bytes: (14, 73_152),
            notes: vec!["one".to_owned(), "two".to_owned()],
        };
        let mut text = Vec::new();
        feature.write(&mut text).unwrap();
        expect![[r"
            kernel (jit): not available here: this process lacks CAP_BPF
              kernel         6.12.0
              program types  xdp
              map types      hash, hash, hash, hash, hash, hash, hash, hash, hash, hash, hash, hash, hash, hash,
                             hash, hash, hash, hash, hash, hash
              helpers        none
              frames         14 to 73152 bytes
              notes          one
                             two

        "]].assert_eq(&String::from_utf8(text).unwrap());
    }

    #[test]
    fn every_backend_is_listed_with_names() {
        let mut text = Vec::new();
        run(&Args { json: true }, &mut text).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["version"], 1);
        let names = ["sim", "kernel", "nfp"];
        for (backend, name) in value["backends"].as_array().unwrap().iter().zip(names) {
            assert_eq!(backend["name"], name);
            assert_eq!(backend["available"], backend["reason"].is_null());
            assert!(
                backend["map_types"]
                    .as_array()
                    .unwrap()
                    .contains(&"array".into()),
                "{backend}"
            );
            let helpers = backend["helpers"].as_array().unwrap();
            assert!(helpers.contains(&"bpf_map_lookup_elem".into()), "{backend}");
        }
    }
}
