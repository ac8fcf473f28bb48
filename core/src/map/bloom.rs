//! Bloom filters: bits set by hashes of values (`kernel/bpf/bloom_filter.c`), with the kernel's hash
//! function (`include/linux/jhash.h`), so that with `BPF_F_ZERO_SEED` false positives are the same.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::{ANY, Errno, MapSpec};
use crate::memory::SharedBuffer;

/// Hash functions where the declaration says 0.
const DEFAULT_HASHES: u32 = 5;
/// `JHASH_INITVAL`
const JHASH_START: u32 = 0xdead_beef;

/// Storage of a bloom filter.
#[derive(Debug)]
pub(super) struct Bloom {
    hashes: u32,
    mask: u32,
    bits: SharedBuffer,
    /// What was put in before the first packet: bits do not tell their values, and other backends
    /// want these.
    seeds: Mutex<Vec<Vec<u8>>>,
}

impl Bloom {
    /// An empty filter. Linux seeds the hashes at random unless told otherwise; here the seed
    /// is always 0, so that runs repeat.
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let hashes = match spec.extra as u32 {
            0 => DEFAULT_HASHES,
            hashes => hashes,
        };
        let mask = mask(spec.max_entries, hashes);
        let bytes = (u64::from(mask) + 1).div_ceil(8) as usize;
        Ok(Self {
            hashes,
            mask,
            bits: SharedBuffer::try_zeroed(bytes).ok_or(Errno::ENOMEM)?,
            seeds: Mutex::default(),
        })
    }

    /// Adds a value.
    pub(super) fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != ANY {
            return Err(Errno::EINVAL);
        }
        for index in 0..self.hashes {
            let (word, bit) = self.place(value, index);
            word.fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    /// Adds a value that the map has before the first packet.
    pub(super) fn seed(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        self.push(value, flags)?;
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        seeds.push(value.to_vec());
        Ok(())
    }

    /// The values of [`Bloom::seed`].
    pub(super) fn seeds(&self) -> Vec<Vec<u8>> {
        let seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        seeds.clone()
    }

    /// Whether a value may be in.
    pub(super) fn peek(&self, value: &[u8]) -> Result<(), Errno> {
        let mut places = (0..self.hashes).map(|index| self.place(value, index));
        if places.all(|(word, bit)| word.load(Relaxed) & bit != 0) {
            Ok(())
        } else {
            Err(Errno::ENOENT)
        }
    }

    /// Forgets every value.
    pub(super) fn clear(&self) {
        self.bits.bytes().zero();
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        seeds.clear();
    }

    /// The word and the bit in it that a hash function gives to a value.
    fn place(&self, value: &[u8], index: u32) -> (&AtomicU64, u64) {
        let bit = jhash(value, index) & self.mask;
        let word = self.bits.bytes().atomic_u64(bit as usize / 64 * 8);
        let word = word.expect("the mask keeps hashes inside");
        (word, 1 << (bit % 64))
    }
}

/// Number of bits less one: about 7/5 bits for each value and hash function, a power of two.
fn mask(max_entries: u32, hashes: u32) -> u32 {
    let bits = max_entries
        .checked_mul(hashes)
        .and_then(|bits| (bits / 5).checked_mul(7))
        .filter(|bits| *bits <= 1 << 31);
    bits.map_or(u32::MAX, |bits| bits.max(64).next_power_of_two() - 1)
}

/// Bob Jenkins' lookup3 of bytes, 12 at a time. Over whole words it is the kernel's `jhash2` too.
fn jhash(bytes: &[u8], seed: u32) -> u32 {
    let start = JHASH_START
        .wrapping_add(bytes.len() as u32)
        .wrapping_add(seed);
    let mut state = [start; 3];
    let mut rest = bytes;
    while rest.len() > 12 {
        add(&mut state, &rest[..12]);
        mix(&mut state);
        rest = &rest[12..];
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    state[2]
}

/// Adds up to 12 bytes, little-endian, to the three words.
fn add(state: &mut [u32; 3], bytes: &[u8]) {
    for (word, part) in state.iter_mut().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        whole[..part.len()].copy_from_slice(part);
        *word = word.wrapping_add(u32::from_le_bytes(whole));
    }
}

/// `__jhash_mix`
fn mix([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: &mut u32, z: &mut u32, rotation| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(rotation);
        *z = z.wrapping_add(*y);
    };
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
}

/// `__jhash_final`
fn finish([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: &u32, rotation| {
        *x = (*x ^ *y).wrapping_sub(y.rotate_left(rotation));
    };
    step(c, b, 14);
    step(a, c, 11);
    step(b, a, 25);
    step(c, b, 16);
    step(a, c, 4);
    step(b, a, 14);
    step(c, b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::MapType;

    /// Values of the reference program of lookup3 (`hashlittle` gives `c` with start 0xdeadbeef).
    #[test]
    fn hashes_are_lookup3() {
        assert_eq!(jhash(b"", 0), 0xdead_beef);
        assert_eq!(jhash(b"", 0xdead_beef), 0xbd5b_7dde);
        assert_eq!(jhash(b"Four score and seven years ago", 0), 0x1777_0551);
        assert_eq!(jhash(b"Four score and seven years ago", 1), 0xcd62_8161);
    }

    #[test]
    fn sizes_are_the_kernels() {
        assert_eq!(mask(1, 1), 63);
        assert_eq!(mask(64, 1), 127);
        assert_eq!(mask(1000, 5), 8191);
        assert_eq!(mask(u32::MAX, 15), u32::MAX);
        assert_eq!(mask(1 << 31, 1), u32::MAX);
    }

    #[test]
    fn values_that_are_in_are_found() {
        let spec = MapSpec::new("b", MapType::BloomFilter, 0, 7, 100);
        let filter = Bloom::new(&spec).unwrap();
        for value in 0..100_u8 {
            filter.push(&[value; 7], 0).unwrap();
        }
        assert!((0..100).all(|value| filter.peek(&[value; 7]).is_ok()));
        let false_positives = (100..=255_u8).filter(|value| filter.peek(&[*value; 7]).is_ok());
        assert!(false_positives.count() < 20);
        assert_eq!(filter.push(&[0; 7], 2), Err(Errno::EINVAL));
        filter.clear();
        assert_eq!(filter.peek(&[1; 7]), Err(Errno::ENOENT));
    }
}
