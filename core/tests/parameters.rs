//! Parameters: global variables of an object that get other values.

use expect_test::expect;
use iom_core::map::InitialValue;
use iom_core::module::Module;
use iom_core::object::{load_object, set_parameters};
use std::fs;
use std::path::Path;

fn module(case: &str) -> Module {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects");
    let bytes = fs::read(folder.join(case)).expect("an object");
    load_object(&bytes, "case").expect("a module")
}

/// The section's bytes in hexadecimal after setting parameters.
fn set(section: &str, parameters: &[(&str, &str)]) -> String {
    let mut module = module("parameters.o");
    set_parameters(&mut module, parameters.iter().copied()).expect("parameters");
    let map = module.map_index(section).expect("a section");
    match &module.maps[map].initial[0].value {
        InitialValue::Bytes(bytes) => iom_core::hex::encode(bytes),
        other => panic!("{other:?}"),
    }
}

fn refused(case: &str, name: &str, value: &str) -> String {
    let error = set_parameters(&mut module(case), [(name, value)]).unwrap_err();
    error.to_string()
}

#[test]
fn values_of_all_types() {
    let check = |name: &str, value: &str, start: usize, expected: &str| {
        let bytes = set(".rodata", &[(name, value)]);
        let expected_all = set(".rodata", &[]);
        let end = start * 2 + expected.len();
        assert_eq!(&bytes[start * 2..end], expected, "{name}={value}");
        assert_eq!(bytes[..start * 2], expected_all[..start * 2], "{name}");
        assert_eq!(bytes[end..], expected_all[end..], "{name}");
    };
    check("wide", "0xffffffffffffffff", 0, "ffffffffffffffff");
    check("wide", "18446744073709551615", 0, "ffffffffffffffff");
    check("number", "-5", 8, "fbffffff");
    check("number", "0xfffffffe", 8, "feffffff");
    check("mode", "SLOW", 12, "02000000");
    check("mode", "7", 12, "07000000");
    check("ports", "80, 443", 16, "5000bb0100000000");
    check("ports[3]", "1", 22, "0100");
    check("name", "eth0", 24, "6574683000000000");
    check("name", "0x01020304050607ff", 24, "01020304050607ff");
    check("name", "\"0x12\"", 24, "3078313200000000");
    check("limits.rate", "9", 32, "09000000");
    check("limits.burst[1]", "3", 37, "03");
    check("limits.inside", "4", 38, "0400");
    check("enabled", "true", 40, "01");
    check("letter", "x", 41, "78");
    check("letter", "5", 41, "05");
    check("letter", "'5'", 41, "35");
}

#[test]
fn other_sections() {
    assert_eq!(set(".data", &[("counter", "2")]), "02000000");
    assert_eq!(set(".bss", &[("zero", "0x0102")]), "02010000");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn what_cannot_be_set() {
    let check = |name: &str, value: &str, expected: expect_test::Expect| {
        expected.assert_eq(&refused("parameters.o", name, value));
    };
    check(
        "nothing",
        "1",
        expect![
            "parameter nothing: no global variable has this name; there are counter, enabled, letter, limits, mode, name, number, ports, wide, zero"
        ],
    );
    check(
        "limits.nothing",
        "1",
        expect!["parameter limits.nothing: .nothing is no member or element there"],
    );
    check(
        "ports[4]",
        "1",
        expect!["parameter ports[4]: [4] is no member or element there"],
    );
    check(
        "ports",
        "1,2,3,4,5",
        expect![[
            r#"parameter ports: "1,2,3,4,5" is no value of its type; it takes up to 4 elements with commas between them"#
        ]],
    );
    check(
        "number",
        "2147483648",
        expect![[
            r#"parameter number: "2147483648" is no value of its type; it takes integers from -2147483648 to 2147483647, also in hexadecimal (0x)"#
        ]],
    );
    check(
        "letter",
        "256",
        expect![[
            r#"parameter letter: "256" is no value of its type; it takes integers from -128 to 127, also in hexadecimal (0x), or a character"#
        ]],
    );
    check(
        "name",
        "12345678",
        expect![[
            r#"parameter name: "12345678" is no value of its type; it takes up to 8 bytes in hexadecimal (0x…) or up to 7 of text"#
        ]],
    );
    check(
        "name",
        "0x123",
        expect![[
            r#"parameter name: "0x123" is no value of its type; it takes up to 8 bytes in hexadecimal (0x…) or up to 7 of text"#
        ]],
    );
    check(
        "mode",
        "FASTER",
        expect![[
            r#"parameter mode: "FASTER" is no value of its type; it takes integers from 0 to 4294967295, also in hexadecimal (0x), FAST, SLOW"#
        ]],
    );
    check(
        "enabled",
        "2",
        expect![[r#"parameter enabled: "2" is no value of its type; it takes true or false"#]],
    );
    check(
        "limits",
        "1",
        expect![[
            r#"parameter limits: "1" is no value of its type; it takes no value: only integers, enums, text and arrays of them are"#
        ]],
    );
    expect!["parameter limit: the program has no type information (BTF); compile with -g"]
        .assert_eq(&refused("no_debug.o", "limit", "1"));
}
