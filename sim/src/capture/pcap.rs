//! Records of pcap files: microseconds and nanoseconds, both byte orders, the layout of old versions (before 2.3 the
//! two lengths stand the other way round) and the "modified" one (eight more bytes per record).

use pcap_file::Endianness;

use super::reader::{MAX_CAPTURED_BYTES, Record};
use super::source::Source;
use super::{Annotations, CaptureFault, Interface, LinkType};

/// Length of the file header.
const FILE_HEADER: usize = 24;

/// What the file header says about all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pcap {
    order: Endianness,
    /// Nanoseconds in a unit of the second time word.
    unit_ns: u32,
    version: (u16, u16),
    modified: bool,
    link_type: LinkType,
}

impl Pcap {
    /// Recognises the magic number.
    pub(super) fn from_magic(magic: [u8; 4]) -> Option<Pcap> {
        let (order, unit_ns, modified) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Endianness::Little, 1000, false),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Endianness::Big, 1000, false),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Endianness::Little, 1, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Endianness::Big, 1, false),
            [0x34, 0xcd, 0xb2, 0xa1] => (Endianness::Little, 1000, true),
            [0xa1, 0xb2, 0xcd, 0x34] => (Endianness::Big, 1000, true),
            _ => return None,
        };
        Some(Pcap {
            order,
            unit_ns,
            version: (2, 4),
            modified,
            link_type: LinkType::ETHERNET,
        })
    }

    /// Reads the rest of the file header, which also describes the interface.
    pub(super) fn read_header(
        mut self,
        source: &mut Source,
    ) -> Result<(Pcap, Interface), CaptureFault> {
        let found = source.fill(FILE_HEADER);
        if found < FILE_HEADER {
            return Err(cut(source, "file header", FILE_HEADER, found));
        }
        let header = source.slice(0..FILE_HEADER);
        let (major, minor) = (u16_at(self.order, header, 4), u16_at(self.order, header, 6));
        // As libpcap: 2.0 to 2.4, and 543.0, which DG/UX tcpdump wrote in the layout of 2.2.
        if !(major == 2 && minor <= 4 || (major, minor) == (543, 0)) {
            return Err(CaptureFault::Version {
                format: "pcap",
                major,
                minor,
            });
        }
        self.version = (major, minor);
        self.link_type = LinkType::from_pcap_word(u32_at(self.order, header, 20));
        let interface = Interface::of_file(self.link_type, u32_at(self.order, header, 16));
        source.consume(FILE_HEADER);
        Ok((self, interface))
    }

    /// Finds the next record; `None` at the end of the file.
    pub(super) fn next(&self, source: &mut Source) -> Result<Option<Record>, CaptureFault> {
        let header_bytes = if self.modified { 24 } else { 16 };
        let found = source.fill(header_bytes);
        if found < header_bytes {
            return match source.take_failure() {
                Some(error) => Err(error.into()),
                None if found == 0 => Ok(None),
                None => Err(cut(source, "record header", header_bytes, found)),
            };
        }
        let header = source.slice(0..header_bytes);
        let word = |at| u32_at(self.order, header, at);
        let (seconds, fraction, captured_len, original_len) = (word(0), word(4), word(8), word(12));
        let (captured_len, original_len) = self.old_order(captured_len, original_len);
        let captured = captured_len as usize;
        if captured > MAX_CAPTURED_BYTES {
            return Err(CaptureFault::TooLong {
                what: "a packet",
                length: captured_len,
                limit: MAX_CAPTURED_BYTES,
            });
        }
        let whole = header_bytes + captured;
        let found = source.fill(whole);
        if found < whole {
            return Err(cut(source, "record", whole, found));
        }
        Ok(Some(Record {
            data: header_bytes..whole,
            whole,
            // A fraction above a second is taken as it stands: it cannot overflow 64 bits.
            time_ns: u64::from(seconds) * 1_000_000_000
                + u64::from(fraction) * u64::from(self.unit_ns),
            original_len,
            interface: 0,
            link_type: self.link_type,
            annotations: Annotations::default(),
        }))
    }

    /// Version 2.3 was written in both orders: there the smaller length is the captured one, as libpcap decides.
    fn old_order(&self, captured: u32, original: u32) -> (u32, u32) {
        let swapped = match self.version {
            (2, 3) => captured > original,
            (2, minor) => minor < 3,
            _ => true,
        };
        if swapped {
            (original, captured)
        } else {
            (captured, original)
        }
    }

    /// One phrase for people.
    pub(super) fn describe(&self) -> String {
        let name = if self.modified {
            "pcap-modified"
        } else {
            "pcap"
        };
        let unit = if self.unit_ns == 1 { "ns" } else { "us" };
        let order = if self.order.is_little() { "LE" } else { "BE" };
        format!(
            "{name} {unit} {order} v{}.{}",
            self.version.0, self.version.1
        )
    }
}

/// The fault of a stream that ends too early: what the input said, else that it is cut.
pub(super) fn cut(
    source: &mut Source,
    what: &'static str,
    needed: usize,
    found: usize,
) -> CaptureFault {
    match source.take_failure() {
        Some(error) => error.into(),
        None => CaptureFault::Cut {
            what,
            needed,
            found,
        },
    }
}

/// The 16-bit word at `at`, which must be inside.
pub(super) fn u16_at(order: Endianness, bytes: &[u8], at: usize) -> u16 {
    let word = [bytes[at], bytes[at + 1]];
    if order.is_little() {
        u16::from_le_bytes(word)
    } else {
        u16::from_be_bytes(word)
    }
}

/// The 32-bit word at `at`, which must be inside.
pub(super) fn u32_at(order: Endianness, bytes: &[u8], at: usize) -> u32 {
    let word = *bytes[at..]
        .first_chunk()
        .expect("the caller checked the length");
    if order.is_little() {
        u32::from_le_bytes(word)
    } else {
        u32::from_be_bytes(word)
    }
}

/// The 64-bit word at `at`, which must be inside.
pub(super) fn u64_at(order: Endianness, bytes: &[u8], at: usize) -> u64 {
    let word = *bytes[at..]
        .first_chunk()
        .expect("the caller checked the length");
    if order.is_little() {
        u64::from_le_bytes(word)
    } else {
        u64::from_be_bytes(word)
    }
}
