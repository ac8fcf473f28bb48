//! The `iom` command as a library: everything that names concrete backends, opens files other
//! than captures, or talks to a terminal.
#![forbid(unsafe_code)]

pub mod args;
pub mod capture_info;
pub mod commands;
pub mod compare;
pub mod dissect;
pub mod exit;
pub mod manifest;
pub mod program;
pub mod traffic;
