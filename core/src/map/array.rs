//! Array maps and per-CPU arrays: values side by side, one buffer for each queue.

use super::locked::write_around;
use super::{Errno, MapSpec, UpdateMode};
use crate::memory::{SharedBuffer, SharedBytes};

/// Storage of an array.
#[derive(Debug)]
pub(super) struct ArrayMap {
    value_size: usize,
    stride: usize,
    max_entries: u32,
    per_cpu: bool,
    /// Where the lock of a value is.
    lock: Option<u32>,
    /// One buffer, or in per-CPU arrays one for each queue.
    buffers: Vec<SharedBuffer>,
}

impl ArrayMap {
    /// An array of zeros, with values for `queues` queues if it is per-CPU.
    pub(super) fn new(spec: &MapSpec, queues: u32) -> Result<Self, Errno> {
        let per_cpu = spec.map_type.is_per_cpu();
        let stride = (spec.value_size as usize).next_multiple_of(8);
        let len = stride
            .checked_mul(spec.max_entries as usize)
            .ok_or(Errno::ENOMEM)?;
        let buffers = (0..if per_cpu { queues } else { 1 })
            .map(|_| SharedBuffer::try_zeroed(len).ok_or(Errno::ENOMEM))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            value_size: spec.value_size as usize,
            stride,
            max_entries: spec.max_entries,
            per_cpu,
            lock: spec.spin_lock,
            buffers,
        })
    }

    /// A queue's value at the index that the key holds.
    #[inline]
    pub(super) fn lookup(&self, queue: u32, key: &[u8]) -> Option<SharedBytes<'_>> {
        self.value(queue, index_of(key)?)
    }

    /// Refuses an update that asks for the value's lock, after what the kernel looks at first
    /// (`array_map_update_elem`).
    pub(super) fn refuse_lock(&self, key: &[u8], mode: UpdateMode) -> Result<(), Errno> {
        self.lookup(0, key).ok_or(Errno::E2BIG)?;
        mode.check(true)?;
        Err(Errno::EINVAL)
    }

    /// Sets a queue's value.
    pub(super) fn update(
        &self,
        queue: u32,
        key: &[u8],
        value: &[u8],
        mode: UpdateMode,
    ) -> Result<(), Errno> {
        let place = self.lookup(queue, key).ok_or(Errno::E2BIG)?;
        mode.check(true)?;
        write_around(place, value, self.lock).ok_or(Errno::EINVAL)
    }

    /// Sets the values of all queues.
    pub(super) fn update_all(
        &self,
        key: &[u8],
        values: &[Vec<u8>],
        mode: UpdateMode,
    ) -> Result<(), Errno> {
        for (queue, value) in (0..).zip(values) {
            self.update(queue, key, value, mode)?;
        }
        Ok(())
    }

    /// The values of all queues.
    pub(super) fn lookup_all(&self, key: &[u8]) -> Option<Vec<Vec<u8>>> {
        let index = index_of(key)?;
        (0..self.buffers.len() as u32)
            .map(|queue| Some(self.value(queue, index)?.to_vec()))
            .collect()
    }

    /// Every key with the values of all queues, in order.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        (0..self.max_entries)
            .map(u32::to_le_bytes)
            .filter_map(|key| Some((key.to_vec(), self.lookup_all(&key)?)))
            .collect()
    }

    /// Zeros every value.
    pub(super) fn clear(&self) {
        for buffer in &self.buffers {
            buffer.bytes().zero();
        }
    }

    #[inline]
    fn value(&self, queue: u32, index: u32) -> Option<SharedBytes<'_>> {
        if index >= self.max_entries {
            return None;
        }
        let buffer = self
            .buffers
            .get(if self.per_cpu { queue as usize } else { 0 })?;
        buffer
            .bytes()
            .slice(index as usize * self.stride, self.value_size)
    }
}

/// The index in a 4-byte key. Keys are little-endian, as on every machine that runs XDP.
#[inline]
pub(super) fn index_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(key.try_into().ok()?))
}
