//! Frames written by hand: the text behind the bracket that tells them from other captures.
#![no_main]

use std::io::Cursor;

use iom_sim::capture::{CaptureReader, PacketSource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let text = [b"[".as_slice(), text].concat();
    let mut reader = CaptureReader::new("fuzz", Cursor::new(text)).expect("an array is a capture");
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) => assert_eq!(packet.bytes.len(), packet.original_len as usize),
            Ok(None) => break,
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
});
