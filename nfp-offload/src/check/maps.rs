//! Maps that the program names: what the card takes (`nfp_bpf_map_alloc`).

use iom_core::map::{MapSpec, MapType};

use super::{Check, GLOBALS, Rule};
use crate::profile::MapLimits;

pub(super) fn check(check: &mut Check<'_>) {
    let references = check.program.map_references();
    let mut used: Vec<u32> = references.map(|(_, map)| map).collect();
    used.sort_unstable();
    used.dedup();
    let module = check.module;
    let mut elements = 0;
    let mut count = 0;
    for index in used {
        let Some(spec) = module.maps.get(index as usize) else {
            continue;
        };
        if spec.data_section {
            check.refuse(
                Rule::GlobalData,
                "map flags are not supported",
                format!("global data ({}) cannot be offloaded", spec.name),
                GLOBALS,
            );
            continue;
        }
        // Event arrays stay on the host.
        if spec.map_type == MapType::PerfEventArray {
            continue;
        }
        if !matches!(spec.map_type, MapType::Hash | MapType::Array) {
            wrong_type(check, spec);
            continue;
        }
        let Some(limits) = check.profile.maps.filter(|limits| limits.types != 0) else {
            check.refuse(
                Rule::MapSupport,
                "maps not supported by FW",
                format!("map {}: the firmware has no maps", spec.name),
                "use a firmware with maps",
            );
            continue;
        };
        count += 1;
        map(check, spec, limits, (count, elements));
        elements += u64::from(spec.max_entries);
    }
}

fn wrong_type(check: &mut Check<'_>, spec: &MapSpec) {
    let fix = match spec.map_type {
        MapType::PercpuArray | MapType::PercpuHash => "use the plain type and atomic additions",
        MapType::LruHash => "use a hash map and delete old entries from user space",
        MapType::Ringbuf => "use a perf event array",
        _ => "use a hash or array map",
    };
    check.refuse(
        Rule::MapType,
        "offloaded map type must be array or hash",
        format!(
            "map {} is of type {}; the card has hash and array",
            spec.name,
            spec.map_type.name()
        ),
        fix,
    );
}

/// Checks one map behind `count` - 1 others with so many `elements`.
#[expect(
    clippy::too_many_lines,
    reason = "one rule after the other, in the driver's order"
)]
fn map(check: &mut Check<'_>, spec: &MapSpec, limits: MapLimits, (count, elements): (u32, u64)) {
    let name = &spec.name;
    let mut refuse = |rule, driver: String, message: String, fix| {
        check.refuse(rule, driver, message, fix);
    };
    if spec.flags.0 != 0 {
        let message = format!(
            "map {name} has flags {:#x}; the card takes none",
            spec.flags.0
        );
        refuse(
            Rule::MapFlags,
            "map flags are not supported".into(),
            message,
            "remove map_flags",
        );
    }
    let number = if spec.map_type == MapType::Hash { 1 } else { 2 };
    if !limits.has_type(number) {
        let message = format!(
            "map {name}: the firmware has no {} maps",
            spec.map_type.name()
        );
        refuse(
            Rule::FirmwareMapType,
            "map type not supported".into(),
            message,
            "use another map type",
        );
    }
    if count > limits.max_maps {
        let message = format!(
            "map {name} is number {count}; the card has {}",
            limits.max_maps
        );
        refuse(
            Rule::MapCount,
            "too many maps for a device".into(),
            message,
            "join maps",
        );
    }
    let left = u64::from(limits.max_elements).saturating_sub(elements);
    if u64::from(spec.max_entries) > left {
        let entries = spec.max_entries;
        let driver = format!("map with too many elements: {entries}, left: {left}");
        let message = format!("map {name} has {entries} entries; the card has {left} left");
        refuse(Rule::MapElements, driver, message, "lower max_entries");
    }
    let entry = u64::from(spec.key_size).next_multiple_of(8)
        + u64::from(spec.value_size).next_multiple_of(8);
    let max = limits.max_entry;
    if entry > u64::from(max) {
        let driver =
            format!("map elements too large: {entry}, FW max element size (key+value): {max}");
        let message = format!("map {name} has entries of {entry} bytes; the card takes {max}");
        refuse(
            Rule::MapEntrySize,
            driver,
            message,
            "make key or value smaller, or split the map",
        );
    }
    let sizes = [
        (Rule::MapKeySize, "key", spec.key_size, limits.max_key),
        (
            Rule::MapValueSize,
            "value",
            spec.value_size,
            limits.max_value,
        ),
    ];
    for (rule, what, size, max) in sizes.into_iter().filter(|(_, _, size, max)| size > max) {
        let driver = format!("map {what} size {size}, FW max is {max}");
        let message = format!("map {name} has a {what} of {size} bytes; the card takes {max}");
        refuse(rule, driver, message, "make it smaller, or split the map");
    }
}
