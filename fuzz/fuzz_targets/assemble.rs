//! Assembly.
#![no_main]

use iom_core::isa::{assemble, decode, encode, module_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let module = match assemble(text, "fuzz.bpf") {
        Ok(module) => module,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let all: Vec<usize> = (0..module.programs.len()).collect();
    let again = assemble(&module_text(&module, &all), "listing").expect("a listing assembles");
    assert_eq!(again.maps, module.maps);
    assert_eq!(again.license, module.license);
    for (again, program) in again.programs.iter().zip(&module.programs) {
        assert_eq!(again.insns, program.insns);
        assert_eq!(decode(&encode(&program.insns)).as_ref(), Ok(&program.insns));
    }
});
