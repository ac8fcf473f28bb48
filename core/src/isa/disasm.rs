//! The disassembler: programs and whole modules as text that the assembler reads back.

use super::asm::{flags_text, is_name, kind_word, quoted};
use super::functions::slot_at;
use super::{Imm64, Insn, InsnText};
use crate::hex::Hex;
use crate::map::{InitialValue, MapSpec};
use crate::module::{LineInfo, Module, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// One instruction of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingLine {
    /// Slot of the instruction.
    pub slot: usize,
    /// Label of the slot, if something goes there.
    pub label: Option<String>,
    /// The instruction, with the names of labels, maps and helpers.
    pub text: String,
}

/// Lists a program, one line for each instruction; `maps` are those of its module.
pub fn list_program(program: &Program, maps: &[MapSpec]) -> Vec<ListingLine> {
    let names = Names {
        labels: labels(program),
        maps: map_names(maps),
    };
    let slots = program.insns.iter().enumerate();
    slots
        .filter(|(_, insn)| **insn != Insn::WideTail)
        .map(|(slot, insn)| ListingLine {
            slot,
            label: names.labels.get(&slot).cloned(),
            text: names.text(&program.insns, slot, *insn),
        })
        .collect()
}

/// The text of a module with some of its programs: licence, maps, and each program with its source
/// lines as comments. With all programs, assembling it gives the module again, except for type
/// information.
pub fn module_text(module: &Module, programs: &[usize]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_module(&mut text, module, programs);
    text
}

fn write_module(out: &mut String, module: &Module, programs: &[usize]) -> fmt::Result {
    if let Some(license) = &module.license {
        writeln!(out, ".license {}", quoted(license))?;
    }
    for spec in &module.maps {
        write_map(out, spec)?;
    }
    for program in programs
        .iter()
        .filter_map(|&index| module.programs.get(index))
    {
        writeln!(out)?;
        write_program(out, program, &module.maps)?;
    }
    Ok(())
}

fn write_program(out: &mut String, program: &Program, maps: &[MapSpec]) -> fmt::Result {
    let kind = kind_word(program.program_type, program.attach, program.fragments);
    write!(out, ".program {} {kind}", quoted(&program.name))?;
    // Raw instructions come from no section.
    if program.section != kind && !program.section.is_empty() {
        write!(out, " section {}", quoted(&program.section))?;
    }
    writeln!(out)?;
    for line in list_program(program, maps) {
        if let Some(label) = &line.label {
            writeln!(out, "{label}:")?;
        }
        write_source(out, program, &line)?;
        writeln!(out, "{:>5}: {}", line.slot, line.text)?;
    }
    Ok(())
}

/// The source line that starts at an instruction, unless it is the one before, as for each part of
/// a long line, or the source is this assembly.
fn write_source(out: &mut String, program: &Program, line: &ListingLine) -> fmt::Result {
    let by_slot = |info: &LineInfo| info.insn as usize;
    let Ok(found) = program.lines.binary_search_by_key(&line.slot, by_slot) else {
        return Ok(());
    };
    let LineInfo {
        file,
        line: number,
        text,
        ..
    } = &program.lines[found];
    let before = found.checked_sub(1).map(|before| &program.lines[before]);
    let repeated = before.is_some_and(|before| (&before.file, before.line) == (file, *number));
    if repeated || text.trim() == line.text {
        return Ok(());
    }
    let comment = format!("; {file}:{number} {}", text.trim());
    writeln!(out, "{}", comment.replace(['\n', '\r'], " "))
}

/// Labels by slot: functions by their name, jump targets as `L` and their slot.
fn labels(program: &Program) -> BTreeMap<usize, String> {
    let mut labels = BTreeMap::new();
    let mut used = BTreeSet::new();
    let called = called_slots(&program.insns);
    for function in &program.functions {
        let (slot, name) = (function.start as usize, &function.name);
        let is_free = is_name(name) && !is_slot_label(name) && !used.contains(name);
        if called.contains(&slot) && is_free {
            used.insert(name.clone());
            labels.entry(slot).or_insert_with(|| name.clone());
        }
    }
    let jumps = program.insns.iter().enumerate();
    let jumped = jumps.filter_map(|(slot, insn)| slot_at(&program.insns, insn.jump_target(slot)?));
    for slot in jumped.chain(called) {
        labels.entry(slot).or_insert_with(|| format!("L{slot}"));
    }
    labels
}

/// Where functions start that something refers to.
fn called_slots(insns: &[Insn]) -> BTreeSet<usize> {
    let slots = insns.iter().enumerate();
    slots
        .filter_map(|(slot, insn)| slot_at(insns, insn.function_target(slot)?))
        .collect()
}

fn is_slot_label(name: &str) -> bool {
    name.strip_prefix('L')
        .is_some_and(|slot| slot.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Names of maps by index; `None` where another map before has the same name.
fn map_names(maps: &[MapSpec]) -> Vec<Option<String>> {
    let mut used = BTreeSet::new();
    maps.iter()
        .map(|map| used.insert(&map.name).then(|| quoted(&map.name)))
        .collect()
}

struct Names {
    labels: BTreeMap<usize, String>,
    maps: Vec<Option<String>>,
}

impl Names {
    fn text(&self, insns: &[Insn], slot: usize, insn: Insn) -> String {
        let target = insn
            .jump_target(slot)
            .or_else(|| insn.function_target(slot));
        let label = target.and_then(|target| self.labels.get(&slot_at(insns, target)?));
        let map = loaded_map(insn).and_then(|index| self.maps.get(index as usize)?.as_deref());
        let target = label.map(String::as_str);
        let mut text = InsnText {
            target,
            map,
            ..InsnText::plain(insn)
        };
        // A label with the name of a helper would be what is called.
        let hides = |name| self.labels.values().any(|label| label == name);
        if text.helper.is_some_and(hides) {
            text.helper = None;
        }
        text.to_string()
    }
}

fn loaded_map(insn: Insn) -> Option<u32> {
    let Insn::LoadImm64 { value, .. } = insn else {
        return None;
    };
    match value {
        Imm64::Map(map) | Imm64::MapValue { map, .. } => Some(map),
        Imm64::Number(_) | Imm64::Variable { .. } | Imm64::Function { .. } => None,
    }
}

fn write_map(out: &mut String, spec: &MapSpec) -> fmt::Result {
    write_spec(out, ".map", spec)?;
    if let Some(inner) = &spec.inner {
        write_spec(out, ".inner", inner)?;
    }
    for entry in &spec.initial {
        write!(out, ".entry {} = ", Hex(&entry.key))?;
        match &entry.value {
            InitialValue::Bytes(bytes) => writeln!(out, "{}", Hex(bytes))?,
            InitialValue::Program(index) => writeln!(out, "program#{index}")?,
            InitialValue::Map(index) => writeln!(out, "map#{index}")?,
        }
    }
    Ok(())
}

fn write_spec(out: &mut String, directive: &str, spec: &MapSpec) -> fmt::Result {
    let MapSpec {
        key_size,
        value_size,
        max_entries,
        ..
    } = spec;
    write!(
        out,
        "{directive} {} {}",
        quoted(&spec.name),
        spec.map_type.name()
    )?;
    write!(out, " key {key_size} value {value_size} max {max_entries}")?;
    if let Some(flags) = flags_text(spec.flags) {
        write!(out, " flags {flags}")?;
    }
    if spec.extra != 0 {
        write!(out, " extra {}", spec.extra)?;
    }
    let marks = [
        (spec.frozen, " frozen"),
        (spec.data_section, " data"),
        (spec.pin_by_name, " pinned"),
    ];
    for (_, word) in marks.iter().filter(|(set, _)| *set) {
        out.push_str(word);
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{arbitrary, assemble};
    use crate::map::{InitialEntry, MapFlags, MapType};
    use crate::module::{Function, ProgramType, XdpAttach};
    use expect_test::expect;
    use proptest::prelude::*;

    /// Parts of names, some of which mean something elsewhere in the grammar.
    fn name() -> impl Strategy<Value = String> {
        let words = [
            "pc",
            "map",
            "ll",
            "L3",
            "r0",
            "exit",
            "bpf_redirect",
            "kfunc#1",
            "\"",
            "\\",
            ";",
        ];
        prop_oneof![
            "[a-z_.][a-z0-9_.]{0,8}",
            prop::sample::select(words.to_vec()).prop_map(str::to_owned),
            ".{0,8}",
        ]
    }

    fn entry() -> impl Strategy<Value = InitialEntry> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..9);
        let value = prop_oneof![
            bytes().prop_map(InitialValue::Bytes),
            any::<u32>().prop_map(InitialValue::Program),
            any::<u32>().prop_map(InitialValue::Map),
        ];
        (bytes(), value).prop_map(|(key, value)| InitialEntry { key, value })
    }

    fn plain_map() -> impl Strategy<Value = MapSpec> {
        let map_type = prop::sample::select(MapType::ALL.to_vec());
        let numbers = any::<(u32, u32, u32, u32, u64)>();
        let marks = any::<(bool, bool, bool)>();
        (
            name(),
            map_type,
            numbers,
            marks,
            prop::collection::vec(entry(), 0..3),
        )
            .prop_map(
                |(name, (map_type, _), (key, value, max, flags, extra), marks, initial)| MapSpec {
                    flags: MapFlags(flags),
                    extra,
                    frozen: marks.0,
                    data_section: marks.1,
                    pin_by_name: marks.2,
                    initial,
                    ..MapSpec::new(&name, map_type, key, value, max)
                },
            )
    }

    fn map() -> impl Strategy<Value = MapSpec> {
        (plain_map(), prop::option::of(plain_map())).prop_map(|(spec, inner)| {
            let inner = inner.map(|inner| {
                Box::new(MapSpec {
                    initial: Vec::new(),
                    ..inner
                })
            });
            MapSpec { inner, ..spec }
        })
    }

    fn program() -> impl Strategy<Value = Program> {
        let kinds = [
            (ProgramType::Xdp, XdpAttach::Device, true),
            (ProgramType::Xdp, XdpAttach::Cpumap, false),
            (ProgramType::SchedCls, XdpAttach::Device, false),
            (ProgramType::Raw, XdpAttach::Device, false),
        ];
        let kind = prop::sample::select(kinds.to_vec());
        let function = (name(), 0..30u32);
        let function = function.prop_map(|(name, start)| Function {
            name,
            start,
            btf_id: None,
        });
        let functions = prop::collection::vec(function, 0..4);
        (name(), name(), kind, arbitrary::program(0..40), functions).prop_map(
            |(name, section, (program_type, attach, fragments), insns, functions)| Program {
                name,
                section,
                program_type,
                attach,
                fragments,
                insns,
                functions,
                lines: Vec::new(),
                unresolved: Vec::new(),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn assembling_reverses_it(
            license in prop::option::of(name()),
            maps in prop::collection::vec(map(), 0..4),
            programs in prop::collection::vec(program(), 0..3),
        ) {
            let mut seen = BTreeSet::new();
            let maps: Vec<_> = maps.into_iter().filter(|map| seen.insert(map.name.clone())).collect();
            let mut seen = BTreeSet::new();
            let programs: Vec<_> =
                programs.into_iter().filter(|program| seen.insert(program.name.clone())).collect();
            let module = Module { programs, maps, license, ..Module::default() };
            let all: Vec<usize> = (0..module.programs.len()).collect();
            let text = module_text(&module, &all);
            let again = assemble(&text, "again");
            prop_assert!(again.is_ok(), "{}\n{text}", again.unwrap_err());
            let again = again.unwrap();
            prop_assert_eq!(&again.license, &module.license);
            prop_assert_eq!(&again.maps, &module.maps);
            prop_assert_eq!(again.programs.len(), module.programs.len());
            for (again, program) in again.programs.iter().zip(&module.programs) {
                prop_assert_eq!(&again.insns, &program.insns, "{}", text);
                prop_assert_eq!(&again.name, &program.name);
                if !program.section.is_empty() {
                    prop_assert_eq!(&again.section, &program.section);
                }
                prop_assert_eq!(again.attach, program.attach);
                prop_assert_eq!(again.program_type, program.program_type);
                prop_assert_eq!(again.fragments, program.fragments);
            }
            prop_assert_eq!(module_text(&again, &all), text, "stable");
        }
    }

    #[test]
    fn source_lines_are_comments() {
        let mut module = assemble(
            ".license GPL\n\
             .map flows hash key 4 value 8 max 16 flags no_prealloc|rdonly_prog\n\
             .map .rodata array key 4 value 2 max 1 flags rdonly_prog frozen data\n\
             .entry 00000000 = 0a0b\n\
             .program count xdp section xdp_count\n\
             r6 = r1\nr1 = map[flows] ll\ncall map_lookup_elem\nif r0 == 0 goto out\n\
             call add\nr1 = map[.rodata] + 1 ll\nout: r0 = 2\nexit\n\
             add:\nw0 += 1\ncall redirect\nexit\n",
            "count.bpf",
        )
        .unwrap();
        module.programs[0].lines = vec![LineInfo {
            insn: 1,
            file: "count.c".into(),
            line: 7,
            column: 1,
            text: "\tlookup(&flows);".into(),
            btf_offsets: (0, 0),
        }];
        expect![[r"
            .license GPL
            .map flows hash key 4 value 8 max 16 flags no_prealloc|rdonly_prog
            .map .rodata array key 4 value 2 max 1 flags rdonly_prog frozen data
            .entry 00000000 = 0a0b

            .program count xdp section xdp_count
                0: r6 = r1
            ; count.c:7 lookup(&flows);
                1: r1 = map[flows] ll
                3: call bpf_map_lookup_elem
                4: if r0 == 0 goto L8
                5: call add
                6: r1 = map[.rodata] + 1 ll
            L8:
                8: r0 = 2
                9: exit
            add:
               10: w0 += 1
               11: call bpf_redirect
               12: exit
        "]]
        .assert_eq(&module_text(&module, &[0]));
    }
}
