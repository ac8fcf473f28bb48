//! Link types as the tcpdump.org registry numbers them, and Ethernet headers for packets that have none.

use std::fmt;

use pcap_file::DataLink;

/// What the first bytes of a packet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkType {
    /// The LINKTYPE number.
    pub number: u32,
    /// Bytes of frame check sequence that follow each frame.
    pub fcs_bytes: u8,
}

impl LinkType {
    /// Ethernet without frame check sequence.
    pub const ETHERNET: LinkType = LinkType {
        number: 1,
        fcs_bytes: 0,
    };

    /// The link-type word of a pcap header: the number, and how many 16-bit words of FCS follow if bit 26 is set
    /// (draft-ietf-opsawg-pcap section 4).
    pub(super) fn from_pcap_word(word: u32) -> LinkType {
        const FCS_PRESENT: u32 = 1 << 26;
        let fcs_words = if word & FCS_PRESENT == 0 {
            0
        } else {
            word >> 28
        };
        LinkType {
            number: word & 0x03ff_ffff,
            fcs_bytes: 2 * fcs_words as u8,
        }
    }

    /// Ethernet, with or without frame check sequence.
    pub fn is_ethernet(self) -> bool {
        self.number == LinkType::ETHERNET.number
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DataLink::from(self.number) {
            DataLink::Unknown(number) => write!(f, "LINKTYPE_{number}"),
            // The registry leaves 12 to 18 to old files, where 12 and 14 were the DLT_RAW of their systems.
            name => write!(f, "{name:?}"),
        }
    }
}

/// Ethernet addresses of synthesised headers: locally administered, so that they are nobody's.
const HOST: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const BROADCAST: [u8; 6] = [0xff; 6];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// From here on the field after the addresses is a type, below a length (IEEE 802.3 clause 3.2.6).
const FIRST_ETHERTYPE: u16 = 0x0600;

/// Writes into `frame` the packet with an Ethernet header instead of its own; returns how many bytes the old header
/// had, or `None` (and leaves `frame` undefined) if the packet has no counterpart on Ethernet.
pub(super) fn to_ethernet(link_type: LinkType, bytes: &[u8], frame: &mut Vec<u8>) -> Option<usize> {
    let header = match link_type.number {
        12 | 14 | 101 | 228 | 229 => Header::from_ip(bytes, 0)?,
        0 => Header::from_loopback(bytes)?,
        108 => Header::from_ip(bytes, 4)?,
        113 => Header::from_cooked(bytes)?,
        276 => Header::from_cooked_v2(bytes)?,
        _ => return None,
    };
    let payload = bytes.get(header.replaced..)?;
    let protocol = match header.protocol {
        // Cooked captures number 802.3 frames without a type: the length field says so on the wire.
        0x0001 | 0x0004 => u16::try_from(payload.len())
            .ok()
            .filter(|&length| length < FIRST_ETHERTYPE)?,
        ethertype if ethertype >= FIRST_ETHERTYPE => ethertype,
        _ => return None,
    };
    frame.clear();
    frame.extend_from_slice(&header.destination);
    frame.extend_from_slice(&header.source);
    frame.extend_from_slice(&protocol.to_be_bytes());
    frame.extend_from_slice(payload);
    Some(header.replaced)
}

/// Length of the header that `to_ethernet` writes.
pub(super) const ETHERNET_HEADER: usize = 14;

/// What an Ethernet header needs to know of another link's header.
struct Header {
    destination: [u8; 6],
    source: [u8; 6],
    protocol: u16,
    replaced: usize,
}

impl Header {
    /// IP behind `replaced` bytes; the version nibble says which.
    fn from_ip(bytes: &[u8], replaced: usize) -> Option<Header> {
        let protocol = match bytes.get(replaced)? >> 4 {
            4 => IPV4,
            6 => IPV6,
            _ => return None,
        };
        Some(Header {
            destination: HOST,
            source: PEER,
            protocol,
            replaced,
        })
    }

    /// BSD loopback: the address family in the byte order of the machine that captured.
    fn from_loopback(bytes: &[u8]) -> Option<Header> {
        let word = u32::from_le_bytes(*bytes.first_chunk()?);
        match if word > 0xffff {
            word.swap_bytes()
        } else {
            word
        } {
            // AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
            2 | 10 | 24 | 28 | 30 => Header::from_ip(bytes, 4),
            _ => None,
        }
    }

    /// `LINKTYPE_LINUX_SLL`: packet type, ARPHRD type, address length, address, protocol.
    fn from_cooked(bytes: &[u8]) -> Option<Header> {
        let header: &[u8; 16] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Header::from_cooked_fields(word(0), word(2), word(4), &header[6..12], word(14), 16)
    }

    /// `LINKTYPE_LINUX_SLL2`: protocol, reserved, interface, ARPHRD type, packet type, address length, address.
    fn from_cooked_v2(bytes: &[u8]) -> Option<Header> {
        let header: &[u8; 20] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Header::from_cooked_fields(
            header[10].into(),
            word(8),
            header[11].into(),
            &header[12..18],
            word(0),
            20,
        )
    }

    fn from_cooked_fields(
        packet_type: u16,
        hardware: u16,
        address_length: u16,
        address: &[u8],
        protocol: u16,
        replaced: usize,
    ) -> Option<Header> {
        /// On these ARPHRD types (802.11 radiotap, GRE, netlink) the protocol field is no Ethernet type.
        const OTHER_PROTOCOLS: [u16; 3] = [803, 778, 824];
        if OTHER_PROTOCOLS.contains(&hardware) {
            return None;
        }
        let source = if address_length == 6 {
            address.try_into().ok()?
        } else {
            PEER
        };
        let destination = match packet_type {
            0 => HOST,
            1 => BROADCAST,
            _ => PEER,
        };
        Some(Header {
            destination,
            source,
            protocol,
            replaced,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapt(number: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        to_ethernet(
            LinkType {
                number,
                fcs_bytes: 0,
            },
            bytes,
            &mut frame,
        )
        .map(|_| frame)
    }

    #[test]
    fn fcs_bits_are_not_part_of_the_number() {
        assert_eq!(
            LinkType::from_pcap_word(0x2400_0001),
            LinkType {
                number: 1,
                fcs_bytes: 4
            }
        );
        assert_eq!(LinkType::from_pcap_word(1), LinkType::ETHERNET);
        assert_eq!(LinkType::from_pcap_word(0x2000_0001).fcs_bytes, 0);
    }

    #[test]
    fn names_are_the_registry_s() {
        assert_eq!(LinkType::ETHERNET.to_string(), "ETHERNET");
        assert_eq!(
            LinkType {
                number: 60_000,
                fcs_bytes: 0
            }
            .to_string(),
            "LINKTYPE_60000"
        );
    }

    #[test]
    fn raw_ip_gets_the_type_of_its_version() {
        assert_eq!(adapt(101, &[0x45, 0]).unwrap()[12..], [0x08, 0x00, 0x45, 0]);
        assert_eq!(adapt(12, &[0x60]).unwrap()[12..], [0x86, 0xdd, 0x60]);
        assert_eq!(adapt(101, &[0x05]), None);
        assert_eq!(adapt(101, &[]), None);
    }

    #[test]
    fn loopback_families_come_in_both_orders() {
        assert_eq!(
            adapt(0, &[2, 0, 0, 0, 0x45]).unwrap()[12..],
            [0x08, 0x00, 0x45]
        );
        assert_eq!(
            adapt(0, &[0, 0, 0, 30, 0x60]).unwrap()[12..],
            [0x86, 0xdd, 0x60]
        );
        assert_eq!(adapt(0, &[7, 0, 0, 0, 0x45]), None);
    }

    #[test]
    fn cooked_packets_keep_their_sender() {
        let mut packet = vec![0, 1, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 0x08, 0x06, 0xaa];
        let frame = adapt(113, &packet).unwrap();
        assert_eq!(frame[..6], BROADCAST);
        assert_eq!(frame[6..], [1, 2, 3, 4, 5, 6, 0x08, 0x06, 0xaa]);
        packet[14..16].copy_from_slice(&[0, 4]);
        assert_eq!(adapt(113, &packet).unwrap()[12..], [0, 1, 0xaa]);
        packet.truncate(15);
        assert_eq!(adapt(113, &packet), None);
    }

    #[test]
    fn other_links_have_no_counterpart() {
        assert_eq!(adapt(127, &[0x45; 64]), None);
    }
}
