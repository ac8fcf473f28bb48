//! From a program to the words that the driver would load, or every reason why not.

use iom_core::module::Module;
use iom_core::verifier::Facts;

use crate::check::{Reason, Rule, check, facts_of_all_paths};
use crate::profile::FirmwareProfile;
use crate::relocate::{Image, Word};
use crate::translate::{Defect, DefectMode, Input, defects, on_all_paths, translate};

/// What is offloaded where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The program's module.
    pub module: &'a Module,
    /// Index of the program.
    pub entry: usize,
    /// The firmware.
    pub profile: &'a FirmwareProfile,
    /// The card's table ids of the module's maps.
    pub map_ids: &'a [u32],
    /// What becomes of the driver's defects.
    pub mode: DefectMode,
}

/// A translated program.
#[derive(Clone, Debug)]
pub struct Offload {
    /// Before relocation.
    pub image: Image,
    /// The image's words as the driver keeps them before relocation.
    pub pre: Vec<u64>,
    /// For this firmware, with ECC.
    pub words: Vec<u64>,
    /// Places that the driver translates wrongly.
    pub defects: Vec<Defect>,
    /// The last byte of the packet that the program may look at, if that is known.
    pub last_packet_byte: Option<u32>,
}

/// Translates a program from the facts of our own verifier.
pub fn offload(request: Request<'_>) -> Result<Offload, Vec<Reason>> {
    let (facts, reasons) = check(request.module, request.entry, request.profile);
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let offload = offload_with(request, &facts)?;
    Ok(Offload {
        last_packet_byte: Some(facts.last_packet_byte),
        ..offload
    })
}

/// Translates a program from given facts, which say that the driver's verifier accepted it.
pub fn offload_with(request: Request<'_>, facts: &Facts) -> Result<Offload, Vec<Reason>> {
    let program = &request.module.programs[request.entry];
    let input = Input {
        program,
        facts,
        profile: request.profile,
        map_ids: request.map_ids,
        mode: request.mode,
    };
    // The driver's verifier may have seen fewer paths than there are.
    let all_paths = facts_of_all_paths(request.module, program);
    let defects = defects(input, &request.module.maps, all_paths.as_ref());
    let widened = match (request.mode, &all_paths) {
        (DefectMode::Fixed, Some(all_paths)) => Some(on_all_paths(facts, all_paths)),
        _ => None,
    };
    let input = Input {
        facts: widened.as_ref().unwrap_or(facts),
        ..input
    };
    let slots = program.insns.len();
    let image = translate(input).map_err(|error| vec![Reason::of_translation(&error, slots)])?;
    let failed = |message: String| {
        vec![Reason::of(
            Rule::Translation,
            message.clone(),
            message,
            None,
        )]
    };
    let pre: Result<_, _> = image.words.iter().map(Word::to_bits).collect();
    Ok(Offload {
        pre: pre.map_err(|error| failed(error.to_string()))?,
        words: image
            .relocate(request.profile)
            .map_err(|error| failed(error.to_string()))?,
        defects,
        last_packet_byte: None,
        image,
    })
}
