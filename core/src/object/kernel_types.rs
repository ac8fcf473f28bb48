//! The types of the kernel that a program is for, with an index by name.

use object::elf::FileHeader64;
use object::read::elf::FileHeader;
use object::{BigEndian, LittleEndian};

use super::btf::{Btf, BtfError};
use super::core_relocation::essential_name;

/// A kernel's BTF, parsed once for all programs.
#[derive(Debug)]
pub struct KernelTypes {
    btf: Btf,
    /// Hash of the name without flavour, and the id, in ascending order: half the time of a map
    /// with a hundred thousand names.
    by_name: Vec<(u32, u32)>,
}

/// Why a kernel's types cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelTypesError {
    /// An ELF file that is broken.
    #[error("broken ELF file: {message}")]
    Elf {
        /// What the ELF reader says.
        message: String,
    },
    /// An ELF file without the section.
    #[error("the ELF file has no .BTF section")]
    NoSection,
    /// Broken types.
    #[error("section .BTF, {0}")]
    Btf(BtfError),
}

impl KernelTypes {
    /// Parses plain BTF, as `/sys/kernel/btf/vmlinux` has it, or the `.BTF` section of a 64-bit
    /// ELF file, as `vmlinux` is.
    pub fn parse(bytes: &[u8]) -> Result<Self, KernelTypesError> {
        let data = match bytes.get(..6) {
            Some([0x7f, b'E', b'L', b'F', _, 2]) => btf_section(bytes, BigEndian)?,
            Some([0x7f, b'E', b'L', b'F', ..]) => btf_section(bytes, LittleEndian)?,
            _ => bytes,
        };
        let btf = Btf::parse(data).map_err(KernelTypesError::Btf)?;
        let named = btf.iter().filter(|(_, found)| found.name != 0);
        let mut by_name: Vec<_> = named
            .map(|(id, _)| (hash(essential_name(btf.name_of(id))), id))
            .collect();
        by_name.sort_unstable();
        Ok(Self { btf, by_name })
    }

    /// The types.
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// Ids of the types with this name, flavours (`___…`) aside, ascending.
    pub fn named(&self, name: &str) -> impl Iterator<Item = u32> {
        let wanted = essential_name(name);
        let hash = hash(wanted);
        let first = self.by_name.partition_point(|(known, _)| *known < hash);
        let same = self.by_name[first..].iter();
        same.take_while(move |(known, _)| *known == hash)
            .map(|(_, id)| *id)
            .filter(move |id| essential_name(self.btf.name_of(*id)) == wanted)
    }
}

/// FNV-1a: short and good enough, since names are compared too.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn btf_section<E: object::Endian>(bytes: &[u8], endian: E) -> Result<&[u8], KernelTypesError> {
    let broken = |error: object::read::Error| KernelTypesError::Elf {
        message: error.to_string(),
    };
    let header = FileHeader64::<E>::parse(bytes).map_err(broken)?;
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let (_, section) = sections
        .section_by_name(endian, b".BTF")
        .ok_or(KernelTypesError::NoSection)?;
    object::read::elf::SectionHeader::data(section, endian, bytes).map_err(broken)
}
