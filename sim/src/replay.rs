//! From captures to frames on RX queues, and through the workers of an instance: deterministic,
//! in the order of the captures.

use iom_core::abi::{
    BackendError, Environment, Frame, Instance, Outcome, PacketClock, PortId, QueueId, Receive,
    Recorder, Worker,
};

use crate::capture::{CaptureError, MergedReader, Packet, PacketSource};
use crate::flow::FlowKey;
use crate::rss::Rss;

/// How captured packets come into the device.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// Spreads packets over the RX queues.
    pub rss: Rss,
    /// Time and random numbers.
    pub environment: Environment,
    /// Where packets have their numbers from.
    pub numbers: PacketNumbers,
    /// Packets by their number, first and last; the others are skipped but keep their numbers.
    pub range: (u64, u64),
    /// How many packets at most.
    pub limit: u64,
    /// Shorter frames are padded with zeros to this length, as a MAC does.
    pub pad_to: usize,
    /// Shortest and longest frame that the backends take; others are set aside.
    pub frame_bytes: (usize, usize),
}

/// Where packets have their numbers from. Random numbers depend on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketNumbers {
    /// Counted from 0 over all captures.
    #[default]
    Counted,
    /// From the captures (`epb_packetid`); packets without one count on from the one before.
    Captured,
}

/// A packet as the device receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingressed {
    /// Number, see [`PacketNumbers`].
    pub id: u64,
    /// Port.
    pub port: PortId,
    /// RX queue.
    pub queue: QueueId,
    /// Receive hash.
    pub hash: u32,
    /// What the hash is over.
    pub hash_type: u32,
    /// Capture time, ns since 1970.
    pub time_ns: u64,
    /// What `ktime_get_ns` gives.
    pub ktime_ns: u64,
    start: usize,
    len: usize,
}

impl Ingressed {
    /// Bytes in the packet as received.
    pub const fn len_bytes(&self) -> usize {
        self.len
    }
}

/// Packets that were read together.
#[derive(Clone, Debug, Default)]
pub struct PacketBatch {
    bytes: Vec<u8>,
    packets: Vec<Ingressed>,
    set_aside: Vec<Ingressed>,
}

impl PacketBatch {
    /// The packets, in order.
    pub fn packets(&self) -> &[Ingressed] {
        &self.packets
    }

    /// Packets whose length the backends do not take: they are not run.
    pub fn set_aside(&self) -> &[Ingressed] {
        &self.set_aside
    }

    /// Whether there is nothing in the batch: the captures are at their end.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.set_aside.is_empty()
    }

    /// Bytes of a packet as received.
    pub fn bytes(&self, packet: &Ingressed) -> &[u8] {
        &self.bytes[packet.start..packet.start + packet.len]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.set_aside.clear();
    }
}

/// Reads captures and gives packets their number, time and queue.
#[derive(Debug)]
pub struct Ingress {
    config: IngressConfig,
    clock: PacketClock,
    next_id: u64,
    taken: u64,
    padded: u64,
}

impl Ingress {
    /// Ingress before the first packet.
    pub fn new(config: IngressConfig) -> Self {
        let clock = PacketClock::new(&config.environment);
        Self {
            config,
            clock,
            next_id: 0,
            taken: 0,
            padded: 0,
        }
    }

    /// How many frames were padded so far.
    pub fn padded(&self) -> u64 {
        self.padded
    }

    /// Replaces the contents of `batch` by up to `count` packets; none are left when it stays
    /// empty. After an error the batch holds the packets before it.
    pub fn fill<R: PacketSource>(
        &mut self,
        source: &mut MergedReader<R>,
        batch: &mut PacketBatch,
        count: usize,
    ) -> Result<(), CaptureError> {
        batch.clear();
        while batch.packets.len() + batch.set_aside.len() < count
            && self.taken < self.config.limit
            && self.next_id <= self.config.range.1
        {
            let Some((port, packet)) = source.next_packet()? else {
                break;
            };
            self.take(PortId(port), &packet, batch);
        }
        Ok(())
    }

    fn take(&mut self, port: PortId, packet: &Packet<'_>, batch: &mut PacketBatch) {
        let Packet { bytes, time_ns, .. } = *packet;
        let captured = match self.config.numbers {
            PacketNumbers::Counted => None,
            PacketNumbers::Captured => packet.annotations.packet_id,
        };
        let id = captured.unwrap_or(self.next_id);
        self.next_id = id.saturating_add(1);
        let ktime_ns = self.clock.ktime_ns(time_ns);
        if id < self.config.range.0 {
            return;
        }
        self.taken += 1;
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(bytes);
        if bytes.len() < self.config.pad_to {
            batch.bytes.resize(start + self.config.pad_to, 0);
            self.padded += 1;
        }
        let len = batch.bytes.len() - start;
        let flow = FlowKey::of(&batch.bytes[start..]);
        let (hash, queue) = self.config.rss.spread_flow(&flow);
        let (min, max) = self.config.frame_bytes;
        let list = if (min..=max).contains(&len) {
            &mut batch.packets
        } else {
            &mut batch.set_aside
        };
        list.push(Ingressed {
            id,
            port,
            queue: QueueId(queue),
            hash,
            hash_type: flow.hash_type(),
            time_ns,
            ktime_ns,
            start,
            len,
        });
    }
}

/// The workers of an instance, one for each RX queue, and the frames they work on.
pub struct Replay<'a> {
    workers: Vec<Box<dyn Worker + 'a>>,
    frames: Vec<Frame>,
    outcomes: Vec<Outcome>,
    part: Vec<Outcome>,
}

impl<'a> Replay<'a> {
    /// Workers for this many queues.
    pub fn new(instance: &'a dyn Instance, queues: u32) -> Result<Self, BackendError> {
        let workers = (0..queues)
            .map(|queue| instance.worker(QueueId(queue)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            workers,
            frames: Vec::new(),
            outcomes: Vec::new(),
            part: Vec::new(),
        })
    }

    /// Runs a batch in its order: neighbours of the same queue together, so that queues that share
    /// a map see each other's changes in the order of the packets.
    ///
    /// # Panics
    /// If a packet is longer than a frame holds, or a worker gives no outcome for some frame.
    pub fn run(
        &mut self,
        batch: &PacketBatch,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<(), BackendError> {
        self.outcomes.clear();
        self.load(batch);
        let mut frames = &mut self.frames[..batch.packets.len()];
        for neighbours in batch.packets.chunk_by(|a, b| a.queue == b.queue) {
            let (now, later) = frames.split_at_mut(neighbours.len());
            frames = later;
            let worker = &mut self.workers[neighbours[0].queue.0 as usize];
            worker.run(now, &mut self.part, recorder.as_deref_mut())?;
            assert_eq!(
                self.part.len(),
                neighbours.len(),
                "one outcome for each frame"
            );
            self.outcomes.append(&mut self.part);
        }
        Ok(())
    }

    /// Frames and outcomes of the last batch, in its order.
    pub fn results(&self) -> impl Iterator<Item = (&Frame, &Outcome)> {
        self.frames.iter().zip(&self.outcomes)
    }

    fn load(&mut self, batch: &PacketBatch) {
        if self.frames.len() < batch.packets.len() {
            self.frames.resize_with(batch.packets.len(), Frame::new);
        }
        for (packet, frame) in batch.packets.iter().zip(&mut self.frames) {
            frame.receive = Receive {
                ingress_ifindex: packet.port.ifindex(),
                queue: packet.queue.0,
                hash: packet.hash,
                hash_type: packet.hash_type,
                ..Receive::default()
            };
            frame.packet_id = packet.id;
            frame.time_ns = packet.time_ns;
            frame.ktime_ns = packet.ktime_ns;
            frame
                .set_packet(batch.bytes(packet))
                .expect("ingress sets longer packets aside");
        }
    }
}
