//! The text of one instruction, in the syntax of LLVM's and the kernel's listings.
//! `docs/assembly.md` describes it; `asm/` reads it back.

use super::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    Width,
};
use crate::helper;
use std::fmt::{Display, Formatter, Result};

/// An instruction with the names of what it refers to. What has no name is shown as the number
/// that the instruction holds.
#[derive(Clone, Copy, Debug)]
pub struct InsnText<'a> {
    /// The instruction.
    pub insn: Insn,
    /// Label of the slot that it jumps to, calls or takes the address of.
    pub target: Option<&'a str>,
    /// Name of the map that it loads, quoted where the syntax needs it.
    pub map: Option<&'a str>,
    /// Name of the helper that it calls.
    pub helper: Option<&'a str>,
}

impl InsnText<'_> {
    /// The instruction alone: helpers have names, nothing else does.
    pub fn plain(insn: Insn) -> Self {
        let mut helper = None;
        if let Insn::Call {
            target: CallTarget::Helper(number),
        } = insn
        {
            helper = helper::by_number(number);
        }
        Self {
            insn,
            target: None,
            map: None,
            helper: helper.map(|helper| helper.name),
        }
    }
}

impl Display for Insn {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        InsnText::plain(*self).fmt(f)
    }
}

impl Display for InsnText<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "a flat match with one short arm for each variant"
    )]
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => {
                let (dst, src) = (RegText(dst, width), OperandText(src, width));
                write!(f, "{dst} {}= {src}", alu_symbol(op))
            }
            Insn::Mov { width, dst, src } => {
                write!(f, "{} = {}", RegText(dst, width), OperandText(src, width))
            }
            Insn::MovSigned {
                width,
                dst,
                src,
                from,
            } => {
                let (dst, src) = (RegText(dst, width), RegText(src, width));
                write!(f, "{dst} = (s{}){src}", 8 * from.bytes())
            }
            Insn::Neg { width, dst } => {
                let dst = RegText(dst, width);
                write!(f, "{dst} = -{dst}")
            }
            Insn::ByteSwap { order, bits, dst } => {
                write!(f, "{dst} = {}{} {dst}", order_word(order), bits.bits())
            }
            Insn::LoadImm64 { dst, value } => self.load_imm64(f, dst, value),
            Insn::WideTail => f.write_str("; second slot"),
            Insn::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let sign = if signed { 's' } else { 'u' };
                let address = Address(base, off);
                write!(f, "{dst} = *({sign}{} *)({address})", 8 * size.bytes())
            }
            Insn::Store {
                size,
                base,
                off,
                src,
            } => {
                let src = OperandText(src, Width::W64);
                write!(
                    f,
                    "*({} *)({}) = {src}",
                    size_word(size),
                    Address(base, off)
                )
            }
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => atomic(f, op, size, Address(base, off), src),
            Insn::LoadPacket { size, mode, imm } => packet_load(f, size, mode, imm),
            Insn::Jump { off, long } => {
                f.write_str(if long { "gotol " } else { "goto " })?;
                self.target(f, "", off)
            }
            Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                off,
            } => {
                let (dst, src) = (RegText(dst, width), OperandText(src, width));
                write!(f, "if {dst} {} {src} goto ", condition_symbol(cond))?;
                self.target(f, "", off.into())
            }
            Insn::MayGoto { off } => {
                f.write_str("may_goto ")?;
                self.target(f, "", off.into())
            }
            Insn::Call { target } => self.call(f, target),
            Insn::Exit => f.write_str("exit"),
        }
    }
}

impl InsnText<'_> {
    /// The label, or the distance with a sign.
    fn target(&self, f: &mut Formatter<'_>, prefix: &str, off: i32) -> Result {
        match self.target {
            Some(label) => f.write_str(label),
            None => write!(f, "{prefix}{off:+}"),
        }
    }

    fn load_imm64(&self, f: &mut Formatter<'_>, dst: Reg, value: Imm64) -> Result {
        write!(f, "{dst} = ")?;
        match value {
            Imm64::Number(number) => write!(f, "{number:#x}")?,
            Imm64::Map(map) => self.map(f, map)?,
            Imm64::MapValue { map, offset } => {
                self.map(f, map)?;
                write!(f, " + {offset}")?;
            }
            Imm64::Variable { btf_id } => write!(f, "variable#{btf_id}")?,
            Imm64::Function { offset } => {
                f.write_str("func ")?;
                self.target(f, "pc", offset)?;
            }
        }
        f.write_str(" ll")
    }

    fn map(&self, f: &mut Formatter<'_>, index: u32) -> Result {
        match self.map {
            Some(name) => write!(f, "map[{name}]"),
            None => write!(f, "map[{index}]"),
        }
    }

    fn call(&self, f: &mut Formatter<'_>, target: CallTarget) -> Result {
        f.write_str("call ")?;
        match target {
            CallTarget::Helper(number) => match self.helper {
                Some(name) => f.write_str(name),
                None => write!(f, "{number}"),
            },
            CallTarget::Local(off) => self.target(f, "pc", off),
            CallTarget::Kernel(kfunc) => f.write_str(kfunc.name()),
            CallTarget::Kfunc { btf_id, module: 0 } => write!(f, "kfunc#{btf_id}"),
            CallTarget::Kfunc { btf_id, module } => write!(f, "kfunc#{btf_id} module {module}"),
        }
    }
}

fn atomic(f: &mut Formatter<'_>, op: AtomicOp, size: Size, address: Address, src: Reg) -> Result {
    // LLVM names the operand by the width of the access.
    let (width, suffix) = match size {
        Size::DW => (Width::W64, "_64"),
        Size::B | Size::H | Size::W => (Width::W32, "32_32"),
    };
    let (r0, src) = (RegText(Reg::R0, width), RegText(src, width));
    let memory = size_word(size);
    let (symbol, word, fetch) = match op {
        AtomicOp::Add { fetch } => ('+', "add", fetch),
        AtomicOp::Or { fetch } => ('|', "or", fetch),
        AtomicOp::And { fetch } => ('&', "and", fetch),
        AtomicOp::Xor { fetch } => ('^', "xor", fetch),
        AtomicOp::Exchange => return write!(f, "{src} = xchg{suffix}({address}, {src})"),
        AtomicOp::CompareExchange => {
            return write!(f, "{r0} = cmpxchg{suffix}({address}, {r0}, {src})");
        }
    };
    if fetch {
        write!(
            f,
            "{src} = atomic_fetch_{word}(({memory} *)({address}), {src})"
        )
    } else {
        write!(f, "lock *({memory} *)({address}) {symbol}= {src}")
    }
}

fn packet_load(f: &mut Formatter<'_>, size: Size, mode: PacketMode, imm: i32) -> Result {
    write!(f, "r0 = *({} *)skb[", size_word(size))?;
    match mode {
        PacketMode::Absolute => write!(f, "{imm}]"),
        PacketMode::Indirect(index) => write!(f, "{index} {}]", Signed(imm.into())),
    }
}

/// A register by the width that is used of it.
struct RegText(Reg, Width);

impl Display for RegText {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.1 {
            Width::W32 => write!(f, "w{}", self.0.number()),
            Width::W64 => write!(f, "r{}", self.0.number()),
        }
    }
}

struct OperandText(Operand, Width);

impl Display for OperandText {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Operand::Reg(reg) => RegText(reg, self.1).fmt(f),
            Operand::Imm(imm) => imm.fmt(f),
        }
    }
}

/// `r1 + 4`
#[derive(Clone, Copy)]
struct Address(Reg, i16);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {}", self.0, Signed(self.1.into()))
    }
}

/// `+ 4` or `- 4`
struct Signed(i64);

impl Display for Signed {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign} {}", self.0.unsigned_abs())
    }
}

pub(super) fn alu_symbol(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+",
        AluOp::Sub => "-",
        AluOp::Mul => "*",
        AluOp::Div => "/",
        AluOp::SignedDiv => "s/",
        AluOp::Or => "|",
        AluOp::And => "&",
        AluOp::Lsh => "<<",
        AluOp::Rsh => ">>",
        AluOp::Mod => "%",
        AluOp::SignedMod => "s%",
        AluOp::Xor => "^",
        AluOp::Arsh => "s>>",
    }
}

pub(super) fn condition_symbol(cond: Condition) -> &'static str {
    match cond {
        Condition::Eq => "==",
        Condition::Ne => "!=",
        Condition::Set => "&",
        Condition::Gt => ">",
        Condition::Ge => ">=",
        Condition::Lt => "<",
        Condition::Le => "<=",
        Condition::SignedGt => "s>",
        Condition::SignedGe => "s>=",
        Condition::SignedLt => "s<",
        Condition::SignedLe => "s<=",
    }
}

fn order_word(order: ByteOrder) -> &'static str {
    match order {
        ByteOrder::Little => "le",
        ByteOrder::Big => "be",
        ByteOrder::Swap => "bswap",
    }
}

pub(super) fn size_word(size: Size) -> &'static str {
    match size {
        Size::B => "u8",
        Size::H => "u16",
        Size::W => "u32",
        Size::DW => "u64",
    }
}
