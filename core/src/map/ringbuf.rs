//! Ring buffers: records that programs write and user space takes out, in the kernel's layout
//! (`kernel/bpf/ringbuf.c`): an 8-byte header, whose first word holds the length and two flags,
//! then the sample, rounded up to 8 bytes.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Errno, MapSpec};
use crate::memory::{SharedBuffer, SharedBytes};

/// `BPF_RB_NO_WAKEUP`
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`
const FORCE_WAKEUP: u64 = 2;
/// `BPF_RINGBUF_BUSY_BIT`
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`
const DISCARD: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`
const HEADER: u64 = 8;
/// Longest sample (`RINGBUF_MAX_RECORD_SZ`).
const SAMPLE_MAX: u64 = (u32::MAX / 4) as u64;

/// A ring buffer.
#[derive(Debug)]
pub struct Ringbuf {
    size: u64,
    /// Twice `size`: a record that starts before the end goes on behind it, where the kernel maps
    /// the same pages again. Each record is written and read at one place, so that nothing needs
    /// to be mapped twice here.
    data: SharedBuffer,
    /// Where the next record will be, counted from the start of time.
    producer: AtomicU64,
    /// Where the next record to take out is.
    consumer: AtomicU64,
    /// Held while a record is reserved: position of the first record that may still be busy.
    pending: Mutex<u64>,
    /// Held while records are taken out.
    draining: Mutex<()>,
}

impl Ringbuf {
    /// An empty ring of `max_entries` bytes.
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let size = u64::from(spec.max_entries);
        Ok(Self {
            size,
            data: SharedBuffer::try_zeroed(spec.max_entries as usize * 2).ok_or(Errno::ENOMEM)?,
            producer: AtomicU64::new(0),
            consumer: AtomicU64::new(0),
            pending: Mutex::new(0),
            draining: Mutex::new(()),
        })
    }

    /// `bpf_ringbuf_reserve`: a record that stays hidden, with all that comes after it, until it
    /// is committed. `None` if there is no room or flags are set.
    pub fn reserve(&self, size: u64, flags: u64) -> Option<SharedBytes<'_>> {
        if flags != 0 || size > SAMPLE_MAX || record_len(size) > self.size {
            return None;
        }
        let mut pending = lock(&self.pending);
        let start = self.producer.load(Relaxed);
        let end = start + record_len(size);
        while *pending < start {
            let header = self.header(*pending);
            if header & BUSY != 0 {
                break;
            }
            *pending += record_len(u64::from(header & !DISCARD));
        }
        // One byte always stays free.
        let used_from = self.consumer.load(Acquire).min(*pending);
        if end - used_from >= self.size {
            return None;
        }
        let offset = (start & (self.size - 1)) as usize;
        let word = self.data.bytes().atomic_u32(offset)?;
        word.store(size as u32 | BUSY, Relaxed);
        // The kernel keeps the distance to the ring's own page here.
        let second = self.data.bytes().atomic_u32(offset + 4)?;
        second.store((offset >> 12) as u32, Relaxed);
        self.producer.store(end, Release);
        self.data
            .bytes()
            .slice(offset + HEADER as usize, size as usize)
    }

    /// `bpf_ringbuf_submit` of the record whose sample is at this address. `None` if there is no
    /// such reserved record.
    pub fn submit(&self, sample: u64) -> Option<()> {
        self.commit(sample, 0)
    }

    /// `bpf_ringbuf_discard`: the record takes its room, but user space never sees it.
    pub fn discard(&self, sample: u64) -> Option<()> {
        self.commit(sample, DISCARD)
    }

    fn commit(&self, sample: u64, discard: u32) -> Option<()> {
        let offset = sample
            .checked_sub(self.data.bytes().address())?
            .checked_sub(HEADER)?;
        let word = self
            .data
            .bytes()
            .atomic_u32(usize::try_from(offset).ok()?)?;
        let len = word.load(Relaxed);
        if len & BUSY == 0 || offset >= self.size {
            return None;
        }
        word.store(len & !BUSY | discard, Release);
        Some(())
    }

    /// `bpf_ringbuf_output`: reserves, copies and submits.
    pub fn output(&self, sample: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
            return Err(Errno::EINVAL);
        }
        let record = self.reserve(sample.len() as u64, 0).ok_or(Errno::EAGAIN)?;
        record.write(0, sample).ok_or(Errno::EINVAL)?;
        self.submit(record.address()).ok_or(Errno::EINVAL)
    }

    /// `bpf_ringbuf_query`: bytes not taken out yet, size, consumer or producer position; zero for
    /// any other question.
    pub fn query(&self, flags: u64) -> u64 {
        let consumer = self.consumer.load(Acquire);
        let producer = self.producer.load(Acquire);
        match flags {
            0 => producer - consumer,
            1 => self.size,
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }

    /// Takes out the samples that were submitted, in order, up to the first that is still
    /// reserved.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        let _draining = lock(&self.draining);
        let mut samples = Vec::new();
        let mut position = self.consumer.load(Relaxed);
        while position < self.producer.load(Acquire) {
            let header = self.header(position);
            if header & BUSY != 0 {
                break;
            }
            let len = header & !DISCARD;
            if header & DISCARD == 0 {
                let offset = (position & (self.size - 1)) + HEADER;
                let sample = self.data.bytes().slice(offset as usize, len as usize);
                samples.extend(sample.map(SharedBytes::to_vec));
            }
            position += record_len(u64::from(len));
            self.consumer.store(position, Release);
        }
        samples
    }

    fn header(&self, position: u64) -> u32 {
        let offset = (position & (self.size - 1)) as usize;
        let word = self.data.bytes().atomic_u32(offset);
        word.expect("records start inside the ring, aligned")
            .load(Acquire)
    }
}

/// Bytes that a record with a sample of this size takes.
const fn record_len(size: u64) -> u64 {
    (size + HEADER).next_multiple_of(8)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::map::MapType;

    fn ring(size: u32) -> Ringbuf {
        Ringbuf::new(&MapSpec::new("r", MapType::Ringbuf, 0, 0, size)).unwrap()
    }

    #[test]
    fn records_come_out_in_order_of_reservation() {
        let ring = ring(4096);
        let first = ring.reserve(3, 0).unwrap();
        ring.output(b"second", 0).unwrap();
        assert_eq!(ring.drain(), Vec::<Vec<u8>>::new());
        first.write(0, b"1st").unwrap();
        ring.submit(first.address()).unwrap();
        assert_eq!(ring.submit(first.address()), None);
        assert_eq!(ring.drain(), [b"1st".to_vec(), b"second".to_vec()]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|what| ring.query(what)),
            [0, 4096, 32, 32, 0]
        );
    }

    #[test]
    fn discarded_records_take_room_only() {
        let ring = ring(4096);
        let record = ring.reserve(100, 0).unwrap();
        ring.discard(record.address()).unwrap();
        assert_eq!(ring.query(0), 112);
        assert!(ring.drain().is_empty());
        assert_eq!(ring.query(0), 0);
    }

    #[test]
    fn one_byte_stays_free() {
        let ring = ring(4096);
        assert!(ring.reserve(4096 - 8, 0).is_none());
        assert!(ring.reserve(4096 - 16, 1).is_none());
        assert!(ring.reserve(4096 - 16, 0).is_some());
        assert_eq!(ring.output(&[], 0), Err(Errno::EAGAIN));
        assert_eq!(ring.output(&[], 4), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            samples in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..1500), 0..100,
            ),
        ) {
            let ring = ring(4096);
            let mut waiting: Vec<Vec<u8>> = Vec::new();
            let mut used = 0;
            for sample in samples {
                let len = record_len(sample.len() as u64);
                let result = ring.output(&sample, 0);
                prop_assert_eq!(result.is_ok(), used + len < 4096);
                if result.is_ok() {
                    waiting.push(sample);
                    used += len;
                } else {
                    prop_assert_eq!(ring.drain(), std::mem::take(&mut waiting));
                    used = 0;
                }
            }
            prop_assert_eq!(ring.drain(), waiting);
        }
    }
}
