//! Maps: their declarations, their memory and what a program and a user may do with them.

mod array;
mod bloom;
mod check;
mod contents;
mod errno;
mod hash;
mod instance;
mod json;
mod lpm_trie;
mod lru;
mod queue;
mod ringbuf;
mod slab;
mod slots;
mod spec;
mod table;
mod update;

pub use contents::{MapContents, MapEntry, MapValue};
pub use errno::Errno;
pub use instance::{Map, MapError};
pub use json::{MapFileError, MapSeed, SeedEntry, SeedValue, from_json, to_json};
pub use ringbuf::Ringbuf;
pub use spec::{InitialEntry, InitialValue, MapFlags, MapSpec, MapType};
pub use update::{ANY, EXIST, F_LOCK, NOEXIST};

use std::sync::Arc;

use update::UpdateMode;

/// The maps of one run, one for each of a module's declarations. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct MapSet {
    maps: Vec<Arc<Map>>,
}

impl MapSet {
    /// Creates the maps that a module declares, with one value for each RX queue in per-CPU maps,
    /// and fills in the entries that the declarations hold.
    pub fn create(specs: &[MapSpec], queues: u32) -> Result<Self, MapError> {
        Self::create_for_cpus(specs, queues, queues)
    }

    /// The same; LRU maps evict as on a machine with this many CPUs.
    pub fn create_for_cpus(specs: &[MapSpec], queues: u32, cpus: u32) -> Result<Self, MapError> {
        let maps = specs
            .iter()
            .map(|spec| {
                let map = Map::create_for_cpus(spec, queues, cpus)?;
                for entry in &spec.initial {
                    map.insert_initial(entry)?;
                }
                Ok(Arc::new(map))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { maps })
    }

    /// The map with this index.
    pub fn get(&self, index: u32) -> Option<&Arc<Map>> {
        self.maps.get(index as usize)
    }

    /// All maps, in the order of their declarations.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Map>> {
        self.maps.iter()
    }
}
