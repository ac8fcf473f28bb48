//! Why programs cannot be offloaded: stage and sentence as the driver's, and what we say about it.

mod recorded;

use std::fmt::Write;

use expect_test::expect_file;
use iom_core::object::vector::{Vector, load_vector};
use iom_nfp_offload::backend::table_ids;
use iom_nfp_offload::check::Reason;
use iom_nfp_offload::offload::{Request, offload};
use iom_nfp_offload::profile::FirmwareProfile;
use iom_nfp_offload::translate::DefectMode;
use serde_json::Value;

fn vector(row: &Value) -> Vector {
    load_vector(row.to_string().as_bytes(), "vector").unwrap()
}

fn reasons(vector: &Vector, settings: &[&str]) -> Vec<Reason> {
    let profile = FirmwareProfile::full()
        .with_settings(&vector.firmware_args)
        .and_then(|profile| profile.with_settings(settings))
        .unwrap();
    let module = &vector.module;
    let request = Request {
        module,
        entry: 0,
        profile: &profile,
        map_ids: &table_ids(&module.maps),
        mode: DefectMode::Kept,
    };
    offload(request).err().unwrap_or_default()
}

/// The sentence without what the kernel's log puts in front of it and behind.
fn sentence(row: &Value) -> String {
    let first = row["reason"].as_str().unwrap_or("").lines().next();
    let text = first.unwrap_or("").replace("[nfp] ", "");
    text.replace("NFP net bpf: ", "").trim().to_owned()
}

#[test]
fn stages_and_sentences_are_the_drivers() {
    let rows = recorded::programs("vectors.jsonl");
    let refused = rows.iter().filter(|row| row["result"] == "REJECT");
    let mut different = Vec::new();
    for row in refused {
        assert!(recorded::words(row, "words").is_empty());
        let reasons = reasons(&vector(row), &[]);
        let is_same = reasons.first().is_some_and(|reason| {
            row["stage"] == reason.stage.name() && reason.driver.contains(&sentence(row))
        });
        if !is_same {
            different.push(row["name"].as_str().unwrap_or("").to_owned());
        }
    }
    assert!(different.is_empty(), "{different:?}");
}

/// Everything that is said about a program.
fn describe(name: &str, settings: &[&str], reasons: &[Reason]) -> String {
    let mut text = format!("{name} {}\n", settings.join(" "));
    for reason in reasons {
        let _ = writeln!(text, "  {}: {}", reason.stage.name(), reason.driver);
        if let Some(insn) = reason.insn {
            let _ = writeln!(text, "    instruction {insn}");
        }
        let _ = writeln!(text, "    {}", reason.message);
        if let Some(fix) = reason.fix {
            let _ = writeln!(text, "    fix: {fix}");
        }
    }
    text
}

#[test]
fn reasons_name_limit_value_and_fix() {
    let rows = recorded::programs("vectors.jsonl");
    let refused = rows.iter().filter(|row| row["result"] == "REJECT");
    let mut text = String::new();
    for row in refused {
        let name = row["name"].as_str().unwrap_or("");
        text += &describe(name, &[], &reasons(&vector(row), &[]));
    }
    // Accepted programs on firmware that lacks what they need.
    for (name, settings) in [
        ("c_hash_update", &["--fw", "none"][..]),
        ("c_hash_update", &["--fw", "nic-public"]),
        ("c_hash_delete", &["--map-caps", "0x6,0,2048000,64,64,128"]),
        ("c_hash_delete", &["--map-caps", "0x6,128,10,8,4,16"]),
        (
            "c_hash_delete",
            &["--map-caps", "0x4,128,2048000,64,64,128"],
        ),
        ("c_arr_count", &["--helpers", "0,0,0,0"]),
        ("c_memcpy_hdr", &["--abi", "4"]),
        ("a_stack_ptr", &["--stack", "0"]),
    ] {
        let Some(row) = rows.iter().find(|row| row["name"] == name) else {
            continue;
        };
        text += &describe(name, settings, &reasons(&vector(row), settings));
    }
    if !rows.is_empty() {
        expect_file!["refusals.txt"].assert_eq(&text);
    }
}
