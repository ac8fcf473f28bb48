//! ELF objects with BTF.
#![no_main]

use iom_core::isa::{encode, module_text};
use iom_core::object::load_object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match load_object(bytes, "fuzz") {
        Ok(module) => {
            let all: Vec<usize> = (0..module.programs.len()).collect();
            module_text(&module, &all);
            module.programs.iter().for_each(|program| drop(encode(&program.insns)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
