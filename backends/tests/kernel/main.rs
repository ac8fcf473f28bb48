//! The kernel backend on the running kernel. Where there is none these tests are skipped with one
//! printed reason, and with `IOM_REQUIRE_KERNEL=1` they fail.

#![cfg(target_os = "linux")]

mod fib;
mod fragments;
mod helpers;
mod kfunc_verdicts;
mod kfuncs;
mod programs;
mod run;
mod support;
mod sweep;
mod vectors;
