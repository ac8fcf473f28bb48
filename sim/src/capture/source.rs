//! The bytes of a capture as a sliding window: a file or standard input, plain, gzip or zstd, told apart by magic.
//! The window grows only with bytes that really came, whatever lengths the file claims.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::zstd::ZstdReader;

/// First size of the window; records above it make it grow.
const WINDOW_BYTES: usize = 256 * 1024;

/// How the file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// A stream of bytes that is read record by record.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `window[0]` in the stream.
    base: u64,
    /// The input gave its last byte, or this error behind it.
    finished: bool,
    failure: Option<io::Error>,
}

impl Source {
    /// Opens `path` (`-` is standard input) and looks through its compression.
    pub(super) fn open(path: &str) -> io::Result<(Source, Compression)> {
        if path == "-" {
            Source::detect(io::stdin())
        } else {
            Source::detect(File::open(path)?)
        }
    }

    /// Looks through the compression of `input`.
    pub(super) fn detect(input: impl Read + Send + 'static) -> io::Result<(Source, Compression)> {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        let mut magic = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut magic)?;
        let compression = match magic[..] {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A zstd file may begin with a skippable frame (RFC 8878 section 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
            _ => Compression::None,
        };
        let whole = io::Cursor::new(magic).chain(input);
        let input: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(whole),
            Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
            Compression::Zstd => Box::new(ZstdReader::new(whole)),
        };
        Ok((Source::new(input), compression))
    }

    fn new(input: Box<dyn Read + Send>) -> Source {
        let window = vec![0; WINDOW_BYTES];
        Source {
            input,
            window,
            start: 0,
            end: 0,
            base: 0,
            finished: false,
            failure: None,
        }
    }

    /// Offset of the first byte that is not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Makes up to `wanted` bytes available and returns how many are: fewer only where the stream ends or fails.
    pub(super) fn fill(&mut self, wanted: usize) -> usize {
        while self.end - self.start < wanted && !self.finished {
            self.make_room();
            match self.input.read(&mut self.window[self.end..]) {
                Ok(0) => self.finished = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.finished = true;
                    self.failure = Some(error);
                }
            }
        }
        wanted.min(self.end - self.start)
    }

    /// Bytes at the offset; all of them must have been made available by `fill`.
    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.window[self.start..self.end][range]
    }

    /// Moves on by `count` available bytes.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(
            count <= self.end - self.start,
            "consumed more than was filled"
        );
        self.start += count;
    }

    /// Why the stream ended early, if it did.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.window.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.window.len() {
            self.window.resize(2 * self.window.len(), 0);
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill(buffer.len().min(WINDOW_BYTES));
        buffer[..count].copy_from_slice(self.slice(0..count));
        self.consume(count);
        if count == 0
            && let Some(error) = self.take_failure()
        {
            return Err(error);
        }
        Ok(count)
    }
}

/// True if the buffered input is at its end.
pub(super) fn at_end(input: &mut impl BufRead) -> io::Result<bool> {
    Ok(input.fill_buf()?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stays_small_whatever_the_length() {
        let (mut source, _) = Source::detect(io::repeat(7).take(16 << 20)).unwrap();
        while source.fill(1500) == 1500 {
            source.consume(1500);
        }
        let rest = source.fill(1500);
        assert_eq!(source.offset() + rest as u64, 16 << 20);
        assert_eq!(source.window.len(), WINDOW_BYTES);
    }

    #[test]
    fn the_window_does_not_believe_a_length() {
        let (mut source, _) = Source::detect(io::repeat(7).take(100)).unwrap();
        assert_eq!(source.fill(1 << 40), 100);
        assert_eq!(source.window.len(), WINDOW_BYTES);
    }

    #[test]
    fn the_window_grows_for_a_long_record() {
        let (mut source, _) = Source::detect(io::repeat(7).take(3 << 20)).unwrap();
        source.fill(10);
        source.consume(10);
        assert_eq!(source.fill(2 << 20), 2 << 20);
        assert_eq!(source.slice(0..2 << 20), vec![7; 2 << 20]);
        assert_eq!(source.offset(), 10);
    }
}
