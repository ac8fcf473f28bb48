//! `bpf_fib_lookup` and `bpf_check_mtu`: routing as Linux 6.18 does it for XDP programs
//! (`net/core/filter.c`), from a [`Network`].

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use crate::abi::{Interface, MAIN_TABLE, Mac, Network, Prefix, RouteKind};
use crate::map::Errno;

/// Bytes of `struct bpf_fib_lookup`.
pub const FIB_PARAMS_BYTES: usize = 64;

const DIRECT: u32 = 1 << 0;
const OUTPUT: u32 = 1 << 1;
const SKIP_NEIGH: u32 = 1 << 2;
const TBID: u32 = 1 << 3;
const SRC: u32 = 1 << 4;
const MARK: u32 = 1 << 5;

/// `BPF_FIB_LKUP_RET_*`
const SUCCESS: i64 = 0;
const BLACKHOLE: i64 = 1;
const UNREACHABLE: i64 = 2;
const PROHIBIT: i64 = 3;
const NOT_FWDED: i64 = 4;
const FWD_DISABLED: i64 = 5;
const NO_NEIGH: i64 = 7;
const FRAG_NEEDED: i64 = 8;
const NO_SRC_ADDR: i64 = 9;

/// `BPF_MTU_CHK_RET_FRAG_NEEDED`
const MTU_FRAG_NEEDED: i64 = 1;
const ETHERNET_HEADER: i32 = 14;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `RT_TABLE_LOCAL`: the machine's own addresses.
const LOCAL_TABLE: u32 = 255;
const LOOPBACK: u32 = 1;
/// `IPV6_MIN_MTU`
const MTU_MIN_V6: u32 = 1280;
/// What metric 0 means in IPv6 (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;
/// Metric of the routes that IPv6 addresses make (`IP6_RT_PRIO_ADDRCONF`).
const METRIC_ADDRESS_V6: u32 = 256;

/// Offsets in `struct bpf_fib_lookup`.
mod at {
    pub(super) const FAMILY: usize = 0;
    pub(super) const LEN: usize = 6;
    pub(super) const IFINDEX: usize = 8;
    pub(super) const METRIC: usize = 12;
    pub(super) const SOURCE: usize = 16;
    pub(super) const TARGET: usize = 32;
    pub(super) const TABLE: usize = 48;
    pub(super) const SOURCE_MAC: usize = 52;
    pub(super) const TARGET_MAC: usize = 58;
}

/// A route in a table.
#[derive(Clone, Debug)]
struct Entry {
    /// `None` for the machine's own addresses and broadcasts, which are never forwarded.
    kind: Option<RouteKind>,
    dev: u32,
    via: Option<IpAddr>,
    metric: u32,
    source: Option<IpAddr>,
}

/// Routes of one table and family: prefix lengths from the longest, each with its prefixes.
type Table = BTreeMap<std::cmp::Reverse<u8>, HashMap<IpAddr, Vec<Entry>>>;

/// One call of `bpf_check_mtu`.
#[derive(Clone, Copy, Debug)]
pub struct MtuCall {
    /// Interface that the packet came from.
    pub ingress: u32,
    /// Interface that is asked about; 0 for that one.
    pub ifindex: u32,
    /// What `*mtu_len` holds: the length to check without the Ethernet header, or 0.
    pub mtu_len: u32,
    /// Bytes of the linear part, checked if that is 0.
    pub packet_len: usize,
    /// Bytes to add.
    pub len_diff: i32,
    /// Flags; there are none for XDP.
    pub flags: u64,
}

/// The forwarding information base.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    interfaces: BTreeMap<u32, Interface>,
    tables: HashMap<(u32, bool), Table>,
    neighbours: HashMap<(u32, IpAddr), Mac>,
    /// Marks with their tables, by priority.
    rules: Vec<(u32, u32)>,
}

impl Fib {
    /// The FIB of a machine with these interfaces beside those of the network.
    pub fn new(network: &Network, others: impl IntoIterator<Item = u32>) -> Self {
        let mut fib = Self::default();
        let mut loopback = Interface::port(LOOPBACK);
        loopback.mtu = 65536;
        loopback.mac = Some(Mac::default());
        fib.interfaces.insert(LOOPBACK, loopback);
        for index in others {
            fib.interfaces.insert(index, Interface::port(index));
        }
        for interface in &network.interfaces {
            fib.interfaces.insert(interface.index, interface.clone());
            for address in &interface.addresses {
                fib.add_address(interface, *address);
            }
        }
        for address in [[127, 0, 0, 0].into(), Ipv6Addr::LOCALHOST.into()] {
            let address: IpAddr = address;
            let len = if address.is_ipv4() { 8 } else { 128 };
            fib.add_own(LOOPBACK, Prefix { address, len });
        }
        for route in &network.routes {
            let v6 = route.to.address.is_ipv6();
            let metric = match route.metric {
                0 if v6 => METRIC_V6,
                metric => metric,
            };
            let entry = Entry {
                kind: Some(route.kind),
                dev: route.dev.unwrap_or(LOOPBACK),
                via: route.via,
                metric,
                source: route.source,
            };
            fib.add(route.table, route.to, entry);
        }
        for neighbour in &network.neighbours {
            let key = (neighbour.dev, neighbour.address);
            fib.neighbours.insert(key, neighbour.mac);
        }
        let mut rules = network.rules.clone();
        rules.sort_by_key(|rule| rule.priority);
        fib.rules = rules.iter().map(|rule| (rule.mark, rule.table)).collect();
        fib
    }

    /// `bpf_check_mtu`: what it returns, with the MTU where that is left in `*mtu_len`.
    pub fn check_mtu(&self, call: MtuCall) -> Result<(i64, u32), Errno> {
        if call.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let ifindex = match call.ifindex {
            0 => call.ingress,
            ifindex => ifindex,
        };
        let interface = self.interfaces.get(&ifindex).ok_or(Errno::ENODEV)?;
        let len = match call.mtu_len {
            0 => call.packet_len as i32,
            given => (given as i32).wrapping_add(ETHERNET_HEADER),
        };
        let fits = len.wrapping_add(call.len_diff) <= interface.mtu as i32 + ETHERNET_HEADER;
        Ok((if fits { 0 } else { MTU_FRAG_NEEDED }, interface.mtu))
    }

    /// `bpf_fib_lookup`: changes the parameters as Linux does and gives the return value.
    pub fn lookup(&self, params: &mut [u8], flags: u32) -> Result<i64, Errno> {
        if params.len() < FIB_PARAMS_BYTES || flags & !(2 * MARK - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let v6 = match params[at::FAMILY] {
            AF_INET => false,
            AF_INET6 => true,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let (source, target) = (
            address(params, at::SOURCE, v6),
            address(params, at::TARGET, v6),
        );
        if v6 && (is_strict(source) || is_strict(target)) {
            return Ok(NOT_FWDED);
        }
        let ifindex = word(params, at::IFINDEX);
        let ingress = self.interfaces.get(&ifindex).ok_or(Errno::ENODEV)?;
        if !ingress.forwarding {
            return Ok(FWD_DISABLED);
        }
        // IPv6 takes the interface for no more than a wish.
        let output = (flags & OUTPUT != 0 && !v6).then_some(ifindex);
        let Some(entry) = self.route(params, flags, target, output) else {
            return Ok(NOT_FWDED);
        };
        match entry.kind {
            Some(RouteKind::Unicast) => Ok(self.forward(entry, params, flags, target)),
            Some(RouteKind::Blackhole) => Ok(BLACKHOLE),
            Some(RouteKind::Unreachable) => Ok(UNREACHABLE),
            Some(RouteKind::Prohibit) => Ok(PROHIBIT),
            None => Ok(NOT_FWDED),
        }
    }

    /// The route for a target, from the tables that flags, rules and mark say.
    fn route(
        &self,
        params: &mut [u8],
        flags: u32,
        target: IpAddr,
        output: Option<u32>,
    ) -> Option<&Entry> {
        let find = |table| self.best(table, target, output).map(|(_, entry)| entry);
        // Without rules, IPv4 keeps the local table's routes among the main table's.
        let merged = self.rules.is_empty() && target.is_ipv4();
        let main = || {
            if merged {
                let tables = [LOCAL_TABLE, MAIN_TABLE];
                let found = tables.map(|table| self.best(table, target, output));
                let [local, main] = found;
                return match (local, main) {
                    (Some((long, own)), Some((len, _))) if long >= len => Some(own),
                    (Some((_, own)), None) => Some(own),
                    (_, other) => other.map(|(_, entry)| entry),
                };
            }
            find(MAIN_TABLE)
        };
        if flags & DIRECT != 0 {
            if flags & TBID == 0 {
                return main();
            }
            let table = word(params, at::TABLE);
            params[at::TABLE..at::TABLE + 4].fill(0);
            // 0 stands for the main table (`fib_get_table`).
            return match table {
                0 | MAIN_TABLE => main(),
                LOCAL_TABLE if merged => main(),
                table => find(table),
            };
        }
        let mark = if flags & MARK == 0 {
            0
        } else {
            word(params, at::SOURCE_MAC)
        };
        let marked = self.rules.iter().filter(|(wanted, _)| *wanted == mark);
        find(LOCAL_TABLE)
            .filter(|_| !merged)
            .or_else(|| marked.clone().find_map(|(_, table)| find(*table)))
            .or_else(main)
    }

    /// The longest match in a table, with its length.
    fn best(&self, table: u32, target: IpAddr, output: Option<u32>) -> Option<(u8, &Entry)> {
        let table = self.tables.get(&(table, target.is_ipv6()))?;
        table.iter().find_map(|(len, prefixes)| {
            let len = len.0;
            let prefix = Prefix {
                address: target,
                len,
            }
            .masked();
            let entries = prefixes.get(&prefix.address)?;
            let fits = |entry: &&Entry| {
                let unicast = matches!(entry.kind, None | Some(RouteKind::Unicast));
                !unicast || output.is_none_or(|output| output == entry.dev)
            };
            let best = entries
                .iter()
                .filter(fits)
                .min_by_key(|entry| entry.metric)?;
            Some((len, best))
        })
    }

    /// The answer for a unicast route.
    fn forward(&self, entry: &Entry, params: &mut [u8], flags: u32, target: IpAddr) -> i64 {
        let Some(interface) = self.interfaces.get(&entry.dev) else {
            return NOT_FWDED;
        };
        let mtu = match target {
            IpAddr::V4(_) => interface.mtu,
            IpAddr::V6(_) => interface.mtu.max(MTU_MIN_V6),
        };
        let mtu = mtu as u16;
        if half(params, at::LEN) > mtu {
            put(params, at::LEN, &mtu.to_le_bytes());
            return FRAG_NEEDED;
        }
        if target.is_ipv6()
            && let Some(via) = entry.via
        {
            put_address(params, at::TARGET, via);
        }
        put(params, at::METRIC, &entry.metric.to_le_bytes());
        put(params, at::IFINDEX, &entry.dev.to_le_bytes());
        if flags & SRC != 0 {
            let own = || match target {
                IpAddr::V4(_) => self.own_v4(interface, entry.via),
                IpAddr::V6(target) => self.own_v6(interface, target),
            };
            match entry.source.or_else(own) {
                Some(source) => put_address(params, at::SOURCE, source),
                None if target.is_ipv6() => return NO_SRC_ADDR,
                None => put(params, at::SOURCE, &[0; 4]),
            }
        }
        if target.is_ipv4()
            && let Some(via) = entry.via
        {
            if via.is_ipv6() {
                params[at::FAMILY] = AF_INET6;
            }
            put_address(params, at::TARGET, via);
        }
        if flags & SKIP_NEIGH == 0 {
            let hop = entry.via.unwrap_or(target);
            let Some(mac) = self.neighbours.get(&(entry.dev, hop)) else {
                return NO_NEIGH;
            };
            put(params, at::TARGET_MAC, &mac.0);
            put(params, at::SOURCE_MAC, &interface.mac().0);
        }
        put(params, at::TABLE, &[0; 4]);
        put(params, at::LEN, &mtu.to_le_bytes());
        SUCCESS
    }

    /// The IPv4 address that a machine sends from through an interface to a neighbour: one of the
    /// same network, else the first, else that of any interface (`inet_select_addr`).
    fn own_v4(&self, interface: &Interface, near: Option<IpAddr>) -> Option<IpAddr> {
        let others = self.interfaces.values();
        let others = others.filter(|other| other.index != interface.index);
        std::iter::once(interface)
            .chain(others)
            .find_map(|interface| {
                let addresses = interface.addresses.iter();
                let own = addresses.filter(|own| own.address.is_ipv4());
                let holds = |own: &&Prefix| {
                    near.is_some_and(|address| Prefix { address, ..**own }.masked() == own.masked())
                };
                let first = own.clone().next();
                own.clone().find(holds).or(first).map(|own| own.address)
            })
    }

    /// The IPv6 address that a machine sends from through an interface (RFC 6724 section 5, as
    /// far as addresses that do not expire go). The last that was added wins.
    fn own_v6(&self, interface: &Interface, target: Ipv6Addr) -> Option<IpAddr> {
        let interfaces = self.interfaces.values().rev();
        let addresses =
            interfaces.flat_map(|from| from.addresses.iter().map(move |own| (from, own)));
        let rank = |(from, own): &(&Interface, &Prefix)| {
            let IpAddr::V6(address) = own.address else {
                return None;
            };
            let differing = u128::from(address) ^ u128::from(target);
            let common = differing.leading_zeros().min(own.len.into());
            let same_label = label(address) == label(target);
            Some((
                address == target,
                from.index == interface.index,
                same_label,
                common,
            ))
        };
        let ranked = addresses.filter_map(|own| Some((rank(&own)?, own.1.address)));
        ranked
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, address)| address)
    }

    /// What an interface's address makes: itself, its network and that's broadcast.
    fn add_address(&mut self, interface: &Interface, own: Prefix) {
        let v6 = own.address.is_ipv6();
        let whole = if v6 { 128 } else { 32 };
        let host = |address| Prefix {
            address,
            len: whole,
        };
        self.add_own(interface.index, host(own.address));
        if own.len == whole && !v6 {
            return;
        }
        let entry = Entry {
            kind: Some(RouteKind::Unicast),
            dev: interface.index,
            via: None,
            metric: if v6 { METRIC_ADDRESS_V6 } else { 0 },
            source: (!v6).then_some(own.address),
        };
        self.add(MAIN_TABLE, own.masked(), entry);
        match own.masked().address {
            IpAddr::V4(network) if own.len < 31 => {
                let broadcast = u32::from(network) | u32::MAX >> own.len;
                self.add_own(interface.index, host(IpAddr::V4(broadcast.into())));
            }
            // The subnet-router anycast address (RFC 4291 section 2.6.1).
            IpAddr::V6(network) if own.len < 127 && interface.forwarding => {
                self.add_own(interface.index, host(IpAddr::V6(network)));
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }

    fn add_own(&mut self, dev: u32, prefix: Prefix) {
        let entry = Entry {
            kind: None,
            dev,
            via: None,
            metric: 0,
            source: None,
        };
        self.add(LOCAL_TABLE, prefix, entry);
    }

    fn add(&mut self, table: u32, prefix: Prefix, entry: Entry) {
        let table = self.tables.entry((table, prefix.address.is_ipv6()));
        let prefixes = table.or_default().entry(std::cmp::Reverse(prefix.len));
        let entries = prefixes.or_default().entry(prefix.masked().address);
        entries.or_default().push(entry);
    }
}

/// Addresses that IPv6 never forwards: multicast, link-local and loopback (`rt6_need_strict`).
const fn is_strict(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => {
            address.is_multicast() || address.is_unicast_link_local() || address.is_loopback()
        }
    }
}

/// What an address is for: sources like their target (`net/ipv6/addrlabel.c`).
fn label(address: Ipv6Addr) -> u32 {
    let bits = u128::from(address);
    let starts = |prefix: u128, len: u32| bits >> (128 - len) == prefix;
    let labels = [
        (starts(1, 128), 0),
        (starts(0xffff, 96), 4),
        (starts(0, 96), 3),
        (starts(0x200_1001, 28), 7),
        (starts(0x2001_0000, 32), 6),
        (starts(0x2002, 16), 2),
        (starts(0x3ffe, 16), 12),
        (starts(0x3fb, 10), 11),
        (starts(0x7e, 7), 5),
    ];
    let known = labels.iter().find(|(starts, _)| *starts);
    known.map_or(1, |(_, label)| *label)
}

fn half(params: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([params[at], params[at + 1]])
}

fn word(params: &[u8], at: usize) -> u32 {
    u32::from(half(params, at)) | u32::from(half(params, at + 2)) << 16
}

fn address(params: &[u8], at: usize, v6: bool) -> IpAddr {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&params[at..at + 16]);
    if v6 {
        return IpAddr::from(bytes);
    }
    let [a, b, c, d, ..] = bytes;
    IpAddr::from([a, b, c, d])
}

fn put(params: &mut [u8], at: usize, bytes: &[u8]) {
    params[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_address(params: &mut [u8], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(params, at, &address.octets()),
        IpAddr::V6(address) => put(params, at, &address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = r#"{
        "interface": [
            {"index": 2, "forwarding": true, "addresses": ["10.0.2.1/24", "fd00:2::1/64"]},
            {"index": 3, "mac": "02:00:00:00:00:33", "mtu": 1400, "addresses": ["10.0.3.1/24"]}
        ],
        "route": [
            {"to": "10.1.0.0/16", "via": "10.0.3.2", "dev": 3},
            {"to": "10.2.0.0/16", "type": "blackhole"},
            {"to": "10.1.0.0/16", "via": "10.0.2.9", "dev": 2, "table": 100},
            {"to": "fd11::/16", "via": "fd00:2::2", "dev": 2}
        ],
        "neighbour": [
            {"address": "10.0.3.2", "dev": 3, "mac": "02:00:00:00:00:44"},
            {"address": "fd00:2::2", "dev": 2, "mac": "02:00:00:00:00:45"}
        ],
        "rule": [{"priority": 10, "mark": 5, "table": 100}]
    }"#;

    fn network() -> Network {
        let network: Network = serde_json::from_str(NETWORK).expect("a network");
        network.check().expect("a possible network");
        network
    }

    fn params(target: &str) -> [u8; FIB_PARAMS_BYTES] {
        let mut params = [0; FIB_PARAMS_BYTES];
        let target: IpAddr = target.parse().expect("an address");
        params[at::FAMILY] = if target.is_ipv4() { AF_INET } else { AF_INET6 };
        params[at::IFINDEX] = 2;
        put_address(&mut params, at::TARGET, target);
        params
    }

    #[test]
    fn routes_lead_to_neighbours() {
        let fib = Fib::new(&network(), [2, 3, 4]);
        let mut found = params("10.1.2.3");
        assert_eq!(fib.lookup(&mut found, SRC), Ok(SUCCESS));
        assert_eq!(word(&found, at::IFINDEX), 3);
        assert_eq!(half(&found, at::LEN), 1400);
        assert_eq!(found[at::SOURCE..at::SOURCE + 4], [10, 0, 3, 1]);
        assert_eq!(found[at::TARGET..at::TARGET + 4], [10, 0, 3, 2]);
        assert_eq!(
            found[at::SOURCE_MAC..],
            [2, 0, 0, 0, 0, 0x33, 2, 0, 0, 0, 0, 0x44]
        );
        let mut found = params("fd11::1");
        assert_eq!(fib.lookup(&mut found, 0), Ok(SUCCESS));
        assert_eq!(word(&found, at::METRIC), METRIC_V6);
    }

    #[test]
    fn every_other_answer_has_its_number() {
        let fib = Fib::new(&network(), [2, 3, 4]);
        for (target, flags, result) in [
            ("10.2.0.1", 0, Ok(BLACKHOLE)),
            ("10.9.0.1", 0, Ok(NOT_FWDED)),
            ("10.0.2.1", 0, Ok(NOT_FWDED)),
            ("10.0.2.5", 0, Ok(NO_NEIGH)),
            ("10.0.2.5", SKIP_NEIGH, Ok(SUCCESS)),
            ("10.1.0.1", OUTPUT, Ok(NOT_FWDED)),
            ("ff02::1", 0, Ok(NOT_FWDED)),
            ("10.1.0.1", 64, Err(Errno::EINVAL)),
        ] {
            assert_eq!(fib.lookup(&mut params(target), flags), result, "{target}");
        }
        let mut marked = params("10.1.0.1");
        marked[at::SOURCE_MAC] = 5;
        assert_eq!(fib.lookup(&mut marked, MARK), Ok(NO_NEIGH));
        let mut long = params("10.1.0.1");
        long[at::LEN + 1] = 6;
        assert_eq!(fib.lookup(&mut long, 0), Ok(FRAG_NEEDED));
        let mut from = params("10.1.0.1");
        from[at::IFINDEX] = 4;
        assert_eq!(fib.lookup(&mut from, 0), Ok(FWD_DISABLED));
        from[at::IFINDEX] = 5;
        assert_eq!(fib.lookup(&mut from, 0), Err(Errno::ENODEV));
        from[at::FAMILY] = 3;
        assert_eq!(fib.lookup(&mut from, 0), Err(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn impossible_networks_are_refused() {
        let wrong = |change: &dyn Fn(&mut Network)| {
            let mut network = network();
            change(&mut network);
            network.check().expect_err("refused").to_string()
        };
        assert_eq!(
            wrong(&|network| network.routes[0].dev = Some(7)),
            "route 1: `dev` is not among the interfaces"
        );
        assert_eq!(
            wrong(&|network| network.interfaces[1].index = 2),
            "interface 2: its index is not unique or not from 2 to 1048575"
        );
        assert_eq!(
            wrong(&|network| network.neighbours[0].dev = 9),
            "neighbour 1: `dev` is not among the interfaces"
        );
    }
}
