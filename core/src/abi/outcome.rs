//! What one packet leaves behind, beside its bytes and the maps.

use super::Trap;

/// What an XDP program returned. The raw 32-bit value is kept in [`Outcome::retval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum XdpAction {
    /// 0, and every value above 4, which drivers treat alike.
    Aborted,
    /// 1
    Drop,
    /// 2
    Pass,
    /// 3
    Tx,
    /// 4
    Redirect,
}

impl XdpAction {
    /// The action that a driver takes for a return value.
    pub const fn from_retval(retval: u32) -> Self {
        match retval {
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            _ => Self::Aborted,
        }
    }

    /// Name in reports and in `--packets`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Tx => "tx",
            Self::Redirect => "redirect",
        }
    }
}

/// Through what a packet is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RedirectKind {
    /// `bpf_redirect`: an interface index.
    Ifindex,
    /// `bpf_redirect_map` with a devmap or `devmap_hash`.
    Devmap,
    /// `bpf_redirect_map` with a cpumap.
    Cpumap,
    /// `bpf_redirect_map` with an xskmap.
    Xskmap,
}

impl RedirectKind {
    /// Name in reports and in `--packets`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ifindex => "ifindex",
            Self::Devmap => "devmap",
            Self::Cpumap => "cpumap",
            Self::Xskmap => "xskmap",
        }
    }
}

/// Where a packet goes that a program redirects: the target that stands when the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Through what.
    pub kind: RedirectKind,
    /// Map, by index in the module.
    pub map: Option<u32>,
    /// Key in the map.
    pub key: Option<u32>,
    /// Interface index, CPU or RX queue.
    pub target: Option<u32>,
    /// Flags of the call.
    pub flags: u64,
}

/// What the program did with one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Low 32 bits of `r0` at exit.
    pub retval: u32,
    /// Redirect target, if the action is [`XdpAction::Redirect`] and a target stands.
    pub redirect: Option<Redirect>,
    /// The fault that ended the run. `retval` is then 0.
    pub trap: Option<Box<Trap>>,
    /// The backend could not take this packet, and why; nothing else here means anything then.
    pub refused: Option<String>,
}

impl Outcome {
    /// The action that a driver takes.
    pub const fn action(&self) -> XdpAction {
        XdpAction::from_retval(self.retval)
    }
}

/// A record that a program sent to user space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Packet.
    pub packet_id: u64,
    /// Ring buffer or perf event array, by index in the module.
    pub map: u32,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Side buffers for what only some users look at.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Events in the order they were sent.
    pub events: Vec<Event>,
    /// Lines of `trace_printk` with their packet.
    pub printk: Vec<(u64, String)>,
}
