//! What is known about a program before it runs: for each instruction the kinds of its operands
//! and their ranges, as a side table by original instruction index.
//!
//! The analysis here is a first one: it joins all paths that meet at an instruction, so it knows
//! less than Linux's verifier, which follows each path. It never says what does not hold.

mod analyze;
mod arithmetic;
mod facts;
mod state;

pub use analyze::{AnalyzeError, analyze};
pub use facts::{
    AddendFacts, CallFacts, Facts, FunctionFacts, InsnFacts, Pointer, PointerFacts, Range,
};
