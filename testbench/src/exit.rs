//! Exit codes, a stable interface (`docs/ARCHITECTURE.md`), and which error has which.

use std::io;
use std::process::ExitCode;

use iom_core::abi::BackendError;
use iom_core::isa::DecodeError;
use iom_core::object::raw::RawProgramError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: the same, or passed.
    Success = 0,
    /// 1: differs, or failed.
    Differs = 1,
    /// 2: wrong usage or unreadable input.
    Usage = 2,
    /// 3: the program was refused.
    Refused = 3,
    /// 4: a backend is missing on this machine.
    Missing = 4,
    /// 5: internal error.
    Internal = 5,
}

/// A message with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
    /// The instruction that is none, where a program is refused for it.
    pub encoding: Option<DecodeError>,
}

impl Failure {
    /// Wrong usage or unreadable input.
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            encoding: None,
        }
        .into()
    }

    /// The program was refused.
    pub fn refused(message: impl Into<String>) -> anyhow::Error {
        Self {
            exit: Exit::Refused,
            message: message.into(),
            encoding: None,
        }
        .into()
    }

    /// Raw instructions are no program.
    pub fn no_program(message: impl Into<String>, error: &RawProgramError) -> anyhow::Error {
        let encoding = match error {
            RawProgramError::Decode(error) => Some(*error),
            RawProgramError::Empty | RawProgramError::NoMap { .. } => None,
        };
        Self {
            exit: Exit::Refused,
            message: message.into(),
            encoding,
        }
        .into()
    }

    /// A backend is missing on this machine.
    pub fn missing(message: impl Into<String>) -> anyhow::Error {
        Self {
            exit: Exit::Missing,
            message: message.into(),
            encoding: None,
        }
        .into()
    }
}

impl Exit {
    /// The exit code of an error: its own if it has one, else unreadable input.
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return failure.exit;
            }
            if let Some(backend) = cause.downcast_ref::<BackendError>() {
                return match backend {
                    BackendError::Refused { .. } => Self::Refused,
                    BackendError::Missing { .. } => Self::Missing,
                    BackendError::Failed { .. } => Self::Internal,
                };
            }
            let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            if cause.downcast_ref::<io::Error>().is_some_and(broken_pipe) {
                return Self::Success;
            }
        }
        Self::Usage
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_survives_context() {
        let error = Err::<(), _>(Failure::refused("no"))
            .context("loading")
            .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Refused);
        assert_eq!(Exit::of(&anyhow::anyhow!("plain")), Exit::Usage);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Exit::of(&pipe.into()), Exit::Success);
    }
}
