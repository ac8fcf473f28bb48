//! Dynptrs, helpers and kernel functions alike: the 16 bytes on the program's stack, and the
//! memory behind them.

use iom_core::abi::Frame;
use iom_core::helper::{self, Dynptr, DynptrKind, number};
use iom_core::kfunc::Kfunc;
use iom_core::map::Errno;
use iom_core::module::ProgramType;

use super::address::{self, Kind};
use super::context::packet_start;
use super::execute::{Machine, Packet};
use super::helpers::{Call, status};
use super::memory::Fault;

/// `BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH`: what a write to a socket buffer may ask for.
const SKB_STORE_FLAGS: u64 = 1 | 2;
/// Bytes from the packet's start that a pointer into it may be away: `bpf_xdp_pointer`.
const POINTER_MAX: usize = 0xffff;

impl Machine<'_> {
    /// Calls a helper of this file.
    pub(super) fn dynptr_helper(
        &mut self,
        call: &Call,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        match call.helper {
            number::DYNPTR_FROM_MEM => {
                let size = call.get(2) as u32;
                let made = Dynptr::new(call.get(1), DynptrKind::Local, size, call.get(3));
                self.make_dynptr(call.get(4), made, packet)
            }
            number::RINGBUF_RESERVE_DYNPTR => self.reserve_dynptr(call, packet),
            number::RINGBUF_SUBMIT_DYNPTR | number::RINGBUF_DISCARD_DYNPTR => {
                self.give_up_dynptr(call, packet)
            }
            number::DYNPTR_READ => {
                let dynptr = self.dynptr(call.get(3), packet.frame)?;
                let (len, offset) = (call.get(2) as u32, call.get(4) as u32);
                let part = match dynptr.part(offset, len) {
                    Ok(part) if call.get(5) == 0 => part,
                    Ok(_) | Err(Errno::EINVAL) => return Ok(Errno::EINVAL.to_register()),
                    Err(errno) => return Ok(errno.to_register()),
                };
                match self.read_dynptr(&dynptr, part, len, packet.frame)? {
                    Ok(bytes) => {
                        self.write_some(packet.frame, call.get(1), &bytes)?;
                        Ok(0)
                    }
                    Err(errno) => Ok(errno.to_register()),
                }
            }
            number::DYNPTR_WRITE => self.write_dynptr(call, packet),
            // `bpf_dynptr_data`
            _ => {
                let dynptr = self.dynptr(call.get(1), packet.frame)?;
                let part = dynptr.part(call.get(2) as u32, call.get(3) as u32);
                let has_pointers = matches!(dynptr.kind, DynptrKind::Local | DynptrKind::Ringbuf);
                Ok(match part {
                    Ok(part) if has_pointers && !dynptr.read_only => {
                        dynptr.data.wrapping_add(part.into())
                    }
                    Ok(_) | Err(_) => 0,
                })
            }
        }
    }

    /// Calls a kernel function of this file.
    pub(super) fn dynptr_kfunc(
        &mut self,
        kfunc: Kfunc,
        call: &Call,
        program_type: ProgramType,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        let mut dynptr = match kfunc {
            Kfunc::DynptrFromXdp | Kfunc::DynptrFromSkb => {
                return self.dynptr_of_packet(call, program_type, packet);
            }
            _ => self.dynptr(call.get(1), packet.frame)?,
        };
        Ok(match kfunc {
            Kfunc::DynptrIsNull => dynptr.is_null().into(),
            Kfunc::DynptrIsRdonly => (!dynptr.is_null() && dynptr.read_only).into(),
            Kfunc::DynptrSize => match dynptr.size() {
                Ok(size) => size.into(),
                Err(errno) => errno.to_register() & u64::from(u32::MAX),
            },
            Kfunc::DynptrAdjust => {
                let adjusted = dynptr.adjust(call.get(2) as u32, call.get(3) as u32);
                self.put_dynptr(call.get(1), dynptr, packet.frame)?;
                status(adjusted) & u64::from(u32::MAX)
            }
            Kfunc::DynptrClone => {
                let made = dynptr.size().map(|_| dynptr);
                self.make_dynptr(call.get(2), made, packet)? & u64::from(u32::MAX)
            }
            Kfunc::DynptrSliceRdwr if dynptr.read_only => 0,
            // `bpf_dynptr_slice` and `bpf_dynptr_slice_rdwr`
            _ => self.slice(&dynptr, call, packet)?,
        })
    }

    /// The dynptr at an address.
    fn dynptr(&self, at: u64, frame: &Frame) -> Result<Dynptr, Fault> {
        let bytes = self.memory.read(frame, at, Dynptr::BYTES as u64)?;
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        Ok(Dynptr::from_bytes(bytes))
    }

    fn put_dynptr(&mut self, at: u64, dynptr: Dynptr, frame: &mut Frame) -> Result<(), Fault> {
        self.memory.write(frame, at, &dynptr.to_bytes())
    }

    /// Leaves a new dynptr at an address, or the null one with an error.
    fn make_dynptr(
        &mut self,
        at: u64,
        made: Result<Dynptr, Errno>,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        self.put_dynptr(at, made.unwrap_or(Dynptr::NULL), packet.frame)?;
        Ok(status(made.map(|_| ())))
    }

    fn reserve_dynptr(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let (size, flags) = (call.get(2) as u32, call.get(3));
        let ring = self.ring(call, packet)?;
        let made = match Dynptr::new(0, DynptrKind::Ringbuf, size, flags) {
            Err(_) if flags != 0 => Err(Errno::EINVAL),
            Err(errno) => Err(errno),
            Ok(mut dynptr) => match ring.reserve(size.into(), 0) {
                Some(bytes) => {
                    dynptr.data = self.memory.record_address(bytes, ring);
                    Ok(dynptr)
                }
                None => Err(Errno::EINVAL),
            },
        };
        self.make_dynptr(call.get(4), made, packet)
    }

    fn give_up_dynptr(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let dynptr = self.dynptr(call.get(1), packet.frame)?;
        if dynptr.is_null() {
            return Ok(0);
        }
        let Some((record, ring)) = self.memory.take_record(dynptr.data) else {
            return Err(call.unfit(1, "the dynptr of a reserved ring-buffer record"));
        };
        match call.helper {
            number::RINGBUF_SUBMIT_DYNPTR => ring.submit(record.address()),
            _ => ring.discard(record.address()),
        };
        self.put_dynptr(call.get(1), Dynptr::NULL, packet.frame)?;
        Ok(0)
    }

    fn dynptr_of_packet(
        &mut self,
        call: &Call,
        program_type: ProgramType,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        call.check_context(1)?;
        let kind = match program_type {
            ProgramType::Xdp | ProgramType::Raw => DynptrKind::Xdp,
            ProgramType::SchedCls | ProgramType::SocketFilter => DynptrKind::Skb,
        };
        let len = packet.frame.len() as u32;
        let made = Dynptr::new(call.get(1), kind, len, call.get(2)).map(|mut dynptr| {
            let start = packet_start(program_type) as u32;
            if dynptr.adjust(start.min(len), len).is_ok() {
                // Linux gives programs that may not write into packets another function.
                dynptr.read_only = program_type == ProgramType::SocketFilter;
            }
            dynptr
        });
        Ok(self.make_dynptr(call.get(3), made, packet)? & u64::from(u32::MAX))
    }

    /// Bytes of a dynptr's memory.
    fn read_dynptr(
        &self,
        dynptr: &Dynptr,
        part: u32,
        len: u32,
        frame: &Frame,
    ) -> Result<Result<Vec<u8>, Errno>, Fault> {
        if len == 0 {
            return Ok(Ok(Vec::new()));
        }
        if let DynptrKind::Xdp | DynptrKind::Skb = dynptr.kind {
            let mut bytes = vec![0; len as usize];
            let read = helper::load_bytes(frame, part, &mut bytes);
            return Ok(read.map(|()| bytes));
        }
        let at = dynptr.data.wrapping_add(part.into());
        let bytes = self.memory.read(frame, at, len.into())?;
        Ok(Ok(bytes.into_owned()))
    }

    fn write_dynptr(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let dynptr = self.dynptr(call.get(1), packet.frame)?;
        let (offset, len, flags) = (call.get(2) as u32, call.get(4) as u32, call.get(5));
        if dynptr.read_only {
            return Ok(Errno::EINVAL.to_register());
        }
        let part = match dynptr.part(offset, len) {
            Ok(part) => part,
            Err(errno) => return Ok(errno.to_register()),
        };
        let allowed = if dynptr.kind == DynptrKind::Skb {
            SKB_STORE_FLAGS
        } else {
            0
        };
        if flags & !allowed != 0 {
            return Ok(Errno::EINVAL.to_register());
        }
        if len == 0 {
            return Ok(0);
        }
        let bytes = self.memory.read(packet.frame, call.get(3), len.into())?;
        let bytes = bytes.into_owned();
        if let DynptrKind::Xdp | DynptrKind::Skb = dynptr.kind {
            return Ok(status(helper::store_bytes(packet.frame, part, &bytes)));
        }
        let at = dynptr.data.wrapping_add(part.into());
        self.memory.write(packet.frame, at, &bytes)?;
        Ok(0)
    }

    /// A pointer to the bytes where they are; where the packet has them in more than one piece, to
    /// a copy in the program's buffer.
    fn slice(
        &mut self,
        dynptr: &Dynptr,
        call: &Call,
        packet: &mut Packet<'_>,
    ) -> Result<u64, Fault> {
        let (buffer, len) = (call.get(3), call.get(4) as u32);
        let Ok(part) = dynptr.part(call.get(2) as u32, len) else {
            return Ok(0);
        };
        if let DynptrKind::Local | DynptrKind::Ringbuf = dynptr.kind {
            return Ok(dynptr.data.wrapping_add(part.into()));
        }
        let in_fragments = dynptr.kind == DynptrKind::Xdp;
        if let Some(at) = packet_pointer(packet.frame, part, len, in_fragments) {
            return Ok(at);
        }
        if buffer == 0 {
            return Ok(0);
        }
        match self.read_dynptr(dynptr, part, len, packet.frame)? {
            Ok(bytes) => {
                self.write_some(packet.frame, buffer, &bytes)?;
                Ok(buffer)
            }
            Err(_) => Ok(0),
        }
    }

    /// Writes bytes, if there are any: no address is looked at for none.
    fn write_some(&mut self, frame: &mut Frame, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.memory.write(frame, at, bytes)
    }
}

/// The address of bytes of the packet that lie in one piece.
fn packet_pointer(frame: &Frame, offset: u32, len: u32, in_fragments: bool) -> Option<u64> {
    let (mut offset, len) = (offset as usize, len as usize);
    if offset > POINTER_MAX || len > POINTER_MAX {
        return None;
    }
    let linear = frame.linear().len();
    if offset < linear {
        let at = (frame.data() + offset) as u32;
        return (offset + len <= linear).then(|| address::address(Kind::Packet, 0, at));
    }
    offset -= linear;
    for (number, fragment) in (0..).zip(frame.fragments()) {
        let size = fragment.bytes().len();
        if offset < size {
            let inside = in_fragments && offset + len <= size;
            return inside.then(|| address::address(Kind::Fragment, number, offset as u32));
        }
        offset -= size;
    }
    None
}
