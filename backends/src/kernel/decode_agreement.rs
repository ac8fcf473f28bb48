//! Test only: core's decoder and the running kernel agree on which encodings are valid.

use std::ffi::CStr;

use iom_core::isa::{RawInsn, decode};

use super::KernelBackend;
use super::syscall::{ProgLoad, prog_load};

const SOCKET_FILTER: u32 = 1;
const LICENSE: &CStr = c"GPL";
const MOV_IMM: u8 = 0xb7;
const STORE_IMM: u8 = 0x7a;
const WIDE: u8 = 0x18;
const EXIT: u8 = 0x95;

/// Settings of destination, source, offset and immediate. Each instruction uses few of them, so
/// that most leave something in a reserved field.
const SETTINGS: [(u8, u8, i16, i32); 36] = [
    (2, 3, 0, 0),
    (2, 0, 0, 0),
    (0, 0, 0, 0),
    (2, 0, 0, 16),
    (2, 0, 0, 24),
    (2, 0, 0, 64),
    (2, 4, 0, 16),
    (0, 3, 0, 0),
    (2, 0, 1, 0),
    (2, 0, 2, 0),
    (2, 3, 1, 0),
    (2, 3, 8, 0),
    (2, 3, 16, 0),
    (2, 3, 32, 0),
    (2, 3, 0, 1),
    (2, 0, 0, 1),
    (0, 0, 0, 5),
    (1, 0, 0, 5),
    (0, 0, 1, 5),
    (0, 0, 1, 0),
    (0, 0, 0, 1),
    (0, 1, 0, 0),
    (0, 1, 0, 1),
    (0, 2, 0, 1),
    (3, 10, -8, 0),
    (10, 0, -8, 0),
    (10, 3, -8, 0),
    (10, 3, -8, 0x01),
    (10, 3, -8, 0x30),
    (10, 3, -8, 0x40),
    (10, 3, -8, 0xe0),
    (10, 3, -8, 0xe1),
    (10, 3, -8, 0xf1),
    (11, 0, 0, 0),
    (2, 12, 0, 0),
    (0, 15, 0, 0),
];

/// Second slots of a wide load.
const TAILS: [RawInsn; 6] = [
    slot(0, 0, 0, 0, 0),
    slot(0, 0, 0, 0, 7),
    slot(1, 0, 0, 0, 0),
    slot(0, 1, 0, 0, 0),
    slot(0, 0, 1, 0, 0),
    slot(0, 0, 0, 1, 0),
];

const fn slot(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> RawInsn {
    RawInsn {
        opcode,
        dst,
        src,
        off,
        imm,
    }
}

/// What the verifier says of an encoding, as opposed to what the program does.
fn is_about_encoding(log: &str) -> bool {
    const COMPLAINTS: [&str; 8] = [
        "uses reserved fields",
        "unknown opcode",
        " is invalid",
        "invalid bpf_ld_imm64",
        "unrecognized bpf_ld_imm64",
        "invalid atomic operand size",
        "invalid atomic opcode",
        "invalid may_goto imm",
    ];
    COMPLAINTS.iter().any(|complaint| log.contains(complaint))
}

/// The kernel's log if it refuses a program with these slots between registers and stack that are
/// initialized and an exit.
fn refusal(slots: &[RawInsn]) -> Option<String> {
    let registers = (0..10).filter(|&number| number != 1);
    let before = registers
        .map(|number| slot(MOV_IMM, number, 0, 0, 0))
        .chain([slot(STORE_IMM, 10, 0, -8, 0)]);
    let after = [slot(MOV_IMM, 0, 0, 0, 0), slot(EXIT, 0, 0, 0, 0)];
    let insns: Vec<u8> = before
        .chain(slots.iter().copied())
        .chain(after)
        .flat_map(RawInsn::to_bytes)
        .collect();
    let load = ProgLoad {
        name: "encoding",
        prog_type: SOCKET_FILTER,
        attach_type: 0,
        flags: 0,
        ifindex: 0,
        insns: &insns,
        license: LICENSE,
        btf: None,
        functions: &[],
        lines: &[],
    };
    prog_load(&load).err().map(|error| error.log)
}

#[test]
fn kernel_and_decoder_agree_on_encodings() {
    if let Err(error) = KernelBackend::probe() {
        let required = std::env::var("IOM_REQUIRE_KERNEL").is_ok_and(|value| value == "1");
        assert!(!required, "IOM_REQUIRE_KERNEL=1, but {error}");
        eprintln!("skipped: {error}");
        return;
    }
    let mut accepted = 0;
    for opcode in 0..=u8::MAX {
        for (dst, src, off, imm) in SETTINGS {
            let head = slot(opcode, dst, src, off, imm);
            let programs: Vec<Vec<RawInsn>> = match opcode {
                WIDE => TAILS.iter().map(|tail| vec![head, *tail]).collect(),
                _ => vec![vec![head]],
            };
            for slots in programs {
                let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot.to_bytes()).collect();
                match (decode(&bytes), refusal(&slots)) {
                    (Ok(_), None) => accepted += 1,
                    (Ok(insns), Some(log)) => {
                        assert!(!is_about_encoding(&log), "{}: {log}", insns[0]);
                    }
                    (Err(_), Some(_)) => {}
                    (Err(error), None) => panic!("{slots:?}: the kernel accepts, but {error}"),
                }
            }
        }
    }
    assert!(
        accepted > 500,
        "only {accepted} encodings were accepted by both"
    );
}
