//! Zstandard streams of any number of frames, skippable ones too (RFC 8878 section 3.1). What a cut frame holds is
//! given out before the error, so that the packets before the cut are not lost.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::source::at_end;

/// Only a decoder that is used again checks the window that a frame asks for (100 MiB at most), so the first frame
/// of all is an empty one of ours.
const EMPTY_FRAME_HEADER: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0];

/// The decoder keeps a window's worth of decoded bytes until it has seen a last block: this empty raw one (and four
/// bytes for the checksum, if the frame has one) makes it give out what it has.
const EMPTY_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decoded bytes of a zstd stream.
pub(super) struct ZstdReader<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
    failure: Option<io::Error>,
}

impl<R: BufRead> ZstdReader<R> {
    pub(super) fn new(input: R) -> ZstdReader<R> {
        let mut decoder = FrameDecoder::new();
        decoder
            .reset(&EMPTY_FRAME_HEADER[..])
            .expect("a valid frame header");
        ZstdReader {
            input,
            decoder,
            in_frame: false,
            failure: None,
        }
    }

    /// Starts the next frame; false at the end of the stream.
    fn start_frame(&mut self) -> io::Result<bool> {
        while !at_end(&mut self.input)? {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(
                        &mut self.input.by_ref().take(length.into()),
                        &mut io::sink(),
                    )?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }

    /// Decodes one more block; a damaged one ends the frame and leaves its error for later.
    fn decode_block(&mut self) {
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        if let Err(error) = self.decoder.decode_blocks(&mut self.input, one()) {
            self.failure = Some(invalid(error));
            if self
                .decoder
                .decode_blocks(&EMPTY_LAST_BLOCK[..], one())
                .is_err()
            {
                self.in_frame = false;
            }
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let expected = self.decoder.get_checksum_from_data();
        if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "zstd checksum does not match",
            ));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if let Some(error) = self.failure.take() {
                    return Err(error);
                }
                if !self.start_frame()? {
                    return Ok(0);
                }
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.end_frame()?;
            } else {
                self.decode_block();
            }
        }
    }
}

fn invalid(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
