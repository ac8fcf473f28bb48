//! What stands around the program: prologue, exits and epilogue.

use super::emit::{Emitter, PACKET_LEN};
use crate::isa::{AluOp, Condition, Operand, ShiftControl, ShiftOp};
use crate::relocate::{PLACEHOLDER, Relocation};

use Operand::{A, B, Imm};

/// Words behind the program that the micro-engine may fetch ahead.
const PREFETCH_WORDS: usize = 8;
/// Mask of the packet length in the packet vector.
const PACKET_LEN_MASK: u32 = 0x3fff;
/// Result bytes of the four XDP actions, from aborted in the low byte to tx.
const ACTIONS: u32 = 0x4411_2282;
/// Result byte of an abort.
const ABORT: u8 = 0x82;

/// Puts the packet length where the program expects it.
pub(super) fn prologue(emit: &mut Emitter) {
    emit.immed(PACKET_LEN, PACKET_LEN_MASK);
    emit.alu(PACKET_LEN, PACKET_LEN, AluOp::And, Operand::lm(1, 0));
}

/// `exit`.
pub(super) fn exit(emit: &mut Emitter) {
    emit.branch(Condition::Always, PLACEHOLDER, 0, Relocation::GoOut);
}

/// Turns the return value in `r0` into the firmware's result word. Returns the first words of the
/// part for aborts and of the part for exits.
pub(super) fn epilogue(emit: &mut Emitter) -> (u16, u16) {
    let abort = emit.position();
    done(emit, Imm(ABORT));
    let out = emit.position();
    emit.test(Imm(3), AluOp::Sub, B(0));
    emit.branch(Condition::Lower, abort, 0, Relocation::Branch);
    emit.immed(B(2), ACTIONS);
    emit.shift(A(1), ShiftOp::B, B(0), ShiftControl::Left, 3);
    emit.test(A(1), AluOp::Or, Imm(0));
    shift_indirect_and(emit, B(2), 0xff);
    done(emit, B(2));
    emit.nops(PREFETCH_WORDS);
    (abort, out)
}

/// Leaves the program with this result.
fn done(emit: &mut Emitter, result: Operand) {
    emit.branch(Condition::Always, PLACEHOLDER, 2, Relocation::NextPacket);
    emit.immed(A(0), 0);
    emit.load_field(A(0), 0b1100, result, ShiftControl::Left, 16, false);
}

/// `register` = `mask` AND (`register` shifted right by the amount just tested).
fn shift_indirect_and(emit: &mut Emitter, register: Operand, mask: u8) {
    emit.shift_with(
        register,
        Imm(mask),
        ShiftOp::And,
        register,
        ShiftControl::Right,
        0,
    );
}
