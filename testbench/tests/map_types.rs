//! One small program for each map type, `maps/NAME.bpf` with the seeds `maps/NAME.json`, and objects of
//! clang, `objects/NAME.o`: the simulator and the kernel agree on what they do and on what their maps
//! hold afterwards.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Frames of eighty sources, some of them more often than others, at offset 26.
fn frames() -> String {
    let mut state = 1_u32;
    let mut text = String::from("[");
    for number in 0..400 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let roll = state >> 16;
        let source = if roll & 1 == 0 {
            roll >> 1 & 7
        } else {
            roll >> 1 & 0x5f
        };
        let mut frame = vec![0_u8; 60 + roll as usize % 40];
        frame[12] = 8;
        frame[26..30].copy_from_slice(&source.to_be_bytes());
        frame[40] = number as u8;
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}{{\"name\":\"{number}\",\"hex\":\"").unwrap();
        for byte in frame {
            write!(text, "{byte:02x}").unwrap();
        }
        text += "\"}";
    }
    text + "]"
}

fn check(dir: &Path, program: &Path, queues: &str) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iom"));
    command.current_dir(dir).arg("check").arg(program);
    command.args(["-i", "frames.json", "--backends", "sim,kernel"]);
    command.args(["--queues", queues]);
    let seeds = program.with_extension("json");
    if seeds.exists() {
        command.arg("--seed-maps").arg(seeds);
    }
    let output = command.output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let program = program.display();
    Err(format!("{program}, {queues} queues:\n{text}{errors}"))
}

#[test]
fn kernel_and_simulator_agree_on_every_map_type() {
    if let Err(missing) = iom_backends::kernel::KernelBackend::probe() {
        let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|value| value == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
        eprintln!("kernel_and_simulator_agree_on_every_map_type: skipped: {missing}");
        return;
    }
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("frames.json"), frames()).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut programs: Vec<PathBuf> = ["maps", "objects"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(tests.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "bpf" || end == "o")
        })
        .collect();
    programs.sort();
    let failures: Vec<String> = programs
        .iter()
        .flat_map(|program| ["1", "2"].map(|queues| check(dir.path(), program, queues)))
        .filter_map(Result::err)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A pinned map goes on counting where the last run stopped, one that is not begins anew.
#[test]
fn pinned_maps_stay() {
    const PROGRAM: &str = r#"
.license "GPL"
.map kept array key 4 value 8 max 1 pinned
.map lost array key 4 value 8 max 1

.program count xdp
    r1 = map[kept] + 0 ll
    r2 = *(u64 *)(r1 + 0)
    r2 += 1
    *(u64 *)(r1 + 0) = r2
    r1 = map[lost] + 0 ll
    r2 = *(u64 *)(r1 + 0)
    r2 += 1
    *(u64 *)(r1 + 0) = r2
    r0 = 2
    exit
"#;
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("count.bpf"), PROGRAM).unwrap();
    std::fs::write(dir.path().join("frames.json"), frames()).unwrap();
    for (kept, lost) in [("9001", "9001"), ("2003", "9001")] {
        let output = Command::new(env!("CARGO_BIN_EXE_iom"))
            .current_dir(dir.path())
            .args(["run", "count.bpf", "-i", "frames.json", "--pin-dir", "pins"])
            .args(["--dump-maps", "maps.json"])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let maps = std::fs::read_to_string(dir.path().join("maps.json")).unwrap();
        let pinned = std::fs::read_to_string(dir.path().join("pins/kept.json")).unwrap();
        let maps: Vec<&str> = maps.split("\"lost\"").collect();
        assert!(maps[0].contains(&format!("{kept}000000000000")), "{maps:?}");
        assert!(maps[1].contains(&format!("{lost}000000000000")), "{maps:?}");
        assert!(pinned.contains(&format!("{kept}000000000000")), "{pinned}");
    }
    assert!(!dir.path().join("pins/lost.json").exists());
    // A check goes on from there on all backends and leaves what the first one has.
    let output = Command::new(env!("CARGO_BIN_EXE_iom"))
        .current_dir(dir.path())
        .args([
            "check",
            "count.bpf",
            "-i",
            "frames.json",
            "--pin-dir",
            "pins",
        ])
        .output()
        .unwrap();
    if output.status.code() != Some(4) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        let pinned = std::fs::read_to_string(dir.path().join("pins/kept.json")).unwrap();
        assert!(pinned.contains("b004000000000000"), "{pinned}");
    }
}
