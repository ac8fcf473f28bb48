//! The interpreter: the reference engine, which checks every access and needs no verifier.
//!
//! Registers that a program never wrote read as 0, and so does stack that it never wrote: a result
//! never depends on what ran before.

mod address;
mod arithmetic;
mod backend;
mod callback;
mod context;
mod coverage;
mod dynptr;
mod execute;
mod helpers;
mod kfuncs;
mod map_object;
mod memory;
mod op;
mod routing;
mod socket_buffer;
mod strings;
mod trace;

pub use backend::{DEFAULT_BUDGET, Interpreter, Observe, run_raw};
pub use coverage::{Counts, Coverage, ProgramCounts, SlotCount};
pub use trace::{Trace, TraceAccess, TraceStep, Traced};
