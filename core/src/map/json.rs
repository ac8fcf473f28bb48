//! Map contents as JSON: what `--dump-maps` writes and `--seed-maps` reads.
//!
//! `{"map name":{"type":"hash","entries":[{"key":"hex","value":"hex"}]}}`, where a per-CPU map has a
//! list of values, one for each CPU, a prog array may name a program, `"program":"name"`, and a map of
//! maps names a map, `"map":"name"`. In a devmap or cpumap `"value"` may be the first four bytes and
//! `"program"` the name of the program behind the entry. Queues and stacks have empty keys and their
//! values the oldest first.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{MapContents, MapEntry, MapSpec, MapType, MapValue};
use crate::abi::RedirectKind;
use crate::helper::redirect_kind;
use crate::hex::{self, Hex};

/// What a file says about one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSeed {
    /// Name.
    pub name: String,
    /// Type.
    pub map_type: MapType,
    /// Entries, in the file's order.
    pub entries: Vec<SeedEntry>,
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedEntry {
    /// Key bytes.
    pub key: Vec<u8>,
    /// Value.
    pub value: SeedValue,
}

/// A value in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedValue {
    /// Bytes, for one queue or for each.
    Value(MapValue),
    /// A program of the module, by name.
    Program(String),
    /// What a devmap or cpumap redirects to, and the program that runs behind it, by name.
    TargetWithProgram(Vec<u8>, String),
    /// A map of the module, by name.
    Map(String),
}

/// Why a file of maps is not understood, or does not fit the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapFileError {
    /// It is not such a file.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The module's map has another type.
    #[error("map {map}: the file says {in_file}, the module {declared}")]
    Type {
        /// Map.
        map: String,
        /// Type in the file, by its bpftool name.
        in_file: &'static str,
        /// Type in the module.
        declared: &'static str,
    },
    /// A key or a value has the wrong size.
    #[error("map {map}: key {key}: the {part} has {found} bytes, the module declares {declared}")]
    Size {
        /// Map.
        map: String,
        /// Key in hex.
        key: String,
        /// `key`, `value` or `target`.
        part: &'static str,
        /// Bytes in the file.
        found: usize,
        /// Bytes in the module.
        declared: u32,
    },
    /// A key is there twice.
    #[error("map {map}: key {key} is there twice")]
    Twice {
        /// Map.
        map: String,
        /// Key in hex.
        key: String,
    },
    /// A program or map is named that the module does not have.
    #[error("map {map}: key {key}: the module has no {what} {name}")]
    Missing {
        /// Map.
        map: String,
        /// Key in hex.
        key: String,
        /// `program` or `map`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A program or map is named in a map that holds none.
    #[error("map {map}: key {key}: a {map_type} takes no {what}")]
    Name {
        /// Map.
        map: String,
        /// Key in hex.
        key: String,
        /// Type, by its bpftool name.
        map_type: &'static str,
        /// `program` or `map`.
        what: &'static str,
    },
}

impl MapSeed {
    /// The entries for a map that the module declares, sorted by key if there are keys, so that the order of a file
    /// does not decide what an LRU map evicts. `program` and `map` find a program's and
    /// a map's number in the module by its name.
    pub fn contents(
        &self,
        spec: &MapSpec,
        program: impl Fn(&str) -> Option<u32>,
        map: impl Fn(&str) -> Option<u32>,
    ) -> Result<MapContents, MapFileError> {
        if spec.map_type != self.map_type {
            return Err(MapFileError::Type {
                map: self.name.clone(),
                in_file: self.map_type.name(),
                declared: spec.map_type.name(),
            });
        }
        let entries = self.entries.iter();
        let entries = entries.map(|entry| self.entry(entry, spec, &program, &map));
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        if spec.map_type.is_keyless() {
            return Ok(MapContents { entries });
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
            None => Ok(MapContents { entries }),
            Some(pair) => Err(MapFileError::Twice {
                map: self.name.clone(),
                key: hex::encode(&pair[0].key),
            }),
        }
    }

    fn entry(
        &self,
        entry: &SeedEntry,
        spec: &MapSpec,
        program: &impl Fn(&str) -> Option<u32>,
        map: &impl Fn(&str) -> Option<u32>,
    ) -> Result<MapEntry, MapFileError> {
        let key = || hex::encode(&entry.key);
        let check_size = |part, found: usize, declared: u32| {
            if found == declared as usize {
                return Ok(());
            }
            Err(MapFileError::Size {
                map: self.name.clone(),
                key: key(),
                part,
                found,
                declared,
            })
        };
        check_size("key", entry.key.len(), spec.key_size)?;
        let value = match &entry.value {
            SeedValue::Value(value) => value.clone(),
            SeedValue::Program(name) => {
                let holds = self.map_type == MapType::ProgArray;
                self.number(entry, "program", name, holds, program)?
            }
            SeedValue::TargetWithProgram(target, name) => {
                let kind = redirect_kind(self.map_type);
                let holds = matches!(kind, Some(RedirectKind::Devmap | RedirectKind::Cpumap));
                // The number of the program follows; 0 is none.
                let behind = |name: &str| program(name).map(|number| number + 1);
                check_size("target", target.len(), 4)?;
                match self.number(entry, "program", name, holds, behind)? {
                    MapValue::Plain(number) => {
                        MapValue::Plain([target.as_slice(), &number].concat())
                    }
                    per_queue @ MapValue::PerQueue(_) => per_queue,
                }
            }
            SeedValue::Map(name) => {
                let holds = self.map_type.holds_maps();
                self.number(entry, "map", name, holds, map)?
            }
        };
        match &value {
            MapValue::Plain(value) => check_size("value", value.len(), spec.value_size)?,
            MapValue::PerQueue(values) => values
                .iter()
                .try_for_each(|value| check_size("value", value.len(), spec.value_size))?,
        }
        Ok(MapEntry {
            key: entry.key.clone(),
            value,
        })
    }
}

impl MapSeed {
    /// What stands for a named program or map: its number, if the map `holds` such and the module
    /// has it.
    fn number(
        &self,
        entry: &SeedEntry,
        what: &'static str,
        name: &str,
        holds: bool,
        find: impl Fn(&str) -> Option<u32>,
    ) -> Result<MapValue, MapFileError> {
        let key = hex::encode(&entry.key);
        if !holds {
            return Err(MapFileError::Name {
                map: self.name.clone(),
                key,
                map_type: self.map_type.name(),
                what,
            });
        }
        match find(name) {
            Some(number) => Ok(MapValue::Plain(number.to_le_bytes().to_vec())),
            None => Err(MapFileError::Missing {
                map: self.name.clone(),
                key,
                what,
                name: name.to_owned(),
            }),
        }
    }
}

/// Reads a file of maps.
pub fn from_json(text: &str) -> Result<Vec<MapSeed>, MapFileError> {
    let file: File = serde_json::from_str(text).map_err(|error| MapFileError::Syntax {
        line: error.line(),
        column: error.column(),
        message: message_of(&error),
    })?;
    Ok(file.0)
}

/// The message without the position, which the error has of its own.
fn message_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Writes a file of maps, one line for each entry. `typed` may add what an entry means, which goes
/// beside key and value as `"typed"`. Maps of maps name those that they hold, which `module` has.
pub fn to_json(
    module: &[MapSpec],
    maps: &[(&MapSpec, &MapContents)],
    typed: impl Fn(&MapSpec, &MapEntry) -> Option<serde_json::Value>,
) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let maps: Vec<String> = maps
        .iter()
        .map(|(spec, contents)| {
            let entries: Vec<String> = contents
                .entries
                .iter()
                .map(|entry| entry_to_json(entry, named(module, spec, entry), typed(spec, entry)))
                .collect();
            let entries = if entries.is_empty() {
                "[]".to_owned()
            } else {
                format!("[\n  {}\n ]", entries.join(",\n  "))
            };
            let name = quoted(&spec.name);
            let map_type = spec.map_type.name();
            format!("\n {name}: {{\"type\": \"{map_type}\", \"entries\": {entries}}}")
        })
        .collect();
    format!("{{{}\n}}\n", maps.join(","))
}

/// The name of the map that an entry holds.
fn named<'a>(module: &'a [MapSpec], spec: &MapSpec, entry: &MapEntry) -> Option<&'a str> {
    match &entry.value {
        MapValue::Plain(value) if spec.map_type.holds_maps() => {
            let number = u32::from_le_bytes(*value.first_chunk()?);
            Some(&module.get(number as usize)?.name)
        }
        MapValue::Plain(_) | MapValue::PerQueue(_) => None,
    }
}

fn entry_to_json(entry: &MapEntry, map: Option<&str>, typed: Option<serde_json::Value>) -> String {
    if let Some(map) = map {
        let map = serde_json::Value::from(map);
        return format!("{{\"key\": \"{}\", \"map\": {map}}}", Hex(&entry.key));
    }
    let value = match &entry.value {
        MapValue::Plain(value) => format!("\"{}\"", Hex(value)),
        MapValue::PerQueue(values) => {
            let values: Vec<_> = values
                .iter()
                .map(|value| format!("\"{}\"", Hex(value)))
                .collect();
            format!("[{}]", values.join(", "))
        }
    };
    let typed = typed.map_or(String::new(), |typed| format!(", \"typed\": {typed}"));
    format!(
        "{{\"key\": \"{}\", \"value\": {value}{typed}}}",
        Hex(&entry.key)
    )
}

struct File(Vec<MapSeed>);

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FileVisitor)
    }
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of maps by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<File, A::Error> {
        let mut maps: Vec<MapSeed> = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            if maps.iter().any(|map| map.name == name) {
                return Err(de::Error::custom(format!("map {name} is there twice")));
            }
            let body: Body = access.next_value()?;
            maps.push(MapSeed {
                name,
                map_type: body.map_type.0,
                entries: body.entries,
            });
        }
        Ok(File(maps))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "type")]
    map_type: TypeName,
    entries: Vec<SeedEntry>,
}

struct TypeName(MapType);

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        MapType::from_name(&name)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{name} is no map type")))
    }
}

impl<'de> Deserialize<'de> for SeedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Entry {
            key: Bytes,
            value: Option<Values>,
            program: Option<String>,
            map: Option<String>,
            /// What a dump adds for people.
            #[serde(rename = "typed")]
            _typed: Option<de::IgnoredAny>,
        }
        let entry = Entry::deserialize(deserializer)?;
        let value = match (entry.value, entry.program, entry.map) {
            (Some(Values(value)), None, None) => SeedValue::Value(value),
            (None, Some(program), None) => SeedValue::Program(program),
            (None, None, Some(map)) => SeedValue::Map(map),
            (Some(Values(MapValue::Plain(target))), Some(program), None) => {
                SeedValue::TargetWithProgram(target, program)
            }
            _ => {
                return Err(de::Error::custom(
                    "an entry has a value, a program or a map",
                ));
            }
        };
        Ok(Self {
            key: entry.key.0,
            value,
        })
    }
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text).map(Self)
    }
}

fn parse_hex<E: de::Error>(text: &str) -> Result<Vec<u8>, E> {
    hex::decode(text).ok_or_else(|| E::custom(format!("\"{text}\" is not pairs of hex digits")))
}

/// One value, or a list of one for each CPU.
struct Values(MapValue);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hex digits or a list of them, one for each CPU")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Values, E> {
        Ok(Values(MapValue::Plain(parse_hex(text)?)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(Bytes(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(Values(MapValue::PerQueue(values)))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check_error(text: &str, expected: &Expect) {
        let error = from_json(text).unwrap_err();
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn dumps_are_sorted_lines() {
        let hash = MapSpec::new("flows", MapType::Hash, 2, 1, 8);
        let stats = MapSpec::new("stats", MapType::PercpuArray, 4, 1, 1);
        let ring = MapSpec::new("events", MapType::Ringbuf, 0, 0, 4096);
        let entry = |key: &[u8], value| MapEntry {
            key: key.to_vec(),
            value,
        };
        let flows = MapContents {
            entries: vec![
                entry(&[0, 80], MapValue::Plain(vec![1])),
                entry(&[1, 187], MapValue::Plain(vec![2])),
            ],
        };
        let counts = MapContents {
            entries: vec![entry(&[0; 4], MapValue::PerQueue(vec![vec![3], vec![4]]))],
        };
        let text = to_json(
            &[],
            &[
                (&hash, &flows),
                (&stats, &counts),
                (&ring, &MapContents::default()),
            ],
            |spec, entry| (spec.name == "flows").then(|| entry.key[1].into()),
        );
        expect![[r#"
            {
             "flows": {"type": "hash", "entries": [
              {"key": "0050", "value": "01", "typed": 80},
              {"key": "01bb", "value": "02", "typed": 187}
             ]},
             "stats": {"type": "percpu_array", "entries": [
              {"key": "00000000", "value": ["03", "04"]}
             ]},
             "events": {"type": "ringbuf", "entries": []}
            }
        "#]]
        .assert_eq(&text);
        let seeds = from_json(&text).unwrap();
        assert_eq!(seeds[0].contents(&hash, |_| None, |_| None), Ok(flows));
        assert_eq!(seeds[1].contents(&stats, |_| None, |_| None), Ok(counts));
    }

    #[test]
    fn programs_go_by_name() {
        let text =
            r#"{"jumps":{"type":"prog_array","entries":[{"key":"01000000","program":"tcp"}]}}"#;
        let seed = &from_json(text).unwrap()[0];
        let spec = MapSpec::new("jumps", MapType::ProgArray, 4, 4, 2);
        let contents = seed.contents(&spec, |name| (name == "tcp").then_some(7), |_| None);
        let value = &contents.unwrap().entries[0].value;
        assert_eq!(*value, MapValue::Plain(vec![7, 0, 0, 0]));
        let error = seed.contents(&spec, |_| None, |_| None).unwrap_err();
        expect!["map jumps: key 01000000: the module has no program tcp"]
            .assert_eq(&error.to_string());
        let hash = MapSpec::new("jumps", MapType::Hash, 4, 4, 2);
        let error = seed.contents(&hash, |_| None, |_| None).unwrap_err();
        expect!["map jumps: the file says prog_array, the module hash"]
            .assert_eq(&error.to_string());
        let wide = MapSpec::new("jumps", MapType::ProgArray, 8, 4, 2);
        let error = seed.contents(&wide, |_| Some(0), |_| None).unwrap_err();
        expect!["map jumps: key 01000000: the key has 4 bytes, the module declares 8"]
            .assert_eq(&error.to_string());
    }

    #[test]
    fn programs_behind_redirects_go_by_name() {
        let text = r#"{"ports": {"type": "devmap", "entries": [
            {"key": "00000000", "value": "03000000", "program": "egress"}]}}"#;
        let seed = &from_json(text).unwrap()[0];
        let spec = MapSpec::new("ports", MapType::Devmap, 4, 8, 1);
        let find = |name: &str| (name == "egress").then_some(1);
        let contents = seed.contents(&spec, find, |_| None).unwrap();
        let value = MapValue::Plain(vec![3, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(contents.entries[0].value, value);
        let missing = seed.contents(&spec, |_| None, |_| None).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "map ports: key 00000000: the module has no program egress"
        );
    }

    #[test]
    fn entries_are_sorted_and_unique() {
        let spec = MapSpec::new("m", MapType::Hash, 1, 1, 4);
        let entry = |key: &str| format!(r#"{{"key":"{key}","value":"00"}}"#);
        let read = |first, second| {
            let entries = [entry(first), entry(second)].join(",");
            let text = format!(r#"{{"m":{{"type":"hash","entries":[{entries}]}}}}"#);
            from_json(&text).unwrap()[0].contents(&spec, |_| None, |_| None)
        };
        let keys = read("02", "01").unwrap().entries;
        assert_eq!(
            keys.iter().map(|entry| entry.key[0]).collect::<Vec<_>>(),
            [1, 2]
        );
        expect!["map m: key 01 is there twice"]
            .assert_eq(&read("01", "01").unwrap_err().to_string());
    }

    #[test]
    fn maps_in_maps_go_by_name() {
        let outer = MapSpec::new("tenants", MapType::HashOfMaps, 1, 4, 2);
        let inner = MapSpec::new("one", MapType::Hash, 4, 4, 2);
        let module = [outer.clone(), inner];
        let text = r#"{"tenants":{"type":"hash_of_maps","entries":[{"key":"07","map":"one"}]}}"#;
        let seed = &from_json(text).unwrap()[0];
        let contents = seed.contents(&outer, |_| None, |name| (name == "one").then_some(1));
        let contents = contents.unwrap();
        assert_eq!(contents.entries[0].value, MapValue::Plain(vec![1, 0, 0, 0]));
        let written = to_json(&module, &[(&outer, &contents)], |_, _| None);
        assert_eq!(from_json(&written).unwrap()[0], *seed);
        let error = seed.contents(&outer, |_| None, |_| None).unwrap_err();
        expect!["map tenants: key 07: the module has no map one"].assert_eq(&error.to_string());
        let text = r#"{"one":{"type":"hash","entries":[{"key":"07000000","map":"one"}]}}"#;
        let seed = &from_json(text).unwrap()[0];
        let error = seed
            .contents(&module[1], |_| None, |_| Some(1))
            .unwrap_err();
        expect!["map one: key 07000000: a hash takes no map"].assert_eq(&error.to_string());
    }

    #[test]
    fn values_of_a_queue_keep_their_order() {
        let spec = MapSpec::new("q", MapType::Queue, 0, 1, 4);
        let entry = |value: u8| format!(r#"{{"key":"","value":"{value:02x}"}}"#);
        let entries = [2, 1, 1].map(entry).join(",");
        let text = format!(r#"{{"q":{{"type":"queue","entries":[{entries}]}}}}"#);
        let contents = from_json(&text).unwrap()[0].contents(&spec, |_| None, |_| None);
        let contents = contents.unwrap();
        let map = crate::map::Map::create(&spec, 1).unwrap();
        map.load(&contents).unwrap();
        assert_eq!(map.contents(), contents);
        let values = contents.entries.into_iter().map(|entry| entry.value);
        let expected = [2, 1, 1].map(|value| MapValue::Plain(vec![value]));
        assert_eq!(values.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn errors_say_where() {
        check_error(
            "[]",
            &expect![
                "line 1, column 0: invalid type: sequence, expected an object of maps by name"
            ],
        );
        check_error(
            "{\"m\":{\"type\":\"hesh\",\"entries\":[]}}",
            &expect!["line 1, column 19: hesh is no map type"],
        );
        check_error(
            "{\"m\":{\"type\":\"hash\",\"entries\":[\n{\"key\":\"0g\",\"value\":\"\"}]}}",
            &expect![[r#"line 2, column 11: "0g" is not pairs of hex digits"#]],
        );
        check_error(
            "{\"m\":{\"type\":\"hash\",\"entries\":[{\"key\":\"012\",\"value\":\"\"}]}}",
            &expect![[r#"line 1, column 43: "012" is not pairs of hex digits"#]],
        );
        check_error(
            "{\"m\":{\"type\":\"hash\",\"entries\":[{\"key\":\"01\"}]}}",
            &expect!["line 1, column 44: an entry has a value, a program or a map"],
        );
        check_error(
            "{\"m\":{\"type\":\"hash\",\"entries\":[]},\n\"m\":{\"type\":\"hash\",\"entries\":[]}}",
            &expect!["line 2, column 3: map m is there twice"],
        );
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..6)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            maps in proptest::collection::btree_map(
                ".{0,6}",
                (0..34_u32, proptest::collection::vec(
                    (bytes(), prop_oneof![
                        bytes().prop_map(MapValue::Plain),
                        proptest::collection::vec(bytes(), 0..3).prop_map(MapValue::PerQueue),
                    ]), 0..4)),
                0..4,
            ),
        ) {
            let maps: Vec<_> = maps.into_iter().map(|(name, (map_type, entries))| {
                let map_type = MapType::from_number(map_type).unwrap();
                let entries = entries.into_iter().map(|(key, value)| MapEntry { key, value });
                let contents = MapContents { entries: entries.collect() };
                (MapSpec::new(&name, map_type, 0, 0, 0), contents)
            }).collect();
            let references: Vec<_> = maps.iter().map(|(spec, contents)| (spec, contents)).collect();
            let read = from_json(&to_json(&[], &references, |_, _| None)).unwrap();
            prop_assert_eq!(read.len(), maps.len());
            for (seed, (spec, contents)) in read.iter().zip(&maps) {
                prop_assert_eq!(&seed.name, &spec.name);
                prop_assert_eq!(seed.map_type, spec.map_type);
                let entries = seed.entries.iter().map(|entry| match &entry.value {
                    SeedValue::Value(value) => MapEntry { key: entry.key.clone(), value: value.clone() },
                    SeedValue::Program(name)
                    | SeedValue::TargetWithProgram(_, name)
                    | SeedValue::Map(name) => panic!("{name} from nowhere"),
                });
                prop_assert_eq!(&entries.collect::<Vec<_>>(), &contents.entries);
            }
        }

        #[test]
        fn reading_never_panics(text in ".{0,40}", at in 0..200_usize, byte in any::<u8>()) {
            let _ = from_json(&text);
            let mut valid = br#"{"m":{"type":"percpu_hash","entries":[{"key":"00","value":["01","02"]}]}}"#.to_vec();
            let at = at % valid.len();
            valid[at] = byte;
            let _ = from_json(&String::from_utf8_lossy(&valid));
        }
    }
}
