//! XDP programs from the field: each is loaded, gets the kernel's verdict, and leaves the same on simulator and kernel
//! (`docs/field.md`). `field/build.sh` makes the objects; `IOM_FIELD` names their folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::expect_file;
use iom_backends::kernel::{KernelBackend, VerdictOptions};
use iom_core::map::MapType;
use iom_core::module::{Module, ProgramType, XdpAttach};
use iom_core::verifier::{Options, verify};
use iom_testbench::load_args::LoadArgs;
use iom_testbench::program::read_program;
use serde_json::Value;

/// Entries of the maps whose size the loaders of these programs set: one for each CPU.
const ENTRIES: u32 = 2;

/// What was counted.
#[derive(Debug, Default)]
struct Totals {
    objects: usize,
    programs: usize,
    accepted: usize,
    same_verdict: usize,
    run: usize,
    same_results: usize,
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the objects");
    let paths = entries.map(|entry| entry.expect("an object").path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths
}

/// Whether libbpf loads an object, for programs that are refused here.
fn libbpf_loads(object: &Path) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mount -t bpf bpf \"$1\" && bpftool prog loadall \"$2\" \"$1/programs\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    let output = command.arg(folder.path()).arg(object).output();
    output.expect("unshare").status.success()
}

/// What `iom check` says of a program on the recorded packets.
fn check(object: &Path, program: &str, packets: &Path, sized: &[String]) -> Result<u64, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iom"));
    command
        .arg("check")
        .arg(object)
        .args(["--program", program]);
    command.arg("-i").arg(packets);
    command.args(["--backends", "sim,kernel", "--json"]);
    for map in sized {
        command.args(["--max-entries", &format!("{map}={ENTRIES}")]);
    }
    let output = command.output().expect("iom");
    let report = serde_json::from_slice::<Value>(&output.stdout);
    match report
        .ok()
        .map(|report| (report["packets"].as_u64(), report["differences"].clone()))
    {
        Some((Some(packets), differences)) if differences == 0 => Ok(packets),
        Some((_, differences)) => Err(format!("differences: {differences}")),
        None => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn verdict(accepted: bool) -> &'static str {
    if accepted { "accepts" } else { "refuses" }
}

fn sweep(object: &Path, packets: &Path, totals: &mut Totals, text: &mut String) {
    let file = object.file_name().expect("a file").to_string_lossy();
    let read = read_program(object, &LoadArgs::default());
    let mut module = read.expect("an object").module;
    totals.objects += 1;
    let refused = module.refused.iter();
    for program in refused.filter(|program| program.section.contains("xdp")) {
        totals.programs += 1;
        let accepted = libbpf_loads(object);
        totals.accepted += usize::from(accepted);
        totals.same_verdict += usize::from(!accepted);
        let verdict = verdict(accepted);
        let error = &program.error.kind;
        writeln!(
            text,
            "{file} {}: libbpf {verdict}; refused here: {error}",
            program.name
        )
        .unwrap();
    }
    let sized = set_sizes(&mut module);
    for (index, program) in module.programs.iter().enumerate() {
        if program.program_type != ProgramType::Xdp {
            continue;
        }
        totals.programs += 1;
        let kernel = KernelBackend::verdict(&module, index, VerdictOptions::default());
        let kernel = match kernel {
            Ok(kernel) => kernel,
            Err(error) => {
                let loads = libbpf_loads(object);
                totals.accepted += usize::from(loads);
                totals.same_verdict += usize::from(!loads);
                let verdict = verdict(loads);
                writeln!(text, "{file} {}: libbpf {verdict}; {error}", program.name).unwrap();
                continue;
            }
        };
        let ours = verify(&module, program, Options::default());
        let verdict = verdict(kernel.accepted);
        write!(text, "{file} {}: the kernel {verdict}", program.name).unwrap();
        totals.accepted += usize::from(kernel.accepted);
        let same = kernel.accepted == ours.refusal.is_none();
        totals.same_verdict += usize::from(same);
        if let (false, Some(refusal)) = (same, &ours.refusal) {
            write!(
                text,
                ", iom verify does not: {}",
                refusal.messages.join("; ")
            )
            .unwrap();
        }
        if !kernel.accepted {
            writeln!(text).unwrap();
        } else if program.attach != XdpAttach::Device {
            writeln!(text, "; devmap and cpumap programs have no test run").unwrap();
        } else {
            totals.run += 1;
            let result = check(object, &program.name, packets, &sized);
            totals.same_results += usize::from(result.is_ok());
            match result {
                Ok(packets) => writeln!(text, "; {packets} packets, the same").unwrap(),
                Err(reason) => writeln!(text, "; {}", reason.replace('\n', " ")).unwrap(),
            }
        }
    }
}

/// Gives maps a size that have none in the object; their names.
fn set_sizes(module: &mut Module) -> Vec<String> {
    let maps = module.maps.iter_mut();
    let unsized_maps =
        maps.filter(|map| map.max_entries == 0 && map.map_type != MapType::PerfEventArray);
    unsized_maps
        .map(|map| {
            map.max_entries = ENTRIES;
            map.name.clone()
        })
        .collect()
}

#[test]
fn kernel_and_simulator_agree_on_programs_of_the_field() {
    let Some(folder) = std::env::var_os("IOM_FIELD").map(PathBuf::from) else {
        eprintln!("skipped: IOM_FIELD names no folder of objects (docs/field.md)");
        return;
    };
    KernelBackend::probe().expect("the kernel");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packets = root.join("../../shared/verifier/packets.json");
    assert!(packets.exists(), "{} is not there", packets.display());
    let (mut totals, mut text) = (Totals::default(), String::new());
    for object in objects(&folder.join("objects")) {
        sweep(&object, &packets, &mut totals, &mut text);
    }
    let Totals {
        objects,
        programs,
        accepted,
        same_verdict,
        run,
        same_results,
    } = totals;
    writeln!(
        text,
        "\n{objects} objects, {programs} XDP programs\n\
         verdict as the kernel's: {same_verdict} of {programs}; the kernel accepts {accepted}\n\
         same results: {same_results} of {run} that the kernel accepts and can test-run"
    )
    .unwrap();
    expect_file![root.join("tests/field/results.txt")].assert_eq(&text);
}
