//! What can be wrong with a capture, always with the file and the offset of the record at fault.

use super::LinkType;

/// A capture could not be read any further; every packet before `offset` was delivered.
#[derive(Debug, thiserror::Error)]
#[error("{file}: at byte {offset}: {fault}")]
pub struct CaptureError {
    /// The file as the user named it, `-` for standard input.
    pub file: String,
    /// Where the record or block at fault begins, counted after decompression.
    pub offset: u64,
    /// What is wrong there.
    pub fault: CaptureFault,
}

/// The faults that a capture can have.
#[derive(Debug, thiserror::Error)]
pub enum CaptureFault {
    /// The operating system or the decompressor gave up.
    #[error("cannot read: {source}")]
    Input {
        /// What the reader said.
        #[from]
        source: std::io::Error,
    },
    /// No byte at all.
    #[error("the file is empty")]
    Empty,
    /// No known magic number.
    #[error(
        "not a capture (starts with {start}): pcap, pcapng, either of them in gzip or zstd, or a JSON array of frames is expected"
    )]
    UnknownFormat {
        /// The first bytes in hex.
        start: String,
    },
    /// The file ends inside something.
    #[error("cut off: the {what} needs {needed} bytes, {found} are left")]
    Cut {
        /// The thing that is cut.
        what: &'static str,
        /// Its whole length.
        needed: usize,
        /// The bytes that are there.
        found: usize,
    },
    /// A length that no capture has.
    #[error("{what} of {length} bytes is above the limit of {limit}")]
    TooLong {
        /// The thing with that length.
        what: &'static str,
        /// The length in the file.
        length: u32,
        /// The greatest length that is read.
        limit: usize,
    },
    /// A pcap or pcapng of another generation.
    #[error("{format} version {major}.{minor} is not supported")]
    Version {
        /// The file format.
        format: &'static str,
        /// Major version in the file.
        major: u16,
        /// Minor version in the file.
        minor: u16,
    },
    /// A pcapng block length that is too small or no multiple of four.
    #[error("block length {length} is not a multiple of 4 from 12 on")]
    BlockLength {
        /// The length in the file.
        length: u32,
    },
    /// The length behind a pcapng block is not the one before it.
    #[error("block length {length} and its trailer {trailer} differ")]
    Trailer {
        /// Length in front.
        length: u32,
        /// Length behind.
        trailer: u32,
    },
    /// A section header without the byte-order magic.
    #[error("section header with byte-order magic {magic:#010x}")]
    ByteOrder {
        /// The word in its place, read as big-endian.
        magic: u32,
    },
    /// A block whose body contradicts itself.
    #[error("malformed {block}: {problem}")]
    Block {
        /// The kind of block.
        block: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
    /// A packet of an interface that the section does not describe.
    #[error("interface {interface} is not defined (the section has {defined})")]
    UndefinedInterface {
        /// The id in the packet.
        interface: u32,
        /// Interfaces of the section so far.
        defined: usize,
    },
    /// More interfaces than any capture has; they would fill the memory.
    #[error("more than {limit} interfaces in one section")]
    TooManyInterfaces {
        /// The greatest number that is read.
        limit: usize,
    },
    /// A frames file that is not the JSON it should be.
    #[error("not a frame {{\"name\":\"…\",\"hex\":\"…\"}}: {problem}")]
    Frame {
        /// What does not fit.
        problem: String,
    },
    /// Programs see Ethernet frames; this packet is none.
    #[error(
        "interface {interface} has link type {link_type}, not Ethernet: leave such packets out (--links skip) or give \
         raw IP, Linux cooked and BSD loopback an Ethernet header (--links adapt)"
    )]
    OtherLink {
        /// The interface of the packet.
        interface: u32,
        /// Its link type.
        link_type: LinkType,
    },
}
