//! Vectors: one program with its maps as JSON, the form of recorded test data and of programs
//! that other tools generate. Members that hold a recorded answer are left to who compares.

use serde::Deserialize;
use serde_json::Value;

use crate::hex;
use crate::map::{InitialEntry, InitialValue, MapFlags, MapSpec, MapType};
use crate::module::{Module, ProgramType};
use crate::object::raw::{RawProgramError, raw_program};

/// A vector: a module with one program, and how to load it.
#[derive(Clone, Debug)]
pub struct Vector {
    /// The program and its maps.
    pub module: Module,
    /// Alignment that the verifier asks for, where it is not the machine's own.
    pub alignment: Option<Alignment>,
    /// `prog_flags` of the load call.
    pub load_flags: u32,
    /// Ids of the maps, in order, where the vector states them.
    pub map_ids: Vec<Option<u32>>,
    /// Firmware settings for the NFP offload.
    pub firmware_args: Vec<String>,
    /// Recorded verifier facts, one for each instruction.
    pub facts: Option<Value>,
    /// Recorded facts about subprograms.
    pub subprograms: Option<Value>,
    /// Recorded use of each word of map values.
    pub map_use: Option<Value>,
}

/// `BPF_F_ANY_ALIGNMENT` or `BPF_F_STRICT_ALIGNMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Any alignment is fine.
    Any,
    /// Every access must be aligned.
    Strict,
}

/// Why a vector cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// Not JSON, or not of this form.
    #[error("no vector: {0}")]
    Json(serde_json::Error),
    /// Hexadecimal text that is not.
    #[error("{field} is no hexadecimal text of whole bytes")]
    Hex {
        /// Which member.
        field: String,
    },
    /// A map type that does not exist.
    #[error("map {map}: type {name} is unknown")]
    MapType {
        /// Index of the map.
        map: usize,
        /// Type in the file.
        name: String,
    },
    /// A map flag that does not exist.
    #[error("map {map}: flag {name} is unknown")]
    MapFlag {
        /// Index of the map.
        map: usize,
        /// Flag in the file.
        name: String,
    },
    /// The program is refused.
    #[error(transparent)]
    Program(#[from] RawProgramError),
}

impl VectorError {
    /// Whether it is the program that is refused, rather than the file that cannot be read.
    pub fn refuses_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    #[serde(rename = "type")]
    program_type: TypeName,
    program: String,
    #[serde(default)]
    maps: Vec<FileMap>,
    alignment: Option<Alignment>,
    #[serde(default)]
    load_flags: u32,
    #[serde(default)]
    firmware_args: Vec<String>,
    facts: Option<Value>,
    subprogs: Option<Value>,
    map_use: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TypeName {
    Xdp,
    SchedCls,
    SocketFilter,
    Raw,
}

impl From<TypeName> for ProgramType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::Xdp => Self::Xdp,
            TypeName::SchedCls => Self::SchedCls,
            TypeName::SocketFilter => Self::SocketFilter,
            TypeName::Raw => Self::Raw,
        }
    }
}

#[derive(Deserialize)]
struct FileMap {
    #[serde(rename = "type")]
    map_type: String,
    key: u32,
    value: u32,
    max: u32,
    name: Option<String>,
    id: Option<u32>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    map_flags: u32,
    #[serde(default)]
    data_section: bool,
    #[serde(default)]
    init: Vec<FileEntry>,
}

#[derive(Deserialize)]
struct FileEntry {
    key: String,
    value: String,
}

/// Loads a vector. Its program may call GPL-only helpers; `name` names it where the file does not.
pub fn load_vector(text: &[u8], name: &str) -> Result<Vector, VectorError> {
    let file: File = serde_json::from_slice(text).map_err(VectorError::Json)?;
    let mut maps = Vec::with_capacity(file.maps.len());
    for (index, map) in file.maps.iter().enumerate() {
        maps.push(read_map(index, map)?);
    }
    let bytes = hex::decode(&file.program).ok_or_else(|| VectorError::Hex {
        field: "program".to_owned(),
    })?;
    let program = raw_program(&bytes, file.program_type.into(), maps.len())?;
    let module = Module {
        name: file.name.unwrap_or_else(|| name.to_owned()),
        programs: vec![program],
        maps,
        license: Some("GPL".to_owned()),
        ..Module::default()
    };
    Ok(Vector {
        module,
        alignment: file.alignment,
        load_flags: file.load_flags,
        map_ids: file.maps.iter().map(|map| map.id).collect(),
        firmware_args: file.firmware_args,
        facts: file.facts,
        subprograms: file.subprogs,
        map_use: file.map_use,
    })
}

fn read_map(index: usize, map: &FileMap) -> Result<MapSpec, VectorError> {
    let map_type = MapType::from_name(&map.map_type).ok_or_else(|| VectorError::MapType {
        map: index,
        name: map.map_type.clone(),
    })?;
    let name = map.name.clone().unwrap_or_else(|| format!("map{index}"));
    let mut spec = MapSpec::new(&name, map_type, map.key, map.value, map.max);
    spec.flags.0 = map.map_flags;
    for flag in &map.flags {
        let bit = MapFlags::from_name(flag).ok_or_else(|| VectorError::MapFlag {
            map: index,
            name: flag.clone(),
        })?;
        spec.flags.0 |= bit;
    }
    if map.data_section {
        spec.data_section = true;
        spec.flags.0 |= MapFlags::MMAPABLE;
    }
    for entry in &map.init {
        let part = |text: &str| {
            hex::decode(text).ok_or_else(|| VectorError::Hex {
                field: format!("an entry of map {index}"),
            })
        };
        spec.initial.push(InitialEntry {
            key: part(&entry.key)?,
            value: InitialValue::Bytes(part(&entry.value)?),
        });
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every recorded row of a file loads; what is no valid bytecode was refused by Linux, too.
    fn check_file(file: &str, refused: usize) {
        let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/");
        let Ok(text) = std::fs::read_to_string(format!("{shared}{file}")) else {
            eprintln!("skipped: ../shared/{file} is not there");
            return;
        };
        let mut found = 0;
        for row in text.lines() {
            if let Err(error) = load_vector(row.as_bytes(), "row") {
                assert!(error.refuses_program(), "{error}: {row}");
                assert!(row.contains(r#""verdict":"reject""#), "{error}: {row}");
                found += 1;
            }
        }
        assert_eq!(found, refused, "{file}");
    }

    #[test]
    fn recorded_vectors() {
        check_file("verifier/vectors.jsonl", 9);
        check_file("verifier/selftests.jsonl", 0);
        check_file("nfp/vectors.jsonl", 0);
    }

    #[test]
    fn maps_and_their_contents() {
        let text = br#"{"type": "xdp", "program": "18110000010000000000000000000000b7000000020000009500000000000000",
            "maps": [{"type": "hash", "key": 4, "value": 8, "max": 16, "flags": ["no_prealloc"], "id": 7},
                     {"type": "array", "key": 4, "value": 2, "max": 1, "map_flags": 128, "name": ".bss",
                      "data_section": true, "init": [{"key": "00000000", "value": "0a0B"}]}],
            "load_flags": 8, "alignment": "strict"}"#;
        let vector = load_vector(text, "named").unwrap();
        assert_eq!(vector.module.name, "named");
        assert_eq!(vector.map_ids, [Some(7), None]);
        assert_eq!(vector.alignment, Some(Alignment::Strict));
        let maps = &vector.module.maps;
        assert_eq!(maps[0].flags, MapFlags(MapFlags::NO_PREALLOC));
        assert_eq!(maps[1].flags, MapFlags(128 | MapFlags::MMAPABLE));
        assert_eq!(
            maps[1].initial[0].value,
            InitialValue::Bytes(vec![0x0a, 0x0b])
        );
        let references: Vec<_> = vector.module.programs[0].map_references().collect();
        assert_eq!(references, [(0, 1)]);
    }

    #[test]
    fn what_is_refused() {
        let check = |text: &str, refused: bool, message: &str| {
            let error = load_vector(text.as_bytes(), "").unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.refuses_program(), refused);
        };
        check(
            r#"{"type":"xdp","program":"18110000010000000000000000000000","maps":[]}"#,
            true,
            "instruction 0: there is no map 1, only 0 maps",
        );
        check(
            r#"{"type":"xdp","program":""}"#,
            true,
            "the program has no instructions",
        );
        check(
            r#"{"type":"xdp","program":"950"}"#,
            false,
            "program is no hexadecimal text of whole bytes",
        );
        check(
            r#"{"type":"xdp","program":"95","maps":[{"type":"hush","key":4,"value":4,"max":1}]}"#,
            false,
            "map 0: type hush is unknown",
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"\{"type":"xdp","program":"[0-9a-f]{0,40}","maps":\[[^\]]{0,20}\]\}"#) {
            let _ = load_vector(text.as_bytes(), "");
        }
    }
}
