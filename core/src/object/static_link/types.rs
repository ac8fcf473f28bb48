//! Types of all objects in one `.BTF`: those that are the same become one, declarations become the
//! definitions that they stand for, and the variables of joined sections one list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::compatible::{Fit, difference};
use super::sections::Sections;
use super::symbols::Symbols;
use super::{Input, LinkError};
use crate::object::btf::{Btf, BtfKind, BtfSectionVar, Linkage};

/// Rounds of telling types apart; real types need as many as their longest chain.
const MAX_ROUNDS: usize = 256;
/// Bytes of the header of `.BTF`.
const HEADER_LEN: u32 = 24;
/// Kind numbers in the second word of a type.
const VAR: u32 = 14;
const DATASEC: u32 = 15;

/// What a word of a type holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    String,
    Type,
    Plain,
}

/// The types of the result. Types are counted over all objects, in their order, from 1.
#[derive(Default)]
pub(super) struct Types {
    strings: Strings,
    /// Words by number; none for `void` and for what has no place in the result.
    records: Vec<Vec<u32>>,
    /// By number: the type that counts for it.
    meaning: Vec<u32>,
    /// By object: what is added to an id.
    first: Vec<u32>,
    /// By number: its id in the result.
    ids: Vec<u32>,
    /// Numbers of those that the result has, in the order of their ids, without sections.
    kept: Vec<usize>,
    /// Variables by the name of their section.
    variables: BTreeMap<Vec<u8>, Vec<BtfSectionVar>>,
}

impl Types {
    /// Merges the types of all objects.
    pub(super) fn merge(
        objects: &[Input],
        sections: &Sections,
        symbols: &Symbols,
    ) -> Result<Self, LinkError> {
        let mut types = Self {
            records: vec![Vec::new()],
            ..Self::default()
        };
        for input in objects {
            types.first.push(types.records.len() as u32 - 1);
            if let Some((bytes, btf)) = &input.btf {
                types.strings.limit += bytes.len();
                types.copy(bytes, btf).ok_or_else(|| overlapping(input))?;
            }
        }
        types.meaning = (0..types.records.len() as u32).collect();
        types.resolve(objects, sections, symbols)?;
        for (object, input) in objects.iter().enumerate() {
            types.collect_variables(object, input, sections)?;
        }
        types.number();
        Ok(types)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The id that a type of an object has in the result.
    pub(super) fn id(&self, object: usize, id: u32) -> u32 {
        let number = if id == 0 { 0 } else { self.first[object] + id };
        self.ids.get(number as usize).copied().unwrap_or_default()
    }

    /// Where a string of an object stands in the result.
    pub(super) fn string(&mut self, btf: &Btf, offset: u32) -> u32 {
        let text = btf.string_bytes(offset).unwrap_or_default();
        self.strings.add(text).unwrap_or_default()
    }

    /// Where a string stands in the result.
    pub(super) fn known_string(&mut self, text: &str) -> u32 {
        self.strings.add(text.as_bytes()).unwrap_or_default()
    }

    /// Names of the variables and functions in these sections.
    pub(super) fn declared_in(&self, sections: [&str; 2]) -> BTreeSet<Vec<u8>> {
        let variables = sections
            .iter()
            .filter_map(|name| self.variables.get(name.as_bytes()));
        let names = variables.flatten().map(|var| {
            let record = &self.records[var.type_id as usize];
            self.strings.at(record.first().copied().unwrap_or_default())
        });
        names.map(<[u8]>::to_vec).collect()
    }

    /// Appends the types of an object; nothing if their strings lie over each other.
    fn copy(&mut self, bytes: &[u8], btf: &Btf) -> Option<()> {
        let first = self.records.len() as u32 - 1;
        let count = btf.iter().count() as u32;
        for (id, found) in btf.iter().skip(1) {
            if matches!(found.kind, BtfKind::Datasec { .. }) {
                self.records.push(Vec::new());
                continue;
            }
            let end = btf.get(id + 1).map_or(bytes.len(), |next| next.offset);
            let mut record = Vec::new();
            let (words, _) = bytes[found.offset..end].as_chunks();
            for (index, word) in words[..words.len().min(length(words))].iter().enumerate() {
                let word = u32::from_le_bytes(*word);
                record.push(match role(u32::from_le_bytes(words[1]), index) {
                    Role::String => self
                        .strings
                        .add(btf.string_bytes(word).unwrap_or_default())?,
                    Role::Type if word == 0 || word >= count => 0,
                    Role::Type => first + word,
                    Role::Plain => word,
                });
            }
            self.records.push(record);
        }
        Some(())
    }

    /// Lets all declarations and overridden definitions of a name mean the definition that counts.
    fn resolve(
        &mut self,
        objects: &[Input],
        sections: &Sections,
        symbols: &Symbols,
    ) -> Result<(), LinkError> {
        let mut by_name: BTreeMap<&str, Vec<(usize, u32)>> = BTreeMap::new();
        for (object, input) in objects.iter().enumerate() {
            let types = input.btf.iter().flat_map(|(_, btf)| btf.iter());
            let shared = types.filter(|(_, found)| is_shared(&found.kind));
            for (id, _) in shared {
                let name = input.btf.as_ref().map_or("", |(_, btf)| btf.name_of(id));
                by_name.entry(name).or_default().push((object, id));
            }
        }
        for (name, found) in by_name {
            let symbol = symbols.global(name);
            let defined = symbol.and_then(|symbol| Some((symbol.object, symbol.section?)));
            let of_definition = |(object, _): &&(usize, u32)| {
                defined.is_some_and(|(definition, _)| *object == definition)
            };
            let Some(chosen) = found.iter().find(of_definition) else {
                // A definition without types leaves nothing to say.
                let meaning = found.first().filter(|_| defined.is_none());
                self.set_meaning(&found, meaning);
                continue;
            };
            let section = defined.map(|(_, section)| sections.all[section].name);
            let fit = match section {
                Some(".maps") => Fit::Exact,
                _ => Fit::Outline,
            };
            for other in &found {
                check(objects, name, *chosen, *other, fit)?;
            }
            self.set_meaning(&found, Some(chosen));
        }
        Ok(())
    }

    fn set_meaning(&mut self, of: &[(usize, u32)], meaning: Option<&(usize, u32)>) {
        let number = |types: &Self, (object, id): (usize, u32)| types.first[object] + id;
        let meaning = meaning.map_or(0, |chosen| number(self, *chosen));
        for found in of {
            let found = number(self, *found);
            self.meaning[found as usize] = meaning;
        }
    }

    fn collect_variables(
        &mut self,
        object: usize,
        input: &Input,
        sections: &Sections,
    ) -> Result<(), LinkError> {
        let Some((_, btf)) = &input.btf else {
            return Ok(());
        };
        let first = self.first[object];
        for (_, found) in btf.iter() {
            let BtfKind::Datasec { vars, .. } = &found.kind else {
                continue;
            };
            let name = btf.string_bytes(found.name).unwrap_or_default();
            let section = std::str::from_utf8(name).ok();
            let base = match section.and_then(|name| input.elf.section(name)) {
                Some((section, _)) => match sections.placed(object, section) {
                    Some(placed) => placed.base as u32,
                    None => continue,
                },
                // What the kernel has stands in no section of the file.
                None => 0,
            };
            let list = self.variables.entry(name.to_vec()).or_default();
            for var in vars {
                let number = first.saturating_add(var.type_id);
                if self.meaning.get(number as usize) == Some(&number) {
                    list.push(BtfSectionVar {
                        type_id: number,
                        offset: base.wrapping_add(var.offset),
                        size: var.size,
                    });
                }
            }
            if list.len() > usize::from(u16::MAX) {
                return Err(LinkError::Variables {
                    file: input.name.to_owned(),
                    section: String::from_utf8_lossy(name).into_owned(),
                });
            }
            self.strings.add(name).ok_or_else(|| overlapping(input))?;
        }
        for list in self.variables.values_mut() {
            list.sort_by_key(|var| var.offset);
        }
        Ok(())
    }

    /// Gives the same id to types that are the same.
    fn number(&mut self) {
        let classes = self.classes();
        let mut by_class = HashMap::new();
        self.ids = vec![0; self.records.len()];
        for (number, record) in self.records.iter().enumerate() {
            if record.is_empty() || self.meaning[number] as usize != number {
                continue;
            }
            let next = self.kept.len() as u32 + 1;
            let id = *by_class.entry(classes[number]).or_insert(next);
            if id == next {
                self.kept.push(number);
            }
            self.ids[number] = id;
        }
        for (number, meaning) in self.meaning.iter().enumerate() {
            self.ids[number] = self.ids[*meaning as usize];
        }
    }

    /// By number: what all types have in common that cannot be told apart by what they say and by
    /// what they refer to. They start as alike as their words are, and are told apart by the types
    /// that they name until that changes nothing.
    fn classes(&self) -> Vec<u32> {
        let mut classes = vec![0; self.records.len()];
        let mut count = 0;
        for round in 0..MAX_ROUNDS {
            let mut known = HashMap::new();
            let mut next = Vec::with_capacity(classes.len());
            for (number, record) in self.records.iter().enumerate() {
                let class = known.len() as u32;
                let key = if round == 0 {
                    self.own_words(number)
                } else {
                    self.class_words(record, classes[number], &classes)
                };
                next.push(*known.entry(key).or_insert(class));
            }
            classes = next;
            if known.len() == count {
                return classes;
            }
            count = known.len();
        }
        (0..classes.len() as u32).collect()
    }

    /// A type without those that it refers to. Variables are told apart by their places.
    fn own_words(&self, number: usize) -> Vec<u32> {
        let record = &self.records[number];
        let Some(&info) = record.get(1) else {
            return Vec::new();
        };
        let words = record.iter().enumerate();
        let words = words.map(|(index, word)| match role(info, index) {
            Role::Type => 0,
            Role::String | Role::Plain => *word,
        });
        let place = (kind(info) == VAR).then_some(number as u32);
        words.chain(place).collect()
    }

    fn class_words(&self, record: &[u32], class: u32, classes: &[u32]) -> Vec<u32> {
        let info = record.get(1).copied().unwrap_or_default();
        let words = record.iter().enumerate();
        let types = words.filter(|(index, _)| role(info, *index) == Role::Type);
        let types = types.map(|(_, number)| {
            let meaning = self.meaning[*number as usize];
            classes[meaning as usize]
        });
        std::iter::once(class).chain(types).collect()
    }

    /// The section: types in the order of their ids, then sections, then strings.
    pub(super) fn bytes(&self, sections: &Sections) -> Vec<u8> {
        let mut words = Vec::new();
        for record in self.kept.iter().map(|number| &self.records[*number]) {
            for (index, word) in record.iter().enumerate() {
                words.push(match role(record[1], index) {
                    Role::Type => self.ids[*word as usize],
                    Role::String | Role::Plain => *word,
                });
            }
        }
        for (name, list) in self.variables.iter().filter(|(_, list)| !list.is_empty()) {
            let size = sections.by_name(name).map_or(0, |section| section.size);
            let name = self.strings.offsets.get(name).copied();
            let info = DATASEC << 24 | list.len() as u32;
            words.extend([name.unwrap_or_default(), info, size as u32]);
            for var in list {
                words.extend([self.ids[var.type_id as usize], var.offset, var.size]);
            }
        }
        let len = words.len() as u32 * 4;
        let strings = &self.strings.bytes;
        let header = [HEADER_LEN, 0, len, len, strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let words = header.iter().chain(&words);
        bytes.extend(words.flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        bytes
    }
}

/// Each string once.
struct Strings {
    bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
    /// Most bytes: those that the objects have. Strings that lie over each other would be more.
    limit: usize,
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            bytes: vec![0],
            offsets: HashMap::from([(Vec::new(), 0)]),
            limit: 1,
        }
    }
}

impl Strings {
    fn add(&mut self, text: &[u8]) -> Option<u32> {
        if let Some(offset) = self.offsets.get(text) {
            return Some(*offset);
        }
        let offset = self.bytes.len();
        if offset + text.len() >= self.limit {
            return None;
        }
        self.bytes.extend(text);
        self.bytes.push(0);
        self.offsets.insert(text.to_vec(), offset as u32);
        Some(offset as u32)
    }

    fn at(&self, offset: u32) -> &[u8] {
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn overlapping(input: &Input) -> LinkError {
    LinkError::Strings {
        file: input.name.to_owned(),
    }
}

/// Whether another object may mean the same by its name.
fn is_shared(kind: &BtfKind) -> bool {
    match kind {
        BtfKind::Func { linkage, .. } | BtfKind::Var { linkage, .. } => *linkage != Linkage::Static,
        _ => false,
    }
}

/// Whether an object's idea of a name fits the definition.
fn check(
    objects: &[Input],
    name: &str,
    definition: (usize, u32),
    other: (usize, u32),
    fit: Fit,
) -> Result<(), LinkError> {
    let side = |(object, id): (usize, u32)| {
        let (_, btf) = objects[object].btf.as_ref()?;
        Some((btf, id))
    };
    let (Some(first), Some(second)) = (side(definition), side(other)) else {
        return Ok(());
    };
    match difference(first, second, fit).filter(|_| definition != other) {
        None => Ok(()),
        Some(what) => Err(LinkError::Declaration {
            symbol: name.to_owned(),
            first: objects[definition.0].name.to_owned(),
            second: objects[other.0].name.to_owned(),
            what,
        }),
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Words of a type, from its head (kernel `Documentation/bpf/btf.rst`, section 2.2).
fn length(words: &[[u8; 4]]) -> usize {
    let info = u32::from_le_bytes(words[1]);
    let count = (info & 0xffff) as usize;
    3 + match kind(info) {
        1 | VAR | 17 => 1,
        3 => 3,
        4 | 5 | DATASEC | 19 => 3 * count,
        6 | 13 => 2 * count,
        _ => 0,
    }
}

/// What a word of a type holds, by the type's second word.
fn role(info: u32, index: usize) -> Role {
    use Role::{Plain, String, Type};
    let entry = index.wrapping_sub(3);
    match (kind(info), index) {
        (_, 0) => String,
        (2 | 8..=14 | 17 | 18, 2) | (3, 3 | 4) => Type,
        (4 | 5, 3..) => [String, Type, Plain][entry % 3],
        (6, 3..) => [String, Plain][entry % 2],
        (13, 3..) => [String, Type][entry % 2],
        (19, 3..) => [String, Plain, Plain][entry % 3],
        _ => Plain,
    }
}
