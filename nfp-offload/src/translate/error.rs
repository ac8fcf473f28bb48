//! Why a program that passed the checks cannot be translated. The driver says it with an errno.

use crate::isa::EncodeError;

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction {insn}: {kind}")]
pub struct TranslateError {
    /// Slot, which is also how many slots were translated; behind the last one: the program as a
    /// whole.
    pub insn: usize,
    /// Why.
    pub kind: TranslateErrorKind,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranslateErrorKind {
    /// A field or size of the context that has no words.
    #[error("this field of the context, or this size, cannot be translated")]
    Context,
    /// A store of a constant.
    #[error("a store of a constant cannot be translated")]
    StoreConstant,
    /// An access through a pointer of which nothing is known.
    #[error("an access through this pointer cannot be translated")]
    Pointer,
    /// A constant divisor of zero, on which the driver itself divides by zero.
    #[error("division by the constant 0")]
    DivideByZero,
    /// The ranges on all paths show that the division cannot be translated; those on the paths
    /// that the driver saw do not.
    #[error(
        "on some path the divisor is another, or the dividend has more than 32 bits: no words do this division"
    )]
    NotConstantDivision,
    /// An instruction that the checks should have refused.
    #[error("there are no words for this instruction")]
    NoRecipe,
    /// An operand does not fit its field.
    #[error("{source}")]
    Encode {
        /// Why.
        source: EncodeError,
    },
    /// More words than the firmware gives.
    #[error("the program needs more than {limit} instruction words")]
    TooLong {
        /// The most.
        limit: u16,
    },
    /// A jump to an instruction that was merged into one before it.
    #[error("a jump lands on instruction {insn}, which was merged with one before it")]
    LandsOnRemoved {
        /// Slot of the target.
        insn: usize,
    },
}

impl TranslateError {
    /// The driver's errno, negative.
    pub const fn errno(&self) -> i32 {
        match self.kind {
            TranslateErrorKind::Context
            | TranslateErrorKind::StoreConstant
            | TranslateErrorKind::Pointer
            | TranslateErrorKind::NotConstantDivision
            | TranslateErrorKind::DivideByZero => -95,
            TranslateErrorKind::NoRecipe => -2,
            TranslateErrorKind::Encode { .. } => -14,
            TranslateErrorKind::TooLong { .. } => -28,
            TranslateErrorKind::LandsOnRemoved { .. } => -40,
        }
    }

    /// The sentence that the driver prints first.
    pub fn driver_message(&self) -> String {
        match self.kind {
            TranslateErrorKind::TooLong { limit } => {
                format!("instruction limit reached ({limit} NFP instructions)")
            }
            TranslateErrorKind::LandsOnRemoved { .. } => {
                "Branch landing on removed instruction!!".to_owned()
            }
            _ => format!(
                "Translation failed with error {} (translated: {})",
                self.errno(),
                self.insn
            ),
        }
    }
}
