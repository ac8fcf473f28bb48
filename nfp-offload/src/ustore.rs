//! Words as the micro-engine's instruction store (ustore) holds them: 45 instruction bits, above
//! them 7 bits of ECC, the rest zero.

/// The instruction bits of a word.
pub const INSN_MASK: u64 = (1 << 45) - 1;

const ECC_SHIFT: u32 = 45;
const ECC_MASK: u64 = 0x7f << ECC_SHIFT;

/// Instruction bits whose parity each ECC bit is (kernel `nfp_asm.c`).
const PARITY: [u64; 7] = [
    0x0ff8_0000_7fff,
    0x11f8_01ff_801f,
    0x1e38_7e07_81e1,
    0x17cb_8e38_8e22,
    0x1af5_b2c9_3244,
    0x1f56_d552_5488,
    0x0daf_69a4_6910,
];

/// A word that cannot be in an instruction store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UstoreError {
    /// Bits above the ECC are set.
    #[error("bits 63 to 52 of {word:#018x} must be zero")]
    HighBits {
        /// The word.
        word: u64,
    },
    /// The ECC is not that of the instruction.
    #[error("wrong ECC in {word:#018x}, should be {expected:#018x}")]
    Ecc {
        /// The word.
        word: u64,
        /// The same instruction with the right ECC.
        expected: u64,
    },
}

/// The word with the ECC of its instruction bits; all other bits are replaced.
pub fn with_ecc(word: u64) -> u64 {
    let insn = word & INSN_MASK;
    let parity = |mask: u64| u64::from((insn & mask).count_ones() & 1);
    (0..).zip(PARITY).fold(insn, |word, (bit, mask)| {
        word | parity(mask) << (ECC_SHIFT + bit)
    })
}

/// The instruction bits of a word whose ECC is right.
pub fn strip(word: u64) -> Result<u64, UstoreError> {
    if word & !(INSN_MASK | ECC_MASK) != 0 {
        return Err(UstoreError::HighBits { word });
    }
    let expected = with_ecc(word);
    if word == expected {
        Ok(word & INSN_MASK)
    } else {
        Err(UstoreError::Ecc { word, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nop() {
        // Its parities cancel out.
        assert_eq!(with_ecc(0xf0_000c_0300), 0xf0_000c_0300);
        assert_eq!(with_ecc(0xf0_03f0_5bff), 0x000f_20f0_03f0_5bff);
    }

    #[test]
    fn every_single_bit_error_is_seen() {
        let word = with_ecc(0x2f0_800d_4c04);
        for bit in 0..64 {
            assert!(strip(word ^ 1 << bit).is_err(), "bit {bit}");
        }
        assert_eq!(strip(word), Ok(0x2f0_800d_4c04));
    }
}
