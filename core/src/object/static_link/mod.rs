//! Static linking: several objects to one, as `bpftool gen object` does it. Sections of one name
//! are joined, names resolved, types merged; programs are linked only when the result is loaded.

mod compatible;
mod error;
mod ext;
mod sections;
mod symbols;
mod types;
mod write;

use super::btf::Btf;
use super::btf_ext::BtfExt;
use super::elf::Elf;
use super::error::ObjectError;
use super::{btf_fixup, externs, read_btf_ext};

use ext::Ext;
use sections::Sections;
use symbols::Symbols;
use types::Types;

pub use error::LinkError;

/// Section of the kernel's variables and functions; with that of its configuration, what may stay
/// undefined.
const KERNEL_SYMBOLS: &str = ".ksyms";

/// An object to link.
#[derive(Clone, Copy, Debug)]
pub struct LinkInput<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// The file.
    pub bytes: &'a [u8],
}

/// What linking gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedObject {
    /// The object.
    pub bytes: Vec<u8>,
    /// Names that no object defines and the kernel is not asked for, sorted. Programs that use
    /// them are refused unless the result is linked again.
    pub undefined: Vec<String>,
}

/// Links objects in this order.
pub fn link_objects(inputs: &[LinkInput]) -> Result<LinkedObject, LinkError> {
    let objects = inputs.iter().map(Input::read);
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let mut sections = Sections::join(&objects)?;
    let symbols = Symbols::resolve(&objects, &sections)?;
    sections.relocate(&objects, &symbols)?;
    let mut types = Types::merge(&objects, &sections, &symbols)?;
    let ext = Ext::merge(&objects, &sections, &mut types);
    let known = types.declared_in([KERNEL_SYMBOLS, externs::SECTION]);
    let undefined = symbols.undefined();
    let undefined = undefined.filter(|name| !known.contains(name.as_bytes()));
    let undefined = undefined.map(str::to_owned).collect();
    if !types.is_empty() {
        sections.append(".BTF", types.bytes(&sections));
        sections.append(".BTF.ext", ext.bytes());
    }
    let bytes = write::object(&sections, &symbols);
    Ok(LinkedObject { bytes, undefined })
}

/// An object as it was read.
struct Input<'a> {
    name: &'a str,
    elf: Elf<'a>,
    /// Types with the final offsets of variables: bytes and parsed.
    btf: Option<(Vec<u8>, Btf)>,
    ext: BtfExt,
}

impl<'a> Input<'a> {
    fn read(input: &LinkInput<'a>) -> Result<Self, LinkError> {
        Self::parse(input).map_err(|error| LinkError::Object {
            file: input.name.to_owned(),
            error,
        })
    }

    fn parse(input: &LinkInput<'a>) -> Result<Self, ObjectError> {
        let elf = Elf::parse(input.bytes)?;
        let btf = match elf.section(".BTF") {
            Some((_, section)) => {
                let broken = |error| ObjectError::Btf {
                    section: ".BTF",
                    error,
                };
                let raw = Btf::parse(section.data).map_err(broken)?;
                let bytes = btf_fixup::place_variables(&elf, section, &raw)?;
                let btf = Btf::parse(&bytes).map_err(broken)?;
                Some((bytes, btf))
            }
            None => None,
        };
        let ext = read_btf_ext(&elf, btf.as_ref().map(|(_, btf)| btf))?;
        Ok(Self {
            name: input.name,
            elf,
            btf,
            ext,
        })
    }

    /// An error at an offset of a section of this object.
    fn error(&self, error: ObjectError) -> LinkError {
        LinkError::Object {
            file: self.name.to_owned(),
            error,
        }
    }
}
