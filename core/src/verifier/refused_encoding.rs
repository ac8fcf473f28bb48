//! What Linux prints for bytes that are no valid instruction, which here never become a program.

use crate::isa::{DecodeError, DecodeErrorKind, Field};

const WIDE: u8 = 0x18;

/// Linux's line for an instruction that cannot be decoded.
pub fn kernel_message(error: &DecodeError) -> String {
    match error.kind {
        DecodeErrorKind::Truncated { .. } => "last insn is not an exit or jmp".to_owned(),
        DecodeErrorKind::UnknownOpcode { opcode } => format!("unknown opcode {opcode:02x}"),
        DecodeErrorKind::UnknownRegister { number, .. } => format!("R{number} is invalid"),
        DecodeErrorKind::Unsupported { what } => format!("{what} is not supported"),
        DecodeErrorKind::BadWideTail => "invalid bpf_ld_imm64 insn".to_owned(),
        DecodeErrorKind::Reserved { opcode, field, .. } => reserved(opcode, field).to_owned(),
        DecodeErrorKind::UnknownForm { opcode, value, .. } => match opcode {
            WIDE => "unrecognized bpf_ld_imm64 insn".to_owned(),
            0xc3 | 0xdb => format!("BPF_ATOMIC uses invalid atomic opcode {value:02x}"),
            0xe5 => format!("invalid may_goto imm {value}"),
            _ => reserved(opcode, Field::Off).to_owned(),
        },
    }
}

fn reserved(opcode: u8, field: Field) -> &'static str {
    let operation = opcode & 0xf0;
    match opcode & 7 {
        0 if opcode == WIDE && field == Field::Off => "BPF_LD_IMM64 uses reserved fields",
        0 if opcode == WIDE => "unrecognized bpf_ld_imm64 insn",
        0 => "BPF_LD_[ABS|IND] uses reserved fields",
        1 => "BPF_LDX uses reserved fields",
        2 => "BPF_ST uses reserved fields",
        3 if opcode & 0xe0 == 0xc0 => "BPF_ATOMIC uses reserved fields",
        3 => "BPF_STX uses reserved fields",
        4 | 7 => match operation {
            0x80 => "BPF_NEG uses reserved fields",
            0xb0 => "BPF_MOV uses reserved fields",
            0xd0 => "BPF_END uses reserved fields",
            _ => "BPF_ALU uses reserved fields",
        },
        _ => match operation {
            0x00 => "BPF_JA uses reserved fields",
            0x80 => "BPF_CALL uses reserved fields",
            0x90 => "BPF_EXIT uses reserved fields",
            _ => "BPF_JMP/JMP32 uses reserved fields",
        },
    }
}
