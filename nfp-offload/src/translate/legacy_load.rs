//! Legacy packet loads: the value in network order, and an abort if the packet is too short.

use iom_core::isa::{PacketMode, Reg, Size};
use iom_core::verifier::InsnFacts;

use super::alu::clear_high;
use super::emit::{Emitter, PACKET_ADDRESS, PACKET_LEN, SCRATCH, low};
use crate::isa::{
    AddressMode, AluOp, Command, CommandOp, Condition, ContextSwap, Operand, ShiftControl, ShiftOp,
};
use crate::relocate::{PLACEHOLDER, Relocation};

use Operand::{A, B, Both, Imm, Xfer};

pub(super) fn load(emit: &mut Emitter, size: Size, mode: PacketMode, imm: i32, facts: &InsnFacts) {
    // The driver keeps 16 bits of the offset.
    let offset = u32::from(imm as u16);
    let bytes = size.bytes() as u8;
    let offset = match mode {
        PacketMode::Absolute => {
            let end = emit.constant_in(offset + u32::from(bytes), A(SCRATCH));
            abort_if_beyond(emit, end);
            emit.small_constant(offset)
        }
        PacketMode::Indirect(src) => {
            let offset = emit.constant(offset);
            emit.alu(Both(SCRATCH), A(low(src)), AluOp::Add, offset);
            emit.alu(A(SCRATCH), A(SCRATCH), AluOp::Add, Imm(bytes));
            abort_if_beyond(emit, A(SCRATCH));
            B(SCRATCH)
        }
    };
    emit.command(Command {
        op: CommandOp::Read8,
        xfer: 0,
        a: PACKET_ADDRESS,
        b: offset,
        mode: AddressMode::Bits32,
        count: bytes.max(4) - 1,
        swap: ContextSwap::Now,
        indirect: false,
    });
    let result = Both(low(Reg::R0));
    if bytes < 4 {
        let control = ShiftControl::Right;
        emit.shift(result, ShiftOp::B, Xfer(0), control, 32 - 8 * bytes);
    } else {
        emit.mov(result, Xfer(0));
    }
    if facts.zero_extend {
        clear_high(emit, Reg::R0);
    }
}

fn abort_if_beyond(emit: &mut Emitter, end: Operand) {
    emit.test(PACKET_LEN, AluOp::Sub, end);
    emit.branch(Condition::Lower, PLACEHOLDER, 0, Relocation::GoAbort);
}
