//! NFP micro-engine instructions: the table of word forms, typed instructions and operands, and
//! the encoder, decoder and listing that come from the table.
//!
//! Words here are the 45 instruction bits; ECC and relocation bits are [`crate::ustore`]'s.

#[cfg(test)]
pub(crate) mod arbitrary;
mod code;
mod decode;
mod encode;
pub mod form;
mod insn;
mod listing;
mod operand;

pub use code::{
    AddressMode, AluOp, CommandOp, Condition, ContextSwap, Csr, ImmedShift, ImmedWidth, MulKind,
    MulStep, ShiftControl, ShiftOp,
};
pub use decode::{DecodeError, decode};
pub use encode::{EncodeError, encode};
pub use insn::{Alu, Branch, BranchBit, Command, Immed, Insn, LoadField, Mul, Return, Shift};
pub use listing::listing;
pub use operand::{LmAccess, Operand};
