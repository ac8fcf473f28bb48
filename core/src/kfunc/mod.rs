//! Kernel functions (kfuncs), which programs call by name: an object's loader finds the name in
//! the catalogue, and each kernel has a BTF id of its own for it.

mod catalogue;
mod number_iterator;

pub use catalogue::{Kfunc, KfuncArgument, KfuncPrototype, KfuncReturns, missing};
pub use number_iterator::NumberIterator;
