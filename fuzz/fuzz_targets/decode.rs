//! Raw instructions.
#![no_main]

use iom_core::isa::{assemble, decode, encode, module_text};
use iom_core::module::{Module, Program, ProgramType, XdpAttach};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(insns) = decode(bytes) else { return };
    // The kernel's two names for a map become one, so that bytes are compared the second time.
    let canonical = encode(&insns);
    assert_eq!(canonical.len(), bytes.len());
    assert_eq!(decode(&canonical).as_ref(), Ok(&insns));
    let program = Program {
        name: "main".to_owned(),
        section: "xdp".to_owned(),
        program_type: ProgramType::Xdp,
        attach: XdpAttach::Device,
        fragments: false,
        insns,
        functions: Vec::new(),
        lines: Vec::new(),
 unresolved: Vec::new(),
    };
    let module = Module { programs: vec![program], ..Module::default() };
    let again = assemble(&module_text(&module, &[0]), "listing").expect("a listing assembles");
    assert_eq!(again.programs[0].insns, module.programs[0].insns);
});
