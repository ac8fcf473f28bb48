//! Function info, line info and CO-RE relocations for a program that is always the same, answered
//! from the object's own types. Two bytes say where in the input `.BTF` ends and `.BTF.ext` starts.
#![no_main]

use std::sync::LazyLock;

use iom_core::isa::encode;
use iom_core::object::{Kernel, KernelTypes, load_object_for};
use libfuzzer_sys::fuzz_target;
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// Each shape of instruction that a relocation may change, many times.
static CODE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let lines = "r1 = *(u32 *)(r6 + 4)\nr2 = 8 ll\n*(u16 *)(r6 + 2) = r1\nr3 = 5\nr4 += 7\nr7 = *(u64 *)(r6 + 0)\n";
    let text = format!("{}r0 = 2\nexit\n", lines.repeat(20));
    let module = iom_core::isa::assemble(&text, "fuzz.bpf").expect("it assembles");
    encode(&module.programs[0].insns)
});

fn object_with(btf: &[u8], ext: &[u8]) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let mut add = |name: &str, data: &[u8], kind| {
        let id = object.add_section(Vec::new(), name.into(), kind);
        object.append_section_data(id, data, 8);
        id
    };
    let code = add("xdp", &CODE, SectionKind::Text);
    add(".BTF", btf, SectionKind::Other);
    add(".BTF.ext", ext, SectionKind::Other);
    object.add_symbol(Symbol {
        name: b"main".to_vec(),
        value: 0,
        size: CODE.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(code),
        flags: SymbolFlags::None,
    });
    object.write().expect("sections and one symbol")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let Some((btf, ext)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { return };
    let types = KernelTypes::parse(btf).ok();
    let kernel = Kernel { types: types.as_ref(), config: None };
    match load_object_for(&object_with(btf, ext), "fuzz", &kernel) {
        Ok(module) => {
            for program in &module.programs {
                assert_eq!(encode(&program.insns).len(), CODE.len());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
