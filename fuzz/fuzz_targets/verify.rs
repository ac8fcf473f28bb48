//! Any bytes as a program of any type: refused with a reason or accepted, never a panic.
#![no_main]

use iom_core::generate::{Candidate, program};
use iom_core::module::ProgramType;
use iom_core::verifier::{Options, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let types = [ProgramType::Xdp, ProgramType::SchedCls, ProgramType::SocketFilter];
    let candidate = Candidate {
        program_type: types[usize::from(choice & 3) % types.len()],
        bytes: bytes.to_vec(),
        maps: program(0).maps,
    };
    let Ok(module) = candidate.module() else { return };
    let options = Options {
        strict_alignment: choice & 4 != 0,
        frequent_states: choice & 8 != 0,
        ..Options::default()
    };
    let verification = verify(&module, &module.programs[0], options);
    if let Some(refusal) = verification.refusal {
        assert!(!refusal.reason.is_empty());
    }
});
