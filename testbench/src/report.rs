//! The difference report of a cross-check, for people and in its stable JSON form.

use std::fmt::Write as _;
use std::io::{self, Write};

use iom_core::hex::encode as hex;
use iom_core::map::{MapEntry, MapValue};
use iom_core::module::Module;
use serde_json::{Value, json};

use crate::compare::{Aspect, COMPARED};
use crate::cross_check::{EntryDifference, PacketDifference, PacketResult, Report};
use crate::dissect::field_at;
use crate::engine::Engine;
use crate::mask::{Masked, Masks};
use crate::record::{RedirectRecord, SocketBufferRecord, action_text};

/// A backend that was asked for and is not there.
#[derive(Debug)]
pub struct Skipped {
    /// Name of the backend.
    pub backend: String,
    /// Why.
    pub reason: String,
}

/// Writes the report for people.
///
/// # Errors
/// The output cannot be written.
pub fn write_text(
    out: &mut dyn Write,
    report: &Report,
    module: &Module,
    engines: &[Engine],
    skipped: &[Skipped],
) -> io::Result<()> {
    for difference in &report.packet_differences {
        write_packet(out, difference, [module; 2])?;
    }
    for difference in &report.entry_differences {
        write_entry(out, difference, module)?;
    }
    let shown = (report.packet_differences.len() + report.entry_differences.len()) as u64;
    if report.differences > shown {
        writeln!(
            out,
            "... and {} more differences (--show)\n",
            report.differences - shown
        )?;
    }
    for Skipped { backend, reason } in skipped {
        writeln!(out, "skipped {backend}: {reason}")?;
    }
    for ((backend, reason), packets) in &report.not_comparable {
        writeln!(
            out,
            "not comparable: {packets} packets, {backend}: {reason}"
        )?;
    }
    for (known, packets) in &report.known {
        writeln!(
            out,
            "known difference: {packets} packets, {}",
            known.reason()
        )?;
    }
    write_masked(out, &report.masked)?;
    if report.padded > 0 {
        writeln!(
            out,
            "padded: {} packets to 60 bytes for all backends, as the NFP's MAC delivers them",
            report.padded
        )?;
    }
    let names: Vec<&str> = engines.iter().map(|engine| engine.backend_name()).collect();
    let verdict = match report.differences {
        0 => "identical".to_owned(),
        1 => "1 difference".to_owned(),
        more => format!("{more} differences"),
    };
    writeln!(
        out,
        "{}: {} packets on {}: {verdict} ({})",
        module.name,
        report.packets,
        names.join(", "),
        COMPARED.join(", ")
    )
}

/// Writes every mask with what it hid.
pub(crate) fn write_masked(out: &mut dyn Write, masks: &Masks) -> io::Result<()> {
    for Masked {
        mask,
        packets,
        entries,
    } in masks.counts()
    {
        let (field, reason) = (&mask.field, &mask.reason);
        writeln!(
            out,
            "masked: {packets} packets, {entries} map entries, {field}: {reason}"
        )?;
    }
    Ok(())
}

/// Writes one packet with both results; the modules are those of the two sides.
pub(crate) fn write_packet(
    out: &mut dyn Write,
    difference: &PacketDifference,
    modules: [&Module; 2],
) -> io::Result<()> {
    let packet = &difference.packet;
    writeln!(
        out,
        "packet {} (port {}, queue {}, {} bytes):",
        packet.id,
        packet.port.0,
        packet.queue.0,
        difference.received.len()
    )?;
    for text in describe(difference, modules) {
        writeln!(out, "  {text}")?;
    }
    writeln!(out, "  received:")?;
    out.write_all(hex_dump(&difference.received).as_bytes())?;
    if difference.aspects.contains(&Aspect::Bytes) {
        for side in [&difference.left, &difference.right] {
            writeln!(out, "  after {}:", side.backend)?;
            out.write_all(hex_dump(&side.bytes).as_bytes())?;
        }
    }
    writeln!(out)
}

/// In what the two sides differ, a sentence for each aspect; the modules are theirs.
pub(crate) fn describe(difference: &PacketDifference, modules: [&Module; 2]) -> Vec<String> {
    let sides = [&difference.left, &difference.right];
    let pair = |what: &str, text: &dyn Fn(&PacketResult, &Module) -> String| {
        let [left, right] = sides;
        format!(
            "{what}: {} {}, {} {}",
            left.backend,
            text(left, modules[0]),
            right.backend,
            text(right, modules[1])
        )
    };
    let aspects = difference.aspects.iter();
    let texts = aspects.map(|aspect| match aspect {
        Aspect::Action => pair("action", &|side, _| match &side.outcome.trap {
            Some(trap) => format!("fault at {trap}"),
            None => action_text(&side.outcome),
        }),
        Aspect::Redirect => pair("redirect", &|side, module| match side.outcome.redirect {
            Some(redirect) => {
                serde_json::to_string(&RedirectRecord::new(redirect, module)).unwrap_or_default()
            }
            None => "nowhere".to_owned(),
        }),
        Aspect::Bytes => describe_bytes(difference.first_byte, sides),
        Aspect::Metadata => pair("metadata", &|side, _| {
            let buffer = SocketBufferRecord::new(side.outcome.program_type, &side.socket_buffer);
            match buffer {
                Some(buffer) => serde_json::to_string(&buffer).unwrap_or_default(),
                None => format!("[{}]", hex(&side.metadata)),
            }
        }),
        Aspect::Events => pair("events", &|side, _| {
            let events: Vec<String> = side.events.iter().map(|event| hex(&event.bytes)).collect();
            format!("[{}]", events.join(", "))
        }),
    });
    texts.collect()
}

fn describe_bytes(first: usize, [left, right]: [&PacketResult; 2]) -> String {
    let mut text = format!(
        "bytes: first difference at offset {first}, {}",
        field_at(&left.bytes, first)
    );
    let byte = |bytes: &[u8]| {
        bytes
            .get(first)
            .map_or("nothing".to_owned(), |byte| format!("{byte:02x}"))
    };
    let _ = write!(
        text,
        ": {} {}, {} {}",
        left.backend,
        byte(&left.bytes),
        right.backend,
        byte(&right.bytes)
    );
    if left.bytes.len() != right.bytes.len() {
        let _ = write!(
            text,
            "; lengths {} and {}",
            left.bytes.len(),
            right.bytes.len()
        );
    }
    text
}

/// Writes one map entry of both sides; the module is that of the left one.
pub(crate) fn write_entry(
    out: &mut dyn Write,
    difference: &EntryDifference,
    module: &Module,
) -> io::Result<()> {
    let EntryDifference {
        map,
        left: (left_name, left),
        right: (right_name, right),
    } = difference;
    let key = left
        .as_ref()
        .or(right.as_ref())
        .map(|entry| hex(&entry.key))
        .unwrap_or_default();
    let name = module.maps.get(*map).map_or("?", |spec| spec.name.as_str());
    let value = |entry: &Option<MapEntry>| {
        entry
            .as_ref()
            .map_or("no entry".to_owned(), |entry| value_text(&entry.value))
    };
    writeln!(
        out,
        "map {name}, key {key}:\n  {left_name}: {}\n  {right_name}: {}\n",
        value(left),
        value(right)
    )
}

fn value_text(value: &MapValue) -> String {
    match value {
        MapValue::Plain(bytes) => hex(bytes),
        MapValue::PerQueue(values) => {
            let values: Vec<String> = values.iter().map(|bytes| hex(bytes)).collect();
            format!("by queue [{}]", values.join(", "))
        }
    }
}

/// Sixteen bytes a line, with offsets.
fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "    {:04x} ", index * 16);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    text
}

/// The report in JSON.
pub fn to_json(report: &Report, module: &Module, engines: &[Engine], skipped: &[Skipped]) -> Value {
    let not_comparable: Vec<Value> = report
        .not_comparable
        .iter()
        .map(|((backend, reason), packets)| json!({"backend": backend, "reason": reason, "packets": packets}))
        .collect();
    let known: Vec<Value> = report
        .known
        .iter()
        .map(|(known, packets)| json!({"reason": known.reason(), "packets": packets}))
        .collect();
    let backends: Vec<Value> = engines
        .iter()
        .map(|e| json!({"name": e.backend_name(), "engine": e.engine_name()}))
        .collect();
    let skipped: Vec<Value> = skipped
        .iter()
        .map(|s| json!({"backend": s.backend, "reason": s.reason}))
        .collect();
    json!({
        "version": 1,
        "packets": report.packets,
        "compared": COMPARED,
        "backends": backends,
        "skipped": skipped,
        "not_comparable": not_comparable,
        "known_differences": known,
        "masked": masked_json(&report.masked),
        "padded": report.padded,
        "differences": report.differences,
        "first": first_json(report, module),
    })
}

/// Every mask with what it hid.
pub(crate) fn masked_json(masks: &Masks) -> Vec<Value> {
    let counts = masks.counts().iter();
    let json = counts.map(|masked| {
        json!({
            "field": masked.mask.field,
            "reason": masked.mask.reason,
            "packets": masked.packets,
            "entries": masked.entries,
        })
    });
    json.collect()
}

/// One packet with both results; the modules are those of the two sides.
pub(crate) fn packet_json(difference: &PacketDifference, modules: [&Module; 2]) -> Value {
    let side = |side: &PacketResult, module: &Module| {
        json!({
            "backend": side.backend,
            "retval": side.outcome.retval,
            "action": side.outcome.action_name(),
            "trap": side.outcome.trap.as_ref().map(ToString::to_string),
            "redirect": side.outcome.redirect.map(|redirect| RedirectRecord::new(redirect, module)),
            "bytes": hex(&side.bytes),
            "metadata": hex(&side.metadata),
            "socket_buffer": SocketBufferRecord::new(side.outcome.program_type, &side.socket_buffer),
            "events": side.events.iter().map(|event| hex(&event.bytes)).collect::<Vec<_>>(),
        })
    };
    json!({
        "packet": difference.packet.id,
        "differs": difference.aspects,
        "description": describe(difference, modules),
        "received": hex(&difference.received),
        "results": [side(&difference.left, modules[0]), side(&difference.right, modules[1])],
    })
}

/// One map entry of both sides; the module is that of the left one.
pub(crate) fn entry_json(difference: &EntryDifference, module: &Module) -> Value {
    let EntryDifference { map, left, right } = difference;
    let side = |(name, entry): &(String, Option<MapEntry>)| json!({"backend": name, "value": entry.as_ref().map(|entry| value_json(&entry.value))});
    let entry = left.1.as_ref().or(right.1.as_ref());
    json!({
        "differs": ["maps"],
        "map": module.maps.get(*map).map(|spec| &spec.name),
        "key": entry.map(|entry| hex(&entry.key)),
        "results": [side(left), side(right)],
    })
}

fn first_json(report: &Report, module: &Module) -> Value {
    match (
        report.packet_differences.first(),
        report.entry_differences.first(),
    ) {
        (Some(packet), _) => packet_json(packet, [module; 2]),
        (None, Some(entry)) => entry_json(entry, module),
        (None, None) => Value::Null,
    }
}

fn value_json(value: &MapValue) -> Value {
    match value {
        MapValue::Plain(bytes) => json!(hex(bytes)),
        MapValue::PerQueue(values) => values.iter().map(|bytes| json!(hex(bytes))).collect(),
    }
}
