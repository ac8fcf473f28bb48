//! A model of one NFP micro-engine context that executes instruction words: registers, local memory
//! with its index latency, condition codes, memory commands, defer slots, and the firmware's entry
//! and exit. It models what the driver's code relies on, and no more: a word that needs more is a
//! fault. Agreement with it is no evidence about a card.

mod alu;
mod command;
mod entry;
mod execute;
mod fault;
mod firmware;
mod lower;
mod state;
mod strict;
#[cfg(test)]
mod tests;

pub use entry::{FRAME_LEN_MAX, Outcome, ResultWord};
pub use execute::{Config, DoubleShift, MicroEngine};
pub use fault::{FaultKind, MachineFault};
pub use firmware::{
    CounterWidth, Firmware, FirmwareFault, Helper, HelperCall, Memory, OutOfBounds, map_address,
    map_pointer,
};
pub use lower::Program;
pub use strict::{Finding, FindingKind, Findings};
