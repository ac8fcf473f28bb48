//! Captures taken apart (`iom pcap split`) and put together (`iom pcap merge`). Packets keep time, lengths, link type
//! and what an earlier run noted; splitting gives each an id, by which merging finds the old order again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;

use anyhow::Context;
use iom_sim::capture::{
    CaptureError, CaptureReader, CaptureWriter, MergedReader, Order, Packet, PacketSource,
};
use iom_sim::rss::{Rss, SYMMETRIC_KEY};
use serde::Serialize;

use crate::capture_info::FaultInfo;

/// What decides which file a packet goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A file for each interface of each section.
    Interface,
    /// So many files; both directions of a flow go to the same one, packets that are no IP over Ethernet to the first.
    Flow(u32),
    /// A file for every so many packets.
    Count(u64),
    /// A file for every so many seconds from the first packet on.
    Seconds(u64),
}

/// The form of `iom pcap split --json` and `merge --json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Packets in each file.
    pub files: BTreeMap<String, u64>,
    /// What is broken in the input; the packets before it are written.
    pub fault: Option<FaultInfo>,
}

/// Splits the capture `path` into files of `directory`.
///
/// # Errors
/// A capture that cannot be opened, files that cannot be written.
pub fn split(path: &str, directory: &str, by: By) -> anyhow::Result<Copied> {
    let mut reader = CaptureReader::open(path)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("{directory}: cannot create the directory"))?;
    let mut split = Split::new(by);
    let mut copied = Copied::default();
    let mut writers: BTreeMap<String, CaptureWriter> = BTreeMap::new();
    copied.fault = loop {
        match reader.advance() {
            Ok(false) => break None,
            Err(error) => break Some(error.into()),
            Ok(true) => {}
        }
        let Some(packet) = reader.packet() else {
            break None;
        };
        let name = split.file_of(&reader, &packet);
        let file = Path::new(directory).join(name).display().to_string();
        if matches!(by, By::Count(_)) && !writers.contains_key(&file) {
            finish(std::mem::take(&mut writers))?;
        }
        let writer = match writers.entry(file.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(CaptureWriter::create(&file)?),
        };
        let mut packet = packet;
        packet
            .annotations
            .packet_id
            .get_or_insert(split.packets - 1);
        writer.write(&interface_name(&reader, &packet), &packet)?;
        *copied.files.entry(file).or_default() += 1;
    };
    finish(writers)?;
    Ok(copied)
}

/// Merges captures into one file, with an interface for each of theirs.
///
/// # Errors
/// A capture that cannot be opened, a file that cannot be written.
pub fn merge(paths: &[String], output: &str, order: Order) -> anyhow::Result<Copied> {
    let mut inputs = Vec::new();
    for path in paths {
        inputs.push((0, CaptureReader::open(path)?));
    }
    let mut merged = MergedReader::new(inputs, order);
    let mut writer = CaptureWriter::create(output)?;
    let mut copied = Copied::default();
    let count = copied.files.entry(output.to_owned()).or_default();
    copied.fault = loop {
        match merged.advance() {
            Ok(false) => break None,
            Err(error) => break Some(error.into()),
            Ok(true) => {}
        }
        let (Some((_, packet)), Some(reader)) = (merged.packet(), merged.reader()) else {
            break None;
        };
        let file = Path::new(reader.file())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let interface = match paths {
            [_] => interface_name(reader, &packet),
            _ => format!("{file}:{}", interface_name(reader, &packet)),
        };
        writer.write(&interface, &packet)?;
        *count += 1;
    };
    writer.finish()?;
    Ok(copied)
}

fn finish(writers: BTreeMap<String, CaptureWriter>) -> anyhow::Result<()> {
    for writer in writers.into_values() {
        writer.finish()?;
    }
    Ok(())
}

/// The name that the capture gives the packet's interface, else its number.
fn interface_name(reader: &CaptureReader, packet: &Packet<'_>) -> String {
    let interface = &reader.interfaces()[packet.interface as usize];
    interface
        .name
        .clone()
        .unwrap_or_else(|| packet.interface.to_string())
}

/// State of a split.
struct Split {
    by: By,
    rss: Rss,
    packets: u64,
    first_ns: u64,
}

impl Split {
    fn new(by: By) -> Split {
        let shards = if let By::Flow(shards) = by { shards } else { 1 };
        // One entry for each file: no table of 128 limits their number.
        let rss = Rss::with_table(&SYMMETRIC_KEY, (0..shards.max(1)).collect());
        Split {
            by,
            rss,
            packets: 0,
            first_ns: 0,
        }
    }

    /// Name of the file for the next packet.
    fn file_of(&mut self, reader: &CaptureReader, packet: &Packet<'_>) -> String {
        if self.packets == 0 {
            self.first_ns = packet.time_ns;
        }
        self.packets += 1;
        match self.by {
            By::Interface => format!("interface-{}-{}.pcapng", reader.section(), packet.interface),
            By::Flow(_) if packet.link_type.is_ethernet() => {
                format!("flow-{}.pcapng", self.rss.spread(packet.bytes).1)
            }
            By::Flow(_) => "flow-0.pcapng".to_owned(),
            By::Count(size) => format!("part-{:06}.pcapng", (self.packets - 1) / size.max(1)),
            By::Seconds(size) => {
                let seconds = packet.time_ns.saturating_sub(self.first_ns) / 1_000_000_000;
                format!("time-{:06}.pcapng", seconds / size.max(1))
            }
        }
    }
}

impl From<CaptureError> for FaultInfo {
    fn from(error: CaptureError) -> FaultInfo {
        FaultInfo {
            offset: error.offset,
            message: format!("{}: {}", error.file, error.fault),
        }
    }
}
