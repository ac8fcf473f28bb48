//! Random programs for trying verifier, interpreter and kernel against each other. A seed gives
//! the same program everywhere. Most programs are nearly right, because a verifier stops at the
//! first mistake: [`program`] writes them statement by statement and knows what each register
//! holds, [`mutate`] changes instructions of existing ones, [`large`] makes work on purpose.

mod arithmetic;
mod atomic;
mod context;
mod control;
mod function;
mod helper;
mod large;
mod lookup;
mod maps;
mod model;
mod mutate;
mod packet;
mod random;
mod record;
mod stack;
mod writer;

pub use large::large;
pub use mutate::mutate;
pub use random::Random;

use crate::isa::encode;
use crate::map::MapSpec;
use crate::module::{Module, ProgramType};
use crate::object::raw::{RawProgramError, raw_program};

/// A program that nobody has verified, as raw instructions, which need not even decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Type.
    pub program_type: ProgramType,
    /// Little-endian slots; wide loads of maps hold indexes into `maps`.
    pub bytes: Vec<u8>,
    /// The maps that it may use.
    pub maps: Vec<MapSpec>,
}

impl Candidate {
    /// The module that the loader makes of it, under a licence that is compatible with the GPL.
    ///
    /// # Errors
    /// Bytes that are no program.
    pub fn module(&self) -> Result<Module, RawProgramError> {
        let program = raw_program(&self.bytes, self.program_type, self.maps.len())?;
        Ok(Module {
            name: "generated".to_owned(),
            programs: vec![program],
            maps: self.maps.clone(),
            license: Some("GPL".to_owned()),
            ..Module::default()
        })
    }
}

/// The random program of a seed.
pub fn program(seed: u64) -> Candidate {
    let mut random = Random::new(seed);
    let program_type = match random.below(10) {
        0 => ProgramType::SchedCls,
        1 => ProgramType::SocketFilter,
        _ => ProgramType::Xdp,
    };
    // Half of the programs are meant to be right.
    let slips = *random.pick(&[0, 0, 0, 1, 2, 5]);
    let insns = function::program(random, program_type, slips);
    Candidate {
        program_type,
        bytes: encode(&insns),
        maps: maps::declarations(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::{Options, verify};

    #[test]
    fn a_seed_gives_the_same_program() {
        for seed in 0..50 {
            assert_eq!(program(seed), program(seed));
        }
        assert_ne!(program(1), program(2));
    }

    #[test]
    fn programs_decode_and_many_are_accepted() {
        let accepted = (0..200).filter(|seed| {
            let module = program(*seed)
                .module()
                .expect("the writer makes instructions");
            let verification = verify(&module, &module.programs[0], Options::default());
            verification.refusal.is_none()
        });
        let accepted = accepted.count();
        assert!((60..180).contains(&accepted), "{accepted} of 200");
    }
}
