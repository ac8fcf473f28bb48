//! The grammar of directives: `.license`, `.program`, `.map`, `.entry` and `.inner`.

use super::token::{
    Parsed, U32, any_name, described, expected, name, number, required, sign, skip_space, unsigned,
    word,
};
use crate::hex;
use crate::map::{InitialValue, MapFlags, MapSpec, MapType};
use crate::module::{ProgramType, XdpAttach};
use nom::Parser;
use nom::branch::alt;
use nom::combinator::{map, opt};
use nom::multi::separated_list1;
use nom::sequence::{pair, preceded};

/// A directive.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Directive {
    License(String),
    Program(ProgramHeader),
    Map(MapSpec),
    /// An entry of the map before it.
    Entry {
        key: Vec<u8>,
        value: EntryValue,
    },
    /// Template of the inner maps of the map before it.
    Inner(MapSpec),
}

/// `.program`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProgramHeader {
    pub(super) name: String,
    pub(super) kind: ProgramKind,
    pub(super) section: Option<String>,
}

/// The type of a program with what its section name says beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProgramKind {
    pub(super) program_type: ProgramType,
    pub(super) attach: XdpAttach,
    pub(super) fragments: bool,
}

/// Value of an entry; names are looked up when the whole text is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EntryValue {
    Known(InitialValue),
    ProgramNamed(String),
    MapNamed(String),
}

/// Any directive.
pub(super) fn directive(input: &str) -> Parsed<'_, Directive> {
    alt((
        map(preceded(word(".license"), any_name), Directive::License),
        map(preceded(word(".program"), program), Directive::Program),
        map(preceded(word(".map"), map_spec), Directive::Map),
        map(preceded(word(".inner"), map_spec), Directive::Inner),
        preceded(word(".entry"), entry),
    ))
    .parse(input)
}

fn program(input: &str) -> Parsed<'_, ProgramHeader> {
    let kind = described("a program type such as `xdp` or `sched_cls`", program_kind);
    let section = opt(preceded(word("section"), any_name));
    map((any_name, kind, section), |(name, kind, section)| {
        ProgramHeader {
            name,
            kind,
            section,
        }
    })
    .parse(input)
}

/// The words of [`kind_word`], which are libbpf's section names but for `raw`.
fn program_kind(input: &str) -> Parsed<'_, ProgramKind> {
    let (rest, first) = name(input)?;
    let (rest, second) = opt(preceded(sign("/"), name)).parse(rest)?;
    let kind = |program_type| ProgramKind {
        program_type,
        attach: XdpAttach::Device,
        fragments: first == "xdp.frags",
    };
    match (first, second) {
        ("xdp" | "xdp.frags", None) => Ok((rest, kind(ProgramType::Xdp))),
        ("xdp" | "xdp.frags", Some("devmap")) => Ok((
            rest,
            ProgramKind {
                attach: XdpAttach::Devmap,
                ..kind(ProgramType::Xdp)
            },
        )),
        ("xdp" | "xdp.frags", Some("cpumap")) => Ok((
            rest,
            ProgramKind {
                attach: XdpAttach::Cpumap,
                ..kind(ProgramType::Xdp)
            },
        )),
        ("sched_cls", None) => Ok((rest, kind(ProgramType::SchedCls))),
        ("socket_filter", None) => Ok((rest, kind(ProgramType::SocketFilter))),
        ("raw", None) => Ok((rest, kind(ProgramType::Raw))),
        _ => expected(input, "a program type"),
    }
}

/// The word for a program's type, as [`program_kind`] reads it.
pub(in crate::isa) fn kind_word(
    program_type: ProgramType,
    attach: XdpAttach,
    fragments: bool,
) -> &'static str {
    match (program_type, attach, fragments) {
        (ProgramType::Xdp, XdpAttach::Device, false) => "xdp",
        (ProgramType::Xdp, XdpAttach::Device, true) => "xdp.frags",
        (ProgramType::Xdp, XdpAttach::Devmap, false) => "xdp/devmap",
        (ProgramType::Xdp, XdpAttach::Devmap, true) => "xdp.frags/devmap",
        (ProgramType::Xdp, XdpAttach::Cpumap, false) => "xdp/cpumap",
        (ProgramType::Xdp, XdpAttach::Cpumap, true) => "xdp.frags/cpumap",
        (ProgramType::SchedCls, _, _) => "sched_cls",
        (ProgramType::SocketFilter, _, _) => "socket_filter",
        (ProgramType::Raw, _, _) => "raw",
    }
}

/// `flows hash key 4 value 8 max 16 flags no_prealloc`; the attributes in any order.
fn map_spec(input: &str) -> Parsed<'_, MapSpec> {
    let kind = described("a map type such as `hash`", map_type);
    let (mut rest, (map_name, map_type)) = pair(any_name, kind).parse(input)?;
    let mut spec = MapSpec::new(&map_name, map_type, 0, 0, 0);
    while !rest.is_empty() {
        let next;
        (rest, next) = attribute(rest)?;
        next.apply(&mut spec);
    }
    Ok((rest, spec))
}

fn map_type(input: &str) -> Parsed<'_, MapType> {
    let (rest, word) = name(input)?;
    match MapType::from_name(word) {
        Some(map_type) => Ok((rest, map_type)),
        None => expected(input, "a map type"),
    }
}

#[derive(Clone, Copy)]
enum Attribute {
    Key(u32),
    Value(u32),
    Max(u32),
    Flags(u32),
    Extra(u64),
    Frozen,
    Data,
    Pinned,
}

impl Attribute {
    fn apply(self, spec: &mut MapSpec) {
        match self {
            Self::Key(bytes) => spec.key_size = bytes,
            Self::Value(bytes) => spec.value_size = bytes,
            Self::Max(entries) => spec.max_entries = entries,
            Self::Flags(bits) => spec.flags = MapFlags(bits),
            Self::Extra(extra) => spec.extra = extra,
            Self::Frozen => spec.frozen = true,
            Self::Data => spec.data_section = true,
            Self::Pinned => spec.pin_by_name = true,
        }
    }
}

fn attribute(input: &str) -> Parsed<'_, Attribute> {
    let count = || map(number(U32), |number| number as u32);
    alt((
        map(preceded(word("key"), count()), Attribute::Key),
        map(preceded(word("value"), count()), Attribute::Value),
        map(preceded(word("max"), count()), Attribute::Max),
        map(preceded(word("flags"), flags), Attribute::Flags),
        map(preceded(word("extra"), unsigned), Attribute::Extra),
        map(word("frozen"), |_| Attribute::Frozen),
        map(word("data"), |_| Attribute::Data),
        map(word("pinned"), |_| Attribute::Pinned),
    ))
    .parse(input)
}

/// `rdonly_prog|mmapable`; bits without a name as a number.
fn flags(input: &str) -> Parsed<'_, u32> {
    let named = |input| {
        let (rest, word) = name(input)?;
        match MapFlags::from_name(word) {
            Some(bits) => Ok((rest, bits)),
            None => required(input, "a map flag such as `no_prealloc`"),
        }
    };
    let numeric = map(number(U32), |bits| bits as u32);
    map(separated_list1(sign("|"), alt((numeric, named))), |bits| {
        bits.into_iter().fold(0, |all, bits| all | bits)
    })
    .parse(input)
}

/// The flags as [`flags`] reads them; `None` if there are none.
pub(in crate::isa) fn flags_text(flags: MapFlags) -> Option<String> {
    let mut rest = flags.0;
    let mut words = Vec::new();
    for (bits, word) in MapFlags::NAMES {
        if flags.contains(bits) {
            words.push(word.to_owned());
            rest &= !bits;
        }
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    (!words.is_empty()).then(|| words.join("|"))
}

/// `00000000 = 0102`, `00000000 = program other`, `00000000 = map inner`
fn entry(input: &str) -> Parsed<'_, Directive> {
    let index = |keyword| preceded(sign(keyword), map(number(U32), |index| index as u32));
    let known = alt((
        map(index("program#"), InitialValue::Program),
        map(index("map#"), InitialValue::Map),
        map(bytes, InitialValue::Bytes),
    ));
    let value = alt((
        map(
            preceded(word("program"), any_name),
            EntryValue::ProgramNamed,
        ),
        map(preceded(word("map"), any_name), EntryValue::MapNamed),
        map(known, EntryValue::Known),
    ));
    map((bytes, sign("="), value), |(key, _, value)| {
        Directive::Entry { key, value }
    })
    .parse(input)
}

/// Bytes as pairs of hex digits, at least one.
fn bytes(input: &str) -> Parsed<'_, Vec<u8>> {
    let digits = input
        .split(|c: char| !c.is_ascii_hexdigit())
        .next()
        .unwrap_or_default();
    match hex::decode(digits) {
        Some(bytes) if !bytes.is_empty() => Ok((skip_space(&input[digits.len()..]), bytes)),
        Some(_) | None => expected(input, "bytes as pairs of hex digits"),
    }
}
