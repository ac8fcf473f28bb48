//! Operands: what an instruction reads or writes, and their two encodings. *Unrestricted* operands
//! have 10 bits (ALU, immediates, multiply, CSR, `rtn`), *restricted* ones 8 (shifts, `ld_field`,
//! bit branches, commands).

use super::EncodeError;

/// How an operand names a word of local memory, relative to an index register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LmAccess {
    /// The word at this offset.
    Offset(u8),
    /// The indexed word; afterwards the index moves one word up.
    Increment,
    /// The indexed word; afterwards the index moves one word down.
    Decrement,
}

/// A source or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// No operand.
    None,
    /// General-purpose register, bank A, 0 to 31.
    A(u8),
    /// General-purpose register, bank B, 0 to 31.
    B(u8),
    /// As a destination: the register in both banks.
    Both(u8),
    /// Transfer register, 0 to 31: as a source transfer-in, as a destination transfer-out.
    Xfer(u8),
    /// Local memory through index register 0 to 3.
    Lm(u8, LmAccess),
    /// Immediate value.
    Imm(u8),
}

/// No destination, unrestricted; with the low bits set, an immediate.
pub(super) const UNRESTRICTED_IMM: u64 = 0x300;
/// No destination, restricted; with more bits set, an immediate.
pub(super) const RESTRICTED_IMM: u64 = 0x20;

const REGISTERS: u8 = 32;

impl Operand {
    /// The word `offset` words above the base in index register `index`.
    pub const fn lm(index: u8, offset: u8) -> Self {
        Self::Lm(index, LmAccess::Offset(offset))
    }

    /// Whether local-memory index 2 or 3 is named, which takes an extra bit of the word.
    pub(super) const fn needs_lm_extension(self) -> bool {
        matches!(self, Self::Lm(index, _) if index >= 2)
    }

    pub(super) const fn is_imm(self) -> bool {
        matches!(self, Self::Imm(_))
    }

    /// The 10-bit encoding; nothing is `none`.
    pub(super) fn unrestricted(self, none: u64) -> Result<u64, EncodeError> {
        self.check_numbers()?;
        Ok(match self {
            Self::None => none,
            Self::A(n) | Self::B(n) | Self::Both(n) => u64::from(n),
            Self::Xfer(n) => 0x180 | u64::from(n),
            Self::Lm(index, access) => {
                let access = match access {
                    LmAccess::Offset(offset) if offset < 16 => u64::from(offset),
                    LmAccess::Offset(_) => return Err(EncodeError::LmOffset { operand: self }),
                    LmAccess::Increment => 0x10,
                    LmAccess::Decrement => 0x11,
                };
                0x200 | u64::from(index & 1) << 5 | access
            }
            Self::Imm(value) => UNRESTRICTED_IMM | u64::from(value),
        })
    }

    /// The 8-bit encoding, without bit 7 of an immediate; nothing is `none`.
    pub(super) fn restricted(self, none: u64) -> Result<u64, EncodeError> {
        self.check_numbers()?;
        Ok(match self {
            Self::None => none,
            Self::A(n) | Self::B(n) | Self::Both(n) => u64::from(n),
            Self::Xfer(n) => 0x80 | u64::from(n),
            Self::Lm(index, LmAccess::Offset(offset)) if offset < 8 => {
                0x50 | u64::from(index & 1) << 3 | u64::from(offset)
            }
            Self::Lm(..) => return Err(EncodeError::LmOffset { operand: self }),
            Self::Imm(value) => {
                let value = u64::from(value);
                RESTRICTED_IMM | value & 0x1f | (value & 0x60) << 1
            }
        })
    }

    fn check_numbers(self) -> Result<(), EncodeError> {
        let fits = match self {
            Self::A(n) | Self::B(n) | Self::Both(n) | Self::Xfer(n) => n < REGISTERS,
            Self::Lm(index, _) => index < 4,
            Self::None | Self::Imm(_) => true,
        };
        if fits {
            Ok(())
        } else {
            Err(EncodeError::Number { operand: self })
        }
    }
}

/// Which bank a register number means: that of the slot it stands in.
#[derive(Clone, Copy)]
pub(super) enum Bank {
    A,
    B,
}

impl Bank {
    fn register(self, bits: u64) -> Operand {
        match self {
            Self::A => Operand::A(bits as u8),
            Self::B => Operand::B(bits as u8),
        }
    }
}

/// Reads a 10-bit operand; `None` for encodings that are not in the table.
pub(super) fn from_unrestricted(bits: u64, bank: Bank, extension: bool) -> Option<Operand> {
    Some(match bits {
        0..0x20 => bank.register(bits),
        0x180..0x1a0 => Operand::Xfer((bits & 0x1f) as u8),
        0x200..0x240 => {
            let access = match bits & 0x1f {
                0x10 => LmAccess::Increment,
                0x11 => LmAccess::Decrement,
                offset if offset < 0x10 => LmAccess::Offset(offset as u8),
                _ => return None,
            };
            Operand::Lm((bits >> 5 & 1) as u8 | u8::from(extension) << 1, access)
        }
        0x300..0x400 => Operand::Imm((bits & 0xff) as u8),
        _ => return None,
    })
}

/// Reads an 8-bit operand; `high` is bit 7 of an immediate.
pub(super) fn from_restricted(
    bits: u64,
    bank: Bank,
    extension: bool,
    high: bool,
) -> Option<Operand> {
    Some(match bits {
        _ if bits & RESTRICTED_IMM != 0 => {
            Operand::Imm((bits & 0x1f | bits >> 1 & 0x60) as u8 | u8::from(high) << 7)
        }
        0..0x20 => bank.register(bits),
        0x50..0x60 => Operand::lm(
            (bits >> 3 & 1) as u8 | u8::from(extension) << 1,
            (bits & 7) as u8,
        ),
        0x80..0xa0 => Operand::Xfer((bits & 0x1f) as u8),
        _ => return None,
    })
}
