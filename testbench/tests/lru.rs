//! An LRU map gives up the same entries on the simulator and on the kernel.

use std::fmt::Write;
use std::process::Command;

use tempfile::TempDir;

/// Counts packets by the four bytes at offset 26 in an LRU map of 20 entries.
const PROGRAM: &str = r#"
.license "GPL"
.map seen lru_hash key 4 value 8 max 20

.program count xdp
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 30
    if r4 > r3 goto out
    r4 = *(u32 *)(r2 + 26)
    *(u32 *)(r10 - 4) = r4
    r2 = r10
    r2 += -4
    r1 = map[seen] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto new
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
    goto out
new:
    r1 = 1
    *(u64 *)(r10 - 16) = r1
    r1 = map[seen] ll
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem
out:
    r0 = 2
    exit
"#;

/// Frames of forty sources, some of them more often than others.
fn frames() -> String {
    let mut state = 1_u32;
    let mut text = String::from("[");
    for number in 0..600 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let roll = state >> 16;
        let source = if roll & 1 == 0 {
            roll >> 1 & 7
        } else {
            roll >> 1 & 0x2f
        };
        let mut frame = [0_u8; 64];
        frame[12] = 8;
        frame[26..30].copy_from_slice(&source.to_be_bytes());
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}{{\"name\":\"{number}\",\"hex\":\"").unwrap();
        for byte in frame {
            write!(text, "{byte:02x}").unwrap();
        }
        text += "\"}";
    }
    text + "]"
}

#[test]
fn kernel_and_simulator_evict_the_same() {
    if let Err(missing) = iom_backends::kernel::KernelBackend::probe() {
        let required = std::env::var_os("IOM_REQUIRE_KERNEL").is_some_and(|value| value == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL=1, but {missing}");
        eprintln!("kernel_and_simulator_evict_the_same: skipped: {missing}");
        return;
    }
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("lru.bpf"), PROGRAM).unwrap();
    std::fs::write(dir.path().join("frames.json"), frames()).unwrap();
    let seeds = r#"{"seen":{"type":"lru_hash","entries":[
        {"key":"00000003","value":"0100000000000000"},
        {"key":"00000001","value":"0100000000000000"}]}}"#;
    std::fs::write(dir.path().join("seeds.json"), seeds).unwrap();
    for queues in ["1", "2"] {
        let output = Command::new(env!("CARGO_BIN_EXE_iom"))
            .current_dir(dir.path())
            .args([
                "check",
                "lru.bpf",
                "-i",
                "frames.json",
                "--backends",
                "sim,kernel",
            ])
            .args(["--seed-maps", "seeds.json", "--queues", queues])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{queues} queues: {text}{errors}");
    }
}
