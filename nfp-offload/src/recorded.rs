//! Verifier facts as vectors record them, for the translator.

use iom_core::isa::{Insn, Operand};
use iom_core::module::Program;
use iom_core::object::vector::Vector;
use iom_core::verifier::{
    AddendFacts, Argument, CallFacts, Facts, FunctionFacts, InsnFacts, KnownBits, Pointer,
    PointerFacts, Range,
};
use serde::Deserialize;

use crate::translate::layout;

/// Recorded facts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// Not of the form.
    #[error("recorded facts: {0}")]
    Json(#[from] serde_json::Error),
    /// Not one for each instruction.
    #[error("recorded facts of {facts} instructions for a program of {insns}")]
    Count {
        /// How many there are.
        facts: usize,
        /// How many there should be.
        insns: usize,
    },
    /// A number that is none.
    #[error("recorded facts of instruction {insn}: {text} is no number")]
    Number {
        /// Slot.
        insn: usize,
        /// The text.
        text: String,
    },
}

/// What is recorded of one instruction.
#[derive(Deserialize)]
struct Row {
    flags: u32,
    #[serde(default)]
    subprog: u32,
    range: Option<[String; 4]>,
    ptr: Option<Register>,
    func: Option<u32>,
    arg1_type: Option<u32>,
    arg2: Option<Register>,
    xadd_over16: Option<u32>,
    xadd_maybe16: Option<u32>,
}

/// A register of the verifier (`struct bpf_reg_state`).
#[derive(Clone, Copy, Deserialize)]
struct Register {
    #[serde(rename = "type")]
    kind: u32,
    off: i64,
    #[serde(default)]
    id: u32,
    /// Value and mask of the part of the offset that is not constant, or of a number.
    var: [i128; 2],
    #[serde(default)]
    not_const: u32,
    #[serde(default)]
    var_off: u32,
}

#[derive(Deserialize)]
struct Subprogram {
    stack_depth: u32,
}

/// Bits of `flags` (the driver's `FLAG_INSN_*`).
const CALLER_STACK: u32 = 4;
const REMOVED: u32 = 0x20;
const ZERO_EXTEND: u32 = 0x40;
/// Types of registers (`enum bpf_reg_type` of Linux 6.1).
const NOT_INIT: u32 = 0;
const SCALAR: u32 = 1;
const CONTEXT: u32 = 2;
const MAP: u32 = 3;
const MAP_VALUE: u32 = 4;
const STACK: u32 = 6;
const PACKET_META: u32 = 7;
const PACKET: u32 = 8;
const PACKET_END: u32 = 9;
const MAYBE_NULL: u32 = 1 << 8;
const MAP_VALUE_OR_NULL: u32 = MAP_VALUE | MAYBE_NULL;
const PERF_EVENT_OUTPUT: u32 = 25;
/// The map of a value is not recorded, and not needed for translation.
const SOME_MAP: u32 = u32::MAX;
/// Range of an instruction that no path reached.
const NEVER_VISITED: Range = Range {
    min: u64::MAX,
    max: 0,
};

/// The facts that a vector records for its program, if it does.
pub fn facts(vector: &Vector) -> Result<Option<Facts>, RecordedError> {
    let (Some(rows), Some(program)) = (&vector.facts, vector.module.programs.first()) else {
        return Ok(None);
    };
    let rows: Vec<Row> = serde::Deserialize::deserialize(rows)?;
    if rows.len() != program.insns.len() {
        return Err(RecordedError::Count {
            facts: rows.len(),
            insns: program.insns.len(),
        });
    }
    let insns = rows.iter().zip(&program.insns).enumerate();
    let mut facts = Facts {
        insns: insns
            .map(|(slot, (row, insn))| insn_facts(slot, row, insn))
            .collect::<Result<_, _>>()?,
        functions: Vec::new(),
        complete: true,
        last_packet_byte: 0,
    };
    let subprograms: Vec<Subprogram> = match &vector.subprograms {
        Some(subprograms) => serde::Deserialize::deserialize(subprograms)?,
        None => Vec::new(),
    };
    facts.functions = function_facts(program, &facts, &subprograms);
    Ok(Some(facts))
}

/// The record has depths with what the driver adds for callees.
fn function_facts(
    program: &Program,
    facts: &Facts,
    subprograms: &[Subprogram],
) -> Vec<FunctionFacts> {
    let added = layout(program, facts);
    let functions = subprograms.iter().zip(added);
    functions
        .map(|(subprogram, added)| FunctionFacts {
            stack_depth: subprogram.stack_depth.saturating_sub(added.depth),
        })
        .collect()
}

fn insn_facts(slot: usize, row: &Row, insn: &Insn) -> Result<InsnFacts, RecordedError> {
    let removed = row.flags & REMOVED != 0;
    let ranges = match &row.range {
        Some(texts) => Some(ranges(slot, texts, insn)?),
        None => None,
    };
    let ranges = ranges.filter(|(destination, _)| *destination != NEVER_VISITED);
    let is_adding = row.xadd_maybe16.is_some() || row.xadd_over16.is_some();
    Ok(InsnFacts {
        reachable: !removed,
        removed,
        function: row.subprog,
        pointer: row.ptr.and_then(pointer),
        caller_stack: row.flags & CALLER_STACK != 0,
        ranges,
        call: row.func.map(|_| call_facts(row)),
        addend: is_adding.then_some(AddendFacts {
            maybe_16: row.xadd_maybe16.is_some_and(|flag| flag != 0),
            over_16: row.xadd_over16.is_some_and(|flag| flag != 0),
        }),
        result: None,
        zero_extend: row.flags & ZERO_EXTEND != 0,
    })
}

/// Ranges of destination and source. The driver records register 0 where there is no source
/// register.
fn ranges(slot: usize, texts: &[String; 4], insn: &Insn) -> Result<(Range, Range), RecordedError> {
    let mut numbers = [0u64; 4];
    for (number, text) in numbers.iter_mut().zip(texts) {
        *number = text.parse().map_err(|_| RecordedError::Number {
            insn: slot,
            text: text.clone(),
        })?;
    }
    let [dst_min, dst_max, src_min, src_max] = numbers;
    let source = match *insn {
        Insn::Alu {
            src: Operand::Imm(imm),
            ..
        }
        | Insn::Mov {
            src: Operand::Imm(imm),
            ..
        } => Range::constant(i64::from(imm) as u64),
        Insn::Neg { .. } | Insn::ByteSwap { .. } => Range::constant(0),
        _ => Range {
            min: src_min,
            max: src_max,
        },
    };
    let destination = Range {
        min: dst_min,
        max: dst_max,
    };
    Ok((destination, source))
}

fn bits(register: Register) -> KnownBits {
    let [value, mask] = register.var;
    KnownBits {
        value: value as u64,
        mask: mask as u64,
    }
}

fn pointer(register: Register) -> Option<PointerFacts> {
    let to = match register.kind {
        CONTEXT => Pointer::Context,
        MAP => Pointer::Map { map: SOME_MAP },
        MAP_VALUE => Pointer::MapValue { map: SOME_MAP },
        MAP_VALUE_OR_NULL => Pointer::MapValueOrNull { map: SOME_MAP },
        STACK => Pointer::Stack { frame: 0 },
        PACKET_META => Pointer::PacketMeta,
        PACKET => Pointer::Packet,
        PACKET_END => Pointer::PacketEnd,
        _ => return None,
    };
    Some(PointerFacts {
        to,
        offset: register.off,
        variable: bits(register),
        id: register.id,
        differs_by_path: register.not_const != 0 || register.var_off != 0,
    })
}

fn argument(register: Register) -> Argument {
    match register.kind {
        NOT_INIT => Argument::Unset,
        SCALAR => Argument::Number(bits(register)),
        _ => pointer(register).map_or(Argument::Other, Argument::Pointer),
    }
}

fn call_facts(row: &Row) -> CallFacts {
    let first = row.arg1_type.map(|kind| Register {
        kind,
        off: 0,
        id: 0,
        var: [0; 2],
        not_const: 0,
        var_off: 0,
    });
    // Of events, the fourth argument is recorded as the first.
    let is_event = row.func == Some(PERF_EVENT_OUTPUT);
    let is_map = first.is_some_and(|first| first.kind == MAP) && !is_event;
    CallFacts {
        map: is_map.then_some(SOME_MAP),
        arg2: row.arg2.map_or(Argument::Other, argument),
        arg2_differs: false,
        arg3: Argument::Other,
        maybe_nonzero: 0,
        arg4: first.filter(|_| is_event).map_or(Argument::Other, argument),
    }
}
