//! Loads from the context, and rarely stores to it.

use super::model::Holds;
use super::writer::Writer;
use crate::isa::{Insn, Operand, PacketMode, Reg, Size};
use crate::module::ProgramType;

/// Offsets of plain numbers in `struct xdp_md`.
const XDP_NUMBERS: [i64; 2] = [12, 16];
/// The same in `struct __sk_buff`.
const SKB_NUMBERS: [i64; 10] = [0, 4, 8, 12, 16, 20, 24, 32, 40, 68];

/// Where the context has the packet's start and end; not for socket filters.
pub(super) fn packet_offsets(program_type: ProgramType) -> Option<(i64, i64)> {
    match program_type {
        ProgramType::Xdp => Some((0, 4)),
        ProgramType::SchedCls => Some((76, 80)),
        ProgramType::SocketFilter | ProgramType::Raw => None,
    }
}

/// A load of a number from the context.
pub(super) fn context(writer: &mut Writer) {
    let Some(base) = writer.holding(|holds| holds == Holds::Context) else {
        return;
    };
    if writer.program_type != ProgramType::Xdp && base == Reg::R6 && writer.random.chance(30) {
        return packet_load(writer);
    }
    let offsets: &[i64] = match writer.program_type {
        ProgramType::Xdp => &XDP_NUMBERS,
        _ => &SKB_NUMBERS,
    };
    let (mut off, mut size) = (*writer.random.pick(offsets), Size::W);
    if writer.slip() {
        off = writer.random.between(-4, 200);
        size = writer.size();
    }
    if writer.slip() {
        let src = Operand::Reg(writer.number(&[base]));
        return writer.store(size, base, off, src);
    }
    let dst = writer.free_register(&[base]);
    writer.load(size, dst, base, off);
    writer.model.set(dst, Holds::Number);
}

/// The packet loads of classic BPF, which expect the context in `r6`.
fn packet_load(writer: &mut Writer) {
    let size = *writer.random.pick(&[Size::B, Size::H, Size::W]);
    let mode = if writer.random.chance(50) {
        PacketMode::Absolute
    } else {
        PacketMode::Indirect(writer.number(&[]))
    };
    let imm = writer.random.between(0, 60) as i32;
    writer.emit(Insn::LoadPacket { size, mode, imm });
    writer.model.after_call();
    writer.model.set(Reg::R0, Holds::Number);
}
