//! Helper calls (`nfp_bpf_check_helper_call`).

use iom_core::helper;
use iom_core::verifier::{Argument, CallFacts, Pointer, Visit};

use super::memory::argument_type;
use super::{Check, Rule, WordUse, known_bits};
use crate::profile::AdjustHead;

/// `BPF_F_INDEX_MASK` and `BPF_F_CURRENT_CPU`.
const CURRENT_CPU: u64 = 0xffff_ffff;

pub(super) fn helper(check: &mut Check<'_>, number: u32, visit: Visit<'_>) {
    let call = visit.now.call.unwrap_or_default();
    let addresses = check.profile.helpers;
    match number {
        1 => map(check, "map_lookup", addresses.map_lookup, call),
        2 => {
            map(check, "map_update", addresses.map_update, call);
            stack_argument(check, "map_update", call.arg3);
            update(check, call);
        }
        3 => map(check, "map_delete", addresses.map_delete, call),
        7 if !check.profile.random => check.refuse(
            Rule::Random,
            "bpf_get_prandom_u32(): FW doesn't support random number generation",
            "the firmware has no random numbers",
            "hash something of the packet instead",
        ),
        25 => {
            perf_event_output(check, addresses.perf_event_output, call);
            event_kind(check, call, visit.before.call);
        }
        44 => adjust_head(check),
        65 if !check.profile.adjust_tail => check.refuse(
            Rule::AdjustTail,
            "adjust_tail not supported by FW",
            "the firmware cannot change the end of a packet",
            "do without",
        ),
        7 | 65 => {}
        _ => unsupported(check, number),
    }
}

fn unsupported(check: &mut Check<'_>, number: u32) {
    let name = helper::by_number(number).map_or("this helper", |helper| helper.name);
    let fix = match name {
        "bpf_ktime_get_ns" | "bpf_ktime_get_boot_ns" => {
            "take the time in user space when it reads the maps"
        }
        "bpf_redirect" | "bpf_redirect_map" => {
            "XDP_TX sends back out of the port; anything else needs the host"
        }
        "bpf_tail_call" => "call functions of the program instead",
        "bpf_trace_printk" => "count in a map, or use bpf_perf_event_output",
        _ => "do it on the host, after XDP_PASS",
    };
    check.refuse(
        Rule::Helper,
        format!("unsupported function id: {}", number as i32),
        format!("the card has no {name}"),
        fix,
    );
}

fn map(check: &mut Check<'_>, name: &str, address: u16, call: CallFacts) {
    if address == 0 {
        check.refuse(
            Rule::MapHelper,
            format!("{name}: not supported by FW"),
            format!("the firmware has no routine for {name}"),
            "use a firmware that has it",
        );
    }
    stack_argument(check, name, call.arg2);
}

/// A key, value or event must be on the stack, at a constant place that is a multiple of 4.
fn stack_argument(check: &mut Check<'_>, name: &str, argument: Argument) {
    let to = argument.pointer().map(|pointer| pointer.to);
    let (Some(pointer), Some(Pointer::Stack { .. })) = (argument.pointer(), to) else {
        return check.refuse(
            Rule::ArgumentType,
            format!("{name}: unsupported ptr type {}", argument_type(argument)),
            format!("{name} takes what is on the stack only"),
            "copy it into a local variable",
        );
    };
    if pointer.is_variable() {
        return check.refuse(
            Rule::ArgumentVariable,
            format!("{name}: variable pointer"),
            format!("{name} takes a constant place on the stack only"),
            "use a local variable of its own",
        );
    }
    let place = pointer.place();
    if place % 4 != 0 {
        check.refuse(
            Rule::ArgumentUnaligned,
            format!("{name}: unaligned stack pointer {}", -place),
            format!("the data of {name} is at {place} from the frame pointer"),
            "align the variable to 4 bytes",
        );
    }
}

/// Words that are added to may only be set to zero: the card keeps them in another byte order.
fn update(check: &mut Check<'_>, call: CallFacts) {
    let (Some(map), Some(value)) = (call.map, call.arg3.pointer()) else {
        return;
    };
    let size = check
        .module
        .maps
        .get(map as usize)
        .map_or(0, |map| map.value_size);
    for byte in 0..i64::from(size.min(64)) {
        if call.maybe_nonzero >> byte & 1 == 0 {
            continue;
        }
        if check.map_words.get(&(map, byte / 4)) == Some(&WordUse::Counted) {
            let place = -(value.place() + byte) - 1;
            return check.refuse(Rule::CounterUpdate,
                format!(
                    "value at offset {byte}/{place} may be non-zero, bpf_map_update_elem() is required to initialize atomic counters to zero to avoid offload endian issues"
                ),
                format!("byte {byte} of the value is a counter, and may be set to more than zero"),
                "create entries with zero and add to them",
            );
        }
        check.updated.insert((map, byte / 4));
    }
}

fn perf_event_output(check: &mut Check<'_>, address: u16, call: CallFacts) {
    if address == 0 {
        return check.refuse(
            Rule::EventHelper,
            "event_output: not supported by FW",
            "the firmware has no routine for events",
            "count in a map",
        );
    }
    let flags = known_bits(call.arg3);
    if flags.mask & CURRENT_CPU != 0 || flags.value & CURRENT_CPU != CURRENT_CPU {
        check.refuse(
            Rule::EventCpu,
            format!("event_output: must use BPF_F_CURRENT_CPU, var_off: {flags}"),
            "events of the card have no CPU to choose",
            "pass BPF_F_CURRENT_CPU",
        );
    }
    match call.arg4.pointer().map(|pointer| pointer.to) {
        Some(Pointer::Stack { .. }) => stack_argument(check, "event_output", call.arg4),
        None | Some(Pointer::MapValue { .. } | Pointer::Packet) => {}
        Some(to) => check.refuse(
            Rule::EventPointer,
            format!(
                "event_output: unsupported ptr type: {}",
                argument_type(call.arg4)
            ),
            format!("events cannot be taken from {}", to.name()),
            "copy it into a local variable",
        ),
    }
}

/// The kind of memory is built into the words, so all paths must agree on it.
fn event_kind(check: &mut Check<'_>, call: CallFacts, before: Option<CallFacts>) {
    let kind = |call: CallFacts| argument_type(call.arg4);
    if let Some(before) = before.map(kind).filter(|before| *before != kind(call)) {
        let now = kind(call);
        check.refuse(
            Rule::EventPointerChanged,
            format!("event_output: ptr type changed: {before} {now}"),
            "on different paths, events are taken from different kinds of memory",
            "call it once for each kind",
        );
    }
}

fn adjust_head(check: &mut Check<'_>) {
    match check.profile.adjust_head.filter(AdjustHead::is_usable) {
        None => check.refuse(
            Rule::AdjustHead,
            "adjust_head not supported by FW",
            "the firmware cannot change the start of a packet",
            "do without",
        ),
        Some(limits) if limits.flags & AdjustHead::NO_META == 0 => check.refuse(
            Rule::AdjustHeadMeta,
            "adjust_head: FW requires shifting metadata, not supported by the driver",
            "the firmware wants metadata moved along, which the driver does not do",
            "use a firmware with metadata elsewhere",
        ),
        Some(_) => {}
    }
}
