//! Map files: into maps that fit their first entry, out again and back.
#![no_main]

use iom_core::map::{Map, MapSpec, MapValue, SeedValue, from_json, to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let seeds = match from_json(text) {
        Ok(seeds) => seeds,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for seed in seeds {
        let Some(first) = seed.entries.first() else { continue };
        let value_size = match &first.value {
            SeedValue::Value(MapValue::Plain(value)) => value.len(),
            SeedValue::Value(MapValue::PerQueue(values)) => values.first().map_or(0, Vec::len),
            SeedValue::Program(_) | SeedValue::Map(_) => 4,
        };
        let (key_size, value_size) = (first.key.len() as u32, value_size as u32);
        let spec = MapSpec::new(&seed.name, seed.map_type, key_size, value_size, 16);
        let Ok(contents) = seed.contents(&spec, |_| Some(0), |_| None) else { continue };
        let Ok(map) = Map::create(&spec, 2) else { continue };
        if map.load(&contents).is_ok() {
            let held = map.contents();
            let again = from_json(&to_json(&[], &[(&spec, &held)], |_, _| None)).expect("what was written");
            assert_eq!(again[0].contents(&spec, |_| None, |_| None).as_ref(), Ok(&held));
        }
    }
});
