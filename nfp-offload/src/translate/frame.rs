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
/// Upper and lower half of the result bytes of the eight TC actions, from ok in the low bits.
const ACTIONS_TC: u32 = 0x4122_1211;
const COUNTERS_TC: u32 = 0x4100_1211;
/// Result byte of a TC program's abort: pass.
const ABORT_TC: u8 = 0x11;

/// Puts the packet length where the program expects it.
pub(super) fn prologue(emit: &mut Emitter) {
    emit.immed(PACKET_LEN, PACKET_LEN_MASK);
    emit.alu(PACKET_LEN, PACKET_LEN, AluOp::And, Operand::lm(1, 0));
}

/// `exit`.
pub(super) fn exit(emit: &mut Emitter) {
    emit.branch(Condition::Always, PLACEHOLDER, 0, Relocation::GoOut);
}

/// First words of the parts of an epilogue.
pub(super) struct Epilogue {
    pub(super) abort: u16,
    pub(super) out: u16,
}

/// Turns the XDP action in `r0` into the firmware's result word.
pub(super) fn epilogue_xdp(emit: &mut Emitter) -> Epilogue {
    let abort = emit.position();
    done(emit, Imm(ABORT));
    let out = emit.position();
    abort_above(emit, 3, abort);
    emit.immed(B(2), ACTIONS);
    emit.shift(A(1), ShiftOp::B, B(0), ShiftControl::Left, 3);
    shift_by_result(emit, B(2), 0xff, B(2));
    done(emit, B(2));
    Epilogue { abort, out }
}

/// Turns the TC action in `r0` into the firmware's result word, four bits at a time.
pub(super) fn epilogue_tc(emit: &mut Emitter) -> Epilogue {
    let abort = emit.position();
    done(emit, Imm(ABORT_TC));
    let out = emit.position();
    abort_above(emit, 7, abort);
    emit.mov(A(0), Imm(0));
    emit.immed(B(2), ACTIONS_TC);
    emit.immed(B(3), COUNTERS_TC);
    emit.shift(A(1), ShiftOp::B, B(0), ShiftControl::Left, 2);
    shift_by_result(emit, A(2), 0xf, B(2));
    shift_by_result(emit, B(2), 0xf, B(3));
    emit.branch(Condition::Always, PLACEHOLDER, 2, Relocation::NextPacket);
    emit.shift_with(B(2), A(2), ShiftOp::Or, B(2), ShiftControl::Left, 4);
    emit.load_field(A(0), 0b1100, B(2), ShiftControl::Left, 16, false);
    Epilogue { abort, out }
}

/// Words that the micro-engine may fetch ahead.
pub(super) fn padding(emit: &mut Emitter) {
    emit.nops(PREFETCH_WORDS);
}

fn abort_above(emit: &mut Emitter, max: u8, abort: u16) {
    emit.test(Imm(max), AluOp::Sub, B(0));
    emit.branch(Condition::Lower, abort, 0, Relocation::Branch);
}

/// Leaves the program with this result.
fn done(emit: &mut Emitter, result: Operand) {
    emit.branch(Condition::Always, PLACEHOLDER, 2, Relocation::NextPacket);
    emit.mov(A(0), Imm(0));
    emit.load_field(A(0), 0b1100, result, ShiftControl::Left, 16, false);
}

/// `dst` = `mask` AND (`table` shifted right by A1).
fn shift_by_result(emit: &mut Emitter, dst: Operand, mask: u8, table: Operand) {
    emit.test(A(1), AluOp::Or, Imm(0));
    emit.shift_with(dst, Imm(mask), ShiftOp::And, table, ShiftControl::Right, 0);
}
