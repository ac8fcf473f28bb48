//! Faults of a running program: what went wrong, where, in which memory.

use std::fmt;

/// A fault while running: the packet is aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Program of the module that ran, by index.
    pub program: u32,
    /// Slot of the instruction.
    pub insn: u32,
    /// Source line of the instruction, if the object has it: `file.c:12: text`.
    pub source: Option<String>,
    /// What went wrong.
    pub kind: TrapKind,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.insn, self.kind)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

/// What a program did to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It loaded, or a helper read for it.
    Read,
    /// It stored, or a helper wrote for it.
    Write,
    /// An atomic operation.
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic operation",
        })
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrapKind {
    /// The address lies in no memory region.
    #[error("{access} of {len} bytes at {address:#x}, where there is no memory")]
    NoMemory {
        /// What was tried.
        access: Access,
        /// The address.
        address: u64,
        /// Bytes.
        len: u64,
    },
    /// Not all of it lies inside the region.
    #[error("{access} of {len} bytes at offset {offset} is outside {region}")]
    OutOfBounds {
        /// What was tried.
        access: Access,
        /// The region with its size.
        region: String,
        /// Offset in the region.
        offset: i64,
        /// Bytes.
        len: u64,
    },
    /// The region does not allow it.
    #[error("{access} of {len} bytes at offset {offset} of {region} is not allowed")]
    NotAllowed {
        /// What was tried.
        access: Access,
        /// The region with its size.
        region: String,
        /// Offset in the region.
        offset: i64,
        /// Bytes.
        len: u64,
    },
    /// An atomic operation on an address that its size does not divide.
    #[error("atomic operation of {len} bytes at offset {offset} of {region} is not aligned")]
    Misaligned {
        /// The region with its size.
        region: String,
        /// Offset in the region.
        offset: i64,
        /// Bytes.
        len: u64,
    },
    /// A helper cannot take an argument.
    #[error("{helper}: argument {argument} is {value:#x}, not {expected}")]
    Argument {
        /// Helper by name.
        helper: &'static str,
        /// Which argument, from 1.
        argument: u8,
        /// What it was.
        value: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// The frame pointer was written.
    #[error("r10 is read-only")]
    FramePointer,
    /// Instructions that need what the kernel does not have may only stand where the program never
    /// comes ([`crate::module::Program::unresolved`]).
    #[error("the instruction needs a type, field or function that the kernel does not have")]
    Unresolved,
    /// Calls nest deeper than the kernel allows.
    #[error("the call stack is more than {max} frames deep")]
    CallDepth {
        /// Frames at most.
        max: usize,
    },
    /// Execution left the program.
    #[error("execution ran past the end of the program or into the second half of a wide load")]
    NoInstruction,
    /// The program ran too long.
    #[error("more than {budget} instructions")]
    Budget {
        /// Instructions at most.
        budget: u64,
    },
    /// A ring-buffer record was reserved and neither submitted nor discarded.
    #[error("{count} ring-buffer records were neither submitted nor discarded")]
    UnreleasedRecords {
        /// How many.
        count: usize,
    },
    /// The machine that executes the translated program faulted.
    #[error("the micro-engine faulted: {fault}")]
    Machine {
        /// Its fault, with the word.
        fault: String,
    },
    /// A tail call to a program that this backend refused.
    #[error("tail call to program {program}, which was refused: {reason}")]
    RefusedProgram {
        /// Program of the module, by index.
        program: u32,
        /// Why.
        reason: String,
    },
}
