//! The Ethernet frames that a port receives of a capture, by explicit policy for what is no whole Ethernet frame.

use super::LinkType;
use super::link::{ETHERNET_HEADER, to_ethernet};
use super::{CaptureError, CaptureFault, CaptureReader, Packet, PacketSource};

/// Longest frame that padding may make: libpcap's greatest snapshot length.
const MAX_PADDED_BYTES: usize = 262_144;

/// What becomes of packets that are no whole Ethernet frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Frames of which only the beginning was captured.
    pub truncated: Truncated,
    /// Packets of other link types.
    pub other_links: OtherLinks,
}

/// Frames of which only the beginning was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncated {
    /// The captured bytes are the frame.
    #[default]
    Captured,
    /// Zeros up to the original length; above 262,144 bytes the frame is skipped.
    Pad,
    /// They are left out.
    Skip,
}

/// Packets of other link types than Ethernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherLinks {
    /// The first one is an error.
    #[default]
    Refuse,
    /// They are left out.
    Skip,
    /// IP, Linux cooked and BSD loopback packets get an Ethernet header; others are left out.
    Adapt,
}

/// What the policy did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames given out.
    pub frames: u64,
    /// Of these, frames of which only the beginning was captured.
    pub truncated: u64,
    /// Of these, packets with an Ethernet header of ours.
    pub adapted: u64,
    /// Truncated frames left out.
    pub skipped_truncated: u64,
    /// Packets of other link types left out.
    pub skipped_links: u64,
}

/// Ethernet frames of a capture.
pub struct FrameReader {
    reader: CaptureReader,
    policy: Policy,
    counts: Counts,
    frame: Option<Frame>,
    /// A frame that does not stand in the file as it is.
    made: Vec<u8>,
}

/// Where the current frame's bytes are.
#[derive(Clone, Copy)]
enum Frame {
    /// The first `len` bytes of the record.
    Captured { len: usize, original_len: u32 },
    /// In `made`.
    Made { original_len: u32 },
}

impl FrameReader {
    /// The frames of `reader`.
    pub fn new(reader: CaptureReader, policy: Policy) -> FrameReader {
        FrameReader {
            reader,
            policy,
            counts: Counts::default(),
            frame: None,
            made: Vec::new(),
        }
    }

    /// What the policy did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The capture behind the frames.
    pub fn capture(&self) -> &CaptureReader {
        &self.reader
    }
}

impl PacketSource for FrameReader {
    fn advance(&mut self) -> Result<bool, CaptureError> {
        self.frame = None;
        while let Some(packet) = self.reader.next_packet()? {
            let (truncated, adapted) = (is_truncated(&packet), !packet.link_type.is_ethernet());
            if adapted && self.policy.other_links == OtherLinks::Refuse {
                let fault = CaptureFault::OtherLink {
                    interface: packet.interface,
                    link_type: packet.link_type,
                };
                return Err(self.reader.stop(fault));
            }
            match frame(&packet, self.policy, &mut self.made) {
                Ok(frame) => {
                    self.frame = Some(frame);
                    self.counts.frames += 1;
                    self.counts.truncated += u64::from(truncated);
                    self.counts.adapted += u64::from(adapted);
                    return Ok(true);
                }
                Err(Skipped::Link) => self.counts.skipped_links += 1,
                Err(Skipped::Truncated) => self.counts.skipped_truncated += 1,
            }
        }
        Ok(false)
    }

    /// The frame, its link type always Ethernet without frame check sequence.
    fn packet(&self) -> Option<Packet<'_>> {
        let packet = self.reader.packet()?;
        let (bytes, original_len) = match self.frame? {
            Frame::Captured { len, original_len } => (&packet.bytes[..len], original_len),
            Frame::Made { original_len } => (&self.made[..], original_len),
        };
        Some(Packet {
            bytes,
            original_len,
            link_type: LinkType::ETHERNET,
            ..packet
        })
    }
}

/// Why a packet is left out.
enum Skipped {
    Link,
    Truncated,
}

fn is_truncated(packet: &Packet<'_>) -> bool {
    packet.bytes.len() < packet.original_len as usize
}

/// Carries the policy out on one packet; `made` takes a frame that is not in the file.
fn frame(packet: &Packet<'_>, policy: Policy, made: &mut Vec<u8>) -> Result<Frame, Skipped> {
    let truncated = is_truncated(packet);
    if truncated && policy.truncated == Truncated::Skip {
        return Err(Skipped::Truncated);
    }
    let (len, original_len) = without_fcs(packet);
    let frame = if packet.link_type.is_ethernet() {
        Frame::Captured { len, original_len }
    } else if policy.other_links == OtherLinks::Adapt {
        adapted(packet.link_type, &packet.bytes[..len], original_len, made)?
    } else {
        return Err(Skipped::Link);
    };
    if truncated && policy.truncated == Truncated::Pad {
        padded(frame, packet.bytes, made)
    } else {
        Ok(frame)
    }
}

/// Captured and original length without the frame check sequence: hardware takes it off before a program sees the
/// frame. A capture that was cut has less of it, or none.
fn without_fcs(packet: &Packet<'_>) -> (usize, u32) {
    let (len, fcs_bytes) = (packet.bytes.len(), packet.link_type.fcs_bytes);
    if fcs_bytes == 0 {
        return (len, packet.original_len);
    }
    let original_len = packet.original_len.saturating_sub(fcs_bytes.into());
    (len.min(original_len as usize), original_len)
}

/// The packet with an Ethernet header for its own.
fn adapted(
    link_type: LinkType,
    bytes: &[u8],
    original_len: u32,
    made: &mut Vec<u8>,
) -> Result<Frame, Skipped> {
    let replaced = to_ethernet(link_type, bytes, made).ok_or(Skipped::Link)?;
    let payload_len = original_len.saturating_sub(replaced as u32);
    Ok(Frame::Made {
        original_len: payload_len.saturating_add(ETHERNET_HEADER as u32),
    })
}

/// The frame with zeros up to its original length.
fn padded(frame: Frame, captured: &[u8], made: &mut Vec<u8>) -> Result<Frame, Skipped> {
    let original_len = match frame {
        Frame::Captured { len, original_len } => {
            made.clear();
            made.extend_from_slice(&captured[..len]);
            original_len
        }
        Frame::Made { original_len } => original_len,
    };
    let len = original_len as usize;
    if len > MAX_PADDED_BYTES {
        return Err(Skipped::Truncated);
    }
    made.resize(len.max(made.len()), 0);
    Ok(Frame::Made { original_len })
}
