//! The commands of `bpf()` that the backend uses, over `libc`: structures as `linux/bpf.h` lays
//! them out, typed wrappers that check buffer lengths, errors that say what was being done.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub(super) struct SyscallError {
    /// What was being done, as in "create map counters".
    pub(super) action: String,
    /// What happened.
    pub(super) source: io::Error,
}

impl SyscallError {
    /// The last error of this thread, while doing `action`.
    pub(super) fn last(action: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            source: io::Error::last_os_error(),
        }
    }

    /// The number of the error.
    pub(super) fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

/// Linux's number for "operation not supported" inside `bpf()`; not in user space's `errno.h`.
pub(super) const ENOTSUPP: i32 = 524;

/// Numbers of `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgTestRun = 10,
    ProgGetFdById = 13,
    MapGetFdById = 14,
    ObjGetInfoByFd = 15,
    BtfLoad = 18,
    MapLookupAndDelete = 21,
    MapFreeze = 22,
    MapLookupBatch = 24,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkGetFdById = 30,
    LinkGetNextId = 31,
    EnableStats = 32,
    LinkDetach = 34,
}

/// Calls `bpf()`. `T` is one of the structures of this file or of `link.rs`: `repr(C)`, no implicit
/// padding.
pub(super) fn bpf<T>(command: Command, attr: &mut T) -> Result<i32, io::Error> {
    // SAFETY: `attr` is a live structure of exactly the size that is passed, and the addresses in
    // it are of buffers that the caller borrows during the call, with lengths it has checked.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as i64,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}

/// Like [`bpf`], for commands that return a file descriptor.
pub(super) fn bpf_fd<T>(command: Command, attr: &mut T) -> Result<OwnedFd, io::Error> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn address<T>(slice: &[T]) -> u64 {
    if slice.is_empty() {
        return 0;
    }
    slice.as_ptr().expose_provenance() as u64
}

pub(super) fn address_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() {
        return 0;
    }
    slice.as_mut_ptr().expose_provenance() as u64
}

/// A name as the kernel takes it: at most 15 of the characters that it allows.
fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, byte) in bytes[..15].iter_mut().zip(name.bytes()) {
        let allowed = byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
        *place = if allowed { byte } else { b'_' };
    }
    bytes
}

/// What to create.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MapCreate<'a> {
    /// Name, cut to what the kernel takes.
    pub(super) name: &'a str,
    /// Number of the type.
    pub(super) map_type: u32,
    /// Bytes in a key.
    pub(super) key_size: u32,
    /// Bytes in a value, of one CPU.
    pub(super) value_size: u32,
    /// Entries at most.
    pub(super) max_entries: u32,
    /// `map_flags`.
    pub(super) flags: u32,
    /// Template of the maps in a map of maps.
    pub(super) inner: Option<BorrowedFd<'a>>,
    /// `map_extra`.
    pub(super) extra: u64,
    /// Index of the device that is to hold it; 0 for the kernel itself.
    pub(super) ifindex: u32,
    /// BTF with the type ids of key and value.
    pub(super) btf: Option<(BorrowedFd<'a>, u32, u32)>,
    /// Bytes that a lookup by user space gives: in per-CPU maps, of all CPUs.
    pub(super) lookup_bytes: usize,
}

#[repr(C)]
#[derive(Default)]
struct MapCreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapElemAttr {
    map_fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapBatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
pub(super) struct GetFdByIdAttr {
    pub(super) id: u32,
    pub(super) next_id: u32,
    pub(super) open_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// A map of the kernel.
#[derive(Debug)]
pub(super) struct MapFd {
    fd: OwnedFd,
    name: String,
    key_bytes: usize,
    value_bytes: usize,
}

/// Where a batch dump stands: what the kernel wants back to go on.
#[derive(Debug, Default)]
pub(super) struct BatchPosition {
    /// Opaque to us: a bucket number or a key.
    token: Vec<u8>,
    started: bool,
}

impl MapFd {
    /// Creates a map.
    pub(super) fn create(create: &MapCreate<'_>) -> Result<Self, SyscallError> {
        let (btf_fd, key_type, value_type) = create.btf.map_or((0, 0, 0), |(fd, key, value)| {
            (fd.as_raw_fd() as u32, key, value)
        });
        let mut attr = MapCreateAttr {
            map_type: create.map_type,
            key_size: create.key_size,
            value_size: create.value_size,
            max_entries: create.max_entries,
            map_flags: create.flags,
            inner_map_fd: create.inner.map_or(0, |fd| fd.as_raw_fd() as u32),
            map_name: object_name(create.name),
            map_ifindex: create.ifindex,
            btf_fd,
            btf_key_type_id: key_type,
            btf_value_type_id: value_type,
            map_extra: create.extra,
            ..MapCreateAttr::default()
        };
        let fd = bpf_fd(Command::MapCreate, &mut attr).map_err(|source| SyscallError {
            action: format!("create map {}", create.name),
            source,
        })?;
        Ok(Self {
            fd,
            name: create.name.to_owned(),
            key_bytes: create.key_size as usize,
            value_bytes: create.lookup_bytes,
        })
    }

    /// The number to put into a program.
    pub(super) fn number(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }

    /// The descriptor, to map its memory.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.fd
    }

    /// The descriptor alone.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.fd
    }

    /// Bytes in a key.
    pub(super) fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// Bytes in what user space reads and writes as a value.
    pub(super) fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// A second handle without the restrictions on user space that the map's flags put on the
    /// first (`BPF_F_RDONLY`, `BPF_F_WRONLY`).
    pub(super) fn reopen(&self) -> Result<Self, SyscallError> {
        let id = object_id(&self.fd).map_err(|source| self.error("get the id of", source))?;
        let mut attr = GetFdByIdAttr {
            id,
            ..GetFdByIdAttr::default()
        };
        let fd = bpf_fd(Command::MapGetFdById, &mut attr)
            .map_err(|source| self.error("open", source))?;
        Ok(Self {
            fd,
            name: self.name.clone(),
            ..*self
        })
    }

    /// Reads the value of a key; `false` if there is none.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<bool, SyscallError> {
        assert_eq!((key.len(), value.len()), (self.key_bytes, self.value_bytes));
        let mut attr = self.elem(address(key), address_mut(value));
        match bpf(Command::MapLookup, &mut attr) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(source) => Err(self.error("look up a key in", source)),
        }
    }

    /// Sets the value of a key.
    pub(super) fn update(&self, key: &[u8], value: &[u8]) -> Result<(), SyscallError> {
        assert_eq!((key.len(), value.len()), (self.key_bytes, self.value_bytes));
        let mut attr = self.elem(address(key), address(value));
        bpf(Command::MapUpdate, &mut attr)
            .map(drop)
            .map_err(|source| self.error("update a key of", source))
    }

    /// Takes the next value out of a queue or stack; `false` if there is none.
    pub(super) fn pop(&self, value: &mut [u8]) -> Result<bool, SyscallError> {
        assert_eq!((self.key_bytes, value.len()), (0, self.value_bytes));
        let mut attr = self.elem(0, address_mut(value));
        match bpf(Command::MapLookupAndDelete, &mut attr) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(source) => Err(self.error("take a value out of", source)),
        }
    }

    /// The key after `key`, or the first; `false` at the end.
    pub(super) fn next_key(
        &self,
        key: Option<&[u8]>,
        next: &mut [u8],
    ) -> Result<bool, SyscallError> {
        assert!(key.is_none_or(|key| key.len() == self.key_bytes));
        assert_eq!(next.len(), self.key_bytes);
        let mut attr = self.elem(key.map_or(0, address), address_mut(next));
        match bpf(Command::MapGetNextKey, &mut attr) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(source) => Err(self.error("walk the keys of", source)),
        }
    }

    /// Reads the next entries: how many, and whether these were the last.
    pub(super) fn lookup_batch(
        &self,
        position: &mut BatchPosition,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> Result<(usize, bool), SyscallError> {
        let count = keys.len() / self.key_bytes;
        assert_eq!(values.len(), count * self.value_bytes);
        // The kernel writes 4 bytes or a key.
        let mut after = vec![0; self.key_bytes.max(8)];
        let mut attr = MapBatchAttr {
            in_batch: if position.started {
                address(&position.token)
            } else {
                0
            },
            out_batch: address_mut(&mut after),
            keys: address_mut(keys),
            values: address_mut(values),
            count: count as u32,
            map_fd: self.number(),
            ..MapBatchAttr::default()
        };
        let result = bpf(Command::MapLookupBatch, &mut attr);
        let last = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(source) => return Err(self.error("dump", source)),
        };
        position.token = after;
        position.started = true;
        Ok(((attr.count as usize).min(count), last))
    }

    /// Forbids user space to change the map from now on.
    pub(super) fn freeze(&self) -> Result<(), SyscallError> {
        let mut attr = self.elem(0, 0);
        bpf(Command::MapFreeze, &mut attr)
            .map(drop)
            .map_err(|source| self.error("freeze", source))
    }

    fn elem(&self, key: u64, value: u64) -> MapElemAttr {
        MapElemAttr {
            map_fd: self.number(),
            key,
            value,
            ..MapElemAttr::default()
        }
    }

    fn error(&self, what: &str, source: io::Error) -> SyscallError {
        SyscallError {
            action: format!("{what} map {}", self.name),
            source,
        }
    }
}

/// The kernel's id of a map, program or link: the second field of its information.
pub(super) fn object_id(fd: &OwnedFd) -> Result<u32, io::Error> {
    let mut info = [0u32; 2];
    object_info(fd, &mut info)?;
    Ok(info[1])
}

/// Sets the words of `bpf_map_info`, `bpf_prog_info` or `bpf_link_info`; what the kernel does not
/// know is 0. Arrays that the structure points to are not asked for.
pub(super) fn object_info(fd: &OwnedFd, words: &mut [u32]) -> Result<(), io::Error> {
    words.fill(0);
    let mut attr = InfoAttr {
        bpf_fd: fd.as_raw_fd() as u32,
        info_len: size_of_val(words) as u32,
        info: address_mut(words),
    };
    bpf(Command::ObjGetInfoByFd, &mut attr).map(drop)
}

#[repr(C)]
#[derive(Default)]
struct BtfLoadAttr {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    btf_log_true_size: u32,
}

/// Loads type information.
pub(super) fn btf_load(btf: &[u8]) -> Result<OwnedFd, SyscallError> {
    let mut attr = BtfLoadAttr {
        btf: address(btf),
        btf_size: btf.len() as u32,
        ..BtfLoadAttr::default()
    };
    bpf_fd(Command::BtfLoad, &mut attr).map_err(|source| SyscallError {
        action: "load BTF".to_owned(),
        source,
    })
}

/// `struct bpf_func_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FuncInfo {
    pub(super) insn_off: u32,
    pub(super) type_id: u32,
}

/// `struct bpf_line_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineRecord {
    pub(super) insn_off: u32,
    pub(super) file_name_off: u32,
    pub(super) line_off: u32,
    /// Line in the upper 22 bits, column in the lower 10.
    pub(super) line_col: u32,
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgLoad<'a> {
    pub(super) name: &'a str,
    pub(super) prog_type: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    /// Index of the device that is to run it; 0 for the kernel itself.
    pub(super) ifindex: u32,
    /// Encoded, with map descriptors in place.
    pub(super) insns: &'a [u8],
    pub(super) license: &'a CStr,
    pub(super) btf: Option<BorrowedFd<'a>>,
    pub(super) functions: &'a [FuncInfo],
    pub(super) lines: &'a [LineRecord],
}

#[repr(C)]
#[derive(Default)]
struct ProgLoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// A program that the kernel did not take.
#[derive(Debug)]
pub(super) struct ProgLoadError {
    pub(super) source: io::Error,
    /// The verifier's log; empty if it did not come to run.
    pub(super) log: String,
}

/// Room for a refused program's log; the kernel keeps the end of a longer one.
const LOG_BYTES: usize = 4 << 20;
/// No log is given more room than this.
const MAX_LOG_BYTES: usize = 256 << 20;

/// Loads a program; if that fails, once more for the log.
pub(super) fn prog_load(load: &ProgLoad<'_>) -> Result<OwnedFd, ProgLoadError> {
    let first = match try_load(&mut attributes(load)) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    match prog_load_with_log(load, 1) {
        // It failed for want of something that came back in between.
        (Ok(fd), _) => Ok(fd),
        (Err(_), log) => Err(ProgLoadError { source: first, log }),
    }
}

/// Loads a program with the verifier's log at this level, all of it unless it is longer than any
/// buffer here.
pub(super) fn prog_load_with_log(
    load: &ProgLoad<'_>,
    level: u32,
) -> (Result<OwnedFd, io::Error>, String) {
    let mut bytes = LOG_BYTES;
    loop {
        let mut attr = attributes(load);
        let mut log = vec![0; bytes];
        attr.log_level = level;
        attr.log_size = log.len() as u32;
        attr.log_buf = address_mut(&mut log);
        let result = try_load(&mut attr);
        // The kernel refuses whatever it is when the log does not fit.
        let short = matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ENOSPC));
        if short && bytes < MAX_LOG_BYTES {
            bytes *= 8;
            continue;
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        log.truncate(end);
        return (result, String::from_utf8_lossy(&log).into_owned());
    }
}

fn attributes(load: &ProgLoad<'_>) -> ProgLoadAttr {
    let mut attr = ProgLoadAttr {
        prog_type: load.prog_type,
        insn_cnt: (load.insns.len() / 8) as u32,
        insns: address(load.insns),
        license: address(load.license.to_bytes_with_nul()),
        prog_flags: load.flags,
        prog_name: object_name(load.name),
        prog_ifindex: load.ifindex,
        expected_attach_type: load.attach_type,
        ..ProgLoadAttr::default()
    };
    if let Some(btf) = load.btf {
        attr.prog_btf_fd = btf.as_raw_fd() as u32;
        attr.func_info_rec_size = size_of::<FuncInfo>() as u32;
        attr.func_info = address(load.functions);
        attr.func_info_cnt = load.functions.len() as u32;
        attr.line_info_rec_size = size_of::<LineRecord>() as u32;
        attr.line_info = address(load.lines);
        attr.line_info_cnt = load.lines.len() as u32;
    }
    attr
}

/// The kernel gives up with `EAGAIN` when a signal comes while it verifies.
fn try_load(attr: &mut ProgLoadAttr) -> Result<OwnedFd, io::Error> {
    const ATTEMPTS: u32 = 5;
    let mut result = bpf_fd(Command::ProgLoad, attr);
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                result = bpf_fd(Command::ProgLoad, attr);
            }
            _ => break,
        }
    }
    result
}

/// `struct xdp_md`. In and out of a test-run: offsets from the start of the metadata.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct XdpMd {
    /// Where the packet begins: bytes of metadata.
    pub(super) data: u32,
    /// Where the linear part ends.
    pub(super) data_end: u32,
    /// 0.
    pub(super) data_meta: u32,
    pub(super) ingress_ifindex: u32,
    pub(super) rx_queue_index: u32,
    /// 0.
    pub(super) egress_ifindex: u32,
}

#[repr(C)]
#[derive(Debug, Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    unused: u32,
}

/// What a test-run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TestRunResult {
    /// What the program returned.
    pub(super) retval: u32,
    /// Bytes of metadata and packet afterwards.
    pub(super) len: usize,
}

/// `struct __sk_buff`. Only the fields that are named here go into a test-run and come out of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SkBuff {
    pub(super) unused: [u32; 2],
    pub(super) mark: u32,
    pub(super) unused_2: [u32; 5],
    pub(super) priority: u32,
    pub(super) ingress_ifindex: u32,
    pub(super) ifindex: u32,
    pub(super) unused_3: u32,
    pub(super) cb: [u32; 5],
    pub(super) unused_4: [u32; 21],
    pub(super) tstamp: u64,
    pub(super) wire_len: u32,
    pub(super) gso_segs: u32,
    pub(super) unused_5: [u32; 2],
    pub(super) gso_size: u32,
    pub(super) unused_6: u32,
    pub(super) hwtstamp: u64,
}

const _: () = assert!(size_of::<SkBuff>() == 192);

/// The context of a test-run.
pub(super) trait TestContext {}

impl TestContext for XdpMd {}
impl TestContext for SkBuff {}

/// Runs a program once on the first `len` bytes of `buffer`, for XDP metadata and packet, and leaves
/// there what it made of them. `context` is changed likewise. No allocation, one system call.
pub(super) fn test_run<C: TestContext>(
    program: &OwnedFd,
    buffer: &mut [u8],
    len: usize,
    context: &mut C,
) -> Result<TestRunResult, io::Error> {
    assert!(len <= buffer.len());
    let bytes = address_mut(buffer);
    let context_bytes = std::ptr::from_mut(context).expose_provenance() as u64;
    // The kernel copies the input before it runs the program, so input and output may coincide.
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: len as u32,
        data_size_out: buffer.len() as u32,
        data_in: bytes,
        data_out: bytes,
        repeat: 1,
        ctx_size_in: size_of::<C>() as u32,
        ctx_size_out: size_of::<C>() as u32,
        ctx_in: context_bytes,
        ctx_out: context_bytes,
        ..TestRunAttr::default()
    };
    bpf(Command::ProgTestRun, &mut attr)?;
    Ok(TestRunResult {
        retval: attr.retval,
        len: attr.data_size_out as usize,
    })
}

/// Runs a program that ignores its context once on an empty packet, for its effect on maps.
pub(super) fn run_once(program: &OwnedFd) -> Result<(), io::Error> {
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: 14,
        data_in: address(&[0u8; 14]),
        repeat: 1,
        ..TestRunAttr::default()
    };
    bpf(Command::ProgTestRun, &mut attr).map(drop)
}
