//! The README's tour: its commands are run, and print what it shows. `UPDATE_EXPECT=1` rewrites
//! what it shows.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use iom_backends::kernel::KernelBackend;

const OPEN: &str = "```console\n";
const CLOSE: &str = "```\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a command of the tour prints, standard error behind standard output. A pipe into `head`
/// is done here.
fn output(command: &str, scratch: &Path) -> String {
    let (command, head) = match command.split_once(" | head -") {
        Some((command, lines)) => (command, lines.parse().expect("a number of lines")),
        None => (command, usize::MAX),
    };
    let scratch = format!("{}/", scratch.display());
    let words = command.split_whitespace().skip(1);
    let words = words.map(|word| if word == "out/" { &scratch } else { word });
    let output = Command::cargo_bin("iom")
        .unwrap()
        .current_dir(root())
        .args(words)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .take(head)
        .flat_map(|line| [line, "\n"])
        .collect()
}

#[test]
fn the_tour_is_real() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let kernel = KernelBackend::probe();
    let mut parts = readme.split(OPEN);
    let mut real = parts.next().unwrap().to_owned();
    let mut tours = 0;
    for part in parts {
        let (shown, rest) = part.split_once(CLOSE).expect("the block is closed");
        let command = shown
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("$ "))
            .expect("a command");
        let prints = match &kernel {
            Err(missing) if command.contains("kernel") => {
                assert!(std::env::var("IOM_REQUIRE_KERNEL").is_err(), "{missing}");
                eprintln!("skipped `{command}`: {missing}");
                shown
                    .lines()
                    .skip(1)
                    .flat_map(|line| [line, "\n"])
                    .collect()
            }
            _ => output(command, scratch.path()),
        };
        real += &[OPEN, "$ ", command, "\n", &prints, CLOSE, rest].concat();
        tours += 1;
    }
    assert!(tours >= 5, "only {tours} commands in the tour");
    if std::env::var("UPDATE_EXPECT").is_ok() {
        fs::write(&path, &real).unwrap();
    } else {
        assert!(
            readme == real,
            "the README shows other output than its commands print; UPDATE_EXPECT=1 rewrites it:\n{real}"
        );
    }
}
