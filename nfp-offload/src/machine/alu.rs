//! Instructions that touch registers only: arithmetic, shifts, constants, multiplication.

use super::execute::DoubleShift;
use super::lower::{AluForm, ImmedForm, LoadFieldForm, RegisterOp, ShiftForm};
use super::state::State;
use crate::isa::{AluOp, Condition, ShiftControl, ShiftOp};

impl State {
    /// Executes an instruction.
    #[expect(clippy::inline_always, reason = "the body of the machine's loop")]
    #[inline(always)]
    pub(super) fn execute(&mut self, op: &RegisterOp) {
        match *op {
            RegisterOp::Alu(form) => self.alu(form),
            RegisterOp::Shift(form) => self.shift(form),
            RegisterOp::LoadField(form) => self.load_field(form),
            RegisterOp::Immed(form) => self.immed(form),
            RegisterOp::MulStart { left, right, post } => {
                self.factors = (self.read(left), self.read(right));
                self.post_modify(post);
            }
            RegisterOp::MulStep { wide } => self.multiply(wide),
            RegisterOp::MulStore { dst, high, post } => {
                let product = self.product >> if high { 32 } else { 0 };
                self.write(dst, product as u32);
                self.post_modify(post);
            }
            RegisterOp::IndexWrite { index, src, post } => {
                let address = self.read(src);
                self.write_index(index, address);
                self.post_modify(post);
            }
        }
        self.count();
    }

    /// An instruction takes a cycle.
    #[inline]
    pub(super) const fn count(&mut self) {
        self.cost.instructions += 1;
        self.cost.cycles += 1;
    }

    /// Whether the condition codes fulfil a condition.
    #[inline]
    pub(super) const fn holds(&self, condition: Condition) -> bool {
        let negative = self.flags >> 31 == 1;
        match condition {
            Condition::Equal => self.flags == 0,
            Condition::NotEqual => self.flags != 0,
            Condition::Minus => negative,
            Condition::HigherSame => self.carry,
            Condition::Lower => !self.carry,
            Condition::GreaterEqual => negative == self.overflow,
            Condition::Less => negative != self.overflow,
            Condition::Always => true,
        }
    }

    #[inline]
    fn alu(&mut self, form: AluForm) {
        let (left, right) = (self.read(form.left), self.read(form.right));
        let result = self.arithmetic(form.op, left, right);
        self.previous_left = left;
        self.previous = result;
        self.write(form.dst, result);
        self.post_modify(form.post);
    }

    fn shift(&mut self, form: ShiftForm) {
        let (left, right) = (self.read(form.left), self.read(form.right));
        let amount = if form.indirect {
            self.previous_left
        } else {
            form.amount.into()
        };
        let short = amount & 31;
        let shifted = match form.control {
            ShiftControl::Rotate => right.rotate_right(short),
            ShiftControl::Left => right << short,
            ShiftControl::Right if form.op == ShiftOp::Ashr => {
                // The sign is that of the previous result.
                let sign = (self.previous as i32 >> 31) as u32;
                (pair(sign, right) >> short) as u32
            }
            ShiftControl::Right => right >> short,
            ShiftControl::Double => {
                let bits_6 = self.double_shift == DoubleShift::SixBits;
                let amount = if bits_6 && amount & 63 == 32 {
                    32
                } else {
                    short
                };
                (pair(left, right) >> amount) as u32
            }
        };
        let result = match form.op {
            ShiftOp::B | ShiftOp::Ashr => shifted,
            ShiftOp::And => left & shifted,
            ShiftOp::Or => left | shifted,
        };
        self.flags = result;
        self.previous_left = left;
        self.previous = result;
        self.write(form.dst, result);
    }

    /// `ld_field`; leaves the condition codes alone.
    #[inline]
    fn load_field(&mut self, form: LoadFieldForm) {
        let src = self.read(form.src);
        let shifted = match form.control {
            ShiftControl::Right => src >> form.amount,
            ShiftControl::Left => src << form.amount,
            ShiftControl::Rotate | ShiftControl::Double => src.rotate_right(form.amount.into()),
        };
        self.previous = shifted & form.mask | self.read(form.old) & form.keep;
        self.write(form.dst, self.previous);
    }

    /// `immed`; leaves the condition codes alone. After a CSR read it receives that value.
    #[inline]
    fn immed(&mut self, form: ImmedForm) {
        self.previous = match self.csr_value.take() {
            Some(value) => value,
            None if form.keep == 0 => form.value,
            None => form.value | self.read(form.old) & form.keep,
        };
        self.write(form.dst, self.previous);
        self.post_modify(form.post);
    }

    /// The product of the factors, of which a 16x16 multiplication sees the low halves.
    fn multiply(&mut self, wide: bool) {
        let mask = if wide { u32::MAX } else { 0xffff };
        let (left, right) = self.factors;
        self.product = u64::from(left & mask) * u64::from(right & mask);
    }

    /// Result of an ALU operation; sets the condition codes. Logic leaves the carry alone.
    #[inline]
    fn arithmetic(&mut self, op: AluOp, left: u32, right: u32) -> u32 {
        let result = match op {
            AluOp::B => right,
            AluOp::NotB => !right,
            AluOp::And => left & right,
            AluOp::NotAAnd => !left & right,
            AluOp::AndNotB => left & !right,
            AluOp::Or => left | right,
            AluOp::Xor => left ^ right,
            AluOp::Add => return self.add(left, right, false),
            AluOp::Add16 => return self.add(left, right & 0xffff, false),
            AluOp::AddCarry => return self.add(left, right, self.carry),
            // A difference sets the carry if there is no borrow.
            AluOp::Sub => return self.add(left, !right, true),
            AluOp::SubCarry => return self.add(left, !right, self.carry),
        };
        self.flags = result;
        self.overflow = false;
        result
    }

    #[inline]
    fn add(&mut self, left: u32, right: u32, carry: bool) -> u32 {
        let sum = u64::from(left) + u64::from(right) + u64::from(carry);
        let result = sum as u32;
        self.flags = result;
        self.carry = sum >> 32 != 0;
        self.overflow = (left ^ result) & (right ^ result) & 1 << 31 != 0;
        result
    }
}

const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}
