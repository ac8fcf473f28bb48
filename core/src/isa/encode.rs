//! Typed instructions to bytes: the reverse of `decode.rs`.

use super::raw::{
    RawInsn, SLOT_LEN, SOURCE_REG, WIDE, alu, atomic, call, class, jump, mode, size, wide,
};
use super::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    Width,
};

/// Encodes a program, one slot for each entry.
///
/// # Panics
///
/// If an instruction breaks the limits that its documentation states and that decoding and
/// assembling keep: a `goto` that is not long with an offset above 16 bits, or a
/// [`Insn::WideTail`] that does not follow a wide load.
pub fn encode(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * SLOT_LEN);
    let mut previous = None;
    for insn in insns {
        bytes.extend(encode_slot(*insn, previous).to_bytes());
        previous = Some(*insn);
    }
    bytes
}

/// The slot of one instruction; a wide load's second slot needs the instruction before it.
#[expect(
    clippy::too_many_lines,
    reason = "a flat match with one short arm for each variant"
)]
fn encode_slot(insn: Insn, previous: Option<Insn>) -> RawInsn {
    match insn {
        Insn::Alu {
            op,
            width,
            dst,
            src,
        } => {
            let (code, off) = alu_code(op);
            RawInsn {
                off,
                ..with_operand(alu_class(width) | code, dst, src)
            }
        }
        Insn::Mov { width, dst, src } => with_operand(alu_class(width) | alu::MOV, dst, src),
        Insn::MovSigned {
            width,
            dst,
            src,
            from,
        } => RawInsn {
            off: 8 * from.bytes() as i16,
            ..with_operand(alu_class(width) | alu::MOV, dst, Operand::Reg(src))
        },
        Insn::Neg { width, dst } => RawInsn {
            opcode: alu_class(width) | alu::NEG,
            dst: dst.number(),
            ..ZERO
        },
        Insn::ByteSwap { order, bits, dst } => RawInsn {
            opcode: alu::END | swap_class(order),
            dst: dst.number(),
            imm: bits.bits() as i32,
            ..ZERO
        },
        Insn::LoadImm64 { dst, value } => {
            let (src, imm, _) = wide_parts(value);
            RawInsn {
                opcode: WIDE,
                dst: dst.number(),
                src,
                imm,
                ..ZERO
            }
        }
        Insn::WideTail => wide_tail(previous),
        Insn::Load {
            size,
            signed,
            dst,
            base,
            off,
        } => {
            let mode = if signed { mode::MEMSX } else { mode::MEM };
            let opcode = class::LDX | mode | size_code(size);
            RawInsn {
                opcode,
                dst: dst.number(),
                src: base.number(),
                off,
                imm: 0,
            }
        }
        Insn::Store {
            size,
            base,
            off,
            src,
        } => encode_store(size, base, off, src),
        Insn::Atomic {
            op,
            size,
            base,
            off,
            src,
        } => RawInsn {
            opcode: class::STX | mode::ATOMIC | size_code(size),
            dst: base.number(),
            src: src.number(),
            off,
            imm: atomic_code(op),
        },
        Insn::LoadPacket { size, mode, imm } => {
            let (mode, src) = match mode {
                PacketMode::Absolute => (mode::ABS, 0),
                PacketMode::Indirect(index) => (mode::IND, index.number()),
            };
            RawInsn {
                opcode: class::LD | mode | size_code(size),
                src,
                imm,
                ..ZERO
            }
        }
        Insn::Jump { off, long: true } => RawInsn {
            opcode: class::JMP32 | jump::ALWAYS,
            imm: off,
            ..ZERO
        },
        Insn::Jump { off, long: false } => {
            let off = i16::try_from(off).expect("a goto that is not long has a 16-bit offset");
            RawInsn {
                opcode: class::JMP | jump::ALWAYS,
                off,
                ..ZERO
            }
        }
        Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off,
        } => RawInsn {
            off,
            ..with_operand(jump_class(width) | condition_code(cond), dst, src)
        },
        Insn::MayGoto { off } => RawInsn {
            opcode: class::JMP | jump::MAY_GOTO,
            off,
            ..ZERO
        },
        Insn::Call { target } => encode_call(target),
        Insn::Exit => RawInsn {
            opcode: class::JMP | jump::EXIT,
            ..ZERO
        },
    }
}

const ZERO: RawInsn = RawInsn {
    opcode: 0,
    dst: 0,
    src: 0,
    off: 0,
    imm: 0,
};

/// Arithmetic and jumps: the source bit and the field that it selects.
fn with_operand(opcode: u8, dst: Reg, src: Operand) -> RawInsn {
    let dst = dst.number();
    match src {
        Operand::Reg(src) => RawInsn {
            opcode: opcode | SOURCE_REG,
            dst,
            src: src.number(),
            ..ZERO
        },
        Operand::Imm(imm) => RawInsn {
            opcode,
            dst,
            imm,
            ..ZERO
        },
    }
}

fn encode_store(size: Size, base: Reg, off: i16, src: Operand) -> RawInsn {
    let opcode = mode::MEM | size_code(size);
    let dst = base.number();
    match src {
        Operand::Reg(src) => RawInsn {
            opcode: opcode | class::STX,
            dst,
            src: src.number(),
            off,
            imm: 0,
        },
        Operand::Imm(imm) => RawInsn {
            opcode: opcode | class::ST,
            dst,
            src: 0,
            off,
            imm,
        },
    }
}

fn encode_call(target: CallTarget) -> RawInsn {
    let (src, off, imm) = match target {
        CallTarget::Helper(number) => (call::HELPER, 0, number as i32),
        CallTarget::Local(off) => (call::LOCAL, 0, off),
        // As in objects: the loader puts the BTF id in.
        CallTarget::Kernel(_) => (call::KFUNC, 0, -1),
        CallTarget::Kfunc { btf_id, module } => (call::KFUNC, module, btf_id),
    };
    RawInsn {
        opcode: class::JMP | jump::CALL,
        dst: 0,
        src,
        off,
        imm,
    }
}

fn wide_tail(previous: Option<Insn>) -> RawInsn {
    let Some(Insn::LoadImm64 { value, .. }) = previous else {
        panic!("a second slot must follow its wide load, not {previous:?}");
    };
    let (_, _, imm) = wide_parts(value);
    RawInsn { imm, ..ZERO }
}

/// Source register field and the two immediates of a wide load.
fn wide_parts(value: Imm64) -> (u8, i32, i32) {
    match value {
        Imm64::Number(number) => (wide::NUMBER, number as i32, (number >> 32) as i32),
        Imm64::Map(map) => (wide::MAP, map as i32, 0),
        Imm64::MapValue { map, offset } => (wide::MAP_VALUE, map as i32, offset as i32),
        Imm64::Variable { btf_id } => (wide::VARIABLE, btf_id as i32, 0),
        Imm64::Function { offset } => (wide::FUNCTION, offset, 0),
    }
}

fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::ALU,
        Width::W64 => class::ALU64,
    }
}

fn jump_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::JMP32,
        Width::W64 => class::JMP,
    }
}

fn swap_class(order: ByteOrder) -> u8 {
    match order {
        ByteOrder::Little => class::ALU,
        ByteOrder::Big => class::ALU | SOURCE_REG,
        ByteOrder::Swap => class::ALU64,
    }
}

/// Operation bits and offset field.
fn alu_code(op: AluOp) -> (u8, i16) {
    match op {
        AluOp::Add => (alu::ADD, 0),
        AluOp::Sub => (alu::SUB, 0),
        AluOp::Mul => (alu::MUL, 0),
        AluOp::Div => (alu::DIV, 0),
        AluOp::SignedDiv => (alu::DIV, 1),
        AluOp::Or => (alu::OR, 0),
        AluOp::And => (alu::AND, 0),
        AluOp::Lsh => (alu::LSH, 0),
        AluOp::Rsh => (alu::RSH, 0),
        AluOp::Mod => (alu::MOD, 0),
        AluOp::SignedMod => (alu::MOD, 1),
        AluOp::Xor => (alu::XOR, 0),
        AluOp::Arsh => (alu::ARSH, 0),
    }
}

fn condition_code(cond: Condition) -> u8 {
    match cond {
        Condition::Eq => jump::EQ,
        Condition::Ne => jump::NE,
        Condition::Set => jump::SET,
        Condition::Gt => jump::GT,
        Condition::Ge => jump::GE,
        Condition::Lt => jump::LT,
        Condition::Le => jump::LE,
        Condition::SignedGt => jump::SIGNED_GT,
        Condition::SignedGe => jump::SIGNED_GE,
        Condition::SignedLt => jump::SIGNED_LT,
        Condition::SignedLe => jump::SIGNED_LE,
    }
}

fn atomic_code(op: AtomicOp) -> i32 {
    let (code, fetch) = match op {
        AtomicOp::Add { fetch } => (atomic::ADD, fetch),
        AtomicOp::Or { fetch } => (atomic::OR, fetch),
        AtomicOp::And { fetch } => (atomic::AND, fetch),
        AtomicOp::Xor { fetch } => (atomic::XOR, fetch),
        AtomicOp::Exchange => (atomic::EXCHANGE, true),
        AtomicOp::CompareExchange => (atomic::COMPARE_EXCHANGE, true),
    };
    if fetch { code | atomic::FETCH } else { code }
}

fn size_code(size: Size) -> u8 {
    match size {
        Size::B => size::B,
        Size::H => size::H,
        Size::W => size::W,
        Size::DW => size::DW,
    }
}
