//! Maps: their declarations, their memory and what a program and a user may do with them.

mod array;
mod bloom;
mod check;
mod contents;
mod errno;
mod hash;
mod instance;
mod json;
mod locked;
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
        let maps: Vec<_> = specs
            .iter()
            .map(|spec| {
                let map = Map::create_for_cpus(spec, queues, cpus)?;
                for entry in &spec.initial {
                    map.insert_initial(entry)?;
                }
                Ok(Arc::new(map))
            })
            .collect::<Result<_, _>>()?;
        let set = Self { maps };
        set.check_inner_maps()?;
        Ok(set)
    }

    /// Refuses maps of maps that hold what their template does not allow.
    pub fn check_inner_maps(&self) -> Result<(), MapError> {
        for map in &self.maps {
            let Some(template) = &map.spec().inner else {
                continue;
            };
            for entry in map.contents().entries {
                let number = match &entry.value {
                    MapValue::Plain(value) => {
                        value.first_chunk().map(|word| u32::from_le_bytes(*word))
                    }
                    MapValue::PerQueue(_) => None,
                };
                let inner = number.and_then(|number| self.get(number));
                if inner.is_none_or(|inner| !check::fits_template(template, inner.spec())) {
                    return Err(MapError::Inner {
                        name: map.spec().name.clone(),
                        reason: "one differs from the template in type, sizes or flags",
                        errno: Errno::EINVAL,
                    });
                }
            }
        }
        Ok(())
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
