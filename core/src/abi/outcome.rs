//! What one packet leaves behind, beside its bytes and the maps.

use super::Trap;
use crate::module::ProgramType;

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

/// What a direct-action classifier returned (`cls_bpf_exec_opcode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TcAction {
    /// -1, and every value that is no other: as if the classifier were not there.
    Unspec,
    /// 0
    Ok,
    /// 2
    Shot,
    /// 4
    Stolen,
    /// 7
    Redirect,
    /// 8
    Trap,
}

impl TcAction {
    /// The action that the classifier's caller takes for a return value.
    pub const fn from_retval(retval: u32) -> Self {
        match retval {
            0 => Self::Ok,
            2 => Self::Shot,
            4 => Self::Stolen,
            7 => Self::Redirect,
            8 => Self::Trap,
            _ => Self::Unspec,
        }
    }

    /// Name in reports and in `--packets`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspec => "unspec",
            Self::Ok => "ok",
            Self::Shot => "shot",
            Self::Stolen => "stolen",
            Self::Redirect => "redirect",
            Self::Trap => "trap",
        }
    }

    /// The XDP action with the same effect on the packet. What is stolen or trapped does not go on.
    const fn effect(self) -> XdpAction {
        match self {
            Self::Unspec | Self::Ok => XdpAction::Pass,
            Self::Shot | Self::Stolen | Self::Trap => XdpAction::Drop,
            Self::Redirect => XdpAction::Redirect,
        }
    }
}

/// The effect that a return value has on the packet, as the XDP action with that effect. A socket
/// filter returns how many bytes to keep, a classifier a [`TcAction`].
pub const fn effect(program_type: ProgramType, retval: u32) -> XdpAction {
    match program_type {
        ProgramType::Xdp | ProgramType::Raw => XdpAction::from_retval(retval),
        ProgramType::SchedCls => TcAction::from_retval(retval).effect(),
        ProgramType::SocketFilter => match retval {
            0 => XdpAction::Drop,
            _ => XdpAction::Pass,
        },
    }
}

/// Name of the action that a return value means, in reports and in `--packets`.
pub const fn action_name(program_type: ProgramType, retval: u32) -> &'static str {
    match program_type {
        ProgramType::SchedCls => TcAction::from_retval(retval).name(),
        ProgramType::Xdp | ProgramType::Raw | ProgramType::SocketFilter => {
            effect(program_type, retval).name()
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
    /// Type of the program, which says what the return value means.
    pub program_type: ProgramType,
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
    /// The action that is taken: for classifiers and socket filters the XDP action with the same
    /// effect.
    pub const fn action(&self) -> XdpAction {
        effect(self.program_type, self.retval)
    }

    /// Name of the action in the words of the program's type.
    pub const fn action_name(&self) -> &'static str {
        action_name(self.program_type, self.retval)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_values_mean_what_the_program_type_says() {
        let of = |program_type, retval| {
            let outcome = Outcome {
                program_type,
                retval,
                ..Outcome::default()
            };
            (outcome.action(), outcome.action_name())
        };
        let (tc, filter) = (ProgramType::SchedCls, ProgramType::SocketFilter);
        assert_eq!(of(ProgramType::Xdp, 2), (XdpAction::Pass, "pass"));
        assert_eq!(of(tc, 0), (XdpAction::Pass, "ok"));
        assert_eq!(of(tc, u32::MAX), (XdpAction::Pass, "unspec"));
        // Not for direct action: reclassify, pipe, queued, repeat.
        for other in [1, 3, 5, 6, 9] {
            assert_eq!(of(tc, other), (XdpAction::Pass, "unspec"));
        }
        assert_eq!(of(tc, 2), (XdpAction::Drop, "shot"));
        assert_eq!(of(tc, 4), (XdpAction::Drop, "stolen"));
        assert_eq!(of(tc, 7), (XdpAction::Redirect, "redirect"));
        assert_eq!(of(tc, 8), (XdpAction::Drop, "trap"));
        assert_eq!(of(filter, 0), (XdpAction::Drop, "drop"));
        assert_eq!(of(filter, 40), (XdpAction::Pass, "pass"));
    }
}
