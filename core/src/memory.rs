//! Memory that several workers, programs and readers may touch at once: map values and rings.
//!
//! Every access is a relaxed atomic of the access's own size where it is aligned and bytewise
//! where it is not, which is what a program's plain load and store do on the machine. So a race
//! between two programs gives some value of the race, as in the kernel, and never undefined
//! behaviour here.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::isa::Size;

/// Bytes in a cache line: where a [`SharedBuffer`] starts, so that two buffers share none.
const CACHE_LINE: usize = 64;

/// Zeroed memory of a fixed place and size, shared between threads. It starts on a cache line.
#[derive(Debug)]
pub struct SharedBuffer {
    start: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: the buffer owns its memory and hands out only `SharedBytes`, which are both.
#[expect(unsafe_code, reason = "memory shared between workers")]
unsafe impl Send for SharedBuffer {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "memory shared between workers")]
unsafe impl Sync for SharedBuffer {}

impl SharedBuffer {
    /// `len` bytes of zeros.
    ///
    /// # Panics
    /// The system has no such memory: for lengths of our own choice only.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).expect("memory for a buffer of a length of our own choice")
    }

    /// `len` bytes of zeros, or `None` if the system does not give them. Pages that nobody touches
    /// cost no memory where the system allocates lazily.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        // At least one line, as the allocator takes no empty layout.
        let size = len.max(1).checked_next_multiple_of(CACHE_LINE)?;
        let layout = Layout::from_size_align(size, CACHE_LINE).ok()?;
        // SAFETY: the layout is not empty.
        #[expect(unsafe_code, reason = "memory shared between workers")]
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout, len })
    }

    /// All of it.
    #[inline]
    pub fn bytes(&self) -> SharedBytes<'_> {
        SharedBytes {
            start: self.start,
            len: self.len,
            memory: PhantomData,
        }
    }
}

impl Drop for SharedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `try_zeroed` with this layout; no view outlives the buffer.
        #[expect(unsafe_code, reason = "memory shared between workers")]
        unsafe {
            dealloc(self.start.as_ptr(), self.layout);
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

    /// Copies the bytes at `offset` out, in aligned words; `None` out of bounds.
    #[inline]
    pub fn read(self, offset: usize, into: &mut [u8]) -> Option<()> {
        let part = self.slice(offset, into.len())?;
        part.pieces(|index, size| {
            let word = load(part.at(index), size);
            into[index..index + size.bytes()]
                .copy_from_slice(&in_memory_order(word, size)[..size.bytes()]);
            true
        });
        Some(())
    }

    /// Copies bytes in at `offset`, in aligned words; `None` out of bounds.
    #[inline]
    pub fn write(self, offset: usize, from: &[u8]) -> Option<()> {
        let part = self.slice(offset, from.len())?;
        part.pieces(|index, size| {
            store(part.at(index), size, word_of(&from[index..], size));
            true
        });
        Some(())
    }

    /// Whether the view holds exactly these bytes.
    #[inline]
    pub fn equals(self, bytes: &[u8]) -> bool {
        self.len == bytes.len()
            && self
                .pieces(|index, size| load(self.at(index), size) == word_of(&bytes[index..], size))
    }

    /// Zeros all bytes.
    pub fn zero(self) {
        self.pieces(|index, size| {
            store(self.at(index), size, 0);
            true
        });
    }

    /// Calls `visit` with offset and size of each of the aligned words that make up the view, in
    /// order, until it returns `false`; whether it never did.
    #[inline]
    fn pieces(self, mut visit: impl FnMut(usize, Size) -> bool) -> bool {
        let mut index = 0;
        while index < self.len {
            let alignment = (self.start.as_ptr() as usize).wrapping_add(index);
            let size = match self.len - index {
                8.. if alignment.is_multiple_of(8) => Size::DW,
                4.. if alignment.is_multiple_of(4) => Size::W,
                2.. if alignment.is_multiple_of(2) => Size::H,
                _ => Size::B,
            };
            if !visit(index, size) {
                return false;
            }
            index += size.bytes();
        }
        true
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

/// The integer that a load of `size` from these bytes gives.
#[inline]
fn word_of(bytes: &[u8], size: Size) -> u64 {
    let word = match size {
        Size::B => return u64::from(bytes[0]),
        Size::H => u64::from(u16::from_le_bytes([bytes[0], bytes[1]])),
        Size::W => u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        Size::DW => u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
    };
    if cfg!(target_endian = "little") {
        word
    } else {
        word.swap_bytes() >> (64 - 8 * size.bytes())
    }
}

/// The bytes that a store of `size` leaves in memory, in its order.
#[inline]
fn in_memory_order(word: u64, size: Size) -> [u8; 8] {
    if cfg!(target_endian = "little") {
        word.to_le_bytes()
    } else {
        (word << (64 - 8 * size.bytes())).to_be_bytes()
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
    fn copies_and_compares_at_any_alignment() {
        let buffer = SharedBuffer::zeroed(40);
        let source: Vec<u8> = (1..=32).collect();
        for offset in 0..8 {
            for len in 0..=32 {
                buffer.bytes().zero();
                let part = buffer.bytes().slice(offset, len).unwrap();
                part.write(0, &source[..len]).unwrap();
                assert!(part.equals(&source[..len]));
                assert_eq!(part.to_vec(), source[..len]);
                let whole = buffer.bytes().to_vec();
                assert_eq!(whole[offset..offset + len], source[..len]);
                assert_eq!(whole.iter().filter(|&&byte| byte != 0).count(), len);
                assert!(len == 0 || !part.equals(&[&source[..len - 1], &[0]].concat()));
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
