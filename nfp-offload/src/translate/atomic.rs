//! Atomic additions to map values.

use iom_core::isa::{Reg, Size};
use iom_core::verifier::{AddendFacts, InsnFacts};

use super::emit::{ADDRESS, Emitter, SCRATCH, low};
use crate::isa::{
    AddressMode, AluOp, Command, CommandOp, Condition, ContextSwap, Operand, ShiftControl,
};
use crate::relocate::Relocation;

use Operand::{A, B, Imm, None, Xfer};

/// Command override: the data is in bits 31 to 16 of the previous result.
const OVERRIDE_DATA: u32 = 2 << 3;
/// Command override: the length is in bits 12 to 8.
const OVERRIDE_LENGTH: u32 = 1 << 7;

pub(super) fn add(
    emit: &mut Emitter,
    size: Size,
    base: Reg,
    off: i16,
    src: Reg,
    facts: &InsnFacts,
) {
    let is64 = size == Size::DW;
    let (d, s) = (low(base), low(src));
    let AddendFacts { maybe_16, over_16 } = facts.addend.unwrap_or(AddendFacts {
        maybe_16: true,
        over_16: true,
    });
    let offset = emit.constant(i32::from(off) as u32);
    let large = (maybe_16 && over_16).then(|| branch_if_large(emit, s, off));
    let (a, b) = address(emit, d, off, offset);
    let after_small = if maybe_16 {
        add_small(emit, s, is64, a, b, over_16)
    } else {
        Option::None
    };
    if let Some(large) = large {
        emit.land(large);
    }
    if over_16 {
        add_large(emit, s, is64, a, b);
    }
    if let Some(after_small) = after_small {
        emit.land(after_small);
    }
}

/// Branches if the addend needs more than 16 bits. The words that make the address stand in the
/// branch's slots.
fn branch_if_large(emit: &mut Emitter, s: u8, off: i16) -> u16 {
    emit.immed(A(SCRATCH), 0xffff);
    emit.test(A(SCRATCH), AluOp::Sub, B(s));
    emit.test(Imm(0), AluOp::SubCarry, B(s + 1));
    let defer = if off == 0 { 0 } else { 2 };
    emit.branch(Condition::Lower, 0, defer, Relocation::Branch)
}

/// The address of the value: operands in slots A and B.
fn address(emit: &mut Emitter, d: u8, off: i16, offset: Operand) -> (Operand, Operand) {
    if off == 0 {
        return (A(d), B(d + 1));
    }
    emit.alu(A(ADDRESS), A(d), AluOp::Add, offset);
    emit.alu(B(ADDRESS), A(d + 1), AluOp::AddCarry, Imm(0));
    (A(ADDRESS), B(ADDRESS))
}

/// Adds 16 bits that stand in the command itself; returns the branch over the large form.
fn add_small(
    emit: &mut Emitter,
    s: u8,
    is64: bool,
    a: Operand,
    b: Operand,
    over_16: bool,
) -> Option<u16> {
    let length = 8 | u32::from(is64) << 2;
    emit.immed(A(SCRATCH), OVERRIDE_DATA | OVERRIDE_LENGTH | length << 8);
    emit.load_field(A(SCRATCH), 0b1100, B(s), ShiftControl::Left, 16, false);
    emit.command(Command {
        op: CommandOp::AddImm,
        xfer: 0,
        a,
        b,
        mode: AddressMode::Bits40Ba,
        count: 0,
        swap: ContextSwap::Never,
        indirect: true,
    });
    over_16.then(|| emit.branch(Condition::Always, 0, 0, Relocation::Branch))
}

/// Adds 32 or 64 bits from transfer registers, which are filled in the command's slots.
fn add_large(emit: &mut Emitter, s: u8, is64: bool, a: Operand, b: Operand) {
    emit.command(Command {
        op: CommandOp::Add,
        xfer: 0,
        a,
        b,
        mode: AddressMode::Bits40Ba,
        count: u8::from(is64) << 2,
        swap: if is64 {
            ContextSwap::Defer2
        } else {
            ContextSwap::Defer1
        },
        indirect: false,
    });
    for word in 0..=u8::from(is64) {
        emit.alu(Xfer(word), None, AluOp::B, A(s + word));
    }
}
