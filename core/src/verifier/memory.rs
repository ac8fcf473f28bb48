//! Loads, stores and atomic operations (`check_mem_access`): what may be accessed through each kind
//! of pointer, how far, and what is read.

use super::alu::MAX_OFFSET;
use super::context::{ContextAccess, context_access};
use super::explore::Verifier;
use super::facts::KnownBits;
use super::linux_6_1::Rules;
use super::maps::Special;
use super::register::{Kind, Register, Socket};
use super::reject::{Check, Rejection, reject};
use super::scalar::Scalar;
use super::tnum::Tnum;
use crate::isa::{AtomicOp, Operand, Reg, Size};
use crate::map::{InitialValue, MapFlags, MapSpec, MapType};
use crate::module::ProgramType;

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Who accesses memory: the instruction at hand through a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryAccess {
    pub(super) base: Reg,
    pub(super) off: i64,
    pub(super) size: i64,
    pub(super) access: Access,
    pub(super) sign_extend: bool,
    /// The access must be aligned whatever the options say.
    pub(super) aligned: bool,
}

impl Verifier<'_> {
    pub(super) fn load(
        &mut self,
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        off: i16,
    ) -> Check {
        self.check_read(base)?;
        self.check_write(dst)?;
        let kind = self.state.reg(base.index()).kind;
        let access = MemoryAccess {
            base,
            off: off.into(),
            size: size.bytes() as i64,
            access: Access::Read,
            sign_extend: signed,
            aligned: false,
        };
        let mut value = self
            .read_memory(access, Some(dst))?
            .unwrap_or(Register::UNKNOWN);
        let whole = size == Size::DW || signed || !value.is_scalar();
        value.half_written_at = if whole { 0 } else { self.insn as u32 + 1 };
        if value.is_scalar() {
            self.options.rules.sanitize(&mut value.scalar);
        }
        self.set(dst, value);
        self.check_same_kind(kind)
    }

    pub(super) fn store(&mut self, size: Size, base: Reg, off: i16, src: Operand) -> Check {
        if let Operand::Reg(src) = src {
            self.check_read(src)?;
        }
        self.check_read(base)?;
        let kind = self.state.reg(base.index()).kind;
        let access = MemoryAccess {
            base,
            off: off.into(),
            size: size.bytes() as i64,
            access: Access::Write,
            sign_extend: false,
            aligned: false,
        };
        self.write_memory(access, Some(src))?;
        self.check_same_kind(kind)
    }

    pub(super) fn atomic(
        &mut self,
        op: AtomicOp,
        size: Size,
        base: Reg,
        off: i16,
        src: Reg,
    ) -> Check {
        self.check_read(src)?;
        self.check_read(base)?;
        if op == AtomicOp::CompareExchange {
            self.check_read(Reg::R0)?;
        }
        let kind = self.state.reg(base.index()).kind;
        if kind == Kind::Context || kind.is_packet() || matches!(kind, Kind::Socket { .. }) {
            let name = kind.name();
            return reject(format!(
                "BPF_ATOMIC stores into R{} {name} is not allowed",
                base.number()
            ));
        }
        let target = match op {
            AtomicOp::CompareExchange => Some(Reg::R0),
            AtomicOp::Exchange
            | AtomicOp::Add { fetch: true }
            | AtomicOp::Or { fetch: true }
            | AtomicOp::And { fetch: true }
            | AtomicOp::Xor { fetch: true } => Some(src),
            AtomicOp::Add { .. }
            | AtomicOp::Or { .. }
            | AtomicOp::And { .. }
            | AtomicOp::Xor { .. } => None,
        };
        if let Some(target) = target {
            self.check_write(target)?;
        }
        let mut access = MemoryAccess {
            base,
            off: off.into(),
            size: size.bytes() as i64,
            access: Access::Read,
            sign_extend: false,
            aligned: true,
        };
        let mut loaded = self.read_memory(access, None)?;
        if let Some(target) = target {
            if target != base {
                loaded = self.read_memory(access, Some(target))?;
            }
            access.access = Access::Write;
            self.write_memory(access, None)?;
            let mut value = loaded.unwrap_or(Register::UNKNOWN);
            value.half_written_at = if size == Size::W {
                self.insn as u32 + 1
            } else {
                0
            };
            self.set(target, value);
            return Ok(());
        }
        access.access = Access::Write;
        self.write_memory(access, None)
    }

    /// Checks a read and gives what is read; `dst` is the register that it goes to, if any.
    pub(super) fn read_memory(
        &mut self,
        access: MemoryAccess,
        dst: Option<Reg>,
    ) -> Check<Option<Register>> {
        let mut value = self.check_memory(access, dst, None)?;
        if let Some(value) = value
            .as_mut()
            .filter(|value| value.is_scalar() && access.size < 8)
        {
            if access.sign_extend {
                value.scalar.sign_extend_64(access.size as u32);
                value.scalar.sync();
            } else {
                let bytes = access.size as u32;
                self.options.rules.truncate(&mut value.scalar, bytes);
            }
        }
        Ok(value)
    }

    /// Checks that whole slots can be written where a register points, as a function does that
    /// makes an object there.
    pub(super) fn write_object(&mut self, base: Reg, slots: usize) -> Check {
        for slot in 0..slots as i64 {
            let access = MemoryAccess {
                base,
                off: 8 * slot,
                size: 8,
                access: Access::Write,
                sign_extend: false,
                aligned: false,
            };
            self.write_memory(access, None)?;
        }
        Ok(())
    }

    fn write_memory(&mut self, access: MemoryAccess, src: Option<Operand>) -> Check {
        self.check_memory(access, None, src).map(|_| ())
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one short arm for each kind of pointer"
    )]
    fn check_memory(
        &mut self,
        access: MemoryAccess,
        dst: Option<Reg>,
        src: Option<Operand>,
    ) -> Check<Option<Register>> {
        let pointer = *self.state.reg(access.base.index());
        self.check_alignment(&pointer, access)?;
        let (number, off) = (access.base, access.off + i64::from(pointer.offset));
        let name = pointer.kind.name();
        let write = access.access == Access::Write;
        match pointer.kind {
            Kind::MapValue {
                map,
                nullable: false,
            } => {
                self.check_map_rights(map, (off, access.size), access.access)?;
                self.check_map_value(number, map, off, access.size, false)?;
                self.check_fields(number, map, (off, access.size), true)?;
                Ok(Some(self.read_map(map, &pointer, off, access)))
            }
            Kind::MapKey(_) if write => reject(format!(
                "write to change key R{} not allowed",
                number.number()
            )),
            Kind::MapKey(map) => {
                let limit = self.map(map).key_size.into();
                self.check_region(number, off, access.size, limit, false)?;
                Ok(Some(Register::UNKNOWN))
            }
            Kind::Memory {
                nullable: false,
                read_only: true,
                ..
            } if write => reject(format!("R{} cannot write into {name}", number.number())),
            Kind::Record { nullable: false }
            | Kind::Memory {
                nullable: false, ..
            } => {
                let limit = i64::from(pointer.range);
                self.check_region(number, off, access.size, limit, false)?;
                Ok(Some(Register::UNKNOWN))
            }
            Kind::Context => self.check_context(&pointer, off, access),
            Kind::Stack(_) => {
                self.check_stack_bounds(number, off, access.size, access.access)?;
                if write {
                    self.write_stack(number, off, access.size, src)?;
                    return Ok(None);
                }
                self.read_stack(number, off, access.size, dst)
            }
            Kind::Packet | Kind::PacketMeta => {
                if write && self.program.program_type == ProgramType::SocketFilter {
                    return reject("cannot write into packet");
                }
                self.check_packet(number, off, access.size, false)?;
                Ok(Some(Register::UNKNOWN))
            }
            Kind::Socket {
                socket,
                nullable: false,
            } => {
                check_socket(socket, &pointer, off, access)?;
                Ok(Some(Register::UNKNOWN))
            }
            Kind::Map(_) if !write && off >= 0 && off + access.size <= 128 => {
                Ok(Some(Register::UNKNOWN))
            }
            Kind::Map(map) if write => {
                let structure = structure(self.map(map).map_type);
                reject(format!("only read from {structure} is supported"))
            }
            Kind::NotInit
            | Kind::Scalar
            | Kind::PacketEnd
            | Kind::Map(_)
            | Kind::MapValue { .. }
            | Kind::Memory { .. }
            | Kind::Record { .. }
            | Kind::Dynptr { .. }
            | Kind::Iterator { .. }
            | Kind::Socket { .. }
            | Kind::Function(_) => {
                reject(format!("R{} invalid mem access '{name}'", number.number()))
            }
        }
    }

    fn check_context(
        &mut self,
        pointer: &Register,
        off: i64,
        access: MemoryAccess,
    ) -> Check<Option<Register>> {
        check_no_offset_of(pointer, access.base)?;
        let context = ContextAccess {
            offset: off,
            size: access.size,
            write: access.access == Access::Write,
            sign_extend: access.sign_extend,
            offloaded: self.options.offloaded,
        };
        let Some(kind) = context_access(self.program, context) else {
            return reject(format!(
                "invalid bpf_context access off={off} size={}",
                access.size
            ));
        };
        if kind == Kind::Scalar {
            return Ok(Some(Register::UNKNOWN));
        }
        let mut register = Register::pointer(kind);
        if kind.nullable() {
            register.id = self.new_id();
        }
        Ok(Some(register))
    }

    /// Refuses a pointer with an offset where none may be.
    pub(super) fn check_no_offset(&self, reg: Reg) -> Check {
        check_no_offset_of(self.state.reg(reg.index()), reg)
    }

    /// Refuses an instruction that follows different kinds of pointers on different paths, where
    /// the kernel has to rewrite it for the kind.
    fn check_same_kind(&mut self, kind: Kind) -> Check {
        let special = |kind: Kind| matches!(kind, Kind::Context | Kind::Socket { .. });
        match self.pointer_kinds[self.insn] {
            None => self.pointer_kinds[self.insn] = Some(kind),
            Some(before) if before != kind && (special(before) || special(kind)) => {
                return reject("same insn cannot be used with different pointers");
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn check_alignment(&self, pointer: &Register, access: MemoryAccess) -> Check {
        let (off, size) = (access.off, access.size);
        let variable = || match self.options.rules {
            Rules::Linux6_18 => signed_bits(pointer.scalar.bits),
            Rules::Linux6_1 => KnownBits::from(pointer.scalar.bits).to_string(),
        };
        let strict = self.options.strict_alignment || access.aligned;
        let (description, strict) = match pointer.kind {
            Kind::Packet | Kind::PacketMeta => {
                // NET_IP_ALIGN: the packet starts two bytes after a multiple of four.
                let sum = i64::from(pointer.offset) + off + 2;
                let total = pointer.scalar.bits.add(Tnum::constant(sum as u64));
                if strict && size > 1 && !total.is_aligned(size as u64) {
                    return reject(format!(
                        "misaligned packet access off 2+{}+{}+{off} size {size}",
                        variable(),
                        pointer.offset
                    ));
                }
                return Ok(());
            }
            Kind::MapKey(_) => ("key ", strict),
            Kind::MapValue { .. } => ("value ", strict),
            Kind::Context => ("context ", strict),
            Kind::Stack(_) => ("stack ", true),
            Kind::Socket { .. } => ("sock ", strict),
            _ => ("", strict),
        };
        let sum = i64::from(pointer.offset) + off;
        let total = pointer.scalar.bits.add(Tnum::constant(sum as u64));
        if strict && size > 1 && !total.is_aligned(size as u64) {
            return reject(format!(
                "misaligned {description}access off {}+{}+{off} size {size}",
                variable(),
                pointer.offset
            ));
        }
        Ok(())
    }

    /// Rights of programs on a map.
    pub(super) fn check_map_rights(&self, map: u32, place: (i64, i64), access: Access) -> Check {
        let spec = self.map(map);
        let (flag, text) = match access {
            Access::Write => (MapFlags::RDONLY_PROG, "write into"),
            Access::Read => (MapFlags::WRONLY_PROG, "read from"),
        };
        if spec.flags.contains(flag) {
            return reject(format!(
                "{text} map forbidden, value_size={} off={} size={}",
                spec.value_size, place.0, place.1
            ));
        }
        Ok(())
    }

    pub(super) fn map(&self, map: u32) -> &MapSpec {
        self.maps.spec(map)
    }

    pub(super) fn check_map_value(
        &self,
        reg: Reg,
        map: u32,
        off: i64,
        size: i64,
        zero: bool,
    ) -> Check {
        let limit = i64::from(self.map(map).value_size);
        self.check_region(reg, off, size, limit, zero)
    }

    /// Refuses an access to members that only helpers may touch; `direct` if it is the program's own.
    pub(super) fn check_fields(
        &self,
        reg: Reg,
        map: u32,
        (off, size): (i64, i64),
        direct: bool,
    ) -> Check {
        let pointer = self.state.reg(reg.index());
        let (least, most) = (
            pointer.scalar.smin.wrapping_add(off),
            (pointer.scalar.umax as i64).wrapping_add(off + size),
        );
        let touched = self.maps.fields(map).iter().find(|field| {
            let start = i64::from(field.offset);
            least < start + i64::from(field.size) && start < most
        });
        match touched {
            None => Ok(()),
            Some(field) if field.special == Special::Pointer && !direct => {
                reject("kptr cannot be accessed indirectly by helper")
            }
            Some(field) if field.special == Special::Pointer => {
                reject("kptr cannot be followed: pointers into the kernel are not supported")
            }
            Some(field) => reject(format!(
                "{} cannot be accessed directly by load/store",
                field.special.name()
            )),
        }
    }

    /// What a read of a map value gives: the contents, if nobody can change them.
    fn read_map(&self, map: u32, pointer: &Register, off: i64, access: MemoryAccess) -> Register {
        let spec = self.map(map);
        let read_only = spec.flags.contains(MapFlags::RDONLY_PROG) && spec.frozen;
        let direct = spec.map_type == crate::map::MapType::Array && spec.max_entries == 1;
        let (true, true, Some(at)) = (read_only, direct, pointer.scalar.as_const(false)) else {
            return Register::UNKNOWN;
        };
        let start = (off + at as i64) as usize;
        let bytes = spec.initial.iter().find_map(|entry| match &entry.value {
            InitialValue::Bytes(bytes) => bytes.get(start..start + access.size as usize),
            InitialValue::Program(_) | InitialValue::Map(_) => None,
        });
        let Some(bytes) = bytes else {
            return Register::UNKNOWN;
        };
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        Register::constant(u64::from_le_bytes(value))
    }

    /// Checks an access at a fixed and an unknown offset against a limit (`check_mem_region_access`).
    pub(super) fn check_region(
        &self,
        reg: Reg,
        off: i64,
        size: i64,
        limit: i64,
        zero: bool,
    ) -> Check {
        let pointer = self.state.reg(reg.index());
        let (number, Scalar { smin, umax, .. }) = (reg.number(), pointer.scalar);
        let lowest = off
            .checked_add(smin)
            .filter(|sum| i32::try_from(*sum).is_ok());
        if smin < 0 && lowest.is_none_or(|sum| sum < 0) {
            return reject(format!(
                "R{number} min value is negative, either use unsigned index or do a if (index >=0) check."
            ));
        }
        let end = |message: &str| {
            let message =
                format!("R{number} {message} value is outside of the allowed memory range");
            move |rejection: Rejection| rejection.then(message)
        };
        check_bounds(pointer, reg, off.wrapping_add(smin), size, limit, zero)
            .map_err(end("min"))?;
        if umax >= MAX_OFFSET as u64 {
            return reject(format!(
                "R{number} unbounded memory access, make sure to bounds check any such access"
            ));
        }
        check_bounds(pointer, reg, off + umax as i64, size, limit, zero).map_err(end("max"))
    }

    /// Checks an access to the packet against what is known of its length.
    pub(super) fn check_packet(&mut self, reg: Reg, off: i64, size: i64, zero: bool) -> Check {
        let pointer = *self.state.reg(reg.index());
        let number = reg.number();
        if pointer.scalar.smin < 0 {
            return reject(format!(
                "R{number} min value is negative, either use unsigned index or do a if (index >=0) check."
            ));
        }
        let outside = format!("R{number} offset is outside of the packet");
        if pointer.range < 0 {
            return reject(outside);
        }
        let limit = pointer.range.into();
        check_bounds(&pointer, reg, off, size, limit, zero)
            .map_err(|rejection| rejection.then(outside))?;
        let furthest = pointer.scalar.umax.min(MAX_OFFSET as u64) as i64;
        self.record_packet_byte(off + furthest + size - 1);
        Ok(())
    }
}

/// The kernel's structure behind a map pointer.
fn structure(map_type: MapType) -> &'static str {
    match map_type {
        MapType::Hash
        | MapType::PercpuHash
        | MapType::LruHash
        | MapType::LruPercpuHash
        | MapType::HashOfMaps => "bpf_htab",
        MapType::LpmTrie => "lpm_trie",
        MapType::Devmap | MapType::DevmapHash => "bpf_dtab",
        MapType::Cpumap => "bpf_cpu_map",
        MapType::Xskmap => "xsk_map",
        MapType::Ringbuf => "bpf_ringbuf_map",
        MapType::Queue | MapType::Stack => "bpf_queue_stack",
        MapType::BloomFilter => "bpf_bloom_filter",
        _ => "bpf_array",
    }
}

/// Linux prints constants that fit as signed numbers in these messages.
pub(super) fn signed_bits(bits: Tnum) -> String {
    if bits.is_const() {
        (bits.value as i64).to_string()
    } else {
        bits.to_string()
    }
}

fn check_bounds(
    pointer: &Register,
    reg: Reg,
    off: i64,
    size: i64,
    limit: i64,
    zero: bool,
) -> Check {
    let off = i64::from(off as i32);
    if off >= 0 && (size > 0 || (size == 0 && zero)) && off + size <= limit {
        return Ok(());
    }
    match pointer.kind {
        Kind::MapValue { .. } => reject(format!(
            "invalid access to map value, value_size={limit} off={off} size={size}"
        )),
        Kind::MapKey(_) => reject(format!(
            "invalid access to map key, key_size={limit} off={off} size={size}"
        )),
        Kind::Packet | Kind::PacketMeta | Kind::PacketEnd => reject(format!(
            "invalid access to packet, off={off} size={size}, R{}(id={},off={off},r={limit})",
            reg.number(),
            pointer.id
        )),
        _ => reject(format!(
            "invalid access to memory, mem_size={limit} off={off} size={size}"
        )),
    }
}

/// Checks an access to a socket.
fn check_socket(socket: Socket, pointer: &Register, off: i64, access: MemoryAccess) -> Check {
    let (number, name) = (access.base.number(), pointer.kind.name());
    if access.access == Access::Write {
        return reject(format!("R{number} cannot write into {name}"));
    }
    if pointer.scalar.smin < 0 {
        return reject(format!(
            "R{number} min value is negative, either use unsigned index or do a if (index >=0) check."
        ));
    }
    let size = match socket {
        Socket::Full | Socket::Common => 80,
        Socket::Tcp => 120,
        Socket::Xdp => 4,
        Socket::Kernel => 4096,
    };
    if off < 0 || off + access.size > size || off % access.size != 0 {
        return reject(format!(
            "R{number} invalid {name} access off={off} size={}",
            access.size
        ));
    }
    Ok(())
}

/// Refuses a pointer with an offset.
fn check_no_offset_of(pointer: &Register, reg: Reg) -> Check {
    let (name, number, offset) = (pointer.kind.name(), reg.number(), pointer.offset);
    if offset < 0 {
        return reject(format!(
            "negative offset {name} ptr R{number} off={offset} disallowed"
        ));
    }
    if offset != 0 {
        return reject(format!(
            "dereference of modified {name} ptr R{number} off={offset} disallowed"
        ));
    }
    if pointer.scalar.as_const(false) != Some(0) {
        let bits = pointer.scalar.bits;
        return reject(format!("variable {name} access var_off={bits} disallowed"));
    }
    Ok(())
}
