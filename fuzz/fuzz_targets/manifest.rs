//! Manifests, and their parameters set in a module.
#![no_main]

use iom_core::isa::assemble;
use iom_core::object::set_parameters;
use iom_testbench::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

const MODULE: &str = ".map .rodata array key 4 value 64 max 1\nr0 = 2\nexit\n";

fuzz_target!(|text: &str| {
    let manifest = match Manifest::parse(text) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut module = assemble(MODULE, "fuzz.bpf").expect("a module");
    for (name, value) in &manifest.parameters {
        let value = value.to_string();
        if let Err(error) = set_parameters(&mut module, [(&**name, &*value)]) {
            assert!(!error.to_string().is_empty());
        }
    }
});
