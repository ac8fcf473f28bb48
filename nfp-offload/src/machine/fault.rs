//! What can go wrong while words are loaded or executed.

use super::firmware::{FirmwareFault, OutOfBounds};
use crate::isa::DecodeError;
use crate::ustore::UstoreError;

/// A program that cannot be loaded or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("word {word_index}: {kind}")]
pub struct MachineFault {
    /// The word, from the program's first one.
    pub word_index: usize,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The word cannot be in an instruction store.
    #[error(transparent)]
    Ustore(#[from] UstoreError),
    /// The word is no instruction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The instruction is outside of what the model covers; the driver does not emit it.
    #[error("{what} is not modelled")]
    NotModelled {
        /// The instruction.
        what: &'static str,
    },
    /// More words than an instruction store has.
    #[error("program of {words} words, the most is {max}")]
    TooLong {
        /// Words of the program.
        words: usize,
        /// The most.
        max: usize,
    },
    /// The frame does not fit in the packet buffer.
    #[error("frame of {len} bytes, the most is {max}")]
    FrameTooLong {
        /// Bytes of the frame.
        len: usize,
        /// The most.
        max: usize,
    },
    /// The program executed more instructions than allowed.
    #[error("more than {budget} instructions")]
    Budget {
        /// The limit.
        budget: u64,
    },
    /// A command to an address where there is nothing.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// A helper was called with arguments that make no sense.
    #[error(transparent)]
    Firmware(#[from] FirmwareFault),
    /// A command that needs transfer registers beyond the last.
    #[error("{words} transfer registers from number {first}, there are 32")]
    TransferRegisters {
        /// The first.
        first: usize,
        /// How many.
        words: usize,
    },
    /// An immediate add whose data is not in the previous result.
    #[error("add_imm without data from the previous result")]
    NoImmediateData,
    /// A branch to an address that is neither the program nor firmware.
    #[error("branch to {address}, which is neither the program nor firmware")]
    BranchTarget {
        /// The address.
        address: u32,
    },
    /// A branch, or a command that defers, in a defer slot.
    #[error("branch or deferring command in a defer slot")]
    DeferSlot,
    /// Execution ran past the last word.
    #[error("execution runs past the last word")]
    End,
    /// At the exit the packet vector names bytes outside the buffer.
    #[error("at exit the packet is {len} bytes at {offset}, outside of its buffer")]
    PacketVector {
        /// Offset in the buffer.
        offset: usize,
        /// Length.
        len: usize,
    },
}

impl FaultKind {
    pub(super) const fn at(self, word_index: usize) -> MachineFault {
        MachineFault {
            word_index,
            kind: self,
        }
    }
}
