//! Random instructions and programs for property tests: every instruction that there is, nothing
//! about what a program may do.

use super::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
use proptest::prelude::*;
use std::ops::Range;

/// A program of up to as many instructions as the range says; wide loads have their second slot.
pub(crate) fn program(len: Range<usize>) -> impl Strategy<Value = Vec<Insn>> {
    proptest::collection::vec(insn(), len).prop_map(|insns| {
        let slots = insns.into_iter().flat_map(|insn| {
            let wide = matches!(insn, Insn::LoadImm64 { .. });
            std::iter::once(insn).chain(wide.then_some(Insn::WideTail))
        });
        slots.collect()
    })
}

/// Any instruction but [`Insn::WideTail`].
pub(crate) fn insn() -> impl Strategy<Value = Insn> {
    prop_oneof![arithmetic(), memory(), control()]
}

fn arithmetic() -> impl Strategy<Value = Insn> {
    prop_oneof![
        (alu_op(), width(), reg(), operand()).prop_map(|(op, width, dst, src)| Insn::Alu {
            op,
            width,
            dst,
            src
        }),
        (width(), reg(), operand()).prop_map(|(width, dst, src)| Insn::Mov { width, dst, src }),
        (sign_extension(), reg(), reg()).prop_map(|((width, from), dst, src)| Insn::MovSigned {
            width,
            dst,
            src,
            from
        }),
        (width(), reg()).prop_map(|(width, dst)| Insn::Neg { width, dst }),
        (byte_order(), swap_width(), reg()).prop_map(|(order, bits, dst)| Insn::ByteSwap {
            order,
            bits,
            dst
        }),
        (reg(), imm64()).prop_map(|(dst, value)| Insn::LoadImm64 { dst, value }),
    ]
}

fn memory() -> impl Strategy<Value = Insn> {
    let narrow = || prop_oneof![Just(Size::B), Just(Size::H), Just(Size::W)];
    let size = || prop_oneof![narrow(), Just(Size::DW)];
    prop_oneof![
        (size(), reg(), reg(), any::<i16>()).prop_map(|(size, dst, base, off)| Insn::Load {
            size,
            signed: false,
            dst,
            base,
            off
        }),
        (narrow(), reg(), reg(), any::<i16>()).prop_map(|(size, dst, base, off)| Insn::Load {
            size,
            signed: true,
            dst,
            base,
            off
        }),
        (size(), reg(), any::<i16>(), operand()).prop_map(|(size, base, off, src)| Insn::Store {
            size,
            base,
            off,
            src
        }),
        (
            atomic_op(),
            prop_oneof![Just(Size::W), Just(Size::DW)],
            reg(),
            any::<i16>(),
            reg()
        )
            .prop_map(|(op, size, base, off, src)| Insn::Atomic {
                op,
                size,
                base,
                off,
                src
            }),
        (narrow(), packet_mode(), any::<i32>()).prop_map(|(size, mode, imm)| Insn::LoadPacket {
            size,
            mode,
            imm
        }),
    ]
}

fn control() -> impl Strategy<Value = Insn> {
    let near = || prop_oneof![-40..40i16, any::<i16>()];
    prop_oneof![
        near().prop_map(|off| Insn::Jump {
            off: i32::from(off),
            long: false
        }),
        prop_oneof![-40..40, any::<i32>()].prop_map(|off| Insn::Jump { off, long: true }),
        (condition(), width(), reg(), operand(), near()).prop_map(
            |(cond, width, dst, src, off)| Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                off
            }
        ),
        near().prop_map(|off| Insn::MayGoto { off }),
        call_target().prop_map(|target| Insn::Call { target }),
        Just(Insn::Exit),
    ]
}

fn reg() -> impl Strategy<Value = Reg> {
    (0..=10u8).prop_map(|number| Reg::new(number).expect("a register up to 10"))
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        reg().prop_map(Operand::Reg),
        any::<i32>().prop_map(Operand::Imm)
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::W32), Just(Width::W64)]
}

fn sign_extension() -> impl Strategy<Value = (Width, Size)> {
    prop::sample::select(vec![
        (Width::W32, Size::B),
        (Width::W32, Size::H),
        (Width::W64, Size::B),
        (Width::W64, Size::H),
        (Width::W64, Size::W),
    ])
}

fn alu_op() -> impl Strategy<Value = AluOp> {
    prop::sample::select(vec![
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::SignedDiv,
        AluOp::Or,
        AluOp::And,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Mod,
        AluOp::SignedMod,
        AluOp::Xor,
        AluOp::Arsh,
    ])
}

fn byte_order() -> impl Strategy<Value = ByteOrder> {
    prop_oneof![
        Just(ByteOrder::Little),
        Just(ByteOrder::Big),
        Just(ByteOrder::Swap)
    ]
}

fn swap_width() -> impl Strategy<Value = SwapWidth> {
    prop_oneof![
        Just(SwapWidth::B16),
        Just(SwapWidth::B32),
        Just(SwapWidth::B64)
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop::sample::select(vec![
        Condition::Eq,
        Condition::Ne,
        Condition::Set,
        Condition::Gt,
        Condition::Ge,
        Condition::Lt,
        Condition::Le,
        Condition::SignedGt,
        Condition::SignedGe,
        Condition::SignedLt,
        Condition::SignedLe,
    ])
}

fn atomic_op() -> impl Strategy<Value = AtomicOp> {
    prop_oneof![
        any::<bool>().prop_map(|fetch| AtomicOp::Add { fetch }),
        any::<bool>().prop_map(|fetch| AtomicOp::Or { fetch }),
        any::<bool>().prop_map(|fetch| AtomicOp::And { fetch }),
        any::<bool>().prop_map(|fetch| AtomicOp::Xor { fetch }),
        Just(AtomicOp::Exchange),
        Just(AtomicOp::CompareExchange),
    ]
}

fn packet_mode() -> impl Strategy<Value = PacketMode> {
    prop_oneof![
        Just(PacketMode::Absolute),
        reg().prop_map(PacketMode::Indirect)
    ]
}

fn imm64() -> impl Strategy<Value = Imm64> {
    let map = || prop_oneof![0..4u32, any::<u32>()];
    prop_oneof![
        any::<u64>().prop_map(Imm64::Number),
        map().prop_map(Imm64::Map),
        (map(), any::<u32>()).prop_map(|(map, offset)| Imm64::MapValue { map, offset }),
        any::<u32>().prop_map(|btf_id| Imm64::Variable { btf_id }),
        function_offset().prop_map(|offset| Imm64::Function { offset }),
    ]
}

fn call_target() -> impl Strategy<Value = CallTarget> {
    prop_oneof![
        prop_oneof![0..220u32, any::<u32>()].prop_map(CallTarget::Helper),
        function_offset().prop_map(CallTarget::Local),
        (any::<i32>(), any::<i16>())
            .prop_map(|(btf_id, module)| CallTarget::Kfunc { btf_id, module }),
    ]
}

fn function_offset() -> impl Strategy<Value = i32> {
    prop_oneof![-40..40, any::<i32>()]
}
