//! A ring buffer's memory, mapped: what programs submitted, taken out after each packet.
//! Layout: a page with the consumer's position, one with the producer's, then the data twice in a
//! row, so that a record never wraps (`kernel/bpf/ringbuf.c`).
#![expect(unsafe_code, reason = "page size")]

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use iom_core::abi::Event;

use super::memory::SharedMemory;
use super::syscall::{MapFd, SyscallError};

/// Set in a record's length while the program fills it.
const BUSY: u32 = 1 << 31;
/// Set in a discarded record's length.
const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header: length and page offset.
const HEADER_BYTES: usize = 8;

/// The consumer of one ring buffer.
#[derive(Debug)]
pub(super) struct Ring {
    map: u32,
    consumer: SharedMemory,
    producer: SharedMemory,
    data: usize,
    mask: u64,
}

impl Ring {
    /// Maps the ring buffer that is map `map` of the module.
    pub(super) fn open(map: u32, fd: &MapFd, bytes: usize) -> Result<Self, SyscallError> {
        let page = page_bytes();
        Ok(Self {
            map,
            consumer: SharedMemory::map(fd.descriptor(), 0, page, true)?,
            producer: SharedMemory::map(fd.descriptor(), page, page + 2 * bytes, false)?,
            data: page,
            mask: bytes as u64 - 1,
        })
    }

    /// Takes out all records that are complete, into `events` if somebody looks.
    pub(super) fn drain(&mut self, packet_id: u64, mut events: Option<&mut Vec<Event>>) {
        let produced = self.producer.u64_at(0).load(Acquire);
        let consumer = self.consumer.u64_at(0);
        let mut position = consumer.load(Relaxed);
        while position < produced {
            let place = self.data + (position & self.mask) as usize;
            let header = self.producer.u32_at(place).load(Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !(BUSY | DISCARD)) as usize;
            if header & DISCARD == 0
                && let Some(events) = events.as_deref_mut()
            {
                events.push(Event {
                    packet_id,
                    map: self.map,
                    bytes: self.producer.copy(place + HEADER_BYTES, len),
                });
            }
            position += (HEADER_BYTES + len).next_multiple_of(8) as u64;
        }
        consumer.store(position, Release);
    }
}

fn page_bytes() -> usize {
    // SAFETY: no pointers are involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
