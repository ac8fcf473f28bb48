//! Programs to mutate: any program input, and files with a vector on each line.

use std::fs;
use std::path::Path;

use anyhow::Context;
use iom_core::generate::Candidate;
use iom_core::isa::encode;
use iom_core::module::{Module, ProgramType};
use iom_core::object::vector::load_vector;

use crate::load_args::LoadArgs;
use crate::program::read_program;

/// Longer programs are left out: a mutation of them is found by the first check or by none.
const MAX_INSNS: usize = 1024;

/// All programs of a file that Linux has a type for.
///
/// # Errors
/// A file that cannot be read or is no program.
pub fn read_originals(path: &Path) -> anyhow::Result<Vec<Candidate>> {
    if path
        .extension()
        .is_some_and(|extension| extension == "jsonl")
    {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        // Rows whose bytes are no instructions are recorded refusals.
        let vectors = text
            .lines()
            .filter_map(|line| load_vector(line.as_bytes(), "vector").ok());
        return Ok(vectors
            .flat_map(|vector| candidates(&vector.module))
            .collect());
    }
    Ok(candidates(
        &read_program(path, &LoadArgs::default())?.module,
    ))
}

fn candidates(module: &Module) -> Vec<Candidate> {
    // Maps of maps need maps inside, which a plain list of maps does not give.
    if module.maps.iter().any(|map| map.map_type.holds_maps()) {
        return Vec::new();
    }
    let fits = |program: &&iom_core::module::Program| {
        program.program_type != ProgramType::Raw && program.insns.len() <= MAX_INSNS
    };
    let programs = module.programs.iter().filter(fits);
    programs
        .map(|program| Candidate {
            program_type: program.program_type,
            bytes: encode(&program.insns),
            maps: module.maps.clone(),
        })
        .collect()
}
