//! The committed modules: objects belong to their sources, manifests to their objects.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use iom_core::object::load_object;
use iom_testbench::manifest::Manifest;
use sha2::{Digest, Sha256};

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs")
}

/// File name below `programs/` to SHA-256, from `HASHES`.
fn recorded() -> BTreeMap<String, String> {
    let text = fs::read_to_string(programs().join("HASHES")).expect("programs/HASHES");
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect()
}

fn hash(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:x}", Sha256::digest(bytes))
}

/// The folders of the modules.
fn modules() -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(programs())
        .expect("programs/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("module.toml").exists())
        .collect();
    folders.sort();
    folders
}

#[test]
fn sources_and_objects_have_the_recorded_hashes() {
    let recorded = recorded();
    for (name, expected) in &recorded {
        assert_eq!(
            &hash(&programs().join(name)),
            expected,
            "{name}: run `sh programs/build.sh`"
        );
    }
    for module in modules() {
        let name = module.file_name().expect("a folder").to_string_lossy();
        for file in [format!("{name}/{name}.c"), format!("{name}/{name}.o")] {
            assert!(
                recorded.contains_key(&file),
                "{file} is not in programs/HASHES"
            );
        }
    }
}

#[test]
fn objects_are_rebuilt_to_the_same_bytes() {
    let compiler = fs::read_to_string(programs().join("HASHES")).expect("programs/HASHES");
    let compiler = compiler
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .expect("the compiler's version");
    let here = Command::new("clang-19").arg("--version").output();
    let here = here
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    if here.lines().next() != Some(compiler) {
        eprintln!("skipped: the objects were built with {compiler}, which is not here");
        return;
    }
    let out = tempfile::tempdir().expect("a folder");
    let status = Command::new("sh")
        .arg(programs().join("build.sh"))
        .env("OUT", out.path())
        .status();
    assert!(status.expect("sh").success(), "programs/build.sh fails");
    for module in modules() {
        let name = module
            .file_name()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let object = format!("{name}.o");
        assert_eq!(
            hash(&out.path().join(&object)),
            hash(&module.join(&object)),
            "{object}"
        );
    }
}

#[test]
fn manifests_describe_their_objects() {
    let modules = modules();
    assert!(modules.len() >= 12);
    for folder in modules {
        let name = folder
            .file_name()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let path = folder.join(format!("{name}.o"));
        let manifest = Manifest::beside(&path)
            .expect("a manifest")
            .expect("one about this object");
        assert_eq!(manifest.name, name);
        assert!(
            !manifest.description.is_empty() && !manifest.ports.is_empty(),
            "{name}"
        );
        let module = load_object(&fs::read(&path).expect("the object"), &name)
            .expect("an object that loads");
        assert!(
            module.refused.is_empty() && module.skipped.is_empty(),
            "{name}"
        );
        let entry = manifest
            .program
            .as_deref()
            .and_then(|program| module.program_index(program));
        let entry = entry.expect("the entry program");
        assert_eq!(
            Some(&module.programs[entry].section),
            manifest.section.as_ref()
        );
    }
}
