//! Memory commands: between transfer registers and the packet or memory.

use super::execute::MicroEngine;
use super::fault::FaultKind;
use super::firmware::{ADDRESS_MASK, CounterWidth, Memory, OutOfBounds};
use super::lower::CommandForm;
use crate::isa::{AddressMode, CommandOp};

/// What a command takes from the registers at the time it is issued.
#[derive(Clone, Copy)]
pub(super) struct Issued {
    form: CommandForm,
    address: Address,
    /// The command's own count, or that of the previous result.
    count: u8,
    previous: u32,
}

#[derive(Clone, Copy)]
enum Address {
    /// Offset in the packet buffer.
    Packet(usize),
    Memory(u64),
}

/// Address of the packet buffer: local CTM, packet number 0.
pub(super) const PACKET_BASE: u32 = 0x8000_0000;
/// Bytes of the packet buffer, which the low 13 bits of an address select.
pub(super) const PACKET_BUFFER: usize = 1 << 13;

/// Length override of an indirect command.
const OVERRIDE_LENGTH: u32 = 1 << 7;
/// Data override of an indirect command, in bits 5:3.
const OVERRIDE_DATA: u32 = 2 << 3;
const OVERRIDE_FIELD: u32 = 7 << 3;
/// In the count of an add: the counter has 64 bits.
const ADD_64: u8 = 1 << 2;

const TRANSFER_REGISTERS: usize = 32;

impl MicroEngine {
    pub(super) fn issue(&mut self, form: CommandForm) -> Result<Issued, FaultKind> {
        if let Some(wait) = form.wait {
            self.state.cost.waits.count(wait);
        }
        let (a, b) = (self.state.read(form.a), self.state.read(form.b));
        let wide = |high: u32, low: u32| {
            (u64::from(high) << 8).wrapping_add(u64::from(low)) & ADDRESS_MASK
        };
        let address = match form.mode {
            AddressMode::Bits32 => packet_address(a.wrapping_add(b))?,
            AddressMode::Bits40Ab => Address::Memory(wide(a, b)),
            AddressMode::Bits40Ba => Address::Memory(wide(b, a)),
        };
        let previous = self.state.previous;
        let count = if form.indirect && previous & OVERRIDE_LENGTH != 0 {
            (previous >> 8 & 0x1f) as u8
        } else {
            form.count
        };
        Ok(Issued {
            form,
            address,
            count,
            previous,
        })
    }

    pub(super) fn perform<M: Memory>(
        &mut self,
        command: Issued,
        memory: &mut M,
    ) -> Result<(), FaultKind> {
        let units = usize::from(command.count) + 1;
        match command.form.op {
            CommandOp::Read8 => self.read(command, units, u32::from_be_bytes, memory),
            CommandOp::Read32Swap => self.read(command, 4 * units, u32::from_le_bytes, memory),
            CommandOp::Write8Swap => self.write(command, units, memory),
            CommandOp::Write32Swap => self.write(command, 4 * units, memory),
            CommandOp::Add => {
                let [low, high] = [0, 1].map(|next| {
                    let register = (usize::from(command.form.xfer) + next) % TRANSFER_REGISTERS;
                    u64::from(self.state.transfer_out()[register])
                });
                Self::add(command, high << 32 | low, memory)
            }
            CommandOp::AddImm => {
                if command.previous & OVERRIDE_FIELD != OVERRIDE_DATA {
                    return Err(FaultKind::NoImmediateData);
                }
                Self::add(command, u64::from(command.previous >> 16), memory)
            }
            CommandOp::Read32 | CommandOp::Read32Le | CommandOp::ReadLe | CommandOp::ReadSwapLe => {
                Err(FaultKind::NotModelled {
                    what: "this memory command",
                })
            }
        }
    }

    fn read<M: Memory>(
        &mut self,
        command: Issued,
        len: usize,
        word: fn([u8; 4]) -> u32,
        memory: &mut M,
    ) -> Result<(), FaultKind> {
        let first = usize::from(command.form.xfer);
        let words = len.div_ceil(4);
        check_registers(first, words)?;
        let mut bytes = [0; 4 * TRANSFER_REGISTERS];
        match command.address {
            Address::Packet(offset) => {
                bytes[..len].copy_from_slice(self.packet_bytes(offset, len)?);
                let beyond = self.outside_packet(offset, len);
                self.state.note_outside(len, beyond);
            }
            Address::Memory(address) => {
                memory.read(address, &mut bytes[..len])?;
            }
        }
        let (chunks, _) = bytes.as_chunks::<4>();
        let registers = &mut self.state.transfer_in()[first..first + words];
        for (register, chunk) in registers.iter_mut().zip(chunks) {
            *register = word(*chunk);
        }
        Ok(())
    }

    fn write<M: Memory>(
        &mut self,
        command: Issued,
        len: usize,
        memory: &mut M,
    ) -> Result<(), FaultKind> {
        let first = usize::from(command.form.xfer);
        let words = len.div_ceil(4);
        check_registers(first, words)?;
        let mut bytes = [0; 4 * TRANSFER_REGISTERS];
        let registers = &self.state.transfer_out()[first..first + words];
        for (chunk, register) in bytes.chunks_exact_mut(4).zip(registers) {
            chunk.copy_from_slice(&register.to_le_bytes());
        }
        match command.address {
            Address::Packet(offset) => {
                self.packet_bytes_mut(offset, len)?
                    .copy_from_slice(&bytes[..len]);
            }
            Address::Memory(address) => {
                memory.write(address, &bytes[..len])?;
            }
        }
        Ok(())
    }

    fn add<M: Memory>(command: Issued, addend: u64, memory: &mut M) -> Result<(), FaultKind> {
        let Address::Memory(address) = command.address else {
            return Err(FaultKind::NotModelled {
                what: "an atomic add in the packet buffer",
            });
        };
        let (width, addend) = if command.count & ADD_64 != 0 {
            (CounterWidth::Bits64, addend)
        } else {
            (CounterWidth::Bits32, addend & 0xffff_ffff)
        };
        Ok(memory.add(address, addend, width)?)
    }
}

/// The packet buffer is all that 32-bit addresses reach here.
fn packet_address(address: u32) -> Result<Address, OutOfBounds> {
    let offset = address ^ PACKET_BASE;
    if (offset as usize) < PACKET_BUFFER {
        Ok(Address::Packet(offset as usize))
    } else {
        Err(OutOfBounds {
            address: address.into(),
            len: 1,
        })
    }
}

fn check_registers(first: usize, words: usize) -> Result<(), FaultKind> {
    if first + words <= TRANSFER_REGISTERS {
        Ok(())
    } else {
        Err(FaultKind::TransferRegisters { first, words })
    }
}
