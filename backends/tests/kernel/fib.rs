//! Routing helpers on interpreter and kernel, with the same interfaces, routes and neighbours.

use std::net::IpAddr;

use iom_core::abi::{Frame, Interface, Mac, Neighbour, Network, Prefix, Route, RouteKind, Rule};

use iom_backends::interpreter::Interpreter;
use iom_backends::kernel::KernelBackend;

use crate::support::{frame, kernel_is_here, module, run, run_in, run_module_in};

/// Looks up the parameters at the start of the packet with the flags and length behind them; they
/// come back in their place, with the result.
fn lookup_program() -> String {
    let load = |offset| {
        format!(
            "r0 = *(u64 *)(r7 + {offset})\n*(u64 *)(r10 - {}) = r0\n",
            64 - offset
        )
    };
    let back = |offset| {
        format!(
            "r1 = *(u64 *)(r10 - {})\n*(u64 *)(r7 + {offset}) = r1\n",
            64 - offset
        )
    };
    let all =
        |part: &dyn Fn(i32) -> String| (0..64).step_by(8).map(part).collect::<Vec<_>>().concat();
    format!(
        ".license \"GPL\"
         r6 = r1
         r7 = *(u32 *)(r1 + 0)
         r8 = *(u32 *)(r1 + 4)
         r0 = 0
         r1 = r7
         r1 += 88
         if r1 > r8 goto out
         {}
         r1 = r6
         r2 = r10
         r2 += -64
         r3 = 64
         r4 = *(u32 *)(r7 + 64)
         call fib_lookup
         *(u64 *)(r7 + 72) = r0
         {}
         r0 = 2
         out: exit",
        all(&load),
        all(&back)
    )
}

/// A lookup.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    target: &'static str,
    source: &'static str,
    ifindex: u32,
    flags: u32,
    len: u16,
    table: u32,
    mark: u32,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            target: "10.1.2.3",
            source: "",
            ifindex: 2,
            flags: 0,
            len: 100,
            table: 0,
            mark: 0,
        }
    }
}

impl Lookup {
    fn frame(&self, id: u64) -> Frame {
        let mut bytes = [0u8; 88];
        let target: IpAddr = self.target.parse().expect("an address");
        let put = |bytes: &mut [u8; 88], at: usize, address: IpAddr| match address {
            IpAddr::V4(address) => bytes[at..at + 4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes[at..at + 16].copy_from_slice(&address.octets()),
        };
        bytes[0] = if target.is_ipv4() { 2 } else { 10 };
        bytes[6..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.ifindex.to_le_bytes());
        if let Ok(source) = self.source.parse() {
            put(&mut bytes, 16, source);
        }
        put(&mut bytes, 32, target);
        bytes[48..52].copy_from_slice(&self.table.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.mark.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.flags.to_le_bytes());
        frame(id, &bytes)
    }
}

fn prefix(text: &str) -> Prefix {
    Prefix::try_from(text.to_owned()).expect("a prefix")
}

fn route(to: &str, via: &str, dev: u32) -> Route {
    Route {
        to: prefix(to),
        via: via.parse().ok(),
        dev: (dev != 0).then_some(dev),
        table: 254,
        metric: 0,
        kind: RouteKind::Unicast,
        source: None,
    }
}

fn neighbour(address: &str, dev: u32) -> Neighbour {
    Neighbour {
        address: address.parse().expect("an address"),
        dev,
        mac: Mac([2, 1, 1, 1, 1, dev as u8]),
    }
}

fn interface(index: u32, mtu: u32, addresses: &[&str]) -> Interface {
    Interface {
        mtu,
        forwarding: index != 4,
        addresses: addresses.iter().map(|text| prefix(text)).collect(),
        ..Interface::port(index)
    }
}

/// Four interfaces, the third of which does not forward.
#[expect(clippy::too_many_lines, reason = "one table of interfaces and routes")]
fn network() -> Network {
    let reject = |to, kind| Route {
        kind,
        ..route(to, "", 0)
    };
    Network {
        interfaces: vec![
            interface(2, 1500, &["10.0.2.1/24", "fd00:2::1/64"]),
            interface(
                3,
                1400,
                &[
                    "10.0.3.1/24",
                    "10.9.3.1/32",
                    "fd00:3::1/64",
                    "fd00:33::1/64",
                ],
            ),
            interface(4, 1500, &["10.0.4.1/24", "fd00:4::1/64"]),
            interface(9, 9000, &[]),
        ],
        routes: vec![
            route("10.1.0.0/16", "10.0.3.2", 3),
            Route {
                metric: 7,
                ..route("10.1.2.0/24", "10.0.2.2", 2)
            },
            Route {
                metric: 8,
                ..route("10.1.2.0/24", "10.0.3.7", 3)
            },
            route("10.5.0.0/16", "", 3),
            Route {
                source: Some([10, 9, 3, 1].into()),
                ..route("10.6.0.0/16", "10.0.3.2", 3)
            },
            route("10.7.0.0/16", "fd00:3::2", 3),
            route("10.8.0.0/16", "10.99.0.1", 9),
            reject("10.20.0.0/16", RouteKind::Blackhole),
            reject("10.21.0.0/16", RouteKind::Unreachable),
            reject("10.22.0.0/16", RouteKind::Prohibit),
            Route {
                table: 100,
                ..route("10.1.2.0/24", "10.0.2.9", 2)
            },
            Route {
                table: 100,
                ..route("fd11::/16", "fd00:2::9", 2)
            },
            route("fd11::/16", "fd00:3::2", 3),
            Route {
                metric: 5,
                ..route("fd11:5::/32", "fe80::2", 2)
            },
            Route {
                metric: 4,
                ..route("fd11:5::/32", "fd00:3::2", 3)
            },
            route("fd15::/16", "", 3),
            Route {
                source: Some("fd00:33::1".parse().expect("an address")),
                ..route("fd16::/16", "fd00:3::2", 3)
            },
            route("fd18::/16", "fd00:9::9", 9),
            reject("fd20::/16", RouteKind::Blackhole),
            reject("fd21::/16", RouteKind::Unreachable),
            reject("fd22::/16", RouteKind::Prohibit),
        ],
        neighbours: vec![
            neighbour("10.0.3.2", 3),
            neighbour("10.0.2.2", 2),
            neighbour("10.0.2.9", 2),
            neighbour("10.5.0.1", 3),
            neighbour("fd00:3::2", 3),
            neighbour("fd00:2::9", 2),
            neighbour("fe80::2", 2),
            neighbour("fd15::1", 3),
            neighbour("10.99.0.1", 9),
        ],
        rules: vec![],
    }
}

const TARGETS: [&str; 43] = [
    "10.1.2.3",
    "10.1.9.9",
    "10.5.0.1",
    "10.5.0.2",
    "10.6.0.1",
    "10.7.0.1",
    "10.8.0.1",
    "10.20.0.1",
    "10.21.0.1",
    "10.22.0.1",
    "10.0.2.1",
    "10.0.2.5",
    "10.0.2.255",
    "10.0.2.0",
    "10.0.2.2",
    "10.0.4.9",
    "10.9.3.1",
    "127.0.0.1",
    "127.5.5.5",
    "224.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "11.0.0.1",
    "fd11::1",
    "fd11:5::1",
    "fd15::1",
    "fd15::2",
    "fd16::1",
    "fd18::1",
    "fd20::1",
    "fd21::1",
    "fd22::1",
    "fd00:2::1",
    "fd00:2::",
    "fd00:2::5",
    "fd00:4::5",
    "fe80::1",
    "ff02::1",
    "::1",
    "::",
    "fd99::1",
    "fd00:33::7",
    "::ffff:10.1.2.3",
];

/// Every target with all flags, from each interface.
fn lookups() -> Vec<Lookup> {
    let mut lookups = Vec::new();
    for target in TARGETS {
        for flags in 0..64 {
            for (ifindex, len) in [
                (2, 100),
                (3, 0),
                (9, 1401),
                (4, 100),
                (2, 1501),
                (1, 60),
                (77, 60),
            ] {
                // What has no route is the same with all flags.
                if flags != 0 && !matches!(ifindex, 2 | 9) {
                    continue;
                }
                for (table, mark) in [(100, 0), (254, 5), (0, 5), (255, 6), (4000, 1)] {
                    let wanted = (flags & 8 != 0 || table == 100) && (flags & 32 != 0 || mark != 5);
                    if wanted || (table, mark) == (254, 5) {
                        lookups.push(Lookup {
                            target,
                            ifindex,
                            flags,
                            len,
                            table,
                            mark,
                            ..Lookup::default()
                        });
                    }
                }
            }
        }
    }
    lookups
}

fn agree(network: &Network) -> usize {
    network.check().expect("the network is possible");
    let lookups = lookups();
    let frames = (0..)
        .zip(&lookups)
        .map(|(id, lookup)| lookup.frame(id))
        .collect();
    let frames: Vec<Frame> = frames;
    let module = module(&lookup_program());
    let interpreter = run_module_in(&Interpreter::default(), &module, frames.clone(), network);
    let kernel = run_module_in(&KernelBackend::default(), &module, frames, network);
    let mut differences = Vec::new();
    let results = interpreter.frames.iter().zip(&kernel.frames).zip(&lookups);
    for ((interpreter, kernel), lookup) in results {
        let (interpreter, kernel) = (interpreter.packet(), kernel.packet());
        if interpreter != kernel {
            differences.push(format!("{lookup:?}\n{interpreter:02x?}\n{kernel:02x?}"));
        }
    }
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        shown.join("\n")
    );
    lookups.len()
}

#[test]
fn kernel_finds_the_same_routes() {
    if !kernel_is_here() {
        return;
    }
    assert_eq!(agree(&network()), lookups().len());
}

#[test]
fn kernel_finds_the_same_routes_by_mark() {
    if !kernel_is_here() {
        return;
    }
    let rules = vec![
        Rule {
            priority: 10,
            mark: 5,
            table: 100,
        },
        Rule {
            priority: 20,
            mark: 6,
            table: 77,
        },
    ];
    assert_eq!(agree(&Network { rules, ..network() }), lookups().len());
}

#[test]
fn kernel_finds_no_routes_without_a_network() {
    if !kernel_is_here() {
        return;
    }
    let frames = (0..)
        .zip(lookups())
        .map(|(id, lookup)| lookup.frame(id))
        .collect();
    run(&lookup_program(), frames);
}

#[test]
fn kernel_parameters_of_a_route() {
    if !kernel_is_here() {
        return;
    }
    let run = run_in(
        &network(),
        &lookup_program(),
        vec![Lookup::default().frame(0)],
    );
    let params = run.frames[0].packet();
    let expected = [
        &[2, 0, 0, 0, 0, 0][..],
        &1500u16.to_le_bytes(),
        &[2, 0, 0, 0, 7, 0, 0, 0],
        &[0; 16],
        &[10, 0, 2, 2],
        &[0; 16],
        &[2, 0, 0, 0, 0, 2],
        &[2, 1, 1, 1, 1, 2],
    ]
    .concat();
    assert_eq!(params[..64], expected);
    assert_eq!(params[72..80], [0; 8]);
}

#[test]
fn kernel_checks_the_mtu() {
    if !kernel_is_here() {
        return;
    }
    let text = ".license \"GPL\"
         r6 = r1
         r7 = *(u32 *)(r1 + 0)
         r8 = *(u32 *)(r1 + 4)
         r0 = 0
         r1 = r7
         r1 += 40
         if r1 > r8 goto out
         r1 = *(u32 *)(r7 + 4)
         *(u32 *)(r10 - 4) = r1
         r1 = r6
         r2 = *(u32 *)(r7 + 0)
         r3 = r10
         r3 += -4
         r4 = *(u32 *)(r7 + 8)
         r5 = *(u64 *)(r7 + 16)
         call check_mtu
         *(u64 *)(r7 + 24) = r0
         r1 = *(u32 *)(r10 - 4)
         *(u32 *)(r7 + 32) = r1
         r0 = 2
         out: exit";
    let mut frames = Vec::new();
    for ifindex in [0u32, 1, 2, 3, 9, 77] {
        for mtu_len in [0u32, 60, 1400, 1401, 1500, 1501, 70_000, u32::MAX] {
            for len_diff in [0, 1, -1, 20, -2000, i32::MAX, i32::MIN] {
                for (flags, len) in [(0u64, 60), (1, 60), (0, 1514), (0, 1515), (0, 1414)] {
                    let mut packet = vec![0; len];
                    packet[0..4].copy_from_slice(&ifindex.to_le_bytes());
                    packet[4..8].copy_from_slice(&mtu_len.to_le_bytes());
                    packet[8..12].copy_from_slice(&len_diff.to_le_bytes());
                    packet[16..24].copy_from_slice(&flags.to_le_bytes());
                    frames.push(frame(frames.len() as u64, &packet));
                }
            }
        }
    }
    run(text, frames.clone());
    run_in(&network(), text, frames);
}
