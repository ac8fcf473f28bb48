//! The catalogue: one row for each kernel function that programs may call here, and the names of
//! those that are refused with what is missing.

use crate::module::ProgramType;

/// A kernel function that every backend of packets has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are Linux's own, without `bpf_`")]
pub enum Kfunc {
    IterNumNew,
    IterNumNext,
    IterNumDestroy,
    DynptrFromXdp,
    DynptrFromSkb,
    DynptrSlice,
    DynptrSliceRdwr,
    DynptrAdjust,
    DynptrSize,
    DynptrIsNull,
    DynptrIsRdonly,
    DynptrClone,
    XdpMetadataRxHash,
    XdpMetadataRxTimestamp,
    XdpMetadataRxVlanTag,
}

/// What a kernel function takes in one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KfuncArgument {
    /// A number.
    Scalar,
    /// The program's context, unchanged.
    Context,
    /// A number iterator on the stack; which state it must be in depends on the function.
    NumberIterator,
    /// A dynptr on the stack.
    Dynptr,
    /// Place on the stack for a dynptr that the function makes.
    DynptrUninit,
    /// Memory that the function may read and write, or null; its constant length is in the next
    /// register.
    BufferOrNull,
    /// Length of the memory in the register before: a constant.
    ConstantSize,
    /// Memory of this many bytes that the function writes.
    Memory {
        /// Bytes.
        bytes: u32,
    },
}

/// What a kernel function leaves in `r0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KfuncReturns {
    /// Nothing; `r0` is undefined.
    Nothing,
    /// A number of this many bytes.
    Scalar {
        /// Bytes.
        bytes: u32,
    },
    /// A pointer to the number that an iterator stands at, which the program may read, or null.
    IteratorNumber,
    /// A pointer into a dynptr's memory, of the constant size in the last argument, or null.
    Slice {
        /// The program may write there.
        writable: bool,
    },
}

/// Arguments, return value and conditions of a kernel function. Linux takes them from the
/// function's BTF, the names of its parameters and its flags (`KF_...`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KfuncPrototype {
    /// Arguments in `r1` to `r5`, as many as there are.
    pub arguments: &'static [KfuncArgument],
    /// Return value.
    pub returns: KfuncReturns,
    /// Pointers must not be null (`KF_TRUSTED_ARGS`).
    pub trusted: bool,
    /// The driver of a device implements it, so the program must be bound to one.
    pub of_device: bool,
    /// Linux program types that have it. `raw` programs have none.
    pub program_types: &'static [ProgramType],
}

use KfuncArgument::{
    BufferOrNull, ConstantSize, Context, Dynptr, DynptrUninit, Memory, NumberIterator, Scalar,
};
use ProgramType::{SchedCls, SocketFilter, Xdp};

const INT: KfuncReturns = KfuncReturns::Scalar { bytes: 4 };
const BOOL: KfuncReturns = KfuncReturns::Scalar { bytes: 1 };

const PLAIN: KfuncPrototype = KfuncPrototype {
    arguments: &[Dynptr],
    returns: INT,
    trusted: false,
    of_device: false,
    program_types: &[Xdp, SchedCls, SocketFilter],
};

const SLICE: KfuncPrototype = KfuncPrototype {
    arguments: &[Dynptr, Scalar, BufferOrNull, ConstantSize],
    ..PLAIN
};

const METADATA: KfuncPrototype = KfuncPrototype {
    trusted: true,
    of_device: true,
    program_types: &[Xdp],
    ..PLAIN
};

/// Every kernel function with its name.
const CATALOGUE: &[(Kfunc, &str, KfuncPrototype)] = &[
    (
        Kfunc::IterNumNew,
        "bpf_iter_num_new",
        KfuncPrototype {
            arguments: &[NumberIterator, Scalar, Scalar],
            ..PLAIN
        },
    ),
    (
        Kfunc::IterNumNext,
        "bpf_iter_num_next",
        KfuncPrototype {
            arguments: &[NumberIterator],
            returns: KfuncReturns::IteratorNumber,
            ..PLAIN
        },
    ),
    (
        Kfunc::IterNumDestroy,
        "bpf_iter_num_destroy",
        KfuncPrototype {
            arguments: &[NumberIterator],
            returns: KfuncReturns::Nothing,
            ..PLAIN
        },
    ),
    (
        Kfunc::DynptrFromXdp,
        "bpf_dynptr_from_xdp",
        KfuncPrototype {
            arguments: &[Context, Scalar, DynptrUninit],
            program_types: &[Xdp],
            ..PLAIN
        },
    ),
    (
        Kfunc::DynptrFromSkb,
        "bpf_dynptr_from_skb",
        KfuncPrototype {
            arguments: &[Context, Scalar, DynptrUninit],
            trusted: true,
            program_types: &[SchedCls, SocketFilter],
            ..PLAIN
        },
    ),
    (
        Kfunc::DynptrSlice,
        "bpf_dynptr_slice",
        KfuncPrototype {
            returns: KfuncReturns::Slice { writable: false },
            ..SLICE
        },
    ),
    (
        Kfunc::DynptrSliceRdwr,
        "bpf_dynptr_slice_rdwr",
        KfuncPrototype {
            returns: KfuncReturns::Slice { writable: true },
            ..SLICE
        },
    ),
    (
        Kfunc::DynptrAdjust,
        "bpf_dynptr_adjust",
        KfuncPrototype {
            arguments: &[Dynptr, Scalar, Scalar],
            ..PLAIN
        },
    ),
    (Kfunc::DynptrSize, "bpf_dynptr_size", PLAIN),
    (
        Kfunc::DynptrIsNull,
        "bpf_dynptr_is_null",
        KfuncPrototype {
            returns: BOOL,
            ..PLAIN
        },
    ),
    (
        Kfunc::DynptrIsRdonly,
        "bpf_dynptr_is_rdonly",
        KfuncPrototype {
            returns: BOOL,
            ..PLAIN
        },
    ),
    (
        Kfunc::DynptrClone,
        "bpf_dynptr_clone",
        KfuncPrototype {
            arguments: &[Dynptr, DynptrUninit],
            ..PLAIN
        },
    ),
    (
        Kfunc::XdpMetadataRxHash,
        "bpf_xdp_metadata_rx_hash",
        KfuncPrototype {
            arguments: &[Context, Memory { bytes: 4 }, Memory { bytes: 4 }],
            ..METADATA
        },
    ),
    (
        Kfunc::XdpMetadataRxTimestamp,
        "bpf_xdp_metadata_rx_timestamp",
        KfuncPrototype {
            arguments: &[Context, Memory { bytes: 8 }],
            ..METADATA
        },
    ),
    (
        Kfunc::XdpMetadataRxVlanTag,
        "bpf_xdp_metadata_rx_vlan_tag",
        KfuncPrototype {
            arguments: &[Context, Memory { bytes: 2 }, Memory { bytes: 2 }],
            ..METADATA
        },
    ),
];

/// Conntrack: who calls these looks connections up, or makes them.
const CONNTRACK: &[&str] = &[
    "bpf_xdp_ct_lookup",
    "bpf_xdp_ct_alloc",
    "bpf_skb_ct_lookup",
    "bpf_skb_ct_alloc",
    "bpf_ct_insert_entry",
    "bpf_ct_release",
    "bpf_ct_set_timeout",
    "bpf_ct_change_timeout",
    "bpf_ct_set_status",
    "bpf_ct_change_status",
    "bpf_ct_set_nat_info",
];

impl Kfunc {
    /// The kernel function with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        let row = CATALOGUE.iter().find(|row| row.1 == name)?;
        Some(row.0)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        CATALOGUE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, KfuncPrototype) {
        &CATALOGUE[self as usize]
    }

    /// Its name, with the `bpf_` in front.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// How it is called.
    pub fn prototype(self) -> &'static KfuncPrototype {
        &self.row().2
    }
}

/// What is missing for a kernel function that Linux has and no backend here.
pub fn missing(name: &str) -> &'static str {
    if CONNTRACK.contains(&name) {
        "connection tracking (conntrack) is missing: there is no table of connections to look up"
    } else {
        "it is not in the catalogue of kernel functions"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_numbers() {
        for (index, (kfunc, name, prototype)) in CATALOGUE.iter().enumerate() {
            assert_eq!(*kfunc as usize, index);
            assert_eq!(kfunc.name(), *name);
            assert_eq!(Kfunc::by_name(name), Some(*kfunc));
            assert!(prototype.arguments.len() <= 5);
        }
        assert_eq!(Kfunc::by_name("bpf_xdp_ct_lookup"), None);
        assert!(missing("bpf_xdp_ct_lookup").contains("conntrack"));
        assert!(!missing("bpf_other").contains("conntrack"));
    }
}
