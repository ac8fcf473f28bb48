//! Another loader as an oracle: aya-obj relocates the same objects to the same instructions. What it
//! does not load, and why it differs where it does, is `aya.txt`.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, panic};

use aya_obj::Object;
use aya_obj::btf::Btf;
use expect_test::expect_file;
use iom_core::isa::encode;
use iom_core::module::Module;
use iom_core::object::{Kernel, KernelConfig, KernelTypes, load_object_for};
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn objects(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("kernel") {
            objects(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "o") {
            found.push(path);
        }
    }
}

/// The file of types that both get.
fn types_file() -> Vec<u8> {
    fs::read(root().join("core/tests/objects/kernel/types.o")).expect("the kernel's types")
}

/// Instructions of aya's programs by name; maps get the numbers that they have in the module.
fn of_aya(bytes: &[u8], module: &Module) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut object = Object::parse(bytes).map_err(|error| whole(&error))?;
    let file = types_file();
    let file = ElfFile64::<Endianness>::parse(&*file).expect("the kernel's types");
    let section = file.section_by_name(".BTF").expect("types");
    let types = section.data().expect("types");
    #[expect(
        clippy::default_trait_access,
        reason = "aya-obj has another version of that crate"
    )]
    let types = Btf::parse(types, Default::default()).expect("types");
    object.relocate_btf(&types).map_err(|error| whole(&error))?;
    let text: HashSet<usize> = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    let maps = object.maps.clone();
    let numbered = maps.iter().map(|(name, map)| {
        let number = module.map_index(name).map_or(-1, |index| index as i32);
        (name.as_str(), number, map)
    });
    object
        .relocate_maps(numbered, &text)
        .map_err(|error| whole(&error))?;
    object
        .relocate_calls(&text)
        .map_err(|error| whole(&error))?;
    let programs = object.programs.iter().map(|(name, program)| {
        let insns = &object.functions[&program.function_key()].instructions;
        let bytes = insns.iter().flat_map(|insn| {
            let [low, high] = insn.off.to_le_bytes();
            let registers = insn.src_reg() << 4 | insn.dst_reg();
            let [a, b, c, d] = insn.imm.to_le_bytes();
            [insn.code, registers, low, high, a, b, c, d]
        });
        (name.clone(), bytes.collect())
    });
    Ok(programs.collect())
}

/// An error with what caused it.
fn whole(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let causes = causes.map(|cause| format!(": {cause}"));
    error.to_string() + &causes.collect::<String>()
}

#[test]
fn instructions_are_those_of_aya() {
    let mut paths = Vec::new();
    for folder in ["programs", "core/tests/objects"] {
        objects(&root().join(folder), &mut paths);
    }
    paths.sort();
    let types = KernelTypes::parse(&types_file()).expect("the kernel's types");
    let config = KernelConfig::parse("");
    let kernel = Kernel {
        types: Some(&types),
        config: Some(&config),
    };
    let (mut text, mut same) = (String::new(), 0);
    for path in paths {
        let name = path.strip_prefix(root()).expect("below").display();
        let bytes = fs::read(&path).expect("an object");
        let Ok(module) = load_object_for(&bytes, "case", &kernel) else {
            continue;
        };
        let panicked = |_| Err("it panics".to_owned());
        let theirs = panic::catch_unwind(|| of_aya(&bytes, &module)).unwrap_or_else(panicked);
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(error) => {
                writeln!(text, "{name}: not loaded: {error}").unwrap();
                continue;
            }
        };
        for program in &module.programs {
            match theirs.get(&program.name) {
                None => writeln!(text, "{name} {}: not there", program.name).unwrap(),
                Some(theirs) if *theirs == encode(&program.insns) => same += 1,
                Some(_) => writeln!(text, "{name} {}: differs", program.name).unwrap(),
            }
        }
    }
    writeln!(text, "{same} programs are the same").unwrap();
    expect_file!["aya.txt"].assert_eq(&text);
}
