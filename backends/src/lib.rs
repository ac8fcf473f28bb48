//! See `docs/ARCHITECTURE.md`.

pub mod kernel;
