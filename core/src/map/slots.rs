//! Arrays of places that may be empty: prog arrays, arrays of maps, devmaps, cpumaps and xskmaps.

use super::array::index_of;
use super::{Errno, MapSpec, MapType, UpdateMode};
use crate::isa::Size;
use crate::memory::{SharedBuffer, SharedBytes};

/// Largest queue of a cpumap entry (`kernel/bpf/cpumap.c`).
const CPUMAP_QUEUE_MAX: u32 = 16_384;

/// Storage of an array whose places may be empty.
///
/// A place is eight bytes: a prog array's program or an array's map plus one; an xskmap's socket plus one; a devmap's interface and program; a
/// cpumap's queue length and program. A first word of zero is an empty place.
#[derive(Debug)]
pub(super) struct SlotArray {
    map_type: MapType,
    value_size: usize,
    max_entries: u32,
    places: SharedBuffer,
}

impl SlotArray {
    /// An array of empty places.
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let len = (spec.max_entries as usize)
            .checked_mul(8)
            .ok_or(Errno::ENOMEM)?;
        Ok(Self {
            map_type: spec.map_type,
            value_size: spec.value_size as usize,
            max_entries: spec.max_entries,
            places: SharedBuffer::try_zeroed(len).ok_or(Errno::ENOMEM)?,
        })
    }

    /// What programs see of a devmap or cpumap entry.
    pub(super) fn lookup(&self, key: &[u8]) -> Option<SharedBytes<'_>> {
        let place = self.place(index_of(key)?)?;
        let used = place.load(0, Size::W)? != 0 && !self.holds_objects();
        used.then_some(place)?.slice(0, self.value_size)
    }

    /// The program at an index of a prog array, or the map in an array of maps.
    #[inline]
    pub(super) fn program(&self, index: u32) -> Option<u32> {
        let word = self.place(index)?.load(0, Size::W)? as u32;
        word.checked_sub(1)
    }

    /// What user space sees of an entry; of a prog array the program's index, of an array of maps
    /// the map's.
    pub(super) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.holds_objects() || self.map_type == MapType::Xskmap {
            let program = self.program(index_of(key)?)?;
            return Some(program.to_le_bytes().to_vec());
        }
        Some(self.lookup(key)?.to_vec())
    }

    /// Fills a place as user space does.
    pub(super) fn update(&self, key: &[u8], value: &[u8], mode: UpdateMode) -> Result<(), Errno> {
        let index = index_of(key).ok_or(Errno::EINVAL)?;
        if self.holds_objects() && mode != UpdateMode::Any {
            return Err(Errno::EINVAL);
        }
        let place = self.place(index).ok_or(Errno::E2BIG)?;
        mode.check(true)?;
        let first = word_at(value, 0);
        if self.map_type == MapType::Cpumap && first > CPUMAP_QUEUE_MAX {
            return Err(Errno::EOVERFLOW);
        }
        let (first, second) = match self.map_type {
            MapType::ProgArray | MapType::ArrayOfMaps | MapType::Xskmap => {
                (first.checked_add(1).ok_or(Errno::EBADF)?, 0)
            }
            _ if first == 0 => (0, 0),
            _ => (first, word_at(value, 4)),
        };
        let stored = place.store(4, Size::W, u64::from(second));
        stored
            .and_then(|()| place.store(0, Size::W, u64::from(first)))
            .ok_or(Errno::EINVAL)
    }

    /// Empties a place.
    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let place = index_of(key).and_then(|index| self.place(index));
        if self.holds_objects() {
            let place = place.ok_or(Errno::E2BIG)?;
            if place.load(0, Size::W) == Some(0) {
                return Err(Errno::ENOENT);
            }
        }
        let place = place.ok_or(Errno::EINVAL)?;
        place.store(0, Size::DW, 0).ok_or(Errno::EINVAL)
    }

    /// Every full place, in order.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        (0..self.max_entries)
            .map(u32::to_le_bytes)
            .filter_map(|key| Some((key.to_vec(), vec![self.value(&key)?])))
            .collect()
    }

    /// Empties every place.
    pub(super) fn clear(&self) {
        self.places.bytes().zero();
    }

    /// Whether values are descriptors of programs or maps (`bpf_fd_array_map_update_elem`).
    const fn holds_objects(&self) -> bool {
        matches!(self.map_type, MapType::ProgArray | MapType::ArrayOfMaps)
    }

    fn place(&self, index: u32) -> Option<SharedBytes<'_>> {
        if index >= self.max_entries {
            return None;
        }
        self.places.bytes().slice(index as usize * 8, 8)
    }
}

fn word_at(value: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    if let Some(bytes) = value.get(offset..offset + 4) {
        word.copy_from_slice(bytes);
    }
    u32::from_le_bytes(word)
}
