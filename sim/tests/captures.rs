//! Every case that capture readers get wrong, each in a small capture made in code, and the shared captures where
//! they are present.

mod build;

use std::io::Write;
use std::path::Path;

use build::{BE, Bytes, LE, Seen, fault, packets, plain_pcap, read, reader};
use expect_test::{Expect, expect};
use iom_sim::capture::{CaptureReader, PacketSource};
use pcap_file::Endianness;
use proptest::prelude::*;

const FRAME: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

fn seen(time_ns: u64, original_len: u32, bytes: &[u8]) -> Seen {
    Seen {
        time_ns,
        original_len,
        bytes: bytes.to_vec(),
    }
}

fn check_fault(bytes: &[u8], expected: &Expect) {
    expected.assert_eq(&fault(bytes));
}

#[test]
fn every_encoding_gives_the_same_packets() {
    let expected = [
        seen(5_000_007_000, 14, &FRAME),
        seen(4_000_000_000, 9, &[1]),
    ];
    for order in [LE, BE] {
        for (magic, unit, extra) in [
            (0xa1b2_c3d4, 1, &[][..]),
            (0xa1b2_3c4d, 1000, &[][..]),
            (0xa1b2_cd34, 1, &[0; 8][..]),
        ] {
            let record = |file: Bytes, time, original_len, data: &[u8]| {
                let (seconds, fraction) = time;
                let file = file.u32(seconds).u32(fraction).u32(data.len() as u32);
                file.u32(original_len).raw(extra).raw(data)
            };
            let file = Bytes::new(order).pcap(magic, (2, 4), 65_535, 1);
            let file = record(file, (5, 7 * unit), 14, &FRAME);
            // The time of the second jumps back, and it was cut off after one byte.
            let file = record(file, (4, 0), 9, &[1]);
            assert_eq!(packets(&file.bytes), expected, "{magic:#x} {order:?}");
        }
        let options = Bytes::new(order);
        let file = Bytes::new(order).section(order).interface(1, 0, &options);
        let file = file
            .enhanced(0, 5_000_007, 14, &FRAME)
            .enhanced(0, 4_000_000, 9, &[1]);
        assert_eq!(packets(&file.bytes), expected);
    }
}

#[test]
fn lengths_that_do_not_fit_each_other_are_valid() {
    // (snapshot length, original length): the captured length is 14.
    for (snaplen, original_len) in [(8, 14), (8, 1500), (14, 3), (0, 14), (65_535, 262_144)] {
        let file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), snaplen, 1);
        let file = file.record((0, 0), original_len, &FRAME);
        assert_eq!(packets(&file.bytes), [seen(0, original_len, &FRAME)]);
    }
}

#[test]
fn frames_may_be_empty_tiny_and_huge() {
    for len in [0, 1, 13, 65_536, 300_000, 2_000_000] {
        let frame = vec![7; len];
        assert_eq!(packets(&plain_pcap(&[&frame, &FRAME]))[0].bytes, frame);
    }
}

#[test]
fn old_versions_swap_the_lengths() {
    let file = |minor, first, second| {
        let file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, minor), 65_535, 1);
        file.u32(0).u32(0).u32(first).u32(second).raw(&FRAME).bytes
    };
    assert_eq!(packets(&file(2, 60, 14)), [seen(0, 60, &FRAME)]);
    assert_eq!(packets(&file(3, 60, 14)), [seen(0, 60, &FRAME)]);
    assert_eq!(packets(&file(3, 14, 60)), [seen(0, 60, &FRAME)]);
    assert_eq!(packets(&file(4, 14, 60)), [seen(0, 60, &FRAME)]);
    check_fault(
        &file(9, 14, 60),
        &expect!["0 packets, test: at byte 0: pcap version 2.9 is not supported"],
    );
}

#[test]
fn a_partial_record_is_a_fault_at_its_offset() {
    let file = plain_pcap(&[&FRAME, &FRAME]);
    check_fault(
        &file[..54 + 9],
        &expect![
            "1 packets, test: at byte 54: cut off: the record header needs 16 bytes, 9 are left"
        ],
    );
    check_fault(
        &file[..file.len() - 1],
        &expect!["1 packets, test: at byte 54: cut off: the record needs 30 bytes, 29 are left"],
    );
    check_fault(
        &file[..20],
        &expect![
            "0 packets, test: at byte 0: cut off: the file header needs 24 bytes, 20 are left"
        ],
    );
    assert_eq!(packets(&file[..24]), []);
}

#[test]
fn absurd_lengths_are_refused_before_anything_is_read() {
    let file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 65_535, 1);
    let file = file
        .record((0, 0), 14, &FRAME)
        .u32(0)
        .u32(0)
        .u32(u32::MAX)
        .u32(14);
    check_fault(
        &file.bytes,
        &expect![
            "1 packets, test: at byte 54: a packet of 4294967295 bytes is above the limit of 16777216"
        ],
    );
    let block = Bytes::new(LE).section(LE).u32(6).u32(0xffff_fffc).u32(0);
    check_fault(
        &block.bytes,
        &expect![
            "0 packets, test: at byte 28: a block of 4294967292 bytes is above the limit of 17825792"
        ],
    );
}

#[test]
fn a_reader_is_at_its_end_after_a_fault() {
    let mut reader = reader(&plain_pcap(&[&FRAME])[..30]).unwrap();
    assert!(reader.advance().is_err());
    assert!(!reader.advance().unwrap());
    assert_eq!(reader.packet(), None);
}

#[test]
fn other_files_are_told_apart_from_captures() {
    check_fault(
        &[],
        &expect!["0 packets, test: at byte 0: the file is empty"],
    );
    check_fault(
        b"\x7fELF....",
        &expect![
            "0 packets, test: at byte 0: not a capture (starts with 7f 45 4c 46): pcap, pcapng, either of them in gzip or zstd, or a JSON array of frames is expected"
        ],
    );
    assert!(CaptureReader::open("no/such/file.pcap").is_err());
}

#[test]
fn sections_change_order_and_begin_with_no_interface() {
    let mut file = Bytes::new(LE);
    for order in [LE, BE] {
        let options = Bytes::new(order);
        file = file.section(order).interface(1, 0, &options);
        file = file.interface(0, 0, &options).enhanced(1, 1, 14, &FRAME);
    }
    let mut reader = reader(&file.bytes).unwrap();
    for section in 1..=2 {
        let packet = reader.next_packet().unwrap().unwrap();
        assert_eq!(
            (packet.interface, packet.link_type.number, packet.time_ns),
            (1, 0, 1000)
        );
        assert_eq!(reader.section(), section);
    }
    assert!(reader.next_packet().unwrap().is_none());
    assert_eq!(reader.format(), "pcapng LE/BE");

    let undefined = file.section(LE).enhanced(0, 1, 14, &FRAME);
    check_fault(
        &undefined.bytes,
        &expect!["2 packets, test: at byte 260: interface 0 is not defined (the section has 0)"],
    );
}

#[test]
fn each_interface_has_its_unit_of_time_and_offset() {
    let (resolution, offset) = (9, 14);
    let file = Bytes::new(BE).section(BE);
    let none = file.options();
    let nanoseconds = file.options().option(resolution, &[9]);
    let binary = file.options().option(resolution, &[0x8a]);
    let shifted = file
        .options()
        .option(offset, &2u64.to_be_bytes())
        .u16(0)
        .u16(0);
    let file = file.interface(1, 0, &none).interface(1, 0, &nanoseconds);
    let mut file = file.interface(1, 0, &binary).interface(1, 0, &shifted);
    for interface in 0..4 {
        file = file.enhanced(interface, 1536, 14, &FRAME);
    }
    let times: Vec<_> = packets(&file.bytes)
        .iter()
        .map(|packet| packet.time_ns)
        .collect();
    assert_eq!(times, [1_536_000, 1536, 1_500_000_000, 2_001_536_000]);
}

#[test]
fn simple_packets_have_the_snapshot_length_and_the_time_before() {
    let simple = |file: Bytes, original_len| {
        let body = file.options().u32(original_len).padded(&FRAME);
        file.block(3, &body)
    };
    let file = Bytes::new(LE).section(LE);
    let none = file.options();
    let file = simple(file.interface(1, 14, &none), 1500).enhanced(0, 9, 14, &FRAME);
    let file = simple(file, 14);
    let expected = [
        seen(0, 1500, &FRAME),
        seen(9000, 14, &FRAME),
        seen(9000, 14, &FRAME),
    ];
    assert_eq!(packets(&file.bytes), expected);

    let unlimited = file.section(LE).interface(1, 0, &none);
    check_fault(
        &simple(unlimited, 17).bytes,
        &expect![
            "3 packets, test: at byte 208: malformed simple packet: the packet runs past the block"
        ],
    );
}

#[test]
fn obsolete_packet_blocks_share_a_word_between_interface_and_drops() {
    for order in [LE, BE] {
        let file = Bytes::new(order).section(order);
        let none = file.options();
        let body = file
            .options()
            .u16(0)
            .u16(3)
            .u32(0)
            .u32(9)
            .u32(14)
            .u32(14)
            .padded(&FRAME);
        let file = file.interface(1, 0, &none).block(2, &body);
        assert_eq!(packets(&file.bytes), [seen(9000, 14, &FRAME)]);
    }
}

#[test]
fn unknown_blocks_options_and_comments_are_stepped_over() {
    let mut file = Bytes::new(LE).section(LE);
    let not_utf8 = file
        .options()
        .option(1, &[0xff, 0xfe])
        .option(0x7777, &[1, 2, 3]);
    file = file.interface(1, 0, &not_utf8);
    // Names, statistics, journal, secrets, custom blocks and one that nobody has defined.
    for kind in [4, 5, 9, 10, 0xbad, 0x4000_0bad, 0x1234_5678] {
        let body = file.options().u32(77);
        file = file.block(kind, &body);
    }
    let body = file.options().u32(0).u32(0).u32(9).u32(14).u32(14);
    let body = body.padded(&FRAME).option(1, &[0xff]).u16(6).u16(0xffff);
    let file = file.block(6, &body);
    assert_eq!(packets(&file.bytes), [seen(9000, 14, &FRAME)]);
}

#[test]
fn block_lengths_must_agree_and_lead_on() {
    let good = Bytes::new(LE).section(LE);
    let block = |length: u32, trailer: u32| {
        let file = Bytes::new(LE).raw(&good.bytes).u32(77).u32(length);
        file.u32(0).u32(trailer).bytes
    };
    assert_eq!(packets(&block(16, 16)), []);
    check_fault(
        &block(0, 16),
        &expect!["0 packets, test: at byte 28: block length 0 is not a multiple of 4 from 12 on"],
    );
    check_fault(
        &block(15, 15),
        &expect!["0 packets, test: at byte 28: block length 15 is not a multiple of 4 from 12 on"],
    );
    check_fault(
        &block(16, 20),
        &expect!["0 packets, test: at byte 28: block length 16 and its trailer 20 differ"],
    );
    check_fault(
        &block(20, 20),
        &expect!["0 packets, test: at byte 28: cut off: the block needs 20 bytes, 16 are left"],
    );
}

#[test]
fn captured_lengths_stay_inside_their_block() {
    let file = Bytes::new(LE).section(LE);
    let none = file.options();
    let body = file
        .options()
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(17)
        .u32(17)
        .padded(&FRAME);
    check_fault(
        &file.interface(1, 0, &none).block(6, &body).bytes,
        &expect![
            "0 packets, test: at byte 48: malformed enhanced packet: the captured length runs past the block"
        ],
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A capture whose frames do not compress away.
fn varied_capture() -> Vec<u8> {
    let frames: Vec<Vec<u8>> = (0..8000u32)
        .map(|n| {
            (0..60u32)
                .map(|i| (n.wrapping_mul(2_654_435_761) >> (i % 24)) as u8)
                .collect()
        })
        .collect();
    plain_pcap(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn compressed_captures_may_have_any_number_of_members() {
    let file = varied_capture();
    let (first, second) = file.split_at(file.len() / 2);
    let expected = packets(&file);
    assert_eq!(
        packets(&[gzip(first), gzip(&[]), gzip(second)].concat()),
        expected
    );
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    let frames = [skippable.clone(), zstd(first), skippable, zstd(second)];
    assert_eq!(packets(&frames.concat()), expected);
    assert_eq!(
        reader(&gzip(&file)).unwrap().format(),
        "gzip(pcap us LE v2.4)"
    );
    assert_eq!(
        reader(&zstd(&file)).unwrap().format(),
        "zstd(pcap us LE v2.4)"
    );
}

#[test]
fn a_cut_tail_costs_no_packet_before_it() {
    let file = varied_capture();
    let expected = packets(&file);
    for compressed in [gzip(&file), zstd(&file)] {
        let cut = compressed.len() * 6 / 10;
        let (seen, fault) = read(&compressed[..cut]);
        assert!(fault.is_some());
        // Up to a block of the format may be lost, and nothing else.
        assert!(
            seen.len() > expected.len() * 3 / 10,
            "{} packets",
            seen.len()
        );
        assert_eq!(seen, expected[..seen.len()]);
    }
}

#[test]
fn a_zstd_window_does_not_size_memory() {
    // Window descriptor 0xff asks for 3.75 TiB.
    let (_, fault) = read(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0xff, 1, 0, 0]);
    assert!(fault.is_some());
}

#[test]
fn frames_may_be_written_by_hand() {
    let text =
        r#" [ {"name": "first", "hex": "00 01\n02"}, {"hex":"ff", "more": [1]} ,{"hex": ""}]  "#;
    let expected = [
        seen(0, 3, &[0, 1, 2]),
        seen(1000, 1, &[255]),
        seen(2000, 0, &[]),
    ];
    assert_eq!(packets(text.as_bytes()), expected);
    assert_eq!(packets(&gzip(text.as_bytes())), expected);
    assert_eq!(packets(b"[]"), []);
}

#[test]
fn frames_with_faults_tell_where() {
    check_fault(
        br#"[{"hex":"00"},{"hex":"0"}]"#,
        &expect![[
            r#"1 packets, test: at byte 14: not a frame {"name":"…","hex":"…"}: an odd number of hex digits"#
        ]],
    );
    check_fault(
        br#"[{"hex":"zz"}]"#,
        &expect![[
            r#"0 packets, test: at byte 1: not a frame {"name":"…","hex":"…"}: zz is not a byte in hex"#
        ]],
    );
    check_fault(
        br#"[{"hex":"00"} {"hex":"00"}]"#,
        &expect![[
            r#"1 packets, test: at byte 14: not a frame {"name":"…","hex":"…"}: a comma or ] is expected behind frame 1"#
        ]],
    );
    check_fault(
        br#"[{"name":"x"}]"#,
        &expect![[
            r#"0 packets, test: at byte 1: not a frame {"name":"…","hex":"…"}: missing field `hex` at line 1 column 12"#
        ]],
    );
    check_fault(
        br#"[{"hex":"00"}"#,
        &expect![[
            r#"1 packets, test: at byte 13: not a frame {"name":"…","hex":"…"}: a comma or ] is expected behind frame 1"#
        ]],
    );
}

/// The name of each shared capture and the packets that it has by the index.
fn shared_index(folder: &Path) -> Vec<(String, usize, bool)> {
    let Ok(index) = std::fs::read_to_string(folder.join("INDEX.tsv")) else {
        return Vec::new();
    };
    let mut rows = index
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let column = |name| {
        header
            .iter()
            .position(|&column| column == name)
            .expect("a column")
    };
    let (file, own, tshark) = (
        column("file"),
        column("packets_own"),
        column("packets_tshark"),
    );
    let fault = column("own_reader_fault");
    rows.map(|row| {
        let count = if row[own].is_empty() {
            row[tshark]
        } else {
            row[own]
        };
        let unknown = ["wrong-magic.pcap", "empty-0-bytes.pcap"];
        let broken =
            !row[fault].trim().is_empty() || unknown.iter().any(|name| row[file].ends_with(name));
        (
            row[file].to_owned(),
            count.parse().expect("a number of packets"),
            broken,
        )
    })
    .collect()
}

#[test]
fn shared_captures_are_as_their_index_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps");
    let index = shared_index(&folder);
    if index.is_empty() {
        eprintln!("skipped: no captures in {}", folder.display());
    }
    for (name, count, broken) in index {
        let (seen, fault) = read(&std::fs::read(folder.join(&name)).unwrap());
        assert_eq!(seen.len(), count, "{name}");
        assert_eq!(fault.is_some(), broken, "{name}: {fault:?}");
    }
}

/// Captures of all kinds to break.
fn specimens() -> Vec<Vec<u8>> {
    let pcap = plain_pcap(&[&FRAME, &[1; 70], &[]]);
    let file = Bytes::new(BE).section(BE);
    let options = file
        .options()
        .option(2, b"eth0")
        .option(9, &[9])
        .u16(0)
        .u16(0);
    let file = file.interface(1, 64, &options).enhanced(0, 1, 14, &FRAME);
    let simple = file.options().u32(14).padded(&FRAME);
    let file = file
        .block(3, &simple)
        .section(Endianness::Little)
        .interface(1, 0, &Bytes::new(LE));
    let pcapng = file.enhanced(0, 9, 14, &FRAME).bytes;
    let frames = br#"[{"name":"a","hex":"00010203"},{"hex":"ff"}]"#.to_vec();
    vec![
        gzip(&pcap),
        zstd(&pcapng),
        gzip(&pcapng),
        zstd(&pcap),
        pcap,
        pcapng,
        frames,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_captures_give_a_prefix(kind in 0usize..7, at in any::<prop::sample::Index>()) {
        let specimen = &specimens()[kind];
        let cut = &specimen[..at.index(specimen.len())];
        let (seen, _) = read(cut);
        let whole = packets(specimen);
        prop_assert_eq!(&seen[..], &whole[..seen.len()]);
    }

    #[test]
    fn damaged_captures_never_panic(kind in 0usize..7, flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..8)) {
        let mut bytes = specimens()[kind].clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        // A flipped bit can make more packets of the same bytes, but not many more.
        prop_assert!(read(&bytes).0.len() <= bytes.len());
    }

    #[test]
    fn arbitrary_bytes_behind_a_magic_never_panic(kind in 0usize..7, tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = specimens()[kind][..4].to_vec();
        bytes.extend(tail);
        let _ = read(&bytes);
    }
}
