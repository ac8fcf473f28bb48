//! Relocation types of BPF objects (kernel `Documentation/bpf/llvm_reloc.rst`).

/// `R_BPF_64_64`: a wide load.
pub(super) const WIDE: u32 = 1;
/// `R_BPF_64_ABS64`: eight bytes of data.
pub(super) const ABS64: u32 = 2;
/// `R_BPF_64_ABS32`: four bytes of data.
pub(super) const ABS32: u32 = 3;
/// `R_BPF_64_NODYLD32`: four bytes of `.BTF` and `.BTF.ext`.
pub(super) const NODYLD32: u32 = 4;
/// `R_BPF_64_32`: a call.
pub(super) const CALL: u32 = 10;
