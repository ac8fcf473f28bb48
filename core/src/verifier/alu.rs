//! Moves and arithmetic, on numbers and on pointers (`check_alu_op`).

use super::explore::Verifier;
use super::function::has_types;
use super::register::{Kind, PLUS_CONSTANT, PLUS_CONSTANT_32, PLUS_CONSTANT_64, Register, Socket};
use super::reject::{Check, reject};
use super::scalar::Scalar;
use crate::isa::{AluOp, ByteOrder, Imm64, Operand, Reg, Size, SwapWidth, Width};
use crate::map::MapType;

/// Offsets from this on are refused (`BPF_MAX_VAR_OFF`).
pub(super) const MAX_OFFSET: i64 = 1 << 29;

impl Verifier<'_> {
    pub(super) fn check_read(&self, reg: Reg) -> Check {
        if self.state.reg(reg.index()).kind == Kind::NotInit {
            return reject(format!("R{} !read_ok", reg.number()));
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "called beside check_read")]
    pub(super) fn check_write(&self, reg: Reg) -> Check {
        if reg == Reg::R10 {
            return reject("frame pointer is read only");
        }
        Ok(())
    }

    fn check_operand(&self, operand: Operand) -> Check {
        match operand {
            Operand::Reg(reg) => self.check_read(reg),
            Operand::Imm(_) => Ok(()),
        }
    }

    pub(super) fn set(&mut self, reg: Reg, value: Register) {
        *self.state.reg_mut(reg.index()) = value;
    }

    pub(super) fn set_unknown(&mut self, reg: Reg) {
        self.set(reg, Register::UNKNOWN);
    }

    fn written_at(&self, width: Width) -> u32 {
        match width {
            Width::W32 => self.insn as u32 + 1,
            Width::W64 => 0,
        }
    }

    /// Gives a number an id, so that its copies learn what it learns.
    pub(super) fn link_before_copy(&mut self, register: &mut Register) {
        if !register.is_scalar() {
            return;
        }
        if register.id & PLUS_CONSTANT != 0 {
            (register.id, register.offset) = (0, 0);
        }
        if register.id == 0 && (self.options.rules.are_6_1() || !register.scalar.is_const()) {
            register.id = self.new_id();
        }
    }

    fn linked_source(&mut self, src: Reg) -> Register {
        let mut source = *self.state.reg(src.index());
        self.link_before_copy(&mut source);
        self.set(src, source);
        source
    }

    pub(super) fn mov(&mut self, width: Width, dst: Reg, src: Operand) -> Check {
        self.check_operand(src)?;
        self.check_write(dst)?;
        let rules = self.options.rules;
        let mut value = match (src, width) {
            (Operand::Imm(imm), Width::W64) => Register::constant(i64::from(imm) as u64),
            (Operand::Imm(imm), Width::W32) => Register::constant(u64::from(imm as u32)),
            (Operand::Reg(src), Width::W64) => self.linked_source(src),
            (Operand::Reg(src), Width::W32) => {
                let source = *self.state.reg(src.index());
                let mut value = if !source.is_scalar() {
                    Register::UNKNOWN
                } else if source.scalar.width() <= 32 && !rules.are_6_1() {
                    self.linked_source(src)
                } else {
                    Register { id: 0, ..source }
                };
                value.scalar.zero_extend_32();
                rules.sync(&mut value.scalar);
                value
            }
        };
        value.half_written_at = self.written_at(width);
        self.set(dst, value);
        Ok(())
    }

    pub(super) fn mov_signed(&mut self, width: Width, dst: Reg, src: Reg, from: Size) -> Check {
        if self.options.rules.are_6_1() {
            return reject("BPF_MOV uses reserved fields");
        }
        self.check_read(src)?;
        self.check_write(dst)?;
        let source = *self.state.reg(src.index());
        let mut value = Register::UNKNOWN;
        if source.is_scalar() {
            let bits = 8 * from.bytes() as u32;
            value = if source.scalar.umax < 1 << (bits - 1) {
                self.linked_source(src)
            } else {
                Register { id: 0, ..source }
            };
            match width {
                Width::W64 => value.scalar.sign_extend_64(bits / 8),
                Width::W32 => value.scalar.sign_extend_32(bits / 8),
            }
        }
        if width == Width::W32 {
            value.scalar.zero_extend_32();
            value.scalar.sync();
        }
        value.half_written_at = self.written_at(width);
        self.set(dst, value);
        Ok(())
    }

    pub(super) fn negate(&mut self, width: Width, dst: Reg) -> Check {
        self.check_read(dst)?;
        self.check_write(dst)?;
        let mut value = *self.state.reg(dst.index());
        if value.is_scalar() {
            let rules = self.options.rules;
            rules.negate(&mut value.scalar, width);
            if rules.are_6_1() {
                value = Register::UNKNOWN;
            }
            rules.sanitize(&mut value.scalar);
        } else {
            value = Register::UNKNOWN;
        }
        value.half_written_at = self.written_at(width);
        self.set(dst, value);
        Ok(())
    }

    /// A byte swap, which Linux follows bit by bit (`scalar_byte_swap`); a number that it changes is
    /// no longer linked to others.
    pub(super) fn byte_swap(&mut self, order: ByteOrder, bits: SwapWidth, dst: Reg) -> Check {
        self.check_read(dst)?;
        self.check_write(dst)?;
        let mut value = *self.state.reg(dst.index());
        if value.is_scalar() && !self.options.rules.are_6_1() {
            if order != ByteOrder::Little || bits != SwapWidth::B64 {
                (value.id, value.offset) = (0, 0);
            }
            value.scalar.swap_bytes(order, bits);
            value.scalar.sanitize();
        } else {
            value = Register::UNKNOWN;
        }
        let half = bits != SwapWidth::B64;
        value.half_written_at = if half { self.insn as u32 + 1 } else { 0 };
        self.set(dst, value);
        Ok(())
    }

    pub(super) fn alu(&mut self, op: AluOp, width: Width, dst: Reg, src: Operand) -> Check {
        self.check_operand(src)?;
        self.check_read(dst)?;
        if self.options.rules.are_6_1() && matches!(op, AluOp::SignedDiv | AluOp::SignedMod) {
            return reject("BPF_ALU uses reserved fields");
        }
        let divides = matches!(
            op,
            AluOp::Div | AluOp::SignedDiv | AluOp::Mod | AluOp::SignedMod
        );
        if divides && src == Operand::Imm(0) {
            return reject("div by zero");
        }
        let bits = if width == Width::W32 { 32 } else { 64 };
        if let (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(imm)) = (op, src)
            && !(0..bits).contains(&imm)
        {
            return reject(format!("invalid shift {imm}"));
        }
        self.check_write(dst)?;
        self.state.reg_mut(dst.index()).half_written_at = self.written_at(width);
        let left = *self.state.reg(dst.index());
        let right = match src {
            Operand::Reg(src) => *self.state.reg(src.index()),
            Operand::Imm(imm) => Register::constant(i64::from(imm) as u64),
        };
        match (left.is_scalar(), right.is_scalar()) {
            (false, false) if op == AluOp::Sub => {
                self.set_unknown(dst);
                return Ok(());
            }
            (false, false) => {
                return reject(format!(
                    "R{} pointer {} pointer prohibited",
                    dst.number(),
                    operator(op)
                ));
            }
            (true, false) => {
                self.mark_precise(dst.index());
                return self.pointer_alu(op, width, dst, &right, &left.scalar, true);
            }
            (false, true) => {
                if let Operand::Reg(src) = src {
                    self.mark_precise(src.index());
                }
                return self.pointer_alu(op, width, dst, &left, &right.scalar, false);
            }
            (true, true) => {}
        }
        if let (true, Operand::Reg(src)) = (left.precise, src) {
            self.mark_precise(src.index());
        }
        self.scalar_alu(op, width, dst, &right.scalar);
        Ok(())
    }

    fn scalar_alu(&mut self, op: AluOp, width: Width, dst: Reg, right: &Scalar) {
        let rules = self.options.rules;
        let register = self.state.reg_mut(dst.index());
        rules.compute(&mut register.scalar, op, width, right);
        rules.sanitize(&mut register.scalar);
        if rules.are_6_1() {
            register.id = 0;
            return;
        }
        let half = width == Width::W32;
        let number = right.as_const(half).and_then(|number| match width {
            Width::W32 => Some(number as i32),
            Width::W64 => i32::try_from(number as i64).ok(),
        });
        let addend = match op {
            AluOp::Add => number,
            AluOp::Sub => number.and_then(i32::checked_neg),
            _ => None,
        };
        match addend {
            Some(addend) if register.id != 0 && register.id & PLUS_CONSTANT == 0 => {
                let mark = if half {
                    PLUS_CONSTANT_32
                } else {
                    PLUS_CONSTANT_64
                };
                register.id |= mark;
                register.offset = addend;
            }
            _ => (register.id, register.offset) = (0, 0),
        }
    }

    /// Arithmetic on a pointer; `reversed` where the number stands left.
    #[expect(clippy::too_many_lines, reason = "the refusals follow Linux's order")]
    fn pointer_alu(
        &mut self,
        op: AluOp,
        width: Width,
        dst: Reg,
        pointer: &Register,
        number: &Scalar,
        reversed: bool,
    ) -> Check {
        let half_written_at = self.written_at(width);
        let known = number.as_const(false);
        let broken = number.smin > number.smax
            || number.umin > number.umax
            || (known.is_some() && (number.smin != number.smax || number.umin != number.umax));
        if broken || (width == Width::W32 && op == AluOp::Sub) {
            self.set(
                dst,
                Register {
                    half_written_at,
                    ..Register::UNKNOWN
                },
            );
            return Ok(());
        }
        let (number_of, name) = (dst.number(), pointer.kind.name());
        if width == Width::W32 {
            return reject(format!("R{number_of} 32-bit pointer arithmetic prohibited"));
        }
        if pointer.kind.nullable() {
            return reject(format!(
                "R{number_of} pointer arithmetic on {name} prohibited, null-check it first"
            ));
        }
        if !takes_arithmetic(pointer.kind, op == AluOp::Add && known == Some(0)) {
            return reject(format!(
                "R{number_of} pointer arithmetic on {name} prohibited"
            ));
        }
        check_sane(number, 0, name)?;
        check_sane(&pointer.scalar, pointer.offset, name)?;
        let mut result = *pointer;
        result.half_written_at = half_written_at;
        result.precise = false;
        match op {
            AluOp::Add => self.pointer_add(&mut result, number),
            AluOp::Sub if reversed => {
                return reject(format!(
                    "R{number_of} tried to subtract pointer from scalar"
                ));
            }
            AluOp::Sub if matches!(pointer.kind, Kind::Stack(_)) => {
                return reject(format!(
                    "R{number_of} subtraction from stack pointer prohibited"
                ));
            }
            AluOp::Sub => self.pointer_sub(&mut result, number),
            AluOp::And | AluOp::Or | AluOp::Xor => {
                return reject(format!(
                    "R{number_of} bitwise operator {} on pointer prohibited",
                    operator(op)
                ));
            }
            AluOp::Mul
            | AluOp::Div
            | AluOp::SignedDiv
            | AluOp::Lsh
            | AluOp::Rsh
            | AluOp::Mod
            | AluOp::SignedMod
            | AluOp::Arsh => {
                return reject(format!(
                    "R{number_of} pointer arithmetic with {} operator prohibited",
                    operator(op)
                ));
            }
        }
        check_sane(&result.scalar, result.offset, name)?;
        let rules = self.options.rules;
        rules.sync(&mut result.scalar);
        rules.sanitize(&mut result.scalar);
        self.set(dst, result);
        Ok(())
    }

    fn pointer_add(&mut self, pointer: &mut Register, number: &Scalar) {
        if let Some(value) = number.as_const(false)
            && let Some(sum) = i64::from(pointer.offset).checked_add(value as i64)
            && let Ok(offset) = i32::try_from(sum)
        {
            pointer.offset = offset;
            pointer.scalar.forget_bounds_32();
            return;
        }
        self.options.rules.add(&mut pointer.scalar, number);
        pointer.scalar.forget_bounds_32();
        if pointer.kind.is_packet() {
            pointer.id = self.new_id();
            pointer.range = 0;
        }
    }

    fn pointer_sub(&mut self, pointer: &mut Register, number: &Scalar) {
        if let Some(value) = number.as_const(false)
            && let Some(difference) = i64::from(pointer.offset).checked_sub(value as i64)
            && let Ok(offset) = i32::try_from(difference)
        {
            pointer.offset = offset;
            pointer.scalar.forget_bounds_32();
            return;
        }
        let left = pointer.scalar;
        let bounds = left
            .smin
            .checked_sub(number.smax)
            .zip(left.smax.checked_sub(number.smin));
        (pointer.scalar.smin, pointer.scalar.smax) = bounds.unwrap_or((i64::MIN, i64::MAX));
        (pointer.scalar.umin, pointer.scalar.umax) = if left.umin < number.umax {
            (0, u64::MAX)
        } else {
            (left.umin - number.umax, left.umax.wrapping_sub(number.umin))
        };
        pointer.scalar.bits = left.bits.sub(number.bits);
        pointer.scalar.forget_bounds_32();
        if pointer.kind.is_packet() {
            pointer.id = self.new_id();
            if number.smin < 0 {
                pointer.range = 0;
            }
        }
    }

    /// Checks the maps of wide loads, as Linux does before it looks at control flow.
    pub(super) fn check_map_references(&self) -> Check {
        for insn in &self.program.insns {
            let crate::isa::Insn::LoadImm64 { value, .. } = *insn else {
                continue;
            };
            let Imm64::MapValue { map, offset } = value else {
                continue;
            };
            let spec = &self.module.maps[map as usize];
            if i64::from(offset) >= MAX_OFFSET {
                return reject(format!("direct value offset of {offset} is not allowed"));
            }
            if spec.map_type != MapType::Array {
                return reject("no direct value access support for this map type");
            }
            let size = spec.value_size;
            if spec.max_entries != 1 || offset >= size {
                return reject(format!(
                    "invalid access to map value pointer, value_size={size} off={offset}"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn load_imm64(&mut self, slot: usize, dst: Reg, value: Imm64) -> Check {
        self.check_write(dst)?;
        let value = match value {
            Imm64::Number(number) => Register::constant(number),
            Imm64::Map(map) => Register::pointer(Kind::Map(map)),
            Imm64::MapValue { map, offset } => Register {
                offset: offset as i32,
                ..Register::pointer(Kind::MapValue {
                    map,
                    nullable: false,
                })
            },
            Imm64::Variable { btf_id } => {
                return reject(format!("ldimm64 insn specifies invalid btf_id {btf_id}."));
            }
            Imm64::Function { offset } => {
                let start = slot as i64 + 1 + i64::from(offset);
                let function = self.program.function_of(start as usize);
                if self.btf.is_none() || !has_types(self.program) {
                    return reject("missing btf func_info");
                }
                if self.functions[function].global {
                    return reject("callback function not static");
                }
                Register::pointer(Kind::Function(function as u32))
            }
        };
        self.set(dst, value);
        Ok(())
    }
}

fn operator(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div | AluOp::SignedDiv => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod | AluOp::SignedMod => "%=",
        AluOp::Xor => "^=",
        AluOp::Arsh => "s>>=",
    }
}

/// Whether pointers of this kind may be moved, or, if `by_zero`, have zero added.
fn takes_arithmetic(kind: Kind, by_zero: bool) -> bool {
    match kind {
        Kind::Context
        | Kind::MapKey(_)
        | Kind::MapValue { .. }
        | Kind::Stack(_)
        | Kind::Packet
        | Kind::PacketMeta
        | Kind::Record { .. }
        | Kind::Memory { .. }
        | Kind::Function(_)
        | Kind::Socket {
            socket: Socket::Kernel,
            ..
        } => true,
        Kind::Map(_) => by_zero,
        Kind::PacketEnd
        | Kind::Socket { .. }
        | Kind::NotInit
        | Kind::Scalar
        | Kind::Dynptr { .. }
        | Kind::Iterator { .. } => false,
    }
}

/// Refuses offsets so large that adding them up could overflow (`check_reg_sane_offset`).
fn check_sane(scalar: &Scalar, offset: i32, name: &str) -> Check {
    let outside = |value: i64| value >= MAX_OFFSET || value <= -MAX_OFFSET;
    if let Some(value) = scalar.as_const(false)
        && outside(value as i64)
    {
        return reject(format!(
            "math between {name} pointer and {} is not allowed",
            value as i64
        ));
    }
    if outside(offset.into()) {
        return reject(format!("{name} pointer offset {offset} is not allowed"));
    }
    if scalar.smin == i64::MIN {
        return reject(format!(
            "math between {name} pointer and register with unbounded min value is not allowed"
        ));
    }
    if outside(scalar.smin) {
        return reject(format!(
            "value {} makes {name} pointer be out of bounds",
            scalar.smin
        ));
    }
    Ok(())
}
