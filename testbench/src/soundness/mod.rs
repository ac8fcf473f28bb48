//! Random programs through the verifier, the interpreter and the kernel: what the verifier accepts
//! must never trap, and the kernel must say the same.

mod campaign;
mod finding;
mod originals;
mod run;
mod summary;

pub use campaign::{Campaign, Judge, Opinion, Oracle, candidate};
pub use finding::{Finding, Kind};
pub use originals::read_originals;
pub use summary::{Class, Summary};
