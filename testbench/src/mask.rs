//! `--mask FIELD=REASON`: what may differ by design. Masked differences are counted, each under
//! its mask, and stand in the report with the reason.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use iom_core::abi::Frame;
use iom_core::map::{MapEntry, MapValue};
use iom_core::module::Module;

use crate::compare::{Aspect, EntryDifference, PacketView};
use crate::dissect;
use crate::exit::Failure;

/// What may differ, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The field as the user wrote it.
    pub field: String,
    /// Why it may differ.
    pub reason: String,
    target: Target,
}

/// What a mask hides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Redirect,
    Metadata,
    Events,
    /// Bytes of the packet.
    Offsets(Range<usize>),
    /// A protocol field, wherever it stands: a path of [`dissect::path_at`], or its header.
    Field(String),
    /// Entries of a map: all of them, or bytes of their values.
    Map {
        name: String,
        value: Option<Range<usize>>,
    },
}

/// A mask and how often it hid a difference.
#[derive(Clone, Debug)]
pub struct Masked {
    /// The mask.
    pub mask: Mask,
    /// Packets on which it hid what differed.
    pub packets: u64,
    /// Map entries that it hid.
    pub entries: u64,
}

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, reason) = text.split_once('=').unwrap_or((text, ""));
        let (field, reason) = (field.trim(), reason.trim());
        if reason.is_empty() {
            return Err(format!(
                "a mask needs a reason: `{field}=why it may differ`"
            ));
        }
        Ok(Self {
            field: field.to_owned(),
            reason: reason.to_owned(),
            target: target(field)?,
        })
    }
}

fn target(field: &str) -> Result<Target, String> {
    match field.split_once(':') {
        None if field == "redirect" => Ok(Target::Redirect),
        None if field == "metadata" => Ok(Target::Metadata),
        None if field == "events" => Ok(Target::Events),
        Some(("bytes", place)) => match range(place) {
            Some(offsets) => Ok(Target::Offsets(offsets)),
            None => protocol_field(place),
        },
        Some(("map", place)) if !place.is_empty() => Ok(match place.rsplit_once(':') {
            Some((name, bytes)) if range(bytes).is_some() => Target::Map {
                name: name.to_owned(),
                value: range(bytes),
            },
            _ => Target::Map {
                name: place.to_owned(),
                value: None,
            },
        }),
        _ => Err(format!(
            "`{field}` cannot be masked: there are redirect, metadata, events, bytes:OFFSET-LENGTH, \
             bytes:PROTOCOL.FIELD, map:NAME and map:NAME:OFFSET-LENGTH"
        )),
    }
}

/// `OFFSET-LENGTH`
fn range(text: &str) -> Option<Range<usize>> {
    let (offset, len) = text.split_once('-')?;
    let (offset, len) = (offset.parse::<usize>().ok()?, len.parse::<usize>().ok()?);
    Some(offset..offset.checked_add(len)?).filter(|range| !range.is_empty())
}

fn protocol_field(path: &str) -> Result<Target, String> {
    let known = dissect::paths();
    if known.iter().any(|known| covers(path, known)) {
        return Ok(Target::Field(path.to_owned()));
    }
    let header = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    let of_header = known.iter().filter(|known| header(known) == header(path));
    let mut names: BTreeSet<String> = of_header.cloned().collect();
    if names.is_empty() {
        names = known.iter().map(|known| header(known)).collect();
    }
    let names: Vec<String> = names.into_iter().collect();
    Err(format!(
        "`{path}` is no protocol field (as ipv4.identification is): there are {}",
        names.join(", ")
    ))
}

/// Whether a field, or the header it is in, goes by this path.
fn covers(path: &str, field: &str) -> bool {
    field
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Mask {
    fn hides_aspect(&self, aspect: Aspect) -> bool {
        match self.target {
            Target::Redirect => aspect == Aspect::Redirect,
            Target::Metadata => aspect == Aspect::Metadata,
            Target::Events => aspect == Aspect::Events,
            Target::Offsets(_) | Target::Field(_) | Target::Map { .. } => false,
        }
    }

    /// Whether the byte at an offset may differ between two packets.
    fn hides_byte(&self, left: &[u8], right: &[u8], offset: usize) -> bool {
        match &self.target {
            Target::Offsets(range) => range.contains(&offset),
            Target::Field(path) => [left, right]
                .iter()
                .all(|packet| covers(path, &dissect::path_at(packet, offset))),
            Target::Redirect | Target::Metadata | Target::Events | Target::Map { .. } => false,
        }
    }

    /// Whether the byte at an offset of a value may differ; no offset asks for the whole entry.
    fn hides_value(&self, map: &str, offset: Option<usize>) -> bool {
        match (&self.target, offset) {
            (Target::Map { name, value: None }, _) => name == map,
            (
                Target::Map {
                    name,
                    value: Some(range),
                },
                Some(offset),
            ) => name == map && range.contains(&offset),
            _ => false,
        }
    }
}

/// All masks of a run, with their counts.
#[derive(Clone, Debug, Default)]
pub struct Masks(Vec<Masked>);

impl Masks {
    /// Masks that have hidden nothing yet.
    ///
    /// # Errors
    /// A map that none of the modules has.
    pub fn new(masks: &[Mask], modules: &[&Module]) -> anyhow::Result<Self> {
        for mask in masks {
            if let Target::Map { name, .. } = &mask.target
                && !modules
                    .iter()
                    .any(|module| module.map_index(name).is_some())
            {
                return Err(Failure::usage(format!(
                    "--mask {}: there is no map {name}",
                    mask.field
                )));
            }
        }
        let masked = |mask: &Mask| Masked {
            mask: mask.clone(),
            packets: 0,
            entries: 0,
        };
        Ok(Self(masks.iter().map(masked).collect()))
    }

    /// The masks and what they hid.
    pub fn counts(&self) -> &[Masked] {
        &self.0
    }

    /// Takes out of `aspects` what may differ and counts the packet under each mask that hid
    /// something.
    pub fn hide_packet(
        &mut self,
        left: &PacketView<'_>,
        right: &PacketView<'_>,
        aspects: &mut Vec<Aspect>,
    ) {
        if self.0.is_empty() {
            return;
        }
        let mut used = vec![false; self.0.len()];
        aspects.retain(|aspect| {
            let hiding = if *aspect == Aspect::Bytes {
                self.hiding_bytes(left.frame, right.frame)
            } else {
                self.position(|mask| mask.hides_aspect(*aspect))
                    .into_iter()
                    .collect()
            };
            for index in &hiding {
                used[*index] = true;
            }
            hiding.is_empty()
        });
        for (masked, used) in self.0.iter_mut().zip(used) {
            masked.packets += u64::from(used);
        }
    }

    /// The masks that hide all bytes in which two packets differ; none if one byte stays.
    fn hiding_bytes(&self, left: &Frame, right: &Frame) -> Vec<usize> {
        let (left, right) = (left.packet(), right.packet());
        if left.len() != right.len() {
            return Vec::new();
        }
        let hiding = differing(&left, &right)
            .map(|offset| self.position(|mask| mask.hides_byte(&left, &right, offset)));
        hiding.collect::<Option<_>>().unwrap_or_default()
    }

    /// The first offset at which two packets differ where they may not.
    pub fn first_difference(&self, left: &[u8], right: &[u8]) -> usize {
        differing(left, right)
            .find(|offset| {
                self.position(|mask| mask.hides_byte(left, right, *offset))
                    .is_none()
            })
            .unwrap_or(left.len().min(right.len()))
    }

    /// Whether a differing entry of a map may differ; counts it if so.
    pub fn hides_entry(&mut self, map: &str, entry: &EntryDifference<'_>) -> bool {
        let hiding: Option<Vec<usize>> = match differing_offsets(entry) {
            Some(offsets) => offsets
                .into_iter()
                .map(|offset| self.position(|mask| mask.hides_value(map, Some(offset))))
                .collect(),
            None => self
                .position(|mask| mask.hides_value(map, None))
                .map(|index| vec![index]),
        };
        let Some(mut hiding) = hiding else {
            return false;
        };
        hiding.sort_unstable();
        hiding.dedup();
        for index in hiding {
            self.0[index].entries += 1;
        }
        true
    }

    fn position(&self, hides: impl Fn(&Mask) -> bool) -> Option<usize> {
        self.0.iter().position(|masked| hides(&masked.mask))
    }
}

/// Offsets at which both have a byte and the bytes differ.
fn differing(left: &[u8], right: &[u8]) -> impl Iterator<Item = usize> {
    let pairs = left.iter().zip(right).enumerate();
    pairs
        .filter(|(_, (left, right))| left != right)
        .map(|(offset, _)| offset)
}

/// Offsets in an entry's values at which two dumps differ; `None` if one has no such entry.
fn differing_offsets(entry: &EntryDifference<'_>) -> Option<Vec<usize>> {
    let (left, right) = (values(entry.left?), values(entry.right?));
    let lens = |values: &[Vec<u8>]| values.iter().map(Vec::len).collect::<Vec<_>>();
    (lens(left) == lens(right)).then(|| {
        let pairs = left.iter().zip(right);
        pairs
            .flat_map(|(left, right)| differing(left, right))
            .collect()
    })
}

/// The values of an entry, one for each queue where the map keeps them apart.
fn values(entry: &MapEntry) -> &[Vec<u8>] {
    match &entry.value {
        MapValue::Plain(bytes) => std::slice::from_ref(bytes),
        MapValue::PerQueue(values) => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iom_core::abi::Outcome;

    fn masks(texts: &[&str]) -> Masks {
        let masks: Vec<Mask> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let masked = |mask: Mask| Masked {
            mask,
            packets: 0,
            entries: 0,
        };
        Masks(masks.into_iter().map(masked).collect())
    }

    fn frame(packet: &[u8]) -> Frame {
        let mut frame = Frame::new();
        frame.set_packet(packet).unwrap();
        frame
    }

    fn ipv4() -> Vec<u8> {
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1, 2)
            .write(&mut packet, b"payload")
            .unwrap();
        packet
    }

    /// What stays of a difference in the bytes at `offsets`, and the packets counted.
    fn bytes_left(texts: &[&str], offsets: &[usize]) -> (bool, Vec<u64>) {
        let mut masks = masks(texts);
        let (left, mut right) = (ipv4(), ipv4());
        for offset in offsets {
            right[*offset] ^= 0x80;
        }
        let outcome = Outcome::default();
        let (left, right) = (frame(&left), frame(&right));
        let view = |frame| PacketView {
            outcome: &outcome,
            frame,
            events: &[],
            exact_retval: true,
        };
        let mut aspects = vec![Aspect::Bytes];
        masks.hide_packet(&view(&left), &view(&right), &mut aspects);
        let counts = masks.counts().iter().map(|masked| masked.packets);
        (!aspects.is_empty(), counts.collect())
    }

    #[test]
    fn a_mask_needs_a_known_field_and_a_reason() {
        let error = |text: &str| text.parse::<Mask>().unwrap_err();
        assert!(error("redirect").contains("needs a reason"));
        assert!(error("redirect= ").contains("needs a reason"));
        assert!(error("action=x").contains("cannot be masked"));
        assert!(error("bytes:5=x").contains("no protocol field"));
        assert!(error("bytes:5-0=x").contains("no protocol field"));
        let text = error("bytes:udp.port=x");
        assert!(text.contains("udp.source_port"), "{text}");
        for field in [
            "bytes:0-14",
            "bytes:ipv4.identification",
            "bytes:tcp",
            "map:a:b:0-8",
        ] {
            let mask: Mask = format!("{field}=two=three").parse().unwrap();
            assert_eq!(
                (mask.field.as_str(), mask.reason.as_str()),
                (field, "two=three")
            );
        }
    }

    #[test]
    fn bytes_are_hidden_only_if_all_that_differ_are_masked() {
        let identification = "bytes:ipv4.identification=chosen by the sender";
        let checksum = "bytes:ipv4.header_checksum=follows";
        assert_eq!(bytes_left(&[identification], &[18, 19]), (false, vec![1]));
        assert_eq!(bytes_left(&[identification], &[18, 24]), (true, vec![0]));
        assert_eq!(
            bytes_left(&[identification, checksum], &[18, 24]),
            (false, vec![1, 1])
        );
        assert_eq!(
            bytes_left(&["bytes:14-20=header"], &[14, 33]),
            (false, vec![1])
        );
        assert_eq!(bytes_left(&["bytes:14-20=header"], &[34]), (true, vec![0]));
        assert_eq!(
            bytes_left(&["bytes:payload=x", checksum], &[45]),
            (false, vec![1, 0])
        );
    }

    #[test]
    fn map_entries_are_hidden_whole_or_by_bytes_of_the_value() {
        let entry = |value: [u8; 4]| MapEntry {
            key: vec![0],
            value: MapValue::PerQueue(vec![vec![0; 4], value.to_vec()]),
        };
        let (left, right) = (entry([1, 2, 3, 4]), entry([1, 9, 9, 4]));
        let check = |text: &str, map: &str, right: Option<&MapEntry>| {
            let mut masks = masks(&[text]);
            let difference = EntryDifference {
                left: Some(&left),
                right,
            };
            let hidden = masks.hides_entry(map, &difference);
            assert_eq!(masks.counts()[0].entries, u64::from(hidden));
            hidden
        };
        assert!(check("map:m=x", "m", Some(&right)));
        assert!(check("map:m=x", "m", None));
        assert!(!check("map:m=x", "n", Some(&right)));
        assert!(check("map:m:1-2=x", "m", Some(&right)));
        assert!(!check("map:m:1-1=x", "m", Some(&right)));
        assert!(!check("map:m:0-4=x", "m", None));
    }
}
