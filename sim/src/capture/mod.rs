//! Captures in and out. [`CaptureReader`] gives the records of a file as they stand, whatever its format;
//! [`FrameReader`] the Ethernet frames that a port receives of it; [`MergedReader`] those of several files by time.
//! [`CaptureWriter`] writes packets with what a program decided about them.

mod error;
mod frames;
mod input;
mod interface;
mod json;
mod link;
mod merge;
mod pcap;
mod pcapng;
mod reader;
mod source;
mod writer;
mod zstd;

pub use error::{CaptureError, CaptureFault};
pub use frames::{Counts, FrameReader, OtherLinks, Policy, Truncated};
pub use input::Input;
pub use interface::Interface;
pub use link::LinkType;
pub use merge::{MergedReader, Order};
pub use reader::CaptureReader;
pub use source::Compression;
pub use writer::{CaptureWriter, WriteError, port_name};

/// One captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// Nanoseconds since 1970. A packet without a time stamp has that of the packet before it, or 0.
    pub time_ns: u64,
    /// Length on the wire as the file says it; files exist where it is smaller than what was captured.
    pub original_len: u32,
    /// Index of the interface within its section of the file.
    pub interface: u32,
    /// What the packet begins with.
    pub link_type: LinkType,
    /// What an earlier run noted beside it.
    pub annotations: Annotations,
}

/// What a run notes beside a packet, in the options that Wireshark shows under `frame.verdict` and
/// `frame.interface_queue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// What the XDP program returned (`epb_verdict`, type "Linux eBPF XDP").
    pub xdp_action: Option<u64>,
    /// RX queue (`epb_queue`).
    pub queue: Option<u32>,
    /// Packet id (`epb_packetid`): equal for all copies of a packet.
    pub packet_id: Option<u64>,
}

/// Packets one after the other, the current one borrowed.
pub trait PacketSource {
    /// Moves on to the next packet; false at the end. After an error the source is at its end.
    fn advance(&mut self) -> Result<bool, CaptureError>;

    /// The packet that the last `advance` found; `None` before the first and after the last.
    fn packet(&self) -> Option<Packet<'_>>;

    /// `advance` and `packet` in one.
    fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        self.advance()?;
        Ok(self.packet())
    }
}
