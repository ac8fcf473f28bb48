//! Map contents from files and to files: the manifest's seeds, `--seed-maps`, `--dump-maps`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use iom_core::map::{
    MapContents, MapEntry, MapSeed, MapSet, MapSpec, MapValue, from_json, to_json,
};
use iom_core::module::Module;
use iom_core::object::btf::Btf;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::program::LoadedProgram;

/// What maps hold before the first packet, later files over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Seeds {
    /// Each with the place it comes from.
    seeds: Vec<(String, MapSeed)>,
}

impl Seeds {
    /// Reads the manifest's seeds and those of the command line.
    ///
    /// # Errors
    /// Files that cannot be read or that name a map which the module does not have.
    pub fn read(program: &LoadedProgram, files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut seeds = Self::default();
        for file in program.seed.iter().chain(files) {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            seeds.add(&file.display().to_string(), &text, &program.module)?;
        }
        if let Some(inline) = &program.inline_seed {
            seeds.add("the manifest", &inline.to_string(), &program.module)?;
        }
        Ok(seeds)
    }

    fn add(&mut self, place: &str, text: &str, module: &Module) -> anyhow::Result<()> {
        for seed in from_json(text).with_context(|| place.to_owned())? {
            if module.map_index(&seed.name).is_none() {
                let known: Vec<&str> = module.maps.iter().map(|spec| spec.name.as_str()).collect();
                let message = format!(
                    "{place}: the module has no map {}; it has {}",
                    seed.name,
                    known.join(", ")
                );
                return Err(Failure::usage(message));
            }
            self.seeds.push((place.to_owned(), seed));
        }
        Ok(())
    }

    /// Puts the seeds into the maps of a run.
    ///
    /// # Errors
    /// Entries that do not fit their map.
    ///
    /// # Panics
    /// If the maps are not those of the module that the seeds were read for.
    pub fn apply(&self, module: &Module, maps: &MapSet) -> anyhow::Result<()> {
        let program = |name: &str| module.program_index(name).map(|index| index as u32);
        let number = |name: &str| module.map_index(name).map(|index| index as u32);
        for (place, seed) in &self.seeds {
            let index = module
                .map_index(&seed.name)
                .expect("looked up when it was read");
            let contents = seed
                .contents(&module.maps[index], program, number)
                .with_context(|| place.clone())?;
            let map = maps
                .get(index as u32)
                .expect("one map for each declaration");
            map.load(&contents).with_context(|| place.clone())?;
        }
        maps.check_inner_maps()?;
        Ok(())
    }

    /// The maps that seeds fill, as a file.
    ///
    /// # Errors
    /// Seeds that do not fit.
    pub fn to_json(&self, module: &Module, queues: u32) -> anyhow::Result<String> {
        let maps = MapSet::create(&module.maps, queues)?;
        self.apply(module, &maps)?;
        let seeded = |spec: &MapSpec| self.seeds.iter().any(|(_, seed)| seed.name == spec.name);
        let contents: Vec<(&MapSpec, MapContents)> = module
            .maps
            .iter()
            .zip(maps.iter())
            .filter(|(spec, _)| seeded(spec))
            .map(|(spec, map)| (spec, map.contents()))
            .collect();
        let borrowed: Vec<_> = contents
            .iter()
            .map(|(spec, contents)| (*spec, contents))
            .collect();
        Ok(to_json(&module.maps, &borrowed, |_, _| None))
    }
}

/// Writes the contents of all maps, with their meaning where the module has type information.
///
/// # Errors
/// A file that cannot be written.
pub fn dump(path: &Path, module: &Module, contents: &[MapContents]) -> anyhow::Result<()> {
    let btf = module
        .btf
        .as_deref()
        .and_then(|bytes| Btf::parse(bytes).ok());
    let maps: Vec<_> = module.maps.iter().zip(contents).collect();
    let text = to_json(&module.maps, &maps, |spec, entry| {
        typed(btf.as_ref()?, spec, entry)
    });
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Key and value of an entry by their types.
fn typed(btf: &Btf, spec: &MapSpec, entry: &MapEntry) -> Option<Value> {
    let (key_type, value_type) = spec.btf_types;
    if value_type == 0 {
        return None;
    }
    let value = match &entry.value {
        MapValue::Plain(bytes) => btf.format_value(value_type, bytes),
        MapValue::PerQueue(values) => values
            .iter()
            .map(|bytes| btf.format_value(value_type, bytes))
            .collect(),
    };
    let key = if key_type == 0 {
        Value::Null
    } else {
        btf.format_value(key_type, &entry.key)
    };
    Some(json!({"key": key, "value": value}))
}
