//! Made-up traffic: the captures in `pcaps/`, byte for byte the same each time.
//!
//! Addresses are those that the seeds of `programs/` know (`programs/README.md`).

mod broken;
mod cookie;
mod file;
mod packet;
mod scene;
mod session;

/// A capture file: its name and its bytes.
pub type CaptureFile = (&'static str, Vec<u8>);

/// All captures of `pcaps/`.
pub fn captures() -> Vec<CaptureFile> {
    vec![
        ("mix.pcap", file::pcap_microseconds(&scene::mix())),
        ("attack.pcap", file::pcap_nanoseconds(&scene::attack())),
        ("malformed.pcap", file::pcap_microseconds(&broken::scene())),
        ("vlan.pcapng", file::pcapng(&scene::vlan())),
        ("ipv6.pcap", file::pcap_big_endian(&scene::ipv6())),
        ("routed-a.pcap", file::pcap_microseconds(&scene::routed_a())),
        ("routed-b.pcapng", file::pcapng(&scene::routed_b())),
    ]
}

/// A frame and when it came, in nanoseconds since the scene began.
#[derive(Clone, Debug)]
struct Frame {
    time_ns: u64,
    bytes: Vec<u8>,
}

/// Frames in the order of their time; those of one time in the order in which they were added.
#[derive(Default)]
struct Scene {
    frames: Vec<Frame>,
}

impl Scene {
    fn add(&mut self, time_ns: u64, bytes: Vec<u8>) {
        self.frames.push(Frame { time_ns, bytes });
    }

    fn into_frames(mut self) -> Vec<Frame> {
        self.frames.sort_by_key(|frame| frame.time_ns);
        self.frames
    }
}

/// The generator splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
