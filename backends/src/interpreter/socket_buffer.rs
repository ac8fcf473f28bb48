//! Helpers of programs with a socket buffer, and those that look for sockets, of which there are
//! none: no user space listens behind the simulated ports.

use iom_core::helper::{self, number};
use iom_core::map::Errno;

use super::context::packet_start;
use super::execute::{Machine, Packet};
use super::helpers::{Call, status};
use super::memory::Fault;

impl Machine<'_> {
    /// Calls a helper that takes the socket buffer.
    pub(super) fn socket_buffer(
        &mut self,
        call: &Call,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        call.check_context(1)?;
        let number = call.get(2) as u32;
        Ok(match call.helper {
            number::SKB_LOAD_BYTES | number::SKB_LOAD_BYTES_RELATIVE => {
                self.skb_load_bytes(call, packet)?
            }
            number::SKB_STORE_BYTES => {
                let len = u64::from(call.get(4) as u32);
                let bytes = self.memory.read(packet.frame, call.get(3), len)?;
                let bytes = bytes.into_owned();
                status(helper::skb_store_bytes(
                    packet.frame,
                    number,
                    &bytes,
                    call.get(5),
                ))
            }
            number::L3_CSUM_REPLACE | number::L4_CSUM_REPLACE => {
                let replace = match call.helper {
                    number::L3_CSUM_REPLACE => helper::l3_csum_replace,
                    _ => helper::l4_csum_replace,
                };
                let (from, to, flags) = (call.get(3), call.get(4), call.get(5));
                status(replace(packet.frame, number, from, to, flags))
            }
            number::GET_HASH_RECALC => u64::from(helper::get_hash_recalc(packet.frame)),
            number::SET_HASH | number::SET_HASH_INVALID => {
                let set = call.helper == number::SET_HASH;
                packet.frame.socket_buffer.hash = if set { number } else { 0 };
                0
            }
            number::SKB_PULL_DATA => status(helper::skb_pull_data(packet.frame, number)),
            number::SKB_CHANGE_TYPE => status(helper::skb_change_type(
                &mut packet.frame.socket_buffer,
                number,
            )),
            // No device summed the packet up.
            number::CSUM_UPDATE => Errno::ENOTSUPP.to_register(),
            // Classes and realms that nobody has set.
            _ => 0,
        })
    }

    fn skb_load_bytes(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let (at, len) = (call.get(3), u64::from(call.get(4) as u32));
        self.memory.check_room(packet.frame, at, len)?;
        let mut bytes = vec![0; len as usize];
        let offset = call.get(2) as u32;
        let loaded = if call.helper == number::SKB_LOAD_BYTES {
            let start = packet_start(packet.program_type);
            helper::skb_load_bytes(packet.frame, start, offset, &mut bytes)
        } else {
            let header = call.get(5) as u32;
            helper::skb_load_bytes_relative(packet.frame, offset, &mut bytes, header)
        };
        self.memory.write(packet.frame, at, &bytes)?;
        Ok(status(loaded))
    }

    /// Calls a helper that looks for a socket or gives one up.
    pub(super) fn socket(&self, call: &Call, packet: &Packet<'_>) -> Result<u64, Fault> {
        let takes_socket = [
            number::SK_RELEASE,
            number::TCP_CHECK_SYNCOOKIE,
            number::TCP_GEN_SYNCOOKIE,
        ];
        if takes_socket.contains(&call.helper) {
            return Err(call.unfit(1, "a socket that was found"));
        }
        call.check_context(1)?;
        let len = u64::from(call.get(3) as u32);
        self.memory.read(packet.frame, call.get(2), len)?;
        Ok(0)
    }
}
