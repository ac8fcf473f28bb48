//! Frames from one host to another, with right lengths and checksums.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv4Options,
    Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder,
    PacketBuilderStep, TcpHeader, VlanId,
};

/// The shortest frame on a wire, without its check sequence.
const MIN_FRAME: usize = 60;

#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    pub(super) mac: [u8; 6],
    pub(super) ip: IpAddr,
}

/// A host whose MAC address follows from its IP address.
pub(super) fn host(ip: &str) -> Host {
    let ip: IpAddr = ip.parse().expect("an address written in this crate");
    let tail: [u8; 4] = match ip {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [o[1], o[3], o[14], o[15]]
        }
    };
    let family = if ip.is_ipv4() { 4 } else { 6 };
    Host {
        mac: [0x02, family, tail[0], tail[1], tail[2], tail[3]],
        ip,
    }
}

/// The way of frames: between whom, with which VLAN tags (outermost first, at most two), and what the IP header says.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) src: Host,
    pub(super) dst: Host,
    pub(super) vlans: Vec<u16>,
    pub(super) ttl: u8,
    pub(super) dscp: u8,
    pub(super) ipv4_options: Vec<u8>,
    /// Offset in 8 bytes, and whether more follow.
    pub(super) fragment: Option<(u16, bool)>,
    pub(super) ipv6_extensions: Vec<Extension>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extension {
    HopByHop,
    Destination,
    Routing,
}

pub(super) fn path(src: Host, dst: Host) -> Path {
    Path {
        src,
        dst,
        vlans: Vec::new(),
        ttl: 64,
        dscp: 0,
        ipv4_options: Vec::new(),
        fragment: None,
        ipv6_extensions: Vec::new(),
    }
}

/// TCP's flags, by their letters in tcpdump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) flags: &'a str,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) payload: &'a [u8],
}

impl Path {
    pub(super) fn back(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ..self.clone()
        }
    }

    pub(super) fn tcp(&self, ports: (u16, u16), segment: Segment<'_>) -> Vec<u8> {
        let mut header = TcpHeader::new(ports.0, ports.1, segment.seq, 64_240);
        header.acknowledgment_number = segment.ack;
        for flag in segment.flags.chars() {
            match flag {
                'S' => header.syn = true,
                '.' => header.ack = true,
                'P' => header.psh = true,
                'F' => header.fin = true,
                'R' => header.rst = true,
                other => unreachable!("flag {other}"),
            }
        }
        if header.syn && !header.fin {
            let options = [2, 4, 0x05, 0xb4, 1, 3, 3, 7];
            header
                .set_options_raw(&options)
                .expect("eight bytes of options fit");
        }
        let mut frame = Vec::new();
        self.ip()
            .tcp_header(header)
            .write(&mut frame, segment.payload)
            .expect("fits a packet");
        padded(frame)
    }

    pub(super) fn udp(&self, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.ip()
            .udp(ports.0, ports.1)
            .write(&mut frame, payload)
            .expect("fits a packet");
        padded(frame)
    }

    /// An echo request, or the reply to it.
    pub(super) fn echo(&self, request: bool, id: u16, sequence: u16) -> Vec<u8> {
        let ip = self.ip();
        let step = match (self.src.ip.is_ipv4(), request) {
            (true, true) => return icmpv4(ip.icmpv4_echo_request(id, sequence)),
            (true, false) => return icmpv4(ip.icmpv4_echo_reply(id, sequence)),
            (false, true) => ip.icmpv6_echo_request(id, sequence),
            (false, false) => ip.icmpv6_echo_reply(id, sequence),
        };
        let mut frame = Vec::new();
        step.write(&mut frame, &ECHO_PAYLOAD)
            .expect("fits a packet");
        padded(frame)
    }

    /// ICMP of the address family, with the four bytes behind its checksum.
    pub(super) fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.src.ip.is_ipv4() {
            self.ip()
                .icmpv4_raw(kind, code, rest)
                .write(&mut frame, payload)
        } else {
            self.ip()
                .icmpv6_raw(kind, code, rest)
                .write(&mut frame, payload)
        }
        .expect("fits a packet");
        padded(frame)
    }

    /// Any other protocol.
    pub(super) fn raw(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.ip()
            .write(&mut frame, IpNumber(protocol), payload)
            .expect("fits a packet");
        padded(frame)
    }

    fn ip(&self) -> PacketBuilderStep<IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(self.src.mac, self.dst.mac);
        let id = |id| VlanId::try_new(id).expect("a VLAN id written in this crate");
        match *self.vlans {
            [] => ethernet.ip(self.ip_headers()),
            [tag] => ethernet.single_vlan(id(tag)).ip(self.ip_headers()),
            [outer, inner] => ethernet
                .double_vlan(id(outer), id(inner))
                .ip(self.ip_headers()),
            _ => unreachable!("at most two tags"),
        }
    }

    fn ip_headers(&self) -> IpHeaders {
        match (self.src.ip, self.dst.ip) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header =
                    Ipv4Header::new(0, self.ttl, IpNumber::TCP, src.octets(), dst.octets())
                        .expect("empty");
                header.dscp = self.dscp.try_into().expect("six bits");
                header.identification =
                    u16::from(src.octets()[3]) << 8 | u16::from(dst.octets()[3]);
                header.options =
                    Ipv4Options::try_from(self.ipv4_options.as_slice()).expect("at most 40 bytes");
                if let Some((offset, more)) = self.fragment {
                    header.dont_fragment = false;
                    header.more_fragments = more;
                    header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
                }
                IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header {
                    traffic_class: self.dscp << 2,
                    hop_limit: self.ttl,
                    source: src.octets(),
                    destination: dst.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, self.extensions())
            }
            _ => unreachable!("one address family a path"),
        }
    }

    fn extensions(&self) -> Ipv6Extensions {
        // One PadN option over the whole header.
        let options =
            || Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]).expect("eight bytes");
        // A segment routing header would be longer; type 0 with no segments left is enough to be walked over.
        let routing = || {
            let mut payload = [0; 22];
            payload[1] = 0;
            Ipv6RawExtHeader::new_raw(IpNumber::TCP, &payload).expect("24 bytes")
        };
        let has = |extension| self.ipv6_extensions.contains(&extension);
        Ipv6Extensions {
            hop_by_hop_options: has(Extension::HopByHop).then(options),
            destination_options: has(Extension::Destination).then(options),
            routing: has(Extension::Routing).then(|| etherparse::Ipv6RoutingExtensions {
                routing: routing(),
                final_destination_options: None,
            }),
            fragment: self.fragment.map(|(offset, more)| {
                let offset = IpFragOffset::try_new(offset).expect("13 bits");
                Ipv6FragmentHeader::new(IpNumber::UDP, offset, more, 0x1234_5678)
            }),
            auth: None,
        }
    }
}

const ECHO_PAYLOAD: [u8; 32] = *b"abcdefghijklmnopqrstuvwabcdefghi";

fn icmpv4(step: PacketBuilderStep<etherparse::Icmpv4Header>) -> Vec<u8> {
    let mut frame = Vec::new();
    step.write(&mut frame, &ECHO_PAYLOAD)
        .expect("fits a packet");
    padded(frame)
}

/// A frame of any Ethernet type.
pub(super) fn ethernet(src: [u8; 6], dst: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let header = Ethernet2Header {
        source: src,
        destination: dst,
        ether_type: EtherType(ether_type),
    };
    padded([&header.to_bytes()[..], payload].concat())
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}
