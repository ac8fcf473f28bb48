//! Hash maps: elements in slabs, found through a [`Table`].
//!
//! As in the kernel's preallocated maps, an update writes a fresh element and then puts it in the
//! old one's place, so that readers see either value whole and a program that holds a pointer keeps
//! what it had. Per-CPU values are updated where they are, each queue's in a slab of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lru::{Elements, Lru, References};
use super::slab::Slab;
use super::table::{Fill, Found, Table, hash_key};
use super::{Errno, MapFlags, MapSpec, MapType, UpdateMode};
use crate::memory::SharedBytes;

/// Storage of a hash map.
#[derive(Debug)]
pub(super) struct HashMap {
    key_size: usize,
    value_size: usize,
    max_entries: u32,
    per_cpu: bool,
    lru: bool,
    /// Where the lock of a value is.
    spin_lock: Option<u32>,
    table: Table,
    /// Keys, in LRU maps with the reference bit behind them, and unless the map is per-CPU, values.
    elements: Slab,
    /// Values of a per-CPU map, a slab for each queue.
    queue_values: Vec<Slab>,
    /// Where in an element the value is.
    value_offset: usize,
    writer: Mutex<Writer>,
}

/// What the writer lock protects.
#[derive(Debug, Default)]
struct Writer {
    fill: Fill,
    /// Elements that were used and are free again, the latest last.
    free: Vec<u32>,
    /// Elements from this number on were never used.
    fresh: u32,
    /// In LRU maps, instead of the two before.
    lru: Option<Lru>,
}

impl HashMap {
    /// An empty map with values for `queues` queues if it is per-CPU. An LRU map evicts as on a
    /// machine with this many CPUs.
    pub(super) fn new(spec: &MapSpec, queues: u32, cpus: u32) -> Result<Self, Errno> {
        let per_cpu = spec.map_type.is_per_cpu();
        let lru = matches!(spec.map_type, MapType::LruHash | MapType::LruPercpuHash);
        let own_lists = spec.flags.contains(MapFlags::NO_COMMON_LRU);
        let key_size = spec.key_size as usize;
        let value_size = spec.value_size as usize;
        let value_offset = key_size.next_multiple_of(8) + if lru { 8 } else { 0 };
        let element_size = value_offset + if per_cpu { 0 } else { value_size };
        let slabs = if per_cpu { queues } else { 0 };
        Ok(Self {
            key_size,
            value_size,
            max_entries: spec.max_entries,
            per_cpu,
            lru,
            spin_lock: spec.spin_lock,
            table: Table::new()?,
            elements: Slab::new(element_size),
            queue_values: (0..slabs).map(|_| Slab::new(value_size)).collect(),
            value_offset,
            writer: Mutex::new(Writer {
                lru: lru.then(|| Lru::new(spec.max_entries, cpus, own_lists)),
                ..Writer::default()
            }),
        })
    }

    /// A queue's value of a key, which counts as used.
    #[inline]
    pub(super) fn lookup(&self, queue: u32, key: &[u8]) -> Option<SharedBytes<'_>> {
        let found = self.find(hash_key(key), key)?;
        if self.lru {
            self.references().set(found.element);
        }
        self.value(queue, found.element)
    }

    /// A queue's value of a key that does not count as used for it.
    pub(super) fn entry(&self, queue: u32, key: &[u8]) -> Option<SharedBytes<'_>> {
        let found = self.find(hash_key(key), key)?;
        self.value(queue, found.element)
    }

    /// Sets a value: in a per-CPU map that of `queue`, and those of all other queues of a new
    /// entry to zero.
    pub(super) fn update(
        &self,
        queue: u32,
        key: &[u8],
        value: &[u8],
        mode: UpdateMode,
    ) -> Result<(), Errno> {
        self.update_with(queue, key, mode, |map, element, new| {
            for (other, place) in (0..).zip(map.places(element)) {
                if !map.per_cpu || other == queue {
                    place.write(0, value);
                    map.free_lock(place);
                } else if new {
                    place.zero();
                }
            }
        })
    }

    /// Sets the values of all queues. `queue` is the CPU that does it.
    pub(super) fn update_all(
        &self,
        queue: u32,
        key: &[u8],
        values: &[Vec<u8>],
        mode: UpdateMode,
    ) -> Result<(), Errno> {
        self.update_with(queue, key, mode, |map, element, _| {
            for (place, value) in map.places(element).zip(values) {
                place.write(0, value);
                map.free_lock(place);
            }
        })
    }

    /// The lock of a value that is not yet in the map is free, whatever was written there.
    fn free_lock(&self, place: SharedBytes<'_>) {
        if let Some(lock) = self.spin_lock.and_then(|at| place.slice(at as usize, 4)) {
            lock.zero();
        }
    }

    fn update_with(
        &self,
        queue: u32,
        key: &[u8],
        mode: UpdateMode,
        write: impl Fn(&Self, u32, bool),
    ) -> Result<(), Errno> {
        let hash = hash_key(key);
        let mut writer = self.lock();
        if self.lru && !self.per_cpu {
            return self.update_lru(&mut writer, queue, key, mode, &write);
        }
        if self.lru {
            return self.update_percpu_lru(&mut writer, queue, key, mode, &write);
        }
        let found = self.find(hash, key);
        mode.check(found.is_some())?;
        match found {
            Some(old) if self.per_cpu => {
                write(self, old.element, false);
                Ok(())
            }
            Some(old) => {
                let element = writer.take_element();
                self.fill_element(element, key, &write)?;
                self.table.replace(old, hash, element);
                writer.free.push(old.element);
                Ok(())
            }
            None if writer.fill.live() >= self.max_entries as usize => Err(Errno::E2BIG),
            None => {
                let element = writer.take_element();
                self.fill_element(element, key, &write)?;
                self.table
                    .insert(&mut writer.fill, hash, element, |other| self.hash_of(other))
            }
        }
    }

    /// As the kernel does, takes a node before it looks for the key, which may evict an entry even
    /// if none was needed in the end.
    fn update_lru(
        &self,
        writer: &mut Writer,
        queue: u32,
        key: &[u8],
        mode: UpdateMode,
        write: &impl Fn(&Self, u32, bool),
    ) -> Result<(), Errno> {
        let hash = hash_key(key);
        let taken = self.with_lru(writer, |lru, elements| lru.take(queue, elements));
        let element = taken.flatten().ok_or(Errno::ENOMEM)?;
        self.fill_element(element, key, write)?;
        let found = self.find(hash, key);
        let result = mode.check(found.is_some()).and_then(|()| {
            if let Some(old) = found {
                self.references().set(element);
                self.table.replace(old, hash, element);
                return Ok(Some(old.element));
            }
            let hash_of = |other| self.hash_of(other);
            self.table
                .insert(&mut writer.fill, hash, element, hash_of)?;
            Ok(None)
        });
        // The element that was replaced, or the new one if it came to nothing.
        if let Some(unused) = result.unwrap_or(Some(element)) {
            self.free_element(writer, unused);
        }
        result.map(|_| ())
    }

    /// As above, but the values of an entry that is there are written where they are, and no node
    /// is taken where there must be one (`__htab_lru_percpu_map_update_elem`).
    fn update_percpu_lru(
        &self,
        writer: &mut Writer,
        queue: u32,
        key: &[u8],
        mode: UpdateMode,
        write: &impl Fn(&Self, u32, bool),
    ) -> Result<(), Errno> {
        let hash = hash_key(key);
        let mut taken = None;
        if mode != UpdateMode::Exist {
            let node = self.with_lru(writer, |lru, elements| lru.take(queue, elements));
            taken = Some(node.flatten().ok_or(Errno::ENOMEM)?);
        }
        let found = self.find(hash, key);
        let result = mode
            .check(found.is_some())
            .and_then(|()| match (found, taken) {
                (Some(old), _) => {
                    self.references().set(old.element);
                    write(self, old.element, false);
                    Ok(taken)
                }
                (None, None) => Ok(None),
                (None, Some(element)) => {
                    self.fill_element(element, key, write)?;
                    let hash_of = |other| self.hash_of(other);
                    self.table
                        .insert(&mut writer.fill, hash, element, hash_of)?;
                    Ok(None)
                }
            });
        if let Some(unused) = result.unwrap_or(taken) {
            self.free_element(writer, unused);
        }
        result.map(|_| ())
    }

    fn with_lru<T>(
        &self,
        writer: &mut Writer,
        operation: impl FnOnce(&mut Lru, &mut Elements<'_>) -> T,
    ) -> Option<T> {
        let Writer { fill, lru, .. } = writer;
        let mut evict = |element| {
            let hash = self.hash_of(element);
            if let Some(found) = self.table.find(hash, |other| other == element) {
                self.table.remove(fill, found);
            }
        };
        let mut elements = Elements {
            references: self.references(),
            evict: &mut evict,
        };
        Some(operation(lru.as_mut()?, &mut elements))
    }

    fn free_element(&self, writer: &mut Writer, element: u32) {
        let freed = self.with_lru(writer, |lru, elements| lru.give_back(element, elements));
        if freed.is_none() {
            writer.free.push(element);
        }
    }

    fn references(&self) -> References<'_> {
        References {
            elements: &self.elements,
            offset: self.key_size.next_multiple_of(8),
        }
    }

    fn fill_element(
        &self,
        element: u32,
        key: &[u8],
        write: &impl Fn(&Self, u32, bool),
    ) -> Result<(), Errno> {
        for values in &self.queue_values {
            values.get_or_allocate(element)?;
        }
        self.elements.get_or_allocate(element)?.write(0, key);
        write(self, element, true);
        Ok(())
    }

    /// Deletes an entry.
    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let mut writer = self.lock();
        let found = self.find(hash_key(key), key).ok_or(Errno::ENOENT)?;
        self.table.remove(&mut writer.fill, found);
        self.free_element(&mut writer, found.element);
        Ok(())
    }

    /// Deletes all entries.
    pub(super) fn clear(&self) {
        let mut writer = self.lock();
        let elements: Vec<_> = self.table.elements().collect();
        self.table.clear(&mut writer.fill);
        for element in elements {
            self.free_element(&mut writer, element);
        }
    }

    /// Every key with the values of all queues, in no particular order.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let _writer = self.lock();
        self.table
            .elements()
            .filter_map(|element| Some((self.key(element)?.to_vec(), self.values_of(element))))
            .collect()
    }

    /// The values of all queues.
    pub(super) fn lookup_all(&self, key: &[u8]) -> Option<Vec<Vec<u8>>> {
        let found = self.find(hash_key(key), key)?;
        Some(self.values_of(found.element))
    }

    fn values_of(&self, element: u32) -> Vec<Vec<u8>> {
        self.places(element).map(SharedBytes::to_vec).collect()
    }

    /// The values of an element, one for each queue in a per-CPU map.
    fn places(&self, element: u32) -> impl Iterator<Item = SharedBytes<'_>> {
        let count = if self.per_cpu {
            self.queue_values.len() as u32
        } else {
            1
        };
        (0..count).filter_map(move |queue| self.value(queue, element))
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Found> {
        self.table.find(hash, |element| {
            self.key(element).is_some_and(|stored| stored.equals(key))
        })
    }

    fn hash_of(&self, element: u32) -> u64 {
        self.key(element).map_or(0, |key| hash_key(&key.to_vec()))
    }

    #[inline]
    fn key(&self, element: u32) -> Option<SharedBytes<'_>> {
        self.elements.get(element)?.slice(0, self.key_size)
    }

    #[inline]
    fn value(&self, queue: u32, element: u32) -> Option<SharedBytes<'_>> {
        if self.per_cpu {
            let value = self.queue_values.get(queue as usize)?.get(element)?;
            return value.slice(0, self.value_size);
        }
        let element = self.elements.get(element)?;
        element.slice(self.value_offset, self.value_size)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// An element that no slot names. There is always one: at most `max_entries` are named, and
    /// one more while an update replaces another.
    fn take_element(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        })
    }
}
