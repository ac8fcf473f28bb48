//! Receive-side scaling: the Toeplitz hash over a packet's flow and the table that turns it into
//! an RX queue.

use crate::flow::FlowKey;

/// The key that Microsoft published with RSS and most drivers start with.
pub const DEFAULT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// A key that gives both directions of a flow the same hash: two bytes, repeated.
pub const SYMMETRIC_KEY: [u8; 40] = {
    let mut key = [0x6d; 40];
    let mut index = 1;
    while index < key.len() {
        key[index] = 0x5a;
        index += 2;
    }
    key
};

/// Entries of the indirection table, as in most NICs.
const TABLE_ENTRIES: u32 = 128;

/// The Toeplitz hash with one key, tabulated by byte and position.
#[derive(Clone, Debug)]
pub struct Toeplitz {
    table: Box<[[u32; 256]]>,
}

impl Toeplitz {
    /// Prepares the hash with this key.
    pub fn new(key: &[u8; 40]) -> Self {
        let mut table = vec![[0; 256]; FlowKey::BYTES_MAX];
        for (position, row) in table.iter_mut().enumerate() {
            for (byte, sum) in row.iter_mut().enumerate() {
                for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                    *sum ^= key_window(key, position * 8 + bit);
                }
            }
        }
        Self {
            table: table.into_boxed_slice(),
        }
    }

    /// Hash of a flow; 0 for bytes that make no flow, as NICs report it.
    pub fn hash(&self, flow: &FlowKey) -> u32 {
        flow.bytes()
            .iter()
            .zip(self.table.iter())
            .fold(0, |sum, (byte, row)| sum ^ row[usize::from(*byte)])
    }
}

/// The 32 bits of the key that start at a bit.
fn key_window(key: &[u8; 40], bit: usize) -> u32 {
    let window = key[bit / 8..].iter().chain([0; 5].iter()).take(5);
    let window = window.fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    (window >> (8 - bit % 8)) as u32
}

/// Distribution of flows over the RX queues of a port.
#[derive(Clone, Debug)]
pub struct Rss {
    toeplitz: Toeplitz,
    queues: Vec<u32>,
}

impl Rss {
    /// The queues in turn, as drivers fill their table.
    pub fn new(key: &[u8; 40], queues: u32) -> Self {
        let queues = (0..TABLE_ENTRIES)
            .map(|entry| entry % queues.max(1))
            .collect();
        Self {
            toeplitz: Toeplitz::new(key),
            queues,
        }
    }

    /// With an indirection table of the user's.
    ///
    /// # Panics
    /// If the table is empty.
    pub fn with_table(key: &[u8; 40], table: Vec<u32>) -> Self {
        assert!(!table.is_empty(), "an indirection table without entries");
        Self {
            toeplitz: Toeplitz::new(key),
            queues: table,
        }
    }

    /// Hash of a packet, and the queue that it goes to.
    pub fn spread(&self, packet: &[u8]) -> (u32, u32) {
        self.spread_flow(&FlowKey::of(packet))
    }

    /// Hash of a flow, and the queue that it goes to.
    pub fn spread_flow(&self, flow: &FlowKey) -> (u32, u32) {
        let hash = self.toeplitz.hash(flow);
        (hash, self.queues[hash as usize % self.queues.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(source: [u8; 4], target: [u8; 4], protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut packet = vec![0; 12];
        packet.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0]);
        packet.extend(source);
        packet.extend(target);
        for port in ports {
            packet.extend(port.to_be_bytes());
        }
        packet.extend([0; 16]);
        packet
    }

    /// The verification suite that Microsoft publishes with RSS.
    #[test]
    fn hashes_the_published_flows() {
        let toeplitz = Toeplitz::new(&DEFAULT_KEY);
        let hash = |packet: &[u8]| toeplitz.hash(&FlowKey::of(packet));
        let first = ([66, 9, 149, 187], [161, 142, 100, 80]);
        assert_eq!(hash(&ipv4(first.0, first.1, 1, [2794, 1766])), 0x323e_8fc2);
        assert_eq!(hash(&ipv4(first.0, first.1, 6, [2794, 1766])), 0x51cc_c178);
        let second = ([199, 92, 111, 2], [65, 69, 140, 83]);
        assert_eq!(
            hash(&ipv4(second.0, second.1, 1, [14230, 4739])),
            0xd718_262a
        );
        assert_eq!(
            hash(&ipv4(second.0, second.1, 17, [14230, 4739])),
            0xc626_b0ea
        );
    }

    #[test]
    fn the_symmetric_key_joins_both_directions() {
        let rss = Rss::new(&SYMMETRIC_KEY, 8);
        let there = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, [4000, 80]);
        let back = ipv4([10, 0, 0, 2], [10, 0, 0, 1], 6, [80, 4000]);
        assert_eq!(rss.spread(&there), rss.spread(&back));
        let other = Rss::new(&DEFAULT_KEY, 8);
        assert_ne!(other.spread(&there).0, other.spread(&back).0);
    }

    #[test]
    fn the_indirection_table_chooses_the_queue() {
        let rss = Rss::with_table(&DEFAULT_KEY, vec![3]);
        assert_eq!(
            rss.spread(&ipv4([1, 2, 3, 4], [5, 6, 7, 8], 6, [1, 2])).1,
            3
        );
        assert_eq!(rss.spread(&[]), (0, 3));
    }
}
