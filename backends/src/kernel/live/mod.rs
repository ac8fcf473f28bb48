//! Live: a program on a device of this machine's network namespace, held by a BPF link.
//!
//! The program is loaded as it is, without the rewrite that replay needs. The link is pinned in a
//! bpffs, so that it outlives the process, or lives as long as the process.

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod bpffs;
#[cfg(target_os = "linux")]
mod detach;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod status;

use std::fmt;
use std::path::PathBuf;

use iom_core::abi::{BackendError, LoadRequest};

use super::KernelBackend;

/// Where on a device's way a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack, on any device.
    Skb,
    /// On the device itself.
    Hw,
}

impl Mode {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
            Self::Hw => "hw",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holds the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A folder in a bpffs with the link and the maps; none: [`default_pin`].
    Pin(Option<PathBuf>),
    /// The [`Attachment`].
    Process,
}

/// How to attach.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// Name of the device.
    pub device: String,
    /// Mode; none: native where the driver can, else skb, and when replacing what it was.
    pub mode: Option<Mode>,
    /// Put the program in the place of the one that the device has.
    pub replace: bool,
    /// What holds the link.
    pub hold: Hold,
}

/// A program on a device.
#[derive(Debug)]
pub struct Attachment {
    /// Name of the device.
    pub device: String,
    /// Mode that it came to.
    pub mode: Mode,
    /// The kernel's id of the program.
    pub program: u32,
    /// The kernel's id of the link.
    pub link: u32,
    /// Where link and maps are pinned.
    pub pin: Option<PathBuf>,
    /// Id of the program that was there before.
    pub replaced: Option<u32>,
    /// Link and maps; without them and without pins the program is gone.
    #[cfg(target_os = "linux")]
    _held: Vec<std::os::fd::OwnedFd>,
}

/// A device and its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Name.
    pub device: String,
    /// Index.
    pub ifindex: u32,
    /// Programs, one a mode.
    pub programs: Vec<ProgramStatus>,
}

/// A program that a device has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatus {
    /// Mode.
    pub mode: Mode,
    /// The kernel's id.
    pub id: u32,
    /// Name, as the kernel cut it.
    pub name: String,
    /// The kernel's hash of the instructions.
    pub tag: String,
    /// Id of the link that holds it; none if it was attached without one.
    pub link: Option<u32>,
    /// Folder in the bpffs with the link.
    pub pin: Option<PathBuf>,
    /// Maps pinned beside the link.
    pub maps: Vec<PathBuf>,
    /// Runs, counted while the kernel's statistics were enabled.
    pub run_count: u64,
    /// Time of these runs.
    pub run_time_ns: u64,
}

/// Why a program does not get onto a device or off it.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Loading, or a kernel that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no such device.
    #[error("no device {device} in this network namespace (`ip link` lists those there are)")]
    NoDevice {
        /// Name.
        device: String,
    },
    /// The device has a program.
    #[error(
        "{device} has program {name} (id {id}, {mode}) already: --replace puts this one in its place, `iom detach {device}` takes it off"
    )]
    Busy {
        /// Device.
        device: String,
        /// Name of its program.
        name: String,
        /// Id of its program.
        id: u32,
        /// Mode of its program.
        mode: Mode,
    },
    /// The device has a program that no link holds.
    #[error(
        "{device} has program {name} (id {id}, {mode}), attached by another tool without a link: `ip link set dev {device} {} off` takes it off",
        iproute_word(*mode)
    )]
    NoLink {
        /// Device.
        device: String,
        /// Name of its program.
        name: String,
        /// Id of its program.
        id: u32,
        /// Mode of its program.
        mode: Mode,
    },
    /// Replacing does not change the mode.
    #[error(
        "{device} runs its program in mode {mode}; replacing keeps the mode, so leave --mode out or `iom detach {device}` first"
    )]
    OtherMode {
        /// Device.
        device: String,
        /// Mode that it has.
        mode: Mode,
    },
    /// The device has no program.
    #[error("{device} has no XDP program")]
    NotAttached {
        /// Device.
        device: String,
    },
    /// The kernel does not attach in this mode.
    #[error("the kernel does not attach to {device} in mode {mode}: {error}; {hint}")]
    Attach {
        /// Device.
        device: String,
        /// Mode.
        mode: Mode,
        /// Its answer.
        error: std::io::Error,
        /// What it means and what to do.
        hint: &'static str,
    },
    /// A redirect map names what is not on this machine.
    #[error(
        "map {map}, key {key}: there is no {what} {number} here; --seed-maps FILE puts others in its place"
    )]
    Target {
        /// Map.
        map: String,
        /// Key.
        key: u32,
        /// Interface or CPU.
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// The bpffs.
    #[error("{}: {problem}", path.display())]
    Pin {
        /// Path.
        path: PathBuf,
        /// What happened and what to do.
        problem: String,
    },
    /// A system call failed.
    #[error("{action}: {error}")]
    Syscall {
        /// What was being done.
        action: String,
        /// What happened.
        error: std::io::Error,
    },
}

#[cfg(target_os = "linux")]
impl From<super::syscall::SyscallError> for LiveError {
    fn from(error: super::syscall::SyscallError) -> Self {
        Self::Syscall {
            action: error.action,
            error: error.source,
        }
    }
}

/// What `ip link set` calls the mode.
const fn iproute_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Native => "xdpdrv",
        Mode::Skb => "xdpgeneric",
        Mode::Hw => "xdpoffload",
    }
}

/// Attaches a module's entry program to a device of this thread's network namespace, with the
/// request's maps; its ports, queues and environment have no meaning here.
pub fn attach(request: &LoadRequest<'_>, options: &AttachOptions) -> Result<Attachment, LiveError> {
    KernelBackend::probe()?;
    #[cfg(target_os = "linux")]
    return attach::attach(request, options);
    #[cfg(not(target_os = "linux"))]
    unreachable!("probe refuses other systems, not {request:?} {options:?}");
}

/// Takes the program off a device, or off that which the link pinned at a path (with a slash) is
/// for, and removes the pins. Gives the names of what was done, a line each.
pub fn detach(target: &str) -> Result<Vec<String>, LiveError> {
    KernelBackend::probe()?;
    #[cfg(target_os = "linux")]
    return detach::detach(target);
    #[cfg(not(target_os = "linux"))]
    unreachable!("probe refuses other systems, not {target}");
}

/// The programs of a device, or of all devices that have some.
pub fn status(device: Option<&str>) -> Result<Vec<DeviceStatus>, LiveError> {
    KernelBackend::probe()?;
    #[cfg(target_os = "linux")]
    return status::status(device);
    #[cfg(not(target_os = "linux"))]
    unreachable!("probe refuses other systems, not {device:?}");
}

/// Whether the kernel counts runs now.
pub fn statistics_enabled() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")
        .is_ok_and(|value| value.trim() == "1")
}

/// Lets the kernel count runs until the value is dropped.
#[derive(Debug)]
pub struct Counting {
    #[cfg(target_os = "linux")]
    _enabled: std::os::fd::OwnedFd,
}

impl Counting {
    /// Begins.
    pub fn start() -> Result<Self, LiveError> {
        KernelBackend::probe()?;
        #[cfg(target_os = "linux")]
        return Ok(Self {
            _enabled: super::link::enable_statistics().map_err(|error| LiveError::Syscall {
                action: "enable the kernel's BPF statistics".to_owned(),
                error,
            })?,
        });
        #[cfg(not(target_os = "linux"))]
        unreachable!("probe refuses other systems");
    }
}

/// The folder in the bpffs that holds the link and the maps of a device.
pub fn default_pin(device: &str) -> PathBuf {
    // A bpffs keeps names with dots to itself.
    PathBuf::from(BPFFS)
        .join("iom")
        .join(device.replace('.', "_"))
}

/// Where the bpffs is mounted by custom.
const BPFFS: &str = "/sys/fs/bpf";
