//! What a port receives of captures, several captures as one, and packets written and read again.

mod build;

use std::io::{Cursor, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

use build::{Bytes, LE, plain_pcap, reader};
use expect_test::expect;
use iom_sim::capture::{
    Annotations, CaptureReader, CaptureWriter, Counts, FrameReader, Input, LinkType, MergedReader,
    Order, OtherLinks, Packet, PacketSource, Policy, Truncated, port_name,
};
use proptest::prelude::*;

const IPV4: [u8; 20] = [0x45; 20];

fn frames(file: &[u8], policy: Policy) -> (Vec<(Vec<u8>, u32)>, Counts) {
    let mut reader = FrameReader::new(reader(file).unwrap(), policy);
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        assert_eq!(packet.link_type, LinkType::ETHERNET);
        frames.push((packet.bytes.to_vec(), packet.original_len));
    }
    (frames, reader.counts())
}

fn truncated(truncated: Truncated) -> Policy {
    Policy {
        truncated,
        ..Policy::default()
    }
}

fn other_links(other_links: OtherLinks) -> Policy {
    Policy {
        other_links,
        ..Policy::default()
    }
}

#[test]
fn truncated_frames_are_captured_padded_or_skipped() {
    let file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 4, 1);
    let file = file.record((0, 0), 6, &[1, 2]).record((0, 0), 2, &[3, 4]);
    let file = file
        .record((0, 0), u32::MAX, &[5, 6])
        .record((0, 0), 1, &[7, 8])
        .bytes;
    let frame = |bytes: &[u8], original_len| (bytes.to_vec(), original_len);
    let (whole, odd) = (frame(&[3, 4], 2), frame(&[7, 8], 1));

    let (captured, counts) = frames(&file, Policy::default());
    assert_eq!(
        captured,
        [
            frame(&[1, 2], 6),
            whole.clone(),
            frame(&[5, 6], u32::MAX),
            odd.clone()
        ]
    );
    assert_eq!((counts.frames, counts.truncated), (4, 2));

    // No capture has a frame of 4 GiB: padding is limited, the frame is left out and counted.
    let (padded, counts) = frames(&file, truncated(Truncated::Pad));
    assert_eq!(
        padded,
        [frame(&[1, 2, 0, 0, 0, 0], 6), whole.clone(), odd.clone()]
    );
    assert_eq!((counts.truncated, counts.skipped_truncated), (1, 1));

    let (skipped, counts) = frames(&file, truncated(Truncated::Skip));
    assert_eq!(skipped, [whole, odd]);
    assert_eq!(counts.skipped_truncated, 2);
}

/// An Ethernet packet, then a raw IP one, then one that is no IP.
fn mixed_links() -> Vec<u8> {
    let file = Bytes::new(LE).section(LE);
    let none = file.options();
    let file = file.interface(1, 0, &none).interface(101, 0, &none);
    let file = file.enhanced(0, 0, 14, &[9; 14]).enhanced(1, 0, 60, &IPV4);
    file.enhanced(1, 0, 1, &[0]).bytes
}

#[test]
fn other_links_are_refused_skipped_or_adapted() {
    let mut refused = FrameReader::new(reader(&mixed_links()).unwrap(), Policy::default());
    assert!(refused.advance().unwrap());
    expect![[r"test: at byte 116: interface 1 has link type RAW, not Ethernet: leave such packets out (--links skip) or give raw IP, Linux cooked and BSD loopback an Ethernet header (--links adapt)"]]
        .assert_eq(&refused.advance().unwrap_err().to_string());
    assert!(!refused.advance().unwrap());

    let (skipped, counts) = frames(&mixed_links(), other_links(OtherLinks::Skip));
    assert_eq!((skipped.len(), counts.skipped_links), (1, 2));

    let (adapted, counts) = frames(&mixed_links(), other_links(OtherLinks::Adapt));
    assert_eq!(adapted.len(), 2);
    assert_eq!(adapted[1].0[12..14], [0x08, 0x00]);
    assert_eq!(adapted[1].0[14..], IPV4);
    assert_eq!(adapted[1].1, 74, "the original length follows the header");
    assert_eq!(
        (counts.frames, counts.adapted, counts.skipped_links),
        (2, 1, 1)
    );
}

#[test]
fn adapted_frames_are_padded_to_their_new_length() {
    let policy = Policy {
        truncated: Truncated::Pad,
        other_links: OtherLinks::Adapt,
    };
    let (adapted, _) = frames(&mixed_links(), policy);
    assert_eq!(adapted[1].0.len(), 74);
    assert_eq!(adapted[1].0[34..], [0; 40]);
}

#[test]
fn the_frame_check_sequence_is_not_part_of_the_frame() {
    // Bit 26: FCS present; bits 28 to 31: two 16-bit words.
    let file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 65_535, 0x2400_0001);
    let file = file
        .record((0, 0), 18, &[1; 18])
        .record((0, 0), 18, &[2; 16]);
    let (frames, _) = frames(&file.record((0, 0), 18, &[3; 9]).bytes, Policy::default());
    let lengths: Vec<_> = frames
        .iter()
        .map(|(bytes, original_len)| (bytes.len(), *original_len))
        .collect();
    assert_eq!(lengths, [(14, 14), (14, 14), (9, 14)]);
}

/// A capture whose frames hold their file's and their own number, at the given seconds.
fn timed(file: u8, seconds: &[u32]) -> FrameReader {
    let mut bytes = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 65_535, 1);
    for (number, &second) in seconds.iter().enumerate() {
        bytes = bytes.record((second, 0), 2, &[file, number as u8]);
    }
    FrameReader::new(reader(&bytes.bytes).unwrap(), Policy::default())
}

fn merged(inputs: Vec<(u32, FrameReader)>, order: Order) -> Vec<(u32, [u8; 2])> {
    let mut reader = MergedReader::new(inputs, order);
    let mut frames = Vec::new();
    while let Some((port, packet)) = reader.next_packet().unwrap() {
        frames.push((port, packet.bytes.try_into().unwrap()));
    }
    assert_eq!(
        reader
            .readers()
            .map(|reader| reader.counts().frames)
            .sum::<u64>(),
        frames.len() as u64
    );
    frames
}

#[test]
fn captures_are_merged_by_time_then_by_their_order() {
    let inputs = vec![
        (0, timed(0, &[1, 5, 2])),
        (1, timed(1, &[])),
        (0, timed(2, &[1, 3, 9])),
    ];
    let expected = [[0, 0], [2, 0], [2, 1], [0, 1], [0, 2], [2, 2]];
    assert_eq!(
        merged(inputs, Order::ByTime),
        expected.map(|frame| (0, frame))
    );
}

#[test]
fn captures_of_one_port_may_follow_each_other() {
    let inputs = vec![
        (0, timed(0, &[8])),
        (7, timed(1, &[4])),
        (0, timed(2, &[1])),
    ];
    assert_eq!(
        merged(inputs, Order::AsNamed),
        [(7, [1, 0]), (0, [0, 0]), (0, [2, 0])]
    );
}

#[test]
fn a_fault_in_one_capture_stops_the_merge_behind_its_last_packet() {
    let broken = plain_pcap(&[&[1], &[2]]);
    let broken = FrameReader::new(
        reader(&broken[..broken.len() - 1]).unwrap(),
        Policy::default(),
    );
    let mut reader = MergedReader::new(vec![(0, broken), (0, timed(0, &[9]))], Order::ByTime);
    assert_eq!(reader.next_packet().unwrap().unwrap().1.bytes, [1]);
    assert!(reader.next_packet().is_err());
}

#[test]
fn inputs_name_ports_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    std::fs::write(&path, plain_pcap(&[&[1, 2, 3]])).unwrap();
    let input: Input = format!("3@{}", path.display()).parse().unwrap();
    let mut reader = MergedReader::open(&[input], Policy::default(), Order::ByTime).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().0, 3);
    let missing: Input = "no/such/file".parse().unwrap();
    assert!(MergedReader::open(&[missing], Policy::default(), Order::ByTime).is_err());
}

/// An output that the test can look at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A packet of a port, as written and as read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    port: u32,
    bytes: Vec<u8>,
    time_ns: u64,
    original_len: u32,
    link_type: LinkType,
    annotations: Annotations,
}

impl Written {
    fn packet(&self) -> Packet<'_> {
        Packet {
            bytes: &self.bytes,
            time_ns: self.time_ns,
            original_len: self.original_len,
            interface: 0,
            link_type: self.link_type,
            annotations: self.annotations,
        }
    }
}

fn write(packets: &[Written]) -> Vec<u8> {
    let output = Shared::default();
    let mut writer = CaptureWriter::new("test", output.clone()).unwrap();
    for written in packets {
        writer
            .write(&port_name(written.port), &written.packet())
            .unwrap();
    }
    writer.finish().unwrap();
    let bytes = output.0.lock().unwrap();
    bytes.clone()
}

fn read(bytes: &[u8]) -> Vec<Written> {
    let mut reader = CaptureReader::new("test", Cursor::new(bytes.to_vec())).unwrap();
    let mut packets = Vec::new();
    while reader.advance().unwrap() {
        let packet = reader.packet().unwrap();
        let name = reader.interfaces()[packet.interface as usize]
            .name
            .as_deref()
            .unwrap();
        packets.push(Written {
            port: name.strip_prefix("port-").unwrap().parse().unwrap(),
            bytes: packet.bytes.to_vec(),
            time_ns: packet.time_ns,
            original_len: packet.original_len,
            link_type: packet.link_type,
            annotations: packet.annotations,
        });
    }
    packets
}

fn written() -> impl Strategy<Value = Written> {
    let link_type = (prop::sample::select(vec![1u32, 101, 65_535]), 0u8..5);
    let annotations = (
        any::<Option<u64>>(),
        any::<Option<u32>>(),
        any::<Option<u64>>(),
    );
    let bytes = prop::collection::vec(any::<u8>(), 0..80);
    (
        0u32..4,
        bytes,
        any::<u64>(),
        any::<u32>(),
        link_type,
        annotations,
    )
        .prop_map(
            |(port, bytes, time_ns, original_len, (number, fcs_bytes), annotations)| Written {
                port,
                bytes,
                time_ns,
                original_len,
                link_type: LinkType { number, fcs_bytes },
                annotations: Annotations {
                    xdp_action: annotations.0,
                    queue: annotations.1,
                    packet_id: annotations.2,
                },
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(packets in prop::collection::vec(written(), 0..20)) {
        prop_assert_eq!(read(&write(&packets)), packets);
    }

    #[test]
    fn every_packet_becomes_a_frame_or_is_counted(
        link in prop::sample::select(vec![0u32, 1, 12, 101, 108, 113, 127, 276, 0x2400_0001, 0x2400_0071]),
        records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), 0u32..400), 0..8),
        pad in any::<bool>(),
    ) {
        let mut file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 65_535, link);
        for (bytes, original_len) in &records {
            file = file.record((0, 0), *original_len, bytes);
        }
        let policy = Policy {
            truncated: if pad { Truncated::Pad } else { Truncated::Captured },
            other_links: OtherLinks::Adapt,
        };
        let (frames, counts) = frames(&file.bytes, policy);
        prop_assert_eq!(frames.len() as u64, counts.frames);
        prop_assert_eq!(counts.frames + counts.skipped_links + counts.skipped_truncated, records.len() as u64);
        for (bytes, original_len) in frames {
            prop_assert!(!pad || bytes.len() >= original_len as usize);
        }
    }

    #[test]
    fn merging_keeps_every_packet_and_the_order_of_each_capture(
        captures in prop::collection::vec(prop::collection::vec(0u32..20, 0..10), 0..5),
    ) {
        let readers = captures.iter().enumerate().map(|(file, times)| (0, timed(file as u8, times)));
        let merged = merged(readers.collect(), Order::ByTime);
        for (file, times) in captures.iter().enumerate() {
            let numbers: Vec<_> = merged.iter().filter(|(_, frame)| frame[0] == file as u8).map(|(_, frame)| frame[1]).collect();
            prop_assert_eq!(numbers, (0..times.len() as u8).collect::<Vec<_>>());
        }
    }
}

#[test]
fn link_types_beyond_pcapng_are_refused() {
    let mut writer = CaptureWriter::new("test", Shared::default()).unwrap();
    let link_type = LinkType {
        number: 0x0224_0001,
        fcs_bytes: 0,
    };
    let error = writer.declare("a", link_type).unwrap_err();
    expect!["test: cannot write: link type LINKTYPE_35913729 does not fit pcapng's 16 bits"]
        .assert_eq(&error.to_string());
}

fn verdict(port: u32, action: u64) -> Written {
    Written {
        port,
        bytes: vec![2; 60],
        time_ns: 1_500_000_000_000_000_000 + action,
        original_len: 60,
        link_type: LinkType::ETHERNET,
        annotations: Annotations {
            xdp_action: Some(action),
            queue: Some(3),
            packet_id: Some(40 + action),
        },
    }
}

#[test]
fn a_directory_gets_a_file_for_each_port_that_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}/out/", folder.path().display());
    let mut writer = CaptureWriter::create(&path).unwrap();
    writer.declare(&port_name(0), LinkType::ETHERNET).unwrap();
    for packet in [verdict(7, 1), verdict(7, 2)] {
        writer.write(&port_name(7), &packet.packet()).unwrap();
    }
    writer.finish().unwrap();
    let file = |name: &str| std::fs::read(format!("{path}{name}")).unwrap();
    assert_eq!(read(&file("port-0.pcapng")), []);
    assert_eq!(read(&file("port-7.pcapng")), [verdict(7, 1), verdict(7, 2)]);
}

#[test]
fn wireshark_shows_verdict_queue_and_packet_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    std::fs::write(&path, write(&[verdict(0, 2), verdict(5, 4)])).unwrap();
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(&path)
        .args(["-T", "fields", "-E", "separator=,"]);
    for field in [
        "frame.interface_name",
        "frame.verdict.ebpf_xdp",
        "frame.interface_queue",
        "frame.packet_id",
        "frame.time_epoch",
    ] {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: tshark is not installed");
        return;
    };
    expect![[r"
        port-0,2,3,42,1500000000.000000002
        port-5,4,3,44,1500000000.000000004
    "]]
    .assert_eq(&String::from_utf8_lossy(&output.stdout));
}
