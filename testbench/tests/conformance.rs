//! Every case of `tests/conformance` on every engine. A case is a text of sections:
//!
//! ```text
//! # what it shows
//! -- asm
//!     r0 = *(u8 *)(r1 + 0)
//!     exit
//! -- mem
//! 2a
//! -- result
//! 0x2a
//! ```
//!
//! Instead of a result it may have `-- error` with a part of the refusal or fault.

use std::path::Path;
use std::sync::Arc;

use iom_backends::interpreter::run_raw;
use iom_core::abi::BackendError;
use iom_core::isa::assemble;
use iom_core::module::{Module, ProgramType};
use libtest_mimic::{Arguments, Failed, Trial};

/// Instructions that a case may take: enough for the longest loop, few enough for an endless one.
const BUDGET: u64 = 20 << 20;

/// Runs a module's only program on a memory: `r0`, or why not.
type Engine = fn(Module, Vec<u8>) -> Result<u64, String>;

const ENGINES: [(&str, Engine); 1] = [("interp", interpret)];

fn interpret(module: Module, mut memory: Vec<u8>) -> Result<u64, String> {
    match run_raw(&Arc::new(module), &mut memory, BUDGET) {
        Ok(result) => result.map_err(|trap| trap.to_string()),
        Err(BackendError::Refused { reasons, .. }) => Err(reasons
            .iter()
            .map(|reason| reason.message.as_str())
            .collect::<Vec<_>>()
            .join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

/// One case.
#[derive(Default)]
struct Case {
    asm: String,
    mem: Vec<u8>,
    result: Option<u64>,
    error: Option<String>,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        let mut sections = text.split("\n-- ");
        sections.next();
        for section in sections {
            let (name, body) = section.split_once('\n').unwrap_or((section, ""));
            let body = body.trim_end();
            match name.trim() {
                "asm" => body.clone_into(&mut case.asm),
                "mem" => case.mem = hex_bytes(body)?,
                "result" => {
                    let digits = body.trim().trim_start_matches("0x");
                    let value = u64::from_str_radix(digits, 16);
                    case.result = Some(value.map_err(|error| error.to_string())?);
                }
                "error" => case.error = Some(body.trim().to_owned()),
                other => return Err(format!("there is no section `{other}`")),
            }
        }
        if case.result.is_some() == case.error.is_some() {
            return Err("a case has either a result or an error".to_owned());
        }
        Ok(case)
    }

    fn check(&self, engine: Engine) -> Result<(), Failed> {
        let mut module = assemble(&self.asm, "case").map_err(|error| error.to_string())?;
        module.programs[0].program_type = ProgramType::Raw;
        let got = engine(module, self.mem.clone());
        let holds = match (&got, self.result, &self.error) {
            (Ok(got), Some(expected), _) => *got == expected,
            (Err(got), _, Some(part)) => got.contains(part.as_str()),
            _ => false,
        };
        if holds {
            return Ok(());
        }
        Err(format!("got {got:x?}, expected {:x?} {:?}", self.result, self.error).into())
    }
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    let byte = |word| u8::from_str_radix(word, 16).map_err(|error| format!("{word}: {error}"));
    text.split_whitespace().map(byte).collect()
}

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut trials = Vec::new();
    let files = std::fs::read_dir(&folder).expect("the folder of cases");
    for file in files {
        let path = file.expect("an entry of the folder").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for (engine, run) in ENGINES {
            let path = path.clone();
            trials.push(Trial::test(format!("{name}/{engine}"), move || {
                let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
                Case::parse(&text)?.check(run)
            }));
        }
    }
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    assert!(!trials.is_empty(), "no case in {}", folder.display());
    libtest_mimic::run(&arguments, trials).exit();
}
