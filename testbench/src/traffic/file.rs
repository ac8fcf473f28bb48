//! Frames as capture files, in the layouts that readers must know.

use std::{borrow::Cow, time::Duration};

use pcap_file::{
    DataLink, Endianness, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::EnhancedPacketBlock,
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use super::Frame;

/// 2024-01-01, when every scene begins.
const EPOCH: Duration = Duration::from_hours(19_723 * 24);

const SNAPLEN: u32 = 65_535;

pub(super) fn pcap_microseconds(frames: &[Frame]) -> Vec<u8> {
    pcap(frames, TsResolution::MicroSecond, Endianness::Little)
}

pub(super) fn pcap_nanoseconds(frames: &[Frame]) -> Vec<u8> {
    pcap(frames, TsResolution::NanoSecond, Endianness::Little)
}

pub(super) fn pcap_big_endian(frames: &[Frame]) -> Vec<u8> {
    pcap(frames, TsResolution::MicroSecond, Endianness::Big)
}

fn pcap(frames: &[Frame], ts_resolution: TsResolution, endianness: Endianness) -> Vec<u8> {
    let header = PcapHeader {
        snaplen: SNAPLEN,
        datalink: DataLink::ETHERNET,
        ts_resolution,
        endianness,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).expect("memory takes all");
    for frame in frames {
        let time = EPOCH + Duration::from_nanos(frame.time_ns);
        writer
            .write_packet(&PcapPacket::new(
                time,
                frame.bytes.len() as u32,
                &frame.bytes,
            ))
            .expect("frames are below the snap length");
    }
    writer.into_writer()
}

/// One section, one interface with nanoseconds.
pub(super) fn pcapng(frames: &[Frame]) -> Vec<u8> {
    let mut writer =
        PcapNgWriter::with_endianness(Vec::new(), Endianness::Little).expect("memory takes all");
    let interface = InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: SNAPLEN,
        options: vec![InterfaceDescriptionOption::IfTsResol(9)],
    };
    writer
        .write_pcapng_block(interface)
        .expect("memory takes all");
    for frame in frames {
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: EPOCH + Duration::from_nanos(frame.time_ns),
            original_len: frame.bytes.len() as u32,
            data: Cow::Borrowed(&frame.bytes),
            options: Vec::new(),
        };
        writer.write_pcapng_block(block).expect("memory takes all");
    }
    writer.into_inner()
}
