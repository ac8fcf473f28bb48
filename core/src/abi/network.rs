//! What `fib_lookup` and `check_mtu` see of the world behind the ports: interfaces, routes,
//! neighbours and rules, as a file gives them. Every backend answers from the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Deserialize;

/// Interfaces, routes, neighbours and rules. Ports that it does not name have the defaults of
/// [`Interface::port`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Interfaces, by their index each at most once.
    #[serde(default, rename = "interface")]
    pub interfaces: Vec<Interface>,
    /// Routes beside those that the interfaces' addresses make.
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
    /// Neighbours, all permanent.
    #[serde(default, rename = "neighbour")]
    pub neighbours: Vec<Neighbour>,
    /// Rules that choose a table by the packet's mark, beside the three that are always there.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    /// Address.
    pub address: IpAddr,
    /// Bits of it that count.
    pub len: u8,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Index: port + 2 for a port.
    pub index: u32,
    /// MAC address; that of [`Interface::port`] if not given.
    pub mac: Option<Mac>,
    /// Bytes of a packet behind the Ethernet header at most.
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    /// Whether packets that come in here are forwarded.
    #[serde(default)]
    pub forwarding: bool,
    /// Its own addresses.
    #[serde(default)]
    pub addresses: Vec<Prefix>,
}

/// What happens to a packet that a route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// It is sent on.
    #[default]
    Unicast,
    /// It is dropped silently.
    Blackhole,
    /// It is dropped: the host is unreachable.
    Unreachable,
    /// It is dropped: that is not allowed.
    Prohibit,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destinations.
    pub to: Prefix,
    /// Next hop, if the destinations are not on the link themselves.
    pub via: Option<IpAddr>,
    /// Interface of a unicast route.
    pub dev: Option<u32>,
    /// Table.
    #[serde(default = "main_table")]
    pub table: u32,
    /// Metric; 0 means 1024 for IPv6, as for Linux.
    #[serde(default)]
    pub metric: u32,
    /// What happens.
    #[serde(default, rename = "type")]
    pub kind: RouteKind,
    /// Source address that goes with it.
    pub source: Option<IpAddr>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Address.
    pub address: IpAddr,
    /// Interface.
    pub dev: u32,
    /// MAC address.
    pub mac: Mac,
}

/// A rule for both families.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Lower ones come first; the main table is at 32766.
    pub priority: u32,
    /// The mark that a packet has.
    pub mark: u32,
    /// Where to look.
    pub table: u32,
}

/// The main table: `RT_TABLE_MAIN`.
pub const MAIN_TABLE: u32 = 254;

const fn main_table() -> u32 {
    MAIN_TABLE
}

const fn default_mtu() -> u32 {
    1500
}

/// Why a network cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {reason}")]
pub struct NetworkError {
    /// Which entry, from 1.
    pub entry: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Network {
    /// No interface but the ports, no route.
    pub const fn empty() -> &'static Self {
        static EMPTY: Network = Network {
            interfaces: Vec::new(),
            routes: Vec::new(),
            neighbours: Vec::new(),
            rules: Vec::new(),
        };
        &EMPTY
    }

    /// The interface with this index as it is described, or as a port is without.
    pub fn interface(&self, index: u32) -> Interface {
        let mut known = self.interfaces.iter();
        let found = known.find(|interface| interface.index == index);
        found.cloned().unwrap_or_else(|| Interface::port(index))
    }

    /// MAC address of the interface with this index.
    pub fn mac(&self, index: u32) -> Mac {
        let mut known = self.interfaces.iter();
        let found = known.find(|interface| interface.index == index);
        found.map_or_else(|| Interface::port(index).mac(), Interface::mac)
    }

    /// Refuses what Linux would not set up.
    ///
    /// # Errors
    /// The first entry that is wrong, and why.
    pub fn check(&self) -> Result<(), NetworkError> {
        let mut indexes = BTreeSet::new();
        for (number, interface) in (1..).zip(&self.interfaces) {
            let fail = |reason: &str| failure("interface", number, reason);
            if !(2..1 << 20).contains(&interface.index) || !indexes.insert(interface.index) {
                return Err(fail("its index is not unique or not from 2 to 1048575"));
            }
            if interface
                .addresses
                .iter()
                .any(|own| is_link_local(own.address))
            {
                return Err(fail("an interface has no link-local address here"));
            }
            if !(1280..=65535).contains(&interface.mtu) {
                return Err(fail("its mtu is not from 1280 to 65535"));
            }
        }
        for (number, route) in (1..).zip(&self.routes) {
            let fail = |reason: &str| Err(failure("route", number, reason));
            let is_v6 = route.to.address.is_ipv6();
            let other_family = |address: &IpAddr| address.is_ipv6() != is_v6;
            if route.to.masked() != route.to {
                return fail("bits are set behind the prefix");
            }
            match (route.kind, route.dev) {
                (RouteKind::Unicast, Some(dev)) if indexes.contains(&dev) => {}
                (RouteKind::Unicast, _) => return fail("`dev` is not among the interfaces"),
                (_, None) if route.via.is_none() => {}
                _ => return fail("only a unicast route has `dev` and `via`"),
            }
            if is_v6 && route.via.as_ref().is_some_and(other_family) {
                return fail("`via` is an address of the other family");
            }
            let mut addresses = self.interfaces.iter().flat_map(|known| &known.addresses);
            if let Some(source) = route.source
                && (other_family(&source) || !addresses.any(|own| own.address == source))
            {
                return fail("`source` is no interface's address");
            }
            if matches!(route.table, 0 | 253 | 255) {
                return fail("tables 0, 253 and 255 are the kernel's");
            }
            let same = |other: &&Route| {
                (other.to, other.table, other.metric) == (route.to, route.table, route.metric)
            };
            if self.routes.iter().filter(same).count() > 1 {
                return fail("another route has the same prefix, table and metric");
            }
        }
        for (number, neighbour) in (1..).zip(&self.neighbours) {
            if !indexes.contains(&neighbour.dev) {
                let reason = "`dev` is not among the interfaces";
                return Err(failure("neighbour", number, reason));
            }
        }
        for (number, rule) in (1..).zip(&self.rules) {
            if !(1..32766).contains(&rule.priority) || rule.mark == 0 {
                let reason = "its priority is not from 1 to 32765, or its mark is 0";
                return Err(failure("rule", number, reason));
            }
        }
        Ok(())
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn failure(what: &str, number: usize, reason: &str) -> NetworkError {
    NetworkError {
        entry: format!("{what} {number}"),
        reason: reason.to_owned(),
    }
}

impl Interface {
    /// A port, or another interface that no file describes.
    pub const fn port(index: u32) -> Self {
        Self {
            index,
            mac: None,
            mtu: default_mtu(),
            forwarding: false,
            addresses: Vec::new(),
        }
    }

    /// Its MAC address: locally administered with the index at its end if none is given.
    pub fn mac(&self) -> Mac {
        let [_, b, c, d] = self.index.to_be_bytes();
        self.mac.unwrap_or(Mac([2, 0, 0, b, c, d]))
    }
}

impl Prefix {
    /// The prefix with the bits behind it zero.
    #[must_use]
    pub fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.len))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, ..self }
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address with a prefix length, such as 10.0.0.0/8");
        let (address, len) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let len = len.parse().map_err(|_| wrong())?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        (len <= max)
            .then_some(Self { address, len })
            .ok_or_else(wrong)
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        bytes
            .and_then(|bytes| Some(Self(bytes.try_into().ok()?)))
            .ok_or_else(|| format!("`{text}` is no MAC address, such as 02:00:00:00:00:01"))
    }
}
