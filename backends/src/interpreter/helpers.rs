//! Helper calls: arguments from registers into slices and handles, the helper's body in core, its
//! result back into `r0`.

use iom_core::abi::{Environment, Event, TrapKind};
use iom_core::helper::{self, IpVersion, RedirectMapCall, TCP_BYTES, number};
use iom_core::isa::Reg;
use iom_core::kfunc::Kfunc;
use iom_core::map::{Errno, Map, MapType, Ringbuf};

use super::address::{self, Kind};
use super::callback::{Over, Repeat};
use super::execute::{Called, Machine, Packet, Registers};
use super::memory::Fault;

/// Tail calls for one packet at most: `MAX_TAIL_CALL_CNT`.
const TAIL_CALLS_MAX: u32 = 33;

/// Calls of one `bpf_loop` at most: `BPF_MAX_LOOPS`.
const LOOPS_MAX: u64 = 8 << 20;

/// Registers of the five arguments.
pub(super) const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// The call that is being made: its helper and its arguments.
pub(super) struct Call {
    /// Number of the helper; 0, which is none, for a kernel function.
    pub(super) helper: u32,
    name: Option<&'static str>,
    arguments: [u64; 5],
}

impl Call {
    /// A call of a kernel function.
    pub(super) fn of_kfunc(kfunc: Kfunc, arguments: [u64; 5]) -> Self {
        Self {
            helper: 0,
            name: Some(kfunc.name()),
            arguments,
        }
    }

    /// Argument from 1, as documents count them.
    pub(super) const fn get(&self, argument: u8) -> u64 {
        self.arguments[argument as usize - 1]
    }

    #[cold]
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "faults are boxed everywhere"
    )]
    pub(super) fn unfit(&self, argument: u8, expected: &'static str) -> Fault {
        let helper = || helper::by_number(self.helper).map(|helper| helper.name);
        Box::new(TrapKind::Argument {
            helper: self.name.or_else(helper).unwrap_or("a helper"),
            argument,
            value: self.get(argument),
            expected,
        })
    }

    pub(super) fn check_context(&self, argument: u8) -> Result<(), Fault> {
        if self.get(argument) == address::address(Kind::Context, 0, 0) {
            return Ok(());
        }
        Err(self.unfit(argument, "the context"))
    }
}

/// Whether `bpf_for_each_map_elem` goes through maps of this type.
const fn is_iterable(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::Array
            | MapType::PercpuArray
            | MapType::Hash
            | MapType::PercpuHash
            | MapType::LruHash
            | MapType::LruPercpuHash
    )
}

/// A helper's error as `r0`, or 0.
pub(super) fn status(result: Result<(), Errno>) -> u64 {
    result.map_or_else(Errno::to_register, |()| 0)
}

impl<'m> Machine<'m> {
    /// Calls a helper that the program was allowed to call when it was loaded.
    #[expect(clippy::too_many_lines, reason = "one arm for each helper")]
    pub(super) fn helper(
        &mut self,
        helper: u32,
        packet: &mut Packet<'_>,
        registers: &Registers,
    ) -> Result<Called<'m>, Fault> {
        let call = &Call {
            helper,
            name: None,
            arguments: ARGUMENTS.map(|reg| registers.get(reg)),
        };
        let value = match helper {
            number::MAP_LOOKUP_ELEM => self.map_lookup(call, packet)?,
            number::MAP_UPDATE_ELEM => self.map_update(call, packet)?,
            number::MAP_DELETE_ELEM => {
                let (_, map) = self.map(call, 1)?;
                let key = self.key(call, map, packet)?;
                status(map.delete(&key))
            }
            number::MAP_PUSH_ELEM | number::MAP_POP_ELEM | number::MAP_PEEK_ELEM => {
                self.queue_helper(call, packet)?
            }
            number::KTIME_GET_NS
            | number::KTIME_GET_BOOT_NS
            | number::KTIME_GET_COARSE_NS
            | number::KTIME_GET_TAI_NS => packet.frame.ktime_ns,
            number::JIFFIES64 => Environment::jiffies(packet.frame.ktime_ns),
            number::GET_PRANDOM_U32 => u64::from(packet.random.next_u32()),
            number::GET_SMP_PROCESSOR_ID => u64::from(self.queue.0),
            // All queues are on one node.
            number::GET_NUMA_NODE_ID => 0,
            number::TRACE_PRINTK
            | number::TRACE_VPRINTK
            | number::SNPRINTF
            | number::STRTOL
            | number::STRTOUL
            | number::STRNCMP => self.text_helper(call, packet)?,
            number::LOOP | number::FOR_EACH_MAP_ELEM => return self.repeat(call),
            number::TAIL_CALL => return self.tail_call(call, packet),
            number::REDIRECT => {
                u64::from(packet.redirect.redirect(call.get(1) as u32, call.get(2)))
            }
            number::REDIRECT_MAP => self.redirect_map(call, packet)?,
            number::PERF_EVENT_OUTPUT => self.perf_event_output(call, packet)?,
            number::FIB_LOOKUP | number::CHECK_MTU => self.routing(call, packet)?,
            number::CSUM_DIFF => self.csum_diff(call, packet)?,
            number::XDP_ADJUST_HEAD | number::XDP_ADJUST_META | number::XDP_ADJUST_TAIL => {
                call.check_context(1)?;
                let adjust = match helper {
                    number::XDP_ADJUST_HEAD => helper::adjust_head,
                    number::XDP_ADJUST_META => helper::adjust_meta,
                    _ => helper::adjust_tail,
                };
                status(adjust(packet.frame, call.get(2) as i32))
            }
            number::XDP_GET_BUFF_LEN => {
                call.check_context(1)?;
                packet.frame.len() as u64
            }
            number::XDP_LOAD_BYTES => self.load_bytes(call, packet)?,
            number::XDP_STORE_BYTES => self.store_bytes(call, packet)?,
            number::SPIN_LOCK | number::SPIN_UNLOCK => self.spin_lock(call)?,
            number::SKB_STORE_BYTES
            | number::L3_CSUM_REPLACE
            | number::L4_CSUM_REPLACE
            | number::GET_CGROUP_CLASSID
            | number::GET_ROUTE_REALM
            | number::SKB_LOAD_BYTES
            | number::SKB_LOAD_BYTES_RELATIVE
            | number::SKB_CHANGE_TYPE
            | number::GET_HASH_RECALC
            | number::SET_HASH
            | number::SET_HASH_INVALID
            | number::SKB_PULL_DATA
            | number::CSUM_UPDATE => self.socket_buffer(call, packet)?,
            number::SK_LOOKUP_TCP
            | number::SK_LOOKUP_UDP
            | number::SKC_LOOKUP_TCP
            | number::TCP_CHECK_SYNCOOKIE
            | number::TCP_GEN_SYNCOOKIE
            | number::SK_RELEASE => self.socket(call, packet)?,
            number::RINGBUF_QUERY => self.ring(call, packet)?.query(call.get(2)),
            number::RINGBUF_OUTPUT => self.ringbuf_output(call, packet)?,
            number::RINGBUF_RESERVE => self.ringbuf_reserve(call, packet)?,
            number::RINGBUF_SUBMIT | number::RINGBUF_DISCARD => {
                let Some((record, ring)) = self.memory.take_record(call.get(1)) else {
                    return Err(call.unfit(1, "a reserved ring-buffer record"));
                };
                match helper {
                    number::RINGBUF_SUBMIT => ring.submit(record.address()),
                    _ => ring.discard(record.address()),
                };
                0
            }
            number::TCP_RAW_GEN_SYNCOOKIE_IPV4
            | number::TCP_RAW_GEN_SYNCOOKIE_IPV6
            | number::TCP_RAW_CHECK_SYNCOOKIE_IPV4
            | number::TCP_RAW_CHECK_SYNCOOKIE_IPV6 => self.syncookie(call, packet)?,
            number::DYNPTR_FROM_MEM
            | number::RINGBUF_RESERVE_DYNPTR
            | number::RINGBUF_SUBMIT_DYNPTR
            | number::RINGBUF_DISCARD_DYNPTR
            | number::DYNPTR_READ
            | number::DYNPTR_WRITE
            | number::DYNPTR_DATA => self.dynptr_helper(call, packet)?,
            // Lowering lets no other number through.
            _ => return Err(call.unfit(1, "an argument of a helper that this engine has")),
        };
        Ok(Called::Returned(value))
    }

    fn map(&self, call: &Call, argument: u8) -> Result<(u32, &'m Map), Fault> {
        let at = call.get(argument);
        if address::kind(at) == Some(Kind::Map) && address::offset(at) == 0 {
            let index = address::number(at) as u32;
            if let Some(map) = self.maps.get(index) {
                return Ok((index, map));
            }
        }
        Err(call.unfit(argument, "a map"))
    }

    /// The key that the second argument points to.
    fn key<'a>(
        &'a self,
        call: &Call,
        map: &Map,
        packet: &'a Packet<'_>,
    ) -> Result<std::borrow::Cow<'a, [u8]>, Fault> {
        let len = u64::from(map.spec().key_size);
        self.memory.read(packet.frame, call.get(2), len)
    }

    fn map_lookup(&mut self, call: &Call, packet: &Packet<'_>) -> Result<u64, Fault> {
        let (_, map) = self.map(call, 1)?;
        let key = self.key(call, map, packet)?;
        if map.spec().map_type.holds_maps() {
            let inner = map.inner(&key);
            return Ok(inner.map_or(0, |inner| address::address(Kind::Map, inner, 0)));
        }
        let found = map.lookup(self.queue, &key);
        Ok(found.map_or(0, |value| self.memory.value_address(value, map)))
    }

    fn map_update(&mut self, call: &Call, packet: &Packet<'_>) -> Result<u64, Fault> {
        let (_, map) = self.map(call, 1)?;
        let key = self.key(call, map, packet)?;
        let len = u64::from(map.spec().value_size);
        let value = self.memory.read(packet.frame, call.get(3), len)?;
        Ok(status(map.update(self.queue, &key, &value, call.get(4))))
    }

    /// The value that the second argument points to.
    fn value(&self, call: &Call, map: &Map, packet: &Packet<'_>) -> Result<Vec<u8>, Fault> {
        let len = u64::from(map.spec().value_size);
        let value = self.memory.read(packet.frame, call.get(2), len)?;
        Ok(value.into_owned())
    }

    /// Helpers of queues, stacks and bloom filters.
    fn queue_helper(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let (_, map) = self.map(call, 1)?;
        let mut value = self.value(call, map, packet)?;
        let result = match call.helper {
            number::MAP_PUSH_ELEM => return Ok(status(map.push(&value, call.get(3)))),
            number::MAP_POP_ELEM => map.pop(&mut value),
            _ => map.peek(&mut value),
        };
        // A bloom filter leaves the value as it is, perhaps in memory that is read-only.
        if map.spec().map_type != MapType::BloomFilter {
            self.memory.write(packet.frame, call.get(2), &value)?;
        }
        Ok(status(result))
    }

    /// Falls through on an empty slot and after 33 calls; `r0` is then undefined, here 0.
    fn tail_call(&self, call: &Call, packet: &mut Packet<'_>) -> Result<Called<'m>, Fault> {
        call.check_context(1)?;
        let (_, map) = self.map(call, 2)?;
        let program = map.program(call.get(3) as u32);
        match program {
            Some(program) if packet.tail_calls < TAIL_CALLS_MAX => {
                packet.tail_calls += 1;
                Ok(Called::TailCall(program))
            }
            _ => Ok(Called::Returned(0)),
        }
    }

    fn repeat(&self, call: &Call) -> Result<Called<'m>, Fault> {
        let at = call.get(2);
        if address::kind(at) != Some(Kind::Function) || address::offset(at) != 0 {
            return Err(call.unfit(2, "a function of the program"));
        }
        let errno = |errno: Errno| Ok(Called::Returned(errno.to_register()));
        let flags = call.get(4);
        let over = if call.helper == number::LOOP {
            // Without flags Linux does not call the helper: it makes a loop of it, which compares
            // all of the number and sets the low half of `r0`.
            match (flags, call.get(1)) {
                (0, count) if count <= LOOPS_MAX => Over::Numbers(count),
                (0, _) => {
                    let low = Errno::E2BIG.to_register() as u32;
                    return Ok(Called::Returned(u64::from(low)));
                }
                _ => return errno(Errno::EINVAL),
            }
        } else {
            let (index, map) = self.map(call, 1)?;
            if !is_iterable(map.spec().map_type) {
                return Err(call.unfit(1, "an array or a hash"));
            }
            if flags != 0 {
                return errno(Errno::EINVAL);
            }
            let entries = map.contents().entries.into_iter();
            let keys: Vec<_> = entries.map(|entry| entry.key).collect();
            let keys = keys.into_iter();
            Over::Entries { map, index, keys }
        };
        Ok(Called::Repeat(Box::new(Repeat {
            function: address::number(at) as u32,
            context: call.get(3),
            done: 0,
            over,
        })))
    }

    fn redirect_map(&self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let (index, map) = self.map(call, 1)?;
        let Some(kind) = helper::redirect_kind(map.spec().map_type) else {
            return Err(call.unfit(1, "a map of interfaces, CPUs or sockets"));
        };
        let key = call.get(2) as u32;
        let entry = helper::map_target(map, self.queue, key);
        let call = RedirectMapCall {
            kind,
            map: index,
            key,
            flags: call.get(3),
        };
        Ok(u64::from(packet.redirect.redirect_map(call, entry)))
    }

    pub(super) fn ring(&self, call: &Call, packet: &mut Packet<'_>) -> Result<&'m Ringbuf, Fault> {
        let (_, map) = self.map(call, 1)?;
        packet.rings_used = true;
        map.ringbuf().ok_or_else(|| call.unfit(1, "a ring buffer"))
    }

    fn ringbuf_output(&self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let ring = self.ring(call, packet)?;
        let sample = self.memory.read(packet.frame, call.get(2), call.get(3))?;
        Ok(status(ring.output(&sample, call.get(4))))
    }

    fn ringbuf_reserve(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        let ring = self.ring(call, packet)?;
        let record = ring.reserve(call.get(2), call.get(3));
        Ok(record.map_or(0, |bytes| self.memory.record_address(bytes, ring)))
    }

    fn perf_event_output(&self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        call.check_context(1)?;
        let (index, map) = self.map(call, 2)?;
        if map.spec().map_type != MapType::PerfEventArray {
            return Err(call.unfit(2, "a perf event array"));
        }
        let data = self.memory.read(packet.frame, call.get(4), call.get(5))?;
        let rest = match helper::perf_event_packet(map, packet.frame, self.queue, call.get(3)) {
            Ok(rest) => rest,
            Err(errno) => return Ok(errno.to_register()),
        };
        let bytes = [&data, rest.as_slice()].concat();
        if let Some(recorder) = packet.recorder.as_deref_mut() {
            recorder.events.push(Event {
                packet_id: packet.frame.packet_id,
                map: index,
                bytes,
            });
        }
        Ok(0)
    }

    fn spin_lock(&mut self, call: &Call) -> Result<u64, Fault> {
        let at = call.get(1);
        let (done, expected) = match call.helper {
            number::SPIN_LOCK => (self.memory.lock(at), "a spin lock that becomes free"),
            _ => (self.memory.unlock(at), "the spin lock that is held"),
        };
        done.map(|()| 0).ok_or_else(|| call.unfit(1, expected))
    }

    fn syncookie(&self, call: &Call, packet: &Packet<'_>) -> Result<u64, Fault> {
        let version = match call.helper {
            number::TCP_RAW_GEN_SYNCOOKIE_IPV4 | number::TCP_RAW_CHECK_SYNCOOKIE_IPV4 => {
                IpVersion::V4
            }
            _ => IpVersion::V6,
        };
        let read = |argument, len| self.memory.read(packet.frame, call.get(argument), len);
        let ip = read(1, version.header_bytes() as u64)?;
        Ok(match call.helper {
            number::TCP_RAW_GEN_SYNCOOKIE_IPV4 | number::TCP_RAW_GEN_SYNCOOKIE_IPV6 => {
                let tcp = read(2, u64::from(call.get(3) as u32))?;
                helper::raw_gen_syncookie(version, &ip, &tcp).unwrap_or_else(Errno::to_register)
            }
            _ => {
                let tcp = read(2, TCP_BYTES as u64)?;
                status(helper::raw_check_syncookie(version, &ip, &tcp))
            }
        })
    }

    fn csum_diff(&self, call: &Call, packet: &Packet<'_>) -> Result<u64, Fault> {
        let part = |at: u64, len: u64| match len as u32 {
            0 => Ok([].as_slice().into()),
            len => self.memory.read(packet.frame, at, u64::from(len)),
        };
        let from = part(call.get(1), call.get(2))?;
        let to = part(call.get(3), call.get(4))?;
        Ok(u64::from(helper::csum_diff(&from, &to, call.get(5) as u32)))
    }

    fn load_bytes(&mut self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        call.check_context(1)?;
        let (at, len) = (call.get(3), u64::from(call.get(4) as u32));
        // The whole buffer must be the program's even if nothing is copied.
        let mut bytes = self.memory.read(packet.frame, at, len)?.into_owned();
        if let Err(errno) = helper::load_bytes(packet.frame, call.get(2) as u32, &mut bytes) {
            return Ok(errno.to_register());
        }
        self.memory.write(packet.frame, at, &bytes)?;
        Ok(0)
    }

    fn store_bytes(&self, call: &Call, packet: &mut Packet<'_>) -> Result<u64, Fault> {
        call.check_context(1)?;
        let len = u64::from(call.get(4) as u32);
        let bytes = self
            .memory
            .read(packet.frame, call.get(3), len)?
            .into_owned();
        Ok(status(helper::store_bytes(
            packet.frame,
            call.get(2) as u32,
            &bytes,
        )))
    }
}
