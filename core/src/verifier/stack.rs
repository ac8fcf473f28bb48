//! The stack: what is stored and loaded there, spilled registers, and memory that helpers read and
//! fill. Offsets are from the frame pointer and negative; slot 0 is the one just below it.

use super::alu::MAX_OFFSET;
use super::explore::Verifier;
use super::linux_6_1::Rules;
use super::memory::{Access, signed_bits};
use super::register::{Kind, PLUS_CONSTANT, Register};
use super::reject::{Check, reject};
use super::state::{Byte, MAX_STACK, SLOT, Slot};
use crate::isa::{Operand, Reg};

/// Slot and byte of an offset.
pub(super) fn place(off: i64) -> (usize, usize) {
    let index = (-off - 1) as usize;
    (index / 8, index % 8)
}

/// Programs do not look into objects of the kernel on their stack.
fn is_object(byte: Byte) -> bool {
    matches!(byte, Byte::Dynptr | Byte::Iterator)
}

/// What a helper does with stack memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HelperUse {
    pub(super) access: Access,
    pub(super) zero: bool,
    /// It fills memory that need not be initialised.
    pub(super) fills: bool,
}

impl Verifier<'_> {
    fn frame_of(&self, reg: Reg) -> usize {
        match self.state.reg(reg.index()).kind {
            Kind::Stack(frame) => frame.into(),
            _ => self.state.current(),
        }
    }

    pub(super) fn mark_stack_read(&mut self, frame: usize, slot: usize) {
        let bounds = self.bounds_of(self.state.frame().function);
        self.stack_live
            .read(&self.state, (self.insn, bounds), frame, 1 << slot);
    }

    /// Checks that an access stays in the stack, which grows to hold it.
    pub(super) fn check_stack_bounds(
        &mut self,
        reg: Reg,
        off: i64,
        size: i64,
        access: Access,
    ) -> Check {
        let scalar = self.state.reg(reg.index()).scalar;
        let (number, known) = (reg.number(), scalar.as_const(false));
        let verb = match access {
            Access::Read => " read from",
            Access::Write => " write to",
        };
        let (min, max) = if let Some(value) = known {
            let start = off.wrapping_add(value as i64);
            (start, start.wrapping_add(size))
        } else {
            if scalar.smax >= MAX_OFFSET || scalar.smin <= -MAX_OFFSET {
                return reject(format!(
                    "invalid unbounded variable-offset{verb} stack R{number}"
                ));
            }
            (scalar.smin + off, scalar.smax + off + size)
        };
        if !(-MAX_STACK..0).contains(&min) || max > 0 || size < 0 {
            return reject(if known.is_some() {
                format!("invalid{verb} stack R{number} off={min} size={size}")
            } else {
                let bits = signed_bits(scalar.bits);
                format!(
                    "invalid variable-offset{verb} stack R{number} var_off={bits} off={off} size={size}"
                )
            });
        }
        let slots = ((-min + SLOT - 1) / SLOT) as usize;
        let frame = self.frame_of(reg);
        let frame = &mut self.state.frames[frame];
        if frame.stack.len() < slots {
            frame.stack.resize(slots, Slot::EMPTY);
        }
        let depth = &mut self.stack_depth[frame.function];
        *depth = (*depth).max(slots as i64 * SLOT);
        Ok(())
    }

    pub(super) fn write_stack(
        &mut self,
        reg: Reg,
        off: i64,
        size: i64,
        src: Option<Operand>,
    ) -> Check {
        let scalar = self.state.reg(reg.index()).scalar;
        let frame = self.frame_of(reg);
        if let Some(value) = scalar.as_const(false) {
            let off = off + value as i64;
            return match self.options.rules {
                Rules::Linux6_18 => self.write_fixed(frame, off, size, src),
                Rules::Linux6_1 => self.write_fixed_6_1((reg, frame), off, size, src),
            };
        }
        let (min, max) = (scalar.smin + off, scalar.smax + off + size);
        for off in min..max {
            self.destroy_dynptr(frame, place(off).0)?;
        }
        self.write_somewhere(frame, (min, max), src);
        Ok(())
    }

    fn write_fixed(&mut self, frame: usize, off: i64, size: i64, src: Option<Operand>) -> Check {
        let (slot, byte) = place(off);
        self.destroy_dynptr(frame, slot)?;
        if size == SLOT {
            self.stack_live.write(frame, 1 << slot);
        }
        let mut value = match src {
            Some(Operand::Reg(reg)) => Some(*self.state.reg(reg.index())),
            Some(Operand::Imm(imm)) => Some(Register::constant(i64::from(imm) as u64)),
            None => None,
        };
        let from_register = matches!(src, Some(Operand::Reg(_)));
        let aligned = off % SLOT == 0;
        let spills = value.is_some_and(|value| !value.is_scalar() || aligned);
        let Some(stored) = value.as_mut().filter(|_| spills) else {
            self.write_bytes(frame, (slot, byte), size, src);
            return Ok(());
        };
        if stored.is_scalar() {
            let fits = stored.scalar.width() <= 8 * size as u32;
            if let (true, true, Some(Operand::Reg(reg))) = (fits, from_register, src) {
                self.link_before_copy(stored);
                self.set(reg, *stored);
            }
            let mut copy = *stored;
            if !fits && from_register {
                copy.id = 0;
            }
            self.spill(frame, slot, size, copy);
        } else {
            let copy = *stored;
            self.check_pointer_spill(frame, size, &copy)?;
            self.spill(frame, slot, size, copy);
        }
        self.push_step(|step| step.stack = Some((frame, slot)));
        Ok(())
    }

    pub(super) fn check_pointer_spill(&self, frame: usize, size: i64, stored: &Register) -> Check {
        if size != SLOT {
            return reject("invalid size of register spill");
        }
        if frame != self.state.current() && matches!(stored.kind, Kind::Stack(_)) {
            return reject("cannot spill pointers to stack into stack frame of the caller");
        }
        Ok(())
    }

    fn spill(&mut self, frame: usize, slot: usize, size: i64, value: Register) {
        let slot = &mut self.state.frames[frame].stack[slot];
        slot.spilled = value;
        let keep = 8 - size as usize;
        for (index, byte) in slot.bytes.iter_mut().enumerate() {
            if index >= keep {
                *byte = Byte::Spill;
            } else if *byte == Byte::Spill {
                *byte = Byte::Misc;
            }
        }
    }

    fn write_bytes(
        &mut self,
        frame: usize,
        (slot, byte): (usize, usize),
        size: i64,
        src: Option<Operand>,
    ) {
        let zero = match src {
            Some(Operand::Reg(reg)) => self.state.reg(reg.index()).is_null(),
            Some(Operand::Imm(imm)) => imm == 0,
            None => false,
        };
        if let (true, Some(Operand::Reg(reg))) = (zero, src) {
            self.mark_precise(reg.index());
        }
        let slot = &mut self.state.frames[frame].stack[slot];
        if slot.is_special() {
            let written = |byte: &&mut Byte| **byte != Byte::Invalid;
            for byte in slot.bytes.iter_mut().filter(written) {
                *byte = Byte::Misc;
            }
        }
        slot.spilled = Register::NOT_INIT;
        for index in 0..size as usize {
            slot.bytes[(byte + 8 - index) % 8] = if zero { Byte::Zero } else { Byte::Misc };
        }
    }

    /// A write at an offset that is not known destroys what may be there.
    fn write_somewhere(&mut self, frame: usize, (min, max): (i64, i64), src: Option<Operand>) {
        let zero = match src {
            Some(Operand::Reg(reg)) => self.state.reg(reg.index()).is_null(),
            Some(Operand::Imm(imm)) => imm == 0,
            None => false,
        };
        let mut kept_zero = false;
        for off in min..max {
            let (slot, byte) = place(off);
            let slot = &mut self.state.frames[frame].stack[slot];
            let spilled_zero = slot.is_spilled_scalar() && slot.spilled.is_null();
            if zero && slot.bytes[byte] == Byte::Spill && spilled_zero {
                kept_zero = true;
                continue;
            }
            if slot.is_spilled() {
                for byte in slot.bytes.iter_mut().filter(|byte| **byte == Byte::Spill) {
                    *byte = Byte::Misc;
                }
            }
            slot.spilled = Register::NOT_INIT;
            let keeps = zero && slot.bytes[byte] == Byte::Zero;
            kept_zero |= keeps;
            slot.bytes[byte] = if keeps { Byte::Zero } else { Byte::Misc };
        }
        if let (true, Some(Operand::Reg(reg))) = (kept_zero, src) {
            self.mark_precise(reg.index());
        }
    }

    pub(super) fn read_stack(
        &mut self,
        reg: Reg,
        off: i64,
        size: i64,
        dst: Option<Reg>,
    ) -> Check<Option<Register>> {
        let scalar = self.state.reg(reg.index()).scalar;
        let frame = self.frame_of(reg);
        if let Some(value) = scalar.as_const(false) {
            let off = off + value as i64;
            return match self.options.rules {
                Rules::Linux6_18 => self.read_fixed(frame, off, size, dst),
                Rules::Linux6_1 => self.read_fixed_6_1(frame, off, size, dst),
            };
        }
        let how = HelperUse {
            access: Access::Read,
            zero: false,
            fills: false,
        };
        self.check_stack_range(reg, off, size, how)?;
        let bytes = scalar.smin + off..scalar.smax + off + size;
        Ok(Some(self.read_bytes(frame, bytes)))
    }

    /// Zero if all bytes are, else some number.
    pub(super) fn read_bytes(&self, frame: usize, mut bytes: std::ops::Range<i64>) -> Register {
        let stack = &self.state.frames[frame].stack;
        let zero = bytes.all(|off| {
            let (slot, byte) = place(off);
            stack[slot].bytes[byte] == Byte::Zero
        });
        if zero {
            Register::constant(0)
        } else {
            Register::UNKNOWN
        }
    }

    fn read_fixed(
        &mut self,
        frame: usize,
        off: i64,
        size: i64,
        dst: Option<Reg>,
    ) -> Check<Option<Register>> {
        let (index, byte) = place(off);
        self.mark_stack_read(frame, index);
        let mut slot = self.state.frames[frame].stack[index];
        if !slot.is_spilled() {
            let object = |off: &i64| is_object(slot.bytes[place(*off).1]);
            if let Some(at) = (off..off + size).find(object) {
                return reject(format!(
                    "invalid read from stack off {off}+{} size {size}",
                    at - off
                ));
            }
            return Ok(Some(self.read_bytes(frame, off..off + size)));
        }
        let spill_size = slot
            .bytes
            .iter()
            .rev()
            .take_while(|byte| **byte == Byte::Spill)
            .count() as i64;
        let mut value;
        if size == SLOT && spill_size == SLOT {
            if dst.is_none() {
                return Ok(None);
            }
            self.link_before_copy(&mut slot.spilled);
            value = slot.spilled;
        } else {
            if !slot.spilled.is_scalar() {
                return reject("invalid size of register fill");
            }
            if dst.is_none() {
                return Ok(None);
            }
            if size <= spill_size && off % SLOT == 0 {
                let width = slot.spilled.scalar.width();
                if size == 4 && spill_size == 4 && width <= 32 {
                    self.link_before_copy(&mut slot.spilled);
                }
                value = slot.spilled;
                if i64::from(width) > 8 * size {
                    value.id = 0;
                }
            } else {
                let bytes = (0..size as usize).map(|i| slot.bytes[(byte + 8 - i) % 8]);
                let count = |kind: Byte| bytes.clone().filter(|byte| *byte == kind).count() as i64;
                if count(Byte::Spill) == size && slot.spilled.is_null() {
                    value = Register::constant(0);
                } else if count(Byte::Zero) == size {
                    return Ok(Some(Register::constant(0)));
                } else {
                    return Ok(Some(Register::UNKNOWN));
                }
            }
        }
        if value.is_scalar() && value.id & PLUS_CONSTANT == 0 {
            value.offset = 0;
        }
        value.half_written_at = 0;
        self.state.frames[frame].stack[index] = slot;
        self.push_step(|step| step.stack = Some((frame, index)));
        Ok(Some(value))
    }

    /// Checks memory that a helper uses, or a load at an unknown offset
    /// (`check_stack_range_initialized`).
    pub(super) fn check_stack_range(
        &mut self,
        reg: Reg,
        off: i64,
        size: i64,
        how: HelperUse,
    ) -> Check {
        if size == 0 && !how.zero {
            return reject("invalid zero-sized read");
        }
        self.check_stack_bounds(reg, off, size, how.access)
            .map_err(|rejection| self.options.rules.by_helper(rejection))?;
        let scalar = self.state.reg(reg.index()).scalar;
        let frame = self.frame_of(reg);
        let (min, max, known) = match scalar.as_const(false) {
            Some(value) => (off + value as i64, off + value as i64, true),
            None => (off + scalar.smin, off + scalar.smax, false),
        };
        if how.fills && known {
            let stack = &self.state.frames[frame].stack;
            let is_dynptr = |at: &i64| {
                let (index, byte) = place(*at);
                stack[index].bytes[byte] == Byte::Dynptr
            };
            if let Some(at) = (min..min + size).find(is_dynptr) {
                return reject(format!("potential write to dynptr at off={at} disallowed"));
            }
            self.fill(frame, min, size);
            return Ok(());
        }
        if self.options.rules.are_6_1() {
            self.use_range_6_1(frame, min..max + size);
            return Ok(());
        }
        for at in min..max + size {
            let (index, byte) = place(at);
            let slot = &mut self.state.frames[frame].stack[index];
            if is_object(slot.bytes[byte]) {
                let number = reg.number();
                let place = if known {
                    format!("off {min}")
                } else {
                    format!("var_off {}", signed_bits(scalar.bits))
                };
                return reject(format!(
                    "invalid read from stack R{number} {place}+{} size {size}",
                    at - min
                ));
            }
            if how.access == Access::Write {
                if matches!(slot.bytes[byte], Byte::Zero | Byte::Invalid) {
                    slot.bytes[byte] = Byte::Misc;
                } else if slot.is_spilled() {
                    slot.spilled = Register::UNKNOWN;
                    for byte in slot.bytes.iter_mut().filter(|byte| **byte == Byte::Spill) {
                        *byte = Byte::Misc;
                    }
                }
            }
            self.mark_stack_read(frame, index);
        }
        Ok(())
    }

    /// A helper fills memory, byte by byte.
    fn fill(&mut self, frame: usize, start: i64, size: i64) {
        for off in start..start + size {
            match self.options.rules {
                Rules::Linux6_18 => self.write_bytes(frame, place(off), 1, None),
                Rules::Linux6_1 => self.write_bytes_6_1(frame, place(off), 1, None),
            }
        }
    }

    /// The constant that a map key on the stack has, if it is known.
    pub(super) fn constant_key(&mut self, reg: Reg, size: i64) -> Option<u64> {
        let register = *self.state.reg(reg.index());
        let (Kind::Stack(frame), Some(value)) = (register.kind, register.scalar.as_const(false))
        else {
            return None;
        };
        let frame = usize::from(frame);
        let (index, byte) = place(i64::from(register.offset) + value as i64);
        let slot = self.state.frames[frame].stack[index];
        let run = |kind: Byte| {
            slot.bytes[..=byte]
                .iter()
                .rev()
                .take_while(|byte| **byte == kind)
                .count() as i64
        };
        if run(Byte::Zero) >= size {
            return Some(0);
        }
        if !slot.is_spilled_scalar() || run(Byte::Spill) != size {
            return None;
        }
        let key = slot.spilled.scalar.as_const(false)?;
        self.mark_slot_precise(frame, index);
        Some(key)
    }
}
