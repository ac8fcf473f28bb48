//! Calls of the firmware's routines.

use iom_core::verifier::InsnFacts;

use super::Translator;
use super::emit::STACK_BASE;
use super::memory::stack_offset;
use crate::isa::{AluOp, Condition, Csr, Operand};
use crate::relocate::{PLACEHOLDER, Relocation};

use Operand::{A, B, None};

const MAP_LOOKUP: u16 = 1;

/// `bpf_map_lookup_elem`: table id in A0, return address in B0, key at local-memory index 0.
pub(super) fn map_lookup(translator: &mut Translator<'_>, facts: &InsnFacts) {
    let key = facts.call.and_then(|call| call.arg2);
    let at_base = key.is_some_and(|key| {
        !key.differs_by_path && stack_offset(translator.stack_depth, 0, key) == 0
    });
    let emit = &mut translator.emit;
    if !at_base {
        emit.csr_write(Csr::LmAddr0, B(4));
    }
    emit.branch(
        Condition::Always,
        PLACEHOLDER + MAP_LOOKUP,
        2,
        Relocation::Helper,
    );
    emit.alu(A(0), None, AluOp::B, A(2));
    let after = emit.position() + 1;
    emit.address(B(0), after);
    if !at_base {
        emit.csr_write(Csr::LmAddr0, STACK_BASE);
        emit.nops(3);
    }
}
