//! Blocks of pcapng files (draft-ietf-opsawg-pcapng): sections in either byte order, each with its own interfaces;
//! enhanced, simple and obsolete packet blocks. Every other kind of block is stepped over.

use std::collections::BTreeSet;

use pcap_file::Endianness;
use pcap_file::pcapng::blocks::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, PACKET_BLOCK, SECTION_HEADER_BLOCK,
    SIMPLE_PACKET_BLOCK,
};

use super::interface::Interface;
use super::pcap::{cut, u16_at, u32_at, u64_at};
use super::reader::{MAX_CAPTURED_BYTES, Record};
use super::source::Source;
use super::{Annotations, CaptureFault, LinkType};

/// Type and length before the body of a block.
const BLOCK_HEADER: usize = 8;
/// The smallest block: header and trailer.
const SMALLEST_BLOCK: usize = 12;
/// Longest block: a packet and its options.
const MAX_BLOCK_BYTES: usize = MAX_CAPTURED_BYTES + (1 << 20);
/// Interfaces of one section.
const MAX_INTERFACES: usize = 1 << 16;
/// First octet of a verdict that a Linux XDP program gave; eight bytes with its return value follow.
pub(super) const VERDICT_XDP: u8 = 2;

// Option codes of enhanced packet blocks.
pub(super) const EPB_PACKETID: u16 = 5;
pub(super) const EPB_QUEUE: u16 = 6;
pub(super) const EPB_VERDICT: u16 = 7;

/// The section that is being read.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: Endianness,
    pub(super) interfaces: Vec<Interface>,
    /// Of the interfaces of all sections.
    pub(super) link_types: BTreeSet<LinkType>,
    /// Sections begun so far, by byte order.
    little_sections: u64,
    big_sections: u64,
    /// Simple packet blocks have no time: they get that of the packet before them.
    time_ns: u64,
}

impl Pcapng {
    /// A file whose first section header is still to come.
    pub(super) fn new() -> Pcapng {
        Pcapng {
            order: Endianness::Little,
            interfaces: Vec::new(),
            link_types: BTreeSet::new(),
            little_sections: 0,
            big_sections: 0,
            time_ns: 0,
        }
    }

    /// Number of the current section, from 1.
    pub(super) fn section(&self) -> u64 {
        self.little_sections + self.big_sections
    }

    /// Finds the next packet; `None` at the end of the file.
    pub(super) fn next(&mut self, source: &mut Source) -> Result<Option<Record>, CaptureFault> {
        loop {
            let found = source.fill(SMALLEST_BLOCK);
            if found < SMALLEST_BLOCK {
                return match source.take_failure() {
                    Some(error) => Err(error.into()),
                    None if found == 0 => Ok(None),
                    None => Err(cut(source, "block header", SMALLEST_BLOCK, found)),
                };
            }
            let kind = u32_at(self.order, source.slice(0..BLOCK_HEADER), 0);
            // The type of a section header reads the same in both orders.
            if kind == SECTION_HEADER_BLOCK {
                self.order = byte_order(source.slice(BLOCK_HEADER..SMALLEST_BLOCK))?;
            }
            let whole = self.fill_block(source)?;
            let record = match kind {
                SECTION_HEADER_BLOCK => self.section_header(body(source, whole))?,
                INTERFACE_DESCRIPTION_BLOCK => self.interface(body(source, whole))?,
                ENHANCED_PACKET_BLOCK => Some(self.enhanced_packet(body(source, whole))?),
                PACKET_BLOCK => Some(self.old_packet(body(source, whole))?),
                SIMPLE_PACKET_BLOCK => Some(self.simple_packet(body(source, whole))?),
                // Names, statistics, journals, secrets, custom and unknown blocks.
                _ => None,
            };
            match record {
                Some(record) => return Ok(Some(Record { whole, ..record })),
                None => source.consume(whole),
            }
        }
    }

    /// Makes the block at the offset available and checks both its lengths; returns its whole length.
    fn fill_block(&self, source: &mut Source) -> Result<usize, CaptureFault> {
        let length = u32_at(self.order, source.slice(0..BLOCK_HEADER), 4);
        let whole = length as usize;
        if whole < SMALLEST_BLOCK || !whole.is_multiple_of(4) {
            return Err(CaptureFault::BlockLength { length });
        }
        if whole > MAX_BLOCK_BYTES {
            return Err(CaptureFault::TooLong {
                what: "a block",
                length,
                limit: MAX_BLOCK_BYTES,
            });
        }
        let found = source.fill(whole);
        if found < whole {
            return Err(cut(source, "block", whole, found));
        }
        let trailer = u32_at(self.order, source.slice(whole - 4..whole), 0);
        if trailer == length {
            Ok(whole)
        } else {
            Err(CaptureFault::Trailer { length, trailer })
        }
    }

    fn section_header(&mut self, body: &[u8]) -> Result<Option<Record>, CaptureFault> {
        if body.len() < 16 {
            return Err(CaptureFault::Block {
                block: "section header",
                problem: "shorter than 16 bytes",
            });
        }
        let (major, minor) = (u16_at(self.order, body, 4), u16_at(self.order, body, 6));
        if major != 1 {
            return Err(CaptureFault::Version {
                format: "pcapng",
                major,
                minor,
            });
        }
        self.interfaces.clear();
        match self.order {
            Endianness::Little => self.little_sections += 1,
            Endianness::Big => self.big_sections += 1,
        }
        Ok(None)
    }

    fn interface(&mut self, body: &[u8]) -> Result<Option<Record>, CaptureFault> {
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(CaptureFault::TooManyInterfaces {
                limit: MAX_INTERFACES,
            });
        }
        let interface = Interface::from_block(self.order, body)?;
        self.link_types.insert(interface.link_type);
        self.interfaces.push(interface);
        Ok(None)
    }

    /// Interface, time in two words, captured and original length, packet, options.
    fn enhanced_packet(&mut self, body: &[u8]) -> Result<Record, CaptureFault> {
        const HEADER: usize = 20;
        if body.len() < HEADER {
            return Err(CaptureFault::Block {
                block: "enhanced packet",
                problem: "shorter than 20 bytes",
            });
        }
        self.packet(body, HEADER, u32_at(self.order, body, 0), "enhanced packet")
    }

    /// As the enhanced one, but interface and drop count share a word.
    fn old_packet(&mut self, body: &[u8]) -> Result<Record, CaptureFault> {
        const HEADER: usize = 20;
        if body.len() < HEADER {
            return Err(CaptureFault::Block {
                block: "packet",
                problem: "shorter than 20 bytes",
            });
        }
        self.packet(body, HEADER, u16_at(self.order, body, 0).into(), "packet")
    }

    fn packet(
        &mut self,
        body: &[u8],
        at: usize,
        id: u32,
        block: &'static str,
    ) -> Result<Record, CaptureFault> {
        let word = |at| u32_at(self.order, body, at);
        let interface = self.defined(id)?;
        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
        let (captured, original_len) = (word(12) as usize, word(16));
        if captured > body.len() - at {
            return Err(CaptureFault::Block {
                block,
                problem: "the captured length runs past the block",
            });
        }
        let options = body
            .get(at + captured.next_multiple_of(4)..)
            .unwrap_or_default();
        let (time_ns, link_type) = (interface.time_ns(ticks), interface.link_type);
        // Only enhanced packets number their options this way; the obsolete block has none of the three.
        let annotations = if block == "packet" {
            Annotations::default()
        } else {
            annotations(self.order, options)
        };
        self.time_ns = time_ns;
        let data = BLOCK_HEADER + at..BLOCK_HEADER + at + captured;
        Ok(Record {
            data,
            whole: 0,
            time_ns,
            original_len,
            interface: id,
            link_type,
            annotations,
        })
    }

    /// Original length and packet, of interface 0; the interface's snapshot length says how much was captured.
    fn simple_packet(&self, body: &[u8]) -> Result<Record, CaptureFault> {
        const HEADER: usize = 4;
        if body.len() < HEADER {
            return Err(CaptureFault::Block {
                block: "simple packet",
                problem: "shorter than 4 bytes",
            });
        }
        let interface = self.defined(0)?;
        let original_len = u32_at(self.order, body, 0);
        let limit = if interface.snaplen == 0 {
            u32::MAX
        } else {
            interface.snaplen
        };
        let captured = original_len.min(limit) as usize;
        if captured > body.len() - HEADER {
            return Err(CaptureFault::Block {
                block: "simple packet",
                problem: "the packet runs past the block",
            });
        }
        Ok(Record {
            data: BLOCK_HEADER + HEADER..BLOCK_HEADER + HEADER + captured,
            whole: 0,
            time_ns: self.time_ns,
            original_len,
            interface: 0,
            link_type: interface.link_type,
            annotations: Annotations::default(),
        })
    }

    fn defined(&self, id: u32) -> Result<&Interface, CaptureFault> {
        let defined = self.interfaces.len();
        self.interfaces
            .get(id as usize)
            .ok_or(CaptureFault::UndefinedInterface {
                interface: id,
                defined,
            })
    }

    /// One phrase for people.
    pub(super) fn describe(&self) -> String {
        let order = match (self.little_sections, self.big_sections) {
            (0, 0) => "",
            (_, 0) => " LE",
            (0, _) => " BE",
            _ => " LE/BE",
        };
        format!("pcapng{order}")
    }
}

/// The body of the available block of `whole` bytes.
fn body(source: &Source, whole: usize) -> &[u8] {
    source.slice(BLOCK_HEADER..whole - 4)
}

/// Byte order of the section whose header holds this magic.
fn byte_order(magic: &[u8]) -> Result<Endianness, CaptureFault> {
    match u32_at(Endianness::Big, magic, 0) {
        0x1a2b_3c4d => Ok(Endianness::Big),
        0x4d3c_2b1a => Ok(Endianness::Little),
        magic => Err(CaptureFault::ByteOrder { magic }),
    }
}

/// The options of a block, code and value; a list that does not fit ends early.
pub(super) fn options(order: Endianness, mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const END: u16 = 0;
    std::iter::from_fn(move || {
        let header = list.first_chunk::<4>()?;
        let (code, length) = (
            u16_at(order, header, 0),
            usize::from(u16_at(order, header, 2)),
        );
        let value = list[4..].get(..length)?;
        list = list[4..]
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        (code != END).then_some((code, value))
    })
}

/// What an XDP run noted beside a packet.
fn annotations(order: Endianness, list: &[u8]) -> Annotations {
    let mut found = Annotations::default();
    for (code, value) in options(order, list) {
        match (code, value) {
            (EPB_PACKETID, value) if value.len() == 8 => {
                found.packet_id = Some(u64_at(order, value, 0));
            }
            (EPB_QUEUE, value) if value.len() == 4 => found.queue = Some(u32_at(order, value, 0)),
            (EPB_VERDICT, [VERDICT_XDP, value @ ..]) if value.len() == 8 => {
                found.xdp_action = Some(u64_at(order, value, 0));
            }
            _ => {}
        }
    }
    found
}
