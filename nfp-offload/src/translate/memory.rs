//! Loads and stores, by what their base points to: this file has context and map values, the
//! other places have files of their own.

use iom_core::isa::{Insn, Operand as BpfOperand, Reg, Size};
use iom_core::module::ProgramType;
use iom_core::verifier::{InsnFacts, Pointer, PointerFacts};

use super::alu::clear_high;
use super::emit::{Emitter, PACKET_ADDRESS, PACKET_LEN, SCRATCH, low};
use super::step::Step;
use super::{DefectMode, TranslateErrorKind, Translated, Translator, copy, packet, stack};
use crate::isa::{
    AddressMode, AluOp, Command, CommandOp, Condition, ContextSwap, Operand, ShiftControl, ShiftOp,
};
use crate::relocate::Relocation;

use Operand::{A, B, Both, Imm, Xfer};

/// `xdp_md.rx_queue_index`.
pub(crate) const RX_QUEUE_INDEX: i16 = 16;
/// Words of the packet vector: flags, and the queue.
const VECTOR_FLAGS: Operand = Operand::lm(1, 4);
const VECTOR_QUEUE: Operand = Operand::lm(1, 6);
/// Bit of the flags: the program chose the queue.
const QUEUE_SELECTED_BIT: u8 = 4;
/// Queue written for any number above 255 (`NFP_NET_RXR_MAX`).
const QUEUE_TOO_HIGH: u8 = 64;
const QUEUE_MASK: u8 = 255;

pub(super) fn access(translator: &mut Translator<'_>, step: &Step<'_>) -> Translated {
    let pointer = step.facts.pointer.ok_or(TranslateErrorKind::Pointer);
    match step.insn {
        Insn::Load {
            size,
            signed: false,
            dst,
            base,
            off,
        } => load(translator, step, pointer?, (size, dst, base, off)),
        Insn::Store {
            size,
            base,
            off,
            src: BpfOperand::Reg(src),
        } => store(translator, step, pointer?, (size, base, off, src)),
        Insn::Store { .. } => Err(TranslateErrorKind::StoreConstant),
        _ => Err(TranslateErrorKind::NoRecipe),
    }
}

fn load(
    translator: &mut Translator<'_>,
    step: &Step<'_>,
    pointer: PointerFacts,
    (size, dst, base, off): (Size, Reg, Reg, i16),
) -> Translated {
    let program_type = translator.input.program.program_type;
    let mode = translator.input.mode;
    let emit = &mut translator.emit;
    match pointer.to {
        _ if step.gather.is_some() => copy::copy(emit, step, (size, dst, base, off), mode),
        Pointer::Context => return load_context(emit, program_type, size, dst, off),
        Pointer::Packet => match step.cached {
            Some(cached) => packet::load_cached(emit, size, dst, base, off, cached, step.facts),
            None => packet::load(emit, size, dst, base, off, step.facts),
        },
        Pointer::MapValue { .. } => match (mode, reads_behind(size, off, pointer)) {
            (DefectMode::Fixed, Some(back)) => {
                load_end_of_map_value(emit, size, dst, (base, off - back), step.facts);
            }
            _ => load_map_value(emit, size, dst, base, off, step.facts),
        },
        Pointer::Stack { .. } => stack::load(translator, step, size, dst, base, off),
        Pointer::PacketMeta
        | Pointer::PacketEnd
        | Pointer::Map { .. }
        | Pointer::MapValueOrNull { .. } => return Err(TranslateErrorKind::Pointer),
    }
    Ok(())
}

fn store(
    translator: &mut Translator<'_>,
    step: &Step<'_>,
    pointer: PointerFacts,
    (size, base, off, src): (Size, Reg, i16, Reg),
) -> Translated {
    let is_xdp = translator.input.program.program_type == ProgramType::Xdp;
    let emit = &mut translator.emit;
    match pointer.to {
        Pointer::Packet => packet::store(emit, size, base, off, src),
        Pointer::Stack { .. } => stack::store(translator, step, size, base, off, src),
        Pointer::Context if is_xdp && size == Size::W && off == RX_QUEUE_INDEX => {
            select_queue(emit, src);
        }
        Pointer::Context
        | Pointer::PacketMeta
        | Pointer::PacketEnd
        | Pointer::Map { .. }
        | Pointer::MapValue { .. }
        | Pointer::MapValueOrNull { .. } => return Err(TranslateErrorKind::Pointer),
    }
    Ok(())
}

/// Offset of the frame's end plus that of the access: its place above the stack's base.
pub(super) fn stack_offset(depth: u32, off: i16, pointer: PointerFacts) -> i64 {
    i64::from(depth) + i64::from(off) + pointer.place()
}

/// A field of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContextField {
    /// Where the packet starts.
    Data,
    /// Where it ends.
    DataEnd,
    /// Bytes in the packet.
    Len,
}

/// The field of `struct xdp_md` or `struct __sk_buff` at this offset, if it can be read.
const fn context_field(program_type: ProgramType, size: Size, off: i16) -> Option<ContextField> {
    if !matches!(size, Size::W) {
        return None;
    }
    match (program_type, off) {
        (ProgramType::Xdp, 0) | (ProgramType::SchedCls, 76) => Some(ContextField::Data),
        (ProgramType::Xdp, 4) | (ProgramType::SchedCls, 80) => Some(ContextField::DataEnd),
        (ProgramType::SchedCls, 0) => Some(ContextField::Len),
        _ => None,
    }
}

/// Whether a field of the context can be read.
pub(crate) const fn can_read_context(program_type: ProgramType, size: Size, off: i16) -> bool {
    context_field(program_type, size, off).is_some()
}

fn load_context(
    emit: &mut Emitter,
    program_type: ProgramType,
    size: Size,
    dst: Reg,
    off: i16,
) -> Translated {
    let field = context_field(program_type, size, off).ok_or(TranslateErrorKind::Context)?;
    let word = Both(low(dst));
    match field {
        ContextField::Data => emit.mov(word, PACKET_ADDRESS),
        ContextField::DataEnd => emit.alu(word, PACKET_LEN, AluOp::Add, PACKET_ADDRESS),
        ContextField::Len => emit.mov(word, PACKET_LEN),
    }
    clear_high(emit, dst);
    Ok(())
}

/// Writes the queue number to the packet vector, another for any that does not fit.
fn select_queue(emit: &mut Emitter, src: Reg) {
    emit.test(A(low(src)), AluOp::AndNotB, Imm(QUEUE_MASK));
    let fits = emit.branch(Condition::Equal, 0, 2, Relocation::Branch);
    emit.shift_with(
        VECTOR_FLAGS,
        VECTOR_FLAGS,
        ShiftOp::Or,
        Imm(1),
        ShiftControl::Left,
        QUEUE_SELECTED_BIT,
    );
    let mut queue = |value| {
        emit.load_field(VECTOR_QUEUE, 0b1, value, ShiftControl::Rotate, 0, false);
    };
    queue(B(low(src)));
    queue(Imm(QUEUE_TOO_HIGH));
    emit.land(fits);
}

fn load_map_value(
    emit: &mut Emitter,
    size: Size,
    dst: Reg,
    base: Reg,
    off: i16,
    facts: &InsnFacts,
) {
    let (a, b) = map_value_address(emit, base, off);
    read_words(emit, size, a, b, AddressMode::Bits40Ba);
    take_words(emit, size, dst, facts);
}

/// How far a load of less than a word can move back so that it reads nothing behind itself; nothing
/// where it cannot.
fn reads_behind(size: Size, off: i16, pointer: PointerFacts) -> Option<i16> {
    let back = 4 - size.bytes() as i16;
    let place = pointer.offset.saturating_add(i64::from(off));
    let is_known = back > 0 && !pointer.differs_by_path && place >= i64::from(back);
    (is_known && off >= i16::MIN + back).then_some(back)
}

/// A load of the upper bytes of the word at this offset.
fn load_end_of_map_value(
    emit: &mut Emitter,
    size: Size,
    dst: Reg,
    (base, off): (Reg, i16),
    facts: &InsnFacts,
) {
    let (a, b) = map_value_address(emit, base, off);
    read_words(emit, size, a, b, AddressMode::Bits40Ba);
    let bytes = size.bytes() as u8;
    packet::part(emit, low(dst), 0, bytes, 4 - bytes);
    if facts.zero_extend {
        clear_high(emit, dst);
    }
}

/// The operands that address a map value.
pub(super) fn map_value_address(emit: &mut Emitter, base: Reg, off: i16) -> (Operand, Operand) {
    let s = low(base);
    if off == 0 {
        return (A(s), B(s + 1));
    }
    let offset = emit.small_constant(i32::from(off) as u32);
    emit.alu(A(SCRATCH), A(s), AluOp::Add, offset);
    emit.alu(B(SCRATCH), B(s + 1), AluOp::AddCarry, Imm(0));
    (A(SCRATCH), B(SCRATCH))
}

/// Reads one or two words into the first transfer registers.
pub(super) fn read_words(
    emit: &mut Emitter,
    size: Size,
    a: Operand,
    b: Operand,
    mode: AddressMode,
) {
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
pub(super) fn take_words(emit: &mut Emitter, size: Size, dst: Reg, facts: &InsnFacts) {
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
