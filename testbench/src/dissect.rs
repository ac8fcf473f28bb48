//! Names the protocol field at an offset of a packet, for difference reports.

/// Offset, length and name of each field.
type Fields = &'static [(usize, usize, &'static str)];

/// A header that was recognised: where it starts, its name and its fields by offset and length.
struct Header {
    start: usize,
    name: &'static str,
    fields: Fields,
    len: usize,
}

const ETHERNET: Fields = &[
    (0, 6, "destination address"),
    (6, 6, "source address"),
    (12, 2, "EtherType"),
];
const VLAN: Fields = &[(0, 2, "tag control information"), (2, 2, "EtherType")];
const IPV4: Fields = &[
    (0, 1, "version and header length"),
    (1, 1, "type of service"),
    (2, 2, "total length"),
    (4, 2, "identification"),
    (6, 2, "flags and fragment offset"),
    (8, 1, "time to live"),
    (9, 1, "protocol"),
    (10, 2, "header checksum"),
    (12, 4, "source address"),
    (16, 4, "destination address"),
    (20, 40, "options"),
];
const IPV6: Fields = &[
    (0, 4, "version, traffic class and flow label"),
    (4, 2, "payload length"),
    (6, 1, "next header"),
    (7, 1, "hop limit"),
    (8, 16, "source address"),
    (24, 16, "destination address"),
];
const TCP: Fields = &[
    (0, 2, "source port"),
    (2, 2, "destination port"),
    (4, 4, "sequence number"),
    (8, 4, "acknowledgement number"),
    (12, 1, "data offset"),
    (13, 1, "flags"),
    (14, 2, "window"),
    (16, 2, "checksum"),
    (18, 2, "urgent pointer"),
    (20, 40, "options"),
];
const UDP: Fields = &[
    (0, 2, "source port"),
    (2, 2, "destination port"),
    (4, 2, "length"),
    (6, 2, "checksum"),
];
const ICMP: Fields = &[
    (0, 1, "type"),
    (1, 1, "code"),
    (2, 2, "checksum"),
    (4, 4, "rest of header"),
];
const ARP: Fields = &[
    (0, 8, "hardware and protocol types, operation"),
    (8, 6, "sender hardware address"),
    (14, 4, "sender protocol address"),
    (18, 6, "target hardware address"),
    (24, 4, "target protocol address"),
];

/// The headers that are known, with their fields.
const HEADERS: [(&str, Fields); 9] = [
    ("Ethernet", ETHERNET),
    ("VLAN", VLAN),
    ("IPv4", IPV4),
    ("IPv6", IPV6),
    ("ARP", ARP),
    ("TCP", TCP),
    ("UDP", UDP),
    ("ICMP", ICMP),
    ("ICMPv6", ICMP),
];

/// All paths that [`path_at`] gives to bytes of fields and of the payload.
pub fn paths() -> Vec<String> {
    let fields = HEADERS.iter().flat_map(|(header, fields)| {
        fields
            .iter()
            .map(move |(_, _, field)| path(&format!("{header} {field}")))
    });
    fields.chain(["payload".to_owned()]).collect()
}

/// The field that the byte at `offset` belongs to in one word, such as `ipv4.time_to_live`.
pub fn path_at(packet: &[u8], offset: usize) -> String {
    path(&field_at(packet, offset))
}

fn path(name: &str) -> String {
    let name = name.to_lowercase().replace(',', "");
    name.replacen(' ', ".", 1).replace(' ', "_")
}

/// The field that the byte at `offset` belongs to, such as `IPv4 time to live`.
pub fn field_at(packet: &[u8], offset: usize) -> String {
    let mut next = ethernet(packet);
    while let Some((header, following)) = next {
        if offset < header.start + header.len {
            return format!("{} {}", header.name, field_name(&header, offset));
        }
        next = following.and_then(|kind| parse(packet, header.start + header.len, kind));
    }
    if offset < packet.len() {
        "payload".to_owned()
    } else {
        "behind the end of the packet".to_owned()
    }
}

fn field_name(header: &Header, offset: usize) -> &'static str {
    let inside = offset - header.start;
    let field = header
        .fields
        .iter()
        .find(|(start, len, _)| (*start..start + len).contains(&inside));
    field.map_or("header", |(_, _, name)| name)
}

/// What follows a header.
#[derive(Clone, Copy)]
enum Next {
    EtherType(u16),
    IpProtocol(u8),
}

type Parsed = Option<(Header, Option<Next>)>;

fn header(start: usize, name: &'static str, fields: Fields, len: usize) -> Header {
    Header {
        start,
        name,
        fields,
        len,
    }
}

fn ethernet(packet: &[u8]) -> Parsed {
    let ethertype = Next::EtherType(be16(packet, 12)?);
    Some((header(0, "Ethernet", ETHERNET, 14), Some(ethertype)))
}

fn parse(packet: &[u8], start: usize, next: Next) -> Parsed {
    match next {
        Next::EtherType(0x8100 | 0x88a8) => {
            let ethertype = Next::EtherType(be16(packet, start + 2)?);
            Some((header(start, "VLAN", VLAN, 4), Some(ethertype)))
        }
        Next::EtherType(0x0800) | Next::IpProtocol(4) => {
            let len = usize::from(packet.get(start)? & 0x0f) * 4;
            let protocol = Next::IpProtocol(*packet.get(start + 9)?);
            let is_first_fragment = be16(packet, start + 6)?.trailing_zeros() >= 13;
            Some((
                header(start, "IPv4", IPV4, len.max(20)),
                is_first_fragment.then_some(protocol),
            ))
        }
        Next::EtherType(0x86dd) | Next::IpProtocol(41) => {
            let protocol = Next::IpProtocol(*packet.get(start + 6)?);
            Some((header(start, "IPv6", IPV6, 40), Some(protocol)))
        }
        Next::EtherType(0x0806) => Some((header(start, "ARP", ARP, 28), None)),
        Next::IpProtocol(6) => {
            let len = packet
                .get(start + 12)
                .map_or(20, |byte| usize::from(byte >> 4) * 4);
            Some((header(start, "TCP", TCP, len.max(20)), None))
        }
        Next::IpProtocol(17) => Some((header(start, "UDP", UDP, 8), None)),
        Next::IpProtocol(1) => Some((header(start, "ICMP", ICMP, 8), None)),
        Next::IpProtocol(58) => Some((header(start, "ICMPv6", ICMP, 8), None)),
        Next::EtherType(_) | Next::IpProtocol(_) => None,
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

    #[test]
    fn names_the_fields_behind_tags_and_tunnels() {
        let inner = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6])
            .single_vlan(7.try_into().unwrap())
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1, 2, 3, 4);
        let mut packet = Vec::new();
        inner.write(&mut packet, b"payload").unwrap();
        let names: Vec<String> = [0, 14, 26, 28, 51, 60, 200]
            .map(|offset| field_at(&packet, offset))
            .into();
        expect_test::expect![[r#"
            [
                "Ethernet destination address",
                "VLAN tag control information",
                "IPv4 time to live",
                "IPv4 header checksum",
                "TCP flags",
                "payload",
                "behind the end of the packet",
            ]
        "#]]
        .assert_debug_eq(&names);
    }

    #[test]
    fn paths_are_one_word_each() {
        let paths = paths();
        for path in [
            "ipv4.identification",
            "ipv6.version_traffic_class_and_flow_label",
            "payload",
        ] {
            assert!(paths.iter().any(|known| known == path), "{path}");
        }
        assert!(paths.iter().all(|path| !path.contains([' ', ','])));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_have_a_name(packet in proptest::collection::vec(0u8.., 0..100), offset in 0usize..120) {
            field_at(&packet, offset);
        }
    }
}
