//! Calls of kernel functions: iterators and what the device knows of a packet. Results of 32 bits
//! are zero-extended, as compiled code leaves them.

use iom_core::abi::Frame;
use iom_core::isa::Reg;
use iom_core::kfunc::{Kfunc, NumberIterator};
use iom_core::map::Errno;
use iom_core::module::ProgramType;

use super::execute::{Machine, Packet, Registers};
use super::helpers::{ARGUMENTS, Call};
use super::memory::Fault;

/// An `int` as `r0`.
fn int(result: Result<(), Errno>) -> u64 {
    result.map_or_else(|errno| errno.to_register() & u64::from(u32::MAX), |()| 0)
}

impl Machine<'_> {
    /// Calls a kernel function that the program was allowed to call when it was loaded.
    pub(super) fn kfunc(
        &mut self,
        kfunc: Kfunc,
        program_type: ProgramType,
        packet: &mut Packet<'_>,
        registers: &Registers,
    ) -> Result<u64, Fault> {
        let call = &Call::of_kfunc(kfunc, ARGUMENTS.map(|reg: Reg| registers.get(reg)));
        match kfunc {
            Kfunc::IterNumNew => {
                let (iterator, made) = NumberIterator::new(call.get(2) as i32, call.get(3) as i32);
                self.put_iterator(call, iterator, packet.frame)?;
                Ok(int(made))
            }
            Kfunc::IterNumNext => {
                let bytes =
                    self.memory
                        .read(packet.frame, call.get(1), NumberIterator::BYTES as u64)?;
                let bytes = bytes.first_chunk().copied().unwrap_or_default();
                let mut iterator = NumberIterator::from_bytes(bytes);
                let more = iterator.advance();
                self.put_iterator(call, iterator, packet.frame)?;
                // The number is the first field of the iterator.
                Ok(if more { call.get(1) } else { 0 })
            }
            Kfunc::IterNumDestroy => {
                self.put_iterator(call, NumberIterator::default(), packet.frame)?;
                Ok(0)
            }
            Kfunc::XdpMetadataRxHash
            | Kfunc::XdpMetadataRxTimestamp
            | Kfunc::XdpMetadataRxVlanTag => self.receive_metadata(kfunc, call, packet),
            Kfunc::DynptrFromXdp
            | Kfunc::DynptrFromSkb
            | Kfunc::DynptrSlice
            | Kfunc::DynptrSliceRdwr
            | Kfunc::DynptrAdjust
            | Kfunc::DynptrSize
            | Kfunc::DynptrIsNull
            | Kfunc::DynptrIsRdonly
            | Kfunc::DynptrClone => self.dynptr_kfunc(kfunc, call, program_type, packet),
        }
    }

    fn put_iterator(
        &mut self,
        call: &Call,
        iterator: NumberIterator,
        frame: &mut Frame,
    ) -> Result<(), Fault> {
        self.memory.write(frame, call.get(1), &iterator.to_bytes())
    }

    /// What the simulated device knows of the packet.
    fn receive_metadata(
        &mut self,
        kfunc: Kfunc,
        call: &Call,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        call.check_context(1)?;
        let receive = packet.frame.receive;
        match kfunc {
            Kfunc::XdpMetadataRxHash => {
                let kind = receive.hash_type.to_le_bytes();
                let hash = receive.hash.to_le_bytes();
                self.memory.write(packet.frame, call.get(2), &hash)?;
                self.memory.write(packet.frame, call.get(3), &kind)?;
            }
            Kfunc::XdpMetadataRxTimestamp => {
                let time = packet.frame.time_ns.to_le_bytes();
                self.memory.write(packet.frame, call.get(2), &time)?;
            }
            _ if receive.vlan_protocol == 0 => return Ok(int(Err(Errno::ENODATA))),
            _ => {
                let protocol = receive.vlan_protocol.to_be_bytes();
                let tci = receive.vlan_tci.to_le_bytes();
                self.memory.write(packet.frame, call.get(2), &protocol)?;
                self.memory.write(packet.frame, call.get(3), &tci)?;
            }
        }
        Ok(0)
    }
}
