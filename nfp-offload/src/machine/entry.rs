//! The firmware's side of a run: how a packet comes in, and what the program leaves.

use std::ops::Range;

use iom_core::abi::XdpAction;

use super::command::{PACKET_BASE, PACKET_BUFFER};
use super::execute::MicroEngine;
use super::fault::FaultKind;
use super::firmware::OutOfBounds;
use super::state::Bank;
use crate::cycles::Cost;

/// Offset of a packet from the wire in its buffer: 128 bytes, and 8 that the MAC writes.
const PACKET_START: usize = 136;

/// The longest frame that fits in the packet buffer.
pub const FRAME_LEN_MAX: usize = PACKET_BUFFER - PACKET_START;

/// Byte addresses in local memory at entry: stack, packet vector, metadata, and nothing yet.
const LM_ADDR: [u32; 4] = [0x400, 0x100, 0x0e0, 0];
/// First word of the packet vector, and the words of it that programs use.
const VECTOR: u32 = LM_ADDR[1] / 4;
const VECTOR_LENGTH: u32 = VECTOR;
const VECTOR_POINTER: u32 = VECTOR + 2;
const VECTOR_FLAGS: u32 = VECTOR + 4;
const VECTOR_QUEUE: u32 = VECTOR + 6;
const LENGTH_MASK: u32 = 0x3fff;
const QUEUE_SELECTED: u32 = 1 << 4;

/// Register, bank A, that holds the address of the stack.
const STACK_BASE: u8 = 22;

/// What a program leaves, beside the packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result word.
    pub result: ResultWord,
    /// The RX queue that the program chose.
    pub queue: Option<u8>,
    /// What the run has cost.
    pub cost: Cost,
}

/// What a program tells the firmware to do, register A0 at exit: bit 16 pass, 17 drop,
/// 18 redirect; bits 20 to 23 count pass, drop, redirect, abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultWord(pub u32);

impl ResultWord {
    /// The packet counts as dropped.
    pub const fn counts_drop(self) -> bool {
        self.0 >> 21 & 1 == 1
    }

    /// The action as the firmware carries it out, or `None` if the word names none. A redirect
    /// sends the packet out of the port that it came from, which is XDP's transmit.
    pub fn xdp_action(self) -> Option<XdpAction> {
        let bit = |bit: u32| self.0 >> bit & 1 == 1;
        if bit(17) {
            Some(if bit(23) {
                XdpAction::Aborted
            } else {
                XdpAction::Drop
            })
        } else if bit(16) {
            Some(XdpAction::Pass)
        } else if bit(18) {
            Some(XdpAction::Tx)
        } else {
            None
        }
    }
}

/// Packet buffer of an ME context.
#[derive(Debug)]
pub(super) struct PacketBuffer {
    bytes: Box<[u8]>,
    /// Bytes that may be other than zero.
    used: Range<usize>,
}

impl PacketBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; PACKET_BUFFER].into(),
            used: 0..0,
        }
    }

    fn fill(&mut self, frame: &[u8]) {
        self.bytes[self.used.clone()].fill(0);
        self.used = PACKET_START..PACKET_START + frame.len();
        self.bytes[self.used.clone()].copy_from_slice(frame);
    }
}

impl MicroEngine {
    /// Sets everything up as the firmware does before it branches to a program.
    pub(super) fn enter(&mut self, frame: &[u8]) -> Result<(), FaultKind> {
        if frame.len() > FRAME_LEN_MAX {
            return Err(FaultKind::FrameTooLong {
                len: frame.len(),
                max: FRAME_LEN_MAX,
            });
        }
        self.packet.fill(frame);
        let state = &mut self.state;
        state.reset(LM_ADDR);
        state.set_gpr(Bank::A, STACK_BASE, LM_ADDR[0]);
        state.set_local_memory(VECTOR_LENGTH, frame.len() as u32);
        state.set_local_memory(VECTOR_POINTER, PACKET_BASE | PACKET_START as u32);
        Ok(())
    }

    /// What the program left, once it has branched to the firmware's exit.
    pub(super) fn leave(&self) -> Result<Outcome, FaultKind> {
        self.packet_bytes(self.packet_range().start, self.packet_range().len())
            .map_err(|_| FaultKind::PacketVector {
                offset: self.packet_range().start,
                len: self.packet_range().len(),
            })?;
        let flags = self.state.local_memory(VECTOR_FLAGS);
        let queue = self.state.local_memory(VECTOR_QUEUE) as u8;
        Ok(Outcome {
            result: ResultWord(self.state.gpr(Bank::A, 0)),
            queue: (flags & QUEUE_SELECTED != 0).then_some(queue),
            cost: self.state.cost,
        })
    }

    /// The packet: after a run as the program left it.
    pub fn packet(&self) -> &[u8] {
        self.packet.bytes.get(self.packet_range()).unwrap_or(&[])
    }

    /// Bytes by which the program moved the start of the packet, forward if positive.
    pub fn packet_shift(&self) -> isize {
        self.packet_range().start.cast_signed() - PACKET_START.cast_signed()
    }

    fn packet_range(&self) -> Range<usize> {
        let offset = self.state.local_memory(VECTOR_POINTER) as usize % PACKET_BUFFER;
        let len = self.state.local_memory(VECTOR_LENGTH) & LENGTH_MASK;
        offset..offset + len as usize
    }

    /// How many of these bytes are no part of the packet.
    pub(super) fn outside_packet(&self, offset: usize, len: usize) -> usize {
        let packet = self.packet_range();
        let before = packet.start.saturating_sub(offset);
        let behind = (offset + len).saturating_sub(packet.end);
        (before + behind).min(len)
    }

    pub(super) fn packet_bytes(&self, offset: usize, len: usize) -> Result<&[u8], OutOfBounds> {
        self.packet
            .bytes
            .get(offset..offset + len)
            .ok_or(outside(offset, len))
    }

    pub(super) fn packet_bytes_mut(
        &mut self,
        offset: usize,
        len: usize,
    ) -> Result<&mut [u8], OutOfBounds> {
        let packet = &mut self.packet;
        let bytes = packet
            .bytes
            .get_mut(offset..offset + len)
            .ok_or(outside(offset, len))?;
        let used = &mut packet.used;
        *used = used.start.min(offset)..used.end.max(offset + len);
        Ok(bytes)
    }
}

fn outside(offset: usize, len: usize) -> OutOfBounds {
    OutOfBounds {
        address: u64::from(PACKET_BASE) + offset as u64,
        len,
    }
}
