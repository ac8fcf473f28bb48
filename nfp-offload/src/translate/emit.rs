//! The middle layer: appends instructions, and chooses how a constant becomes an operand.

use iom_core::isa::Reg;

use crate::isa::{
    Alu, AluOp, Branch, BranchBit, Command, Condition, Csr, EncodeError, Immed, ImmedShift,
    ImmedWidth, Insn, LoadField, Mul, MulKind, MulStep, Operand, Return, Shift, ShiftControl,
    ShiftOp, encode,
};
use crate::relocate::{Relocation, Word};

/// Scratch register for addresses of atomic additions and for masked amounts, in both banks.
pub(super) const ADDRESS: u8 = 20;
/// Scratch register for constants, in both banks.
pub(super) const SCRATCH: u8 = 21;
/// Bank A: start of the stack in local memory. Bank B: packet length.
pub(super) const STACK_BASE: Operand = Operand::A(22);
/// Bytes in the packet.
pub(super) const PACKET_LEN: Operand = Operand::B(22);
/// Word of the packet vector with the packet's address.
pub(super) const PACKET_ADDRESS: Operand = Operand::lm(1, 2);

/// The low word of an eBPF register; the high word is the next.
pub(super) const fn low(reg: Reg) -> u8 {
    reg.number() * 2
}

/// Appends words. The first instruction that cannot be encoded is kept as the error.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    words: Vec<Word>,
    error: Option<EncodeError>,
}

impl Emitter {
    /// Number of the next word.
    pub(super) fn position(&self) -> u16 {
        self.words.len() as u16
    }

    pub(super) fn into_words(self) -> Vec<Word> {
        self.words
    }

    pub(super) fn take_error(&mut self) -> Option<EncodeError> {
        self.error.take()
    }

    fn push(&mut self, insn: impl Into<Insn>, relocation: Relocation) {
        let insn = insn.into();
        if let Err(error) = encode(&insn) {
            self.error.get_or_insert(error);
        }
        self.words.push(Word { insn, relocation });
    }

    pub(super) fn alu(&mut self, dst: Operand, left: Operand, op: AluOp, right: Operand) {
        self.push(
            Alu {
                dst,
                left,
                op,
                right,
            },
            Relocation::None,
        );
    }

    /// `dst = src`.
    pub(super) fn mov(&mut self, dst: Operand, src: Operand) {
        self.alu(dst, Operand::None, AluOp::B, src);
    }

    /// Sets condition codes and shift amount from `left op right`; the result goes nowhere.
    pub(super) fn test(&mut self, left: Operand, op: AluOp, right: Operand) {
        self.alu(Operand::None, left, op, right);
    }

    /// `dst = right` shifted by a constant.
    pub(super) fn shift(
        &mut self,
        dst: Operand,
        op: ShiftOp,
        right: Operand,
        control: ShiftControl,
        amount: u8,
    ) {
        self.shift_with(dst, Operand::None, op, right, control, amount);
    }

    /// `dst = left op (right` shifted`)`.
    pub(super) fn shift_with(
        &mut self,
        dst: Operand,
        left: Operand,
        op: ShiftOp,
        right: Operand,
        control: ShiftControl,
        amount: u8,
    ) {
        self.push(
            Shift {
                dst,
                left,
                op,
                right,
                control,
                amount,
            },
            Relocation::None,
        );
    }

    /// `dst` = low word of `high:right` shifted right; amount 0 is the indirect form.
    pub(super) fn shift_double(&mut self, dst: Operand, high: Operand, right: Operand, amount: u8) {
        let shift = Shift {
            dst,
            left: high,
            op: ShiftOp::B,
            right,
            control: ShiftControl::Double,
            amount,
        };
        self.push(shift, Relocation::None);
    }

    pub(super) fn load_field(
        &mut self,
        dst: Operand,
        bytes: u8,
        src: Operand,
        control: ShiftControl,
        amount: u8,
        clear: bool,
    ) {
        self.push(
            LoadField {
                dst,
                bytes,
                src,
                control,
                amount,
                clear,
            },
            Relocation::None,
        );
    }

    pub(super) fn mul(&mut self, kind: MulKind, step: MulStep, left: Operand, right: Operand) {
        self.push(
            Mul {
                kind,
                step,
                left,
                right,
            },
            Relocation::None,
        );
    }

    pub(super) fn command(&mut self, command: Command) {
        self.push(command, Relocation::None);
    }

    /// Reads a CSR into the constant of the next instruction.
    pub(super) fn csr_read(&mut self, csr: Csr) {
        self.push(Insn::CsrRead { csr }, Relocation::None);
    }

    pub(super) fn csr_write(&mut self, csr: Csr, src: Operand) {
        self.push(Insn::CsrWrite { csr, src }, Relocation::None);
    }

    pub(super) fn nops(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(Insn::NOP, Relocation::None));
    }

    /// A branch; returns its word, for [`Emitter::retarget`].
    pub(super) fn branch(
        &mut self,
        condition: Condition,
        target: u16,
        defer: u8,
        relocation: Relocation,
    ) -> u16 {
        let word = self.position();
        self.push(
            Branch {
                condition,
                target,
                defer,
            },
            relocation,
        );
        word
    }

    /// A branch inside the program if a bit of `src` is set.
    pub(super) fn branch_if_bit(&mut self, src: Operand, bit: u8) -> u16 {
        let word = self.position();
        self.push(
            BranchBit {
                src,
                bit,
                set: true,
                target: 0,
                defer: 0,
            },
            Relocation::Branch,
        );
        word
    }

    /// `rtn`: a branch to the address in a register.
    pub(super) fn return_to(&mut self, src: Operand, defer: u8) {
        self.push(Return { src, defer }, Relocation::None);
    }

    /// Sets the address that a word loads.
    pub(super) fn set_address(&mut self, word: u16, to: u16) {
        match &mut self.words[usize::from(word)].insn {
            Insn::Immed(immed) => immed.value = to,
            other => unreachable!("word {word} loads no address but is {other:?}"),
        }
    }

    /// Sets the target of a branch word.
    pub(super) fn retarget(&mut self, word: u16, to: u16) {
        match &mut self.words[usize::from(word)].insn {
            Insn::Branch(branch) => branch.target = to,
            Insn::BranchBit(branch) => branch.target = to,
            other => unreachable!("word {word} is no branch but {other:?}"),
        }
    }

    /// Points a branch word here.
    pub(super) fn land(&mut self, word: u16) {
        let here = self.position();
        self.retarget(word, here);
    }

    /// Loads a 16-bit address inside the program, known later or now.
    pub(super) fn address(&mut self, dst: Operand, value: u16) {
        let immed = Immed {
            dst,
            value,
            width: ImmedWidth::All,
            invert: false,
            shift: ImmedShift::By0,
        };
        self.push(immed, Relocation::Address);
    }

    /// Loads a constant, in one word if its 16 significant bits can be placed, else in two.
    pub(super) fn immed(&mut self, dst: Operand, value: u32) {
        let one = |value: u16, invert, shift| Immed {
            dst,
            value,
            width: ImmedWidth::All,
            invert,
            shift,
        };
        if let Some((bits, shift)) = placed(value) {
            self.push(one(bits, false, shift), Relocation::None);
        } else if let Some((bits, shift)) = placed(!value) {
            self.push(one(bits, true, shift), Relocation::None);
        } else {
            self.push(one(value as u16, false, ImmedShift::By0), Relocation::None);
            let high = one((value >> 16) as u16, false, ImmedShift::By16);
            self.push(
                Immed {
                    width: ImmedWidth::Word,
                    ..high
                },
                Relocation::None,
            );
        }
    }

    /// A constant as an unrestricted operand: itself, or loaded into the scratch register.
    pub(super) fn constant(&mut self, value: u32) -> Operand {
        self.constant_up_to(value, 0xff, Operand::B(SCRATCH))
    }

    /// A constant as an unrestricted operand: itself, or loaded into this register.
    pub(super) fn constant_in(&mut self, value: u32, register: Operand) -> Operand {
        self.constant_up_to(value, 0xff, register)
    }

    /// A constant as a restricted operand: itself, or loaded into the scratch register.
    pub(super) fn small_constant(&mut self, value: u32) -> Operand {
        self.constant_up_to(value, 0x7f, Operand::B(SCRATCH))
    }

    fn constant_up_to(&mut self, value: u32, max: u32, register: Operand) -> Operand {
        if value <= max {
            return Operand::Imm(value as u8);
        }
        self.immed(register, value);
        register
    }
}

/// The 16 bits outside of which a value is zero, and where they stand.
fn placed(value: u32) -> Option<(u16, ImmedShift)> {
    let places = [
        (0, ImmedShift::By0),
        (8, ImmedShift::By8),
        (16, ImmedShift::By16),
    ];
    places
        .into_iter()
        .find(|(shift, _)| value & !(0xffff << shift) == 0)
        .map(|(shift, place)| ((value >> shift) as u16, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the words that load a constant leave in the register.
    fn loaded(words: &[Word]) -> u32 {
        words.iter().fold(0, |old, word| {
            let Insn::Immed(immed) = word.insn else {
                panic!("no immed: {:?}", word.insn)
            };
            let shift = match immed.shift {
                ImmedShift::By0 => 0,
                ImmedShift::By8 => 8,
                ImmedShift::By16 => 16,
            };
            let value = u32::from(immed.value) << shift;
            match immed.width {
                ImmedWidth::Word => old & 0xffff | value,
                ImmedWidth::All | ImmedWidth::Byte => {
                    if immed.invert {
                        !value
                    } else {
                        value
                    }
                }
            }
        })
    }

    proptest::proptest! {
        #[test]
        fn constants_are_loaded_in_at_most_two_words(value: u32) {
            for value in [value, value >> 16, value << 16, value & 0x00ff_ff00, !(value >> 16)] {
                let mut emit = Emitter::default();
                emit.immed(Operand::Both(4), value);
                let words = emit.into_words();
                proptest::prop_assert!(words.len() <= 2);
                proptest::prop_assert_eq!(loaded(&words), value);
            }
        }
    }
}
