//! Offload to Netronome NFP: instruction words, translation of eBPF programs to them, and a
//! micro-engine model that executes the words. See `docs/ARCHITECTURE.md`.

pub mod backend;
pub mod check;
pub mod cycles;
pub mod isa;
pub mod machine;
pub mod offload;
pub mod profile;
pub mod recorded;
pub mod relocate;
pub mod translate;
pub mod ustore;
