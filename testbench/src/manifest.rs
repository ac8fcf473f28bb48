//! The manifest of an IO module: `module.toml` beside its object.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use serde::Deserialize;

/// File name of a manifest.
pub const FILE_NAME: &str = "module.toml";

/// What a manifest says. A member that is not here is refused, with its line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the module.
    pub name: String,
    /// What it is for, in one line.
    #[serde(default)]
    pub description: String,
    /// The object, a file beside the manifest.
    pub object: PathBuf,
    /// Name of the entry program.
    pub program: Option<String>,
    /// Section of the entry program.
    pub section: Option<String>,
    /// Names of the ports, numbered from 0.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Global variables that get another value before the program is loaded, as with `--set`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Maps that get another size before they are created, as with `--max-entries`.
    #[serde(default)]
    pub max_entries: BTreeMap<String, u32>,
    /// The network that `fib_lookup` and `check_mtu` see, unless `--fib` names another: a file
    /// beside the manifest.
    pub fib: Option<PathBuf>,
    /// Contents of maps before the first packet: a file beside the manifest, in the form of
    /// `--seed-maps`.
    pub seed: Option<PathBuf>,
    /// The same in place: `[maps.NAME]` with what the file has for a map. Goes over the file.
    #[serde(default)]
    pub maps: BTreeMap<String, serde_json::Value>,
}

/// A parameter's value: text as `--set` takes it, or what TOML has of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no TOML, or says what a manifest does not.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        error: toml::de::Error,
    },
}

impl Manifest {
    /// A manifest's text.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The manifest beside a program, if there is one and it is about this program: its object, or
    /// the source or assembly that the object is made of.
    pub fn beside(program: &Path) -> Result<Option<Self>, ManifestError> {
        let path = program.with_file_name(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ManifestError::Read { path, error }),
        };
        let manifest = Self::parse(&text).map_err(|error| ManifestError::Parse { path, error })?;
        let same = manifest.object.file_stem() == program.file_stem();
        Ok(same.then_some(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, program: &str) -> Result<Option<Manifest>, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        Manifest::beside(&folder.path().join(program))
    }

    #[test]
    fn is_about_its_object_and_the_source_of_it() {
        let text = "name = \"a\"\nobject = \"a.o\"\nports = [\"in\"]\n\
                    [maps.rules]\ntype = \"hash\"\nentries = [{ key = \"00\", value = \"01\" }]\n";
        let manifest = check(text, "a.o").unwrap().unwrap();
        assert_eq!(manifest.ports, ["in"]);
        assert_eq!(manifest.maps["rules"]["entries"][0]["value"], "01");
        assert!(check(text, "a.c").unwrap().is_some());
        assert!(check(text, "b.o").unwrap().is_none());
    }

    #[test]
    fn unknown_members_are_refused_with_their_line() {
        let text = "name = \"a\"\nobject = \"a.o\"\nsection = \"xdp\"\nportz = []\n";
        let message = check(text, "a.o").unwrap_err().to_string();
        assert!(message.contains("line 4"), "{message}");
        assert!(message.contains("portz"), "{message}");
    }
}
