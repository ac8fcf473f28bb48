//! Perf event arrays: one software event for each queue's CPU, whose mapped ring is emptied after
//! each packet. Layout of the ring: `struct perf_event_mmap_page`, then the data
//! (`include/uapi/linux/perf_event.h`).
#![expect(unsafe_code, reason = "system calls")]

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use iom_core::abi::{Event, QueueId};
use iom_core::map::{MapSpec, MapType};

use super::environment_map::EnvironmentMap;
use super::memory::SharedMemory;
use super::observe::addresses;
use super::syscall::{MapFd, SyscallError};

const PAGE: usize = 4096;
/// Bytes of a ring: what one packet's program may send.
const RING_BYTES: usize = 64 * PAGE;
/// Offset of `data_head` and of `data_tail`.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
/// `PERF_RECORD_SAMPLE`
const SAMPLE: u32 = 9;
/// `PERF_TYPE_SOFTWARE`
const TYPE_SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_BPF_OUTPUT`
const BPF_OUTPUT: u64 = 10;
/// `PERF_SAMPLE_RAW`
const SAMPLE_RAW: u64 = 1 << 10;
/// `PERF_FLAG_FD_CLOEXEC`
const CLOEXEC: u64 = 1 << 3;

/// The start of `struct perf_event_attr` (`PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct PerfAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// The perf event arrays of a module.
#[derive(Debug, Default)]
pub(super) struct PerfArrays {
    /// Of each queue, the rings of all arrays. A lock, so that what a packet sent is taken out
    /// before another packet runs.
    queues: Vec<Mutex<Vec<PerfRing>>>,
    /// Place in those by the array's address in the kernel.
    by_address: HashMap<u64, usize>,
}

/// One queue's ring of one array.
#[derive(Debug)]
pub(super) struct PerfRing {
    /// Index of the map in the module.
    map: u32,
    memory: SharedMemory,
    /// Keeps the event: an array holds none of its own.
    _event: OwnedFd,
}

impl PerfArrays {
    /// Opens an event for each array and queue and puts it into the array.
    pub(super) fn open(
        specs: &[MapSpec],
        fds: &[MapFd],
        queues: u32,
    ) -> Result<Self, SyscallError> {
        let arrays: Vec<(u32, &MapFd)> = (0..)
            .zip(specs.iter().zip(fds))
            .filter(|(_, (spec, _))| spec.map_type == MapType::PerfEventArray)
            .map(|(index, (_, fd))| (index, fd))
            .collect();
        if arrays.is_empty() {
            return Ok(Self::default());
        }
        let ring = |queue: u32, &(map, fd): &(u32, &MapFd)| PerfRing::open(map, fd, queue);
        let rings = |queue| arrays.iter().map(|array| ring(queue, array)).collect();
        let queues: Result<Vec<Vec<_>>, _> = (0..queues).map(rings).collect();
        let numbers: Vec<u32> = arrays.iter().map(|(_, fd)| fd.number()).collect();
        Ok(Self {
            queues: queues?.into_iter().map(Mutex::new).collect(),
            by_address: addresses(&numbers)?.into_iter().zip(0..).collect(),
        })
    }

    /// A queue's rings, if the module has perf event arrays.
    pub(super) fn of(&self, queue: QueueId) -> Option<&Mutex<Vec<PerfRing>>> {
        self.queues.get(queue.0 as usize)
    }

    /// Takes out what a packet sent. With the environment's records of the calls, in the order of
    /// these and cut to what was sent; else array by array and with the kernel's padding.
    pub(super) fn drain(
        &self,
        rings: &mut [PerfRing],
        environment: Option<&EnvironmentMap>,
        packet_id: u64,
        events: Option<&mut Vec<Event>>,
    ) -> Result<(), String> {
        let mut samples: Vec<(u32, VecDeque<Vec<u8>>)> = rings
            .iter_mut()
            .map(|ring| (ring.map, ring.drain()))
            .collect();
        let Some(events) = events else {
            return Ok(());
        };
        let mut add = |map, bytes| {
            events.push(Event {
                packet_id,
                map,
                bytes,
            });
        };
        let Some(environment) = environment else {
            for (map, samples) in samples {
                for bytes in samples {
                    add(map, bytes);
                }
            }
            return Ok(());
        };
        for (address, len) in environment
            .events()
            .ok_or("the program sent too many events")?
        {
            let place = self.by_address.get(&address).copied();
            let sample = place.and_then(|place| samples.get_mut(place));
            let (map, waiting) = sample.ok_or("an event of a map that is not the module's")?;
            let mut bytes = waiting
                .pop_front()
                .ok_or("an event is lost: the ring is full")?;
            bytes.truncate(len as usize);
            add(*map, bytes);
        }
        Ok(())
    }
}

impl PerfRing {
    fn open(map: u32, array: &MapFd, queue: u32) -> Result<Self, SyscallError> {
        let event = open_event(queue)?;
        let memory = SharedMemory::map(&event, 0, PAGE + RING_BYTES, true)?;
        let number = event.as_raw_fd() as u32;
        match array.update(&queue.to_le_bytes(), &number.to_le_bytes()) {
            // The array has fewer places than there are queues.
            Err(error) if error.errno() == libc::E2BIG => {}
            result => result?,
        }
        Ok(Self {
            map,
            memory,
            _event: event,
        })
    }

    /// Takes out all samples, with their padding.
    fn drain(&mut self) -> VecDeque<Vec<u8>> {
        let head = self.memory.u64_at(HEAD).load(Acquire);
        let mut tail = self.memory.u64_at(TAIL).load(Relaxed);
        let mut samples = VecDeque::new();
        while tail < head {
            let header = self.copy(tail, 8);
            let word = |bytes: &[u8]| {
                bytes
                    .iter()
                    .rev()
                    .fold(0, |word, byte| word << 8 | u32::from(*byte))
            };
            let (kind, len) = (word(&header[..4]), word(&header[6..8]));
            if kind == SAMPLE {
                let raw = word(&self.copy(tail + 8, 4));
                samples.push_back(self.copy(tail + 12, raw as usize));
            }
            tail += u64::from(len.max(8));
        }
        self.memory.u64_at(TAIL).store(head, Release);
        samples
    }

    /// Bytes at a position of the ring, which may begin anew in between.
    fn copy(&self, position: u64, len: usize) -> Vec<u8> {
        let len = len.min(RING_BYTES);
        let start = position as usize % RING_BYTES;
        let first = len.min(RING_BYTES - start);
        let mut bytes = self.memory.copy(PAGE + start, first);
        bytes.extend(self.memory.copy(PAGE, len - first));
        bytes
    }
}

fn open_event(cpu: u32) -> Result<OwnedFd, SyscallError> {
    let attr = PerfAttr {
        kind: TYPE_SOFTWARE,
        size: size_of::<PerfAttr>() as u32,
        config: BPF_OUTPUT,
        sample_period: 1,
        sample_type: SAMPLE_RAW,
        wakeup_events: 1,
        ..PerfAttr::default()
    };
    // SAFETY: the attribute is live and says its own size; the rest are numbers.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            -1_i64,
            i64::from(cpu),
            -1_i64,
            CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(SyscallError::last(format!(
            "open a perf event on CPU {cpu}"
        )));
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
