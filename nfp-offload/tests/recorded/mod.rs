//! The recorded output of the driver, where the data is there.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

/// The recorded programs of a file, or nothing where the data is missing.
pub(crate) fn programs(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/nfp")
        .join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no {}", path.display());
        return Vec::new();
    };
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// The words under `key`, if the program was accepted.
pub(crate) fn words(program: &Value, key: &str) -> Vec<u64> {
    program[key]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| u64::from_str_radix(word.as_str().unwrap(), 16).unwrap())
        .collect()
}
