//! What is known about a program before it runs. `verify` says what Linux would say of it, by
//! following each path as Linux's verifier does, one file for each concept of it.
//!
//! Known deviations from Linux 6.18, each by what it needs: reads through a map pointer are bounded,
//! not typed by the kernel's BTF; arenas are unknown; programs with metadata kernel functions are
//! judged as if bound to a device. Bytes that are no instruction are refused before control flow is
//! looked at, so that message may come first.
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
mod callback;
mod cfg;
mod context;
mod depth;
mod dynptr;
mod explore;
mod facts;
mod function;
mod iterator;
mod join;
mod jump;
mod kernel_log;
mod kfunc;
mod liveness;
mod lock;
mod maps;
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
mod state_text;
mod string;
mod tnum;
mod watch;

pub use analyze::{AnalyzeError, analyze};
pub use explore::Options;
pub use facts::{
    AddendFacts, CallFacts, Facts, FunctionFacts, InsnFacts, Pointer, PointerFacts, Range,
};
pub use kernel_log::LogLevel;
pub use liveness::{RegisterSet, live_registers};
pub use refused_encoding::kernel_message;
pub use report::{Refusal, Verification, Visits, verify, verify_with_log};
