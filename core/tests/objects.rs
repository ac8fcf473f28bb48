//! The object loader: `objects/*.c` are the cases, `*.o` what clang made of them, `*.txt` what the
//! loader must make of that. `objects/build.sh` rebuilds the objects.

use expect_test::expect_file;
use iom_core::isa::module_text;
use iom_core::module::{Module, Program};
use iom_core::object::btf::{Btf, BtfKind};
use iom_core::object::{
    Kernel, KernelConfig, KernelNeeds, KernelTypes, LinkInput, link_objects, load_object,
    load_object_for, load_raw_object,
};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects")
}

/// Paths of the objects, sorted.
fn objects() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the cases");
    let paths = entries.map(|entry| entry.expect("a case").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "o"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Types for the cases that ask the kernel.
fn kernel_types() -> &'static KernelTypes {
    static TYPES: OnceLock<KernelTypes> = OnceLock::new();
    TYPES.get_or_init(|| {
        let bytes = fs::read(folder().join("kernel/types.o")).expect("the kernel's types");
        KernelTypes::parse(&bytes).expect("the kernel's types")
    })
}

fn kernel_config() -> KernelConfig {
    let text = fs::read_to_string(folder().join("kernel/config")).expect("the configuration");
    KernelConfig::parse(&text)
}

fn kernel(config: &KernelConfig) -> Kernel<'_> {
    Kernel {
        types: Some(kernel_types()),
        config: Some(config),
    }
}

/// Whether a case is loaded for a kernel; the others show what happens when none is known.
fn of_kernel(path: &Path) -> bool {
    let name = path.file_stem().expect("a name").to_string_lossy();
    name.starts_with("core_")
}

#[test]
fn modules() {
    let config = kernel_config();
    for path in objects() {
        let bytes = fs::read(&path).expect("an object");
        let kernel = if of_kernel(&path) {
            kernel(&config)
        } else {
            Kernel::default()
        };
        let text = match load_object_for(&bytes, "case", &kernel) {
            Ok(module) => describe(&module),
            Err(error) => format!("error: {error}\n"),
        };
        expect_file![path.with_extension("txt")].assert_eq(&text);
    }
}

/// What a module holds, as text; of its types those that the loader may have changed.
fn describe(module: &Module) -> String {
    let mut text = String::new();
    for program in &module.programs {
        let (name, section) = (&program.name, &program.section);
        let kind = (program.program_type, program.attach, program.fragments);
        writeln!(text, "program {name}: section {section}, {kind:?}").unwrap();
        for function in &program.functions {
            writeln!(text, "  {function:?}").unwrap();
        }
        for unresolved in &program.unresolved {
            writeln!(text, "  {unresolved:?}").unwrap();
        }
    }
    for program in &module.refused {
        writeln!(text, "refused {}: {}", program.name, program.error).unwrap();
    }
    for program in &module.skipped {
        writeln!(text, "skipped {}: {}", program.name, program.reason).unwrap();
    }
    for map in &module.maps {
        writeln!(text, "map {}: BTF types {:?}", map.name, map.btf_types).unwrap();
        if let (".kconfig", [entry]) = (&*map.name, &*map.initial) {
            writeln!(text, "  {:?}", entry.value).unwrap();
        }
        if let Some(inner) = &map.inner {
            writeln!(text, "  {inner:?}").unwrap();
        }
    }
    if let Some(bytes) = &module.btf {
        let btf = Btf::parse(bytes).expect("BTF that the loader has made");
        for (id, found) in btf.iter() {
            let of_elf = matches!(
                found.kind,
                BtfKind::Func { .. } | BtfKind::Var { .. } | BtfKind::Datasec { .. }
            );
            if !of_elf {
                continue;
            }
            let name = btf.string(found.name).unwrap_or_default();
            writeln!(text, "type {id} {name:?}: {:?}", found.kind).unwrap();
        }
    }
    let all: Vec<_> = (0..module.programs.len()).collect();
    text + &module_text(module, &all)
}

#[test]
fn objects_say_what_they_need_of_the_kernel() {
    for path in objects() {
        let needs = KernelNeeds::of(&fs::read(&path).expect("an object"));
        let name = path.file_stem().expect("a name").to_string_lossy();
        let types = matches!(&*name, "core_relocations" | "refused");
        let config = matches!(&*name, "core_config" | "refused");
        assert_eq!((needs.types, needs.config), (types, config), "{name}");
    }
}

#[test]
fn kernel_types_that_are_none() {
    let check = |bytes: &[u8], expected: &str| {
        let message = KernelTypes::parse(bytes).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    };
    let no_debug = fs::read(folder().join("no_debug.o")).expect("an object");
    check(&no_debug, "the ELF file has no .BTF section");
    check(&no_debug[..100], "broken ELF file");
    check(b"text", "section .BTF, offset 0x0");
}

#[test]
fn files_that_are_no_bpf_objects() {
    let object = fs::read(folder().join("sections.o")).expect("an object");
    let check = |at: usize, bytes: &[u8], expected: &str| {
        let mut changed = object.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let message = load_object(&changed, "case").unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(0, b"PK", "no ELF file");
    check(4, &[1], "an ELF file for 32-bit machines");
    check(5, &[2], "an ELF file for big-endian machines");
    check(
        16,
        &[2, 0],
        "an ELF file of type 2, not a relocatable object",
    );
    check(
        18,
        &[62, 0],
        "an ELF file for machine 62, not for BPF (247)",
    );
    let sections = u64::from_le_bytes(object[40..48].try_into().expect("e_shoff")) as usize;
    // `sh_flags` and `sh_size` of section 2.
    check(
        sections + 128 + 8,
        &[0, 8],
        "compressed sections are not supported",
    );
    check(sections + 128 + 32, &[0xff; 7], "bytes are not in the file");
    for len in 0..200 {
        assert!(load_object(&object[..len], "case").is_err());
    }
}

/// The object with all relocations in the form with addends: those that stood in the places move
/// beside the relocations, and the places hold garbage.
fn with_addends(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let at = |bytes: &[u8], at: usize, len: usize| {
        let mut word = [0; 8];
        word[..len].copy_from_slice(&bytes[at..at + len]);
        u64::from_le_bytes(word) as usize
    };
    let table = at(object, 40, 8);
    let header = |index: usize| table + 64 * index;
    for index in 0..at(object, 60, 2) {
        let section = header(index);
        if at(object, section + 4, 4) != 9 {
            continue;
        }
        let target = at(object, header(at(object, section + 44, 4)) + 24, 8);
        let (start, len) = (at(object, section + 24, 8), at(object, section + 32, 8));
        let new_start = bytes.len();
        for rel in object[start..start + len].chunks(16) {
            let place = target + at(rel, 0, 8);
            let kind = at(rel, 8, 4);
            // A call's field counts slots from the next one.
            let (field, addend) = match kind {
                10 => (
                    4,
                    (i64::from(at(object, place + 4, 4) as u32 as i32) + 1) * 8,
                ),
                1 => (4, at(object, place + 4, 4) as i64),
                2 => (0, at(object, place, 8) as i64),
                _ => (0, at(object, place, 4) as i64),
            };
            bytes[place + field..place + field + 4].fill(0x5a);
            bytes.extend(rel);
            bytes.extend(addend.to_le_bytes());
        }
        let len = (bytes.len() - new_start) as u64;
        bytes[section + 4] = 4;
        bytes[section + 24..section + 32].copy_from_slice(&(new_start as u64).to_le_bytes());
        bytes[section + 32..section + 40].copy_from_slice(&len.to_le_bytes());
        bytes[section + 56] = 24;
    }
    bytes
}

#[test]
fn relocations_with_addends() {
    for case in ["functions", "prog_array", "data", "btf_maps", "callbacks"] {
        let object = fs::read(folder().join(case).with_extension("o")).expect("an object");
        let describe = |bytes: &[u8]| describe(&load_object(bytes, "case").expect("a module"));
        assert_eq!(
            describe(&with_addends(&object)),
            describe(&object),
            "{case}"
        );
        let link = |bytes: &[u8]| {
            let linked = link_objects(&[LinkInput { name: case, bytes }]);
            linked.expect("it links").bytes
        };
        assert_eq!(link(&with_addends(&object)), link(&object), "{case}");
    }
}

#[test]
fn functions_of_text_run_on_their_own() {
    let object = fs::read(folder().join("assembled.o")).expect("an object");
    let module = load_raw_object(&object, "case").expect("a module");
    let names: Vec<_> = module
        .programs
        .iter()
        .map(|program| program.name.as_str())
        .collect();
    assert_eq!(names, ["first", "second"]);
    let starts = |program: &Program| {
        program
            .functions
            .iter()
            .map(|f| f.start)
            .collect::<Vec<_>>()
    };
    assert_eq!(starts(&module.programs[0]), [0, 2]);
    assert_eq!(starts(&module.programs[1]), [0, 3, 5]);
    assert!(
        load_object(&object, "case")
            .expect("a module")
            .programs
            .is_empty()
    );
}

#[test]
fn clang_rebuilds_the_objects() {
    if Command::new("clang-19").arg("--version").output().is_err() {
        eprintln!("skipped: clang-19 is not there");
        return;
    }
    let out = tempfile::tempdir().expect("a folder");
    let mut build = Command::new("sh");
    let status = build
        .arg(folder().join("build.sh"))
        .env("OUT", out.path())
        .status();
    assert!(status.expect("sh").success());
    for path in objects() {
        let built = fs::read(out.path().join(path.file_name().expect("a name")));
        let same = built.expect("a rebuilt object") == fs::read(&path).expect("an object");
        assert!(
            same,
            "{} is not what clang-19 makes of its source",
            path.display()
        );
    }
}

/// Loads what may be broken, and prints values of all its types.
fn survives(bytes: &[u8]) {
    let config = kernel_config();
    KernelNeeds::of(bytes);
    match load_object_for(bytes, "case", &kernel(&config)) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(module) => {
            describe(&module);
            let btf = module
                .btf
                .map(|bytes| Btf::parse(&bytes).expect("parsed before"));
            for (id, _) in btf.iter().flat_map(Btf::iter) {
                if let Some(btf) = &btf {
                    btf.format_value(id, &[0x5a; 64]);
                }
            }
        }
    }
}

/// A case's object with a few bytes changed and the end cut off.
fn broken_object() -> impl Strategy<Value = Vec<u8>> {
    let objects = objects();
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let cut = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (0..objects.len(), changes, cut).prop_map(move |(object, changes, cut)| {
        let mut bytes = fs::read(&objects[object]).expect("an object");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn broken_kernel_types_are_errors(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(folder().join("kernel/types.o")).expect("the kernel's types");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(types) = KernelTypes::parse(&bytes) {
            let kernel = Kernel {
                types: Some(&types),
                ..Kernel::default()
            };
            let object = fs::read(folder().join("core_relocations.o")).expect("an object");
            describe(&load_object_for(&object, "case", &kernel).expect("an object"));
        }
    }

    #[test]
    fn broken_objects_link_or_are_errors(first in broken_object(), second in broken_object()) {
        let inputs = [("first", &first), ("second", &second)];
        let inputs = inputs.map(|(name, bytes)| LinkInput { name, bytes });
        match link_objects(&inputs) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(linked) => survives(&linked.bytes),
        }
    }

    #[test]
    fn broken_objects_are_errors(bytes in broken_object()) {
        survives(&bytes);
    }
}
