//! The BPF instruction set (RFC 9669): typed instructions, their encoding and their text.

#[cfg(test)]
pub(crate) mod arbitrary;
mod asm;
mod decode;
mod disasm;
mod encode;
mod functions;
mod insn;
mod kernel_text;
mod raw;
mod text;

pub use asm::{AsmError, AsmErrorKind, assemble};
pub use decode::{DecodeError, DecodeErrorKind, Field, decode};
pub use disasm::{ListingLine, list_program, module_text};
pub use encode::encode;
pub use functions::function_starts;
pub use insn::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
pub use kernel_text::KernelText;
pub use raw::{RawInsn, SLOT_LEN};
pub use text::InsnText;
