//! A created map: one interface over the storage of each type.

use super::{MapContents, MapSpec};

/// A created map.
#[derive(Debug)]
pub struct Map {
    spec: MapSpec,
    queues: u32,
}

/// Why a map cannot be created or filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The type is not supported.
    #[error("map {name}: type {map_type} is not supported")]
    Unsupported {
        /// Map.
        name: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
    },
}

impl Map {
    /// Creates an empty map with one value for each RX queue in per-CPU maps.
    pub fn create(spec: &MapSpec, queues: u32) -> Result<Self, MapError> {
        Ok(Self {
            spec: spec.clone(),
            queues,
        })
    }

    /// Its declaration.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// How many values an entry of a per-CPU map has.
    pub fn queues(&self) -> u32 {
        self.queues
    }

    /// What it holds now.
    pub fn contents(&self) -> MapContents {
        MapContents::default()
    }
}
