//! The IO-module ABI: what a backend is given, what it gives back, and the environment that a
//! program sees. `docs/abi.md` is its specification.

mod backend;
mod capabilities;
mod environment;
mod frame;
mod network;
mod outcome;
mod socket_buffer;
mod trap;

pub use backend::{
    Backend, BackendError, Instance, LoadRequest, OTHER_INTERFACES_END, Refusal, Worker,
};
pub use capabilities::Capabilities;
pub use environment::{Environment, PacketClock, PacketRandom};
pub use frame::{
    FRAGMENT_BYTES, FRAGMENTS_MAX, FRAME_BYTES, Fragment, Frame, FrameError, HEADROOM_BYTES,
    LINEAR_MAX, Receive, TAILROOM_BYTES,
};
pub use network::{
    Interface, MAIN_TABLE, Mac, Neighbour, Network, NetworkError, Prefix, Route, RouteKind, Rule,
};
pub use outcome::{
    Event, Outcome, Recorder, Redirect, RedirectKind, TcAction, XdpAction, action_name, effect,
};
pub use socket_buffer::{PacketKind, ShownSocketBuffer, SocketBuffer};
pub use trap::{Access, Trap, TrapKind};

/// An RX queue, which is also the CPU that programs see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// A port of a device, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

impl PortId {
    /// Interface index that programs see: the loopback device is 1, so port 0 is 2.
    pub const fn ifindex(self) -> u32 {
        self.0 + 2
    }

    /// The port that has this interface index.
    pub const fn from_ifindex(ifindex: u32) -> Option<Self> {
        match ifindex.checked_sub(2) {
            Some(port) => Some(Self(port)),
            None => None,
        }
    }
}
