//! Static linking: `objects/link/*.c` are the parts, `objects/build.sh` rebuilds them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect, expect_file};
use iom_core::isa::module_text;
use iom_core::module::Module;
use iom_core::object::{
    Kernel, KernelConfig, LinkInput, LinkedObject, link_objects, load_object, load_object_for,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects")
}

fn link(names: &[&str]) -> Result<LinkedObject, String> {
    let objects = names.iter().map(|name| {
        let path = folder().join("link").join(name).with_extension("o");
        fs::read(path).expect("an object")
    });
    let objects: Vec<_> = objects.collect();
    let inputs = names.iter().zip(&objects);
    let inputs: Vec<_> = inputs
        .map(|(name, bytes)| LinkInput { name, bytes })
        .collect();
    link_objects(&inputs).map_err(|error| error.to_string())
}

fn load(bytes: &[u8]) -> Module {
    let config = KernelConfig::parse("CONFIG_HZ=250\n");
    let kernel = Kernel {
        types: None,
        config: Some(&config),
    };
    load_object_for(bytes, "linked", &kernel).expect("a module")
}

/// Programs with the names of their functions, sources of lines and maps.
fn describe(module: &Module) -> String {
    let mut text = String::new();
    for program in &module.programs {
        let functions = program.functions.iter().map(|function| &*function.name);
        let functions: Vec<_> = functions.collect();
        let mut files: Vec<_> = program.lines.iter().map(|line| &*line.file).collect();
        files.dedup();
        writeln!(text, "{}: {functions:?}, lines of {files:?}", program.name).unwrap();
    }
    for program in &module.refused {
        writeln!(text, "refused {}: {}", program.name, program.error).unwrap();
    }
    let all: Vec<_> = (0..module.programs.len()).collect();
    text + &module_text(module, &all)
}

#[test]
fn programs_use_what_other_objects_define() {
    let linked = link(&["main", "part"]).expect("they fit");
    assert!(linked.undefined.is_empty(), "{:?}", linked.undefined);
    let module = load(&linked.bytes);
    expect_file![folder().join("link/main_part.txt")].assert_eq(&describe(&module));
    // Static data moves with the order, nothing else does.
    let swapped = load(&link(&["part", "main"]).expect("they fit").bytes);
    let length = |module: &Module, name| {
        let index = module.program_index(name).expect("a program");
        module.programs[index].insns.len()
    };
    for name in ["entry", "other"] {
        assert_eq!(length(&swapped, name), length(&module, name), "{name}");
    }
}

#[test]
fn linking_in_steps_is_linking_at_once() {
    let at_once = link(&["main", "part"]).expect("they fit").bytes;
    let alone = |name: &str| {
        let linked = link(&[name]).expect("one object fits");
        (linked.bytes, linked.undefined)
    };
    let (main, undefined) = alone("main");
    assert_eq!(undefined, ["classify", "counts", "flags", "limit"]);
    let (part, undefined) = alone("part");
    assert_eq!(undefined, ["seen"]);
    let inputs = [("main", &main), ("part", &part)];
    let inputs = inputs.map(|(name, bytes)| LinkInput { name, bytes });
    let again = link_objects(&inputs).expect("they fit").bytes;
    assert_eq!(describe(&load(&again)), describe(&load(&at_once)));
}

#[test]
fn an_object_alone_stays_what_it_is() {
    for entry in fs::read_dir(folder()).expect("the cases") {
        let path = entry.expect("a case").path();
        if path.extension().is_none_or(|extension| extension != "o") {
            continue;
        }
        let bytes = fs::read(&path).expect("an object");
        let inputs = [LinkInput {
            name: "alone",
            bytes: &bytes,
        }];
        let linked = link_objects(&inputs).expect("one object fits").bytes;
        let text = |bytes: &[u8]| match load_object(bytes, "alone") {
            Ok(module) => describe(&module),
            Err(error) => error.to_string(),
        };
        assert_eq!(text(&linked), text(&bytes), "{}", path.display());
    }
}

#[test]
fn errors_name_files_and_symbols() {
    let check = |names: &[&str], expected: Expect| {
        let message = match link(names) {
            Ok(linked) => format!("{:?}", linked.undefined),
            Err(message) => message,
        };
        expected.assert_eq(&message);
    };
    check(
        &["part", "twice"],
        expect!["limit is defined in part and in twice; make one of them static or __weak"],
    );
    check(
        &["part", "differs"],
        expect![
            "classify is not declared in differs as it is defined in part: parameters or result have other types"
        ],
    );
    check(
        &["differs", "part"],
        expect![
            "classify is not declared in differs as it is defined in part: parameters or result have other types"
        ],
    );
    check(
        &["part", "licence"],
        expect!["section license of licence says something else than that of part"],
    );
    check(
        &["map", "part"],
        expect!["counts is not declared in map as it is defined in part: its type is another"],
    );
}
