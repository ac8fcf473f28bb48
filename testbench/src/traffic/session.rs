//! Conversations between hosts: what several frames say together.

use super::{
    MICROSECOND, MILLISECOND, Scene,
    packet::{Path, Segment},
};

/// How a TCP connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Fin,
    Reset,
    /// It does not, within the capture.
    Open,
}

pub(super) struct Connection<'a> {
    pub(super) path: &'a Path,
    pub(super) ports: (u16, u16),
    /// Bytes of each answer; one request comes before each.
    pub(super) answers: &'a [usize],
    pub(super) end: End,
}

fn segment<'a>(flags: &'a str, seq: u32, ack: u32, payload: &'a [u8]) -> Segment<'a> {
    Segment {
        flags,
        seq,
        ack,
        payload,
    }
}

/// Both directions of a TCP connection, from SYN to its end.
pub(super) fn tcp(scene: &mut Scene, start_ns: u64, connection: &Connection<'_>) {
    let forward = connection.path;
    let back = &forward.back();
    let ports = connection.ports;
    let turned = (ports.1, ports.0);
    let mut now = start_ns;
    let mut step = || {
        now += 300 * MICROSECOND;
        now
    };
    let (mut seq, mut ack) = (
        0x1000_0000 + u32::from(ports.0),
        0x2000_0000 + u32::from(ports.0),
    );
    scene.add(step(), forward.tcp(ports, segment("S", seq, 0, &[])));
    seq += 1;
    scene.add(step(), back.tcp(turned, segment("S.", ack, seq, &[])));
    ack += 1;
    scene.add(step(), forward.tcp(ports, segment(".", seq, ack, &[])));
    for (number, &size) in connection.answers.iter().enumerate() {
        let request = format!("GET /{number} HTTP/1.1\r\nHost: example.net\r\n\r\n");
        scene.add(
            step(),
            forward.tcp(ports, segment("P.", seq, ack, request.as_bytes())),
        );
        seq += request.len() as u32;
        let answer: Vec<u8> = (0..size).map(|i| b'a' + (i % 26) as u8).collect();
        scene.add(step(), back.tcp(turned, segment("P.", ack, seq, &answer)));
        ack += size as u32;
        scene.add(step(), forward.tcp(ports, segment(".", seq, ack, &[])));
    }
    match connection.end {
        End::Fin => {
            scene.add(step(), forward.tcp(ports, segment("F.", seq, ack, &[])));
            scene.add(step(), back.tcp(turned, segment("F.", ack, seq + 1, &[])));
            scene.add(
                step(),
                forward.tcp(ports, segment(".", seq + 1, ack + 1, &[])),
            );
        }
        End::Reset => {
            scene.add(step(), back.tcp(turned, segment("R.", ack, seq, &[])));
            // What the client sent before it heard of the reset.
            scene.add(step(), forward.tcp(ports, segment("P.", seq, ack, b"late")));
        }
        End::Open => {}
    }
}

/// A DNS query and its answer.
pub(super) fn dns(scene: &mut Scene, start_ns: u64, path: &Path, port: u16) {
    let query =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03net\x00\x00\x01\x00\x01";
    let answer = [
        &query[..],
        b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x0a",
    ]
    .concat();
    scene.add(start_ns, path.udp((port, 53), query));
    scene.add(
        start_ns + 2 * MILLISECOND,
        path.back().udp((53, port), &answer),
    );
}

/// Echo requests and their replies.
pub(super) fn ping(scene: &mut Scene, start_ns: u64, path: &Path, id: u16, count: u16) {
    for sequence in 0..count {
        let now = start_ns + u64::from(sequence) * 10 * MILLISECOND;
        scene.add(now, path.echo(true, id, sequence));
        scene.add(now + MILLISECOND, path.back().echo(false, id, sequence));
    }
}
