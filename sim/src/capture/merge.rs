//! Several captures as one sequence of packets, ordered by time and, where times are equal, by their order on the
//! command line.

use super::{CaptureError, CaptureReader, FrameReader, Input, Packet, PacketSource, Policy};

/// How the captures of one port follow each other. Ports are always merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By time.
    #[default]
    ByTime,
    /// One after the other, as named.
    AsNamed,
    /// By the packet ids that an earlier run or split noted; packets without one come last.
    ById,
}

/// Packets of several captures: frames for ports, or records as they stand.
pub struct MergedReader<R = FrameReader> {
    streams: Vec<Stream<R>>,
    order: Order,
    /// The stream of the current packet.
    current: Option<usize>,
    started: bool,
}

/// Captures that follow each other into one port.
struct Stream<R> {
    port: u32,
    inputs: Vec<R>,
    /// The one that is being read; at `inputs.len()` the stream is at its end.
    index: usize,
}

impl MergedReader {
    /// Opens the frames of all inputs.
    pub fn open(
        inputs: &[Input],
        policy: Policy,
        order: Order,
    ) -> Result<MergedReader, CaptureError> {
        let mut opened = Vec::with_capacity(inputs.len());
        for input in inputs {
            let reader = CaptureReader::open(&input.file)?;
            opened.push((input.port, FrameReader::new(reader, policy)));
        }
        Ok(MergedReader::new(opened, order))
    }
}

impl<R: PacketSource> MergedReader<R> {
    /// Merges captures with the port that each goes into.
    pub fn new(inputs: Vec<(u32, R)>, order: Order) -> MergedReader<R> {
        let mut streams: Vec<Stream<R>> = Vec::new();
        for (port, reader) in inputs {
            let known = |stream: &&mut Stream<R>| order == Order::AsNamed && stream.port == port;
            match streams.iter_mut().find(known) {
                Some(stream) => stream.inputs.push(reader),
                None => streams.push(Stream {
                    port,
                    inputs: vec![reader],
                    index: 0,
                }),
            }
        }
        MergedReader {
            streams,
            order,
            current: None,
            started: false,
        }
    }

    /// Moves on to the next packet; false at the end.
    pub fn advance(&mut self) -> Result<bool, CaptureError> {
        let behind = self.current.take();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if !self.started || behind == Some(index) {
                stream.advance()?;
            }
        }
        self.started = true;
        let key = |packet: Packet<'_>| match self.order {
            Order::ByTime | Order::AsNamed => packet.time_ns,
            Order::ById => packet.annotations.packet_id.unwrap_or(u64::MAX),
        };
        let heads = self.streams.iter().enumerate();
        let heads =
            heads.filter_map(|(index, stream)| stream.packet().map(|packet| (key(packet), index)));
        self.current = heads.min().map(|(_, index)| index);
        Ok(self.current.is_some())
    }

    /// The port and the packet that the last `advance` found.
    pub fn packet(&self) -> Option<(u32, Packet<'_>)> {
        let stream = &self.streams[self.current?];
        stream.packet().map(|packet| (stream.port, packet))
    }

    /// The capture that the current packet is of.
    pub fn reader(&self) -> Option<&R> {
        let stream = &self.streams[self.current?];
        stream.inputs.get(stream.index)
    }

    /// `advance` and `packet` in one.
    pub fn next_packet(&mut self) -> Result<Option<(u32, Packet<'_>)>, CaptureError> {
        self.advance()?;
        Ok(self.packet())
    }

    /// The captures, for their counts.
    pub fn readers(&self) -> impl Iterator<Item = &R> {
        self.streams.iter().flat_map(|stream| &stream.inputs)
    }
}

impl<R: PacketSource> Stream<R> {
    fn advance(&mut self) -> Result<(), CaptureError> {
        while let Some(input) = self.inputs.get_mut(self.index) {
            if input.advance()? {
                break;
            }
            self.index += 1;
        }
        Ok(())
    }

    fn packet(&self) -> Option<Packet<'_>> {
        self.inputs.get(self.index)?.packet()
    }
}
