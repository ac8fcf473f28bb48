//! Engines that run programs: the interpreter and the Linux kernel. See `docs/ARCHITECTURE.md`.

pub mod interpreter;
pub mod kernel;
