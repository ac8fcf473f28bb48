//! Loads and stores of packet, context and map values.

use iom_core::isa::{Insn, Operand as BpfOperand, Reg, Size};
use iom_core::verifier::{InsnFacts, Pointer, PointerFacts};

use super::alu::clear_high;
use super::emit::{Emitter, PACKET_ADDRESS, PACKET_LEN, SCRATCH, low};
use super::{TranslateError, Translator, stack};
use crate::isa::{AddressMode, AluOp, Command, CommandOp, ContextSwap, Operand, ShiftControl};

use Operand::{A, B, Both, Imm, Xfer};

/// Translates a load or store by what its base points to.
pub(super) fn access(
    translator: &mut Translator<'_>,
    slot: usize,
    insn: Insn,
    facts: &InsnFacts,
) -> Result<(), TranslateError> {
    let unsupported = |what| Err(TranslateError::Unsupported { insn: slot, what });
    let Some(pointer) = facts.pointer else {
        return unsupported("an access through an unknown pointer");
    };
    let emit = &mut translator.emit;
    match insn {
        Insn::Load { signed: true, .. } => return unsupported("a sign-extending load"),
        Insn::Load {
            size,
            dst,
            base,
            off,
            ..
        } => match pointer.to {
            Pointer::Context => {
                return load_context(emit, slot, dst, i64::from(off) + pointer.offset);
            }
            Pointer::Packet => load_packet(emit, size, dst, base, off, facts),
            Pointer::MapValue { .. } => load_map_value(emit, size, dst, base, off, facts),
            Pointer::Stack { .. } => stack::load(translator, size, dst, off, pointer, facts),
            Pointer::PacketMeta
            | Pointer::PacketEnd
            | Pointer::Map { .. }
            | Pointer::MapValueOrNull { .. } => return unsupported("a load from there"),
        },
        Insn::Store {
            size,
            base,
            off,
            src: BpfOperand::Reg(src),
        } => match pointer.to {
            Pointer::Packet => store_packet(emit, size, base, off, src),
            Pointer::Stack { .. } => stack::store(translator, size, off, src, pointer),
            Pointer::Context
            | Pointer::PacketMeta
            | Pointer::PacketEnd
            | Pointer::Map { .. }
            | Pointer::MapValue { .. }
            | Pointer::MapValueOrNull { .. } => return unsupported("a store there"),
        },
        _ => return unsupported("a store of a constant"),
    }
    Ok(())
}

/// Offset of the frame's end plus that of the access: its place above the stack's base.
pub(super) fn stack_offset(depth: u32, off: i16, pointer: PointerFacts) -> i64 {
    i64::from(depth.next_multiple_of(4)) + i64::from(off) + pointer.offset
}

fn load_context(
    emit: &mut Emitter,
    slot: usize,
    dst: Reg,
    offset: i64,
) -> Result<(), TranslateError> {
    match offset {
        0 => emit.mov(Both(low(dst)), PACKET_ADDRESS),
        4 => emit.alu(Both(low(dst)), PACKET_LEN, AluOp::Add, PACKET_ADDRESS),
        _ => {
            return Err(TranslateError::Unsupported {
                insn: slot,
                what: "this field of the context",
            });
        }
    }
    clear_high(emit, dst);
    Ok(())
}

fn load_packet(emit: &mut Emitter, size: Size, dst: Reg, base: Reg, off: i16, facts: &InsnFacts) {
    let offset = emit.small_constant(i32::from(off) as u32);
    read_words(emit, size, A(low(base)), offset, AddressMode::Bits32);
    take_words(emit, size, dst, facts);
}

fn load_map_value(
    emit: &mut Emitter,
    size: Size,
    dst: Reg,
    base: Reg,
    off: i16,
    facts: &InsnFacts,
) {
    let s = low(base);
    if off == 0 {
        read_words(emit, size, A(s), B(s + 1), AddressMode::Bits40Ba);
    } else {
        let offset = emit.small_constant(i32::from(off) as u32);
        emit.alu(A(SCRATCH), A(s), AluOp::Add, offset);
        emit.alu(B(SCRATCH), B(s + 1), AluOp::AddCarry, Imm(0));
        read_words(emit, size, A(SCRATCH), B(SCRATCH), AddressMode::Bits40Ba);
    }
    take_words(emit, size, dst, facts);
}

/// Reads one or two words into the first transfer registers.
fn read_words(emit: &mut Emitter, size: Size, a: Operand, b: Operand, mode: AddressMode) {
    let words = size.bytes().max(4) / 4;
    emit.command(Command {
        op: CommandOp::Read32Swap,
        xfer: 0,
        a,
        b,
        mode,
        count: (words - 1) as u8,
        swap: ContextSwap::Now,
        indirect: false,
    });
}

/// Moves what was read into the register.
fn take_words(emit: &mut Emitter, size: Size, dst: Reg, facts: &InsnFacts) {
    let d = low(dst);
    match size {
        Size::B | Size::H => {
            let bytes = (1 << size.bytes()) - 1;
            emit.load_field(Both(d), bytes, Xfer(0), ShiftControl::Rotate, 0, true);
        }
        Size::W => emit.mov(Both(d), Xfer(0)),
        Size::DW => {
            emit.mov(Both(d), Xfer(0));
            emit.mov(Both(d + 1), Xfer(1));
        }
    }
    if size != Size::DW && facts.zero_extend {
        clear_high(emit, dst);
    }
}

fn store_packet(emit: &mut Emitter, size: Size, base: Reg, off: i16, src: Reg) {
    for word in 0..size.bytes().div_ceil(4) as u8 {
        emit.mov(Xfer(word), A(low(src) + word));
    }
    let b = emit.small_constant(i32::from(off) as u32);
    emit.command(Command {
        op: CommandOp::Write8Swap,
        xfer: 0,
        a: A(low(base)),
        b,
        mode: AddressMode::Bits32,
        count: (size.bytes() - 1) as u8,
        swap: ContextSwap::Now,
        indirect: false,
    });
}
