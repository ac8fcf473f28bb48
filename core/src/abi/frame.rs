//! One packet in memory: its descriptor and its bytes, laid out as Linux lays out an XDP frame.
//!
//! ```text
//! 0          256                                 3776      4096
//! | headroom  | data .................. data_end  | tailroom |  + fragments of up to 4,096 bytes
//! ```

use super::SocketBuffer;

/// Free bytes in front of a packet: `XDP_PACKET_HEADROOM`.
pub const HEADROOM_BYTES: usize = 256;
/// Bytes of a packet in the linear part at most.
pub const LINEAR_MAX: usize = 3520;
/// Bytes behind the linear part: `struct skb_shared_info` on x86-64.
pub const TAILROOM_BYTES: usize = 320;
/// Logical bytes of a frame's memory.
pub const FRAME_BYTES: usize = HEADROOM_BYTES + LINEAR_MAX + TAILROOM_BYTES;
/// Bytes of a fragment at most: a page.
pub const FRAGMENT_BYTES: usize = 4096;
/// Fragments of a packet at most: `MAX_SKB_FRAGS`.
pub const FRAGMENTS_MAX: usize = 17;

/// A frame's memory with one cache line of padding, so that frames that follow each other do not
/// all fall on the same cache sets.
#[repr(C, align(64))]
#[derive(Clone)]
struct FrameMemory([u8; FRAME_BYTES + 64]);

/// What the device knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Receive {
    /// Interface index of the port: port + 2.
    pub ingress_ifindex: u32,
    /// RX queue.
    pub queue: u32,
    /// Receive hash.
    pub hash: u32,
    /// What the hash is over: bits of `enum xdp_rss_hash_type`.
    pub hash_type: u32,
    /// VLAN tag that the device took off the packet: tag control information.
    pub vlan_tci: u16,
    /// `EtherType` of that tag, 0 if there is none.
    pub vlan_protocol: u16,
}

/// A page behind the linear part.
#[derive(Clone)]
pub struct Fragment {
    memory: Box<[u8; FRAGMENT_BYTES]>,
    len: u32,
}

impl Fragment {
    /// The bytes in use.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len as usize]
    }

    /// The bytes in use, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len as usize]
    }

    /// The whole page.
    pub fn page_mut(&mut self) -> &mut [u8; FRAGMENT_BYTES] {
        &mut self.memory
    }

    /// Changes how many bytes are in use, at most a page.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(FRAGMENT_BYTES) as u32;
    }
}

/// One packet: descriptor first, in C layout, for generated code.
#[derive(Clone)]
#[repr(C)]
pub struct Frame {
    memory: Box<FrameMemory>,
    data_meta: u32,
    data: u32,
    data_end: u32,
    /// What the device knows.
    pub receive: Receive,
    /// Global packet number, from 0.
    pub packet_id: u64,
    /// Capture time, ns since the epoch.
    pub time_ns: u64,
    /// What `ktime_get_ns` gives.
    pub ktime_ns: u64,
    /// Interface that the packet leaves through, for programs of devmap entries; else 0.
    pub egress_ifindex: u32,
    /// What programs with a socket buffer see and leave beside the packet. A backend sets it when it
    /// starts such a program.
    pub socket_buffer: SocketBuffer,
    fragments: Vec<Fragment>,
}

/// A packet that no frame can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the linear part and all fragments.
    #[error("a packet of {len} bytes is longer than the {max} that a frame holds")]
    TooLong {
        /// Bytes in the packet.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// Bytes of the longest packet: linear part and fragments.
    pub const BYTES_MAX: usize = LINEAR_MAX + FRAGMENTS_MAX * FRAGMENT_BYTES;

    /// An empty frame.
    pub fn new() -> Self {
        Self {
            memory: Box::new(FrameMemory([0; FRAME_BYTES + 64])),
            data_meta: HEADROOM_BYTES as u32,
            data: HEADROOM_BYTES as u32,
            data_end: HEADROOM_BYTES as u32,
            receive: Receive::default(),
            packet_id: 0,
            time_ns: 0,
            ktime_ns: 0,
            egress_ifindex: 0,
            socket_buffer: SocketBuffer::default(),
            fragments: Vec::new(),
        }
    }

    /// Puts a packet into the frame, as a device would: all but its bytes and geometry stays.
    /// Headroom and the linear memory behind the packet are zero, as in the kernel's test-run.
    pub fn set_packet(&mut self, packet: &[u8]) -> Result<(), FrameError> {
        if packet.len() > Self::BYTES_MAX {
            return Err(FrameError::TooLong {
                len: packet.len(),
                max: Self::BYTES_MAX,
            });
        }
        let (linear, rest) = packet.split_at(packet.len().min(LINEAR_MAX));
        let end = HEADROOM_BYTES + linear.len();
        self.memory.0[..HEADROOM_BYTES].fill(0);
        self.memory.0[HEADROOM_BYTES..end].copy_from_slice(linear);
        self.memory.0[end..FRAME_BYTES].fill(0);
        self.data_meta = HEADROOM_BYTES as u32;
        self.data = HEADROOM_BYTES as u32;
        self.data_end = end as u32;
        self.fragments.clear();
        for part in rest.chunks(FRAGMENT_BYTES) {
            let mut memory = Box::new([0; FRAGMENT_BYTES]);
            memory[..part.len()].copy_from_slice(part);
            self.fragments.push(Fragment {
                memory,
                len: part.len() as u32,
            });
        }
        Ok(())
    }

    /// Offset of the metadata from the start of the memory.
    pub const fn data_meta(&self) -> usize {
        self.data_meta as usize
    }

    /// Offset of the first packet byte from the start of the memory.
    pub const fn data(&self) -> usize {
        self.data as usize
    }

    /// Offset just behind the linear part from the start of the memory.
    pub const fn data_end(&self) -> usize {
        self.data_end as usize
    }

    /// Moves the borders of metadata and linear part.
    ///
    /// # Panics
    /// If they are out of order or outside the memory: the caller's checks are wrong.
    pub fn set_bounds(&mut self, data_meta: usize, data: usize, data_end: usize) {
        assert!(
            data_meta <= data && data <= data_end && data_end <= FRAME_BYTES,
            "frame bounds {data_meta}, {data}, {data_end} out of order"
        );
        self.data_meta = data_meta as u32;
        self.data = data as u32;
        self.data_end = data_end as u32;
    }

    /// The whole logical memory, headroom to tailroom.
    pub fn memory(&self) -> &[u8] {
        &self.memory.0[..FRAME_BYTES]
    }

    /// The whole logical memory, for writing.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory.0[..FRAME_BYTES]
    }

    /// The linear part of the packet.
    pub fn linear(&self) -> &[u8] {
        &self.memory.0[self.data as usize..self.data_end as usize]
    }

    /// The metadata in front of the packet.
    pub fn metadata(&self) -> &[u8] {
        &self.memory.0[self.data_meta as usize..self.data as usize]
    }

    /// The fragments behind the linear part.
    pub fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// The fragments, for writing, growing (at most [`FRAGMENTS_MAX`]) and cutting.
    pub fn fragments_mut(&mut self) -> &mut Vec<Fragment> {
        &mut self.fragments
    }

    /// Bytes in the packet, fragments included.
    pub fn len(&self) -> usize {
        self.linear().len()
            + self
                .fragments
                .iter()
                .map(|part| part.len as usize)
                .sum::<usize>()
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the packet, fragments included.
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.len());
        packet.extend_from_slice(self.linear());
        self.fragments
            .iter()
            .for_each(|part| packet.extend_from_slice(part.bytes()));
        packet
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("packet_id", &self.packet_id)
            .field("receive", &self.receive)
            .field("metadata", &self.metadata())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_packet_goes_into_fragments_and_comes_back_whole() {
        let mut frame = Frame::new();
        for len in [0, 14, LINEAR_MAX, LINEAR_MAX + 1, 9000, Frame::BYTES_MAX] {
            let packet: Vec<u8> = (0..len).map(|index| index as u8).collect();
            frame.set_packet(&packet).unwrap();
            assert_eq!(frame.packet(), packet);
            assert_eq!(frame.len(), len);
        }
        assert_eq!(frame.fragments().len(), FRAGMENTS_MAX);
        let long = vec![0; Frame::BYTES_MAX + 1];
        assert!(matches!(
            frame.set_packet(&long),
            Err(FrameError::TooLong { len: 73_153, .. })
        ));
    }

    #[test]
    fn a_new_packet_leaves_nothing_of_the_old_one() {
        let mut frame = Frame::new();
        frame.set_packet(&[0xff; 2000]).unwrap();
        frame.set_bounds(0, 4, 3000);
        frame.memory_mut().fill(0xff);
        frame.set_packet(&[1, 2, 3]).unwrap();
        assert_eq!(frame.metadata(), [0; 0]);
        assert_eq!(
            frame
                .memory()
                .iter()
                .map(|byte| u32::from(*byte))
                .sum::<u32>(),
            6
        );
    }
}
