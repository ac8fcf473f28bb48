//! What receive-side scaling hashes of a packet: addresses and, where there are some, ports.

/// Addresses and ports of a packet, in the order in which RSS hashes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
    hash_type: u32,
}

/// Bits of `enum xdp_rss_hash_type`: what a hash is over.
mod hash_type {
    pub(super) const L3_IPV4: u32 = 1;
    pub(super) const L3_IPV6: u32 = 1 << 1;
    pub(super) const L4: u32 = 1 << 3;
    pub(super) const L4_TCP: u32 = L4 | 1 << 4;
    pub(super) const L4_UDP: u32 = L4 | 1 << 5;
    pub(super) const L4_SCTP: u32 = L4 | 1 << 6;
}

const VLAN_ETHERTYPES: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// TCP, UDP and SCTP start with two ports of two bytes.
const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];

impl FlowKey {
    /// Two IPv6 addresses and two ports.
    pub const BYTES_MAX: usize = 36;

    const NONE: Self = Self {
        bytes: [0; Self::BYTES_MAX],
        len: 0,
        hash_type: 0,
    };

    /// The flow of an Ethernet frame, behind up to two VLAN tags. Fragments and IPv6 packets with
    /// extension headers have no ports; what is not IP, or is cut off, has no flow.
    pub fn of(packet: &[u8]) -> Self {
        let mut ethertype_at = 12;
        for _ in 0..2 {
            if be16(packet, ethertype_at).is_some_and(|value| VLAN_ETHERTYPES.contains(&value)) {
                ethertype_at += 4;
            }
        }
        let flow = match be16(packet, ethertype_at) {
            Some(IPV4) => Self::of_ipv4(&packet[ethertype_at + 2..]),
            Some(IPV6) => Self::of_ipv6(&packet[ethertype_at + 2..]),
            _ => None,
        };
        flow.unwrap_or(Self::NONE)
    }

    /// The bytes to hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// What the bytes are, as bits of `enum xdp_rss_hash_type`; 0 for none.
    pub fn hash_type(&self) -> u32 {
        self.hash_type
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        let addresses = packet.get(12..20)?;
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        let is_fragment = be16(packet, 6)? & 0x3fff != 0;
        let has_ports = PORT_PROTOCOLS.contains(&packet[9]) && !is_fragment && header_len >= 20;
        let ports = has_ports
            .then(|| packet.get(header_len..header_len + 4))
            .flatten();
        Some(Self::join(hash_type::L3_IPV4, addresses, packet[9], ports))
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let addresses = packet.get(8..40)?;
        let has_ports = PORT_PROTOCOLS.contains(&packet[6]);
        let ports = has_ports.then(|| packet.get(40..44)).flatten();
        Some(Self::join(hash_type::L3_IPV6, addresses, packet[6], ports))
    }

    fn join(network: u32, addresses: &[u8], protocol: u8, ports: Option<&[u8]>) -> Self {
        let transport = match protocol {
            _ if ports.is_none() => 0,
            6 => hash_type::L4_TCP,
            17 => hash_type::L4_UDP,
            _ => hash_type::L4_SCTP,
        };
        let mut flow = Self {
            hash_type: network | transport,
            ..Self::NONE
        };
        for part in [addresses, ports.unwrap_or_default()] {
            flow.bytes[flow.len..flow.len + part.len()].copy_from_slice(part);
            flow.len += part.len();
        }
        flow
    }
}

fn be16(packet: &[u8], at: usize) -> Option<u16> {
    packet
        .get(at..at + 2)
        .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp_behind(tags: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 12];
        packet.extend(tags);
        packet.extend([0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 1, 2]);
        packet
    }

    #[test]
    fn vlan_tags_do_not_change_the_flow() {
        let plain = FlowKey::of(&udp_behind(&[]));
        assert_eq!(plain.hash_type(), 0b10_1001);
        assert_eq!(plain.bytes(), [10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 1, 2]);
        assert_eq!(
            FlowKey::of(&udp_behind(&[0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 7])),
            plain
        );
    }

    #[test]
    fn fragments_are_hashed_by_address_alone() {
        let mut packet = udp_behind(&[]);
        packet[20] = 0x20;
        let flow = FlowKey::of(&packet);
        assert_eq!((flow.bytes().len(), flow.hash_type()), (8, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_flow(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(FlowKey::of(&packet).bytes().len() <= FlowKey::BYTES_MAX);
        }
    }
}
