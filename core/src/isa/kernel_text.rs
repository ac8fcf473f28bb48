//! The text of one instruction as the kernel's verifier prints it in its log, opcode included
//! (kernel/bpf/disasm.c).

use std::fmt::{Display, Formatter, Result};

use super::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Imm64, Insn, Operand, PacketMode, Reg, Size, Width,
    encode, text,
};
use crate::helper;

/// An instruction in the words of the kernel's log. Addresses of maps are shown as 0, as the kernel
/// does where addresses must not leak.
#[derive(Clone, Copy, Debug)]
pub struct KernelText(pub Insn);

impl Display for KernelText {
    #[expect(
        clippy::too_many_lines,
        reason = "a flat match with one short arm for each variant"
    )]
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0 == Insn::WideTail {
            return f.write_str("(00)");
        }
        write!(f, "({:02x}) ", encode(&[self.0])[0])?;
        match self.0 {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => {
                let (dst, symbol) = (RegText(dst, width), text::alu_symbol(op));
                write!(f, "{dst} {symbol}= {}", OperandText(src, width))
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
                let word = match order {
                    ByteOrder::Little => "le",
                    ByteOrder::Big => "be",
                    ByteOrder::Swap => "bswap",
                };
                write!(f, "{dst} = {word}{} {dst}", bits.bits())
            }
            Insn::LoadImm64 { dst, value } => {
                let number = match value {
                    Imm64::Number(number) => number,
                    Imm64::Function { offset } => u64::from(offset as u32),
                    Imm64::Variable { btf_id } => u64::from(btf_id),
                    Imm64::Map(_) | Imm64::MapValue { .. } => 0,
                };
                write!(f, "{dst} = {number:#x}")
            }
            Insn::WideTail => Ok(()),
            Insn::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let sign = if signed { 's' } else { 'u' };
                let bits = 8 * size.bytes();
                write!(f, "{dst} = *({sign}{bits} *){}", Address(base, off))
            }
            Insn::Store {
                size,
                base,
                off,
                src,
            } => {
                let (size, src) = (text::size_word(size), OperandText(src, Width::W64));
                write!(f, "*({size} *){} = {src}", Address(base, off))
            }
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => atomic(f, op, size, &Address(base, off), src),
            Insn::LoadPacket { size, mode, imm } => {
                write!(f, "r0 = *({} *)skb[", text::size_word(size))?;
                match mode {
                    PacketMode::Absolute => write!(f, "{imm}]"),
                    PacketMode::Indirect(index) => write!(f, "{index} + {imm}]"),
                }
            }
            Insn::Jump { off, long: true } => write!(f, "gotol pc{off:+}"),
            Insn::Jump { off, long: false } => write!(f, "goto pc{off:+}"),
            Insn::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                off,
            } => {
                let (dst, symbol) = (RegText(dst, width), text::condition_symbol(cond));
                match src {
                    Operand::Reg(src) => {
                        write!(
                            f,
                            "if {dst} {symbol} {} goto pc{off:+}",
                            RegText(src, width)
                        )
                    }
                    Operand::Imm(imm) => write!(f, "if {dst} {symbol} {imm:#x} goto pc{off:+}"),
                }
            }
            Insn::Call { target } => call(f, target),
            Insn::Exit => f.write_str("exit"),
        }
    }
}

fn call(f: &mut Formatter<'_>, target: CallTarget) -> Result {
    match target {
        CallTarget::Helper(number) => {
            let name = helper::by_number(number).map_or("unknown", |helper| helper.name);
            write!(f, "call {name}#{number}")
        }
        CallTarget::Local(off) => write!(f, "call pc{off:+}"),
        CallTarget::Kernel(kfunc) => write!(f, "call {}", kfunc.name()),
        CallTarget::Kfunc { btf_id, .. } => write!(f, "call kernel-function#{btf_id}"),
    }
}

fn atomic(f: &mut Formatter<'_>, op: AtomicOp, size: Size, address: &Address, src: Reg) -> Result {
    let wide = if size == Size::DW { "64" } else { "" };
    let memory = text::size_word(size);
    let (symbol, word, fetch) = match op {
        AtomicOp::Add { fetch } => (AluOp::Add, "add", fetch),
        AtomicOp::Or { fetch } => (AluOp::Or, "or", fetch),
        AtomicOp::And { fetch } => (AluOp::And, "and", fetch),
        AtomicOp::Xor { fetch } => (AluOp::Xor, "xor", fetch),
        AtomicOp::Exchange => {
            return write!(f, "{src} = atomic{wide}_xchg(({memory} *){address}, {src})");
        }
        AtomicOp::CompareExchange => {
            return write!(
                f,
                "r0 = atomic{wide}_cmpxchg(({memory} *){address}, r0, {src})"
            );
        }
    };
    if fetch {
        write!(
            f,
            "{src} = atomic{wide}_fetch_{word}(({memory} *){address}, {src})"
        )
    } else {
        let symbol = text::alu_symbol(symbol);
        write!(f, "lock *({memory} *){address} {symbol}= {src}")
    }
}

/// A register by the width that is used of it.
struct RegText(Reg, Width);

impl Display for RegText {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let letter = if self.1 == Width::W32 { 'w' } else { 'r' };
        write!(f, "{letter}{}", self.0.number())
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

/// `(r1 +4)`
struct Address(Reg, i16);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "({} {:+})", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::assemble;
    use expect_test::expect;

    #[test]
    fn every_shape_in_the_kernels_words() {
        let source = "r1 = r2\nw1 = -5\nr3 += 7\nw3 s>>= w4\nr1 s/= r2\nr1 = -r1\nw2 = -w2\n\
            r1 = (s8)r2\nr1 = be16 r1\nr2 = bswap32 r2\nr1 = 0x1122334455667788 ll\n\
            r1 = *(u32 *)(r1 + 4)\nr1 = *(s8 *)(r1 - 1)\n*(u64 *)(r10 - 8) = r1\n\
            *(u8 *)(r1 + 0) = 5\nlock *(u64 *)(r1 + 0) += r2\n\
            r2 = atomic_fetch_or((u32 *)(r1 + 8), r2)\nr2 = xchg_64(r1 + 0, r2)\n\
            r0 = cmpxchg_64(r1 + 0, r0, r2)\nr0 = *(u8 *)skb[14]\nr0 = *(u16 *)skb[r1 + 2]\n\
            may_goto +1\nif r1 s> -1 goto +1\nif w1 & w2 goto +0\ngoto +0\ncall 1\ncall 9999\nexit\n";
        let module = assemble(source, "test.bpf").expect("assembles");
        let insns = module.programs[0].insns.iter();
        let lines = insns.filter(|insn| **insn != Insn::WideTail);
        let lines: Vec<_> = lines.map(|insn| KernelText(*insn).to_string()).collect();
        expect![[r"
            (bf) r1 = r2
            (b4) w1 = -5
            (07) r3 += 7
            (cc) w3 s>>= w4
            (3f) r1 s/= r2
            (87) r1 = -r1
            (84) w2 = -w2
            (bf) r1 = (s8)r2
            (dc) r1 = be16 r1
            (d7) r2 = bswap32 r2
            (18) r1 = 0x1122334455667788
            (61) r1 = *(u32 *)(r1 +4)
            (91) r1 = *(s8 *)(r1 -1)
            (7b) *(u64 *)(r10 -8) = r1
            (72) *(u8 *)(r1 +0) = 5
            (db) lock *(u64 *)(r1 +0) += r2
            (c3) r2 = atomic_fetch_or((u32 *)(r1 +8), r2)
            (db) r2 = atomic64_xchg((u64 *)(r1 +0), r2)
            (db) r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)
            (30) r0 = *(u8 *)skb[14]
            (48) r0 = *(u16 *)skb[r1 + 2]
            (e5) may_goto pc+1
            (65) if r1 s> 0xffffffff goto pc+1
            (4e) if w1 & w2 goto pc+0
            (05) goto pc+0
            (85) call bpf_map_lookup_elem#1
            (85) call unknown#9999
            (95) exit"]]
        .assert_eq(&lines.join("\n"));
    }
}
