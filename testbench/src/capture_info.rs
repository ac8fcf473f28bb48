//! What a capture holds: counts, a digest of its packets, interfaces, protocols, and the fault if it is broken.

use std::collections::BTreeMap;
use std::io::{self, Write};

use etherparse::{LaxNetSlice, LaxSlicedPacket};
use iom_sim::capture::{CaptureError, CaptureReader, LinkType, Packet, PacketSource};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Interfaces that are listed; captures may have any number in their sections.
const LISTED_INTERFACES: usize = 64;

/// The form of `iom pcap info --json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CaptureInfo {
    /// The file, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Packets before the end or the fault.
    pub packets: u64,
    /// Captured bytes of these packets.
    pub bytes: u64,
    /// Compression and format; `null` if it is none that we know.
    pub format: Option<String>,
    /// Link types of all interfaces, as the tcpdump.org registry names them.
    pub link_types: Vec<String>,
    /// SHA-256 over each packet's captured length, original length (32 bits, little-endian) and captured bytes.
    pub digest: String,
    /// What is broken.
    pub fault: Option<FaultInfo>,
    /// More for people.
    #[serde(skip)]
    pub details: Details,
}

/// Where and why a capture cannot be read.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FaultInfo {
    /// Offset of the record at fault, after decompression.
    pub offset: u64,
    /// What is wrong there.
    pub message: String,
}

/// What only the text form shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Earliest and latest time stamp in ns.
    time_ns: Option<(u64, u64)>,
    /// Time stamps before that of the packet before.
    jumps_back: u64,
    previous_ns: u64,
    /// Shortest and longest captured length.
    lengths: Option<(usize, usize)>,
    /// Packets of which only the beginning was captured.
    truncated: u64,
    /// By section and interface.
    interfaces: BTreeMap<(u64, u32), InterfaceInfo>,
    /// Packets by protocol.
    protocols: BTreeMap<&'static str, u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct InterfaceInfo {
    name: Option<String>,
    link_type: LinkType,
    packets: u64,
}

impl CaptureInfo {
    /// Reads the whole capture; a fault is part of the result.
    pub fn read(path: &str) -> CaptureInfo {
        let mut info = CaptureInfo {
            file: None,
            packets: 0,
            bytes: 0,
            format: None,
            link_types: Vec::new(),
            digest: String::new(),
            fault: None,
            details: Details::default(),
        };
        let mut hash = Sha256::new();
        let end = CaptureReader::open(path).and_then(|mut reader| {
            let end = info.add_all(&mut reader, &mut hash);
            info.format = Some(reader.format());
            info.link_types = reader
                .link_types()
                .iter()
                .map(LinkType::to_string)
                .collect();
            info.link_types.dedup();
            end
        });
        info.digest = format!("{:x}", hash.finalize());
        info.fault = end.err().map(|error| FaultInfo {
            offset: error.offset,
            message: error.fault.to_string(),
        });
        info
    }

    fn add_all(
        &mut self,
        reader: &mut CaptureReader,
        hash: &mut Sha256,
    ) -> Result<(), CaptureError> {
        while reader.advance()? {
            let Some(packet) = reader.packet() else { break };
            self.packets += 1;
            self.bytes += packet.bytes.len() as u64;
            hash.update((packet.bytes.len() as u32).to_le_bytes());
            hash.update(packet.original_len.to_le_bytes());
            hash.update(packet.bytes);
            self.details.add(&packet);
            let key = (reader.section(), packet.interface);
            if let Some(interface) = self.details.interfaces.get_mut(&key) {
                interface.packets += 1;
            } else if self.details.interfaces.len() < LISTED_INTERFACES {
                let name = reader.interfaces()[packet.interface as usize].name.clone();
                let interface = InterfaceInfo {
                    name,
                    link_type: packet.link_type,
                    packets: 1,
                };
                self.details.interfaces.insert(key, interface);
            }
        }
        Ok(())
    }

    /// Prints the text form.
    pub fn print(&self, path: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{path}: {}",
            self.format.as_deref().unwrap_or("not a capture")
        )?;
        if self.format.is_some() {
            writeln!(out, "  link types  {}", self.link_types.join(", "))?;
            writeln!(out, "  packets     {}, {} bytes", self.packets, self.bytes)?;
            self.details.print(out)?;
            writeln!(out, "  digest      {}", self.digest)?;
        }
        if let Some(fault) = &self.fault {
            writeln!(
                out,
                "  fault       at byte {}: {}",
                fault.offset, fault.message
            )?;
        }
        Ok(())
    }
}

impl Details {
    fn add(&mut self, packet: &Packet<'_>) {
        let (first, last) = self.time_ns.unwrap_or((packet.time_ns, packet.time_ns));
        self.time_ns = Some((first.min(packet.time_ns), last.max(packet.time_ns)));
        self.jumps_back += u64::from(packet.time_ns < self.previous_ns);
        self.previous_ns = packet.time_ns;
        let len = packet.bytes.len();
        let (shortest, longest) = self.lengths.unwrap_or((len, len));
        self.lengths = Some((shortest.min(len), longest.max(len)));
        self.truncated += u64::from(len < packet.original_len as usize);
        for protocol in protocols(packet) {
            *self.protocols.entry(protocol).or_default() += 1;
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some((shortest, longest)) = self.lengths {
            writeln!(
                out,
                "  lengths     {shortest} to {longest} bytes, {} packets truncated",
                self.truncated
            )?;
        }
        if let Some((first, last)) = self.time_ns {
            let (from, to, span) = (seconds(first), seconds(last), seconds(last - first));
            writeln!(
                out,
                "  time        {from} to {to} s, {span} s long, {} jumps back",
                self.jumps_back
            )?;
        }
        for ((section, id), interface) in &self.interfaces {
            let name = interface.name.as_deref().unwrap_or("-");
            let (link_type, packets) = (interface.link_type, interface.packets);
            writeln!(
                out,
                "  interface   {section}.{id} {name}: {link_type}, {packets} packets"
            )?;
        }
        let protocols: Vec<_> = self
            .protocols
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(out, "  protocols   {}", protocols.join(", "))
    }
}

/// The protocols of one packet, each once, outermost first.
fn protocols(packet: &Packet<'_>) -> Vec<&'static str> {
    const RAW: [u32; 5] = [12, 14, 101, 228, 229];
    let sliced = match packet.link_type.number {
        1 => LaxSlicedPacket::from_ethernet(packet.bytes).ok(),
        number if RAW.contains(&number) => LaxSlicedPacket::from_ip(packet.bytes).ok(),
        _ => None,
    };
    let Some(sliced) = sliced else {
        return vec!["other"];
    };
    let mut names = Vec::new();
    if sliced.vlan().is_some() {
        names.push("vlan");
    }
    names.push(match sliced.net {
        Some(LaxNetSlice::Ipv4(_)) => "ipv4",
        Some(LaxNetSlice::Ipv6(_)) => "ipv6",
        Some(LaxNetSlice::Arp(_)) => "arp",
        None => "other",
    });
    if let Some(payload) = sliced.ip_payload() {
        names.push(payload.ip_number.keyword_str().unwrap_or("ip-other"));
        if payload.fragmented {
            names.push("fragment");
        }
    }
    names
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}
