//! Arithmetic of both widths on numbers, and now and then on pointers.

use super::model::Holds;
use super::writer::Writer;
use crate::isa::{AluOp, ByteOrder, Imm64, Insn, Operand, Size, SwapWidth, Width};

const OPS: [AluOp; 13] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::SignedDiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::SignedMod,
    AluOp::Xor,
    AluOp::Arsh,
];

/// One to four instructions.
pub(super) fn arithmetic(writer: &mut Writer) {
    for _ in 0..=writer.random.below(4) {
        match writer.random.below(8) {
            0 => copy(writer),
            1 => change(writer),
            2 => {
                let dst = writer.free_register(&[]);
                let number = writer.random.number() >> writer.random.below(64);
                writer.load_wide(dst, Imm64::Number(number), Holds::Number);
            }
            _ => two_operands(writer),
        }
    }
}

fn width(writer: &mut Writer) -> Width {
    *writer.random.pick(&[Width::W32, Width::W64])
}

fn two_operands(writer: &mut Writer) {
    let op = *writer.random.pick(&OPS);
    let (dst, width) = (writer.free_number(&[]), width(writer));
    let src = match (writer.operand(), op) {
        (Operand::Imm(_), AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) if !writer.slip() => {
            let bits = if width == Width::W32 { 32 } else { 64 };
            Operand::Imm(writer.random.below(bits) as i32)
        }
        (Operand::Imm(0), AluOp::Div | AluOp::Mod | AluOp::SignedDiv | AluOp::SignedMod) => {
            Operand::Imm(3)
        }
        (src, _) => src,
    };
    writer.emit(Insn::Alu {
        op,
        width,
        dst,
        src,
    });
}

fn copy(writer: &mut Writer) {
    let (src, width) = (writer.number(&[]), width(writer));
    let dst = writer.free_register(&[]);
    let from = *writer.random.pick(&[Size::B, Size::H, Size::W]);
    let insn = match writer.random.below(3) {
        0 if (width, from) != (Width::W32, Size::W) => Insn::MovSigned {
            width,
            dst,
            src,
            from,
        },
        _ => Insn::Mov {
            width,
            dst,
            src: Operand::Reg(src),
        },
    };
    writer.emit(insn);
    writer.model.set(dst, writer.model.of(src));
}

fn change(writer: &mut Writer) {
    let (dst, width) = (writer.free_number(&[]), width(writer));
    let order = *writer
        .random
        .pick(&[ByteOrder::Little, ByteOrder::Big, ByteOrder::Swap]);
    let bits = *writer
        .random
        .pick(&[SwapWidth::B16, SwapWidth::B32, SwapWidth::B64]);
    let insn = if writer.random.chance(50) {
        Insn::Neg { width, dst }
    } else {
        Insn::ByteSwap { order, bits, dst }
    };
    writer.emit(insn);
}
