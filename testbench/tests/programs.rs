//! The committed modules: objects belong to their sources, manifests and seeds are readable.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use iom_core::{module::Module, object::load_object};
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
fn manifests_name_what_is_there() {
    let modules = modules();
    assert!(modules.len() >= 12);
    for module in modules {
        let folder = module
            .file_name()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(module.join("module.toml")).expect("a manifest");
        let manifest: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{folder}: {error}"));
        let field = |name: &str| {
            manifest
                .get(name)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
        };
        assert_eq!(field("name").as_ref(), Some(&folder));
        assert!(
            field("description").is_some_and(|line| !line.is_empty()),
            "{folder}"
        );
        assert!(
            module.join(field("object").expect("an object")).exists(),
            "{folder}"
        );
        assert!(
            manifest["ports"]
                .as_array()
                .is_some_and(|ports| !ports.is_empty()),
            "{folder}"
        );
        let object =
            fs::read(module.join(field("object").expect("an object"))).expect("the object");
        let loaded =
            load_object(&object, &folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(
            loaded.refused.is_empty() && loaded.skipped.is_empty(),
            "{folder}"
        );
        let entry = loaded
            .program_index(&field("program").expect("a program"))
            .expect("the entry program");
        assert_eq!(
            Some(&loaded.programs[entry].section),
            field("section").as_ref()
        );
        if let Some(seed) = field("seed") {
            let seed = fs::read(module.join(seed)).expect("the seed");
            check_seed(
                &loaded,
                &serde_json::from_slice(&seed).expect("JSON of maps"),
            );
        }
    }
}

/// Map name to its type and entries.
type Seed = BTreeMap<String, SeededMap>;

#[derive(serde::Deserialize)]
struct SeededMap {
    #[serde(rename = "type")]
    map_type: String,
    entries: Vec<SeededEntry>,
}

#[derive(serde::Deserialize)]
struct SeededEntry {
    key: String,
    value: Option<String>,
    program: Option<String>,
}

fn check_seed(module: &Module, seed: &Seed) {
    for (name, map) in seed {
        let index = module
            .map_index(name)
            .unwrap_or_else(|| panic!("{}: no map {name}", module.name));
        let spec = &module.maps[index];
        assert_eq!(
            spec.map_type.name(),
            map.map_type,
            "{}: {name}",
            module.name
        );
        for entry in &map.entries {
            assert_eq!(
                entry.key.len(),
                2 * spec.key_size as usize,
                "{}: {name}",
                module.name
            );
            match (&entry.value, &entry.program) {
                (Some(value), None) => assert_eq!(
                    value.len(),
                    2 * spec.value_size as usize,
                    "{}: {name}",
                    module.name
                ),
                (None, Some(program)) => {
                    assert!(module.program_index(program).is_some(), "{program}");
                }
                _ => panic!("{}: {name}: a value or a program", module.name),
            }
        }
    }
}
