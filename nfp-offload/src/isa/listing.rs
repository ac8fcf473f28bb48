//! NFP assembly, in the syntax of the field's disassemblers.

use std::fmt::{self, Display, Formatter, Write};

use super::{
    AddressMode, Alu, Branch, BranchBit, Command, Immed, Insn, LmAccess, LoadField, Mul, MulKind,
    Operand, Return, Shift, ShiftControl, decode,
};
use crate::ustore;

/// One line a word: address, word with ECC, instruction. A word that is no instruction is shown
/// with the reason; `start` is the address of the first one.
pub fn listing(words: &[u64], start: u16) -> String {
    let mut text = String::new();
    for (address, &word) in (usize::from(start)..).zip(words) {
        let insn = match ustore::strip(word).map_err(|e| e.to_string()) {
            Ok(bits) => match decode(bits) {
                Ok(insn) => insn.to_string(),
                Err(error) => format!("; {}", error.problem),
            },
            Err(error) => format!("; {error}"),
        };
        let _ = writeln!(text, ".{address:<5} {word:016x}  {insn}");
    }
    text
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("--"),
            Self::A(n) | Self::Both(n) => write!(f, "gprA_{n}"),
            Self::B(n) => write!(f, "gprB_{n}"),
            Self::Xfer(n) => write!(f, "$xfer_{n}"),
            Self::Lm(index, LmAccess::Offset(0)) => write!(f, "*l$index{index}"),
            Self::Lm(index, LmAccess::Offset(offset)) => write!(f, "*l$index{index}[{offset}]"),
            Self::Lm(index, LmAccess::Increment) => write!(f, "*l$index{index}++"),
            Self::Lm(index, LmAccess::Decrement) => write!(f, "*l$index{index}--"),
            Self::Imm(value) => write!(f, "{value:#x}"),
        }
    }
}

/// A destination in both banks is marked after the instruction.
const fn both_banks(dst: Operand) -> &'static str {
    match dst {
        Operand::Both(_) => ", gpr_wrboth",
        _ => "",
    }
}

/// `, defer[n]`.
struct Defer(u8);

impl Display for Defer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            slots => write!(f, ", defer[{slots}]"),
        }
    }
}

impl Display for Insn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alu(insn) => write!(f, "{insn}"),
            Self::Shift(insn) => write!(f, "{insn}"),
            Self::LoadField(insn) => write!(f, "{insn}"),
            &Self::NOP => f.write_str("nop"),
            Self::Immed(insn) => write!(f, "{insn}"),
            Self::Branch(Branch {
                condition,
                target,
                defer,
            }) => write!(f, "{}[.{target}]{}", condition.symbol(), Defer(*defer)),
            Self::BranchBit(insn) => write!(f, "{insn}"),
            Self::Return(Return { src, defer }) => write!(f, "rtn[{src}]{}", Defer(*defer)),
            Self::Mul(insn) => write!(f, "{insn}"),
            Self::CsrRead { csr } => write!(f, "local_csr_rd[{}]", csr.symbol()),
            Self::CsrWrite { csr, src } => write!(f, "local_csr_wr[{}, {src}]", csr.symbol()),
            Self::Command(insn) => write!(f, "{insn}"),
            Self::CtxArb { bits } => write!(f, "ctx_arb[{bits:#x}]"),
            Self::BranchByte { bits } => write!(f, "br_byte[{bits:#x}]"),
        }
    }
}

impl Display for Alu {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            dst,
            left,
            op,
            right,
        } = *self;
        let op = op.symbol();
        write!(f, "alu[{dst}, {left}, {op}, {right}]{}", both_banks(dst))
    }
}

impl Display for Shift {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            dst, left, right, ..
        } = *self;
        if self.control == ShiftControl::Double {
            write!(f, "dbl_shf[{dst}, {left}, {right}, >>")?;
        } else {
            let (op, control) = (self.op.symbol(), self.control.symbol());
            write!(f, "alu_shf[{dst}, {left}, {op}, {right}, {control}")?;
        }
        if self.is_indirect() {
            write!(f, "indirect]{}", both_banks(dst))
        } else {
            write!(f, "{}]{}", self.amount, both_banks(dst))
        }
    }
}

impl Display for LoadField {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            dst, bytes, src, ..
        } = *self;
        let clear = if self.clear { "_w_clr" } else { "" };
        write!(f, "ld_field{clear}[{dst}, {bytes:04b}, {src}")?;
        if self.control != ShiftControl::Rotate || self.amount != 0 {
            write!(f, ", {}{}", self.control.symbol(), self.amount)?;
        }
        write!(f, "]{}", both_banks(dst))
    }
}

impl Display for Immed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.width.symbol();
        let invert = if self.invert { "~" } else { "" };
        write!(f, "{name}[{}, {invert}{:#x}", self.dst, self.value)?;
        if self.shift.code() != 0 {
            write!(f, ", {}", self.shift.symbol())?;
        }
        write!(f, "]{}", both_banks(self.dst))
    }
}

impl Display for BranchBit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = if self.set { "br_bset" } else { "br_bclr" };
        let Self { src, bit, .. } = self;
        write!(
            f,
            "{name}[{src}, {bit}, .{}]{}",
            self.target,
            Defer(self.defer)
        )
    }
}

impl Display for Mul {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { left, right, .. } = self;
        write!(f, "mul_step[{left}, {right}], ")?;
        match self.kind {
            MulKind::Start => f.write_str(self.kind.symbol())?,
            MulKind::By24x8 | MulKind::By16x16 | MulKind::By32x32 => {
                write!(f, "{}_{}", self.kind.symbol(), self.step.symbol())?;
            }
        }
        f.write_str(both_banks(*left))
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { xfer, a, b, .. } = self;
        write!(f, "mem[{}, $xfer_{xfer}, ", self.op.symbol())?;
        match self.mode {
            AddressMode::Bits32 => write!(f, "{a}, {b}, ")?,
            AddressMode::Bits40Ab => write!(f, "{a}, <<8, {b}, ")?,
            AddressMode::Bits40Ba => write!(f, "{b}, <<8, {a}, ")?,
        }
        let indirect = if self.indirect { ", indirect_ref" } else { "" };
        let count = u16::from(self.count) + 1;
        write!(f, "{count}], {}{indirect}", self.swap.symbol())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn words_of_a_program() {
        let words = [
            0x000f_20f0_03f0_5bff,
            0x0007_00b4_4160_5a20,
            0x0009_a2f0_800c_0005,
            0x0008_00c1_0c04_8a00,
            0x0004_60aa_b000_0303,
            0x0000_80db_0300_8125,
            0x000b_60f4_4440_0b11,
            0x000b_0081_d010_0200,
            0x000b_c094_0024_09ff,
            0x0000_60d8_0060_8038,
            0x0003_c0fc_09e0_5700,
            0x0000_00f0_000c_0300,
            0x0000_00f0_000c_0301,
            1 << 63,
        ];
        expect![[r"
            .3072  000f20f003f05bff  immed[gprB_22, 0x3fff]
            .3073  000700b441605a20  alu[gprB_22, gprB_22, AND, *l$index1]
            .3074  0009a2f0800c0005  immed[gprA_5, ~0x0], gpr_wrboth
            .3075  000800c10c048a00  ld_field[gprA_0, 1100, 0x82, <<16]
            .3076  000460aab0000303  alu[--, 0x3, -, gprB_0]
            .3077  000080db03008125  blo[.3084]
            .3078  000b60f444400b11  immed_w[gprB_2, 0x4411, <<16]
            .3079  000b0081d0100200  alu_shf[gprA_1, --, B, gprB_0, <<3]
            .3080  000bc094002409ff  alu_shf[gprB_2, 0xff, AND, gprB_2, >>indirect]
            .3081  000060d800608038  br[.1], defer[2]
            .3082  0003c0fc09e05700  local_csr_wr[ActLMAddr3, gprB_21]
            .3083  000000f0000c0300  nop
            .3084  000000f0000c0301  ; wrong ECC in 0x000000f0000c0301, should be 0x0000e0f0000c0301
            .3085  8000000000000000  ; bits 63 to 52 of 0x8000000000000000 must be zero
        "]]
        .assert_eq(&listing(&words, 3072));
    }
}
