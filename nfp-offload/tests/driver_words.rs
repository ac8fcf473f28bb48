//! Words from recorded verifier facts: the driver's, before and after relocation.

mod recorded;

use iom_core::object::vector::load_vector;
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::recorded::facts;
use iom_nfp_offload::translate::{DefectMode, Input, translate};
use serde_json::Value;

/// What differs, if something does.
fn difference(row: &Value) -> Option<String> {
    let vector = load_vector(row.to_string().as_bytes(), "vector").unwrap();
    let facts = facts(&vector).unwrap()?;
    let profile = FirmwareProfile::full()
        .with_settings(&vector.firmware_args)
        .unwrap();
    let map_ids: Vec<u32> = vector.map_ids.iter().map(|id| id.unwrap_or(0)).collect();
    let input = Input {
        program: &vector.module.programs[0],
        facts: &facts,
        profile: &profile,
        map_ids: &map_ids,
        mode: DefectMode::Kept,
    };
    let image = match translate(input) {
        Ok(image) => image,
        Err(error) => return Some(error.to_string()),
    };
    let bits = image.words.iter().map(|word| word.to_bits().unwrap());
    let ours: Vec<u64> = bits.collect();
    let theirs = recorded::words(row, "pre");
    if ours != theirs {
        let word = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let slot = image
            .first_words
            .partition_point(|first| usize::from(*first) <= word);
        return Some(format!(
            "word {word} of {}, instruction {}: {:016x?}, should be {:016x?}",
            theirs.len(),
            slot.saturating_sub(1),
            ours.get(word),
            theirs.get(word)
        ));
    }
    let words = image.relocate(&profile).unwrap();
    (words != recorded::words(row, "words")).then(|| "words after relocation".to_owned())
}

fn check(file: &str, accepted: usize) {
    let rows = recorded::programs(file);
    let compared = rows.iter().filter(|row| row["result"] == "ACCEPT");
    let compared: Vec<_> = compared.collect();
    let differences: Vec<_> = compared
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row["name"], difference(row)?)))
        .collect();
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(
        rows.is_empty() || compared.len() == accepted,
        "{}",
        compared.len()
    );
}

#[test]
fn words_of_the_vectors() {
    check("vectors.jsonl", 99);
}

#[test]
fn words_of_the_fuzz_programs() {
    check("fuzz.jsonl.gz", 390);
}
