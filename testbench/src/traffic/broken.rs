//! Frames that are cut, lie about their lengths, or are otherwise not what their headers say.

use super::{
    Frame, MILLISECOND, Scene,
    packet::{Extension, Path, Segment, ethernet, host, path},
};

/// Every case after the other, one a millisecond.
pub(super) fn scene() -> Vec<Frame> {
    let mut scene = Scene::default();
    let cases = [cut_frames(), lying_ipv4(), lying_ipv6(), lying_transport()].concat();
    for (number, frame) in cases.into_iter().enumerate() {
        scene.add(number as u64 * MILLISECOND, frame);
    }
    scene.into_frames()
}

fn v4() -> Path {
    path(host("198.51.100.9"), host("192.0.2.10"))
}

fn v6() -> Path {
    path(host("2001:db8:1::9"), host("2001:db8::10"))
}

const SYN: Segment<'static> = Segment {
    flags: "S",
    seq: 7,
    ack: 0,
    payload: &[],
};

fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// Every length at which a header ends, and one less and one more; lengths below 14 are no Ethernet frames.
fn cut_frames() -> Vec<Vec<u8>> {
    let tagged = |path: Path| Path {
        vlans: vec![10, 20],
        ..path
    };
    let extended = Path {
        ipv6_extensions: vec![Extension::HopByHop, Extension::Routing],
        ..v6()
    };
    let whole: [(Vec<u8>, &[usize]); 8] = [
        (v4().tcp((1_000, 80), SYN), &[14, 34, 54]),
        (v4().udp((1_000, 53), b"payload"), &[34, 42]),
        (v4().echo(true, 1, 1), &[42]),
        (v6().tcp((1_000, 80), SYN), &[54, 74]),
        (v6().udp((1_000, 53), b"payload"), &[62]),
        (tagged(v4()).tcp((1_000, 80), SYN), &[18, 22, 42, 62]),
        (tagged(v6()).udp((1_000, 53), b"payload"), &[62, 70]),
        (extended.tcp((1_000, 80), SYN), &[62, 86, 106]),
    ];
    let mut frames = vec![v4().tcp((1_000, 80), SYN)[..13].to_vec()];
    for (frame, ends) in whole {
        for end in ends {
            frames.extend([end - 1, *end, end + 1].map(|len| frame[..len.max(14)].to_vec()));
        }
    }
    frames
}

fn lying_ipv4() -> Vec<Vec<u8>> {
    let tcp = || v4().tcp((1_000, 80), SYN);
    let optional = Path {
        ipv4_options: vec![1; 40],
        ..v4()
    };
    let mut frames = vec![
        with(tcp(), 14, &[0x55]),                      // version 5
        with(tcp(), 14, &[0x65]),                      // version 6 under an IPv4 type
        with(tcp(), 14, &[0x05]),                      // version 0
        with(tcp(), 16, &[0, 0]),                      // total length 0
        with(tcp(), 16, &[0, 19]),                     // below the header
        with(tcp(), 16, &[0, 39]),                     // below the transport header
        with(tcp(), 16, &[0xff, 0xff]),                // above the frame
        with(tcp(), 24, &[0xde, 0xad]),                // wrong checksum
        with(tcp(), 20, &[0xff, 0xff]),                // all fragment bits
        with(tcp(), 26, &[127, 0, 0, 1]),              // from loopback
        with(tcp(), 26, &[192, 0, 2, 10]),             // from its own destination
        with(tcp(), 30, &[224, 0, 0, 1]),              // to a group, with a host's MAC
        optional.tcp((1_000, 80), SYN)[..73].to_vec(), // options cut
        optional.tcp((1_000, 80), SYN)[..93].to_vec(), // TCP behind options cut
    ];
    for ihl in 0..16 {
        frames.push(with(tcp(), 14, &[0x40 | ihl]));
    }
    frames
}

fn lying_ipv6() -> Vec<Vec<u8>> {
    let tcp = || v6().tcp((1_000, 80), SYN);
    let extended = |extensions: &[Extension]| {
        let path = Path {
            ipv6_extensions: extensions.to_vec(),
            ..v6()
        };
        path.tcp((1_000, 80), SYN)
    };
    let mapped: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 9];
    let mut frames = vec![
        with(tcp(), 14, &[0x40]),       // version 4 under an IPv6 type
        with(tcp(), 14, &[0x00]),       // version 0
        with(tcp(), 18, &[0, 0]),       // payload length 0
        with(tcp(), 18, &[0xff, 0xff]), // above the frame
        with(tcp(), 20, &[59]),         // no next header
        with(tcp(), 22, &mapped),       // an IPv4-mapped source
        with(tcp(), 22, &[0; 16]),      // the unspecified source
        with(extended(&[Extension::HopByHop]), 55, &[255]), // longer than the frame
        with(extended(&[Extension::Routing]), 55, &[1]), // shorter than it is
        with(extended(&[Extension::HopByHop]), 54, &[0]), // a second hop-by-hop header
    ];
    // Six extension headers: more than a program follows.
    let mut long = tcp();
    long[20] = 60;
    let option = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let chain = [
        option(60),
        option(60),
        option(60),
        option(60),
        option(60),
        option(6),
    ]
    .concat();
    long.splice(54..54, chain);
    frames.push(long);
    frames
}

fn lying_transport() -> Vec<Vec<u8>> {
    let tcp = || v4().tcp((1_000, 80), SYN);
    let udp = || v4().udp((1_000, 53), b"payload");
    let host = host("10.0.0.1");
    vec![
        with(tcp(), 46, &[0x00]),                        // TCP header length 0
        with(tcp(), 46, &[0xf0]),                        // longer than the segment
        with(tcp(), 47, &[0xff]),                        // every flag
        with(tcp(), 50, &[0, 0]),                        // checksum 0
        with(udp(), 38, &[0, 0]),                        // UDP length 0
        with(udp(), 38, &[0, 7]),                        // below the header
        with(udp(), 38, &[0xff, 0xff]),                  // above the packet
        with(udp(), 40, &[0, 0]),                        // no checksum
        with(udp(), 40, &[0x12, 0x34]),                  // wrong checksum
        with(v4().echo(true, 1, 1), 34, &[255]),         // an ICMP type that is none
        with(v4().tcp((0, 80), SYN), 34, &[0, 0, 0, 0]), // ports 0
        ethernet(host.mac, host.mac, 0x0800, &[]),       // nothing but zeros
        ethernet(host.mac, host.mac, 0x86dd, &[0xff; 100]),
        ethernet([0xff; 6], [0; 6], 0x0806, &[0; 28]),
        vec![0; 60],
        vec![0xff; 60],
    ]
}
