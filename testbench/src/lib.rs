//! The `iom` command as a library: everything that names concrete backends, opens files other
//! than captures, or talks to a terminal.
#![forbid(unsafe_code)]

pub mod args;
pub mod capture_copy;
pub mod capture_info;
pub mod commands;
pub mod compare;
pub mod coverage;
pub mod cross_check;
pub mod cycles_report;
pub mod dissect;
pub mod engine;
pub mod engine_args;
pub mod exit;
pub mod kept_packets;
pub mod known;
pub mod lane;
pub mod load_args;
pub mod manifest;
pub mod map_files;
pub mod map_pairs;
pub mod mask;
pub mod minimal_case;
pub mod minimize;
pub mod pin_dir;
pub mod program;
pub mod progress;
pub mod record;
pub mod replay_args;
pub mod report;
pub mod save_diff;
pub mod soundness;
pub mod stats;
pub mod target_kernel;
pub mod traffic;
pub mod verdict;
