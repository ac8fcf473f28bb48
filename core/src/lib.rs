//! The part of `iom` that every backend shares: the BPF instruction set, objects, maps, helpers,
//! the verifier and the IO-module ABI.
//!
//! This crate takes bytes and gives values: it opens no file, reads no clock and starts no thread.

pub mod abi;
pub mod generate;
pub mod helper;
pub mod hex;
pub mod isa;
pub mod kfunc;
pub mod map;
pub mod memory;
pub mod module;
pub mod object;
pub mod verifier;
