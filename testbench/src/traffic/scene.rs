//! What happens in each capture, except the malformed one.

use std::net::IpAddr;

use super::{
    Frame, MICROSECOND, MILLISECOND, Random, Scene, cookie,
    packet::{Extension, Host, Path, Segment, ethernet, host, path},
    session::{self, Connection, End},
};

const SERVER: &str = "192.0.2.10";
const SERVER_V6: &str = "2001:db8::10";

const SYN: Segment<'static> = Segment {
    flags: "S",
    seq: 1,
    ack: 0,
    payload: &[],
};

/// The real mix: some hundred packets of many protocols, flows in both directions, over two seconds.
pub(super) fn mix() -> Vec<Frame> {
    let mut scene = Scene::default();
    web(&mut scene);
    small_talk(&mut scene);
    flood(&mut scene);
    barred_and_scanning(&mut scene);
    other_protocols(&mut scene);
    link_layer(&mut scene);
    tagged(&mut scene, 900 * MILLISECOND);
    corner_cases(&mut scene);
    scene.into_frames()
}

/// TCP sessions: clients outside at the server, hosts inside at servers outside, IPv4 and IPv6.
fn web(scene: &mut Scene) {
    let mut random = Random(1);
    let ends = [End::Fin, End::Fin, End::Reset, End::Open];
    for number in 0..24u16 {
        let client = match number % 3 {
            0 => host(&format!("198.51.100.{}", 20 + number)),
            1 => host(&format!("10.0.{}.{}", number % 2, 2 + number % 6)),
            _ => host(&format!("2001:db8:1::{:x}", 0x20 + number)),
        };
        let server = match (number % 3, number % 2) {
            (0, _) => host(SERVER),
            (1, _) => host("203.0.113.80"),
            _ => host(SERVER_V6),
        };
        let path = path(client, server);
        let sizes = [64, 300, 1_100, 1_400];
        let answers: Vec<usize> = (0..=random.below(3))
            .map(|_| sizes[random.below(4) as usize])
            .collect();
        let connection = Connection {
            path: &path,
            ports: (40_000 + number, if number % 2 == 0 { 80 } else { 443 }),
            answers: &answers,
            end: ends[usize::from(number / 3) % 4],
        };
        session::tcp(scene, random.below(1_500) * MILLISECOND, &connection);
    }
}

fn small_talk(scene: &mut Scene) {
    let mut random = Random(2);
    for number in 0..16u16 {
        let client = host(&format!("198.51.100.{}", 100 + number));
        let inside = host(&format!("10.0.0.{}", 1 + number % 8));
        let client_v6 = host(&format!("2001:db8:1::{:x}", 0x100 + number));
        let start = random.below(1_800) * MILLISECOND;
        match number % 4 {
            0 => session::dns(scene, start, &path(client, host(SERVER)), 30_000 + number),
            1 => session::dns(
                scene,
                start,
                &path(inside, host("203.0.113.53")),
                30_000 + number,
            ),
            2 => session::dns(
                scene,
                start,
                &path(client_v6, host(SERVER_V6)),
                30_000 + number,
            ),
            _ => session::ping(scene, start, &path(client, host(SERVER)), number, 3),
        }
    }
    session::ping(
        scene,
        300 * MILLISECOND,
        &path(host("fd00::1"), host("2001:db8:1::9")),
        77,
        3,
    );
    session::ping(
        scene,
        310 * MILLISECOND,
        &path(host("10.0.0.3"), host("10.0.1.2")),
        78,
        3,
    );
}

/// One source sends 5,000 packets a second, is shut out, and comes back politely. An IPv6 /64 does so together.
fn flood(scene: &mut Scene) {
    let loud = path(host("203.0.113.50"), host(SERVER));
    for number in 0..140u16 {
        let now = 200 * MILLISECOND + u64::from(number) * 200 * MICROSECOND;
        scene.add(now, loud.udp((5_000, 53), &number.to_be_bytes()));
    }
    for number in 0..10u16 {
        let now = 600 * MILLISECOND + u64::from(number) * 5 * MILLISECOND;
        scene.add(now, loud.udp((5_001, 53), &number.to_be_bytes()));
    }
    for number in 0..60u16 {
        let now = 700 * MILLISECOND + u64::from(number) * 100 * MICROSECOND;
        let source = host(&format!("2001:db8:1:5::{:x}", 1 + number % 5));
        scene.add(
            now,
            path(source, host(SERVER_V6)).udp((6_000, 53), &number.to_be_bytes()),
        );
    }
}

fn barred_and_scanning(scene: &mut Scene) {
    for number in 0..8u16 {
        let now = u64::from(number) * 150 * MILLISECOND;
        let barred = path(host("198.51.100.7"), host(SERVER));
        let mirrored = path(host("198.51.100.8"), host(SERVER));
        let scanner = path(host("203.0.113.66"), host(SERVER));
        scene.add(now, barred.udp((7_000 + number, 53), b"barred"));
        scene.add(now + 1, mirrored.udp((7_000 + number, 53), b"mirrored"));
        let port = [21, 22, 23, 25, 110, 445, 3389, 8_080][usize::from(number)];
        scene.add(now + 2, scanner.tcp((50_000, port), SYN));
        scene.add(
            now + 3,
            scanner.back().tcp(
                (port, 50_000),
                Segment {
                    flags: "R.",
                    ack: 2,
                    ..SYN
                },
            ),
        );
    }
    let scanner = path(host("198.51.100.250"), host(SERVER));
    for (number, flags) in ["", "SF", "F", ".", "SR", "FP"].into_iter().enumerate() {
        let now = 400 * MILLISECOND + number as u64;
        scene.add(now, scanner.tcp((51_000, 80), Segment { flags, ..SYN }));
    }
}

/// IP protocols beyond TCP, UDP and ICMP, fragments, and ICMP errors.
fn other_protocols(scene: &mut Scene) {
    let now = 500 * MILLISECOND;
    let v4 = path(host("198.51.100.30"), host(SERVER));
    let v6 = path(host("2001:db8:1::30"), host(SERVER_V6));
    for (number, protocol) in [2, 4, 41, 47, 50, 51, 89, 112, 132].into_iter().enumerate() {
        let payload = [0x45; 32];
        scene.add(now + number as u64, v4.raw(protocol, &payload));
        scene.add(now + number as u64, v6.raw(protocol, &payload));
    }
    for (number, fragment) in [(0, true), (185, true), (370, false)]
        .into_iter()
        .enumerate()
    {
        let later = now + MILLISECOND + number as u64;
        let payload = [0x35; 1_480];
        for path in [&v4, &v6] {
            let part = Path {
                fragment: Some(fragment),
                ..path.clone()
            };
            scene.add(later, part.raw(17, &payload));
        }
    }
    scene.add(now + 5 * MILLISECOND, v4.icmp(3, 1, [0; 4], &[0x45; 28]));
    scene.add(now + 6 * MILLISECOND, v4.icmp(11, 0, [0; 4], &[0x45; 28]));
    scene.add(
        now + 7 * MILLISECOND,
        v6.icmp(2, 0, [0, 0, 5, 0], &[0x60; 48]),
    );
    scene.add(now + 8 * MILLISECOND, v6.icmp(1, 4, [0; 4], &[0x60; 48]));
}

const BROADCAST: [u8; 6] = [0xff; 6];

/// Frames that are not IP, and neighbour discovery.
fn link_layer(scene: &mut Scene) {
    let a = host("10.0.0.1");
    let b = host("10.0.0.2");
    for number in 0..4u8 {
        let now = u64::from(number) * 400 * MILLISECOND;
        scene.add(now, arp(1, a, b, BROADCAST));
        scene.add(now + 200 * MICROSECOND, arp(2, b, a, a.mac));
    }
    let others: [(u16, [u8; 6]); 8] = [
        (0x88cc, [0x01, 0x80, 0xc2, 0, 0, 0x0e]), // LLDP
        (0x0026, [0x01, 0x80, 0xc2, 0, 0, 0]),    // spanning tree: a length, not a type
        (0x8847, b.mac),                          // MPLS
        (0x8863, BROADCAST),                      // PPPoE discovery
        (0x888e, [0x01, 0x80, 0xc2, 0, 0, 3]),    // 802.1X
        (0x88f7, [0x01, 0x1b, 0x19, 0, 0, 0]),    // PTP
        (0x0000, b.mac),
        (0xffff, b.mac),
    ];
    for (number, (ether_type, dst)) in others.into_iter().enumerate() {
        scene.add(
            50 * MILLISECOND + number as u64,
            ethernet(a.mac, dst, ether_type, &[0x42; 46]),
        );
    }
    let router = Host {
        mac: [0x33, 0x33, 0, 0, 0, 2],
        ip: "ff02::2".parse().expect("an address"),
    };
    let discovery = Path {
        ttl: 255,
        ..path(host("fe80::1"), router)
    };
    for kind in 133..=137 {
        scene.add(
            60 * MILLISECOND + u64::from(kind),
            discovery.icmp(kind, 0, [0; 4], &[0; 16]),
        );
    }
    let group = Host {
        mac: [0x01, 0x00, 0x5e, 0, 0, 251],
        ip: "224.0.0.251".parse().expect("an address"),
    };
    scene.add(
        70 * MILLISECOND,
        path(a, group).udp((5_353, 5_353), b"mDNS"),
    );
    let everyone = Host {
        mac: BROADCAST,
        ip: "255.255.255.255".parse().expect("an address"),
    };
    scene.add(
        71 * MILLISECOND,
        path(host("0.0.0.0"), everyone).udp((68, 67), &[0; 240]),
    );
}

fn arp(operation: u8, from: Host, to: Host, dst: [u8; 6]) -> Vec<u8> {
    let (IpAddr::V4(sender), IpAddr::V4(target)) = (from.ip, to.ip) else {
        unreachable!("ARP is IPv4's")
    };
    let known = if operation == 1 { [0; 6] } else { to.mac };
    let message = [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &from.mac,
        &sender.octets(),
        &known,
        &target.octets(),
    ]
    .concat();
    ethernet(from.mac, dst, 0x0806, &message)
}

/// VLAN tags: access VLANs, unknown ones, priority tags, and two tags.
fn tagged(scene: &mut Scene, start_ns: u64) {
    let v4 = path(host("10.0.0.4"), host("10.0.1.3"));
    let v6 = path(host("fd00::2"), host("fd00:0:0:1::1"));
    for (number, vlans) in [
        vec![10],
        vec![20],
        vec![30],
        vec![0],
        vec![1],
        vec![4_094],
        vec![10, 20],
        vec![20, 10],
    ]
    .into_iter()
    .enumerate()
    {
        let now = start_ns + number as u64 * MILLISECOND;
        for (step, path) in [&v4, &v6].into_iter().enumerate() {
            let path = Path {
                vlans: vlans.clone(),
                ..path.clone()
            };
            let ports = (9_000 + number as u16, 53);
            scene.add(now + step as u64, path.udp(ports, b"tagged"));
            scene.add(now + 10 + step as u64, path.tcp(ports, SYN));
            scene.add(
                now + 20 + step as u64,
                path.back().echo(true, 5, number as u16),
            );
        }
    }
    // The stacking tag of 802.1ad, alone and twice.
    let mut service = Path {
        vlans: vec![10],
        ..v4.clone()
    }
    .udp((1, 2), b"service");
    service[12..14].copy_from_slice(&[0x88, 0xa8]);
    scene.add(start_ns + 20 * MILLISECOND, service);
    let mut three = Path {
        vlans: vec![10, 20],
        ..v4
    }
    .udp((1, 2), b"three tags");
    three.splice(12..12, [0x88, 0xa8, 0, 30]);
    scene.add(start_ns + 21 * MILLISECOND, three);
}

/// When the corner cases of a scene begin.
const CORNER_CASES: u64 = 1_700 * MILLISECOND;

/// TTLs that end, options, big frames, checksums, prefixes that lead nowhere.
fn corner_cases(scene: &mut Scene) {
    let v4 = path(host("10.0.0.5"), host("10.0.1.2"));
    let v6 = path(host("fd00::1"), host("fd00:0:0:1::1"));
    ttls(scene, [&v4, &v6]);
    header_options(scene, &v4);
    big_frames(scene, [&v4, &v6]);
    checksums(scene, &v4);
    destinations(scene);
}

fn ttls(scene: &mut Scene, paths: [&Path; 2]) {
    for ttl in [0, 1, 2, 255] {
        for (step, path) in paths.into_iter().enumerate() {
            let path = Path {
                ttl,
                ..path.clone()
            };
            let now = CORNER_CASES + u64::from(ttl) * 2 + step as u64;
            scene.add(now, path.udp((8_000, 8_001), b"ttl"));
        }
    }
}

/// Record route in 8 and in 40 bytes; the latter is the largest header there is.
fn header_options(scene: &mut Scene, path: &Path) {
    for size in [8, 40] {
        let mut ipv4_options = vec![0; size];
        ipv4_options[..3].copy_from_slice(&[7, size as u8 - 1, 4]);
        let path = Path {
            ipv4_options,
            ..path.clone()
        };
        scene.add(
            CORNER_CASES + MILLISECOND,
            path.udp((8_000, 8_001), b"options"),
        );
        scene.add(CORNER_CASES + MILLISECOND, path.tcp((8_000, 80), SYN));
    }
}

/// Around the MTU of the router's uplink, 1,400, the usual 1,500, and up to the longest unfragmented frame.
fn big_frames(scene: &mut Scene, near: [&Path; 2]) {
    let far = path(host("10.0.0.5"), host("198.51.100.200"));
    let far_v6 = path(host("fd00::1"), host("2001:db8:1::200"));
    let sizes = [1_300, 1_352, 1_353, 1_372, 1_373, 1_460, 1_500, 3_358];
    for (number, size) in sizes.into_iter().enumerate() {
        let payload = vec![number as u8; size];
        let now = CORNER_CASES + (2 + number as u64) * MILLISECOND;
        for path in [near[0], &far, near[1], &far_v6] {
            scene.add(now, path.udp((8_000, 8_001), &payload));
        }
    }
}

/// No UDP checksum, and IPv4 checksums on both sides of the carry when the TTL goes down.
fn checksums(scene: &mut Scene, path: &Path) {
    let mut unsummed = path.udp((8_002, 8_003), b"no checksum");
    unsummed[40..42].fill(0);
    scene.add(CORNER_CASES + 10 * MILLISECOND, unsummed);
    for step in 0..16u16 {
        let mut frame = path.udp((8_004, 8_005), b"carry");
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        let sum = u16::from_be_bytes([frame[24], frame[25]]);
        // In a one's complement sum, what the checksum gains the identification loses.
        let wanted = 0xfef8_u16.wrapping_add(step);
        let gain = ones_add(wanted, !sum);
        frame[18..20].copy_from_slice(&ones_add(id, !gain).to_be_bytes());
        frame[24..26].copy_from_slice(&wanted.to_be_bytes());
        scene.add(CORNER_CASES + 11 * MILLISECOND, frame);
    }
}

/// Behind a gateway, without neighbour, to a port that is not there, to nowhere.
fn destinations(scene: &mut Scene) {
    let v4 = [
        "10.1.2.3",
        "10.0.1.99",
        "10.9.9.9",
        "192.0.2.11",
        "127.0.0.1",
    ];
    let v6 = ["fd00:1::5", "fd00:0:0:1::99", "fd01::1", "2001:db8::10"];
    for (source, targets) in [("10.0.0.5", &v4[..]), ("fd00::1", &v6[..])] {
        for target in targets {
            let frame = path(host(source), host(target)).udp((8_006, 8_007), b"to");
            scene.add(CORNER_CASES + 12 * MILLISECOND, frame);
        }
    }
}

fn ones_add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// A SYN flood from made-up sources, with real clients among them who answer cookies rightly, wrongly, or try again.
pub(super) fn attack() -> Vec<Frame> {
    let mut scene = Scene::default();
    let mut random = Random(3);
    for number in 0..400u64 {
        let source = if number % 8 == 7 {
            format!(
                "2001:db8:{:x}::{:x}",
                random.below(0x1000),
                random.below(0x10000)
            )
        } else {
            let part = random.next().to_be_bytes();
            format!("{}.{}.{}.{}", 11 + part[0] % 100, part[1], part[2], part[3])
        };
        let source = host(&source);
        let server = host(if source.ip.is_ipv4() {
            SERVER
        } else {
            SERVER_V6
        });
        let port = [80, 443, 80, 8_080][random.below(4) as usize];
        let seq = random.next() as u32;
        let frame = path(source, server).tcp(
            (1_024 + random.below(60_000) as u16, port),
            Segment { seq, ..SYN },
        );
        scene.add(number * 50 * MICROSECOND, frame);
    }
    for number in 0..12u16 {
        let (client, server) = if number % 3 == 2 {
            (host(&format!("2001:db8:1::{number:x}")), host(SERVER_V6))
        } else {
            (host(&format!("198.51.100.{}", 10 + number)), host(SERVER))
        };
        let way = path(client, server);
        let ports = (20_000 + number, 443);
        let start = (u64::from(number) * 1_500 + 7) * MICROSECOND;
        let cookie = cookie::syn_cookie((client.ip, ports.0), (server.ip, ports.1));
        let wrong = u32::from(number % 4 == 3);
        let answer = Segment {
            flags: ".",
            seq: 2,
            ack: cookie.wrapping_add(1 + wrong),
            payload: &[],
        };
        scene.add(start, way.tcp(ports, SYN));
        scene.add(start + 400 * MICROSECOND, way.tcp(ports, answer));
        scene.add(
            start + 900 * MICROSECOND,
            way.tcp((ports.0 + 100, ports.1), SYN),
        );
        scene.add(
            start + 950 * MICROSECOND,
            way.tcp(
                (ports.0 + 100, ports.1),
                Segment {
                    flags: "P.",
                    ack: 9,
                    ..SYN
                },
            ),
        );
    }
    scene.into_frames()
}

/// Tagged and untagged frames for the VLAN switch.
pub(super) fn vlan() -> Vec<Frame> {
    let mut scene = Scene::default();
    tagged(&mut scene, 0);
    let plain = path(host("10.0.0.4"), host("10.0.1.3"));
    for number in 0..8u8 {
        let path = Path {
            dscp: number * 8,
            ..plain.clone()
        };
        scene.add(
            u64::from(number) * MILLISECOND + 500,
            path.udp((4_000, 4_001), b"untagged"),
        );
    }
    let tagged = Path {
        vlans: vec![10],
        ..plain
    };
    let connection = Connection {
        path: &tagged,
        ports: (41_000, 80),
        answers: &[200, 1_200],
        end: End::Fin,
    };
    session::tcp(&mut scene, 30 * MILLISECOND, &connection);
    link_layer(&mut scene);
    scene.into_frames()
}

/// IPv6: extension headers alone and together, fragments, sessions.
pub(super) fn ipv6() -> Vec<Frame> {
    use Extension::{Destination, HopByHop, Routing};

    let mut scene = Scene::default();
    let plain = path(host("2001:db8:1::5"), host(SERVER_V6));
    let chains: [&[Extension]; 6] = [
        &[],
        &[HopByHop],
        &[Destination],
        &[Routing],
        &[HopByHop, Routing],
        &[HopByHop, Destination, Routing],
    ];
    for (number, chain) in chains.into_iter().enumerate() {
        let way = Path {
            ipv6_extensions: chain.to_vec(),
            ..plain.clone()
        };
        let connection = Connection {
            path: &way,
            ports: (42_000 + number as u16, 443),
            answers: &[100, 1_000],
            end: End::Fin,
        };
        session::tcp(&mut scene, number as u64 * 20 * MILLISECOND, &connection);
        session::dns(&mut scene, number as u64 * 21 * MILLISECOND, &way, 31_000);
        session::ping(&mut scene, number as u64 * 22 * MILLISECOND, &way, 6, 2);
        for fragment in [(0, false), (0, true), (100, true), (200, false)] {
            let part = Path {
                fragment: Some(fragment),
                ..way.clone()
            };
            scene.add(
                150 * MILLISECOND,
                part.udp((32_000, 53), &[number as u8; 64]),
            );
        }
    }
    let inside = path(host("fd00::1"), host("2001:db8:1::5"));
    session::ping(&mut scene, 200 * MILLISECOND, &inside, 8, 4);
    link_layer(&mut scene);
    scene.into_frames()
}

/// What the router hears on its port 0.
pub(super) fn routed_a() -> Vec<Frame> {
    let mut scene = Scene::default();
    corner_cases(&mut scene);
    router_sessions(&mut scene, Path::clone);
    scene.into_frames()
}

/// What the router hears on its port 1: the other direction.
pub(super) fn routed_b() -> Vec<Frame> {
    let mut scene = Scene::default();
    router_sessions(&mut scene, Path::back);
    scene.into_frames()
}

/// One direction of talks between the two networks behind ports 0 and 1.
fn router_sessions(scene: &mut Scene, direction: impl Fn(&Path) -> Path) {
    let pairs = [
        ("10.0.0.1", "10.0.1.1"),
        ("10.0.0.2", "10.0.1.254"),
        ("10.0.0.9", "10.1.7.7"),
        ("fd00::2", "fd00:0:0:1::1"),
    ];
    for (number, (near, far)) in pairs.into_iter().enumerate() {
        let way = direction(&path(host(near), host(far)));
        for step in 0..20u16 {
            let now = 1_700 * MILLISECOND + u64::from(step) * MILLISECOND + number as u64 * 100;
            let segment = Segment {
                flags: if step == 0 { "S" } else { "P." },
                seq: u32::from(step) * 100,
                ack: u32::from(step),
                payload: &[0x2e; 100][..usize::from(step) * 5],
            };
            scene.add(now, way.tcp((43_000 + step, 8_080), segment));
            scene.add(now + 50, way.udp((44_000, 44_001 + step), &[0x2f; 20]));
        }
    }
}
