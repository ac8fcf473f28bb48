//! Vectors.
#![no_main]

use iom_core::object::vector::load_vector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Err(error) = load_vector(text, "fuzz") {
        assert!(!error.to_string().is_empty());
    }
});
