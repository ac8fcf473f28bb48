//! What is known about a program before it runs. `verify` says what Linux would say of it, by
//! following each path as Linux's verifier does, one file for each concept of it.
//!
//! Known deviations from Linux 6.18, each by what it needs: reads through a map pointer are bounded,
//! not typed by the kernel's BTF; arenas are unknown; pointers into the kernel in map values cannot
//! be followed; helpers for timers, tasks, cgroups and storage of sockets are refused by name ("is
//! not supported"). The number of this machine's CPUs does not bound what `get_smp_processor_id`
//! returns. Bytes that are no instruction are refused before control flow is looked at, so that
//! message may come first. In one recorded program with nested `may_goto` loops more
//! instructions are processed.
//!
//! `verify_with_facts` also gathers what an offload driver asks for, visit by visit, as a side table
//! by original instruction index. The nfp driver's facts come from Linux 6.1: `linux_6_1` holds what
//! that version does in another way.

mod alu;
mod arith;
mod branch;
mod call;
mod callback;
mod cfg;
mod classes;
mod context;
mod depth;
mod dynptr;
mod explain;
mod explore;
mod facts;
mod function;
mod history;
mod iterator;
mod jump;
mod kernel_log;
mod kfunc;
mod linux_6_1;
mod liveness;
mod lock;
mod maps;
mod memory;
mod path;
mod precision;
mod prototype;
mod prune;
mod record;
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
mod words;

pub use explain::{Explanation, explain, explain_messages};
pub use explore::Options;
pub use facts::{
    AddendFacts, Argument, CallFacts, Facts, FunctionFacts, InsnFacts, KnownBits, Pointer,
    PointerFacts, Range,
};
pub use history::Event;
pub use kernel_log::LogLevel;
pub use linux_6_1::Rules;
pub use liveness::{RegisterSet, live_registers};
pub use record::Visit;
pub use refused_encoding::kernel_message;
pub use report::{Refusal, Verification, Visits, verify, verify_with_facts, verify_with_log};
