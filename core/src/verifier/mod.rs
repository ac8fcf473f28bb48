//! What is known about a program before it runs. `verify` says what Linux would say of it, by
//! following each path as Linux's verifier does, one file for each concept of it.
//!
//! `analyze` gives the facts that the NFP translator asks for, as a side table by original
//! instruction index. It joins all paths that meet at an instruction, so it knows less than Linux's
//! verifier. It never says what does not hold.

mod alu;
mod analyze;
mod arith;
mod arithmetic;
mod branch;
mod call;
mod cfg;
mod context;
mod explore;
mod facts;
mod join;
mod jump;
mod liveness;
mod memory;
mod precision;
mod prototype;
mod prune;
mod refused_encoding;
mod register;
mod reject;
mod report;
mod scalar;
mod stack;
mod stack_liveness;
mod state;
mod tnum;

pub use analyze::{AnalyzeError, analyze};
pub use explore::Options;
pub use facts::{
    AddendFacts, CallFacts, Facts, FunctionFacts, InsnFacts, Pointer, PointerFacts, Range,
};
pub use refused_encoding::kernel_message;
pub use report::{Refusal, Verification, verify};
