//! Flags of an update.

use super::Errno;

/// `BPF_ANY`
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`
pub const EXIST: u64 = 2;
/// `BPF_F_LOCK`: the value is written while its `bpf_spin_lock` is held.
pub const F_LOCK: u64 = 4;

/// What an update expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdateMode {
    /// Either.
    Any,
    /// No entry yet.
    NoExist,
    /// An entry.
    Exist,
}

impl UpdateMode {
    /// The mode of these flags.
    pub(super) fn from_flags(flags: u64) -> Result<Self, Errno> {
        match flags {
            ANY => Ok(Self::Any),
            NOEXIST => Ok(Self::NoExist),
            EXIST => Ok(Self::Exist),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The mode of a program's flags, and whether they ask for the value's lock.
    pub(super) fn from_program_flags(flags: u64) -> Result<(Self, bool), Errno> {
        Ok((Self::from_flags(flags & !F_LOCK)?, flags & F_LOCK != 0))
    }

    /// Whether an update may go on, given whether there is an entry.
    pub(super) const fn check(self, exists: bool) -> Result<(), Errno> {
        match self {
            Self::NoExist if exists => Err(Errno::EEXIST),
            Self::Exist if !exists => Err(Errno::ENOENT),
            Self::Any | Self::NoExist | Self::Exist => Ok(()),
        }
    }
}
