//! What a socket buffer (`struct sk_buff`) carries beside the packet: what the network stack notes at
//! reception, and what programs leave there for each other and for the stack.

use super::{Frame, Mac};

/// Bytes of the Ethernet header, which socket filters do not see.
const ETHERNET: usize = 14;
/// `ETH_P_802_3_MIN`: lower numbers behind the addresses are lengths.
const ETHERTYPE_MIN: u16 = 1536;
/// `ETH_P_802_3` and `ETH_P_802_2`: what the stack notes for frames with a length.
const RAW_802_3: u16 = 1;
const LLC: u16 = 4;

/// To whom a packet is addressed (`PACKET_HOST` and its kin).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketKind {
    /// To the interface that it came in through.
    #[default]
    Host,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
    /// To somebody else.
    OtherHost,
}

impl PacketKind {
    /// The kind with this number, if programs may choose it (`skb_pkt_type_ok`).
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Host),
            1 => Some(Self::Broadcast),
            2 => Some(Self::Multicast),
            3 => Some(Self::OtherHost),
            _ => None,
        }
    }

    fn of(destination: [u8; 6], interface: Mac) -> Self {
        match destination {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Self::Broadcast,
            [first, ..] if first & 1 == 1 => Self::Multicast,
            other if other == interface.0 => Self::Host,
            _ => Self::OtherHost,
        }
    }
}

/// The fields of a socket buffer that are not the packet's bytes and not in [`super::Receive`].
/// Those that a test-run of the kernel shows afterwards are [`SocketBuffer::shown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketBuffer {
    /// To whom it is addressed.
    pub kind: PacketKind,
    /// What follows the Ethernet header, as received.
    pub protocol: u16,
    /// For rules and routes.
    pub mark: u32,
    /// For queueing disciplines.
    pub priority: u32,
    /// TX queue.
    pub queue_mapping: u16,
    /// Class that a classifier chose, low half.
    pub tc_index: u16,
    /// Class that a direct-action classifier chose.
    pub tc_classid: u32,
    /// Scratch space.
    pub cb: [u8; 20],
    /// Flow hash, 0 if nobody asked for it.
    pub hash: u32,
    /// Time stamp, ns.
    pub tstamp: u64,
}

/// What a test-run of the kernel shows of a socket buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShownSocketBuffer {
    /// For rules and routes.
    pub mark: u32,
    /// For queueing disciplines.
    pub priority: u32,
    /// Scratch space.
    pub cb: [u8; 20],
    /// Time stamp, ns.
    pub tstamp: u64,
}

impl SocketBuffer {
    /// The buffer of a packet that an interface with this address received (`eth_type_trans`).
    pub fn received(frame: &Frame, interface: Mac) -> Self {
        let linear = frame.linear();
        let protocol = linear.get(12..).and_then(<[u8]>::first_chunk);
        let number = protocol.map_or(0, |bytes| u16::from_be_bytes(*bytes));
        let protocol = if number >= ETHERTYPE_MIN {
            number
        } else if linear.get(ETHERNET..ETHERNET + 2) == Some(&[0xff, 0xff]) {
            RAW_802_3
        } else {
            LLC
        };
        let destination = linear.first_chunk();
        Self {
            kind: destination.map_or(PacketKind::OtherHost, |to| PacketKind::of(*to, interface)),
            protocol,
            ..Self::default()
        }
    }

    /// What the kernel's test-run shows, too.
    pub const fn shown(&self) -> ShownSocketBuffer {
        ShownSocketBuffer {
            mark: self.mark,
            priority: self.priority,
            cb: self.cb,
            tstamp: self.tstamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(packet: &[u8]) -> (PacketKind, u16) {
        let mut frame = Frame::new();
        frame.set_packet(packet).unwrap();
        let buffer = SocketBuffer::received(&frame, Mac([2, 0, 0, 0, 0, 2]));
        (buffer.kind, buffer.protocol)
    }

    fn packet(destination: [u8; 6], rest: &[u8]) -> Vec<u8> {
        [&destination, &[0; 6][..], rest].concat()
    }

    #[test]
    fn kind_and_protocol_are_those_at_reception() {
        let ip = &[0x08, 0x00, 0x45, 0x00];
        let broadcast = packet([0xff; 6], ip);
        assert_eq!(received(&broadcast), (PacketKind::Broadcast, 0x0800));
        let group = packet([1, 0, 0x5e, 0, 0, 1], ip);
        assert_eq!(received(&group), (PacketKind::Multicast, 0x0800));
        let own = packet([2, 0, 0, 0, 0, 2], &[0x00, 0x40, 0xff, 0xff]);
        assert_eq!(received(&own), (PacketKind::Host, RAW_802_3));
        let other = packet([2, 0, 0, 0, 0, 3], &[0x00, 0x40, 0xaa, 0xaa]);
        assert_eq!(received(&other), (PacketKind::OtherHost, LLC));
        assert_eq!(received(&[]), (PacketKind::OtherHost, LLC));
    }
}
