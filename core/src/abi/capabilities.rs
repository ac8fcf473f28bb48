//! What a backend can do, as data: `iom feature` prints it, checks read it, tests vary it.

use crate::map::MapType;
use crate::module::ProgramType;

/// What a backend can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Program types.
    pub program_types: Vec<ProgramType>,
    /// Map types.
    pub map_types: Vec<MapType>,
    /// Helpers by number, sorted.
    pub helpers: Vec<u32>,
    /// Shortest and longest frame it takes, in bytes.
    pub frame_bytes: (usize, usize),
    /// Known limits, a sentence each.
    pub notes: Vec<String>,
}
