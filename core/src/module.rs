//! A module: what a loader makes of one object, before maps are created or a backend is chosen.

use std::sync::Arc;

use crate::isa::Insn;
use crate::map::MapSpec;
use crate::object::ProgramError;

/// Programs, map declarations and type information of one object. Immutable once loaded.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Name, from the manifest or the file.
    pub name: String,
    /// Programs, in the order of their sections and of their place inside them.
    pub programs: Vec<Program>,
    /// Programs of the object that cannot be used, each with the reason.
    pub refused: Vec<RefusedProgram>,
    /// Programs of types that are not for this product.
    pub skipped: Vec<SkippedProgram>,
    /// Map declarations; [`crate::isa::Imm64::Map`] holds an index into this list.
    pub maps: Vec<MapSpec>,
    /// Licence string of the object's `license` section.
    pub license: Option<String>,
    /// Type information as the object has it (`.BTF`), byte for byte but for sizes that only the
    /// linker knows, which the loader fills in.
    pub btf: Option<Vec<u8>>,
}

impl Module {
    /// Whether the licence lets programs call GPL-only helpers, by the kernel's list.
    pub fn is_gpl_compatible(&self) -> bool {
        const COMPATIBLE: [&str; 6] = [
            "GPL",
            "GPL v2",
            "GPL and additional rights",
            "Dual BSD/GPL",
            "Dual MIT/GPL",
            "Dual MPL/GPL",
        ];
        self.license
            .as_deref()
            .is_some_and(|license| COMPATIBLE.contains(&license))
    }

    /// Index of the program with this name.
    pub fn program_index(&self, name: &str) -> Option<usize> {
        self.programs
            .iter()
            .position(|program| program.name == name)
    }

    /// Index of the map with this name.
    pub fn map_index(&self, name: &str) -> Option<usize> {
        self.maps.iter().position(|map| map.name == name)
    }
}

/// A program that needs something that is not supported, or that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProgram {
    /// Name of the entry function.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Why it cannot be used.
    pub error: ProgramError,
}

/// A program that is kept out because of its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedProgram {
    /// Name of the function.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Why it is kept out.
    pub reason: String,
}

/// What kind of program it is, which decides its context and its helpers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_XDP`; context `struct xdp_md`.
    #[default]
    Xdp,
    /// `BPF_PROG_TYPE_SCHED_CLS`; context `struct __sk_buff`.
    SchedCls,
    /// `BPF_PROG_TYPE_SOCKET_FILTER`; context `struct __sk_buff`.
    SocketFilter,
    /// Not a Linux type: r1 is a memory, r2 its length. For conformance suites.
    Raw,
}

impl ProgramType {
    /// Whether the context is a `struct __sk_buff`.
    pub const fn has_socket_buffer(self) -> bool {
        matches!(self, Self::SchedCls | Self::SocketFilter)
    }

    /// The name that vectors use, bpftool's where there is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::SchedCls => "sched_cls",
            Self::SocketFilter => "socket_filter",
            Self::Raw => "raw",
        }
    }
}

/// Where an XDP program attaches (`expected_attach_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XdpAttach {
    /// A device: sections `xdp`, `xdp.frags`, `xdp_*`.
    #[default]
    Device,
    /// An entry of a devmap: runs on egress.
    Devmap,
    /// An entry of a cpumap: runs on the other CPU.
    Cpumap,
}

/// One program with its own subprograms, decoded and relocated. Immutable once loaded: rewrites
/// make a new one with an index map back to this.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the entry function.
    pub name: String,
    /// Section of the entry function.
    pub section: String,
    /// Type.
    pub program_type: ProgramType,
    /// Attach type of an XDP program.
    pub attach: XdpAttach,
    /// The program takes frames with fragments (`xdp.frags`).
    pub fragments: bool,
    /// Instructions by slot.
    pub insns: Vec<Insn>,
    /// Functions in order of their start; the first is the entry, at slot 0.
    pub functions: Vec<Function>,
    /// Source lines in order of their first slot; empty without `.BTF.ext`.
    pub lines: Vec<LineInfo>,
    /// Instructions that need something which the kernel does not have. Programs may hold such as
    /// long as they never reach them.
    pub unresolved: Vec<Unresolved>,
}

impl Program {
    /// The source line that the instruction in this slot comes from.
    pub fn line_of(&self, slot: usize) -> Option<&LineInfo> {
        let after = self
            .lines
            .partition_point(|line| line.insn as usize <= slot);
        after.checked_sub(1).map(|index| &self.lines[index])
    }

    /// Slots that refer to a map of the module or to a place in its value, each with the map.
    pub fn map_references(&self) -> impl Iterator<Item = (usize, u32)> {
        let insns = self.insns.iter().enumerate();
        insns.filter_map(|(slot, insn)| Some((slot, insn.map_reference()?)))
    }

    /// Index of the function that holds this slot.
    pub fn function_of(&self, slot: usize) -> usize {
        self.functions
            .partition_point(|function| function.start as usize <= slot)
            .saturating_sub(1)
    }
}

/// An instruction that was replaced by one that no verifier accepts, for want of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// Slot.
    pub insn: u32,
    /// What is missing.
    pub what: String,
}

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name; empty if the object does not say.
    pub name: String,
    /// First slot.
    pub start: u32,
    /// BTF id of its `FUNC`, if the object has function info.
    pub btf_id: Option<u32>,
}

/// A source line (`.BTF.ext`, `struct bpf_line_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// First slot that belongs to the line.
    pub insn: u32,
    /// File name as compiled.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// Text of the line; may be empty.
    pub text: Arc<str>,
    /// String offsets in the module's BTF, to hand the line on to the kernel: file and text.
    pub btf_offsets: (u32, u32),
}
