//! Frames written by hand: `[{"name": "…", "hex": "…"}]`, one microsecond apart, read one by one.

use std::io::Read;

use serde::Deserialize;

use super::reader::{MAX_CAPTURED_BYTES, Record};
use super::source::Source;
use super::{Annotations, CaptureFault, Interface, LinkType};

/// Time between two frames.
const GAP_NS: u64 = 1_000;
/// Longest text of one frame: two digits a byte and as many separators.
const MAX_TEXT_BYTES: u64 = 4 * MAX_CAPTURED_BYTES as u64;

/// The frames of a JSON array.
#[derive(Debug)]
pub(super) struct FrameList {
    interface: Interface,
    /// Frames read so far.
    count: u64,
    /// Where the text of the current one begins.
    offset: u64,
    /// The current one.
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Frame {
    hex: String,
}

impl FrameList {
    /// Recognises an array and steps into it.
    pub(super) fn start(source: &mut Source) -> Option<FrameList> {
        if next_token(source) != Some(b'[') {
            return None;
        }
        source.consume(1);
        Some(FrameList {
            interface: Interface::ethernet(),
            count: 0,
            offset: 0,
            bytes: Vec::new(),
        })
    }

    /// Reads the next frame; `None` behind the last.
    pub(super) fn next(&mut self, source: &mut Source) -> Result<Option<Record>, CaptureFault> {
        let mut token = next_token(source);
        self.offset = source.offset();
        if token == Some(b']') {
            source.consume(1);
            return match next_token(source) {
                None => source
                    .take_failure()
                    .map_or(Ok(None), |error| Err(error.into())),
                Some(_) => Err(problem("text behind the array")),
            };
        }
        if self.count > 0 {
            if token != Some(b',') {
                return Err(self.missing(source, "a comma or ] is expected"));
            }
            source.consume(1);
            token = next_token(source);
            self.offset = source.offset();
        }
        if token != Some(b'{') {
            return Err(self.missing(source, "{ is expected"));
        }
        let mut text = serde_json::Deserializer::from_reader(source.take(MAX_TEXT_BYTES));
        let frame = Frame::deserialize(&mut text).map_err(|error| problem(&error.to_string()))?;
        self.decode(&frame.hex)?;
        let time_ns = self.count * GAP_NS;
        self.count += 1;
        Ok(Some(Record {
            data: 0..0,
            whole: 0,
            time_ns,
            original_len: self.bytes.len() as u32,
            interface: 0,
            link_type: LinkType::ETHERNET,
            annotations: Annotations::default(),
        }))
    }

    /// Where the text of the current frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The current frame.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The one interface that the frames come from.
    pub(super) fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Two hex digits a byte, with white space anywhere between bytes.
    fn decode(&mut self, hex: &str) -> Result<(), CaptureFault> {
        self.bytes.clear();
        let mut digits = hex.chars().filter(|c| !c.is_ascii_whitespace());
        while let Some(high) = digits.next() {
            let low = digits
                .next()
                .ok_or_else(|| problem("an odd number of hex digits"))?;
            let (Some(high), Some(low)) = (high.to_digit(16), low.to_digit(16)) else {
                return Err(problem(&format!("{high}{low} is not a byte in hex")));
            };
            self.bytes.push((high << 4 | low) as u8);
        }
        if self.bytes.len() > MAX_CAPTURED_BYTES {
            let length = self.bytes.len() as u32;
            return Err(CaptureFault::TooLong {
                what: "a frame",
                length,
                limit: MAX_CAPTURED_BYTES,
            });
        }
        Ok(())
    }

    fn missing(&self, source: &mut Source, what: &str) -> CaptureFault {
        match source.take_failure() {
            Some(error) => error.into(),
            None => problem(&format!("{what} behind frame {}", self.count)),
        }
    }
}

/// Steps over white space; the byte behind it, or `None` at the end.
fn next_token(source: &mut Source) -> Option<u8> {
    while source.fill(1) == 1 {
        match source.slice(0..1)[0] {
            b' ' | b'\t' | b'\r' | b'\n' => source.consume(1),
            token => return Some(token),
        }
    }
    None
}

fn problem(problem: &str) -> CaptureFault {
    CaptureFault::Frame {
        problem: problem.to_owned(),
    }
}
