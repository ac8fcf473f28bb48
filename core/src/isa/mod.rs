//! The BPF instruction set (RFC 9669): typed instructions, their encoding and their text.

#[cfg(test)]
pub(crate) mod arbitrary;
mod decode;
mod encode;
mod insn;
mod raw;

pub use decode::{DecodeError, DecodeErrorKind, Field, decode};
pub use encode::encode;
pub use insn::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
pub use raw::{RawInsn, SLOT_LEN};
