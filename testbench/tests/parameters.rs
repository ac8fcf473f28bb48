//! `--set`, `--max-entries`, `--kconfig` and the manifest: they reach every command that reads a program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn object(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/objects")
        .join(name)
}

/// Exit code, standard output and standard error.
fn iom(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_iom"))
        .args(arguments)
        .output();
    let output = output.expect("iom");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit code");
    (code, text(&output.stdout), text(&output.stderr))
}

/// The first value of a map in a listing.
fn first_entry<'t>(listing: &'t str, map: &str) -> &'t str {
    let start = listing.find(&format!(".map {map} ")).expect("the map");
    let entry = listing[start..].lines().nth(1).expect("an entry");
    entry.strip_prefix(".entry 00000000 = ").expect("an entry")
}

#[test]
fn a_parameter_is_set_wherever_a_program_is_read() {
    let path = object("parameters.o");
    let path = path.to_str().expect("a path");
    let (_, plain, _) = iom(&["disasm", path]);
    assert!(first_entry(&plain, ".rodata").starts_with("0100000000000000"));
    let set = ["--set", "wide=0x1122334455667788"];
    let (_, listing, _) = iom(&[&["disasm", path][..], &set].concat());
    assert!(first_entry(&listing, ".rodata").starts_with("8877665544332211"));
    let (_, vector, _) = iom(&[&["asm", "--json", path][..], &set].concat());
    assert!(vector.contains("8877665544332211"), "{vector}");
    for command in ["verify", "offload plan"] {
        let wrong = [path, "--set", "wide=much"];
        let words: Vec<_> = command.split(' ').chain(wrong).collect();
        let (code, _, errors) = iom(&words);
        assert_eq!(code, 2, "{command}: {errors}");
        assert!(errors.contains("wide"), "{command}: {errors}");
    }
}

#[test]
fn both_programs_of_a_comparison_get_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames = folder.path().join("frames.json");
    let frame = "5a".repeat(60);
    fs::write(&frames, format!("[{{\"name\":\"a\",\"hex\":\"{frame}\"}}]")).expect("frames");
    let frames = frames.to_str().expect("a path");
    let path = object("parameters.o");
    let path = path.to_str().expect("a path");
    let words = ["diff", path, path, "-i", frames, "--set", "counter=7"];
    let (code, text, errors) = iom(&words);
    assert_eq!(code, 0, "{text}{errors}");
}

#[test]
fn the_manifest_sets_what_the_command_line_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("parameters.o");
    fs::copy(object("parameters.o"), &copy).expect("a copy");
    let manifest = "name = \"p\"\nobject = \"parameters.o\"\n\
        [parameters]\nwide = 2\nnumber = 9\n\"ports[1]\" = 80\nenabled = true\n";
    fs::write(folder.path().join("module.toml"), manifest).expect("a manifest");
    let copy = copy.to_str().expect("a path");
    let (_, listing, _) = iom(&["disasm", copy, "--set", "wide=3"]);
    let values = first_entry(&listing, ".rodata");
    assert!(
        values.starts_with("03000000000000000900000001000000"),
        "{values}"
    );
}

#[test]
fn maps_get_the_size_that_a_loader_would_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("sized.bpf");
    let text = ".map m array key 4 value 4 max 2\nr1 = map[m] ll\nr0 = 2\nexit\n";
    fs::write(&program, text).expect("a program");
    let program = program.to_str().expect("a path");
    let (_, listing, _) = iom(&["disasm", program, "--max-entries", "m=77"]);
    assert!(listing.contains("max 77"), "{listing}");
    let (code, _, errors) = iom(&["disasm", program, "--max-entries", "other=1"]);
    assert_eq!(code, 2);
    assert!(
        errors.contains("there is no such map; there are m"),
        "{errors}"
    );
    let manifest = "name = \"s\"\nobject = \"sized.o\"\n[max_entries]\nm = 5\n";
    fs::write(folder.path().join("module.toml"), manifest).expect("a manifest");
    let (_, listing, _) = iom(&["disasm", program]);
    assert!(listing.contains("max 5"), "{listing}");
}

#[test]
fn configuration_variables_ask_the_file() {
    let path = object("core_config.o");
    let config = object("kernel/config");
    let path = path.to_str().expect("a path");
    let arguments = ["disasm", path, "--program", "all", "--kconfig"];
    let (code, listing, errors) =
        iom(&[&arguments[..], &[config.to_str().expect("a path")]].concat());
    assert_eq!(code, 0, "{errors}");
    // The kernel's version, 6.1.30, and CONFIG_HZ, 1000.
    let values = first_entry(&listing, ".kconfig");
    assert!(
        values.contains("1e010600") && values.contains("e803"),
        "{values}"
    );
    let (code, _, errors) = iom(&[&arguments[..], &["/nonexistent"]].concat());
    assert_eq!(code, 2);
    assert!(errors.contains("/nonexistent"), "{errors}");
}

#[test]
fn the_manifest_names_the_network() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/fibrouter");
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["fibrouter.o", "module.toml"] {
        fs::copy(programs.join(file), folder.path().join(file)).expect("a copy");
    }
    let frames = folder.path().join("frames.json");
    let frame = "5a".repeat(60);
    fs::write(&frames, format!("[{{\"name\":\"a\",\"hex\":\"{frame}\"}}]")).expect("frames");
    let path = folder.path().join("fibrouter.o");
    let words = [
        "run",
        path.to_str().expect("a path"),
        "-i",
        frames.to_str().expect("a path"),
    ];
    let (code, _, errors) = iom(&words);
    assert_eq!(code, 2);
    assert!(errors.contains("fib.toml"), "{errors}");
    fs::copy(programs.join("fib.toml"), folder.path().join("fib.toml")).expect("a copy");
    let (code, _, errors) = iom(&words);
    assert_eq!(code, 0, "{errors}");
}
