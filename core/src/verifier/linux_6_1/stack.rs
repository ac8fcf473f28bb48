//! The stack in Linux 6.1: fewer numbers survive there, and a helper that only reads memory is taken
//! to have written it (`check_stack_write_fixed_off`, `check_stack_range_initialized`).

use std::ops::Range;

use crate::isa::{Operand, Reg};
use crate::verifier::explore::Verifier;
use crate::verifier::register::Register;
use crate::verifier::reject::{Check, reject};
use crate::verifier::scalar::Scalar;
use crate::verifier::stack::place;
use crate::verifier::state::{Byte, SLOT, Slot};

use super::parentage::{Read, Spot};

impl Verifier<'_> {
    pub(in crate::verifier) fn write_fixed_6_1(
        &mut self,
        (base, frame): (Reg, usize),
        off: i64,
        size: i64,
        src: Option<Operand>,
    ) -> Check {
        let (index, byte) = place(off);
        let value = match src {
            Some(Operand::Reg(reg)) => Some(*self.state.reg(reg.index())),
            Some(Operand::Imm(imm)) => Some(Register::constant(i64::from(imm) as u64)),
            None => None,
        };
        let keeps = |value: &Register| {
            let bounded = value.scalar != Scalar::UNKNOWN && !value.is_null();
            !value.is_scalar() || (off % SLOT == 0 && bounded)
        };
        let Some(mut value) = value.filter(keeps) else {
            self.write_bytes_6_1(frame, (index, byte), size, src);
            return Ok(());
        };
        if !value.is_scalar() {
            self.check_pointer_spill(frame, size, &value)?;
        } else if let Some(Operand::Reg(reg)) = src {
            if base != Reg::R10 {
                self.mark_precise(reg.index());
            }
            if i64::from(value.scalar.width()) > 8 * size {
                value.id = 0;
            }
        }
        let slot = &mut self.state.frames[frame].stack[index];
        slot.spilled = value;
        let (below, stored) = slot.bytes.split_at_mut(8 - size as usize);
        stored.fill(Byte::Spill);
        below.iter_mut().for_each(scrub);
        if size == SLOT {
            self.write_slot(frame, index);
        }
        Ok(())
    }

    pub(in crate::verifier) fn write_bytes_6_1(
        &mut self,
        frame: usize,
        (index, byte): (usize, usize),
        size: i64,
        src: Option<Operand>,
    ) {
        let slot = &mut self.state.frames[frame].stack[index];
        slot.spilled = Register::NOT_INIT;
        if slot.is_spilled() {
            slot.bytes.iter_mut().for_each(scrub);
        }
        if size == SLOT {
            self.write_slot(frame, index);
        }
        let zero = match src {
            Some(Operand::Reg(reg)) => self.state.reg(reg.index()).is_null(),
            Some(Operand::Imm(imm)) => imm == 0,
            None => false,
        };
        if let (true, Some(Operand::Reg(reg))) = (zero, src) {
            self.mark_precise(reg.index());
        }
        let slot = &mut self.state.frames[frame].stack[index];
        for offset in 0..size as usize {
            slot.bytes[(byte + 8 - offset) % 8] = if zero { Byte::Zero } else { Byte::Misc };
        }
    }

    pub(in crate::verifier) fn read_fixed_6_1(
        &mut self,
        frame: usize,
        off: i64,
        size: i64,
        dst: Option<Reg>,
    ) -> Check<Option<Register>> {
        let (index, byte) = place(off);
        let slot = self.state.frames[frame].stack[index];
        self.read_spot(Spot::Slot(frame, index), Read::Whole);
        if !slot.is_spilled() {
            let mut value = self.read_bytes(frame, off..off + size);
            value.precise = value.is_null();
            return Ok(Some(value));
        }
        let spilled = slot.bytes.iter().rev();
        let spilled = spilled.take_while(|byte| **byte == Byte::Spill).count() as i64;
        if size != SLOT || spilled != SLOT {
            if !slot.spilled.is_scalar() {
                return reject("invalid size of register fill");
            }
            let bytes = (0..size as usize).map(|offset| slot.bytes[(byte + 8 - offset) % 8]);
            let whole = off % SLOT == 0 && size == spilled;
            if dst.is_some() && !whole {
                let zero = bytes.into_iter().position(|byte| byte == Byte::Zero);
                if let Some(at) = zero {
                    return reject(format!(
                        "invalid read from stack off {off}+{at} size {size}"
                    ));
                }
                return Ok(Some(Register::UNKNOWN));
            }
        }
        let mut value = slot.spilled;
        value.half_written_at = 0;
        Ok(dst.map(|_| value))
    }

    /// A helper uses memory: it may have written anything there.
    pub(in crate::verifier) fn use_range_6_1(&mut self, frame: usize, range: Range<i64>) {
        for off in range {
            let (index, byte) = place(off);
            overwrite(&mut self.state.frames[frame].stack[index], byte);
            self.read_spot(Spot::Slot(frame, index), Read::Whole);
        }
    }
}

/// A byte that belonged to a register is no longer known.
fn scrub(byte: &mut Byte) {
    if *byte != Byte::Invalid {
        *byte = Byte::Misc;
    }
}

/// A helper may have written anything to a byte.
fn overwrite(slot: &mut Slot, byte: usize) {
    match slot.bytes[byte] {
        Byte::Misc | Byte::Dynptr | Byte::Iterator => {}
        Byte::Zero | Byte::Invalid => slot.bytes[byte] = Byte::Misc,
        Byte::Spill => {
            slot.spilled = Register::UNKNOWN;
            slot.bytes.iter_mut().for_each(scrub);
        }
    }
}
