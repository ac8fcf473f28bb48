//! Calls: of helpers, with the checks of their arguments (`check_helper_call`), of the program's
//! own functions, and returns.

use super::alu::MAX_OFFSET;
use super::dynptr::{KnownDynptr, dynptr_memory};
use super::explore::{Next, Verifier};
use super::linux_6_1::Rules;
use super::memory::{Access, signed_bits};
use super::prototype::{Gives, Prototype, Takes, is_allowed, prototype};
use super::register::{Kind, Register, Socket};
use super::reject::{Check, reject};
use super::stack::HelperUse;
use crate::helper::{self, Argument, DynptrKind, Returns, number};
use crate::isa::{CallTarget, Reg};
use crate::map::{MapFlags, MapType};

/// What the arguments of a call say about each other.
#[derive(Default)]
struct CallMeta {
    map: Option<u32>,
    constant_key: Option<u64>,
    /// The register whose reference is given up.
    released: bool,
    reference: u32,
    record_size: i32,
    /// The function to call.
    callback: Option<usize>,
    /// The dynptr that the helper takes, and the register of the one that it gives up.
    dynptr: Option<KnownDynptr>,
    dynptr_released: Option<Reg>,
}

impl Verifier<'_> {
    pub(super) fn call(&mut self, target: CallTarget) -> Check<Next> {
        self.check_call_with_lock(target)?;
        match target {
            CallTarget::Helper(number) => self.call_helper(number).map(|()| Next::Fall),
            CallTarget::Local(_) => self.call_function(),
            CallTarget::Kernel(kfunc) => self.call_kfunc(kfunc).map(|()| Next::Fall),
            CallTarget::Kfunc { btf_id, .. } => reject(format!(
                "calling kernel function with BTF id {btf_id} is not supported"
            )),
        }
    }

    pub(super) fn clear_caller_saved(&mut self) {
        for register in &mut self.state.frame_mut().registers[..6] {
            *register = Register::NOT_INIT;
        }
    }

    /// Refuses to go on while references are held.
    pub(super) fn check_leaks(&self, before: &str) -> Check {
        if self.state.references.is_empty() {
            return Ok(());
        }
        let lines = self.state.references.iter();
        let mut messages: Vec<_> = lines
            .map(|(id, insn)| format!("Unreleased reference id={id} alloc_insn={insn}"))
            .collect();
        messages.push(format!("{before} would lead to reference leak"));
        Err(super::reject::Rejection { messages })
    }

    fn call_helper(&mut self, number: u32) -> Check {
        let Some(helper) = helper::by_number(number) else {
            return reject(format!("invalid func unknown#{number}"));
        };
        let bare = helper.name;
        if !is_allowed(number, self.program.program_type) {
            return reject(format!(
                "program of this type cannot use helper {bare}#{number}"
            ));
        }
        let Some(prototype) = prototype(number, self.program.program_type) else {
            return reject(format!("helper {bare}#{number} is not supported"));
        };
        if prototype.gpl_only && !self.module.is_gpl_compatible() {
            return reject("cannot call GPL-restricted function from non-GPL compatible program");
        }
        let mut meta = CallMeta::default();
        for (index, takes) in prototype.arguments.iter().enumerate() {
            self.check_argument(number, &prototype, index, *takes, &mut meta)?;
        }
        self.check_map_is_changeable(number, meta.map)?;
        self.check_map_fits(number, meta.map)?;
        self.check_dynptr_call(number, &meta)?;
        if meta.released {
            self.release_reference(meta.reference, number)?;
        }
        if number == number::TAIL_CALL {
            self.mark_tail_call_key(meta.map);
            self.check_leaks("tail_call")?;
            self.check_no_lock("tail_call")?;
        }
        if let Some(function) = meta.callback {
            self.call_back(number, function)?;
        }
        if number == number::SNPRINTF {
            self.check_format(Reg::R3, Reg::R5)?;
        }
        self.clear_caller_saved();
        let result = self.helper_result(&prototype, &meta);
        self.set(Reg::R0, result);
        // Where a tail call of the entry function comes back, it failed, and nothing was changed.
        let came_back = number == number::TAIL_CALL && self.state.current() == 0;
        if prototype.changes_packet && !came_back {
            self.state.forget_packet_pointers();
        }
        Ok(())
    }

    fn check_dynptr_argument(
        &mut self,
        argument: Argument,
        reg: Reg,
        meta: &mut CallMeta,
    ) -> Check {
        match argument {
            Argument::DynptrUninit(kind) => return self.make_dynptr(reg, kind, None),
            Argument::RingbufDynptr => {
                meta.dynptr = Some(self.check_released_dynptr(reg)?);
                meta.dynptr_released = Some(reg);
            }
            _ => meta.dynptr = Some(self.use_dynptr(reg)?),
        }
        Ok(())
    }

    /// What helpers with dynptrs ask beyond their arguments, and do.
    fn check_dynptr_call(&mut self, number: u32, meta: &CallMeta) -> Check {
        let data = self.state.reg(1).kind;
        let is_value = matches!(
            data,
            Kind::MapValue {
                nullable: false,
                ..
            }
        );
        if number == number::DYNPTR_FROM_MEM && !is_value {
            let name = data.name();
            return reject(format!(
                "Unsupported reg type {name} for bpf_dynptr_from_mem data"
            ));
        }
        if let (Some(reg), Some(dynptr)) = (meta.dynptr_released, meta.dynptr) {
            self.release_dynptr(reg, dynptr);
        }
        // A write to a socket buffer may move its bytes.
        let of_skb = meta
            .dynptr
            .is_some_and(|dynptr| dynptr.kind == DynptrKind::Skb);
        if number == number::DYNPTR_WRITE && of_skb {
            self.state.forget_packet_pointers();
        }
        Ok(())
    }

    fn release_reference(&mut self, id: u32, number: u32) -> Check {
        if !self.state.release(id) {
            let name = helper::by_number(number).map_or("", |helper| helper.name);
            return reject(format!(
                "func {name}#{number} reference has not been acquired before"
            ));
        }
        for register in self.state.all_registers() {
            if register.reference == id {
                *register = Register::UNKNOWN;
            }
        }
        Ok(())
    }

    /// A constant index of a tail call is built into the jump, so paths must agree on it.
    fn mark_tail_call_key(&mut self, map: Option<u32>) {
        let entries = map.map_or(0, |map| self.map(map).max_entries);
        let key = self.state.reg(3).scalar.as_const(false);
        if key.is_some_and(|key| key < u64::from(entries)) {
            self.mark_precise(3);
        }
    }

    fn helper_result(&mut self, prototype: &Prototype, meta: &CallMeta) -> Register {
        let found = |socket| Kind::Socket {
            socket,
            nullable: true,
        };
        let (kind, acquired) = match prototype.gives {
            Gives::Known(Returns::Scalar) => return Register::UNKNOWN,
            Gives::Known(Returns::Nothing) => return Register::NOT_INIT,
            Gives::Known(Returns::MapValueOrNull) => {
                let map = meta.map.unwrap_or(0);
                let nullable = !self.key_exists(map, meta.constant_key);
                (Kind::MapValue { map, nullable }, false)
            }
            Gives::Known(Returns::DynptrMemoryOrNull) => {
                let mut register = meta.dynptr.map_or(Register::UNKNOWN, |dynptr| {
                    dynptr_memory(dynptr, meta.record_size as u64)
                });
                register.id = self.new_id();
                return register;
            }
            Gives::Known(Returns::RingbufRecordOrNull) => (Kind::Record { nullable: true }, true),
            Gives::Known(Returns::SocketOrNull) => (found(Socket::Full), true),
            Gives::Known(Returns::CommonSocketOrNull) => (found(Socket::Common), true),
            Gives::Socket { socket, acquired } => (found(socket), acquired),
        };
        let mut register = Register::pointer(kind);
        if matches!(kind, Kind::Record { .. }) {
            register.range = meta.record_size;
        }
        if kind.nullable() {
            register.id = self.new_id();
        }
        if acquired {
            let id = self.new_id();
            self.state.references.push((id, self.insn));
            (register.id, register.reference) = (id, id);
        } else if prototype.casts {
            register.reference = meta.reference;
        }
        register
    }

    /// Elements of arrays exist; a constant index that is in bounds finds one.
    fn key_exists(&self, map: u32, key: Option<u64>) -> bool {
        let spec = self.map(map);
        let array = matches!(spec.map_type, MapType::Array | MapType::PercpuArray);
        // Arrays of any length may stand in for such an inner map.
        let fixed = !spec.flags.contains(MapFlags::INNER_MAP);
        array && fixed && key.is_some_and(|key| key < u64::from(spec.max_entries))
    }

    fn check_argument(
        &mut self,
        helper: u32,
        prototype: &Prototype,
        index: usize,
        takes: Takes,
        meta: &mut CallMeta,
    ) -> Check {
        let reg = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5][index];
        self.check_read(reg)?;
        let register = *self.state.reg(reg.index());
        if takes == Takes::Known(Argument::Anything) {
            return Ok(());
        }
        if register.kind.is_packet() && !prototype.packet_access {
            return reject("helper access to the packet is not allowed");
        }
        let nullable = matches!(
            takes,
            Takes::Known(
                Argument::MemoryRead { nullable: true }
                    | Argument::MemoryReadWrite { nullable: true }
                    | Argument::StackOrNull
            ) | Takes::ContextOrNull
        );
        if !(nullable && register.is_null()) {
            check_kind(self.options.rules, reg, &register, takes)?;
            self.check_argument_offset(reg, &register, takes)?;
        }
        let releases = matches!(
            takes,
            Takes::Known(Argument::ReleasedSocket | Argument::RingbufRecord)
        );
        if releases {
            if register.reference == 0 && !register.is_null() {
                return reject(format!(
                    "R{} must be referenced when passed to release function",
                    reg.number()
                ));
            }
            meta.released = true;
        }
        if register.reference != 0 {
            meta.reference = register.reference;
        }
        match takes {
            Takes::Known(Argument::SpinLock) => self.spin_lock(reg, helper == number::SPIN_LOCK),
            Takes::Known(Argument::ConstString) => self.check_string(reg),
            _ => self.check_argument_memory(prototype, index, takes, reg, meta),
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one short arm for each kind of argument"
    )]
    fn check_argument_memory(
        &mut self,
        prototype: &Prototype,
        index: usize,
        takes: Takes,
        reg: Reg,
        meta: &mut CallMeta,
    ) -> Check {
        let register = *self.state.reg(reg.index());
        let read = HelperUse {
            access: Access::Read,
            zero: false,
            fills: false,
        };
        match takes {
            Takes::Known(Argument::Map) => {
                if let Kind::Map(map) = register.kind {
                    meta.map = Some(map);
                }
            }
            Takes::Known(Argument::MapKey) => {
                let size = i64::from(self.map(meta.map.unwrap_or(0)).key_size);
                self.check_helper_memory(reg, size, read)?;
                let spec = self.map(meta.map.unwrap_or(0));
                let array = matches!(spec.map_type, MapType::Array | MapType::PercpuArray);
                if array && !self.options.rules.are_6_1() {
                    meta.constant_key = self.constant_key(reg, size);
                }
            }
            Takes::Known(Argument::MapValue) => {
                let size = i64::from(self.map(meta.map.unwrap_or(0)).value_size);
                self.check_helper_memory(reg, size, read)?;
            }
            Takes::Known(Argument::MapValueWrite) => {
                let spec = self.map(meta.map.unwrap_or(0));
                let size = i64::from(spec.value_size);
                let fill = HelperUse {
                    access: Access::Write,
                    zero: false,
                    fills: true,
                };
                let is_bloom = spec.map_type == MapType::BloomFilter;
                self.check_helper_memory(reg, size, if is_bloom { read } else { fill })?;
            }
            Takes::Known(
                takes @ (Argument::FixedWrite { bytes } | Argument::FixedReadWrite { bytes }),
            ) => {
                let fill = HelperUse {
                    access: Access::Write,
                    zero: false,
                    fills: matches!(takes, Argument::FixedWrite { .. }),
                };
                self.check_helper_memory(reg, bytes.into(), fill)?;
            }
            Takes::Known(Argument::FixedRead { bytes }) => {
                self.check_helper_memory(reg, bytes.into(), read)?;
            }
            Takes::Known(Argument::Callback) => {
                if let Kind::Function(function) = register.kind {
                    meta.callback = Some(function as usize);
                }
            }
            Takes::Known(Argument::Size { zero }) => {
                let memory = prototype.arguments[index - 1];
                self.check_size(reg, memory, zero)?;
            }
            Takes::Known(
                dynptr @ (Argument::Dynptr | Argument::DynptrUninit(_) | Argument::RingbufDynptr),
            ) => self.check_dynptr_argument(dynptr, reg, meta)?,
            Takes::Known(Argument::AllocationSize | Argument::ReturnedSize) => {
                self.check_allocation(reg, meta)?;
            }
            Takes::Known(
                Argument::Anything
                | Argument::Context
                | Argument::MemoryRead { .. }
                | Argument::MemoryWrite
                | Argument::MemoryReadWrite { .. }
                | Argument::ConstString
                | Argument::SpinLock
                | Argument::StackOrNull
                | Argument::RingbufRecord
                | Argument::ReleasedSocket
                | Argument::Socket,
            )
            | Takes::AnySocket
            | Takes::AnySocketOrPointer
            | Takes::ContextOrNull => {}
        }
        Ok(())
    }

    fn check_allocation(&mut self, reg: Reg, meta: &mut CallMeta) -> Check {
        let Some(size) = self.state.reg(reg.index()).scalar.as_const(false) else {
            return reject(format!("R{} is not a known constant'", reg.number()));
        };
        meta.record_size = i32::try_from(size).unwrap_or(i32::MAX);
        self.mark_precise(reg.index());
        Ok(())
    }

    /// Checks a length and, with it, the memory in the register before (`check_mem_size_reg`).
    fn check_size(&mut self, reg: Reg, memory: Takes, zero: bool) -> Check {
        let (number, scalar) = (reg.number(), self.state.reg(reg.index()).scalar);
        if scalar.smin < 0 {
            return reject(format!(
                "R{number} min value is negative, either use unsigned or 'var &= const'"
            ));
        }
        if scalar.umin == 0 && !zero {
            return reject(format!(
                "R{number} invalid zero-sized read: u64=[{},{}]",
                scalar.umin as i64, scalar.umax as i64
            ));
        }
        if scalar.umax >= MAX_OFFSET as u64 {
            return reject(format!(
                "R{number} unbounded memory access, use 'var &= const' or 'if (var < const)'"
            ));
        }
        let fills = memory == Takes::Known(Argument::MemoryWrite);
        let writes = fills || matches!(memory, Takes::Known(Argument::MemoryReadWrite { .. }));
        let how = HelperUse {
            access: if writes { Access::Write } else { Access::Read },
            zero,
            fills: fills && scalar.is_const(),
        };
        let base = Reg::new(number - 1).unwrap_or(Reg::R1);
        self.check_helper_memory(base, scalar.umax as i64, how)?;
        self.mark_precise(reg.index());
        Ok(())
    }

    /// Checks memory that a helper reads or fills (`check_helper_mem_access`).
    pub(super) fn check_helper_memory(&mut self, reg: Reg, size: i64, how: HelperUse) -> Check {
        let register = *self.state.reg(reg.index());
        let off = i64::from(register.offset);
        match register.kind {
            Kind::Packet | Kind::PacketMeta => self.check_packet(reg, off, size, how.zero),
            Kind::MapValue {
                map,
                nullable: false,
            } => {
                self.check_map_rights(map, (off, size), how.access)?;
                self.check_map_value(reg, map, off, size, how.zero)?;
                self.check_fields(reg, map, (off, size), false)
            }
            Kind::MapKey(map) => {
                if how.access == Access::Write {
                    return reject(format!("R{} cannot write into map_key", reg.number()));
                }
                let limit = self.map(map).key_size.into();
                self.check_region(reg, off, size, limit, how.zero)
            }
            Kind::Memory {
                nullable: false,
                read_only: true,
                ..
            } if how.access == Access::Write => {
                let (number, name) = (reg.number(), register.kind.name());
                reject(format!("R{number} cannot write into {name}"))
            }
            Kind::Record { nullable: false }
            | Kind::Memory {
                nullable: false, ..
            } => self.check_region(reg, off, size, register.range.into(), how.zero),
            Kind::Stack(_) => self.check_stack_range(reg, off, size, how),
            _ if how.zero && size == 0 && register.is_null() => Ok(()),
            kind => reject(format!(
                "R{} type={} expected=fp",
                reg.number(),
                kind.name()
            )),
        }
    }

    fn check_argument_offset(&self, reg: Reg, register: &Register, takes: Takes) -> Check {
        let number = reg.number();
        if matches!(
            takes,
            Takes::Known(Argument::ReleasedSocket | Argument::RingbufRecord)
        ) {
            if register.offset != 0 {
                return reject(format!(
                    "R{number} must have zero offset when passed to release func or trusted arg to kfunc"
                ));
            }
            if register.scalar.as_const(false) != Some(0) && !register.is_scalar() {
                let bits = signed_bits(register.scalar.bits);
                return reject(format!(
                    "variable {} access var_off={bits} disallowed",
                    register.kind.name()
                ));
            }
            return Ok(());
        }
        match register.kind {
            Kind::Context | Kind::Map(_) | Kind::Socket { .. } => self.check_no_offset(reg),
            _ => Ok(()),
        }
    }

    /// Programs cannot change a map that they may only read (`record_func_map`).
    fn check_map_is_changeable(&self, func: u32, map: Option<u32>) -> Check {
        let changes = matches!(
            func,
            number::MAP_UPDATE_ELEM
                | number::MAP_DELETE_ELEM
                | number::MAP_PUSH_ELEM
                | number::MAP_POP_ELEM
        );
        let read_only = map.is_some_and(|map| self.map(map).flags.contains(MapFlags::RDONLY_PROG));
        if changes && read_only {
            return reject("write into map forbidden");
        }
        Ok(())
    }

    /// Which helper takes which type of map (`check_map_func_compatibility`).
    fn check_map_fits(&self, func: u32, map: Option<u32>) -> Check {
        let Some(map) = map else {
            return Ok(());
        };
        let map_type = self.map(map).map_type;
        if func == number::TAIL_CALL && map_type != MapType::ProgArray {
            return reject("expected prog array map for tail call");
        }
        let only = match map_type {
            MapType::ProgArray => Some(&[number::TAIL_CALL][..]),
            MapType::PerfEventArray => Some(&[22, 25, 55][..]),
            MapType::CgroupArray => Some(&[33, 37][..]),
            MapType::Ringbuf => Some(&[130, 131, 134, 198][..]),
            MapType::Devmap | MapType::DevmapHash | MapType::Xskmap => {
                Some(&[number::REDIRECT_MAP, number::MAP_LOOKUP_ELEM][..])
            }
            MapType::Cpumap => Some(&[number::REDIRECT_MAP][..]),
            MapType::ArrayOfMaps | MapType::HashOfMaps => Some(&[number::MAP_LOOKUP_ELEM][..]),
            MapType::Queue | MapType::Stack => Some(&[87, 88, 89][..]),
            MapType::BloomFilter => Some(&[number::MAP_PUSH_ELEM, number::MAP_PEEK_ELEM][..]),
            _ => None,
        };
        let needs = match func {
            22 | 25 | 55 => map_type == MapType::PerfEventArray,
            33 | 37 => map_type == MapType::CgroupArray,
            195 => matches!(
                map_type,
                MapType::PercpuArray | MapType::PercpuHash | MapType::LruPercpuHash
            ),
            number::REDIRECT_MAP => matches!(
                map_type,
                MapType::Devmap | MapType::DevmapHash | MapType::Xskmap | MapType::Cpumap
            ),
            130 | 131 | 134 | 198 => map_type == MapType::Ringbuf,
            number::MAP_PUSH_ELEM | number::MAP_PEEK_ELEM => map_type.is_keyless(),
            number::MAP_POP_ELEM => matches!(map_type, MapType::Queue | MapType::Stack),
            _ => true,
        };
        if needs && only.is_none_or(|only| only.contains(&func)) {
            return Ok(());
        }
        let name = helper::by_number(func).map_or("", |helper| helper.name);
        let type_number = map_type.number();
        reject(format!(
            "cannot pass map_type {type_number} into func {name}#{func}"
        ))
    }
}

/// Refuses a kind of register that a helper does not take.
#[expect(
    clippy::too_many_lines,
    reason = "one short arm for each kind of argument"
)]
fn check_kind(rules: Rules, reg: Reg, register: &Register, takes: Takes) -> Check {
    let memory_kinds = match rules {
        Rules::Linux6_18 => {
            "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
        }
        Rules::Linux6_1 => "fp, pkt, pkt_meta, map_key, map_value, mem, alloc_mem, buf",
    };
    let kind = register.kind;
    let memory = matches!(
        kind,
        Kind::Stack(_)
            | Kind::Packet
            | Kind::PacketMeta
            | Kind::MapValue {
                nullable: false,
                ..
            }
            | Kind::MapKey(_)
            | Kind::Record { nullable: false }
            | Kind::Memory {
                nullable: false,
                read_only: false,
                ..
            }
    );
    let readable = matches!(
        kind,
        Kind::Memory {
            nullable: false,
            ..
        }
    );
    let (fits, expected) = match takes {
        Takes::Known(Argument::Context) | Takes::ContextOrNull => (kind == Kind::Context, "ctx"),
        Takes::Known(Argument::Map) => (matches!(kind, Kind::Map(_)), "map_ptr"),
        Takes::Known(Argument::Size { .. } | Argument::AllocationSize | Argument::ReturnedSize) => {
            (kind == Kind::Scalar, "scalar")
        }
        Takes::Known(Argument::RingbufRecord) => {
            (kind == Kind::Record { nullable: false }, "ringbuf_mem")
        }
        Takes::AnySocket => (is_socket(kind), "sock_common, sock, tcp_sock, xdp_sock"),
        Takes::AnySocketOrPointer | Takes::Known(Argument::ReleasedSocket | Argument::Socket) => (
            is_socket(kind),
            "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_",
        ),
        Takes::Known(Argument::MemoryRead { .. }) => (memory || readable, memory_kinds),
        Takes::Known(
            Argument::MapKey
            | Argument::MapValue
            | Argument::MapValueWrite
            | Argument::MemoryWrite
            | Argument::MemoryReadWrite { .. }
            | Argument::FixedRead { .. }
            | Argument::FixedWrite { .. }
            | Argument::FixedReadWrite { .. },
        ) => (memory, memory_kinds),
        Takes::Known(Argument::ConstString) => (
            matches!(
                kind,
                Kind::MapValue {
                    nullable: false,
                    ..
                }
            ),
            "map_value",
        ),
        Takes::Known(Argument::StackOrNull) => (matches!(kind, Kind::Stack(_)), "fp"),
        Takes::Known(Argument::Callback) => (matches!(kind, Kind::Function(_)), "func"),
        Takes::Known(Argument::SpinLock) => (
            matches!(
                kind,
                Kind::MapValue {
                    nullable: false,
                    ..
                }
            ),
            "map_value, ptr_",
        ),
        Takes::Known(Argument::Anything) => (true, ""),
        Takes::Known(Argument::Dynptr | Argument::DynptrUninit(_) | Argument::RingbufDynptr) => {
            (matches!(kind, Kind::Stack(_)), "fp, dynptr_ptr")
        }
    };
    if fits {
        return Ok(());
    }
    reject(format!(
        "R{} type={} expected={expected}",
        reg.number(),
        kind.name()
    ))
}

fn is_socket(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Socket {
            nullable: false,
            ..
        }
    )
}
