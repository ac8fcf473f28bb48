//! Helpers: the catalogue (number, name, prototype, who has it) and one body each, written against
//! slices and handles. How arguments get from registers into those is the backend's affair.

mod catalogue;
mod names;

pub use catalogue::{
    Argument, Helper, HelperBackends, Prototype, Returns, by_name, by_number, implemented, number,
};
