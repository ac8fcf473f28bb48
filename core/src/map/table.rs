//! The index of a hash map: an open-addressed table from hash to element number.
//!
//! Readers take no lock. A slot is one 64-bit word, published with release order after the element
//! it names. Deletion leaves a tombstone, or an empty slot where nothing lies behind it. The table
//! is rebuilt into another one when it fills up; a reader that found nothing looks again if that
//! happened meanwhile. Elements themselves never move.

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use super::Errno;
use crate::memory::{SharedBuffer, SharedBytes};

/// Slots of the smallest table, as a power of two.
const FIRST_TABLE_BITS: u32 = 6;
/// Table sizes: up to twice the 2^31 elements that a map may have, and one to spare.
const SIZES: usize = 28;

const EMPTY: u64 = 0;
const TOMBSTONE: u64 = 1;
/// Slot words below it name no element.
const FIRST_ELEMENT: u64 = 2;

/// Table of elements by hash.
#[derive(Debug)]
pub(super) struct Table {
    /// Two tables of each size: a rebuild that does not grow goes back and forth between them.
    tables: [[OnceLock<SharedBuffer>; 2]; SIZES],
    /// Generation (upper 56 bits), size (7 bits) and which of the two (1 bit).
    current: AtomicU64,
}

/// How full the current table is; part of what the map's writer lock protects.
#[derive(Debug, Default)]
pub(super) struct Fill {
    /// Slots with an element.
    live: usize,
    /// Slots with a tombstone.
    tombstones: usize,
}

impl Fill {
    /// Elements in the table.
    pub(super) const fn live(&self) -> usize {
        self.live
    }
}

/// An occupied slot, as its finder saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Element number.
    pub(super) element: u32,
    place: usize,
}

impl Table {
    /// An empty table.
    pub(super) fn new() -> Result<Self, Errno> {
        let table = Self {
            tables: [const { [const { OnceLock::new() }; 2] }; SIZES],
            current: AtomicU64::new(0),
        };
        table.allocate(0)?;
        Ok(table)
    }

    /// The element with this hash of which `matches` says that it has the key.
    #[inline]
    pub(super) fn find(&self, hash: u64, matches: impl Fn(u32) -> bool) -> Option<Found> {
        loop {
            let current = self.current.load(Acquire);
            let found = probe(self.slots(current)?, hash, &matches);
            if found.is_some() || self.current.load(Acquire) == current {
                return found;
            }
        }
    }

    /// Adds an element that is not in the table, once it holds its key and value. Callers hold
    /// the writer lock.
    pub(super) fn insert(
        &self,
        fill: &mut Fill,
        hash: u64,
        element: u32,
        hash_of: impl Fn(u32) -> u64,
    ) -> Result<(), Errno> {
        self.make_room(fill, hash_of)?;
        let slots = self
            .slots(self.current.load(Relaxed))
            .ok_or(Errno::ENOMEM)?;
        let mask = slots.len() / 8 - 1;
        let mut place = hash as usize & mask;
        loop {
            let slot = slot(slots, place);
            let word = slot.load(Relaxed);
            if word < FIRST_ELEMENT {
                fill.live += 1;
                fill.tombstones -= usize::from(word == TOMBSTONE);
                slot.store(slot_word(hash, element), Release);
                return Ok(());
            }
            place = (place + 1) & mask;
        }
    }

    /// Puts another element with the same key in the place of a found one. Callers hold the
    /// writer lock and have held it since they found it.
    pub(super) fn replace(&self, found: Found, hash: u64, element: u32) {
        if let Some(slots) = self.slots(self.current.load(Relaxed)) {
            slot(slots, found.place).store(slot_word(hash, element), Release);
            fence(Release);
        }
    }

    /// Takes a found element out. Callers hold the writer lock and have held it since they found
    /// it.
    pub(super) fn remove(&self, fill: &mut Fill, found: Found) {
        let Some(slots) = self.slots(self.current.load(Relaxed)) else {
            return;
        };
        let mask = slots.len() / 8 - 1;
        fill.live -= 1;
        let mut place = found.place;
        if slot(slots, (place + 1) & mask).load(Relaxed) == EMPTY {
            // No probe goes on behind this slot, nor behind tombstones right before it.
            slot(slots, place).store(EMPTY, Release);
            loop {
                place = place.wrapping_sub(1) & mask;
                if slot(slots, place).load(Relaxed) != TOMBSTONE {
                    break;
                }
                slot(slots, place).store(EMPTY, Release);
                fill.tombstones -= 1;
            }
        } else {
            slot(slots, place).store(TOMBSTONE, Release);
            fill.tombstones += 1;
        }
        // Whoever sees the element's next key sees that this slot changed.
        fence(Release);
    }

    /// Takes all elements out. Callers hold the writer lock.
    pub(super) fn clear(&self, fill: &mut Fill) {
        if let Some(slots) = self.slots(self.current.load(Relaxed)) {
            for place in 0..slots.len() / 8 {
                slot(slots, place).store(EMPTY, Release);
            }
        }
        *fill = Fill::default();
        fence(Release);
    }

    /// All elements, in the table's order. Callers hold the writer lock.
    pub(super) fn elements(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots(self.current.load(Relaxed));
        slots.into_iter().flat_map(|slots| {
            (0..slots.len() / 8)
                .map(move |place| slot(slots, place).load(Relaxed))
                .filter(|&word| word >= FIRST_ELEMENT)
                .map(element_of)
        })
    }

    /// Rebuilds the table where one more element would fill it to more than three quarters.
    fn make_room(&self, fill: &mut Fill, hash_of: impl Fn(u32) -> u64) -> Result<(), Errno> {
        let current = self.current.load(Relaxed);
        let size = size_of(current);
        let capacity = 1_usize << (FIRST_TABLE_BITS as usize + size);
        if (fill.live + fill.tombstones + 1) * 4 <= capacity * 3 {
            return Ok(());
        }
        let grow = (fill.live + 1) * 2 > capacity;
        let next_id = if grow {
            (size as u64 + 1) << 1
        } else {
            (current & 0xff) ^ 1
        };
        let next = ((current >> 8) + 1) << 8 | next_id;
        self.allocate(next)?;
        let slots = self.slots(next).ok_or(Errno::ENOMEM)?;
        slots.zero();
        let mask = slots.len() / 8 - 1;
        for element in self.elements() {
            let hash = hash_of(element);
            let mut place = hash as usize & mask;
            while slot(slots, place).load(Relaxed) != EMPTY {
                place = (place + 1) & mask;
            }
            slot(slots, place).store(slot_word(hash, element), Release);
        }
        fill.tombstones = 0;
        self.current.store(next, Release);
        Ok(())
    }

    fn slots(&self, current: u64) -> Option<SharedBytes<'_>> {
        let table = self.tables[size_of(current)][(current & 1) as usize].get()?;
        Some(table.bytes())
    }

    fn allocate(&self, current: u64) -> Result<(), Errno> {
        let size = size_of(current);
        if size >= SIZES {
            return Err(Errno::ENOMEM);
        }
        let table = &self.tables[size][(current & 1) as usize];
        if table.get().is_none() {
            let bytes = 8_usize << (FIRST_TABLE_BITS as usize + size);
            let _ = table.set(SharedBuffer::try_zeroed(bytes).ok_or(Errno::ENOMEM)?);
        }
        Ok(())
    }
}

/// Goes from the hash's own slot to the first empty one.
#[inline]
fn probe(slots: SharedBytes<'_>, hash: u64, matches: &impl Fn(u32) -> bool) -> Option<Found> {
    let mask = slots.len() / 8 - 1;
    let mut place = hash as usize & mask;
    // The table always has an empty slot (`Table::make_room`).
    loop {
        let slot = slots.atomic_u64(place * 8)?;
        let word = slot.load(Acquire);
        if word == EMPTY {
            return None;
        }
        if word >= FIRST_ELEMENT && word >> 32 == hash >> 32 {
            let element = element_of(word);
            let found = matches(element);
            // The element may have been given to another key while its key was compared.
            fence(Acquire);
            if slot.load(Relaxed) != word {
                continue;
            }
            if found {
                return Some(Found { element, place });
            }
        }
        place = (place + 1) & mask;
    }
}

/// The slot at `place`, which is inside: places are masked by the table's own size.
fn slot(slots: SharedBytes<'_>, place: usize) -> &AtomicU64 {
    slots.atomic_u64(place * 8).expect("place inside the table")
}

const fn size_of(current: u64) -> usize {
    ((current & 0xff) >> 1) as usize
}

/// Upper half of the hash, and the element's number shifted past the two special words.
const fn slot_word(hash: u64, element: u32) -> u64 {
    (hash >> 32 << 32) | (element as u64 + FIRST_ELEMENT)
}

const fn element_of(word: u64) -> u32 {
    (word as u32).wrapping_sub(FIRST_ELEMENT as u32)
}

/// Hash of a key: multiplication to 128 bits, folded, eight bytes at a time.
#[inline]
pub(super) fn hash_key(key: &[u8]) -> u64 {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
        (product as u64) ^ (product >> 64) as u64
    };
    let (words, rest) = key.as_chunks::<8>();
    let mut state = words.iter().fold(SEED ^ key.len() as u64, |state, word| {
        fold(state, u64::from_le_bytes(*word))
    });
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state, u64::from_le_bytes(word));
    }
    fold(state, SEED)
}
