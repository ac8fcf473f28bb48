//! Several captures as one sequence of frames, ordered by time and, where times are equal, by their order on the
//! command line.

use super::{CaptureError, CaptureReader, FrameReader, Input, Packet, Policy};

/// How the captures of one port follow each other. Ports are always merged by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By time.
    #[default]
    ByTime,
    /// One after the other, as named.
    AsNamed,
}

/// Frames of several captures.
pub struct MergedReader {
    streams: Vec<Stream>,
    /// The stream of the current frame.
    current: Option<usize>,
    started: bool,
}

/// Captures that follow each other into one port.
struct Stream {
    port: u32,
    inputs: Vec<FrameReader>,
    /// The one that is being read; at `inputs.len()` the stream is at its end.
    index: usize,
}

impl MergedReader {
    /// Opens all inputs.
    pub fn open(
        inputs: &[Input],
        policy: Policy,
        order: Order,
    ) -> Result<MergedReader, CaptureError> {
        let mut opened = Vec::with_capacity(inputs.len());
        for input in inputs {
            opened.push((
                input.port,
                FrameReader::new(CaptureReader::open(&input.file)?, policy),
            ));
        }
        Ok(MergedReader::new(opened, order))
    }

    /// Merges captures with the port that each goes into.
    pub fn new(inputs: Vec<(u32, FrameReader)>, order: Order) -> MergedReader {
        let mut streams: Vec<Stream> = Vec::new();
        for (port, reader) in inputs {
            match streams
                .iter_mut()
                .find(|stream| order == Order::AsNamed && stream.port == port)
            {
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
            current: None,
            started: false,
        }
    }

    /// Moves on to the next frame; false at the end.
    pub fn advance(&mut self) -> Result<bool, CaptureError> {
        let behind = self.current.take();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if !self.started || behind == Some(index) {
                stream.advance()?;
            }
        }
        self.started = true;
        let times = self.streams.iter().enumerate();
        let times = times
            .filter_map(|(index, stream)| stream.packet().map(|packet| (packet.time_ns, index)));
        self.current = times.min().map(|(_, index)| index);
        Ok(self.current.is_some())
    }

    /// The port and the frame that the last `advance` found.
    pub fn packet(&self) -> Option<(u32, Packet<'_>)> {
        let stream = &self.streams[self.current?];
        stream.packet().map(|packet| (stream.port, packet))
    }

    /// `advance` and `packet` in one.
    pub fn next_packet(&mut self) -> Result<Option<(u32, Packet<'_>)>, CaptureError> {
        self.advance()?;
        Ok(self.packet())
    }

    /// The captures, for their counts.
    pub fn readers(&self) -> impl Iterator<Item = &FrameReader> {
        self.streams.iter().flat_map(|stream| &stream.inputs)
    }
}

impl Stream {
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
