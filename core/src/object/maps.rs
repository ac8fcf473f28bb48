//! Map declarations of an object: BTF `.maps`, legacy `maps`, and one array for each section of
//! global data.

use std::collections::BTreeMap;

use super::btf::{Btf, BtfKind, BtfMember, Linkage};
use super::elf::{Elf, Place, Section, Symbol, SymbolKind};
use super::error::{MapErrorKind, ObjectError, ObjectErrorKind};
use super::reader::Reader;
use super::relocation;
use crate::map::{InitialEntry, InitialValue, MapFlags, MapSpec, MapType};

/// Page size that ring buffers are rounded up to, as libbpf does on this kind of machine.
const PAGE_SIZE: u32 = 4096;
/// The largest value that an array takes in Linux (`array_map_alloc_check`).
const MAX_VALUE_SIZE: u64 = i32::MAX as u64;
/// Slots of a map of maps or programs are pointers in the object.
const POINTER_LEN: u64 = 8;

/// The maps of an object and where in the object they are.
#[derive(Debug, Default)]
pub(super) struct ObjectMaps<'a> {
    pub(super) specs: Vec<MapSpec>,
    /// Declared maps by section and offset.
    pub(super) declared: BTreeMap<(usize, u64), u32>,
    /// Global data by section.
    pub(super) data: BTreeMap<usize, u32>,
    /// The array of configuration variables, if there are any.
    pub(super) config: Option<u32>,
    /// Static values that name programs: they become indices when the programs are known.
    pub(super) programs: Vec<StaticProgram<'a>>,
}

/// A program in a static value of a program array.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaticProgram<'a> {
    pub(super) map: u32,
    pub(super) slot: u64,
    pub(super) symbol: &'a str,
    /// Section and offset of the program.
    pub(super) place: (usize, u64),
}

/// `values` of a declaration: where they start and what they are.
struct Values {
    offset: u64,
    expected: &'static str,
}

impl<'a> ObjectMaps<'a> {
    /// Reads all declarations; `btf` has the offsets of the final layout.
    pub(super) fn read(
        elf: &Elf<'a>,
        btf: Option<&Btf>,
        config: Option<MapSpec>,
    ) -> Result<Self, ObjectError> {
        let mut maps = Self::default();
        maps.read_legacy(elf)?;
        maps.read_btf(elf, btf)?;
        maps.read_data(elf, btf)?;
        if let Some(spec) = config {
            maps.config = Some(maps.specs.len() as u32);
            maps.specs.push(spec);
        }
        Ok(maps)
    }

    fn read_legacy(&mut self, elf: &Elf<'a>) -> Result<(), ObjectError> {
        let Some((index, section)) = elf.section("maps") else {
            return Ok(());
        };
        let mut symbols: Vec<_> = elf
            .symbols
            .iter()
            .filter(|symbol| symbol.place == Place::Section(index))
            .filter(|symbol| symbol.kind != SymbolKind::Section && !symbol.name.is_empty())
            .collect();
        symbols.sort_by_key(|symbol| symbol.value);
        let ends = symbols.iter().skip(1).map(|symbol| symbol.value);
        let ends: Vec<_> = ends.chain([section.size]).collect();
        let mut linked = Vec::new();
        for (symbol, end) in symbols.iter().zip(ends) {
            let len = end.saturating_sub(symbol.value);
            let spec = Reader::at(section.data, symbol.value as usize)
                .take(len as usize)
                .ok_or(MapErrorKind::LegacySize { len })
                .and_then(|bytes| legacy_declaration(symbol.name, bytes))
                .map_err(|kind| map_error(symbol.name, kind))?;
            let (spec, links) = spec;
            let map = self.declare(index, symbol.value, spec);
            linked.push((map, links));
        }
        self.link_inner_maps(&linked);
        Ok(())
    }

    /// Inner maps of iproute2's declarations: an outer map names the id of its inner ones, and each
    /// of those its place in the outer one.
    fn link_inner_maps(&mut self, linked: &[(u32, Links)]) {
        for (outer, links) in linked.iter().filter(|(_, links)| links.inner_id != 0) {
            let inner = linked
                .iter()
                .filter(|(_, other)| other.id == links.inner_id);
            for (map, place) in inner {
                let template = self.specs[*map as usize].clone();
                let spec = &mut self.specs[*outer as usize];
                if !matches!(spec.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps) {
                    break;
                }
                spec.inner.get_or_insert_with(|| {
                    Box::new(MapSpec {
                        name: format!("{}.inner", spec.name),
                        pin_by_name: false,
                        ..template
                    })
                });
                if place.inner_index != u32::MAX && spec.key_size == 4 {
                    spec.initial.push(InitialEntry {
                        key: place.inner_index.to_le_bytes().to_vec(),
                        value: InitialValue::Map(*map),
                    });
                }
            }
        }
    }

    fn read_btf(&mut self, elf: &Elf<'a>, btf: Option<&Btf>) -> Result<(), ObjectError> {
        let Some((index, section)) = elf.section(".maps") else {
            return Ok(());
        };
        let found = btf.and_then(|btf| Some((btf, btf.datasec(".maps")?.1)));
        let Some((btf, vars)) = found else {
            return Err(map_error(".maps", MapErrorKind::NoBtf));
        };
        let mut all_values = Vec::new();
        for var in vars {
            let name = btf.name_of(var.type_id);
            let (spec, values) = match btf.get(var.type_id).map(|found| &found.kind) {
                Some(BtfKind::Var { type_id, .. }) => Declaration::read(btf, name, *type_id, true),
                _ => Err(MapErrorKind::NotStruct),
            }
            .map_err(|kind| map_error(name, kind))?;
            let start = u64::from(var.offset);
            let map = self.declare(index, start, spec);
            if let Some(values) = values {
                let first = start + values.offset;
                let end = start + u64::from(var.size).max(values.offset);
                all_values.push((map, first, end, values.expected));
            }
        }
        self.read_static_values(elf, section, &all_values)
    }

    /// Static values are relocations in the section: libbpf's `bpf_object__collect_map_relos`.
    fn read_static_values(
        &mut self,
        elf: &Elf<'a>,
        section: &Section<'a>,
        values: &[(u32, u64, u64, &'static str)],
    ) -> Result<(), ObjectError> {
        for found in elf.relocations(section) {
            let found = found?;
            let symbol = found.symbol;
            let holder = values
                .iter()
                .rfind(|(_, first, _, _)| *first <= found.offset)
                .filter(|(_, first, _, _)| (found.offset - first) % POINTER_LEN == 0);
            let bytes = Reader::at(section.data, found.offset as usize).take(POINTER_LEN as usize);
            let (Some(&(map, first, _, expected)), Some(bytes), relocation::ABS64) = (
                holder,
                bytes.and_then(|bytes| bytes.first_chunk()),
                found.kind,
            ) else {
                let kind = ObjectErrorKind::Relocation {
                    kind: found.kind,
                    symbol: symbol.name.to_owned(),
                };
                return Err(section.error(found.offset, kind));
            };
            let slot = (found.offset - first) / POINTER_LEN;
            let addend = found
                .addend
                .map_or(u64::from_le_bytes(*bytes), |addend| addend as u64);
            let offset = symbol.value.wrapping_add(addend);
            self.static_value(elf, map, slot, expected, symbol, offset)?;
        }
        Ok(())
    }

    fn static_value(
        &mut self,
        elf: &Elf<'a>,
        map: u32,
        slot: u64,
        expected: &'static str,
        symbol: &Symbol<'a>,
        offset: u64,
    ) -> Result<(), ObjectError> {
        let spec = &mut self.specs[map as usize];
        let bad = MapErrorKind::Value {
            slot,
            expected,
            symbol: symbol.name.to_owned(),
        };
        let Place::Section(section) = symbol.place else {
            return Err(map_error(&spec.name, bad));
        };
        if slot >= u64::from(spec.max_entries) {
            return Err(map_error(&spec.name, bad));
        }
        if spec.map_type == MapType::ProgArray {
            if !elf.sections[section].executable {
                return Err(map_error(&spec.name, bad));
            }
            self.programs.push(StaticProgram {
                map,
                slot,
                symbol: symbol.name,
                place: (section, offset),
            });
            return Ok(());
        }
        let Some(&inner) = self.declared.get(&(section, offset)) else {
            return Err(map_error(&spec.name, bad));
        };
        spec.initial.push(InitialEntry {
            key: (slot as u32).to_le_bytes().to_vec(),
            value: InitialValue::Map(inner),
        });
        Ok(())
    }

    fn read_data(&mut self, elf: &Elf<'a>, btf: Option<&Btf>) -> Result<(), ObjectError> {
        for (index, section) in elf.sections.iter().enumerate() {
            let is = |stem: &str| match section.name.strip_prefix(stem) {
                Some(rest) => rest.is_empty() || rest.starts_with('.'),
                None => false,
            };
            let read_only = is(".rodata");
            if section.size == 0 || !(read_only || is(".data") || is(".bss")) {
                continue;
            }
            if section.size > MAX_VALUE_SIZE {
                let kind = ObjectErrorKind::DataSize { len: section.size };
                return Err(section.error(0, kind));
            }
            let spec = data_map(section, btf, read_only);
            self.data.insert(index, self.specs.len() as u32);
            self.specs.push(spec);
        }
        Ok(())
    }

    fn declare(&mut self, section: usize, offset: u64, spec: MapSpec) -> u32 {
        let index = self.specs.len() as u32;
        self.specs.push(spec);
        self.declared.insert((section, offset), index);
        index
    }
}

fn map_error(map: &str, kind: MapErrorKind) -> ObjectError {
    ObjectError::Map {
        map: map.to_owned(),
        kind,
    }
}

/// The array for a section of global data. As in libbpf, user space may map it if one of its
/// variables is not static.
fn data_map(section: &Section, btf: Option<&Btf>, read_only: bool) -> MapSpec {
    let size = section.size as u32;
    let mut spec = MapSpec::new(section.name, MapType::Array, 4, size, 1);
    let datasec = btf.and_then(|btf| Some((btf, btf.datasec(section.name)?)));
    if let Some((btf, (id, vars))) = datasec {
        spec.btf_types = (0, id);
        let visible = vars.iter().any(|var| {
            let kind = btf.get(var.type_id).map(|found| &found.kind);
            matches!(kind, Some(BtfKind::Var { linkage, .. }) if *linkage != Linkage::Static)
        });
        if visible {
            spec.flags.0 |= MapFlags::MMAPABLE;
        }
    }
    if read_only {
        spec.flags.0 |= MapFlags::RDONLY_PROG;
        spec.frozen = true;
    }
    spec.data_section = true;
    if !section.data.is_empty() {
        spec.initial.push(InitialEntry {
            key: vec![0; 4],
            value: InitialValue::Bytes(section.data.to_vec()),
        });
    }
    spec
}

/// What iproute2's declarations say of each other.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    id: u32,
    inner_id: u32,
    /// Place in the outer map; all ones for none.
    inner_index: u32,
}

/// `struct bpf_map_def`: five 32-bit fields, or iproute2's `struct bpf_elf_map` of 28 or 36 bytes,
/// which has more; other forms must be zero beyond the five.
fn legacy_declaration(name: &str, bytes: &[u8]) -> Result<(MapSpec, Links), MapErrorKind> {
    const LEN: usize = 20;
    const IPROUTE2: [usize; 2] = [28, 36];
    let len = bytes.len() as u64;
    let mut reader = Reader::at(bytes, 0);
    let mut word = || reader.u32().ok_or(MapErrorKind::LegacySize { len });
    let number = word()?;
    let (key_size, value_size) = (word()?, word()?);
    let (max_entries, flags) = (word()?, word()?);
    let mut links = Links::default();
    let mut pinning = 0;
    if IPROUTE2.contains(&bytes.len()) {
        (links.id, pinning) = (word()?, word()?);
        if bytes.len() == IPROUTE2[1] {
            (links.inner_id, links.inner_index) = (word()?, word()?);
        }
    } else if let Some(byte) = bytes[LEN..].iter().position(|byte| *byte != 0) {
        return Err(MapErrorKind::LegacyField { byte: LEN + byte });
    }
    let map_type = MapType::from_number(number).ok_or(MapErrorKind::UnknownType { number })?;
    let mut spec = MapSpec::new(name, map_type, key_size, value_size, max_entries);
    spec.flags = MapFlags(flags);
    // For the object or for the namespace: here there is one place for both.
    spec.pin_by_name = pinning != 0;
    round_ring_size(&mut spec);
    Ok((spec, links))
}

/// libbpf rounds a ring buffer up to a power of two of whole pages.
fn round_ring_size(spec: &mut MapSpec) {
    let ring = matches!(spec.map_type, MapType::Ringbuf | MapType::UserRingbuf);
    if ring && spec.max_entries > 0 {
        let rounded = spec.max_entries.max(PAGE_SIZE).checked_next_power_of_two();
        spec.max_entries = rounded.unwrap_or(spec.max_entries);
    }
}

/// Where the first `struct bpf_spin_lock` in a value of this type is.
fn spin_lock(btf: &Btf, type_id: u32, depth: u32) -> Option<u32> {
    const MAX_DEPTH: u32 = 8;
    let (id, BtfKind::Struct { members, .. }) = btf.resolve(type_id)? else {
        return None;
    };
    if btf.name_of(id) == "bpf_spin_lock" {
        return Some(0);
    }
    let mut members = members.iter().filter(|_| depth < MAX_DEPTH);
    members.find_map(|member| {
        let at = spin_lock(btf, member.type_id, depth + 1)?;
        at.checked_add(member.bit_offset / 8)
    })
}

/// The fields of a BTF declaration, as far as they have been read.
#[derive(Default)]
struct Declaration {
    map_type: Option<MapType>,
    key: Option<u32>,
    value: Option<u32>,
    btf_types: (u32, u32),
    spin_lock: Option<u32>,
    max_entries: u32,
    flags: u32,
    extra: u64,
    pin_by_name: bool,
    inner: Option<Box<MapSpec>>,
    values: Option<Values>,
}

impl Declaration {
    /// Reads a map from the type of its variable: a struct whose members' types carry the fields
    /// (libbpf's `parse_btf_map_def`). Inner maps have no values of their own.
    fn read(
        btf: &Btf,
        name: &str,
        type_id: u32,
        outer: bool,
    ) -> Result<(MapSpec, Option<Values>), MapErrorKind> {
        let Some((_, BtfKind::Struct { members, .. })) = btf.resolve(type_id) else {
            return Err(MapErrorKind::NotStruct);
        };
        let mut declaration = Self::default();
        for member in members {
            declaration.field(btf, name, member, outer)?;
        }
        declaration.finish(name)
    }

    fn field(
        &mut self,
        btf: &Btf,
        map: &str,
        member: &BtfMember,
        outer: bool,
    ) -> Result<(), MapErrorKind> {
        let field = btf.string(member.name).unwrap_or_default();
        let bad = || MapErrorKind::BadField {
            field: field.to_owned(),
        };
        let number = || number(btf, member.type_id).ok_or_else(bad);
        let number32 = || number().and_then(|value| u32::try_from(value).map_err(|_| bad()));
        match field {
            "type" => {
                let number = number32()?;
                let map_type = MapType::from_number(number);
                self.map_type = Some(map_type.ok_or(MapErrorKind::UnknownType { number })?);
            }
            "max_entries" => self.max_entries = number32()?,
            "map_flags" => self.flags = number32()?,
            "map_extra" => self.extra = number()?,
            "key_size" => agree(&mut self.key, "key_size", number32()?)?,
            "value_size" => agree(&mut self.value, "value_size", number32()?)?,
            "key" => {
                let (id, size) = pointee_size(btf, member.type_id).ok_or_else(bad)?;
                agree(&mut self.key, "key", size)?;
                self.btf_types.0 = id;
            }
            "value" => {
                let (id, size) = pointee_size(btf, member.type_id).ok_or_else(bad)?;
                agree(&mut self.value, "value", size)?;
                self.btf_types.1 = id;
                self.spin_lock = spin_lock(btf, id, 0).filter(|at| {
                    at.is_multiple_of(4) && at.checked_add(4).is_some_and(|end| end <= size)
                });
            }
            "pinning" => match number()? {
                pinning @ (0 | 1) => self.pin_by_name = pinning == 1,
                _ => return Err(bad()),
            },
            "values" if outer => self.values_field(btf, map, member).ok_or_else(bad)??,
            _ => {
                let field = field.to_owned();
                return Err(MapErrorKind::UnknownField { field });
            }
        }
        Ok(())
    }

    /// `__array(values, …)`: an array of pointers to inner maps or to functions.
    fn values_field(
        &mut self,
        btf: &Btf,
        map: &str,
        member: &BtfMember,
    ) -> Option<Result<(), MapErrorKind>> {
        let (_, BtfKind::Array { type_id, .. }) = btf.resolve(member.type_id)? else {
            return None;
        };
        let element = pointee(btf, *type_id)?;
        let expected = match btf.resolve(element)?.1 {
            BtfKind::FuncProto { .. } => "program",
            _ => match Self::read(btf, &format!("{map}.inner"), element, false) {
                Ok((inner, _)) => {
                    self.inner = Some(Box::new(inner));
                    "map"
                }
                Err(kind) => return Some(Err(kind)),
            },
        };
        self.values = Some(Values {
            offset: u64::from(member.bit_offset) / 8,
            expected,
        });
        Some(agree(&mut self.value, "values", 4))
    }

    fn finish(self, name: &str) -> Result<(MapSpec, Option<Values>), MapErrorKind> {
        let map_type = self.map_type.ok_or(MapErrorKind::NoType)?;
        let expected = match map_type {
            MapType::ArrayOfMaps | MapType::HashOfMaps => Some("map"),
            MapType::ProgArray => Some("program"),
            _ => None,
        };
        if let Some(values) = &self.values
            && Some(values.expected) != expected
        {
            let map_type = map_type.name();
            return Err(MapErrorKind::Values { map_type });
        }
        let (key, value) = (self.key.unwrap_or(0), self.value.unwrap_or(0));
        let mut spec = MapSpec::new(name, map_type, key, value, self.max_entries);
        spec.flags = MapFlags(self.flags);
        spec.extra = self.extra;
        // Linux takes the type of the key only together with that of the value.
        if self.btf_types.1 != 0 {
            spec.btf_types = self.btf_types;
            spec.spin_lock = self.spin_lock;
        }
        spec.pin_by_name = self.pin_by_name;
        spec.inner = self.inner;
        round_ring_size(&mut spec);
        Ok((spec, self.values))
    }
}

/// `__uint(name, value)`: the length of an array behind a pointer; `__ulong`: the one value of an
/// enum.
fn number(btf: &Btf, type_id: u32) -> Option<u64> {
    match btf.resolve(type_id)?.1 {
        BtfKind::Enum { values, .. } => match values.as_slice() {
            [(_, value)] => Some(*value as u64),
            _ => None,
        },
        BtfKind::Pointer { type_id } => match btf.resolve(*type_id)?.1 {
            BtfKind::Array { count, .. } => Some(u64::from(*count)),
            _ => None,
        },
        _ => None,
    }
}

fn pointee(btf: &Btf, type_id: u32) -> Option<u32> {
    match btf.resolve(type_id)?.1 {
        BtfKind::Pointer { type_id } => Some(*type_id),
        _ => None,
    }
}

fn pointee_size(btf: &Btf, type_id: u32) -> Option<(u32, u32)> {
    let id = pointee(btf, type_id)?;
    Some((id, btf.size_of(id)?))
}

fn agree(known: &mut Option<u32>, field: &'static str, size: u32) -> Result<(), MapErrorKind> {
    match *known {
        Some(other) if other != size => Err(MapErrorKind::Contradiction { field, size, other }),
        _ => {
            *known = Some(size);
            Ok(())
        }
    }
}
