//! Packets out: one pcapng file with an interface per port, or a directory with a pcapng file per port. Ports need
//! not be declared: an interface or a file comes into being with its first packet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use pcap_file::pcapng::blocks::ENHANCED_PACKET_BLOCK;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriter, RawBlock};
use pcap_file::{DataLink, Endianness, PcapError};

use super::pcapng::{EPB_PACKETID, EPB_QUEUE, EPB_VERDICT, VERDICT_XDP};
use super::{Annotations, LinkType, Packet};

/// An output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write: {source}", file.display())]
pub struct WriteError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The interface name of a port.
pub fn port_name(port: u32) -> String {
    format!("port-{port}")
}

/// Writes packets to one file or to a directory.
pub struct CaptureWriter {
    path: PathBuf,
    place: Place,
}

enum Place {
    File(PcapngWriter),
    /// One file per interface name.
    Directory(BTreeMap<String, PcapngWriter>),
}

impl CaptureWriter {
    /// Creates the output: standard output for `-`, a directory if `path` ends with a slash or is one, else a file.
    pub fn create(path: &str) -> Result<CaptureWriter, WriteError> {
        if path == "-" {
            return CaptureWriter::new(path, io::stdout());
        }
        if path.ends_with('/') || Path::new(path).is_dir() {
            let file = PathBuf::from(path);
            return match fs::create_dir_all(path) {
                Ok(()) => Ok(CaptureWriter {
                    path: file,
                    place: Place::Directory(BTreeMap::new()),
                }),
                Err(source) => Err(WriteError { file, source }),
            };
        }
        match File::create(path) {
            Ok(file) => CaptureWriter::new(path, file),
            Err(source) => Err(WriteError {
                file: path.into(),
                source,
            }),
        }
    }

    /// Writes one file into `output`; errors call it `name`.
    pub fn new(
        name: &str,
        output: impl Write + Send + 'static,
    ) -> Result<CaptureWriter, WriteError> {
        match PcapngWriter::new(Box::new(output)) {
            Ok(writer) => Ok(CaptureWriter {
                path: name.into(),
                place: Place::File(writer),
            }),
            Err(source) => Err(WriteError {
                file: name.into(),
                source,
            }),
        }
    }

    /// Whether each interface gets a file of its own.
    pub fn is_directory(&self) -> bool {
        matches!(self.place, Place::Directory(_))
    }

    /// Makes an interface (in a directory: a file) exist even if no packet comes.
    pub fn declare(&mut self, interface: &str, link_type: LinkType) -> Result<(), WriteError> {
        self.with(interface, |writer| {
            writer.interface(interface, link_type).map(drop)
        })
    }

    /// Writes `packet` as one of `interface`, with its time, lengths, link type and annotations.
    ///
    /// # Panics
    /// If the interface's name is not made of letters, digits and hyphens: it becomes a file name.
    pub fn write(&mut self, interface: &str, packet: &Packet<'_>) -> Result<(), WriteError> {
        self.with(interface, |writer| writer.write(interface, packet))
    }

    /// Writes out what is still in memory; without it errors of the last packets stay unseen.
    pub fn finish(self) -> Result<(), WriteError> {
        match self.place {
            Place::File(mut writer) => {
                writer.flush().map_err(|source| WriteError {
                    file: self.path,
                    source,
                })?;
            }
            Place::Directory(files) => {
                for (name, mut writer) in files {
                    writer.flush().map_err(|source| WriteError {
                        file: file_in(&self.path, &name),
                        source,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Runs `action` on the file that holds `interface`.
    fn with(
        &mut self,
        interface: &str,
        action: impl FnOnce(&mut PcapngWriter) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        match &mut self.place {
            Place::File(writer) => action(writer).map_err(|source| WriteError {
                file: self.path.clone(),
                source,
            }),
            Place::Directory(files) => {
                let failed = |source| WriteError {
                    file: file_in(&self.path, interface),
                    source,
                };
                if let Some(writer) = files.get_mut(interface) {
                    return action(writer).map_err(failed);
                }
                let file = File::create(file_in(&self.path, interface)).map_err(failed)?;
                let writer = PcapngWriter::new(Box::new(file)).map_err(failed)?;
                action(files.entry(interface.to_owned()).or_insert(writer)).map_err(failed)
            }
        }
    }
}

fn file_in(directory: &Path, interface: &str) -> PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    assert!(
        interface.chars().all(plain),
        "{interface:?} is no file name"
    );
    directory.join(format!("{interface}.pcapng"))
}

/// `if_tsresol` of time stamps in nanoseconds.
const NANOSECONDS: u8 = 9;

/// One little-endian section with time stamps in nanoseconds.
struct PcapngWriter {
    output: PcapNgWriter<BufWriter<Box<dyn Write + Send>>>,
    /// Interface ids by name; one name with several link types is several interfaces.
    interfaces: BTreeMap<String, Vec<(LinkType, u32)>>,
    interface_count: u32,
    /// Body of the packet block in the making.
    body: Vec<u8>,
}

impl PcapngWriter {
    fn new(output: Box<dyn Write + Send>) -> io::Result<PcapngWriter> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed("iom"))],
            ..SectionHeaderBlock::default()
        };
        let output =
            PcapNgWriter::with_section_header(BufWriter::new(output), section).map_err(to_io)?;
        Ok(PcapngWriter {
            output,
            interfaces: BTreeMap::new(),
            interface_count: 0,
            body: Vec::new(),
        })
    }

    /// The id of the interface, which is described first if it is new.
    fn interface(&mut self, name: &str, link_type: LinkType) -> io::Result<u32> {
        let known = self
            .interfaces
            .get(name)
            .and_then(|ids| ids.iter().find(|(known, _)| *known == link_type));
        if let Some(&(_, id)) = known {
            return Ok(id);
        }
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if link_type.fcs_bytes > 0 {
            options.push(InterfaceDescriptionOption::IfFcsLen(
                8 * link_type.fcs_bytes,
            ));
        }
        if link_type.number > u16::MAX.into() {
            let message = format!("link type {link_type} does not fit pcapng's 16 bits");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let linktype = DataLink::from(link_type.number);
        let block = InterfaceDescriptionBlock {
            linktype,
            snaplen: 0,
            options,
        };
        self.output
            .write_pcapng_block(block.into_owned())
            .map_err(to_io)?;
        let id = self.interface_count;
        self.interface_count += 1;
        self.interfaces
            .entry(name.to_owned())
            .or_default()
            .push((link_type, id));
        Ok(id)
    }

    /// An enhanced packet block. `pcap-file` cannot express its newer options, so the body is built here.
    fn write(&mut self, name: &str, packet: &Packet<'_>) -> io::Result<()> {
        let id = self.interface(name, packet.link_type)?;
        let body = &mut self.body;
        body.clear();
        let words = [id, (packet.time_ns >> 32) as u32, packet.time_ns as u32];
        for word in words
            .into_iter()
            .chain([packet.bytes.len() as u32, packet.original_len])
        {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(packet.bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        put_annotations(body, packet.annotations);
        let length = body.len() as u32 + 12;
        let body = Cow::Borrowed(&body[..]);
        let block = RawBlock {
            type_: ENHANCED_PACKET_BLOCK,
            initial_len: length,
            body,
            trailer_len: length,
        };
        self.output.write_raw_block(&block).map(drop).map_err(to_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.get_mut().flush()
    }
}

fn put_annotations(body: &mut Vec<u8>, annotations: Annotations) {
    let before = body.len();
    if let Some(packet_id) = annotations.packet_id {
        put_option(body, EPB_PACKETID, &packet_id.to_le_bytes());
    }
    if let Some(queue) = annotations.queue {
        put_option(body, EPB_QUEUE, &queue.to_le_bytes());
    }
    if let Some(action) = annotations.xdp_action {
        let mut value = [VERDICT_XDP; 9];
        value[1..].copy_from_slice(&action.to_le_bytes());
        put_option(body, EPB_VERDICT, &value);
    }
    // The end of options.
    if body.len() > before {
        body.extend_from_slice(&[0; 4]);
    }
}

fn put_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn to_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
