//! `bpf_xdp_adjust_head` and `bpf_xdp_adjust_tail`: the packet vector and the packet length.

use iom_core::isa::{CallTarget, Insn, Reg};
use iom_core::module::Program;
use iom_core::verifier::Facts;

use super::emit::{Emitter, PACKET_ADDRESS, PACKET_LEN, SCRATCH, low};
use crate::isa::{AluOp, Condition, Operand, ShiftControl};
use crate::profile::{AdjustHead, FirmwareProfile};
use crate::relocate::Relocation;

use Operand::{A, B, Both, Imm};

pub(super) const ADJUST_HEAD: u32 = 44;
/// Word of the packet vector with the packet's length.
const VECTOR_LEN: Operand = Operand::lm(1, 0);
const ETHERNET_HEADER_BYTES: u8 = 14;
/// How far a packet of the shortest length can move its head and keep an Ethernet header.
const SURE_ADD: i32 = 60 - 14;
const EINVAL: i32 = -22;
/// The bytes to add, in `r2`.
const DELTA: Operand = A(low(Reg::R2));

/// Whether the program changes the head in one place only, by a constant that suits every packet.
pub(super) fn is_short(program: &Program, facts: &Facts, profile: &FirmwareProfile) -> bool {
    let calls = program.insns.iter().zip(&facts.insns);
    let mut calls = calls.filter(|(insn, facts)| facts.reachable && **insn == CALL);
    let (Some((_, facts)), None, Some(limits)) = (calls.next(), calls.next(), profile.adjust_head)
    else {
        return false;
    };
    let call = facts.call.filter(|call| !call.arg2_differs);
    let Some(delta) = call.and_then(|call| call.arg2.as_constant()) else {
        return false;
    };
    let delta = delta as i32;
    delta <= SURE_ADD
        && delta <= limits.guaranteed_add as i32
        && delta >= (limits.guaranteed_sub as i32).wrapping_neg()
}

const CALL: Insn = Insn::Call {
    target: CallTarget::Helper(ADJUST_HEAD),
};

/// Without tests: only for [`is_short`].
pub(super) fn head_short(emit: &mut Emitter) {
    emit.alu(PACKET_ADDRESS, DELTA, AluOp::Add, PACKET_ADDRESS);
    emit.alu(PACKET_LEN, PACKET_LEN, AluOp::Sub, DELTA);
    emit.alu(VECTOR_LEN, VECTOR_LEN, AluOp::Sub, DELTA);
    result(emit, 0);
}

pub(super) fn head(emit: &mut Emitter, limits: AdjustHead) {
    let (place, len) = (A(SCRATCH), B(SCRATCH));
    let (min, max) = (limits.offset_min as u8, limits.offset_max as u8);
    // The place in the buffer is the low half of the address.
    emit.alu(place, DELTA, AluOp::Add16, PACKET_ADDRESS);
    emit.test(place, AluOp::Sub, Imm(min));
    let below = branch(emit, Condition::Lower);
    emit.test(Imm(max), AluOp::Sub, place);
    let above = branch(emit, Condition::Lower);
    emit.alu(len, PACKET_LEN, AluOp::Sub, DELTA);
    emit.test(len, AluOp::Sub, Imm(ETHERNET_HEADER_BYTES));
    let short = branch(emit, Condition::Minus);
    result(emit, 0);
    emit.load_field(PACKET_ADDRESS, 0b11, place, ShiftControl::Rotate, 0, false);
    let end = emit.branch(Condition::Always, 0, 2, Relocation::Branch);
    emit.alu(PACKET_LEN, PACKET_LEN, AluOp::Sub, DELTA);
    emit.alu(VECTOR_LEN, VECTOR_LEN, AluOp::Sub, DELTA);
    refuse(emit, [below, above, short], end);
}

pub(super) fn tail(emit: &mut Emitter) {
    let len = A(SCRATCH);
    // Only a negative number makes this overflow; growing is refused.
    emit.alu(len, PACKET_LEN, AluOp::Add, DELTA);
    let grows = branch(emit, Condition::Lower);
    emit.test(len, AluOp::Sub, Imm(ETHERNET_HEADER_BYTES));
    let short = branch(emit, Condition::Minus);
    emit.alu(PACKET_LEN, PACKET_LEN, AluOp::Add, DELTA);
    emit.alu(VECTOR_LEN, VECTOR_LEN, AluOp::Add, DELTA);
    let end = emit.branch(Condition::Always, 0, 2, Relocation::Branch);
    result(emit, 0);
    refuse(emit, [grows, short], end);
}

fn branch(emit: &mut Emitter, condition: Condition) -> u16 {
    emit.branch(condition, 0, 0, Relocation::Branch)
}

/// Where the tests that failed go, and where the others go on.
fn refuse(emit: &mut Emitter, failed: impl IntoIterator<Item = u16>, end: u16) {
    failed.into_iter().for_each(|word| emit.land(word));
    result(emit, EINVAL);
    emit.land(end);
}

fn result(emit: &mut Emitter, value: i32) {
    let word = low(Reg::R0);
    emit.immed(Both(word), value as u32);
    emit.immed(Both(word + 1), (value >> 31) as u32);
}
