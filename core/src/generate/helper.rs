//! Calls of the catalogue's helpers, arguments by prototype.

use super::maps::{
    BLOOM, DEVICES, EVENTS, PROGRAMS, QUEUE, READ_ONLY, RING, TABLES, TEXTS, declarations,
};
use super::model::Holds;
use super::stack::initialised;
use super::writer::Writer;
use crate::helper::{Argument, Helper, Prototype, Returns, implemented, number};
use crate::isa::{Imm64, Operand, Reg};

/// A call of some helper that the program type has.
pub(super) fn helper(writer: &mut Writer) {
    let program_type = writer.program_type;
    let fits = |(_, prototype): &(Helper, &Prototype)| {
        prototype.program_types.contains(&program_type)
            && prototype.returns != Returns::RingbufRecordOrNull
            && prototype.arguments.iter().copied().all(is_simple)
    };
    let known = implemented().filter_map(|helper| Some((helper, helper.prototype?)));
    let helpers: Vec<_> = known.filter(fits).collect();
    let (helper, prototype) = *writer.random.pick(&helpers);
    if writer.model.reserved & 0x3f != 0 {
        return;
    }
    let map = map_for(writer, helper.number);
    let mut len = 0;
    for (index, argument) in prototype.arguments.iter().enumerate() {
        let reg = Reg::new(index as u8 + 1).expect("an argument register");
        if !put(writer, reg, *argument, map, &mut len) {
            return;
        }
    }
    writer.call(
        helper.number,
        match prototype.returns {
            Returns::Scalar => Holds::Number,
            Returns::MapValueOrNull => Holds::ValueOrNull(map),
            _ => Holds::Nothing,
        },
    );
    if prototype.changes_packet {
        writer.model.forget_packet();
    }
}

/// Whether a value that is at hand serves as the argument.
fn is_simple(argument: Argument) -> bool {
    match argument {
        Argument::Anything
        | Argument::Context
        | Argument::Map
        | Argument::MapKey
        | Argument::MapValue
        | Argument::MapValueWrite
        | Argument::MemoryRead { .. }
        | Argument::MemoryWrite
        | Argument::MemoryReadWrite { .. }
        | Argument::FixedWrite { .. }
        | Argument::FixedReadWrite { .. }
        | Argument::ConstString
        | Argument::Size { .. }
        | Argument::AllocationSize => true,
        // Only helpers for SYN cookies take it, whose rewrite on the kernel reads what they may read.
        Argument::FixedRead { .. }
        | Argument::Callback
        | Argument::StackOrNull
        | Argument::SpinLock
        | Argument::RingbufRecord
        | Argument::ReleasedSocket
        | Argument::Socket
        | Argument::Dynptr
        | Argument::DynptrUninit(_)
        | Argument::RingbufDynptr
        | Argument::ReturnedSize => false,
    }
}

/// A map that the helper takes.
fn map_for(writer: &mut Writer, helper: u32) -> u32 {
    if writer.slip() {
        return writer.random.below(declarations().len()) as u32;
    }
    match helper {
        number::TAIL_CALL => PROGRAMS,
        number::REDIRECT_MAP => DEVICES,
        number::PERF_EVENT_OUTPUT => EVENTS,
        number::MAP_POP_ELEM => QUEUE,
        number::MAP_PUSH_ELEM | number::MAP_PEEK_ELEM => *writer.random.pick(&[QUEUE, BLOOM]),
        number::RINGBUF_OUTPUT | number::RINGBUF_RESERVE | number::RINGBUF_QUERY => RING,
        _ => *writer.random.pick(&TABLES),
    }
}

/// Puts an argument into its register; false where there is none to put. `len` is the length of
/// the memory before.
fn put(writer: &mut Writer, reg: Reg, argument: Argument, map: u32, len: &mut u32) -> bool {
    let spec = &declarations()[map as usize];
    match argument {
        Argument::Anything => match writer.holding(|holds| holds == Holds::Number) {
            Some(number) if number > reg && writer.random.chance(60) => writer.mov(reg, number),
            _ => {
                let imm = writer.random.between(0, 3) as i32;
                writer.set_number(reg, imm);
            }
        },
        Argument::Context => {
            let found = writer.holding(|holds| holds == Holds::Context);
            let Some(context) = found else {
                return false;
            };
            writer.mov(reg, context);
        }
        Argument::Map => writer.load_wide(reg, Imm64::Map(map), Holds::Nothing),
        Argument::MapKey => stack_pointer(writer, reg, spec.key_size),
        Argument::MapValue | Argument::MapValueWrite => {
            stack_pointer(writer, reg, spec.value_size);
        }
        Argument::MemoryRead { .. } | Argument::MemoryWrite | Argument::MemoryReadWrite { .. } => {
            *len = 4 * (1 + writer.random.below(16) as u32);
            stack_pointer(writer, reg, *len);
        }
        Argument::FixedRead { bytes }
        | Argument::FixedWrite { bytes }
        | Argument::FixedReadWrite { bytes } => {
            stack_pointer(writer, reg, bytes);
        }
        Argument::Size { zero } => {
            let mut size = *len as i32;
            if writer.slip() {
                size = writer.random.between(-1, 80) as i32;
            } else if zero && writer.random.chance(10) {
                size = 0;
            }
            writer.set_number(reg, size);
            if writer.random.chance(20) {
                vary(writer, reg, size);
            }
        }
        Argument::AllocationSize => writer.set_number(reg, 16),
        Argument::ConstString => {
            let starts = [0, 6, 16, 19];
            let offset = *writer.random.pick(&starts) + u32::from(writer.slip());
            debug_assert!((offset as usize) < TEXTS.len());
            let text = Imm64::MapValue {
                map: READ_ONLY,
                offset,
            };
            writer.load_wide(reg, text, Holds::Nothing);
        }
        Argument::Callback
        | Argument::SpinLock
        | Argument::StackOrNull
        | Argument::RingbufRecord
        | Argument::ReleasedSocket
        | Argument::Socket
        | Argument::Dynptr
        | Argument::DynptrUninit(_)
        | Argument::RingbufDynptr
        | Argument::ReturnedSize => return false,
    }
    true
}

fn stack_pointer(writer: &mut Writer, reg: Reg, bytes: u32) {
    let off = initialised(writer, bytes);
    writer.mov(reg, Reg::R10);
    writer.add(reg, Operand::Imm(off as i32));
    writer.model.set(reg, Holds::Nothing);
}

/// Makes a length unknown but not longer.
fn vary(writer: &mut Writer, reg: Reg, size: i32) {
    let Some(number) = writer.holding(|holds| holds == Holds::Number) else {
        return;
    };
    if number == reg || size < 4 {
        return;
    }
    writer.mov(reg, number);
    writer.emit(crate::isa::Insn::Alu {
        op: crate::isa::AluOp::And,
        width: crate::isa::Width::W64,
        dst: reg,
        src: Operand::Imm(1),
    });
    writer.add(reg, Operand::Imm(size - 2));
}
