//! Helper calls: routines of the firmware, random numbers, and what `adjust.rs` makes in place.

use iom_core::isa::Reg;
use iom_core::verifier::{CallFacts, InsnFacts, Pointer};

use super::emit::{Emitter, SCRATCH, STACK_BASE, low};
use super::memory::stack_offset;
use super::{TranslateErrorKind, Translated, Translator, adjust};
use crate::isa::{Condition, Csr, Operand};
use crate::relocate::{PLACEHOLDER, Relocation};

use Operand::{A, B, Both};

const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const PRANDOM: u32 = 7;
const PERF_EVENT_OUTPUT: u32 = 25;
const ADJUST_TAIL: u32 = 65;

pub(super) fn helper(
    translator: &mut Translator<'_>,
    number: u32,
    facts: &InsnFacts,
) -> Translated {
    let call = facts.call.unwrap_or_default();
    let short = translator.short_adjust_head;
    let emit = &mut translator.emit;
    match number {
        MAP_LOOKUP | MAP_UPDATE | MAP_DELETE => map(translator, number, call),
        PRANDOM => random(emit),
        PERF_EVENT_OUTPUT => perf_event_output(emit, call),
        adjust::ADJUST_HEAD if short => adjust::head_short(emit),
        adjust::ADJUST_HEAD => {
            let limits = translator.input.profile.adjust_head;
            adjust::head(emit, limits.ok_or(TranslateErrorKind::NoRecipe)?);
        }
        ADJUST_TAIL => adjust::tail(emit),
        _ => return Err(TranslateErrorKind::NoRecipe),
    }
    Ok(())
}

/// Map operations: table id in A0, return address in B0, key at local-memory index 0, and the
/// value of an update at index 2.
fn map(translator: &mut Translator<'_>, number: u32, call: CallFacts) {
    let at_base = call.arg2.pointer().is_some_and(|key| {
        !key.differs_by_path && stack_offset(translator.stack_depth, 0, key) == 0
    });
    let emit = &mut translator.emit;
    if !at_base {
        emit.csr_write(Csr::LmAddr0, B(low(Reg::R2)));
    }
    if number == MAP_UPDATE {
        emit.csr_write(Csr::LmAddr2, B(low(Reg::R3)));
    }
    routine(emit, number, A(0), A(low(Reg::R1)));
    if !at_base {
        emit.csr_write(Csr::LmAddr0, STACK_BASE);
        emit.nops(3);
    }
}

/// Calls a routine; `register` is loaded on the way.
fn routine(emit: &mut Emitter, number: u32, register: Operand, value: Operand) {
    let target = PLACEHOLDER + number as u16;
    emit.branch(Condition::Always, target, 2, Relocation::Helper);
    emit.mov(register, value);
    let after = emit.position() + 1;
    emit.address(B(0), after);
}

/// Events: the kind of memory in A1, as the kernel numbers it.
fn perf_event_output(emit: &mut Emitter, call: CallFacts) {
    let kind = match call.arg4.pointer().map(|pointer| pointer.to) {
        Some(Pointer::MapValue { .. }) => 4,
        Some(Pointer::Stack { .. }) => 6,
        Some(Pointer::Packet) => 8,
        _ => 1,
    };
    let kind = emit.constant_in(kind, A(SCRATCH));
    routine(emit, PERF_EVENT_OUTPUT, A(1), kind);
}

fn random(emit: &mut Emitter) {
    // The number arrives in the constant that the next instruction loads.
    emit.csr_read(Csr::PseudoRandom);
    emit.immed(Both(low(Reg::R0)), 0);
    emit.immed(Both(low(Reg::R0) + 1), 0);
}
