//! Objects: what clang makes of a C source, to a [`Module`]. ELF with BTF, as libbpf loads it;
//! what is not supported is refused by its name, and only for the programs that use it.

pub mod btf;
mod btf_ext;
mod btf_fixup;
mod code;
mod core_relocation;
mod elf;
mod error;
mod externs;
mod kernel_config;
mod kernel_types;
mod link;
mod maps;
mod parameters;
mod programs;
pub mod raw;
mod reader;
mod relocation;
mod section_name;
mod static_link;
pub mod vector;

use btf::Btf;
use btf_ext::BtfExt;
use code::CodeTable;
use elf::{Elf, Relocation};
use externs::ConfigVariables;
use maps::ObjectMaps;
use programs::Programs;
use section_name::{SectionKind, section_kind};

use crate::module::{Module, ProgramType, XdpAttach};

pub use core_relocation::CoReError;
pub use kernel_config::KernelConfig;
pub use kernel_types::{KernelTypes, KernelTypesError};

pub use parameters::{ParameterError, set_parameters};
pub use static_link::{LinkError, LinkInput, LinkedObject, link_objects};

pub use error::{
    ExternErrorKind, MapErrorKind, ObjectError, ObjectErrorKind, ProgramError, ProgramErrorKind,
};

/// Loads an object that needs to know nothing of the kernel; programs of it that do are refused.
/// `name` becomes the module's name. Maps that only programs use which cannot be used themselves
/// are left out.
pub fn load_object(bytes: &[u8], name: &str) -> Result<Module, ObjectError> {
    load(bytes, name, section_kind, &Kernel::default())
}

/// Loads an object for a kernel, which its CO-RE relocations and configuration variables ask.
pub fn load_object_for(bytes: &[u8], name: &str, kernel: &Kernel) -> Result<Module, ObjectError> {
    load(bytes, name, section_kind, kernel)
}

/// What a kernel says of itself, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel<'a> {
    /// Its types.
    pub types: Option<&'a KernelTypes>,
    /// Its configuration.
    pub config: Option<&'a KernelConfig>,
}

/// What an object asks of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelNeeds {
    /// Types: it has CO-RE relocations that depend on them.
    pub types: bool,
    /// Configuration: it has variables of it.
    pub config: bool,
}

impl KernelNeeds {
    /// What this object needs; nothing if it is broken, which loading it will say.
    pub fn of(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Result<Self, ObjectError> {
        let elf = Elf::parse(bytes)?;
        let (_, btf) = read_btf(&elf)?;
        let ext = read_btf_ext(&elf, btf.as_ref())?;
        let mut relocations = ext.sections.values().flat_map(|info| &info.relocations);
        Ok(Self {
            types: relocations.any(core_relocation::asks_kernel),
            config: btf.is_some_and(|btf| btf.datasec(externs::SECTION).is_some()),
        })
    }
}

/// Loads the functions of an object's `.text` as programs of type [`ProgramType::Raw`], which is
/// how conformance suites send them.
pub fn load_raw_object(bytes: &[u8], name: &str) -> Result<Module, ObjectError> {
    let kind = |section: &str| match section {
        ".text" => SectionKind::Programs {
            program_type: ProgramType::Raw,
            attach: XdpAttach::Device,
            fragments: false,
        },
        _ => SectionKind::Subprograms,
    };
    load(bytes, name, kind, &Kernel::default())
}

fn load(
    bytes: &[u8],
    name: &str,
    kind: fn(&str) -> SectionKind,
    kernel: &Kernel,
) -> Result<Module, ObjectError> {
    let elf = Elf::parse(bytes)?;
    let (btf_bytes, btf) = read_btf(&elf)?;
    let btf = btf.as_ref();
    let ext = read_btf_ext(&elf, btf)?;
    let mut config = ConfigVariables::read(&elf, btf, kernel.config);
    let maps = ObjectMaps::read(&elf, btf, config.spec.take())?;
    let table = CodeTable::read(&elf, btf, &ext, &maps, &config, kernel.types)?;
    let mut programs = Programs::link(&elf, &table, btf, kind)?;
    let mut specs = maps.specs.clone();
    programs.fill_arrays(&table, &maps.programs, &mut specs);
    programs.drop_maps(&table, &mut specs);
    let mut module = Module {
        name: name.to_owned(),
        maps: specs,
        license: read_license(&elf)?,
        btf: btf_bytes,
        ..Module::default()
    };
    programs.into_module(&mut module);
    Ok(module)
}

/// `.BTF` as the kernel takes it, and parsed.
fn read_btf(elf: &Elf) -> Result<(Option<Vec<u8>>, Option<Btf>), ObjectError> {
    let Some((_, section)) = elf.section(".BTF") else {
        return Ok((None, None));
    };
    let broken = |error| ObjectError::Btf {
        section: ".BTF",
        error,
    };
    let raw = Btf::parse(section.data).map_err(broken)?;
    let bytes = btf_fixup::fix_btf(elf, section, &raw)?;
    let btf = Btf::parse(&bytes).map_err(broken)?;
    Ok((Some(btf_fixup::without_externs(&bytes, &btf)), Some(btf)))
}

fn read_btf_ext(elf: &Elf, btf: Option<&Btf>) -> Result<BtfExt, ObjectError> {
    let (Some((_, section)), Some(btf)) = (elf.section(".BTF.ext"), btf) else {
        return Ok(BtfExt::default());
    };
    let mut bytes = section.data.to_vec();
    // As compiled it is final already, but for addends that stand elsewhere.
    if let Some(Ok(Relocation {
        addend: Some(_), ..
    })) = elf.relocations(section).next()
    {
        btf_fixup::relocate(elf, section, &mut bytes)?;
    }
    BtfExt::parse(&bytes, btf).map_err(|error| ObjectError::Btf {
        section: ".BTF.ext",
        error,
    })
}

/// Text of the `license` section, up to its NUL.
fn read_license(elf: &Elf) -> Result<Option<String>, ObjectError> {
    let Some((_, section)) = elf.section("license") else {
        return Ok(None);
    };
    let text = std::ffi::CStr::from_bytes_until_nul(section.data).ok();
    let text = text.and_then(|text| text.to_str().ok());
    let text = text.ok_or_else(|| section.error(0, ObjectErrorKind::Text))?;
    Ok(Some(text.to_owned()))
}
