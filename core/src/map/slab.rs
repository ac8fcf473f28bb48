//! Elements of one size at addresses that never change, allocated in growing chunks as they are
//! first used: a map declared for 2^31 entries costs only what it holds.

use std::sync::OnceLock;

use super::Errno;
use crate::memory::{SharedBuffer, SharedBytes};

/// Elements in the first chunk; each further chunk has twice as many as the one before.
const FIRST_CHUNK_BITS: u32 = 6;
/// Enough chunks for every `u32` index.
const CHUNKS: usize = 33 - FIRST_CHUNK_BITS as usize;

/// A slab of zeroed elements.
#[derive(Debug)]
pub(super) struct Slab {
    stride: usize,
    chunks: [OnceLock<SharedBuffer>; CHUNKS],
}

impl Slab {
    /// A slab without chunks. Elements take a whole number of 8-byte words.
    pub(super) fn new(element_size: usize) -> Self {
        Self {
            stride: element_size.next_multiple_of(8),
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// The element at `index`, if its chunk is there.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<SharedBytes<'_>> {
        let (chunk, place) = position(index);
        self.element(self.chunks[chunk].get()?, place)
    }

    /// The element at `index`, with its chunk allocated if it is not there yet. Callers hold the
    /// map's writer lock.
    pub(super) fn get_or_allocate(&self, index: u32) -> Result<SharedBytes<'_>, Errno> {
        let (chunk, place) = position(index);
        let slot = &self.chunks[chunk];
        if slot.get().is_none() {
            let elements = 1_usize << (FIRST_CHUNK_BITS as usize + chunk);
            let buffer = elements
                .checked_mul(self.stride)
                .and_then(SharedBuffer::try_zeroed)
                .ok_or(Errno::ENOMEM)?;
            let _ = slot.set(buffer);
        }
        slot.get()
            .and_then(|buffer| self.element(buffer, place))
            .ok_or(Errno::ENOMEM)
    }

    fn element<'a>(&self, buffer: &'a SharedBuffer, place: usize) -> Option<SharedBytes<'a>> {
        buffer.bytes().slice(place * self.stride, self.stride)
    }
}

/// Chunk of an element, and its place in there.
#[inline]
fn position(index: u32) -> (usize, usize) {
    let shifted = u64::from(index) + (1 << FIRST_CHUNK_BITS);
    let bits = shifted.ilog2();
    let chunk = (bits - FIRST_CHUNK_BITS) as usize;
    (chunk, (shifted - (1 << bits)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        assert_eq!(position(0), (0, 0));
        assert_eq!(position(63), (0, 63));
        assert_eq!(position(64), (1, 0));
        assert_eq!(position(191), (1, 127));
        assert_eq!(position(192), (2, 0));
        assert!(position(u32::MAX).0 < CHUNKS);
    }

    #[test]
    fn elements_stay_where_they_are() {
        let slab = Slab::new(5);
        assert!(slab.get(70).is_none());
        let address = slab.get_or_allocate(70).unwrap().address();
        for index in 0..1000 {
            slab.get_or_allocate(index).unwrap();
        }
        assert_eq!(slab.get(70).unwrap().address(), address);
        assert_eq!(slab.get(71).unwrap().address(), address + 8);
        assert_eq!(address % 8, 0);
    }
}
