//! The typed instructions: one type a form, and the enum of all.

use super::{
    AddressMode, AluOp, CommandOp, Condition, ContextSwap, Csr, ImmedShift, ImmedWidth, MulKind,
    MulStep, Operand, ShiftControl, ShiftOp,
};

/// `dst = left op right`; sets the condition codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alu {
    /// Destination.
    pub dst: Operand,
    /// Left source; none if the operation has no use for it.
    pub left: Operand,
    /// Operation.
    pub op: AluOp,
    /// Right source.
    pub right: Operand,
}

/// `dst = left op (right shifted)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shift {
    /// Destination.
    pub dst: Operand,
    /// Left source: operand of the logic operation, or the high word of a double shift.
    pub left: Operand,
    /// Logic operation.
    pub op: ShiftOp,
    /// Right source, which is shifted.
    pub right: Operand,
    /// Direction.
    pub control: ShiftControl,
    /// How far, up to 31. 0 means, other than for a rotation, the amount in the left source of
    /// the previous ALU instruction.
    pub amount: u8,
}

/// Replaces bytes of `dst` by those of `src` shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadField {
    /// Destination, and source of the bytes that stay.
    pub dst: Operand,
    /// One bit for each byte that is written.
    pub bytes: u8,
    /// Source.
    pub src: Operand,
    /// Direction.
    pub control: ShiftControl,
    /// How far. The driver does not check this one: only five bits of the encoding stay.
    pub amount: u8,
    /// Other bytes become zero (`ld_field_w_clr`).
    pub clear: bool,
}

/// Loads a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Immed {
    /// Destination.
    pub dst: Operand,
    /// The 16 bits.
    pub value: u16,
    /// Part of the destination that is written.
    pub width: ImmedWidth,
    /// The value is inverted after the shift.
    pub invert: bool,
    /// Where the 16 bits go.
    pub shift: ImmedShift,
}

/// Branch on the condition codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Condition.
    pub condition: Condition,
    /// Address, 14 bits.
    pub target: u16,
    /// How many of the next words run before the branch takes effect, up to 3.
    pub defer: u8,
}

/// Branch on a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BranchBit {
    /// The tested register.
    pub src: Operand,
    /// The bit, 0 to 31.
    pub bit: u8,
    /// Branch if the bit is set, else if it is clear.
    pub set: bool,
    /// Address, 14 bits.
    pub target: u16,
    /// Defer slots, up to 3.
    pub defer: u8,
}

/// Branch to the address in a register (`rtn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Return {
    /// The register.
    pub src: Operand,
    /// Defer slots, up to 3.
    pub defer: u8,
}

/// One step of a multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mul {
    /// Kind of step.
    pub kind: MulKind,
    /// Number of the step.
    pub step: MulStep,
    /// Left source; for the steps that store, the destination.
    pub left: Operand,
    /// Right source; none for the steps that store.
    pub right: Operand,
}

/// Memory command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// What to do.
    pub op: CommandOp,
    /// First transfer register.
    pub xfer: u8,
    /// Address operand in slot A.
    pub a: Operand,
    /// Address operand in slot B.
    pub b: Operand,
    /// How the operands make an address.
    pub mode: AddressMode,
    /// Length less one. The driver does not check it: three bits stay.
    pub count: u8,
    /// When the ME context is given up.
    pub swap: ContextSwap,
    /// The previous result overrides parts of the command.
    pub indirect: bool,
}

/// A micro-engine instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Insn {
    /// `dst = left op right`; sets the condition codes.
    Alu(Alu),
    /// `dst = left op (right shifted)`.
    Shift(Shift),
    /// Replaces bytes of `dst` by those of `src` shifted.
    LoadField(LoadField),
    /// Loads a constant.
    Immed(Immed),
    /// Branch on the condition codes.
    Branch(Branch),
    /// Branch on a bit.
    BranchBit(BranchBit),
    /// Branch to the address in a register (`rtn`).
    Return(Return),
    /// One step of a multiplication.
    Mul(Mul),
    /// Reads a CSR; the value appears in the next `immed`.
    CsrRead {
        /// The CSR.
        csr: Csr,
    },
    /// Writes a CSR.
    CsrWrite {
        /// The CSR.
        csr: Csr,
        /// Register or immediate.
        src: Operand,
    },
    /// Memory command.
    Command(Command),
    /// Context arbitration: listed, never emitted.
    CtxArb {
        /// All bits but the class.
        bits: u64,
    },
    /// Branch on a byte: listed, never emitted.
    BranchByte {
        /// All bits but the class.
        bits: u64,
    },
}

impl Shift {
    /// Whether the left source counts.
    pub const fn uses_left(&self) -> bool {
        matches!(self.op, ShiftOp::And | ShiftOp::Or)
            || matches!(self.control, ShiftControl::Double)
    }

    /// Whether the amount comes from the previous ALU instruction.
    pub const fn is_indirect(&self) -> bool {
        self.amount == 0 && !matches!(self.control, ShiftControl::Rotate)
    }
}

impl Insn {
    /// Does nothing.
    pub const NOP: Self = Self::Immed(Immed {
        dst: Operand::None,
        value: 0,
        width: ImmedWidth::All,
        invert: false,
        shift: ImmedShift::By0,
    });
}

macro_rules! into_insn {
    ($($form:ident),*) => {$(
        impl From<$form> for Insn {
            fn from(insn: $form) -> Self {
                Self::$form(insn)
            }
        }
    )*};
}

into_insn!(
    Alu, Shift, LoadField, Immed, Branch, BranchBit, Return, Mul, Command
);
