//! Why objects cannot be linked.

use crate::object::error::ObjectError;

/// Why objects cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// One of them is broken.
    #[error("{file}: {error}")]
    Object {
        /// The object.
        file: String,
        /// What is wrong with it.
        error: ObjectError,
    },
    /// Two definitions, neither of them weak.
    #[error("{symbol} is defined in {first} and in {second}; make one of them static or __weak")]
    Twice {
        /// The name.
        symbol: String,
        /// The object that comes first.
        first: String,
        /// The other.
        second: String,
    },
    /// A declaration that does not fit.
    #[error("{symbol} is not declared in {second} as it is defined in {first}: {what}")]
    Declaration {
        /// The name.
        symbol: String,
        /// The object whose meaning counts.
        first: String,
        /// The object that does not fit.
        second: String,
        /// How they differ.
        what: &'static str,
    },
    /// Sections that must be the same and are not.
    #[error("section {section} of {second} says something else than that of {first}")]
    Contents {
        /// `license` or `version`.
        section: String,
        /// The object that comes first.
        first: String,
        /// The other.
        second: String,
    },
    /// Sections of one name that cannot be joined.
    #[error(
        "section {section} is of another kind in {second} (type {second_type}, flags {second_flags:#x}) than in {first} (type {first_type}, flags {first_flags:#x})"
    )]
    SectionKind {
        /// The section.
        section: String,
        /// The object that comes first.
        first: String,
        /// `sh_type` there.
        first_type: u32,
        /// `sh_flags` there.
        first_flags: u64,
        /// The other.
        second: String,
        /// `sh_type` there.
        second_type: u32,
        /// `sh_flags` there.
        second_flags: u64,
    },
    /// More sections than a file can count.
    #[error("{file}: the result has more than {limit} sections")]
    Sections {
        /// The object.
        file: String,
        /// The limit.
        limit: usize,
    },
    /// A section that cannot be placed.
    #[error("{file}: section {section}: {size} bytes aligned to {align} cannot be placed")]
    Placement {
        /// The object.
        file: String,
        /// The section.
        section: String,
        /// `sh_size`
        size: u64,
        /// `sh_addralign`
        align: u64,
    },
    /// More variables in a section than type information can list.
    #[error(
        "{file}: section {section} has more than 65535 variables together with those of the objects before"
    )]
    Variables {
        /// The object.
        file: String,
        /// The section.
        section: String,
    },
    /// Strings that would become more than the objects have.
    #[error("{file}: section .BTF: the strings lie over each other")]
    Strings {
        /// The object.
        file: String,
    },
    /// A symbol without a section.
    #[error("{file}: {symbol} is a common or absolute symbol; compile with -fno-common")]
    Common {
        /// The object.
        file: String,
        /// The name.
        symbol: String,
    },
}
