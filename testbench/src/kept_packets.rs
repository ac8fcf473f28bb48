//! Packets taken out of captures, with the numbers and times that they had there: replayed again,
//! whole or in part, programs see the same time and the same random numbers.

use std::path::Path;

use iom_sim::capture::{
    Annotations, CaptureError, CaptureWriter, LinkType, MergedReader, Order, Packet, PacketSource,
    port_name,
};
use iom_sim::replay::PacketBatch;

use crate::exit::Failure;
use crate::lane::Setup;
use crate::replay_args::{PacketIds, ReplayArgs};

/// How many bytes of packets are kept in memory.
const BYTES_MAX: usize = 1 << 30;

/// A packet with what a replay depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPacket {
    /// Its number.
    pub id: u64,
    /// The port that receives it.
    pub port: u32,
    /// Capture time, ns since 1970; as `ktime_ns`, it does not jump back.
    pub time_ns: u64,
    /// What programs see as the time.
    pub ktime_ns: u64,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// Reads the packets that a replay takes, up to number `last`.
///
/// # Errors
/// Captures that cannot be opened or are too large to be kept. A fault within one ends the list.
pub fn read(replay: &ReplayArgs, setup: &Setup, last: u64) -> anyhow::Result<Vec<KeptPacket>> {
    if replay.inputs.iter().any(|input| input.file == "-") {
        return Err(Failure::usage(
            "the captures are read twice: give a file instead of standard input",
        ));
    }
    let mut source = replay.open()?;
    let mut ingress = replay.ingress(setup, (0, usize::MAX), 0);
    let mut batch = PacketBatch::default();
    let mut kept: Vec<KeptPacket> = Vec::new();
    let (mut total, mut start) = (0, None);
    loop {
        let fault = ingress.fill(&mut source, &mut batch, 512).err();
        for packet in batch.packets() {
            if packet.id > last {
                return Ok(kept);
            }
            let (time_ns, ktime_ns) = *start.get_or_insert((packet.time_ns, packet.ktime_ns));
            let bytes = batch.bytes(packet).to_vec();
            total += bytes.len();
            kept.push(KeptPacket {
                id: packet.id,
                port: packet.port.0,
                time_ns: time_ns.saturating_add(packet.ktime_ns - ktime_ns),
                ktime_ns: packet.ktime_ns,
                bytes,
            });
        }
        if total > BYTES_MAX {
            return Err(Failure::usage(format!(
                "the packets up to the difference have more than {BYTES_MAX} bytes: choose some with --packets-range"
            )));
        }
        if fault.is_some() || batch.is_empty() {
            return Ok(kept);
        }
    }
}

/// The arguments that replay kept packets from `inputs` as they were.
pub fn replay_args(replay: &ReplayArgs, packets: &[KeptPacket], dir: &Path) -> ReplayArgs {
    let input = |port: u32| iom_sim::capture::Input {
        port,
        file: dir
            .join(format!("{}.pcapng", port_name(port)))
            .display()
            .to_string(),
    };
    ReplayArgs {
        inputs: ports(packets).into_iter().map(input).collect(),
        in_order: false,
        packet_ids: PacketIds::Capture,
        start_ns: packets.first().map(|packet| packet.ktime_ns),
        limit: None,
        packets_range: None,
        ..replay.clone()
    }
}

/// The ports that receive packets, sorted.
fn ports(packets: &[KeptPacket]) -> Vec<u32> {
    let mut ports: Vec<u32> = packets.iter().map(|packet| packet.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The packets as a source for replay.
pub fn source(packets: &[KeptPacket]) -> MergedReader<Listed<'_>> {
    let of_port = |port: u32| {
        let own = packets.iter().filter(|packet| packet.port == port);
        (port, Listed::new(own.collect()))
    };
    let inputs = ports(packets).into_iter().map(of_port);
    MergedReader::new(inputs.collect(), Order::ById)
}

/// Writes one capture for each port into a directory.
///
/// # Errors
/// Files that cannot be written.
pub fn write(dir: &Path, packets: &[KeptPacket]) -> anyhow::Result<()> {
    let mut writer = CaptureWriter::create(&format!("{}/", dir.display()))?;
    for packet in packets {
        writer.write(&port_name(packet.port), &packet.as_captured())?;
    }
    Ok(writer.finish()?)
}

impl KeptPacket {
    fn as_captured(&self) -> Packet<'_> {
        Packet {
            bytes: &self.bytes,
            time_ns: self.time_ns,
            original_len: self.bytes.len() as u32,
            interface: 0,
            link_type: LinkType::ETHERNET,
            annotations: Annotations {
                packet_id: Some(self.id),
                ..Annotations::default()
            },
        }
    }
}

/// Kept packets of one port, one after the other.
pub struct Listed<'a> {
    packets: Vec<&'a KeptPacket>,
    /// Packets that were given out, the current one included.
    given: usize,
}

impl<'a> Listed<'a> {
    fn new(packets: Vec<&'a KeptPacket>) -> Self {
        Self { packets, given: 0 }
    }
}

impl PacketSource for Listed<'_> {
    fn advance(&mut self) -> Result<bool, CaptureError> {
        self.given = (self.given + 1).min(self.packets.len() + 1);
        Ok(self.given <= self.packets.len())
    }

    fn packet(&self) -> Option<Packet<'_>> {
        let current = self.given.checked_sub(1)?;
        Some(self.packets.get(current)?.as_captured())
    }
}
