//! All memory that a program can reach, behind guest addresses: every access is checked against
//! its region, the region's bounds and what the region allows.

use std::borrow::Cow;
use std::sync::atomic::Ordering::SeqCst;

use iom_core::abi::{Access, Fragment, Frame, TrapKind};
use iom_core::isa::{AtomicOp, Size};
use iom_core::map::{Map, MapSet, Ringbuf};
use iom_core::memory::SharedBytes;
use iom_core::module::ProgramType;

use super::address::{self, Kind};
use super::context;
use super::map_object::map_object;

/// Bytes of one function's stack: `MAX_BPF_STACK`.
pub(super) const STACK_BYTES: usize = 512;
/// Call depth at most: `MAX_CALL_FRAMES`.
pub(super) const FRAMES_MAX: usize = 8;
/// How often a worker tries to take a lock, letting others run in between.
const LOCK_TRIES: u32 = 1 << 20;
/// How many of the latest values are looked through before one gets a new number.
const RECENT_VALUES: usize = 8;

/// A fault; boxed, so that results of accesses travel in registers.
pub(super) type Fault = Box<TrapKind>;

/// A map value that the program holds a pointer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'m> {
    bytes: SharedBytes<'m>,
    map: &'m Map,
}

/// A ring-buffer record that the program has reserved.
#[derive(Clone, Copy, Debug)]
struct Record<'m> {
    bytes: SharedBytes<'m>,
    ring: &'m Ringbuf,
    /// Not yet given up.
    live: bool,
}

/// Memory of one worker. Values and records that a program gets pointers to are numbered in the
/// order of their first appearance in a packet; the first numbers are global data.
#[derive(Debug)]
pub(super) struct Memory<'m> {
    maps: &'m MapSet,
    stack: Box<[u8; FRAMES_MAX * STACK_BYTES]>,
    /// Functions on the stack now, less one.
    depth: usize,
    values: Vec<Value<'m>>,
    global_values: usize,
    records: Vec<Record<'m>>,
    /// The lock that the program holds; one at most.
    lock: Option<SharedBytes<'m>>,
    /// The key that the callback at each call depth looks at.
    keys: [Vec<u8>; FRAMES_MAX],
    /// Memory of a `raw` program.
    pub(super) raw: Vec<u8>,
}

impl<'m> Memory<'m> {
    /// Memory with these values as global data.
    pub(super) fn new(
        maps: &'m MapSet,
        global_data: Vec<(SharedBytes<'m>, &'m Map)>,
        raw: Vec<u8>,
    ) -> Self {
        let values: Vec<_> = global_data
            .into_iter()
            .map(|(bytes, map)| Value { bytes, map })
            .collect();
        Self {
            maps,
            stack: Box::new([0; FRAMES_MAX * STACK_BYTES]),
            depth: 0,
            global_values: values.len(),
            values,
            records: Vec::new(),
            lock: None,
            keys: std::array::from_fn(|_| Vec::new()),
            raw,
        }
    }

    /// Forgets what the last packet's program held.
    pub(super) fn start_packet(&mut self) {
        self.values.truncate(self.global_values);
        self.records.clear();
    }

    /// Makes the stack of the function at this depth: zeroed, so that a result never depends on
    /// what ran before. Only the 512 bytes of the function that starts are touched.
    pub(super) fn enter(&mut self, depth: usize) {
        self.depth = depth;
        self.stack[depth * STACK_BYTES..][..STACK_BYTES].fill(0);
    }

    /// Goes back to the function at this depth.
    pub(super) fn leave_to(&mut self, depth: usize) {
        self.depth = depth;
    }

    /// The address of a map value that a lookup gave.
    pub(super) fn value_address(&mut self, bytes: SharedBytes<'m>, map: &'m Map) -> u64 {
        let recent = self.values.len().saturating_sub(RECENT_VALUES);
        let known = self.values[recent..].iter().position(|value| {
            value.bytes.address() == bytes.address() && std::ptr::eq(value.map, map)
        });
        let number = known.map_or(self.values.len(), |position| recent + position);
        if number >= address::NUMBERS {
            return 0;
        }
        if known.is_none() {
            self.values.push(Value { bytes, map });
        }
        address::address(Kind::Value, number as u32, 0)
    }

    /// Takes the spin lock in a map value, once no other worker holds it. `None` if there is no
    /// such lock, the program holds one, or this one never becomes free.
    pub(super) fn lock(&mut self, at: u64) -> Option<()> {
        let word = self.lock_word(at).filter(|_| self.lock.is_none())?;
        let lock = word.atomic_u32(0)?;
        for _ in 0..LOCK_TRIES {
            if lock.compare_exchange(0, 1, SeqCst, SeqCst).is_ok() {
                self.lock = Some(word);
                return Some(());
            }
            std::thread::yield_now();
        }
        None
    }

    /// Gives the lock back. `None` if it is not the one that the program holds.
    pub(super) fn unlock(&mut self, at: u64) -> Option<()> {
        let word = self.lock_word(at)?;
        self.lock.filter(|held| held.address() == word.address())?;
        self.release_lock();
        Some(())
    }

    /// Gives back what lock the program holds, so that it blocks nobody.
    pub(super) fn release_lock(&mut self) {
        if let Some(lock) = self.lock.take().and_then(|word| word.atomic_u32(0)) {
            lock.store(0, SeqCst);
        }
    }

    fn lock_word(&self, at: u64) -> Option<SharedBytes<'m>> {
        if address::kind(at) != Some(Kind::Value) {
            return None;
        }
        self.value(at, Access::Write)?.slice(address::offset(at), 4)
    }

    /// The address of the key that the callback at this depth looks at.
    pub(super) fn key_address(&mut self, depth: usize, key: Vec<u8>) -> u64 {
        self.keys[depth] = key;
        address::address(Kind::Key, depth as u32, 0)
    }

    /// The address of a record that was reserved.
    pub(super) fn record_address(&mut self, bytes: SharedBytes<'m>, ring: &'m Ringbuf) -> u64 {
        if self.records.len() >= address::NUMBERS {
            ring.discard(bytes.address());
            return 0;
        }
        self.records.push(Record {
            bytes,
            ring,
            live: true,
        });
        address::address(Kind::Record, self.records.len() as u32 - 1, 0)
    }

    /// Takes the live record that starts at this address.
    pub(super) fn take_record(&mut self, at: u64) -> Option<(SharedBytes<'m>, &'m Ringbuf)> {
        if address::kind(at) != Some(Kind::Record) || address::offset(at) != 0 {
            return None;
        }
        let record = self.records.get_mut(address::number(at))?;
        std::mem::replace(&mut record.live, false).then_some((record.bytes, record.ring))
    }

    /// Discards records that were not given up, so that they do not block the ring, and says how
    /// many there were.
    pub(super) fn discard_records(&mut self) -> usize {
        let mut count = 0;
        for record in self.records.iter_mut().filter(|record| record.live) {
            record.ring.discard(record.bytes.address());
            record.live = false;
            count += 1;
        }
        count
    }

    /// Loads an integer, zero-extended.
    #[inline]
    pub(super) fn load(
        &self,
        frame: &Frame,
        program_type: ProgramType,
        at: u64,
        size: Size,
    ) -> Result<u64, Fault> {
        let offset = address::offset(at);
        let loaded = match address::kind(at) {
            Some(Kind::Packet) => {
                let inside =
                    offset >= frame.data_meta() && offset + size.bytes() <= frame.data_end();
                inside
                    .then(|| load_bytes(frame.memory(), offset, size))
                    .flatten()
            }
            Some(Kind::Stack) => self
                .stack_frame(at)
                .and_then(|stack| load_bytes(stack, offset, size)),
            Some(Kind::Value) => self
                .value(at, Access::Read)
                .and_then(|bytes| bytes.load(offset, size)),
            Some(Kind::Context) => context::load(program_type, frame, offset, size),
            Some(Kind::Record) => self.record(at).and_then(|bytes| bytes.load(offset, size)),
            Some(Kind::Raw) => load_bytes(&self.raw, offset, size),
            Some(Kind::Key) => self.key(at).and_then(|key| load_bytes(key, offset, size)),
            Some(Kind::Fragment) => {
                fragment(frame, at).and_then(|bytes| load_bytes(bytes, offset, size))
            }
            Some(Kind::Map) => self
                .maps
                .get(address::number(at) as u32)
                .and_then(|map| load_bytes(&map_object(map.spec()), offset, size)),
            Some(Kind::Function) | None => None,
        };
        match loaded {
            Some(value) => Ok(value),
            None => Err(self.fault(frame, Access::Read, at, size.bytes() as u64)),
        }
    }

    /// Stores the low bytes of a value.
    #[inline]
    pub(super) fn store(
        &mut self,
        frame: &mut Frame,
        program_type: ProgramType,
        at: u64,
        size: Size,
        value: u64,
    ) -> Result<(), Fault> {
        let offset = address::offset(at);
        let stored = match address::kind(at) {
            Some(Kind::Packet) => {
                let inside =
                    offset >= frame.data_meta() && offset + size.bytes() <= frame.data_end();
                inside
                    .then(|| store_bytes(frame.memory_mut(), offset, size, value))
                    .flatten()
            }
            Some(Kind::Stack) => self
                .stack_frame_mut(at)
                .and_then(|stack| store_bytes(stack, offset, size, value)),
            Some(Kind::Value) => self
                .value(at, Access::Write)
                .and_then(|bytes| bytes.store(offset, size, value)),
            Some(Kind::Record) => self
                .record(at)
                .and_then(|bytes| bytes.store(offset, size, value)),
            Some(Kind::Raw) => store_bytes(&mut self.raw, offset, size, value),
            Some(Kind::Fragment) => {
                fragment_mut(frame, at).and_then(|bytes| store_bytes(bytes, offset, size, value))
            }
            Some(Kind::Context) => context::store(program_type, frame, offset, size, value),
            Some(Kind::Map | Kind::Function | Kind::Key) | None => None,
        };
        match stored {
            Some(()) => Ok(()),
            None => Err(self.fault(frame, Access::Write, at, size.bytes() as u64)),
        }
    }

    /// An atomic operation of 4 or 8 bytes; gives the old value, zero-extended.
    pub(super) fn atomic(
        &mut self,
        frame: &mut Frame,
        at: u64,
        size: Size,
        op: AtomicOp,
        operand: u64,
        expected: u64,
    ) -> Result<u64, Fault> {
        let offset = address::offset(at);
        if !offset.is_multiple_of(size.bytes()) && self.contains(frame, at, size.bytes()) {
            return Err(Box::new(TrapKind::Misaligned {
                region: self.region(frame, at),
                offset: address::signed_offset(at),
                len: size.bytes() as u64,
            }));
        }
        let bytes = match address::kind(at) {
            Some(Kind::Value) => self
                .value(at, Access::Read)
                .and(self.value(at, Access::Write)),
            Some(Kind::Record) => self.record(at),
            Some(Kind::Stack) => self.stack_frame_mut(at).map(SharedBytes::from_exclusive),
            Some(Kind::Raw) => Some(SharedBytes::from_exclusive(&mut self.raw)),
            // The verifier refuses atomics on packets and contexts.
            Some(
                Kind::Packet
                | Kind::Fragment
                | Kind::Context
                | Kind::Map
                | Kind::Function
                | Kind::Key,
            )
            | None => None,
        };
        match bytes.and_then(|bytes| modify(bytes, offset, size, op, operand, expected)) {
            Some(old) => Ok(old),
            None => Err(self.fault(frame, Access::Atomic, at, size.bytes() as u64)),
        }
    }

    /// The bytes that a helper reads for the program.
    pub(super) fn read<'a>(
        &'a self,
        frame: &'a Frame,
        at: u64,
        len: u64,
    ) -> Result<Cow<'a, [u8]>, Fault> {
        let offset = address::offset(at);
        let shared = |bytes: SharedBytes<'m>| {
            let part = bytes.slice(offset, usize::try_from(len).ok()?)?;
            Some(Cow::Owned(part.to_vec()))
        };
        let bytes = match address::kind(at) {
            Some(Kind::Packet) => packet_part(frame, offset, len).map(Cow::Borrowed),
            Some(Kind::Stack) => self
                .stack_frame(at)
                .and_then(|stack| part(stack, offset, len)),
            Some(Kind::Raw) => part(&self.raw, offset, len),
            Some(Kind::Key) => self.key(at).and_then(|key| part(key, offset, len)),
            Some(Kind::Fragment) => fragment(frame, at).and_then(|bytes| part(bytes, offset, len)),
            Some(Kind::Value) => self.value(at, Access::Read).and_then(shared),
            Some(Kind::Record) => self.record(at).and_then(shared),
            Some(Kind::Context | Kind::Map | Kind::Function) | None => None,
        };
        bytes.ok_or_else(|| self.fault(frame, Access::Read, at, len))
    }

    /// Refuses memory that a helper is to fill if not all of it is there; whether it may be written
    /// is checked when it is.
    pub(super) fn check_room(&self, frame: &Frame, at: u64, len: u64) -> Result<(), Fault> {
        if usize::try_from(len).is_ok_and(|len| self.contains(frame, at, len)) {
            return Ok(());
        }
        Err(self.fault(frame, Access::Write, at, len))
    }

    /// Stores bytes for a helper.
    pub(super) fn write(&mut self, frame: &mut Frame, at: u64, from: &[u8]) -> Result<(), Fault> {
        let offset = address::offset(at);
        let end = offset + from.len();
        let written = match address::kind(at) {
            Some(Kind::Packet) if packet_part(frame, offset, from.len() as u64).is_some() => {
                frame.memory_mut().get_mut(offset..end)
            }
            Some(Kind::Stack) => self
                .stack_frame_mut(at)
                .and_then(|stack| stack.get_mut(offset..end)),
            Some(Kind::Raw) => self.raw.get_mut(offset..end),
            Some(Kind::Fragment) => {
                fragment_mut(frame, at).and_then(|bytes| bytes.get_mut(offset..end))
            }
            Some(Kind::Value) => {
                let bytes = self.value(at, Access::Write);
                return self.write_shared(frame, at, from, bytes);
            }
            Some(Kind::Record) => {
                let bytes = self.record(at);
                return self.write_shared(frame, at, from, bytes);
            }
            Some(Kind::Packet | Kind::Context | Kind::Map | Kind::Function | Kind::Key) | None => {
                None
            }
        };
        match written {
            Some(place) => {
                place.copy_from_slice(from);
                Ok(())
            }
            None => Err(self.fault(frame, Access::Write, at, from.len() as u64)),
        }
    }

    fn write_shared(
        &self,
        frame: &Frame,
        at: u64,
        from: &[u8],
        bytes: Option<SharedBytes<'m>>,
    ) -> Result<(), Fault> {
        bytes
            .and_then(|bytes| bytes.write(address::offset(at), from))
            .ok_or_else(|| self.fault(frame, Access::Write, at, from.len() as u64))
    }

    #[inline]
    fn stack_frame(&self, at: u64) -> Option<&[u8]> {
        let frame = address::number(at);
        let start = (frame <= self.depth).then_some(frame * STACK_BYTES)?;
        self.stack.get(start..start + STACK_BYTES)
    }

    #[inline]
    fn stack_frame_mut(&mut self, at: u64) -> Option<&mut [u8]> {
        let frame = address::number(at);
        let start = (frame <= self.depth).then_some(frame * STACK_BYTES)?;
        self.stack.get_mut(start..start + STACK_BYTES)
    }

    #[inline]
    fn value(&self, at: u64, access: Access) -> Option<SharedBytes<'m>> {
        let value = self.values.get(address::number(at))?;
        let allowed = match access {
            Access::Read => value.map.program_reads(),
            Access::Write | Access::Atomic => value.map.program_writes(),
        };
        allowed.then_some(value.bytes)
    }

    fn record(&self, at: u64) -> Option<SharedBytes<'m>> {
        let record = self.records.get(address::number(at))?;
        record.live.then_some(record.bytes)
    }

    fn key(&self, at: u64) -> Option<&[u8]> {
        let depth = address::number(at);
        let key = self.keys.get(depth).filter(|_| depth <= self.depth);
        key.map(Vec::as_slice)
    }

    /// Whether this many bytes at the address are inside a region, allowed or not.
    fn contains(&self, frame: &Frame, at: u64, len: usize) -> bool {
        let offset = address::offset(at);
        let size = match address::kind(at) {
            Some(Kind::Packet) => {
                return packet_part(frame, offset, len as u64).is_some();
            }
            Some(Kind::Stack) => self.stack_frame(at).map(<[u8]>::len),
            Some(Kind::Value) => self
                .values
                .get(address::number(at))
                .map(|value| value.bytes.len()),
            Some(Kind::Record) => self.record(at).map(SharedBytes::len),
            Some(Kind::Raw) => Some(self.raw.len()),
            Some(Kind::Key) => self.key(at).map(<[u8]>::len),
            Some(Kind::Fragment) => fragment(frame, at).map(<[u8]>::len),
            Some(Kind::Context | Kind::Map | Kind::Function) | None => None,
        };
        size.is_some_and(|size| offset + len <= size)
    }

    #[cold]
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "faults are boxed everywhere"
    )]
    fn fault(&self, frame: &Frame, access: Access, at: u64, len: u64) -> Fault {
        let (region, offset) = (self.region(frame, at), address::signed_offset(at));
        let inside = usize::try_from(len).is_ok_and(|len| self.contains(frame, at, len));
        Box::new(match address::kind(at) {
            None => TrapKind::NoMemory {
                access,
                address: at,
                len,
            },
            Some(Kind::Context | Kind::Map | Kind::Function) => TrapKind::NotAllowed {
                access,
                region,
                offset,
                len,
            },
            Some(_) if inside => TrapKind::NotAllowed {
                access,
                region,
                offset,
                len,
            },
            Some(_) => TrapKind::OutOfBounds {
                access,
                region,
                offset,
                len,
            },
        })
    }

    /// The region of an address in words.
    pub(super) fn region(&self, frame: &Frame, at: u64) -> String {
        let number = address::number(at);
        match address::kind(at) {
            None => "no memory".to_owned(),
            Some(Kind::Context) => "the context".to_owned(),
            Some(Kind::Packet) => format!(
                "the packet (metadata at {}, data at {} to {})",
                frame.data_meta(),
                frame.data(),
                frame.data_end()
            ),
            Some(Kind::Stack) => format!("the stack of frame {number} ({STACK_BYTES} bytes)"),
            Some(Kind::Value) => match self.values.get(number) {
                Some(value) => format!(
                    "a value of map {} ({} bytes)",
                    value.map.spec().name,
                    value.bytes.len()
                ),
                None => "a map value that the program does not hold".to_owned(),
            },
            Some(Kind::Map) => format!("map {number} itself"),
            Some(Kind::Record) => match self.record(at) {
                Some(bytes) => format!("a ring-buffer record ({} bytes)", bytes.len()),
                None => "a ring-buffer record that was given up".to_owned(),
            },
            Some(Kind::Raw) => format!("the memory ({} bytes)", self.raw.len()),
            Some(Kind::Function) => format!("the function at {number}"),
            Some(Kind::Fragment) => match fragment(frame, at) {
                Some(bytes) => format!("fragment {number} of the packet ({} bytes)", bytes.len()),
                None => "a fragment that the packet does not have".to_owned(),
            },
            Some(Kind::Key) => match self.key(at) {
                Some(key) => format!("the key of an entry ({} bytes)", key.len()),
                None => "the key of an entry that is no longer looked at".to_owned(),
            },
        }
    }
}

/// The bytes of the fragment that an address is in.
fn fragment(frame: &Frame, at: u64) -> Option<&[u8]> {
    let fragment = frame.fragments().get(address::number(at));
    fragment.map(Fragment::bytes)
}

fn fragment_mut(frame: &mut Frame, at: u64) -> Option<&mut [u8]> {
    let fragment = frame.fragments_mut().get_mut(address::number(at));
    fragment.map(Fragment::bytes_mut)
}

fn packet_part(frame: &Frame, offset: usize, len: u64) -> Option<&[u8]> {
    let end = offset.checked_add(usize::try_from(len).ok()?)?;
    let inside = offset >= frame.data_meta() && end <= frame.data_end();
    inside.then(|| &frame.memory()[offset..end])
}

fn part(bytes: &[u8], offset: usize, len: u64) -> Option<Cow<'_, [u8]>> {
    let end = offset.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(offset..end).map(Cow::Borrowed)
}

/// Loads a little-endian integer, zero-extended.
#[inline]
fn load_bytes(bytes: &[u8], offset: usize, size: Size) -> Option<u64> {
    let bytes = bytes.get(offset..)?;
    Some(match size {
        Size::B => u64::from(*bytes.first()?),
        Size::H => u64::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        Size::W => u64::from(u32::from_le_bytes(*bytes.first_chunk()?)),
        Size::DW => u64::from_le_bytes(*bytes.first_chunk()?),
    })
}

/// Stores the low bytes of a value, little-endian.
#[inline]
fn store_bytes(bytes: &mut [u8], offset: usize, size: Size, value: u64) -> Option<()> {
    let bytes = bytes.get_mut(offset..)?;
    match size {
        Size::B => *bytes.first_mut()? = value as u8,
        Size::H => *bytes.first_chunk_mut()? = (value as u16).to_le_bytes(),
        Size::W => *bytes.first_chunk_mut()? = (value as u32).to_le_bytes(),
        Size::DW => *bytes.first_chunk_mut()? = value.to_le_bytes(),
    }
    Some(())
}

/// The atomic operation itself (RFC 9669 section 5.3), fully ordered as Linux makes it.
fn modify(
    bytes: SharedBytes<'_>,
    offset: usize,
    size: Size,
    op: AtomicOp,
    operand: u64,
    expected: u64,
) -> Option<u64> {
    if size == Size::DW {
        let word = bytes.atomic_u64(offset)?;
        return Some(match op {
            AtomicOp::Add { .. } => word.fetch_add(operand, SeqCst),
            AtomicOp::Or { .. } => word.fetch_or(operand, SeqCst),
            AtomicOp::And { .. } => word.fetch_and(operand, SeqCst),
            AtomicOp::Xor { .. } => word.fetch_xor(operand, SeqCst),
            AtomicOp::Exchange => word.swap(operand, SeqCst),
            AtomicOp::CompareExchange => {
                let (Ok(old) | Err(old)) = word.compare_exchange(expected, operand, SeqCst, SeqCst);
                old
            }
        });
    }
    let word = bytes.atomic_u32(offset)?;
    let operand = operand as u32;
    Some(u64::from(match op {
        AtomicOp::Add { .. } => word.fetch_add(operand, SeqCst),
        AtomicOp::Or { .. } => word.fetch_or(operand, SeqCst),
        AtomicOp::And { .. } => word.fetch_and(operand, SeqCst),
        AtomicOp::Xor { .. } => word.fetch_xor(operand, SeqCst),
        AtomicOp::Exchange => word.swap(operand, SeqCst),
        AtomicOp::CompareExchange => {
            let (Ok(old) | Err(old)) =
                word.compare_exchange(expected as u32, operand, SeqCst, SeqCst);
            old
        }
    }))
}
