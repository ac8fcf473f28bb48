//! Maps of the running kernel, straight through `bpf(2)`, and a small program that does to a map
//! what it is told: the ground truth that our maps are measured against.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use iom_core::map::{Errno, MapSpec, MapType, MapValue};

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const MAP_GET_NEXT_KEY: i32 = 4;
const PROG_LOAD: i32 = 5;
const MAP_LOOKUP_AND_DELETE: i32 = 21;
const PROG_TEST_RUN: i32 = 10;
const PROG_TYPE_XDP: u32 = 6;

/// `union bpf_attr`, as bytes.
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Self {
        Self([0; 128])
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn pointer<T>(self, offset: usize, to: *const T) -> Self {
        self.u64(offset, to as u64)
    }

    fn call(mut self, command: i32) -> Result<i32, Errno> {
        // SAFETY: the attribute is a live buffer of the given size, and every pointer in it was
        // put there by a caller from a buffer that lives longer than the call.
        #[expect(unsafe_code, reason = "system call")]
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                self.0.len() as libc::c_uint,
            )
        };
        if result >= 0 {
            Ok(result as i32)
        } else {
            let error = std::io::Error::last_os_error();
            Err(Errno::new(error.raw_os_error().unwrap_or(0)))
        }
    }

    fn open(self, command: i32) -> Result<OwnedFd, Errno> {
        let fd = self.call(command)?;
        // SAFETY: the kernel has just made this descriptor for us.
        #[expect(unsafe_code, reason = "system call")]
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Why there is no `bpf(2)` here, if so.
pub(crate) fn missing() -> Option<String> {
    let spec = MapSpec::new("probe", MapType::Array, 4, 4, 1);
    match KernelMap::create(&spec) {
        Ok(_) => None,
        Err(errno) => Some(format!("bpf(2) cannot create a map here: {errno}")),
    }
}

/// CPUs that the kernel keeps values for.
pub(crate) fn possible_cpus() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = text.trim().rsplit(['-', ',']).next().unwrap();
    last.parse::<u32>().unwrap() + 1
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: the set is plain data, initialised by zeros, and passed with its size.
    #[expect(unsafe_code, reason = "system call")]
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    assert_eq!(result, 0, "pin to CPU {cpu}");
}

/// A map of the kernel.
pub(crate) struct KernelMap {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
    per_cpu: bool,
}

impl KernelMap {
    pub(crate) fn create(spec: &MapSpec) -> Result<Self, Errno> {
        let inner = spec.inner.as_deref().map(Self::create).transpose()?;
        let fd = Attr::new()
            .u32(20, inner.as_ref().map_or(0, Self::fd))
            .u32(0, spec.map_type.number())
            .u32(4, spec.key_size)
            .u32(8, spec.value_size)
            .u32(12, spec.max_entries)
            .u32(16, spec.flags.0)
            .u64(64, spec.extra)
            .open(MAP_CREATE)?;
        Ok(Self {
            fd,
            key_size: spec.key_size as usize,
            value_size: spec.value_size as usize,
            per_cpu: spec.map_type.is_per_cpu(),
        })
    }

    pub(crate) fn fd(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }

    fn element(&self, key: &[u8]) -> Attr {
        // Maps without keys want a null pointer.
        let start = if key.is_empty() {
            std::ptr::null()
        } else {
            key.as_ptr()
        };
        Attr::new().u32(0, self.fd()).pointer(8, start)
    }

    /// Bytes of one CPU's value in what the system call moves.
    fn stride(&self) -> usize {
        if self.per_cpu {
            self.value_size.next_multiple_of(8)
        } else {
            self.value_size
        }
    }

    pub(crate) fn update(&self, key: &[u8], value: &MapValue, flags: u64) -> Result<(), Errno> {
        let mut bytes = Vec::new();
        match value {
            MapValue::Plain(value) => bytes.extend(value),
            MapValue::PerQueue(values) => {
                for value in values {
                    bytes.extend(value);
                    bytes.resize(bytes.len().next_multiple_of(8), 0);
                }
            }
        }
        let attr = self.element(key).pointer(16, bytes.as_ptr());
        attr.u64(24, flags).call(MAP_UPDATE).map(|_| ())
    }

    pub(crate) fn lookup(&self, key: &[u8]) -> Result<MapValue, Errno> {
        let cpus = if self.per_cpu { possible_cpus() } else { 1 };
        let mut bytes = vec![0_u8; self.stride() * cpus as usize];
        let attr = self.element(key).pointer(16, bytes.as_mut_ptr());
        attr.call(MAP_LOOKUP)?;
        let mut values = bytes
            .chunks(self.stride())
            .map(|value| value[..self.value_size].to_vec());
        Ok(if self.per_cpu {
            MapValue::PerQueue(values.collect())
        } else {
            MapValue::Plain(values.next().unwrap())
        })
    }

    /// Whether a bloom filter may hold a value.
    pub(crate) fn contains(&self, value: &[u8]) -> Result<(), Errno> {
        let attr = self.element(&[]).pointer(16, value.as_ptr());
        attr.call(MAP_LOOKUP).map(|_| ())
    }

    /// Takes the next value out of a queue or stack.
    pub(crate) fn pop(&self) -> Result<MapValue, Errno> {
        let mut value = vec![0_u8; self.value_size];
        let attr = self.element(&[]).pointer(16, value.as_mut_ptr());
        attr.call(MAP_LOOKUP_AND_DELETE)?;
        Ok(MapValue::Plain(value))
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.element(key).call(MAP_DELETE).map(|_| ())
    }

    /// All keys with their values, sorted.
    pub(crate) fn contents(&self) -> Vec<(Vec<u8>, MapValue)> {
        let mut entries = Vec::new();
        let mut key: Option<Vec<u8>> = None;
        loop {
            let mut next = vec![0_u8; self.key_size];
            let previous = key.as_ref().map_or(std::ptr::null(), std::vec::Vec::as_ptr);
            let attr = Attr::new().u32(0, self.fd()).pointer(8, previous);
            if attr
                .pointer(16, next.as_mut_ptr())
                .call(MAP_GET_NEXT_KEY)
                .is_err()
            {
                break;
            }
            if let Ok(value) = self.lookup(&next) {
                entries.push((next.clone(), value));
            }
            key = Some(next);
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }
}

/// Where the parts of a command are in the command map's value.
const OPERATION: i16 = 0;
const FLAGS: i16 = 8;
const RESULT: i16 = 16;
const READ: i16 = 24;
const KEY: i16 = 32;
const VALUE: i16 = 512;
const COMMAND_SIZE: u32 = 1024;

/// A program that does to a map what the command map says.
pub(crate) struct KernelProgram {
    fd: OwnedFd,
    command: KernelMap,
}

/// What a program does to a map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Lookup,
    Update,
    Delete,
}

impl KernelProgram {
    /// The program for maps with keys.
    pub(crate) fn new(map: &KernelMap) -> Result<Self, Errno> {
        Self::load(map, &OPERATIONS)
    }

    /// The program for ring buffers.
    pub(crate) fn for_ring(map: &KernelMap) -> Result<Self, Errno> {
        Self::load(map, &RING_OPERATIONS)
    }

    /// The program for queues and stacks.
    pub(crate) fn for_queue(map: &KernelMap) -> Result<Self, Errno> {
        Self::load(map, &QUEUE_OPERATIONS)
    }

    /// The program for bloom filters, which cannot pop.
    pub(crate) fn for_bloom(map: &KernelMap) -> Result<Self, Errno> {
        let mut code = QUEUE_OPERATIONS;
        code[QUEUE_POP] = mov(0, 0);
        Self::load(map, &code)
    }

    fn load(map: &KernelMap, body: &[u64]) -> Result<Self, Errno> {
        let command = MapSpec::new("command", MapType::Array, 4, COMMAND_SIZE, 1);
        let command = KernelMap::create(&command)?;
        let mut code = load_pseudo(6, PSEUDO_MAP_VALUE, command.fd()).to_vec();
        code.extend(load_pseudo(1, PSEUDO_MAP_FD, map.fd()));
        code.extend(body);
        let license = c"GPL";
        let attr = Attr::new()
            .u32(0, PROG_TYPE_XDP)
            .u32(4, code.len() as u32)
            .pointer(8, code.as_ptr())
            .pointer(16, license.as_ptr());
        Ok(Self {
            fd: attr.open(PROG_LOAD)?,
            command,
        })
    }

    /// Its descriptor, as prog arrays take it.
    pub(crate) fn fd(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }

    /// Runs one operation: what the helper returned, 0 or 1 for a lookup with the first four bytes
    /// of the value.
    pub(crate) fn run(
        &self,
        operation: Operation,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> (i64, u32) {
        let flags = flags.to_le_bytes();
        let parts = [(FLAGS, &flags[..]), (KEY, key), (VALUE, value)];
        self.command(operation as u8, &parts)
    }

    /// Runs one operation on a ring buffer: what the helper returned, 0 or 1 for a reservation.
    pub(crate) fn run_ring(&self, operation: RingOperation, len: u64, flags: u64) -> i64 {
        let parts = [(FLAGS, flags.to_le_bytes()), (READ, len.to_le_bytes())];
        let parts = parts
            .each_ref()
            .map(|(offset, bytes)| (*offset, &bytes[..]));
        self.command(operation as u8, &parts).0
    }

    /// Runs one operation on a queue, stack or bloom filter: what the helper returned, and the
    /// first four bytes of the value afterwards.
    pub(crate) fn run_queue(
        &self,
        operation: QueueOperation,
        value: &[u8],
        flags: u64,
    ) -> (i64, u32) {
        let flags = flags.to_le_bytes();
        let parts = [(FLAGS, &flags[..]), (VALUE, value)];
        self.command(operation as u8, &parts)
    }

    fn command(&self, operation: u8, parts: &[(i16, &[u8])]) -> (i64, u32) {
        let mut command = vec![0_u8; COMMAND_SIZE as usize];
        command[OPERATION as usize] = operation;
        for (offset, bytes) in parts {
            command[*offset as usize..*offset as usize + bytes.len()].copy_from_slice(bytes);
        }
        self.command
            .update(&[0; 4], &MapValue::Plain(command), 0)
            .unwrap();
        let packet = [0_u8; 64];
        Attr::new()
            .u32(0, self.fd())
            .u32(8, packet.len() as u32)
            .pointer(16, packet.as_ptr())
            .u32(32, 1)
            .call(PROG_TEST_RUN)
            .unwrap();
        let MapValue::Plain(command) = self.command.lookup(&[0; 4]).unwrap() else {
            unreachable!("an array has plain values");
        };
        let word = |offset: i16| {
            let bytes = &command[offset as usize..offset as usize + 8];
            i64::from_le_bytes(bytes.try_into().unwrap())
        };
        (word(RESULT), word(READ) as u32)
    }
}

/// What a program does to a queue, stack or bloom filter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueueOperation {
    /// `bpf_map_push_elem`
    Push,
    /// `bpf_map_pop_elem`
    Pop,
    /// `bpf_map_peek_elem`
    Peek,
}

/// What a program does to a ring buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RingOperation {
    /// `bpf_ringbuf_query` with the flags.
    Query,
    /// `bpf_ringbuf_output` of so many bytes of the command.
    Output,
    /// `bpf_ringbuf_reserve` of [`RESERVED`] bytes and, if there was room, `bpf_ringbuf_discard`.
    Discard,
}

/// Bytes that [`RingOperation::Discard`] reserves.
pub(crate) const RESERVED: u64 = 40;

const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;

const fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> u64 {
    opcode as u64
        | ((dst | src << 4) as u64) << 8
        | (offset as u16 as u64) << 16
        | (imm as u32 as u64) << 32
}

const fn load_pseudo(dst: u8, pseudo: u8, fd: u32) -> [u64; 2] {
    [insn(0x18, dst, pseudo, 0, fd as i32), 0]
}

const fn mov(dst: u8, imm: i32) -> u64 {
    insn(0xb7, dst, 0, 0, imm)
}

const fn mov_reg(dst: u8, src: u8) -> u64 {
    insn(0xbf, dst, src, 0, 0)
}

const fn add(dst: u8, imm: i16) -> u64 {
    insn(0x07, dst, 0, 0, imm as i32)
}

const fn call(helper: i32) -> u64 {
    insn(0x85, 0, 0, 0, helper)
}

const fn goto(offset: i16) -> u64 {
    insn(0x05, 0, 0, offset, 0)
}

/// Load and store of eight bytes of the command.
const fn load_command(dst: u8, offset: i16) -> u64 {
    insn(0x79, dst, 6, offset, 0)
}

const fn store_command(offset: i16, src: u8) -> u64 {
    insn(0x7b, 6, src, offset, 0)
}

/// After r6 = command and r1 = map.
const OPERATIONS: [u64; 20] = [
    mov_reg(2, 6),
    add(2, KEY),
    load_command(7, OPERATION),
    insn(0x15, 7, 0, 7, Operation::Update as i32),
    insn(0x15, 7, 0, 11, Operation::Delete as i32),
    call(1),
    insn(0x15, 0, 0, 10, 0),
    insn(0x61, 1, 0, 0, 0),
    store_command(READ, 1),
    mov(0, 1),
    goto(6),
    // update:
    mov_reg(3, 6),
    add(3, VALUE),
    load_command(4, FLAGS),
    call(2),
    goto(1),
    // delete:
    call(3),
    // store:
    store_command(RESULT, 0),
    mov(0, 2),
    insn(0x95, 0, 0, 0, 0),
];

/// The same for queues and stacks.
const QUEUE_OPERATIONS: [u64; 16] = [
    mov_reg(2, 6),
    insn(0x07, 2, 0, 0, VALUE as i32),
    load_command(7, OPERATION),
    insn(0x15, 7, 0, 4, QueueOperation::Pop as i32),
    insn(0x15, 7, 0, 5, QueueOperation::Peek as i32),
    load_command(3, FLAGS),
    call(87),
    goto(3),
    // pop:
    call(88),
    goto(1),
    // peek:
    call(89),
    // store:
    store_command(RESULT, 0),
    insn(0x61, 1, 6, VALUE, 0),
    store_command(READ, 1),
    mov(0, 2),
    insn(0x95, 0, 0, 0, 0),
];

/// Where they pop.
const QUEUE_POP: usize = 8;

/// The same for ring buffers.
const RING_OPERATIONS: [u64; 26] = [
    load_command(7, OPERATION),
    insn(0x15, 7, 0, 4, RingOperation::Output as i32),
    insn(0x15, 7, 0, 10, RingOperation::Discard as i32),
    load_command(2, FLAGS),
    call(134),
    goto(15),
    // output:
    mov_reg(2, 6),
    add(2, KEY),
    load_command(3, READ),
    insn(0x25, 3, 0, 14, 900),
    load_command(4, FLAGS),
    call(130),
    goto(8),
    // discard:
    mov(2, RESERVED as i32),
    load_command(3, FLAGS),
    call(131),
    insn(0x15, 0, 0, 4, 0),
    mov_reg(1, 0),
    mov(2, 0),
    call(133),
    mov(0, 1),
    // store:
    store_command(RESULT, 0),
    mov(0, 2),
    insn(0x95, 0, 0, 0, 0),
    mov(0, 0),
    insn(0x95, 0, 0, 0, 0),
];

/// Tells a ring buffer that everything up to a position was taken out.
pub(crate) fn set_consumer(ring: &KernelMap, position: u64) {
    // SAFETY: maps the consumer's page, which every ring buffer has first, writes its first word
    // and unmaps it again; nobody else uses the address.
    #[expect(unsafe_code, reason = "system call")]
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            ring.fd.as_raw_fd(),
            0,
        );
        assert_ne!(page, libc::MAP_FAILED, "map the consumer's page");
        page.cast::<u64>().write_volatile(position);
        libc::munmap(page, 4096);
    }
}
