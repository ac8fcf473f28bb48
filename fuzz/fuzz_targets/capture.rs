//! Captures of any format, their frames under the most active policy, and packets through the writer and back.
#![no_main]

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use iom_sim::capture::{
    CaptureReader, CaptureWriter, FrameReader, OtherLinks, PacketSource, Policy, Truncated,
};
use libfuzzer_sys::fuzz_target;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let open = || CaptureReader::new("fuzz", Cursor::new(bytes.to_vec()));
    let mut reader = match open() {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let output = Output::default();
    let mut writer = CaptureWriter::new("fuzz", output.clone()).expect("memory takes all");
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.link_type.number > u32::from(u16::MAX) {
            return;
        }
        writer.write("port-0", &packet).expect("memory takes all");
    }
    writer.finish().expect("memory takes all");
    let written = output.0.lock().expect("one thread").clone();

    let mut again = CaptureReader::new("again", Cursor::new(written)).expect("what was written");
    let mut reader = open().expect("it opened before");
    while let Ok(Some(packet)) = reader.next_packet() {
        let copy = again
            .next_packet()
            .expect("what was written")
            .expect("as many packets");
        assert_eq!((copy.bytes, copy.time_ns), (packet.bytes, packet.time_ns));
        assert_eq!(copy.original_len, packet.original_len);
        assert_eq!(copy.annotations, packet.annotations);
    }

    let policy = Policy {
        truncated: Truncated::Pad,
        other_links: OtherLinks::Adapt,
    };
    let mut frames = FrameReader::new(open().expect("it opened before"), policy);
    while let Ok(Some(_)) = frames.next_packet() {}
});
