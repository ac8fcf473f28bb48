//! Small captures made in code, byte by byte, so that they can be wrong in any way.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Cursor;

use iom_sim::capture::{CaptureError, CaptureReader, PacketSource};
use pcap_file::Endianness;

pub(crate) const LE: Endianness = Endianness::Little;
pub(crate) const BE: Endianness = Endianness::Big;

/// Packet blocks and the like, in one byte order.
pub(crate) struct Bytes {
    pub(crate) order: Endianness,
    pub(crate) bytes: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new(order: Endianness) -> Bytes {
        Bytes {
            order,
            bytes: Vec::new(),
        }
    }

    pub(crate) fn u16(mut self, value: u16) -> Bytes {
        let bytes = if self.order.is_little() {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Bytes {
        let bytes = if self.order.is_little() {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Bytes {
        let bytes = if self.order.is_little() {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        self.bytes.extend(bytes);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.bytes.extend(bytes);
        self
    }

    /// `bytes` and zeros up to a multiple of four.
    pub(crate) fn padded(mut self, bytes: &[u8]) -> Bytes {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// A pcapng option.
    pub(crate) fn option(self, code: u16, value: &[u8]) -> Bytes {
        self.u16(code).u16(value.len() as u16).padded(value)
    }

    /// A pcap file header of version `version`.
    pub(crate) fn pcap(self, magic: u32, version: (u16, u16), snaplen: u32, link: u32) -> Bytes {
        let header = self.u32(magic).u16(version.0).u16(version.1);
        header.u32(0).u32(0).u32(snaplen).u32(link)
    }

    /// A pcap record.
    pub(crate) fn record(self, time: (u32, u32), original_len: u32, data: &[u8]) -> Bytes {
        let lengths = self.u32(time.0).u32(time.1).u32(data.len() as u32);
        lengths.u32(original_len).raw(data)
    }

    /// A pcapng block.
    pub(crate) fn block(self, kind: u32, body: &Bytes) -> Bytes {
        let body = &body.bytes;
        let length = body.len() as u32 + 12;
        self.u32(kind).u32(length).raw(body).u32(length)
    }

    /// A section header block; the order of what follows is this one's.
    pub(crate) fn section(mut self, order: Endianness) -> Bytes {
        self.order = order;
        let body = Bytes::new(order).u32(0x1a2b_3c4d).u16(1).u16(0);
        let body = body.u64(u64::MAX);
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface description block; `options` are written as they stand.
    pub(crate) fn interface(self, link: u16, snaplen: u32, options: &Bytes) -> Bytes {
        let body = Bytes::new(self.order).u16(link).u16(0).u32(snaplen);
        let body = body.raw(&options.bytes);
        self.block(1, &body)
    }

    /// An enhanced packet block.
    pub(crate) fn enhanced(
        self,
        interface: u32,
        ticks: u64,
        original_len: u32,
        data: &[u8],
    ) -> Bytes {
        let body = Bytes::new(self.order).u32(interface);
        let body = body.u32((ticks >> 32) as u32).u32(ticks as u32);
        let body = body.u32(data.len() as u32).u32(original_len).padded(data);
        self.block(6, &body)
    }

    pub(crate) fn options(&self) -> Bytes {
        Bytes::new(self.order)
    }
}

/// A microsecond pcap of Ethernet frames, a second apart.
pub(crate) fn plain_pcap(frames: &[&[u8]]) -> Vec<u8> {
    let mut file = Bytes::new(LE).pcap(0xa1b2_c3d4, (2, 4), 65_535, 1);
    for (second, frame) in frames.iter().enumerate() {
        file = file.record((second as u32, 0), frame.len() as u32, frame);
    }
    file.bytes
}

/// A packet as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) time_ns: u64,
    pub(crate) original_len: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn reader(bytes: &[u8]) -> Result<CaptureReader, CaptureError> {
    CaptureReader::new("test", Cursor::new(bytes.to_vec()))
}

/// All packets before the end or the fault.
pub(crate) fn read(bytes: &[u8]) -> (Vec<Seen>, Option<CaptureError>) {
    let mut seen = Vec::new();
    let mut reader = match reader(bytes) {
        Ok(reader) => reader,
        Err(error) => return (seen, Some(error)),
    };
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) => seen.push(Seen {
                time_ns: packet.time_ns,
                original_len: packet.original_len,
                bytes: packet.bytes.to_vec(),
            }),
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// Packets of a capture without a fault.
pub(crate) fn packets(bytes: &[u8]) -> Vec<Seen> {
    let (seen, fault) = read(bytes);
    assert!(fault.is_none(), "{}", fault.unwrap());
    seen
}

/// Number of packets, then offset and text of the fault.
pub(crate) fn fault(bytes: &[u8]) -> String {
    let (seen, fault) = read(bytes);
    let fault = fault.expect("a fault");
    format!("{} packets, {fault}", seen.len())
}
