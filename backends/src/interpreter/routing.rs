//! Helpers that ask the FIB: their parameters from the program's memory and back.

use iom_core::helper::{MtuCall, number};

use super::execute::{Machine, Packet};
use super::helpers::Call;
use super::memory::Fault;

impl Machine<'_> {
    /// Calls a helper of this file.
    pub(super) fn routing(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        call.check_context(1)?;
        match call.helper {
            number::FIB_LOOKUP => self.fib_lookup(call, packet),
            _ => self.check_mtu(call, packet),
        }
    }

    fn fib_lookup(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let (at, len) = (call.get(2), u64::from(call.get(3) as u32));
        let mut params = self.memory.read(packet.frame, at, len)?.into_owned();
        let result = match self.fib.lookup(&mut params, call.get(4) as u32) {
            Ok(result) => result as u64,
            Err(errno) => errno.to_register(),
        };
        self.memory.write(packet.frame, at, &params)?;
        Ok(result)
    }

    fn check_mtu(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let bytes = self.memory.read(packet.frame, call.get(3), 4)?;
        let mtu_len = bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let checked = self.fib.check_mtu(MtuCall {
            ingress: packet.frame.receive.ingress_ifindex,
            ifindex: call.get(2) as u32,
            mtu_len,
            packet_len: packet.frame.linear().len(),
            len_diff: call.get(4) as i32,
            flags: call.get(5),
        });
        match checked {
            Ok((result, mtu)) => {
                let mtu = mtu.to_le_bytes();
                self.memory.write(packet.frame, call.get(3), &mtu)?;
                Ok(result as u64)
            }
            Err(errno) => Ok(errno.to_register()),
        }
    }
}
