//! Loads, stores and atomic additions by what they point to (`nfp_bpf_check_ptr`,
//! `nfp_bpf_check_store`, `nfp_bpf_check_atomic`).

use iom_core::isa::{AtomicOp, Insn, Operand, Reg, Size, encode};
use iom_core::module::ProgramType;
use iom_core::verifier::{Argument, Pointer, PointerFacts, Visit};

use super::{Check, Rule, WordUse};
use crate::translate::{RX_QUEUE_INDEX, can_read_context};

const ONE_KIND: &str = "access memory through one kind of pointer on all paths";

/// The kernel's number of a register type (`enum bpf_reg_type` of Linux 6.1).
pub(super) const fn argument_type(argument: Argument) -> u32 {
    match argument {
        Argument::Unset => 0,
        Argument::Number(_) | Argument::Other => 1,
        Argument::Pointer(pointer) => type_number(Some(pointer.to)),
    }
}

/// The kernel's number of a kind of pointer; without one, of a number.
const fn type_number(pointer: Option<Pointer>) -> u32 {
    match pointer {
        None => 1,
        Some(Pointer::Context) => 2,
        Some(Pointer::Map { .. }) => 3,
        Some(Pointer::MapValue { .. }) => 4,
        // With the flag PTR_MAYBE_NULL.
        Some(Pointer::MapValueOrNull { .. }) => 4 | 1 << 8,
        Some(Pointer::Stack { .. }) => 6,
        Some(Pointer::PacketMeta) => 7,
        Some(Pointer::Packet) => 8,
        Some(Pointer::PacketEnd) => 9,
    }
}

pub(super) fn load(check: &mut Check<'_>, size: Size, (base, off): (Reg, i16), visit: Visit<'_>) {
    let Some(pointer) = followed(check, visit, base) else {
        return;
    };
    match pointer.to {
        Pointer::Context if !can_read_context(check.program.program_type, size, off) => {
            let fields = match check.program.program_type {
                ProgramType::SchedCls => "len, data and data_end",
                _ => "data and data_end",
            };
            check.refuse(
                Rule::ContextField,
                translation_failed(-95, check.slot),
                format!("of the context, only {fields} can be read; this is byte {off}"),
                "read it on the host, or do without",
            );
        }
        Pointer::MapValue { map } => {
            map_value(check, map, size, off, pointer, WordUse::Read);
        }
        _ => {}
    }
    same_kind(check, visit, pointer);
}

pub(super) fn store(
    check: &mut Check<'_>,
    (base, off): (Reg, i16),
    src: Operand,
    visit: Visit<'_>,
) {
    let Operand::Reg(_) = src else {
        // The hook accepts it without a look; the translator then knows no pointer.
        return check.refuse(
            Rule::StoreConstant,
            translation_failed(-95, check.slot),
            "the driver cannot translate a store of a constant",
            "store a variable that the compiler cannot fold, or compile with -mcpu=v3 or lower",
        );
    };
    if visit.now.pointer.map(|pointer| pointer.to) == Some(Pointer::Context) {
        store_context(check, off);
    }
    let Some(pointer) = followed(check, visit, base) else {
        return;
    };
    if let Pointer::MapValue { .. } = pointer.to {
        check.refuse(
            Rule::MapWrite,
            "map writes not supported",
            "a map value can be read and added to, not written",
            "count with __sync_fetch_and_add, call bpf_map_update_elem, or write from user space",
        );
    }
    same_kind(check, visit, pointer);
}

fn store_context(check: &mut Check<'_>, off: i16) {
    let is_xdp = check.program.program_type == ProgramType::Xdp;
    if !is_xdp || off != RX_QUEUE_INDEX {
        check.refuse(
            Rule::ContextStore,
            "unsupported store to context field",
            format!("byte {off} of the context cannot be written"),
            "of the context, only xdp_md.rx_queue_index can be written",
        );
    } else if !check.profile.queue_select {
        check.refuse(
            Rule::QueueSelect,
            "queue selection not supported by FW",
            "the firmware does not let programs choose the RX queue",
            "leave the choice to RSS",
        );
    }
}

pub(super) fn atomic(
    check: &mut Check<'_>,
    insn: Insn,
    (op, size): (AtomicOp, Size),
    (base, off): (Reg, i16),
    src: Reg,
    visit: Visit<'_>,
) {
    if op != (AtomicOp::Add { fetch: false }) {
        let bytes = encode(&[insn]);
        let operation = bytes.get(4..8).map_or(0, |imm| {
            i32::from_le_bytes([imm[0], imm[1], imm[2], imm[3]])
        });
        return check.refuse(
            Rule::AtomicOperation,
            format!("atomic op not implemented: {operation}"),
            "of the atomic operations the card has addition only, without its result",
            "use additions and ignore what they return",
        );
    }
    let to = visit.now.pointer.map(|pointer| pointer.to);
    let (Some(pointer), Some(Pointer::MapValue { map })) = (visit.now.pointer, to) else {
        let kind = argument_type(visit.register(base));
        return check.refuse(
            Rule::AtomicPointer,
            format!("atomic add not to a map value pointer: {kind}"),
            "atomic additions are for map values only",
            "count in a map",
        );
    };
    if visit.now.addend.is_none() {
        let kind = argument_type(visit.register(src));
        check.refuse(
            Rule::AtomicAddend,
            format!("atomic add not of a scalar: {kind}"),
            "what is added must be a number",
            "add a number",
        );
    }
    map_value(check, map, size, off, pointer, WordUse::Counted);
    same_kind(check, visit, pointer);
}

/// The base, if it is of a kind that can be followed.
fn followed(check: &mut Check<'_>, visit: Visit<'_>, base: Reg) -> Option<PointerFacts> {
    let Some(pointer) = visit.now.pointer else {
        let kind = argument_type(visit.register(base));
        check.refuse(
            Rule::PointerType,
            format!("unsupported ptr type: {kind}"),
            "access through something that is no pointer",
            ONE_KIND,
        );
        return None;
    };
    match pointer.to {
        Pointer::Context | Pointer::Packet | Pointer::MapValue { .. } => Some(pointer),
        Pointer::Stack { .. } => {
            stack_access(check, visit, pointer);
            Some(pointer)
        }
        Pointer::PacketMeta
        | Pointer::PacketEnd
        | Pointer::Map { .. }
        | Pointer::MapValueOrNull { .. } => {
            check.refuse(
                Rule::PointerType,
                format!("unsupported ptr type: {}", type_number(Some(pointer.to))),
                format!("access through a pointer to {}", pointer.to.name()),
                ONE_KIND,
            );
            None
        }
    }
}

/// The place is built into the words, or, where it differs by path, its alignment.
fn stack_access(check: &mut Check<'_>, visit: Visit<'_>, pointer: PointerFacts) {
    if pointer.is_variable() {
        return check.refuse(
            Rule::StackVariable,
            "variable ptr stack access",
            "the place on the stack is not constant",
            "use constant indexes into local arrays",
        );
    }
    let Some(before) = visit.before.pointer else {
        return;
    };
    let (was, is) = (before.place(), pointer.place());
    if (was != is || before.differs_by_path) && was % 4 != is % 4 {
        check.refuse(
            Rule::StackMoved,
            format!("stack access changed location was:{was} is:{is}"),
            format!("the place on the stack is {was} or {is}, depending on the path"),
            "align both to 4 bytes, or use one of them",
        );
    }
}

/// The kind of memory is built into the words, so all paths must agree on it.
fn same_kind(check: &mut Check<'_>, visit: Visit<'_>, pointer: PointerFacts) {
    let before = visit
        .before
        .pointer
        .map(|before| type_number(Some(before.to)));
    let now = type_number(Some(pointer.to));
    if let Some(before) = before.filter(|before| *before != now) {
        check.refuse(
            Rule::PointerChanged,
            format!("ptr type changed for instruction {before} -> {now}"),
            "what this pointer points to depends on the path",
            ONE_KIND,
        );
    }
}

fn map_value(
    check: &mut Check<'_>,
    map: u32,
    size: Size,
    off: i16,
    pointer: PointerFacts,
    new: WordUse,
) {
    if pointer.is_variable() {
        return check.refuse(
            Rule::MapOffsetVariable,
            "map value offset is variable",
            "the place in the map value is not constant",
            "use a constant index into the value, or one entry for each",
        );
    }
    let (offset, bytes) = (pointer.place() + i64::from(off), size.bytes() as i64);
    let value = check.module.maps.get(map as usize);
    let value_size = value.map_or(0, |spec| i64::from(spec.value_size));
    if offset < 0 || offset + bytes > value_size {
        let end = offset + bytes;
        return check.refuse(
            Rule::MapOutOfBounds,
            "map value access out-of-bounds",
            format!("bytes {offset} to {end} of a map value of {value_size} bytes"),
            "stay inside the value",
        );
    }
    for word in offset / 4..=(offset + bytes - 1) / 4 {
        let first = *check.map_words.entry((map, word)).or_insert(new);
        let byte = offset.max(word * 4);
        if first != new {
            check.refuse(
                Rule::MapUseConflict,
                format!(
                    "map value use type conflict {} vs {} off: {byte}",
                    first.name(),
                    new.name()
                ),
                format!("byte {byte} of the map value is both read and added to"),
                "read counters from user space only",
            );
        } else if new == WordUse::Counted && check.updated.contains(&(map, word)) {
            check.refuse(Rule::CounterNotZero,
                format!(
                    "atomic counter in map value may already be initialized to non-zero value off: {byte}"
                ),
                format!("byte {byte} of the map value is added to, and was set by an update"),
                "create the entry with zero and add to it afterwards",
            );
        }
    }
}

fn translation_failed(errno: i32, slot: Option<usize>) -> String {
    let translated = slot.unwrap_or_default();
    format!("Translation failed with error {errno} (translated: {translated})")
}
