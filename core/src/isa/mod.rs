//! The BPF instruction set (RFC 9669): typed instructions, their encoding and their text.

mod insn;

pub use insn::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
