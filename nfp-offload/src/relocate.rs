//! Relocations: what of a translated program depends on where it is loaded and on the firmware,
//! and the final words.

use crate::isa::{self, DecodeError, EncodeError, Insn};
use crate::profile::FirmwareProfile;
use crate::ustore;

/// Branch offset of words whose real target only relocation knows (`OP_BR_SPECIAL`-style
/// placeholder of the driver).
pub(crate) const PLACEHOLDER: u16 = 15_000;

/// How a word changes when it is loaded; the number is what the driver keeps in bits 63 to 56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relocation {
    /// Not at all.
    None = 0,
    /// A branch inside the program: the load address is added.
    Branch = 1,
    /// A branch to the epilogue.
    GoOut = 2,
    /// A branch to the epilogue's abort part.
    GoAbort = 3,
    /// A branch to the subroutine that saves registers.
    PushRegisters = 4,
    /// A branch to the subroutine that restores registers.
    PopRegisters = 5,
    /// A branch to the firmware's entry for the next packet.
    NextPacket = 6,
    /// A branch to a helper routine of the firmware: 15,000 plus the helper's number.
    Helper = 7,
    /// A constant that is an address inside the program: the load address is added.
    Address = 8,
}

/// A word before relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The instruction.
    pub insn: Insn,
    /// How it changes.
    pub relocation: Relocation,
}

impl Word {
    /// The word in the form in which the driver keeps it before relocation.
    pub fn to_bits(&self) -> Result<u64, EncodeError> {
        Ok(isa::encode(&self.insn)? | (self.relocation as u64) << 56)
    }
}

/// A translated program before relocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Words, prologue to the padding behind the epilogue.
    pub words: Vec<Word>,
    /// First word of the epilogue for a normal exit.
    pub target_out: u16,
    /// First word of the epilogue for an abort.
    pub target_abort: u16,
    /// First word of the subroutine that saves registers; 0 if there is none.
    pub target_push: u16,
    /// First word of the subroutine that restores registers; 0 if there is none.
    pub target_pop: u16,
    /// First word of each eBPF instruction, by slot.
    pub first_words: Vec<u16>,
    /// Stack in bytes.
    pub stack_bytes: u32,
}

/// A program that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelocateError {
    /// The firmware has no routine for a helper.
    #[error("word {word}: the firmware has no routine for helper {helper}")]
    MissingHelper {
        /// Word.
        word: usize,
        /// Helper number.
        helper: u16,
    },
    /// A word cannot be encoded.
    #[error("word {word}: {source}")]
    Encode {
        /// Word.
        word: usize,
        /// Why.
        source: EncodeError,
    },
    /// A word of this kind has nothing to relocate.
    #[error("word {word}: a {insn:?} cannot be relocated")]
    NotRelocatable {
        /// Word.
        word: usize,
        /// The instruction.
        insn: Box<Insn>,
    },
}

impl Image {
    /// The words for a firmware, with ECC.
    pub fn relocate(&self, profile: &FirmwareProfile) -> Result<Vec<u64>, RelocateError> {
        let words = self.words.iter().enumerate();
        words
            .map(|(index, word)| {
                let insn = self.relocate_insn(index, word, profile)?;
                let bits = isa::encode(&insn).map_err(|source| RelocateError::Encode {
                    word: index,
                    source,
                })?;
                Ok(ustore::with_ecc(bits))
            })
            .collect()
    }

    fn relocate_insn(
        &self,
        index: usize,
        word: &Word,
        profile: &FirmwareProfile,
    ) -> Result<Insn, RelocateError> {
        let start = profile.start_offset;
        let to = |place: u16| retarget(index, word.insn, |_| Ok(place.wrapping_add(start)));
        match word.relocation {
            Relocation::None => Ok(word.insn),
            Relocation::Branch => {
                retarget(index, word.insn, |target| Ok(target.wrapping_add(start)))
            }
            Relocation::GoOut => to(self.target_out),
            Relocation::GoAbort => to(self.target_abort),
            Relocation::PushRegisters => to(self.target_push),
            Relocation::PopRegisters => to(self.target_pop),
            Relocation::NextPacket => retarget(index, word.insn, |_| Ok(profile.done_offset)),
            Relocation::Helper => retarget(index, word.insn, |target| {
                let helper = target.wrapping_sub(PLACEHOLDER);
                helper_address(helper, profile).ok_or(RelocateError::MissingHelper {
                    word: index,
                    helper,
                })
            }),
            Relocation::Address => match word.insn {
                Insn::Immed(immed) => Ok(Insn::Immed(isa::Immed {
                    value: immed.value.wrapping_add(start),
                    ..immed
                })),
                insn => Err(RelocateError::NotRelocatable {
                    word: index,
                    insn: Box::new(insn),
                }),
            },
        }
    }
}

fn retarget(
    word: usize,
    insn: Insn,
    target: impl FnOnce(u16) -> Result<u16, RelocateError>,
) -> Result<Insn, RelocateError> {
    match insn {
        Insn::Branch(branch) => Ok(Insn::Branch(isa::Branch {
            target: target(branch.target)?,
            ..branch
        })),
        Insn::BranchBit(branch) => Ok(Insn::BranchBit(isa::BranchBit {
            target: target(branch.target)?,
            ..branch
        })),
        insn => Err(RelocateError::NotRelocatable {
            word,
            insn: Box::new(insn),
        }),
    }
}

fn helper_address(helper: u16, profile: &FirmwareProfile) -> Option<u16> {
    let address = match helper {
        1 => profile.helpers.map_lookup,
        2 => profile.helpers.map_update,
        3 => profile.helpers.map_delete,
        25 => profile.helpers.perf_event_output,
        _ => 0,
    };
    (address != 0).then_some(address)
}

/// Reads a word as the driver keeps it before relocation.
pub fn word_from_bits(bits: u64) -> Result<Word, DecodeError> {
    let relocation = match bits >> 56 {
        1 => Relocation::Branch,
        2 => Relocation::GoOut,
        3 => Relocation::GoAbort,
        4 => Relocation::PushRegisters,
        5 => Relocation::PopRegisters,
        6 => Relocation::NextPacket,
        7 => Relocation::Helper,
        8 => Relocation::Address,
        _ => Relocation::None,
    };
    Ok(Word {
        insn: isa::decode(bits & ustore::INSN_MASK)?,
        relocation,
    })
}
