//! Raw instructions to a program.

use crate::isa::{DecodeError, Imm64, Insn, decode, function_starts};
use crate::module::{Function, Program, ProgramType, XdpAttach};

/// Why raw instructions are no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawProgramError {
    /// Not valid bytecode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Nothing there.
    #[error("the program has no instructions")]
    Empty,
    /// A map that is not there.
    #[error("instruction {insn}: there is no map {map}, only {count} maps")]
    NoMap {
        /// Slot.
        insn: usize,
        /// Index.
        map: u32,
        /// How many there are.
        count: usize,
    },
}

/// A program `main` of raw little-endian instructions; wide loads of maps hold indexes into a list
/// of `maps` maps.
pub fn raw_program(
    bytes: &[u8],
    program_type: ProgramType,
    maps: usize,
) -> Result<Program, RawProgramError> {
    let insns = decode(bytes)?;
    if insns.is_empty() {
        return Err(RawProgramError::Empty);
    }
    check_maps(&insns, maps)?;
    let functions = function_starts(&insns).into_iter().map(|start| Function {
        name: match start {
            0 => "main".to_owned(),
            _ => String::new(),
        },
        start: start as u32,
        btf_id: None,
    });
    Ok(Program {
        name: "main".to_owned(),
        section: String::new(),
        program_type,
        attach: XdpAttach::Device,
        fragments: false,
        functions: functions.collect(),
        insns,
        lines: Vec::new(),
        unresolved: Vec::new(),
    })
}

fn check_maps(insns: &[Insn], count: usize) -> Result<(), RawProgramError> {
    for (insn, decoded) in insns.iter().enumerate() {
        if let Insn::LoadImm64 { value, .. } = *decoded
            && let Imm64::Map(map) | Imm64::MapValue { map, .. } = value
            && map as usize >= count
        {
            return Err(RawProgramError::NoMap { insn, map, count });
        }
    }
    Ok(())
}
