//! The little of rtnetlink that makes links: messages with nested attributes, one request and its
//! acknowledgement at a time.
#![expect(unsafe_code, reason = "system calls")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use iom_core::abi::{Neighbour, Prefix, Route, RouteKind, Rule};

use super::syscall::SyscallError;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const RTM_NEWRULE: u16 = 32;
/// A request that makes something new and is acknowledged.
const CREATE: u16 = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
const HEADER_LEN: usize = 16;
/// Length of `struct ifinfomsg`, which follows the header.
const LINK_HEADER_LEN: usize = 16;
/// Room for an answer: a link with all that the kernel tells about it.
const ANSWER_BYTES: usize = 1 << 16;

/// Attributes of links (`linux/if_link.h`).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_XDP: u16 = 43;

/// One end of a veth pair.
#[derive(Clone, Debug)]
pub(super) struct VethEnd {
    /// Interface index to take.
    pub(super) ifindex: u32,
    /// Interface name.
    pub(super) name: String,
    /// MAC address.
    pub(super) mac: [u8; 6],
    /// Bytes of a packet at most.
    pub(super) mtu: u32,
    /// Queues in each direction.
    pub(super) queues: u32,
}

/// A socket to the kernel's rtnetlink, in the namespace of the thread that opens it.
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens the socket.
    pub(super) fn open() -> Result<Self, SyscallError> {
        // SAFETY: no pointers are involved.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        };
        if fd < 0 {
            return Err(SyscallError::last("open a netlink socket"));
        }
        // SAFETY: the descriptor is new and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { socket })
    }

    /// Makes a veth pair and sets both ends up, which works only once both exist.
    pub(super) fn add_veth(&self, end: &VethEnd, peer: &VethEnd) -> Result<(), SyscallError> {
        self.request(&veth_message(end, peer), &format!("make link {}", end.name))?;
        self.set_up(end.ifindex)?;
        self.set_up(peer.ifindex)
    }

    /// Sets the link with this index up.
    pub(super) fn set_up(&self, ifindex: u32) -> Result<(), SyscallError> {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        message.link_header(ifindex, IFF_UP);
        self.request(&message.finish(), &format!("set link {ifindex} up"))
    }

    /// The XDP programs of a link: mode as the kernel's attribute has it, and id.
    pub(super) fn xdp_programs(&self, ifindex: u32) -> Result<Vec<(u16, u32)>, SyscallError> {
        let action = format!("ask for link {ifindex}");
        let mut message = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        message.link_header(ifindex, 0);
        let answer = self.exchange(&message.finish(), &action)?;
        if let Some(errno) = acknowledgement(&answer).filter(|errno| *errno != 0) {
            return Err(SyscallError {
                action,
                source: io::Error::from_raw_os_error(errno),
            });
        }
        Ok(xdp_programs(&answer))
    }

    /// Gives a link an address, usable at once.
    pub(super) fn add_address(&self, ifindex: u32, own: Prefix) -> Result<(), SyscallError> {
        const IFA_ADDRESS: u16 = 1;
        const IFA_LOCAL: u16 = 2;
        const IFA_F_NODAD: u8 = 2;
        let mut message = Message::new(RTM_NEWADDR, CREATE);
        let header = [family(own.address), own.len, IFA_F_NODAD, 0];
        message.bytes.extend(header);
        message.bytes.extend(ifindex.to_le_bytes());
        message.address(IFA_LOCAL, own.address);
        message.address(IFA_ADDRESS, own.address);
        let action = format!("give link {ifindex} the address {}", own.address);
        self.request(&message.finish(), &action)
    }

    /// Adds a route.
    pub(super) fn add_route(&self, route: &Route) -> Result<(), SyscallError> {
        let action = format!("add the route to {}/{}", route.to.address, route.to.len);
        self.request(&route_message(route), &action)
    }

    /// Adds a permanent neighbour.
    pub(super) fn add_neighbour(&self, neighbour: &Neighbour) -> Result<(), SyscallError> {
        const NUD_PERMANENT: u16 = 0x80;
        const NDA_DST: u16 = 1;
        const NDA_LLADDR: u16 = 2;
        let mut message = Message::new(RTM_NEWNEIGH, CREATE);
        message.bytes.extend([family(neighbour.address), 0, 0, 0]);
        message.bytes.extend(neighbour.dev.to_le_bytes());
        message.bytes.extend(NUD_PERMANENT.to_le_bytes());
        message.bytes.extend([0, 0]);
        message.address(NDA_DST, neighbour.address);
        message.attribute(NDA_LLADDR, &neighbour.mac.0);
        let action = format!("add the neighbour {}", neighbour.address);
        self.request(&message.finish(), &action)
    }

    /// Adds a rule for both families.
    pub(super) fn add_rule(&self, rule: &Rule) -> Result<(), SyscallError> {
        const FRA_PRIORITY: u16 = 6;
        const FRA_FWMARK: u16 = 10;
        const FRA_TABLE: u16 = 15;
        const FR_ACT_TO_TBL: u8 = 1;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut message = Message::new(RTM_NEWRULE, CREATE);
            message.bytes.extend([family as u8, 0, 0, 0, 0, 0, 0]);
            message.bytes.extend([FR_ACT_TO_TBL, 0, 0, 0, 0]);
            message.attribute(FRA_PRIORITY, &rule.priority.to_le_bytes());
            message.attribute(FRA_FWMARK, &rule.mark.to_le_bytes());
            message.attribute(FRA_TABLE, &rule.table.to_le_bytes());
            let action = format!("add the rule with priority {}", rule.priority);
            self.request(&message.finish(), &action)?;
        }
        Ok(())
    }

    /// Sends one request and waits for its acknowledgement.
    fn request(&self, message: &[u8], action: &str) -> Result<(), SyscallError> {
        let answer = self.exchange(message, action)?;
        let source = match acknowledgement(&answer) {
            Some(0) => return Ok(()),
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(io::ErrorKind::InvalidData, "not an acknowledgement"),
        };
        Err(SyscallError {
            action: action.to_owned(),
            source,
        })
    }

    /// Sends one request and waits for its answer.
    fn exchange(&self, message: &[u8], action: &str) -> Result<Vec<u8>, SyscallError> {
        // SAFETY: the buffer is alive and as long as stated.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
            )
        };
        if sent < 0 {
            return Err(SyscallError::last(action));
        }
        let mut answer = vec![0u8; ANSWER_BYTES];
        // SAFETY: the buffer is alive, writable and as long as stated.
        let len = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                answer.len(),
                0,
            )
        };
        if len < 0 {
            return Err(SyscallError::last(action));
        }
        answer.truncate(len as usize);
        Ok(answer)
    }
}

/// `IFLA_XDP_DRV_PROG_ID`: a program in the driver.
pub(super) const XDP_NATIVE: u16 = 5;
/// `IFLA_XDP_SKB_PROG_ID`: a program in the network stack.
pub(super) const XDP_SKB: u16 = 6;
/// `IFLA_XDP_HW_PROG_ID`: a program on the device.
pub(super) const XDP_HW: u16 = 7;

/// The programs in `IFLA_XDP` of an `RTM_NEWLINK` message.
fn xdp_programs(message: &[u8]) -> Vec<(u16, u32)> {
    let attributes_of_link = message
        .get(HEADER_LEN + LINK_HEADER_LEN..)
        .unwrap_or_default();
    let xdp = attributes(attributes_of_link).find(|(kind, _)| *kind == IFLA_XDP);
    let program = |(kind, payload): (u16, &[u8])| {
        let id = u32::from_le_bytes(*payload.first_chunk()?);
        (XDP_NATIVE..=XDP_HW).contains(&kind).then_some((kind, id))
    };
    let payload = xdp.map_or(&[][..], |(_, payload)| payload);
    attributes(payload).filter_map(program).collect()
}

/// The attributes in a message or in another attribute: type and payload.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Bits of the type that say how the payload is to be read.
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let len = u16::from_le_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?) & !FLAGS;
        let payload = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The error number in an `NLMSG_ERROR` answer, 0 for success.
fn acknowledgement(answer: &[u8]) -> Option<i32> {
    let message_type = u16::from_le_bytes(*answer.get(4..)?.first_chunk()?);
    let error = i32::from_le_bytes(*answer.get(HEADER_LEN..)?.first_chunk()?);
    (message_type == NLMSG_ERROR).then(|| error.wrapping_neg())
}

fn family(address: IpAddr) -> u8 {
    let family = match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    family as u8
}

fn route_message(route: &Route) -> Vec<u8> {
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    const RTA_PRIORITY: u16 = 6;
    const RTA_PREFSRC: u16 = 7;
    const RTA_TABLE: u16 = 15;
    const RTA_VIA: u16 = 18;
    const RTPROT_STATIC: u8 = 4;
    const RT_SCOPE_LINK: u8 = 253;
    /// The gateway need not be on a network of the interface.
    const RTNH_F_ONLINK: u32 = 4;
    let kind = match route.kind {
        RouteKind::Unicast => 1,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
    };
    let on_link = route.dev.is_some() && route.via.is_none() && route.to.address.is_ipv4();
    let scope = if on_link { RT_SCOPE_LINK } else { 0 };
    let flags = if route.via.is_some() {
        RTNH_F_ONLINK
    } else {
        0
    };
    let mut message = Message::new(RTM_NEWROUTE, CREATE);
    let header = [family(route.to.address), route.to.len, 0, 0];
    message.bytes.extend(header);
    message.bytes.extend([0, RTPROT_STATIC, scope, kind]);
    message.bytes.extend(flags.to_le_bytes());
    message.address(RTA_DST, route.to.address);
    message.attribute(RTA_TABLE, &route.table.to_le_bytes());
    message.attribute(RTA_PRIORITY, &route.metric.to_le_bytes());
    if let Some(dev) = route.dev {
        message.attribute(RTA_OIF, &dev.to_le_bytes());
    }
    match (route.to.address, route.via) {
        (IpAddr::V4(_), Some(via @ IpAddr::V6(_))) => message.nested(RTA_VIA, |message| {
            message.bytes.extend(u16::from(family(via)).to_le_bytes());
            message.raw_address(via);
        }),
        (_, Some(via)) => message.address(RTA_GATEWAY, via),
        (_, None) => {}
    }
    if let Some(source) = route.source {
        message.address(RTA_PREFSRC, source);
    }
    message.finish()
}

fn veth_message(end: &VethEnd, peer: &VethEnd) -> Vec<u8> {
    let mut message = Message::new(
        RTM_NEWLINK,
        NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    );
    message.link(end);
    message.nested(IFLA_LINKINFO, |message| {
        message.attribute(IFLA_INFO_KIND, b"veth");
        message.nested(IFLA_INFO_DATA, |message| {
            message.nested(VETH_INFO_PEER, |message| message.link(peer));
        });
    });
    message.finish()
}

/// A message being built; integers are in the machine's order, which is little-endian here as in
/// the programs.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of a type, its length still missing.
    fn new(message_type: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&message_type.to_le_bytes());
        bytes[6..8].copy_from_slice(&flags.to_le_bytes());
        Self { bytes }
    }

    /// `struct ifinfomsg` of a link that gets these flags.
    fn link_header(&mut self, ifindex: u32, flags: u32) {
        self.bytes.extend([0; 4]);
        self.bytes.extend(ifindex.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
    }

    /// A link's header and attributes.
    fn link(&mut self, end: &VethEnd) {
        self.link_header(end.ifindex, 0);
        self.attribute(IFLA_IFNAME, &[end.name.as_bytes(), b"\0"].concat());
        self.attribute(IFLA_ADDRESS, &end.mac);
        self.attribute(IFLA_MTU, &end.mtu.to_le_bytes());
        self.attribute(IFLA_NUM_RX_QUEUES, &end.queues.to_le_bytes());
        self.attribute(IFLA_NUM_TX_QUEUES, &end.queues.to_le_bytes());
    }

    fn raw_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.bytes.extend(address.octets()),
            IpAddr::V6(address) => self.bytes.extend(address.octets()),
        }
    }

    fn address(&mut self, attribute_type: u16, address: IpAddr) {
        self.nested(attribute_type, |message| message.raw_address(address));
    }

    fn attribute(&mut self, attribute_type: u16, payload: &[u8]) {
        self.nested(attribute_type, |message| message.bytes.extend(payload));
    }

    /// An attribute whose payload `fill` appends, padded to 4 bytes.
    fn nested(&mut self, attribute_type: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(attribute_type.to_le_bytes());
        fill(self);
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_lengths_are_not() {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_REQUEST);
        message.attribute(IFLA_IFNAME, b"p0\0");
        let bytes = message.finish();
        assert_eq!(bytes[HEADER_LEN..], [7, 0, 3, 0, b'p', b'0', 0, 0]);
        assert_eq!(bytes[..4], 24u32.to_le_bytes());
    }

    #[test]
    fn the_programs_of_a_link_are_found_and_hostile_lengths_end_the_search() {
        let mut message = Message::new(RTM_NEWLINK, 0);
        message.link_header(7, 0);
        message.attribute(IFLA_IFNAME, b"p0\0");
        message.nested(IFLA_XDP, |message| {
            message.attribute(2, &[1]);
            message.attribute(XDP_SKB, &9u32.to_le_bytes());
        });
        let bytes = message.finish();
        assert_eq!(xdp_programs(&bytes), [(XDP_SKB, 9)]);
        for len in 0..bytes.len() {
            assert_eq!(xdp_programs(&bytes[..len]), []);
        }
        assert_eq!(attributes(&[0, 0, 1, 0, 4, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn acknowledgements_carry_the_error() {
        let answer = |message_type: u16, error: i32| {
            let mut bytes = [0; 20];
            bytes[4..6].copy_from_slice(&message_type.to_le_bytes());
            bytes[16..].copy_from_slice(&error.to_le_bytes());
            acknowledgement(&bytes)
        };
        assert_eq!(answer(NLMSG_ERROR, 0), Some(0));
        assert_eq!(answer(NLMSG_ERROR, -17), Some(17));
        assert_eq!(answer(3, 0), None);
        assert_eq!(acknowledgement(&[]), None);
    }
}
