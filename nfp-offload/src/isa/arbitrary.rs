//! Strategies for the property tests: instructions that have an encoding.

use proptest::prelude::*;
use proptest::sample::select;

use super::{
    AddressMode, Alu, AluOp, Branch, BranchBit, Command, CommandOp, Condition, ContextSwap, Csr,
    Immed, ImmedShift, ImmedWidth, Insn, LmAccess, LoadField, Mul, MulKind, MulStep, Operand,
    Return, Shift, ShiftControl, ShiftOp, encode,
};

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        Just(Operand::None),
        (0..32u8).prop_map(Operand::A),
        (0..32u8).prop_map(Operand::B),
        (0..32u8).prop_map(Operand::Both),
        (0..32u8).prop_map(Operand::Xfer),
        (0..4u8, 0..16u8).prop_map(|(index, offset)| Operand::lm(index, offset)),
        (0..4u8).prop_map(|index| Operand::Lm(index, LmAccess::Increment)),
        (0..4u8).prop_map(|index| Operand::Lm(index, LmAccess::Decrement)),
        any::<u8>().prop_map(Operand::Imm),
    ]
}

fn shift() -> impl Strategy<Value = Insn> {
    (
        (operand(), operand(), operand()),
        select(ShiftOp::ALL),
        select(ShiftControl::ALL),
        0..32u8,
    )
        .prop_map(|((dst, left, right), op, control, amount)| {
            Insn::Shift(Shift {
                dst,
                left,
                op,
                right,
                control,
                amount,
            })
        })
}

fn load_field() -> impl Strategy<Value = Insn> {
    (
        (operand(), operand()),
        (0..16u8, any::<bool>()),
        select(ShiftControl::ALL),
        0..32u8,
    )
        .prop_map(|((dst, src), (bytes, clear), control, amount)| {
            Insn::LoadField(LoadField {
                dst,
                bytes,
                src,
                control,
                amount,
                clear,
            })
        })
}

fn immed() -> impl Strategy<Value = Insn> {
    (
        operand(),
        any::<u16>(),
        select(ImmedWidth::ALL),
        any::<bool>(),
        select(ImmedShift::ALL),
    )
        .prop_map(|(dst, value, width, invert, shift)| {
            Insn::Immed(Immed {
                dst,
                value,
                width,
                invert,
                shift,
            })
        })
}

fn command() -> impl Strategy<Value = Insn> {
    (
        (select(CommandOp::ALL), 0..32u8, 0..8u8),
        (operand(), operand(), select(AddressMode::ALL)),
        (select(ContextSwap::ALL), any::<bool>()),
    )
        .prop_map(|((op, xfer, count), (a, b, mode), (swap, indirect))| {
            Insn::Command(Command {
                op,
                xfer,
                a,
                b,
                mode,
                count,
                swap,
                indirect,
            })
        })
}

/// Branches go to one of the addresses `start` to `start + 63`.
fn control(start: u16) -> impl Strategy<Value = Insn> {
    let target = start..start + 64;
    prop_oneof![
        (select(Condition::ALL), target.clone(), 0..4u8).prop_map(|(condition, target, defer)| {
            Insn::Branch(Branch {
                condition,
                target,
                defer,
            })
        }),
        (operand(), 0..32u8, any::<bool>(), target, 0..4u8).prop_map(
            |(src, bit, set, target, defer)| {
                Insn::BranchBit(BranchBit {
                    src,
                    bit,
                    set,
                    target,
                    defer,
                })
            }
        ),
        (operand(), 0..4u8).prop_map(|(src, defer)| Insn::Return(Return { src, defer })),
    ]
}

/// Any instruction with an encoding, branches near `start`.
pub(crate) fn insn(start: u16) -> impl Strategy<Value = Insn> {
    prop_oneof![
        3 => (operand(), operand(), select(AluOp::ALL), operand()).prop_map(
            |(dst, left, op, right)| Insn::Alu(Alu { dst, left, op, right })
        ),
        2 => shift(),
        2 => load_field(),
        2 => immed(),
        1 => control(start),
        1 => (select(MulKind::ALL), select(MulStep::ALL), operand(), operand()).prop_map(
            |(kind, step, left, right)| Insn::Mul(Mul { kind, step, left, right })
        ),
        1 => select(Csr::ALL).prop_map(|csr| Insn::CsrRead { csr }),
        1 => (select(Csr::ALL), operand()).prop_map(|(csr, src)| Insn::CsrWrite { csr, src }),
        1 => command(),
    ]
    .prop_filter("has no encoding", |insn| encode(insn).is_ok())
}
