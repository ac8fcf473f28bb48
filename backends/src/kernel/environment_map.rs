//! The environment map: an array of one element that the harness and the rewritten programs share.
//! The harness writes time and the state of the random numbers before each packet, the programs
//! leave a record of each redirect call. Writing it through its mapping costs nanoseconds.

use std::sync::atomic::Ordering::Relaxed;

use iom_core::abi::{Environment, Frame};
use iom_core::map::{MapFlags, MapType};

use super::memory::SharedMemory;
use super::syscall::{MapCreate, MapFd, SyscallError};

/// Offset of what `ktime_get_ns` and its kin give.
pub(super) const KTIME: i16 = 0;
/// Offset of what `jiffies64` gives.
pub(super) const JIFFIES: i16 = 8;
/// Offset of the state of the random numbers.
pub(super) const RANDOM: i16 = 16;
/// Offset of the number of redirect calls.
pub(super) const CALLS: i16 = 24;
/// Offset of the records of the calls, a ring.
pub(super) const RECORDS: i16 = 32;
/// Records in the ring, a power of two.
pub(super) const RECORD_COUNT: i32 = 64;
/// Binary logarithm of a record's bytes.
pub(super) const RECORD_SHIFT: i32 = 5;
/// Offset in a record of the map's address in the kernel; 0 for `redirect`.
pub(super) const RECORD_MAP: i16 = 0;
/// Offset in a record of the key or interface index.
pub(super) const RECORD_KEY: i16 = 8;
/// Offset in a record of the flags.
pub(super) const RECORD_FLAGS: i16 = 16;
/// Offset in a record of what the call returned.
pub(super) const RECORD_RESULT: i16 = 24;

/// Offset of the number of events that were sent to perf event arrays.
pub(super) const EVENTS: i16 = RECORDS + ((RECORD_COUNT as i16) << RECORD_SHIFT);
/// Offset of the address of the array that an event is being sent to.
pub(super) const EVENT_MAP: i16 = EVENTS + 8;
/// Offset of that call's flags.
pub(super) const EVENT_FLAGS: i16 = EVENTS + 16;
/// Offset of the bytes of its data.
pub(super) const EVENT_BYTES: i16 = EVENTS + 24;
/// Offset of the records of events that were sent: address of the array, bytes.
pub(super) const EVENT_RECORDS: i16 = EVENTS + 32;
/// Records of events at most, a power of two.
pub(super) const EVENT_COUNT: i32 = 256;
/// Binary logarithm of such a record's bytes.
pub(super) const EVENT_SHIFT: i32 = 4;

/// Offset of the receive hash.
pub(super) const RX_HASH: i16 = EVENT_RECORDS + ((EVENT_COUNT as i16) << EVENT_SHIFT);
/// Offset of what the hash is over.
pub(super) const RX_HASH_TYPE: i16 = RX_HASH + 8;
/// Offset of the time when the packet was received.
pub(super) const RX_TIME: i16 = RX_HASH + 16;
/// Offset of the VLAN tag that the device took off: protocol as on the wire and, above it, the tag
/// control information; 0 for none.
pub(super) const RX_VLAN: i16 = RX_HASH + 24;

/// Offset of a SYN cookie while it is made.
pub(super) const COOKIE: i16 = RX_HASH + 32;

const BYTES: usize = COOKIE as usize + 8;

/// One `redirect` or `redirect_map` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RedirectCall {
    /// Address of the map in the kernel; 0 for `redirect`.
    pub(super) map: u64,
    /// Key or interface index, as given.
    pub(super) key: u64,
    /// Flags.
    pub(super) flags: u64,
    /// What the call returned.
    pub(super) result: u64,
}

/// The map and its mapping.
#[derive(Debug)]
pub(super) struct EnvironmentMap {
    map: MapFd,
    memory: SharedMemory,
}

impl EnvironmentMap {
    /// Creates the map.
    pub(super) fn create() -> Result<Self, SyscallError> {
        let map = MapFd::create(&MapCreate {
            name: "iom_environment",
            map_type: MapType::Array.number(),
            key_size: 4,
            value_size: BYTES as u32,
            max_entries: 1,
            flags: MapFlags::MMAPABLE,
            lookup_bytes: BYTES,
            ..MapCreate::default()
        })?;
        let memory = SharedMemory::map(map.descriptor(), 0, BYTES, true)?;
        Ok(Self { map, memory })
    }

    /// The number to put into programs.
    pub(super) fn number(&self) -> u32 {
        self.map.number()
    }

    /// Prepares the next packet.
    pub(super) fn begin(&self, environment: &Environment, frame: &Frame) {
        let set = |offset: i16, value| self.at(offset as usize).store(value, Relaxed);
        set(KTIME, frame.ktime_ns);
        set(JIFFIES, Environment::jiffies(frame.ktime_ns));
        set(RANDOM, environment.random(frame.packet_id).state);
        set(CALLS, 0);
        set(EVENTS, 0);
        let receive = &frame.receive;
        let protocol = receive.vlan_protocol.swap_bytes();
        let tci = if protocol == 0 { 0 } else { receive.vlan_tci };
        set(RX_HASH, receive.hash.into());
        set(RX_HASH_TYPE, receive.hash_type.into());
        set(RX_TIME, frame.time_ns);
        set(RX_VLAN, u64::from(protocol) | u64::from(tci) << 16);
    }

    /// How many redirect calls the last packet made.
    pub(super) fn redirect_count(&self) -> u64 {
        self.at(CALLS as usize).load(Relaxed)
    }

    /// The last packet's redirect calls, oldest first, as far as the ring holds them.
    pub(super) fn redirect_calls(&self) -> impl Iterator<Item = RedirectCall> {
        let count = self.redirect_count();
        let oldest = count.saturating_sub(RECORD_COUNT as u64);
        (oldest..count).map(|call| {
            let slot = (call as usize) & (RECORD_COUNT as usize - 1);
            let record = RECORDS as usize + (slot << RECORD_SHIFT);
            let field = |offset: i16| self.at(record + offset as usize).load(Relaxed);
            RedirectCall {
                map: field(RECORD_MAP),
                key: field(RECORD_KEY),
                flags: field(RECORD_FLAGS),
                result: field(RECORD_RESULT),
            }
        })
    }

    /// The events that the last packet sent to perf event arrays: the array's address in the
    /// kernel and the event's bytes. `None` if there are more than were recorded.
    pub(super) fn events(&self) -> Option<impl Iterator<Item = (u64, u64)>> {
        let count = self.at(EVENTS as usize).load(Relaxed) as usize;
        let record = |number: usize| {
            let place = EVENT_RECORDS as usize + (number << EVENT_SHIFT);
            let field = |offset| self.at(place + offset).load(Relaxed);
            (field(0), field(8))
        };
        (count <= EVENT_COUNT as usize).then(|| (0..count).map(record))
    }

    fn at(&self, offset: usize) -> &std::sync::atomic::AtomicU64 {
        self.memory.u64_at(offset)
    }
}
