//! Strict mode: what the model lets pass and a card might not forgive. A run goes on; each place is
//! noted once. Words that no form lists are refused when they are loaded, in any mode.

/// What a card might not forgive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum FindingKind {
    /// An operand goes through an index register whose new value is not there yet.
    #[error("index register {index} is used {cycles} cycles before its new value is there")]
    IndexTooEarly {
        /// The index register.
        index: u8,
        /// Cycles that are missing.
        cycles: u64,
    },
    /// A command reads bytes before or behind the packet.
    #[error("a read of {len} bytes ends {beyond} bytes outside of the packet")]
    OutsidePacket {
        /// Bytes of the read.
        len: usize,
        /// How many of them are no part of the packet.
        beyond: usize,
    },
}

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("word {word_index}: {kind}")]
pub struct Finding {
    /// The word, from the program's first one.
    pub word_index: usize,
    /// What.
    pub kind: FindingKind,
}

/// What was found, once for each word and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Notes it, unless it is there.
    pub fn add(&mut self, finding: Finding) {
        let is_known = |known: &Finding| {
            known.word_index == finding.word_index
                && std::mem::discriminant(&known.kind) == std::mem::discriminant(&finding.kind)
        };
        if !self.0.iter().any(is_known) {
            self.0.push(finding);
        }
    }

    /// All of them.
    pub fn get(&self) -> &[Finding] {
        &self.0
    }
}
