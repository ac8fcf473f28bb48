//! Links, which hold an XDP program on a device as long as a descriptor or a pin holds them, and
//! what the kernel tells about links and programs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::syscall::{Command, GetFdByIdAttr, address, bpf, bpf_fd, object_info};

/// `BPF_XDP`.
const ATTACH_XDP: u32 = 37;
/// `BPF_LINK_TYPE_XDP`.
const LINK_TYPE_XDP: u32 = 6;
/// `BPF_F_REPLACE`: only if the link still has the program that is named.
const REPLACE: u32 = 1 << 2;
/// `BPF_STATS_RUN_TIME`.
const STATS_RUN_TIME: u32 = 0;

#[repr(C)]
#[derive(Default)]
struct LinkCreateAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `struct bpf_link_info` of an XDP link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// The kernel's id of the link.
    pub(super) id: u32,
    /// Of its program.
    pub(super) program: u32,
    /// The device; 0 once the link is detached or the device gone.
    pub(super) ifindex: u32,
}

/// What is told of `struct bpf_prog_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProgramInfo {
    pub(super) name: String,
    /// Hash of the instructions.
    pub(super) tag: u64,
    /// Time spent in it, while statistics were enabled.
    pub(super) run_time_ns: u64,
    /// Runs counted, while statistics were enabled.
    pub(super) run_count: u64,
}

/// Attaches a program to a device.
pub(super) fn create(program: &OwnedFd, ifindex: u32, flags: u32) -> Result<OwnedFd, io::Error> {
    let mut attr = LinkCreateAttr {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: ATTACH_XDP,
        flags,
    };
    bpf_fd(Command::LinkCreate, &mut attr)
}

/// Puts another program in the place of `old`, without a packet that meets none.
pub(super) fn update(link: &OwnedFd, new: &OwnedFd, old: &OwnedFd) -> Result<(), io::Error> {
    let mut attr = LinkUpdateAttr {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: new.as_raw_fd() as u32,
        flags: REPLACE,
        old_prog_fd: old.as_raw_fd() as u32,
    };
    bpf(Command::LinkUpdate, &mut attr).map(drop)
}

/// Takes the program off the device, whoever else holds the link.
pub(super) fn detach(link: &OwnedFd) -> Result<(), io::Error> {
    let mut attr = [link.as_raw_fd() as u32];
    bpf(Command::LinkDetach, &mut attr).map(drop)
}

/// The link of this id.
pub(super) fn open(id: u32) -> Result<OwnedFd, io::Error> {
    open_by_id(Command::LinkGetFdById, id)
}

/// The program of this id.
pub(super) fn open_program(id: u32) -> Result<OwnedFd, io::Error> {
    open_by_id(Command::ProgGetFdById, id)
}

fn open_by_id(command: Command, id: u32) -> Result<OwnedFd, io::Error> {
    let mut attr = GetFdByIdAttr {
        id,
        ..GetFdByIdAttr::default()
    };
    bpf_fd(command, &mut attr)
}

/// All XDP links of this machine, those of other namespaces too.
pub(super) fn all() -> Result<Vec<LinkInfo>, io::Error> {
    let mut links = Vec::new();
    let mut attr = GetFdByIdAttr::default();
    loop {
        match bpf(Command::LinkGetNextId, &mut attr) {
            Ok(_) => attr.id = attr.next_id,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(links),
            Err(error) => return Err(error),
        }
        // One that is gone meanwhile is none.
        if let Ok(fd) = open(attr.id) {
            links.extend(info(&fd)?);
        }
    }
}

/// What a link is; `None` if it is no XDP link.
pub(super) fn info(link: &OwnedFd) -> Result<Option<LinkInfo>, io::Error> {
    // type, id, prog_id, padding, then by type: ifindex.
    let mut words = [0; 8];
    object_info(link, &mut words)?;
    let [kind, id, program, _, ifindex, ..] = words;
    Ok((kind == LINK_TYPE_XDP).then_some(LinkInfo {
        id,
        program,
        ifindex,
    }))
}

/// What a program is.
pub(super) fn program_info(program: &OwnedFd) -> Result<ProgramInfo, io::Error> {
    // Byte offsets in `struct bpf_prog_info`: tag 8, name 64, run_time_ns 192, run_cnt 200.
    let mut words = [0u32; 52];
    object_info(program, &mut words)?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let wide = |word: usize| u64::from(words[word]) | u64::from(words[word + 1]) << 32;
    let tag = *bytes[8..].first_chunk().expect("the structure is longer");
    let name = bytes[64..80].split(|byte| *byte == 0).next();
    Ok(ProgramInfo {
        name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
        tag: u64::from_be_bytes(tag),
        run_time_ns: wide(48),
        run_count: wide(50),
    })
}

/// Gives an object a name in a bpffs, by which it lives on.
pub(super) fn pin(object: &OwnedFd, path: &CStr) -> Result<(), io::Error> {
    let mut attr = ObjAttr {
        pathname: address(path.to_bytes_with_nul()),
        bpf_fd: object.as_raw_fd() as u32,
        ..ObjAttr::default()
    };
    bpf(Command::ObjPin, &mut attr).map(drop)
}

/// The object of this name in a bpffs.
pub(super) fn open_pinned(path: &CStr) -> Result<OwnedFd, io::Error> {
    let mut attr = ObjAttr {
        pathname: address(path.to_bytes_with_nul()),
        ..ObjAttr::default()
    };
    bpf_fd(Command::ObjGet, &mut attr)
}

/// Lets the kernel count and time runs as long as the descriptor is open.
pub(super) fn enable_statistics() -> Result<OwnedFd, io::Error> {
    bpf_fd(Command::EnableStats, &mut [STATS_RUN_TIME])
}
