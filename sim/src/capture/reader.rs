//! Any capture, record by record. The format is told by magic, never by the file's name.

use std::io::Read;
use std::ops::Range;

use super::json::FrameList;
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::source::{Compression, Source};
use super::{Annotations, CaptureError, CaptureFault, Interface, LinkType, Packet, PacketSource};

/// Longest packet: above any real one, and small enough to be held in memory on a lying file's word.
pub(super) const MAX_CAPTURED_BYTES: usize = 16 << 20;

/// Where the current packet lies in the window, and what its record says.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The captured bytes, counted from the source's offset.
    pub(super) data: Range<usize>,
    /// Length of the whole record, consumed when the next one is asked for.
    pub(super) whole: usize,
    pub(super) time_ns: u64,
    pub(super) original_len: u32,
    pub(super) interface: u32,
    pub(super) link_type: LinkType,
    pub(super) annotations: Annotations,
}

/// Reads a capture from its first packet to its last, or to the first fault. Memory stays bounded by the longest
/// record, whatever the size of the file.
pub struct CaptureReader {
    file: String,
    source: Source,
    compression: Compression,
    format: Format,
    record: Option<Record>,
    offset: u64,
    finished: bool,
}

enum Format {
    Pcap { header: Pcap, interface: Interface },
    Pcapng(Pcapng),
    Frames(FrameList),
}

impl CaptureReader {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &str) -> Result<CaptureReader, CaptureError> {
        let opened = Source::open(path).map_err(|error| fault_at(path, 0, error.into()))?;
        CaptureReader::start(path, opened)
    }

    /// Reads from `input`; errors call it `name`.
    pub fn new(
        name: &str,
        input: impl Read + Send + 'static,
    ) -> Result<CaptureReader, CaptureError> {
        let opened = Source::detect(input).map_err(|error| fault_at(name, 0, error.into()))?;
        CaptureReader::start(name, opened)
    }

    fn start(
        file: &str,
        (mut source, compression): (Source, Compression),
    ) -> Result<CaptureReader, CaptureError> {
        let format =
            Format::detect(&mut source).map_err(|fault| fault_at(file, source.offset(), fault))?;
        let file = file.to_owned();
        Ok(CaptureReader {
            file,
            source,
            compression,
            format,
            record: None,
            offset: 0,
            finished: false,
        })
    }

    /// Interfaces described so far, in the current section.
    pub fn interfaces(&self) -> &[Interface] {
        match &self.format {
            Format::Pcap { interface, .. } => std::slice::from_ref(interface),
            Format::Pcapng(pcapng) => &pcapng.interfaces,
            Format::Frames(frames) => std::slice::from_ref(frames.interface()),
        }
    }

    /// Link types of all interfaces described so far, in all sections.
    pub fn link_types(&self) -> Vec<LinkType> {
        match &self.format {
            Format::Pcap { interface, .. } => vec![interface.link_type],
            Format::Pcapng(pcapng) => pcapng.link_types.iter().copied().collect(),
            Format::Frames(frames) => vec![frames.interface().link_type],
        }
    }

    /// Number of the section that is being read; interface ids begin again with each.
    pub fn section(&self) -> u64 {
        match &self.format {
            Format::Pcapng(pcapng) => pcapng.section(),
            Format::Pcap { .. } | Format::Frames(_) => 1,
        }
    }

    /// Compression and format in one phrase, such as `gzip(pcap ns LE v2.4)`, as far as the file was read.
    pub fn format(&self) -> String {
        let format = match &self.format {
            Format::Pcap { header, .. } => header.describe(),
            Format::Pcapng(pcapng) => pcapng.describe(),
            Format::Frames(_) => "frames".to_owned(),
        };
        match self.compression {
            Compression::None => format,
            Compression::Gzip => format!("gzip({format})"),
            Compression::Zstd => format!("zstd({format})"),
        }
    }

    /// The file as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Ends the capture at the current record, for this reason.
    pub(super) fn stop(&mut self, fault: CaptureFault) -> CaptureError {
        self.finished = true;
        fault_at(&self.file, self.offset, fault)
    }
}

impl PacketSource for CaptureReader {
    fn advance(&mut self) -> Result<bool, CaptureError> {
        if let Some(record) = self.record.take() {
            self.source.consume(record.whole);
        }
        if self.finished {
            return Ok(false);
        }
        let next = match &mut self.format {
            Format::Pcap { header, .. } => header.next(&mut self.source),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.source),
            Format::Frames(frames) => frames.next(&mut self.source),
        };
        self.offset = match &self.format {
            Format::Pcap { .. } | Format::Pcapng(_) => self.source.offset(),
            Format::Frames(frames) => frames.offset(),
        };
        match next {
            Ok(record) => {
                self.finished = record.is_none();
                self.record = record;
                Ok(self.record.is_some())
            }
            Err(fault) => Err(self.stop(fault)),
        }
    }

    fn packet(&self) -> Option<Packet<'_>> {
        let record = self.record.as_ref()?;
        let bytes = match &self.format {
            Format::Pcap { .. } | Format::Pcapng(_) => self.source.slice(record.data.clone()),
            Format::Frames(frames) => frames.bytes(),
        };
        Some(Packet {
            bytes,
            time_ns: record.time_ns,
            original_len: record.original_len,
            interface: record.interface,
            link_type: record.link_type,
            annotations: record.annotations,
        })
    }
}

impl Format {
    fn detect(source: &mut Source) -> Result<Format, CaptureFault> {
        const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
        let found = source.fill(4);
        if found == 0 {
            return Err(source
                .take_failure()
                .map_or(CaptureFault::Empty, CaptureFault::from));
        }
        let magic = source.slice(0..found);
        if let Ok(magic) = <[u8; 4]>::try_from(magic) {
            if magic == SECTION_HEADER {
                return Ok(Format::Pcapng(Pcapng::new()));
            }
            if let Some(header) = Pcap::from_magic(magic) {
                let (header, interface) = header.read_header(source)?;
                return Ok(Format::Pcap { header, interface });
            }
        }
        let start = magic
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(" ");
        match FrameList::start(source) {
            Some(frames) => Ok(Format::Frames(frames)),
            None => Err(CaptureFault::UnknownFormat { start }),
        }
    }
}

fn fault_at(file: &str, offset: u64, fault: CaptureFault) -> CaptureError {
    CaptureError {
        file: file.to_owned(),
        offset,
        fault,
    }
}
