//! Memory that several workers, programs and readers may touch at once: map values and rings.
//!
//! Every access is a relaxed atomic of the access's own size where it is aligned and bytewise
//! where it is not, which is what a program's plain load and store do on the machine. So a race
//! between two programs gives some value of the race, as in the kernel, and never undefined
//! behaviour here.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::isa::Size;

/// Zeroed, 8-byte aligned memory of a fixed place and size, shared between threads.
#[derive(Debug)]
pub struct SharedBuffer {
    words: Box<[AtomicU64]>,
    len: usize,
}

impl SharedBuffer {
    /// `len` bytes of zeros.
    pub fn zeroed(len: usize) -> Self {
        let words = std::iter::repeat_with(|| AtomicU64::new(0))
            .take(len.div_ceil(8))
            .collect();
        Self { words, len }
    }

    /// All of it.
    pub fn bytes(&self) -> SharedBytes<'_> {
        SharedBytes {
            start: NonNull::from(&*self.words).cast(),
            len: self.len,
            memory: PhantomData,
        }
    }
}

/// A view of shared memory: a place and a length, checked at every access.
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'a> {
    start: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'a [AtomicU8]>,
}

// SAFETY: a `SharedBytes` only reads and writes through atomics, like the `&[AtomicU8]` that it
// stands for, which is both.
#[expect(unsafe_code, reason = "memory shared between workers")]
unsafe impl Send for SharedBytes<'_> {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "memory shared between workers")]
unsafe impl Sync for SharedBytes<'_> {}

impl<'a> SharedBytes<'a> {
    /// A view of memory that nobody else holds while the view lives: frames, stacks.
    pub fn from_exclusive(bytes: &'a mut [u8]) -> Self {
        Self {
            len: bytes.len(),
            start: NonNull::from(bytes).cast(),
            memory: PhantomData,
        }
    }

    /// Bytes in the view.
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether the view has no bytes.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Address of the first byte, as programs see it.
    pub fn address(self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// The part of `len` bytes at `offset`, or `None` if it is not all inside.
    pub fn slice(self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| Self {
            start: self.at(offset),
            len,
            memory: PhantomData,
        })
    }

    /// Loads an integer in the machine's byte order, zero-extended; `None` out of bounds.
    #[inline]
    pub fn load(self, offset: usize, size: Size) -> Option<u64> {
        let place = self.slice(offset, size.bytes())?.start;
        Some(load(place, size))
    }

    /// Stores the low bytes of `value`; `None` out of bounds.
    #[inline]
    pub fn store(self, offset: usize, size: Size, value: u64) -> Option<()> {
        let place = self.slice(offset, size.bytes())?.start;
        store(place, size, value);
        Some(())
    }

    /// The aligned 32-bit word at `offset` for an atomic operation; `None` if out of bounds or not
    /// aligned.
    pub fn atomic_u32(self, offset: usize) -> Option<&'a AtomicU32> {
        let place = self.slice(offset, 4)?.start.cast::<u32>();
        // SAFETY: in bounds (sliced), aligned (tested), alive for 'a and only touched atomically.
        #[expect(unsafe_code, reason = "memory shared between workers")]
        place
            .is_aligned()
            .then(|| unsafe { AtomicU32::from_ptr(place.as_ptr()) })
    }

    /// The aligned 64-bit word at `offset` for an atomic operation; `None` if out of bounds or not
    /// aligned.
    pub fn atomic_u64(self, offset: usize) -> Option<&'a AtomicU64> {
        let place = self.slice(offset, 8)?.start.cast::<u64>();
        // SAFETY: in bounds (sliced), aligned (tested), alive for 'a and only touched atomically.
        #[expect(unsafe_code, reason = "memory shared between workers")]
        place
            .is_aligned()
            .then(|| unsafe { AtomicU64::from_ptr(place.as_ptr()) })
    }

    /// Copies the bytes at `offset` out; `None` out of bounds.
    pub fn read(self, offset: usize, into: &mut [u8]) -> Option<()> {
        let part = self.slice(offset, into.len())?;
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = load(part.at(index), Size::B) as u8;
        }
        Some(())
    }

    /// Copies bytes in at `offset`; `None` out of bounds.
    pub fn write(self, offset: usize, from: &[u8]) -> Option<()> {
        let part = self.slice(offset, from.len())?;
        for (index, byte) in from.iter().enumerate() {
            store(part.at(index), Size::B, u64::from(*byte));
        }
        Some(())
    }

    /// A copy of all bytes.
    pub fn to_vec(self) -> Vec<u8> {
        let mut copy = vec![0; self.len];
        let _ = self.read(0, &mut copy);
        copy
    }

    fn at(self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset <= self.len);
        // SAFETY: callers checked `offset <= len`, so the place is inside the view or one past it.
        #[expect(unsafe_code, reason = "memory shared between workers")]
        unsafe {
            self.start.add(offset)
        }
    }
}

#[inline]
fn load(place: NonNull<u8>, size: Size) -> u64 {
    // SAFETY: callers pass a place inside a live view with room for `size`; `from_ptr` is only
    // used where the place is aligned; all accesses to shared memory are atomic.
    #[expect(unsafe_code, reason = "memory shared between workers")]
    unsafe {
        let byte = place.as_ptr();
        match size {
            Size::B => u64::from(AtomicU8::from_ptr(byte).load(Relaxed)),
            Size::H if place.cast::<u16>().is_aligned() => {
                u64::from(AtomicU16::from_ptr(byte.cast()).load(Relaxed))
            }
            Size::W if place.cast::<u32>().is_aligned() => {
                u64::from(AtomicU32::from_ptr(byte.cast()).load(Relaxed))
            }
            Size::DW if place.cast::<u64>().is_aligned() => {
                AtomicU64::from_ptr(byte.cast()).load(Relaxed)
            }
            Size::H | Size::W | Size::DW => (0..size.bytes()).fold(0, |value, index| {
                let part = AtomicU8::from_ptr(byte.add(index)).load(Relaxed);
                value | u64::from(part) << byte_shift(index, size)
            }),
        }
    }
}

#[inline]
fn store(place: NonNull<u8>, size: Size, value: u64) {
    // SAFETY: as in `load`.
    #[expect(unsafe_code, reason = "memory shared between workers")]
    unsafe {
        let byte = place.as_ptr();
        match size {
            Size::B => AtomicU8::from_ptr(byte).store(value as u8, Relaxed),
            Size::H if place.cast::<u16>().is_aligned() => {
                AtomicU16::from_ptr(byte.cast()).store(value as u16, Relaxed);
            }
            Size::W if place.cast::<u32>().is_aligned() => {
                AtomicU32::from_ptr(byte.cast()).store(value as u32, Relaxed);
            }
            Size::DW if place.cast::<u64>().is_aligned() => {
                AtomicU64::from_ptr(byte.cast()).store(value, Relaxed);
            }
            Size::H | Size::W | Size::DW => {
                for index in 0..size.bytes() {
                    let part = (value >> byte_shift(index, size)) as u8;
                    AtomicU8::from_ptr(byte.add(index)).store(part, Relaxed);
                }
            }
        }
    }
}

/// How far the byte at `index` of an integer of `size` is shifted, in the machine's byte order.
const fn byte_shift(index: usize, size: Size) -> usize {
    if cfg!(target_endian = "little") {
        8 * index
    } else {
        8 * (size.bytes() - 1 - index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_what_was_stored_at_any_alignment() {
        let buffer = SharedBuffer::zeroed(24);
        let bytes = buffer.bytes();
        for size in [Size::B, Size::H, Size::W, Size::DW] {
            for offset in 0..=16 {
                let value = 0x8877_6655_4433_2211 >> (64 - 8 * size.bytes());
                bytes.store(offset, size, value).unwrap();
                assert_eq!(
                    bytes.load(offset, size),
                    Some(value),
                    "{size:?} at {offset}"
                );
            }
        }
    }

    #[test]
    fn refuses_what_is_not_all_inside() {
        let buffer = SharedBuffer::zeroed(9);
        let bytes = buffer.bytes();
        assert_eq!(bytes.load(8, Size::H), None);
        assert_eq!(bytes.store(usize::MAX, Size::B, 0), None);
        assert!(bytes.slice(9, 0).is_some());
        assert!(bytes.slice(9, 1).is_none());
        assert!(bytes.atomic_u64(1).is_none());
        assert!(bytes.atomic_u32(4).is_some());
    }
}
