//! The grammar of instructions: one function for each shape of `docs/assembly.md`.

use super::token::{
    ANY32, Expected, I16, I32, Parsed, U32, any_name, described, distance, expected, name, number,
    register, register_of, required, same_register, sign, unsigned, word,
};
use crate::isa::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt, value};
use nom::sequence::{delimited, pair, preceded, terminated};
use std::ops::RangeInclusive;

/// An instruction whose names are still to be looked up; until then its field for them is 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) insn: Insn,
    pub(super) reference: Option<Reference>,
}

/// A name that an instruction refers to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reference {
    pub(super) kind: ReferenceKind,
    pub(super) name: String,
    /// Bytes from the start of the name to the end of the line: where it stands.
    pub(super) to_end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ReferenceKind {
    /// A label that is jumped to or whose address is taken.
    Label,
    /// What is called: a label or a helper.
    Callee,
    /// A map.
    Map,
}

fn reference<'a>(
    kind: ReferenceKind,
    mut part: impl Parser<&'a str, Output = String, Error = Expected<'a>>,
) -> impl FnMut(&'a str) -> Parsed<'a, Reference> {
    move |input| {
        let (rest, name) = part.parse(input)?;
        Ok((
            rest,
            Reference {
                kind,
                name,
                to_end: input.len(),
            },
        ))
    }
}

impl From<Insn> for Statement {
    fn from(insn: Insn) -> Self {
        Self {
            insn,
            reference: None,
        }
    }
}

/// Any instruction.
pub(super) fn instruction(input: &str) -> Parsed<'_, Statement> {
    alt((
        jump,
        jump_if,
        call,
        value(Insn::Exit.into(), word("exit")),
        map(lock, Statement::from),
        map(store, Statement::from),
        assignment,
    ))
    .parse(input)
}

fn jump(input: &str) -> Parsed<'_, Statement> {
    let (rest, keyword) = alt((word("gotol"), word("goto"), word("may_goto"))).parse(input)?;
    let long = keyword == "gotol";
    let (rest, (off, reference)) = target(rest, if long { I32 } else { I16 })?;
    let insn = if keyword == "may_goto" {
        Insn::MayGoto { off: off as i16 }
    } else {
        Insn::Jump { off, long }
    };
    Ok((rest, Statement { insn, reference }))
}

fn jump_if(input: &str) -> Parsed<'_, Statement> {
    let (rest, (dst, width)) = preceded(word("if"), register).parse(input)?;
    let (rest, cond) = described("a comparison such as `==` or `s>`", condition).parse(rest)?;
    let (rest, src) = operand(width).parse(rest)?;
    let (rest, (off, reference)) = preceded(word("goto"), |rest| target(rest, I16)).parse(rest)?;
    let insn = Insn::JumpIf {
        cond,
        width,
        dst,
        src,
        off: off as i16,
    };
    Ok((rest, Statement { insn, reference }))
}

/// A label, or a distance in slots: `+3` or, as the kernel prints it, `pc+3`.
fn target(input: &str, range: RangeInclusive<i64>) -> Parsed<'_, (i32, Option<Reference>)> {
    let by_distance = preceded(opt(sign("pc")), distance(range));
    alt((
        map(by_distance, |off| (off as i32, None)),
        map(reference(ReferenceKind::Label, label), |label| {
            (0, Some(label))
        }),
    ))
    .parse(input)
}

fn label(input: &str) -> Parsed<'_, String> {
    map(name, str::to_owned).parse(input)
}

fn call(input: &str) -> Parsed<'_, Statement> {
    let helper = map(number(U32), |number| CallTarget::Helper(number as u32));
    let local = map(preceded(sign("pc"), distance(I32)), |off| {
        CallTarget::Local(off as i32)
    });
    let kfunc = map(
        pair(
            preceded(sign("kfunc#"), number(I32)),
            opt(preceded(word("module"), number(I16))),
        ),
        |(btf_id, module)| CallTarget::Kfunc {
            btf_id: btf_id as i32,
            module: module.unwrap_or(0) as i16,
        },
    );
    let by_number = map(alt((helper, local, kfunc)), |target| {
        Insn::Call { target }.into()
    });
    let by_name = map(reference(ReferenceKind::Callee, label), |callee| {
        Statement {
            insn: Insn::Call {
                target: CallTarget::Local(0),
            },
            reference: Some(callee),
        }
    });
    preceded(word("call"), alt((by_number, by_name))).parse(input)
}

/// `*(u32 *)(r1 + 4) = r2`
fn store(input: &str) -> Parsed<'_, Insn> {
    let (rest, (size, (base, off))) = pair(memory_size, address).parse(input)?;
    let (rest, _) = sign("=").parse(rest)?;
    let narrow = size != Size::DW;
    let imm = number(if narrow { ANY32 } else { I32 });
    let (rest, src) = alt((
        map(stored_register(narrow), Operand::Reg),
        map(imm, |imm| Operand::Imm(imm as i32)),
    ))
    .parse(rest)?;
    Ok((
        rest,
        Insn::Store {
            size,
            base,
            off,
            src,
        },
    ))
}

/// A register as the source of a store of 1 to 4 bytes may be written by either of its names.
fn stored_register<'a>(narrow: bool) -> impl FnMut(&'a str) -> Parsed<'a, Reg> {
    move |input| {
        if narrow {
            map(register, |(reg, _)| reg).parse(input)
        } else {
            register_of(Width::W64).parse(input)
        }
    }
}

/// `lock *(u64 *)(r1 + 0) += r2`
fn lock(input: &str) -> Parsed<'_, Insn> {
    let (rest, (size, (base, off))) = preceded(
        pair(word("lock"), sign("*")),
        pair(pointer_to(atomic_size), address),
    )
    .parse(input)?;
    let (rest, op) = alt((
        value(AtomicOp::Add { fetch: false }, sign("+=")),
        value(AtomicOp::Or { fetch: false }, sign("|=")),
        value(AtomicOp::And { fetch: false }, sign("&=")),
        value(AtomicOp::Xor { fetch: false }, sign("^=")),
    ))
    .parse(rest)?;
    let (rest, src) = stored_register(size == Size::W).parse(rest)?;
    Ok((
        rest,
        Insn::Atomic {
            op,
            size,
            base,
            off,
            src,
        },
    ))
}

/// Everything that begins with the destination register.
fn assignment(input: &str) -> Parsed<'_, Statement> {
    let (rest, (dst, width)) = register(input)?;
    let (rest, op) = described("an operator such as `=` or `+=`", assignment_sign).parse(rest)?;
    if let Some(op) = op {
        let (rest, src) = operand(width).parse(rest)?;
        return Ok((
            rest,
            Insn::Alu {
                op,
                width,
                dst,
                src,
            }
            .into(),
        ));
    }
    let wide = |rest| wide_value(rest, dst, width);
    let simple = alt((
        |rest| negation(rest, dst, width),
        |rest| sign_extension(rest, dst, width),
        |rest| packet_load(rest, dst),
        |rest| load(rest, dst, width),
        |rest| byte_swap(rest, dst, width),
        |rest| fetch(rest, dst, width),
        |rest| exchange(rest, dst, width),
        map(operand(width), |src| Insn::Mov { width, dst, src }),
    ));
    let right_side = alt((wide, map(simple, Statement::from)));
    described(
        "a register, a number, or another right-hand side",
        right_side,
    )
    .parse(rest)
}

/// `None` is the plain `=`.
fn assignment_sign(input: &str) -> Parsed<'_, Option<AluOp>> {
    alt((
        value(None, sign("=")),
        value(Some(AluOp::Add), sign("+=")),
        value(Some(AluOp::Sub), sign("-=")),
        value(Some(AluOp::Mul), sign("*=")),
        value(Some(AluOp::Div), sign("/=")),
        value(Some(AluOp::SignedDiv), sign("s/=")),
        value(Some(AluOp::Or), sign("|=")),
        value(Some(AluOp::And), sign("&=")),
        value(Some(AluOp::Lsh), sign("<<=")),
        value(Some(AluOp::Rsh), sign(">>=")),
        value(Some(AluOp::Mod), sign("%=")),
        value(Some(AluOp::SignedMod), sign("s%=")),
        value(Some(AluOp::Xor), sign("^=")),
        value(Some(AluOp::Arsh), sign("s>>=")),
    ))
    .parse(input)
}

fn condition(input: &str) -> Parsed<'_, Condition> {
    // The longer of two signs with the same start comes first.
    alt((
        value(Condition::Eq, sign("==")),
        value(Condition::Ne, sign("!=")),
        value(Condition::Set, sign("&")),
        value(Condition::Ge, sign(">=")),
        value(Condition::Gt, sign(">")),
        value(Condition::Le, sign("<=")),
        value(Condition::Lt, sign("<")),
        value(Condition::SignedGe, sign("s>=")),
        value(Condition::SignedGt, sign("s>")),
        value(Condition::SignedLe, sign("s<=")),
        value(Condition::SignedLt, sign("s<")),
    ))
    .parse(input)
}

/// The second operand of arithmetic and comparisons.
fn operand<'a>(width: Width) -> impl Parser<&'a str, Output = Operand, Error = Expected<'a>> {
    let range = match width {
        Width::W32 => ANY32,
        Width::W64 => I32,
    };
    alt((
        map(register_of(width), Operand::Reg),
        map(number(range), |imm| Operand::Imm(imm as i32)),
    ))
}

/// The two-slot values, which all end in `ll`.
fn wide_value(input: &str, dst: Reg, width: Width) -> Parsed<'_, Statement> {
    if width == Width::W32 {
        return expected(input, "a 32-bit value");
    }
    let function = preceded(word("func"), |rest| target(rest, I32));
    let variable = preceded(sign("variable#"), number(U32));
    let (rest, (value, reference)) = alt((
        map(wide_number, |number| (Imm64::Number(number), None)),
        map_value,
        map(function, |(offset, reference)| {
            (Imm64::Function { offset }, reference)
        }),
        map(variable, |btf_id| {
            (
                Imm64::Variable {
                    btf_id: btf_id as u32,
                },
                None,
            )
        }),
    ))
    .parse(input)?;
    let (rest, _) = word("ll").parse(rest)?;
    Ok((
        rest,
        Statement {
            insn: Insn::LoadImm64 { dst, value },
            reference,
        },
    ))
}

fn wide_number(input: &str) -> Parsed<'_, u64> {
    if input.starts_with('-') {
        map(number(i64::MIN..=-1), |number| number as u64).parse(input)
    } else {
        unsigned(input)
    }
}

/// `map[name]`, `map[2]`, and with an offset an address inside the map's value.
fn map_value(input: &str) -> Parsed<'_, (Imm64, Option<Reference>)> {
    let by_index = map(number(U32), |index| (index as u32, None));
    let by_name = map(reference(ReferenceKind::Map, any_name), |name| {
        (0, Some(name))
    });
    let (rest, (map, reference)) =
        delimited(sign("map["), alt((by_index, by_name)), sign("]")).parse(input)?;
    let (rest, offset) = opt(preceded(sign("+"), number(U32))).parse(rest)?;
    let value = match offset {
        None => Imm64::Map(map),
        Some(offset) => Imm64::MapValue {
            map,
            offset: offset as u32,
        },
    };
    Ok((rest, (value, reference)))
}

fn negation(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    let (rest, _) = sign("-").parse(input)?;
    // A digit makes it a negative number, which is another form.
    register(rest)?;
    let (rest, _) = same_register(dst, width).parse(rest)?;
    Ok((rest, Insn::Neg { width, dst }))
}

fn sign_extension(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    let (at, _) = sign("(").parse(input)?;
    let (rest, from) = described("`s8`, `s16` or `s32`", signed_size).parse(at)?;
    if width == Width::W32 && from == Size::W {
        return required(at, "`s8` or `s16`, as the register has 32 bits");
    }
    let (rest, src) = preceded(sign(")"), register_of(width)).parse(rest)?;
    Ok((
        rest,
        Insn::MovSigned {
            width,
            dst,
            src,
            from,
        },
    ))
}

/// `*(u32 *)(r1 + 4)`
fn load(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    let kind = alt((
        map(signed_size, |size| (true, size)),
        map(unsigned_size, |size| (false, size)),
    ));
    let (rest, (signed, size)) = preceded(sign("*"), pointer_to(kind)).parse(input)?;
    let (rest, (base, off)) = address(rest)?;
    // A 32-bit name is right only where the upper half becomes zero.
    if width == Width::W32 && (signed || size == Size::DW) {
        return required(input, "a load of up to 32 bits without sign extension");
    }
    Ok((
        rest,
        Insn::Load {
            size,
            signed,
            dst,
            base,
            off,
        },
    ))
}

/// `*(u16 *)skb[r6 + 14]`
fn packet_load(input: &str, dst: Reg) -> Parsed<'_, Insn> {
    let (rest, size) = memory_size(input)?;
    let (rest, _) = sign("skb[").parse(rest)?;
    let absolute = map(number(I32), |imm| (PacketMode::Absolute, imm));
    let indirect = map(
        pair(register_of(Width::W64), distance(I32)),
        |(index, imm)| (PacketMode::Indirect(index), imm),
    );
    let (rest, (mode, imm)) = terminated(alt((absolute, indirect)), sign("]")).parse(rest)?;
    if size == Size::DW || dst != Reg::R0 {
        return required(input, "a load of up to 32 bits into r0");
    }
    Ok((
        rest,
        Insn::LoadPacket {
            size,
            mode,
            imm: imm as i32,
        },
    ))
}

fn byte_swap(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    use {ByteOrder as Order, SwapWidth as Bits};
    let (rest, (order, bits)) = alt((
        value((Order::Big, Bits::B16), word("be16")),
        value((Order::Big, Bits::B32), word("be32")),
        value((Order::Big, Bits::B64), word("be64")),
        value((Order::Little, Bits::B16), word("le16")),
        value((Order::Little, Bits::B32), word("le32")),
        value((Order::Little, Bits::B64), word("le64")),
        value((Order::Swap, Bits::B16), word("bswap16")),
        value((Order::Swap, Bits::B32), word("bswap32")),
        value((Order::Swap, Bits::B64), word("bswap64")),
    ))
    .parse(input)?;
    let (rest, _) = same_register(dst, width).parse(rest)?;
    Ok((rest, Insn::ByteSwap { order, bits, dst }))
}

/// `atomic_fetch_add((u64 *)(r1 + 0), r2)`; the kernel writes exchanges so too.
fn fetch(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    let (rest, op) = alt((
        value(AtomicOp::Add { fetch: true }, word("atomic_fetch_add")),
        value(AtomicOp::Or { fetch: true }, word("atomic_fetch_or")),
        value(AtomicOp::And { fetch: true }, word("atomic_fetch_and")),
        value(AtomicOp::Xor { fetch: true }, word("atomic_fetch_xor")),
        value(AtomicOp::Exchange, word("atomic_xchg")),
        value(AtomicOp::CompareExchange, word("atomic_cmpxchg")),
    ))
    .parse(input)?;
    let (rest, _) = sign("(").parse(rest)?;
    let (rest, size) = pointer_to(atomic_size).parse(rest)?;
    let (rest, address) = address(rest)?;
    fetched(rest, op, size, address, (dst, width))
}

/// `xchg_64(r1 + 0, r2)` and `cmpxchg32_32(r1 + 0, w0, w2)`, as LLVM writes them.
fn exchange(input: &str, dst: Reg, width: Width) -> Parsed<'_, Insn> {
    let (rest, (op, size)) = alt((
        value((AtomicOp::Exchange, Size::DW), word("xchg_64")),
        value((AtomicOp::Exchange, Size::W), word("xchg32_32")),
        value((AtomicOp::CompareExchange, Size::DW), word("cmpxchg_64")),
        value((AtomicOp::CompareExchange, Size::W), word("cmpxchg32_32")),
    ))
    .parse(input)?;
    let (rest, address) = preceded(sign("("), base_and_offset).parse(rest)?;
    fetched(rest, op, size, address, (dst, width))
}

/// The operands of an atomic operation after the address: the register on the left again, and
/// after it, for compare-and-exchange (whose left side is `r0`), the new value.
fn fetched(
    input: &str,
    op: AtomicOp,
    size: Size,
    (base, off): (Reg, i16),
    (dst, width): (Reg, Width),
) -> Parsed<'_, Insn> {
    let repeated = preceded(sign(","), |rest| {
        if size == Size::DW && width == Width::W32 {
            return required(rest, "a 64-bit register, as the memory has 64 bits");
        }
        same_register(dst, width).parse(rest)
    });
    let (rest, src) = if op == AtomicOp::CompareExchange {
        if dst != Reg::R0 {
            return required(input, "`r0` on the left of a compare-and-exchange");
        }
        preceded(pair(repeated, sign(",")), register_of(width)).parse(input)?
    } else {
        let mut repeated = repeated;
        repeated.parse(input)?
    };
    let (rest, _) = sign(")").parse(rest)?;
    Ok((
        rest,
        Insn::Atomic {
            op,
            size,
            base,
            off,
            src,
        },
    ))
}

/// `*(u32 *)`
fn memory_size(input: &str) -> Parsed<'_, Size> {
    preceded(sign("*"), pointer_to(unsigned_size)).parse(input)
}

/// `(u32 *)`
fn pointer_to<'a, T>(
    kind: impl Parser<&'a str, Output = T, Error = Expected<'a>>,
) -> impl Parser<&'a str, Output = T, Error = Expected<'a>> {
    delimited(sign("("), kind, pair(sign("*"), sign(")")))
}

/// `(r1 + 4)`
fn address(input: &str) -> Parsed<'_, (Reg, i16)> {
    delimited(sign("("), base_and_offset, sign(")")).parse(input)
}

/// `r1 + 4`, or the register alone.
fn base_and_offset(input: &str) -> Parsed<'_, (Reg, i16)> {
    let offset = map(opt(distance(I16)), |off| off.unwrap_or(0) as i16);
    pair(register_of(Width::W64), offset).parse(input)
}

fn unsigned_size(input: &str) -> Parsed<'_, Size> {
    let sizes = alt((
        value(Size::B, word("u8")),
        value(Size::H, word("u16")),
        value(Size::W, word("u32")),
        value(Size::DW, word("u64")),
    ));
    described("`u8`, `u16`, `u32` or `u64`", sizes).parse(input)
}

fn signed_size(input: &str) -> Parsed<'_, Size> {
    let sizes = alt((
        value(Size::B, word("s8")),
        value(Size::H, word("s16")),
        value(Size::W, word("s32")),
    ));
    described("`s8`, `s16` or `s32`", sizes).parse(input)
}

fn atomic_size(input: &str) -> Parsed<'_, Size> {
    let sizes = alt((value(Size::W, word("u32")), value(Size::DW, word("u64"))));
    described("`u32` or `u64`", sizes).parse(input)
}
