//! Program inputs: what may stand where a command expects a program, and which of its programs is
//! meant. Objects, C, assembly, raw instructions and vectors all become a [`Module`].

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, io};

use anyhow::Context;
use iom_core::abi::{BackendError, Refusal};
use iom_core::isa::{AsmError, assemble};
use iom_core::module::{Module, ProgramType};
use iom_core::object::load_raw_object;
use iom_core::object::raw::raw_program;
use iom_core::object::vector::{Vector, VectorError, load_vector};

use crate::exit::Failure;
use crate::load_args::LoadArgs;
use crate::manifest::Manifest;
use crate::target_kernel::TargetKernel;

/// How much of a verifier's log is shown with a refusal: its end says why.
const LOG_LINES: usize = 24;

/// A program on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct ProgramArgs {
    /// Program: object (.o), C source (.c), assembly (.bpf), raw instructions (.bin) or vector
    /// (.json); - is standard input
    #[arg(value_name = "PROG")]
    pub path: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    load: LoadArgs,
}

/// Which of a module's programs is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// The program with this name
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,
    /// The program of this section
    #[arg(long, value_name = "NAME")]
    pub section: Option<String>,
}

/// A module, the program of it that is meant, and what its manifest says.
#[derive(Clone, Debug)]
pub struct LoadedProgram {
    /// Where it was read from; `-` for standard input.
    pub path: PathBuf,
    /// How it was loaded, with what its manifest says.
    pub load: LoadArgs,
    /// The module.
    pub module: Arc<Module>,
    /// Index of the program that is meant.
    pub entry: usize,
    /// How many ports the manifest names.
    pub ports: usize,
    /// Map contents that the manifest names, as a file.
    pub seed: Option<PathBuf>,
    /// Map contents in the manifest itself, in the form of the file; goes over it.
    pub inline_seed: Option<serde_json::Value>,
    /// The network that the manifest names, as a file.
    pub fib: Option<PathBuf>,
    /// What the vector says beyond the program, if it was one.
    pub vector: Option<Arc<Vector>>,
}

/// A program input as it was read, before a program of it is chosen.
#[derive(Clone, Debug)]
pub struct ProgramFile {
    /// The module.
    pub module: Module,
    /// The vector that it was, if it was one.
    pub vector: Option<Arc<Vector>>,
    /// The manifest beside it, if there is one about it.
    pub manifest: Option<Manifest>,
    /// How it was loaded, with what its manifest says.
    pub load: LoadArgs,
}

impl ProgramArgs {
    /// A program file, with nothing said about which of its programs is meant.
    pub fn at(path: PathBuf) -> Self {
        Self::of(path, Selection::default(), LoadArgs::default())
    }

    /// A program file, which of its programs is meant, and how it is loaded.
    pub fn of(path: PathBuf, selection: Selection, load: LoadArgs) -> Self {
        Self {
            path,
            selection,
            load,
        }
    }

    /// Reads the program and chooses: what the command line says, else the manifest beside the
    /// file, else the only program there is.
    ///
    /// # Errors
    /// An input that cannot be read or is ambiguous (exit code 2), a program that is refused (3).
    pub fn load(&self) -> anyhow::Result<LoadedProgram> {
        let choose = |selection: &Selection, module: &Module| Ok(vec![selection.only(module)?]);
        Ok(self.load_choosing(choose)?.0)
    }

    /// Reads the program and gives the indexes of all programs that the command line does not
    /// exclude; the manifest does not choose.
    ///
    /// # Errors
    /// As of [`load`](Self::load).
    pub fn load_all(&self) -> anyhow::Result<(LoadedProgram, Vec<usize>)> {
        self.load_choosing(|_, module| self.selection.all(module))
    }

    fn load_choosing(
        &self,
        choose: impl FnOnce(&Selection, &Module) -> anyhow::Result<Vec<usize>>,
    ) -> anyhow::Result<(LoadedProgram, Vec<usize>)> {
        let ProgramFile {
            module,
            vector,
            manifest,
            load,
        } = read_program(&self.path, &self.load)?;
        let mut selection = self.selection.clone();
        if let Some(manifest) = &manifest
            && selection.program.is_none()
            && selection.section.is_none()
        {
            selection.program.clone_from(&manifest.program);
            selection.section.clone_from(&manifest.section);
        }
        let chosen = choose(&selection, &module)?;
        let manifest = manifest.as_ref();
        let inline = manifest.filter(|manifest| !manifest.maps.is_empty());
        let beside = |path: &PathBuf| self.path.with_file_name(path);
        let loaded = LoadedProgram {
            path: self.path.clone(),
            load,
            module: Arc::new(module),
            entry: chosen[0],
            ports: manifest.map_or(0, |manifest| manifest.ports.len()),
            inline_seed: inline.map(|manifest| manifest.maps.clone().into_iter().collect()),
            seed: manifest.and_then(|manifest| manifest.seed.as_ref().map(beside)),
            fib: manifest.and_then(|manifest| manifest.fib.as_ref().map(beside)),
            vector,
        };
        Ok((loaded, chosen))
    }
}

impl Selection {
    /// Indexes of the programs that fit, at least one.
    ///
    /// # Errors
    /// None fits (exit code 2); if one fits that the loader refused, its reason (3).
    pub fn all(&self, module: &Module) -> anyhow::Result<Vec<usize>> {
        let programs = module.programs.iter().enumerate();
        let fitting = programs.filter(|(_, program)| self.fits(&program.name, &program.section));
        let found: Vec<_> = fitting.map(|(index, _)| index).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut refused = module.refused.iter();
        if let Some(refused) = refused.find(|refused| self.fits(&refused.name, &refused.section)) {
            let message = format!("program {} is refused: {}", refused.name, refused.error);
            return Err(Failure::refused(message));
        }
        let message = match self {
            Self {
                program: None,
                section: None,
            } => "there is no program that can be used",
            _ => "no program has this name and section",
        };
        Err(Failure::usage(format!("{message}{}", list(module))))
    }

    /// Index of the one program that fits.
    ///
    /// # Errors
    /// None fits, or several do.
    pub fn only(&self, module: &Module) -> anyhow::Result<usize> {
        match self.all(module)?.as_slice() {
            [index] => Ok(*index),
            _ => Err(Failure::usage(format!(
                "several programs; name one with --program or --section{}",
                list(module)
            ))),
        }
    }

    fn fits(&self, name: &str, section: &str) -> bool {
        let is =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        is(&self.program, name) && is(&self.section, section)
    }
}

/// The programs of a module, one a line, those that cannot be used with the reason.
fn list(module: &Module) -> String {
    let usable = module.programs.iter();
    let usable = usable.map(|program| format!("{} (section {})", program.name, program.section));
    let refused = module.refused.iter();
    let refused = refused.map(|program| {
        let (name, section) = (&program.name, &program.section);
        format!("{name} (section {section}): refused, {}", program.error)
    });
    let skipped = module.skipped.iter();
    let skipped = skipped.map(|program| {
        let (name, section) = (&program.name, &program.section);
        format!("{name} (section {section}): {}", program.reason)
    });
    let lines = usable.chain(refused).chain(skipped);
    lines.flat_map(|line| ["\n  ".to_owned(), line]).collect()
}

impl LoadedProgram {
    /// The error of loading the program into a backend: a refusal gets the source lines of its
    /// instructions.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(BackendError::Refused {
            backend,
            reasons,
            log,
        }) = error.downcast_ref()
        else {
            return error;
        };
        let name = &self.module.programs[self.entry].name;
        let mut lines = vec![format!("{backend} refuses program {name}")];
        let mut left: Vec<&Refusal> = reasons.iter().collect();
        while let Some(first) = left.first().copied() {
            let alike =
                |reason: &&Refusal| reason.message == first.message && reason.fix == first.fix;
            let (mut group, others): (Vec<_>, Vec<_>) = left.into_iter().partition(alike);
            group.sort_by_key(|reason| reason.insn);
            self.explain_reasons(&group, &mut lines);
            left = others;
        }
        let log: Vec<_> = log.lines().collect();
        let end = &log[log.len().saturating_sub(LOG_LINES)..];
        lines.extend(end.iter().map(|line| format!("    | {line}")));
        Failure::refused(lines.join("\n"))
    }

    /// Explains reasons with one message: all places, then once what is wrong.
    fn explain_reasons(&self, reasons: &[&Refusal], lines: &mut Vec<String>) {
        for reason in reasons {
            self.explain_place(reason, lines);
        }
        let fix = reasons[0].fix.iter().map(String::as_str);
        let message = reasons[0].message.lines().chain(fix);
        lines.extend(message.map(|line| format!("    {line}")));
    }

    fn explain_place(&self, reason: &Refusal, lines: &mut Vec<String>) {
        let program = self.module.programs.get(reason.program);
        let other = program.filter(|_| reason.program != self.entry);
        let of = other.map_or(String::new(), |program| {
            format!(" of program {}", program.name)
        });
        if let Some(insn) = reason.insn {
            let source = program.and_then(|program| program.line_of(insn));
            let source = source.map_or(String::new(), |line| {
                format!(", {}:{}: {}", line.file, line.line, line.text.trim())
            });
            lines.push(format!("  instruction {insn}{of}{source}"));
            let unresolved = program.map_or(&[][..], |program| &program.unresolved);
            let what = unresolved
                .iter()
                .filter(|found| found.insn as usize == insn);
            lines.extend(what.map(|found| format!("    {}", found.what)));
        }
    }
}

/// Forms of program inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Object,
    Source,
    Assembly,
    Raw,
    Vector,
}

/// Reads a program input and sets what the command line and the manifest beside it set; `-` is
/// standard input.
///
/// # Errors
/// An input that cannot be read or is no program (exit code 2), or one that is refused (3).
pub fn read_program(path: &Path, load: &LoadArgs) -> anyhow::Result<ProgramFile> {
    let bytes = read_bytes(path)?;
    let (mut module, vector) = parse(path, &bytes, form_of(path, &bytes), &load.kernel)?;
    let manifest = if is_stdin(path) {
        None
    } else {
        Manifest::beside(path)?
    };
    let mut load = load.clone();
    if let Some(manifest) = &manifest {
        module.name.clone_from(&manifest.name);
        load = load.over(manifest);
    }
    load.apply(&mut module)
        .with_context(|| path.display().to_string())?;
    Ok(ProgramFile {
        module,
        vector,
        manifest,
        load,
    })
}

/// Reads a program input that is to run on its own, without a packet: where an object has no
/// programs, its functions in `.text` are.
///
/// # Errors
/// As of [`read_program`].
pub fn read_raw_program(path: &Path) -> anyhow::Result<Module> {
    let bytes = read_bytes(path)?;
    let form = form_of(path, &bytes);
    let (mut module, _) = parse(path, &bytes, form, &TargetKernel::default())?;
    let empty = module.programs.is_empty() && module.refused.is_empty();
    if form == Form::Object && empty {
        let raw = load_raw_object(&bytes, &module.name);
        module = raw.with_context(|| path.display().to_string())?;
    }
    Selection::default().all(&module)?;
    Ok(module)
}

/// The object that a file is, or that a C source compiles to; `-` is standard input.
///
/// # Errors
/// A file that cannot be read or compiled.
pub fn read_object(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read_bytes(path)?;
    match form_of(path, &bytes) {
        Form::Source => compile(path),
        Form::Object | Form::Assembly | Form::Raw | Form::Vector => Ok(bytes),
    }
}

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = if is_stdin(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    bytes.with_context(|| path.display().to_string())
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// By extension; where that says nothing, by content: ELF's magic number, a brace, text, or else
/// raw instructions, which text never is (no instruction is all printable: offset and immediate
/// would have to be).
fn form_of(path: &Path, bytes: &[u8]) -> Form {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("o") => return Form::Object,
        Some("c") => return Form::Source,
        Some("bpf") => return Form::Assembly,
        Some("bin") => return Form::Raw,
        Some("json") => return Form::Vector,
        _ => {}
    }
    let text = std::str::from_utf8(bytes)
        .is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()));
    match bytes.trim_ascii_start() {
        [0x7f, b'E', b'L', b'F', ..] => Form::Object,
        [b'{', ..] => Form::Vector,
        _ if text => Form::Assembly,
        _ => Form::Raw,
    }
}

fn parse(
    path: &Path,
    bytes: &[u8],
    form: Form,
    kernel: &TargetKernel,
) -> anyhow::Result<(Module, Option<Arc<Vector>>)> {
    let shown = path.display();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let module = match form {
        Form::Object => kernel
            .load(bytes, &stem)
            .with_context(|| shown.to_string())?,
        Form::Source => {
            let object = compile(path)?;
            kernel
                .load(&object, &stem)
                .with_context(|| format!("{shown}, compiled"))?
        }
        Form::Assembly => {
            let text = std::str::from_utf8(bytes).with_context(|| shown.to_string())?;
            let module = assemble(text, &shown.to_string());
            let module = module.map_err(|error| assembly_failure(path, text, &error))?;
            Module {
                name: stem.into_owned(),
                ..module
            }
        }
        Form::Raw => {
            let program = raw_program(bytes, ProgramType::Xdp, 0)
                .map_err(|error| Failure::no_program(format!("{shown}: {error}"), &error))?;
            Module {
                name: stem.into_owned(),
                programs: vec![program],
                license: Some("GPL".to_owned()),
                ..Module::default()
            }
        }
        Form::Vector => return vector(path, bytes, &stem),
    };
    Ok((module, None))
}

fn vector(path: &Path, bytes: &[u8], stem: &str) -> anyhow::Result<(Module, Option<Arc<Vector>>)> {
    let vector = load_vector(bytes, stem).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        match &error {
            VectorError::Program(error) => Failure::no_program(message, error),
            _ => Failure::usage(message),
        }
    })?;
    Ok((vector.module.clone(), Some(Arc::new(vector))))
}

/// The message with its line and a mark under the place.
fn assembly_failure(path: &Path, text: &str, error: &AsmError) -> anyhow::Error {
    let line = text.lines().nth((error.line as usize).saturating_sub(1));
    let line = line.unwrap_or_default();
    // Tabs stay tabs, so that the mark stands where the terminal shows the place.
    let before = line.chars().take((error.column as usize).saturating_sub(1));
    let space: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Failure::usage(format!(
        "{}:{error}\n    {line}\n    {space}^",
        path.display()
    ))
}

/// Compiles a C source from its own folder, as `programs/build.sh` does.
fn compile(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = path.file_name().with_context(|| shown.to_string())?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    for compiler in ["clang-19", "clang"] {
        let output = Command::new(compiler)
            .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I../include"])
            .args(["-fdebug-compilation-dir=.", "-c", "-o", "-"])
            .arg(file)
            .current_dir(folder.unwrap_or(Path::new(".")))
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(compiler),
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        let message = format!("{shown}: {compiler} does not compile it\n{messages}");
        return Err(Failure::usage(message));
    }
    Err(Failure::usage(format!(
        "{shown}: C needs clang-19 or clang on the PATH; compile it elsewhere (clang -O2 -g -target bpf -c) and give the .o"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn forms_go_by_extension_then_by_content() {
        let check = |path: &str, bytes: &[u8], form| {
            assert_eq!(form_of(Path::new(path), bytes), form, "{path}");
        };
        check("a.o", b"", Form::Object);
        check("a.json", b"exit", Form::Vector);
        check("-", b"\x7fELF\x02\x01", Form::Object);
        check("-", b"\n {\"type\":\"xdp\"}", Form::Vector);
        check("-", b"r0 = 2\nexit\n", Form::Assembly);
        check("-", &[0x95, 0, 0, 0, 0, 0, 0, 0], Form::Raw);
        check("notes.txt", b"r0 = 2\n\texit", Form::Assembly);
    }

    /// Files of one folder, and what loading the first of them gives.
    fn load(files: &[(&str, &str)], program: Option<&str>) -> anyhow::Result<LoadedProgram> {
        let folder = tempfile::tempdir()?;
        for (name, text) in files {
            fs::write(folder.path().join(name), text)?;
        }
        let selection = Selection {
            program: program.map(str::to_owned),
            section: None,
        };
        let path = folder.path().join(files[0].0);
        let args = ProgramArgs {
            selection,
            ..ProgramArgs::at(path)
        };
        args.load()
    }

    const TWO: (&str, &str) = (
        "two.bpf",
        ".program first xdp\nr0 = 1\nexit\n.program second xdp\nr0 = 2\nexit\n",
    );

    #[test]
    fn command_line_then_manifest_then_the_only_one() {
        let manifest = "name = \"pair\"\nobject = \"two.o\"\nprogram = \"second\"\nports = [\"in\", \"out\"]\nseed = \"seed.json\"\n";
        let manifest = ("module.toml", manifest);
        let error = load(&[TWO], None).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        let text = error.to_string();
        assert!(text.contains("first") && text.contains("second"), "{text}");
        let by_manifest = load(&[TWO, manifest], None).unwrap();
        assert_eq!((by_manifest.entry, by_manifest.ports), (1, 2));
        assert_eq!(by_manifest.module.name, "pair");
        assert!(by_manifest.seed.unwrap().ends_with("seed.json"));
        assert_eq!(load(&[TWO, manifest], Some("first")).unwrap().entry, 0);
        let only = load(&[("one.bpf", "r0 = 1\nexit\n")], None).unwrap();
        assert_eq!((only.entry, only.module.name.as_str()), (0, "one"));
        let error = load(&[TWO], Some("third")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
    }

    #[test]
    fn refused_programs_and_unreadable_files_have_different_codes() {
        let code = |file: (&str, &str)| Exit::of(&load(&[file], None).unwrap_err());
        let no_map = "{\"type\":\"xdp\",\"program\":\"18110000000000000000000000000000\"}";
        assert_eq!(code(("a.json", no_map)), Exit::Refused);
        assert_eq!(code(("a.json", "{")), Exit::Usage);
        assert_eq!(code(("a.bin", "short")), Exit::Refused);
        assert_eq!(code(("a.bpf", "r0 = \n")), Exit::Usage);
        assert_eq!(code(("a.o", "no object")), Exit::Usage);
    }

    #[test]
    fn a_refused_program_says_why_when_it_is_chosen() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../core/tests/objects/refused.o"
        );
        let choose = |name: &str| {
            let selection = Selection {
                program: Some(name.to_owned()),
                section: None,
            };
            let args = ProgramArgs {
                selection,
                ..ProgramArgs::at(PathBuf::from(path))
            };
            args.load()
        };
        let fine = choose("fine").unwrap();
        assert_eq!(fine.module.programs[fine.entry].name, "fine");
        let error = choose("undefined").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Refused);
        assert!(
            error
                .to_string()
                .contains("(./refused.c:93): elsewhere is not defined"),
            "{error}"
        );
    }
}
