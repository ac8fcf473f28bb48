//! Why an object cannot be loaded, and why one of its programs cannot be used.

use super::btf::BtfError;
use super::core_relocation::CoReError;
use crate::isa::DecodeErrorKind;

/// Why an object as a whole cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not ELF at all.
    #[error("no ELF file: it does not start with 7f 45 4c 46")]
    NotElf,
    /// A 32-bit or big-endian file.
    #[error(
        "an ELF file for {what} machines; BPF objects are loaded in 64-bit little-endian form (clang -target bpfel)"
    )]
    Layout {
        /// What it is for.
        what: &'static str,
    },
    /// Compiled for something else.
    #[error("an ELF file for machine {machine}, not for BPF (247); compile with clang -target bpf")]
    Machine {
        /// `e_machine`.
        machine: u16,
    },
    /// Linked or a core file.
    #[error("an ELF file of type {file_type}, not a relocatable object (1); compile with -c")]
    NotRelocatable {
        /// `e_type`.
        file_type: u16,
    },
    /// The ELF structures themselves are broken.
    #[error("broken ELF file: {message}")]
    Elf {
        /// What the ELF reader says.
        message: String,
    },
    /// Broken or not supported, at a place.
    #[error("section {section}, offset {offset:#x}: {kind}")]
    At {
        /// Section.
        section: String,
        /// Offset in it.
        offset: u64,
        /// What is wrong there.
        kind: ObjectErrorKind,
    },
    /// Broken type information.
    #[error("section {section}, {error}")]
    Btf {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What is wrong and where.
        error: BtfError,
    },
    /// A map declaration that is broken or not supported.
    #[error("map {map}: {kind}")]
    Map {
        /// Map.
        map: String,
        /// What is wrong.
        kind: MapErrorKind,
    },
    /// Programs and their subprograms are too many instructions together.
    #[error(
        "the object's programs have more than {limit} instructions together with their subprograms"
    )]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// What is wrong at a place of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectErrorKind {
    /// Sections lie over each other or outside the file.
    #[error("the section's {len} bytes are not in the file, or it lies over another section")]
    Bounds {
        /// `sh_size`.
        len: u64,
    },
    /// A section with the compressed flag.
    #[error("compressed sections are not supported; use objcopy --decompress-debug-sections")]
    Compressed,
    /// A second relocation section for the same section.
    #[error("a second relocation section for section {target}")]
    SecondRelocations {
        /// The section that they are for.
        target: String,
    },
    /// A relocation that points outside its section or has a wrong kind.
    #[error("relocation of type {kind} ({symbol}) is not supported here")]
    Relocation {
        /// `r_type`.
        kind: u32,
        /// Name of the symbol, or of its section.
        symbol: String,
    },
    /// A function that does not fit its section.
    #[error(
        "function {function} of {len} bytes does not fit its section, or is no multiple of 8 bytes, or lies over another"
    )]
    Function {
        /// Function.
        function: String,
        /// Bytes.
        len: u64,
    },
    /// Text that is not UTF-8 or lacks its NUL.
    #[error("no text that ends with NUL")]
    Text,
    /// A data section beyond what a map value can be.
    #[error("{len} bytes are more than a map value can hold")]
    DataSize {
        /// Bytes.
        len: u64,
    },
}

/// What is wrong with a map declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapErrorKind {
    /// No BTF to read the declaration from.
    #[error("a .maps section needs BTF; compile with -g")]
    NoBtf,
    /// The declaration's variable is not in `.maps` or not a struct.
    #[error("the declaration is no struct inside its section")]
    NotStruct,
    /// A field that nobody knows.
    #[error("field {field} is not supported")]
    UnknownField {
        /// Field.
        field: String,
    },
    /// A field whose type does not say what it should.
    #[error("field {field} does not have the type that the declaration needs")]
    BadField {
        /// Field.
        field: String,
    },
    /// Key or value stated twice, differently.
    #[error("{field} says {size} bytes, an earlier field {other}")]
    Contradiction {
        /// Field.
        field: &'static str,
        /// Size that this field states.
        size: u32,
        /// Size that was stated before.
        other: u32,
    },
    /// A type number that Linux does not have.
    #[error("map type {number} is unknown")]
    UnknownType {
        /// The number.
        number: u32,
    },
    /// Without a type.
    #[error("the declaration has no type")]
    NoType,
    /// Static values where the map type has none.
    #[error("static values are for maps of maps and program arrays, not for {map_type}")]
    Values {
        /// bpftool name.
        map_type: &'static str,
    },
    /// A static value that names neither a map nor a program.
    #[error("static value {slot} does not name a {expected} of this object ({symbol})")]
    Value {
        /// Index in `values`.
        slot: u64,
        /// What it should name.
        expected: &'static str,
        /// What it names.
        symbol: String,
    },
    /// A legacy declaration shorter than its five fields, or outside the section.
    #[error("a legacy declaration has 20 bytes or more, this has {len}")]
    LegacySize {
        /// Bytes.
        len: u64,
    },
    /// A legacy declaration with more than five fields set.
    #[error(
        "the legacy declaration sets a field at byte {byte}, beyond type, key size, value size, max_entries and map_flags; that is not supported"
    )]
    LegacyField {
        /// Offset of the first byte that is not zero.
        byte: usize,
    },
}

/// Why one program of an object cannot be used, while others can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("function {function}, instruction {insn}{}: {kind}", in_source(.place.as_deref()))]
pub struct ProgramError {
    /// Function of the object, entry or subprogram.
    pub function: String,
    /// Slot in that function.
    pub insn: usize,
    /// File and line that the instruction comes from, if the object says so.
    pub place: Option<Box<str>>,
    /// What is wrong there.
    pub kind: ProgramErrorKind,
}

fn in_source(place: Option<&str>) -> String {
    place.map_or(String::new(), |place| format!(" ({place})"))
}

/// Why a variable of the kernel's configuration has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternErrorKind {
    /// Nothing is known of the kernel.
    #[error(
        "no configuration is given; name a file with it (--kconfig FILE, for example a copy of /proc/config.gz)"
    )]
    NoConfig,
    /// The configuration does not say its version.
    #[error("the configuration does not begin with the kernel's version")]
    NoVersion,
    /// The option is not set, and the variable not weak.
    #[error("the option is not set; declare the variable __weak if it may be absent")]
    NotSet,
    /// A type that no option has.
    #[error("its type is none of bool, char, an integer, enum libbpf_tristate and char[]")]
    Type,
    /// A value that does not fit the variable.
    #[error("the value {value} does not fit the variable's type")]
    Value {
        /// As the configuration has it.
        value: String,
    },
}

/// What is wrong in a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramErrorKind {
    /// A CO-RE relocation.
    #[error("CO-RE relocation {relocation} of {target}: {reason}")]
    CoRe {
        /// Kind of relocation, as libbpf names it.
        relocation: &'static str,
        /// Type and field.
        target: String,
        /// Why there is no answer.
        reason: Box<CoReError>,
    },
    /// A variable of the kernel's configuration.
    #[error("{symbol} is a kernel configuration variable (__kconfig): {kind}")]
    Kconfig {
        /// Variable.
        symbol: String,
        /// Why it has no value.
        kind: ExternErrorKind,
    },
    /// A kernel function.
    #[error("{symbol} is a kernel function (kfunc) that cannot be called here: {missing}")]
    Kfunc {
        /// Function.
        symbol: String,
        /// The one thing that is missing.
        missing: &'static str,
    },
    /// The address of something in the kernel.
    #[error(
        "{symbol} is a kernel variable or function (__ksym), whose address means nothing outside of that kernel"
    )]
    Ksym {
        /// Function or variable.
        symbol: String,
    },
    /// A variable in memory that is shared with user space.
    #[error("{symbol} is in an arena (__arena), which is not supported")]
    Arena {
        /// Variable.
        symbol: String,
    },
    /// A cast between address spaces, which programs with an arena have.
    #[error("a cast between address spaces: arenas (__arena) are not supported")]
    AddressSpaceCast,
    /// A weak symbol that is not defined here.
    #[error(
        "{symbol} is a weak external symbol of neither the kernel's configuration (__kconfig) nor the kernel (__ksym)"
    )]
    WeakExtern {
        /// Symbol.
        symbol: String,
    },
    /// A symbol that is not defined here.
    #[error("{symbol} is not defined in the object; link the objects first (bpftool gen object)")]
    Undefined {
        /// Symbol.
        symbol: String,
    },
    /// A relocation against something that cannot be referred to.
    #[error(
        "relocation of type {relocation} against {symbol} in section {section} is not supported"
    )]
    Relocation {
        /// `r_type`.
        relocation: u32,
        /// Symbol.
        symbol: String,
        /// Its section.
        section: String,
    },
    /// A relocation on an instruction that has no field for it.
    #[error("relocation of type {relocation} on an instruction with opcode {opcode:#04x}")]
    Opcode {
        /// `r_type`.
        relocation: u32,
        /// Opcode.
        opcode: u8,
    },
    /// A reference to a map, a kernel variable or a kernel function without a relocation.
    #[error(
        "a reference (opcode {opcode:#04x}) to a map or to the kernel without a relocation, so that nobody knows to which"
    )]
    Unresolved {
        /// Opcode.
        opcode: u8,
    },
    /// A reference into a map declaration rather than to its start.
    #[error("the reference to {symbol} does not lead to the start of a map")]
    InsideMap {
        /// Symbol.
        symbol: String,
    },
    /// A call or function address that does not lead to a function's start.
    #[error("no function starts at offset {offset:#x} of section {section}")]
    NoFunction {
        /// Section.
        section: String,
        /// Offset in it.
        offset: i64,
    },
    /// The data section holds pointers, which have no value in a program.
    #[error(
        "section {section} holds a pointer (to {symbol}, at offset {offset:#x}), which a program's global data cannot"
    )]
    PointerInData {
        /// Section.
        section: String,
        /// Offset in it.
        offset: u64,
        /// What it points to.
        symbol: String,
    },
    /// A program array that the program uses holds a program that cannot be used.
    #[error("map {map} holds program {program}, which cannot be used: {reason}")]
    StaticValue {
        /// Map.
        map: String,
        /// Program in it.
        program: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// Not valid bytecode.
    #[error("{0}")]
    Decode(DecodeErrorKind),
}
