//! The helper catalogue: one row for each helper that a backend has, and the names of all others.

use super::dynptr::DynptrKind;
use super::names::NAMES;
use crate::module::ProgramType;

/// What a helper takes in one register (`enum bpf_arg_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// Any initialised scalar, or any pointer where the program may leak pointers.
    Anything,
    /// The program's context, unchanged.
    Context,
    /// A map, as a constant.
    Map,
    /// Initialised memory of the map's key size.
    MapKey,
    /// Initialised memory of the map's value size.
    MapValue,
    /// Memory of the map's value size that the helper fills, which need not be initialised; a bloom
    /// filter reads it.
    MapValueWrite,
    /// Memory that the helper reads; its length is in the next register.
    MemoryRead {
        /// A null pointer is fine (with a length of 0).
        nullable: bool,
    },
    /// Memory that the helper fills, which need not be initialised; its length is in the next
    /// register.
    MemoryWrite,
    /// Memory that the helper reads and writes; its length is in the next register.
    MemoryReadWrite {
        /// A null pointer is fine (with a length of 0).
        nullable: bool,
    },
    /// Memory of this many bytes that the helper reads.
    FixedRead {
        /// Bytes.
        bytes: u32,
    },
    /// Aligned memory of this many bytes that the helper fills, which need not be initialised.
    FixedWrite {
        /// Bytes, which are the alignment too.
        bytes: u32,
    },
    /// Aligned memory of this many bytes that the helper reads and writes.
    FixedReadWrite {
        /// Bytes, which are the alignment too.
        bytes: u32,
    },
    /// A string with its zero byte in a frozen map that programs cannot write.
    ConstString,
    /// A function of the program for the helper to call.
    Callback,
    /// Memory on the stack to hand to a callback, or null.
    StackOrNull,
    /// The `struct bpf_spin_lock` of a map value.
    SpinLock,
    /// Length of the memory in the register before.
    Size {
        /// 0 is fine.
        zero: bool,
    },
    /// Length of memory that the helper allocates: a constant.
    AllocationSize,
    /// A ring-buffer record that was reserved and is now given up.
    RingbufRecord,
    /// A dynptr on the stack.
    Dynptr,
    /// Place on the stack for a dynptr that the helper makes, to memory of this kind.
    DynptrUninit(DynptrKind),
    /// The dynptr of a ring-buffer record, which is now given up.
    RingbufDynptr,
    /// Length of the memory that the helper returns a pointer to: a constant, which may be 0.
    ReturnedSize,
    /// A socket that a lookup gave and that is now given up.
    ReleasedSocket,
    /// A socket of any kind.
    Socket,
}

impl Argument {
    /// Whether the next register holds the memory's length.
    pub const fn is_sized_memory(self) -> bool {
        matches!(
            self,
            Self::MemoryRead { .. } | Self::MemoryWrite | Self::MemoryReadWrite { .. }
        )
    }

    /// Whether the helper writes memory that the program hands to it here.
    pub const fn writes_memory(self) -> bool {
        matches!(
            self,
            Self::MemoryWrite
                | Self::MapValueWrite
                | Self::MemoryReadWrite { .. }
                | Self::FixedWrite { .. }
                | Self::FixedReadWrite { .. }
                | Self::StackOrNull
        )
    }
}

/// What a helper leaves in `r0` (`enum bpf_return_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returns {
    /// A number.
    Scalar,
    /// Nothing; `r0` is undefined.
    Nothing,
    /// A pointer to a map value, or null.
    MapValueOrNull,
    /// A pointer to a reserved ring-buffer record, or null; it must be given up.
    RingbufRecordOrNull,
    /// A pointer into a dynptr's memory, or null.
    DynptrMemoryOrNull,
    /// A socket, or null; it must be given up.
    SocketOrNull,
    /// A socket of which only what all kinds share is known, or null; it must be given up.
    CommonSocketOrNull,
}

/// Arguments, return value and conditions of a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Arguments in `r1` to `r5`, as many as there are.
    pub arguments: &'static [Argument],
    /// Return value.
    pub returns: Returns,
    /// Only programs with a GPL-compatible licence may call it.
    pub gpl_only: bool,
    /// It may move or resize the packet, which makes packet pointers invalid.
    pub changes_packet: bool,
    /// Linux program types that have it. `raw` programs have none.
    pub program_types: &'static [ProgramType],
    /// Backends that have it.
    pub backends: HelperBackends,
}

/// Which backends have a helper. The running kernel has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelperBackends {
    /// The simulator's engines.
    pub sim: bool,
    /// The NFP, given firmware that announces it.
    pub nfp: bool,
}

/// One helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Number in the call instruction.
    pub number: u32,
    /// Name with the `bpf_` in front.
    pub name: &'static str,
    /// How it is called, if a backend has it.
    pub prototype: Option<&'static Prototype>,
}

/// The helper with this number, or `None` if Linux has none.
pub fn by_number(number: u32) -> Option<Helper> {
    let name = *NAMES.get(number as usize)?;
    let prototype = CATALOGUE
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, prototype)| prototype);
    (number != 0).then_some(Helper {
        number,
        name,
        prototype,
    })
}

/// The helper with this name, with or without `bpf_` in front.
pub fn by_name(name: &str) -> Option<Helper> {
    let bare = name.strip_prefix("bpf_").unwrap_or(name);
    let number = NAMES
        .iter()
        .position(|known| known.strip_prefix("bpf_") == Some(bare))?;
    by_number(number as u32)
}

/// The helpers that some backend has, by number.
pub fn implemented() -> impl Iterator<Item = Helper> {
    CATALOGUE
        .iter()
        .filter_map(|(number, _)| by_number(*number))
}

use Argument::{
    AllocationSize, Anything, Callback, ConstString, Context, Dynptr, DynptrUninit, FixedRead,
    FixedReadWrite, FixedWrite, Map, MapKey, MapValue, MapValueWrite, MemoryRead, MemoryReadWrite,
    MemoryWrite, ReleasedSocket, ReturnedSize, RingbufDynptr, RingbufRecord, Size, Socket,
    SpinLock, StackOrNull,
};
use ProgramType::{SchedCls, SocketFilter, Xdp};

const ALL_TYPES: &[ProgramType] = &[Xdp, SchedCls, SocketFilter];
const DEVICE_TYPES: &[ProgramType] = &[Xdp, SchedCls];
const XDP_ONLY: &[ProgramType] = &[Xdp];
const SKB_TYPES: &[ProgramType] = &[SchedCls, SocketFilter];
const CLS_ONLY: &[ProgramType] = &[SchedCls];

const SIM: HelperBackends = HelperBackends {
    sim: true,
    nfp: false,
};
const SIM_NFP: HelperBackends = HelperBackends {
    sim: true,
    nfp: true,
};

/// A helper that every program type and the simulator alone have.
const PLAIN: Prototype = Prototype {
    arguments: &[],
    returns: Returns::Scalar,
    gpl_only: false,
    changes_packet: false,
    program_types: ALL_TYPES,
    backends: SIM,
};

/// An XDP helper that moves or resizes the packet.
const ADJUST: Prototype = Prototype {
    arguments: &[Context, Anything],
    changes_packet: true,
    program_types: XDP_ONLY,
    ..PLAIN
};

/// A classifier's helper that leaves the packet where it is.
const CLASSIFY: Prototype = Prototype {
    arguments: &[Context],
    program_types: CLS_ONLY,
    ..PLAIN
};

/// A classifier's helper that changes a checksum.
const REPLACE_CSUM: Prototype = Prototype {
    arguments: &[Context, Anything, Anything, Anything, Anything],
    changes_packet: true,
    ..CLASSIFY
};

/// A helper that looks for a socket by its addresses.
const LOOK_UP_SOCKET: Prototype = Prototype {
    arguments: &[Context, READ, SIZE_OR_ZERO, Anything, Anything],
    returns: Returns::SocketOrNull,
    program_types: DEVICE_TYPES,
    ..PLAIN
};

/// A helper that takes a listening socket and the headers of a packet for it.
const SYNCOOKIE: Prototype = Prototype {
    arguments: &[Socket, READ, SIZE, READ, SIZE],
    gpl_only: true,
    program_types: DEVICE_TYPES,
    ..PLAIN
};

const READ: Argument = MemoryRead { nullable: false };
const READ_OR_NULL: Argument = MemoryRead { nullable: true };
const SIZE: Argument = Size { zero: false };
const SIZE_OR_ZERO: Argument = Size { zero: true };

/// Numbers of the helpers that have a row.
#[expect(missing_docs, reason = "the names are Linux's own")]
pub mod number {
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    pub const MAP_UPDATE_ELEM: u32 = 2;
    pub const MAP_DELETE_ELEM: u32 = 3;
    pub const KTIME_GET_NS: u32 = 5;
    pub const TRACE_PRINTK: u32 = 6;
    pub const GET_PRANDOM_U32: u32 = 7;
    pub const GET_SMP_PROCESSOR_ID: u32 = 8;
    pub const SKB_STORE_BYTES: u32 = 9;
    pub const L3_CSUM_REPLACE: u32 = 10;
    pub const L4_CSUM_REPLACE: u32 = 11;
    pub const TAIL_CALL: u32 = 12;
    pub const GET_CGROUP_CLASSID: u32 = 17;
    pub const REDIRECT: u32 = 23;
    pub const GET_ROUTE_REALM: u32 = 24;
    pub const PERF_EVENT_OUTPUT: u32 = 25;
    pub const SKB_LOAD_BYTES: u32 = 26;
    pub const CSUM_DIFF: u32 = 28;
    pub const SKB_CHANGE_TYPE: u32 = 32;
    pub const GET_HASH_RECALC: u32 = 34;
    pub const SKB_PULL_DATA: u32 = 39;
    pub const CSUM_UPDATE: u32 = 40;
    pub const SET_HASH_INVALID: u32 = 41;
    pub const GET_NUMA_NODE_ID: u32 = 42;
    pub const XDP_ADJUST_HEAD: u32 = 44;
    pub const SET_HASH: u32 = 48;
    pub const REDIRECT_MAP: u32 = 51;
    pub const XDP_ADJUST_META: u32 = 54;
    pub const XDP_ADJUST_TAIL: u32 = 65;
    pub const SKB_LOAD_BYTES_RELATIVE: u32 = 68;
    pub const FIB_LOOKUP: u32 = 69;
    pub const SK_LOOKUP_TCP: u32 = 84;
    pub const SK_LOOKUP_UDP: u32 = 85;
    pub const SK_RELEASE: u32 = 86;
    pub const MAP_PUSH_ELEM: u32 = 87;
    pub const MAP_POP_ELEM: u32 = 88;
    pub const MAP_PEEK_ELEM: u32 = 89;
    pub const SPIN_LOCK: u32 = 93;
    pub const SPIN_UNLOCK: u32 = 94;
    pub const SKC_LOOKUP_TCP: u32 = 99;
    pub const TCP_CHECK_SYNCOOKIE: u32 = 100;
    pub const STRTOL: u32 = 105;
    pub const STRTOUL: u32 = 106;
    pub const TCP_GEN_SYNCOOKIE: u32 = 110;
    pub const JIFFIES64: u32 = 118;
    pub const KTIME_GET_BOOT_NS: u32 = 125;
    pub const RINGBUF_OUTPUT: u32 = 130;
    pub const RINGBUF_RESERVE: u32 = 131;
    pub const RINGBUF_SUBMIT: u32 = 132;
    pub const RINGBUF_DISCARD: u32 = 133;
    pub const RINGBUF_QUERY: u32 = 134;
    pub const KTIME_GET_COARSE_NS: u32 = 160;
    pub const CHECK_MTU: u32 = 163;
    pub const FOR_EACH_MAP_ELEM: u32 = 164;
    pub const SNPRINTF: u32 = 165;
    pub const TRACE_VPRINTK: u32 = 177;
    pub const LOOP: u32 = 181;
    pub const STRNCMP: u32 = 182;
    pub const XDP_GET_BUFF_LEN: u32 = 188;
    pub const XDP_LOAD_BYTES: u32 = 189;
    pub const XDP_STORE_BYTES: u32 = 190;
    pub const DYNPTR_FROM_MEM: u32 = 197;
    pub const RINGBUF_RESERVE_DYNPTR: u32 = 198;
    pub const RINGBUF_SUBMIT_DYNPTR: u32 = 199;
    pub const RINGBUF_DISCARD_DYNPTR: u32 = 200;
    pub const DYNPTR_READ: u32 = 201;
    pub const DYNPTR_WRITE: u32 = 202;
    pub const DYNPTR_DATA: u32 = 203;
    pub const TCP_RAW_GEN_SYNCOOKIE_IPV4: u32 = 204;
    pub const TCP_RAW_GEN_SYNCOOKIE_IPV6: u32 = 205;
    pub const TCP_RAW_CHECK_SYNCOOKIE_IPV4: u32 = 206;
    pub const TCP_RAW_CHECK_SYNCOOKIE_IPV6: u32 = 207;
    pub const KTIME_GET_TAI_NS: u32 = 208;
}

/// Every helper that a backend has, by number. Linux keeps the same facts in one
/// `struct bpf_func_proto` for each helper and one list for each program type.
const CATALOGUE: &[(u32, Prototype)] = &[
    (
        number::MAP_LOOKUP_ELEM,
        Prototype {
            arguments: &[Map, MapKey],
            returns: Returns::MapValueOrNull,
            backends: SIM_NFP,
            ..PLAIN
        },
    ),
    (
        number::MAP_UPDATE_ELEM,
        Prototype {
            arguments: &[Map, MapKey, MapValue, Anything],
            backends: SIM_NFP,
            ..PLAIN
        },
    ),
    (
        number::MAP_DELETE_ELEM,
        Prototype {
            arguments: &[Map, MapKey],
            backends: SIM_NFP,
            ..PLAIN
        },
    ),
    (number::KTIME_GET_NS, PLAIN),
    (
        number::TRACE_PRINTK,
        Prototype {
            // Up to three numbers follow, which the kernel does not check.
            arguments: &[READ, SIZE],
            gpl_only: true,
            ..PLAIN
        },
    ),
    (
        number::GET_PRANDOM_U32,
        Prototype {
            backends: SIM_NFP,
            ..PLAIN
        },
    ),
    (number::GET_SMP_PROCESSOR_ID, PLAIN),
    (
        number::SKB_STORE_BYTES,
        Prototype {
            arguments: &[Context, Anything, READ, SIZE, Anything],
            changes_packet: true,
            ..CLASSIFY
        },
    ),
    (number::L3_CSUM_REPLACE, REPLACE_CSUM),
    (number::L4_CSUM_REPLACE, REPLACE_CSUM),
    (
        number::TAIL_CALL,
        Prototype {
            arguments: &[Context, Map, Anything],
            returns: Returns::Nothing,
            ..PLAIN
        },
    ),
    (number::GET_CGROUP_CLASSID, CLASSIFY),
    (
        number::REDIRECT,
        Prototype {
            arguments: &[Anything, Anything],
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (number::GET_ROUTE_REALM, CLASSIFY),
    (
        number::PERF_EVENT_OUTPUT,
        Prototype {
            arguments: &[Context, Map, Anything, READ, SIZE_OR_ZERO],
            gpl_only: true,
            ..PLAIN
        },
    ),
    (
        number::SKB_LOAD_BYTES,
        Prototype {
            arguments: &[Context, Anything, MemoryWrite, SIZE],
            program_types: SKB_TYPES,
            ..PLAIN
        },
    ),
    (
        number::CSUM_DIFF,
        Prototype {
            arguments: &[
                READ_OR_NULL,
                SIZE_OR_ZERO,
                READ_OR_NULL,
                SIZE_OR_ZERO,
                Anything,
            ],
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::SKB_CHANGE_TYPE,
        Prototype {
            arguments: &[Context, Anything],
            ..CLASSIFY
        },
    ),
    (number::GET_HASH_RECALC, CLASSIFY),
    (
        number::SKB_PULL_DATA,
        Prototype {
            arguments: &[Context, Anything],
            changes_packet: true,
            ..CLASSIFY
        },
    ),
    (
        number::CSUM_UPDATE,
        Prototype {
            arguments: &[Context, Anything],
            ..CLASSIFY
        },
    ),
    (number::SET_HASH_INVALID, CLASSIFY),
    (number::GET_NUMA_NODE_ID, PLAIN),
    (
        number::XDP_ADJUST_HEAD,
        Prototype {
            backends: SIM_NFP,
            ..ADJUST
        },
    ),
    (
        number::SET_HASH,
        Prototype {
            arguments: &[Context, Anything],
            ..CLASSIFY
        },
    ),
    (
        number::REDIRECT_MAP,
        Prototype {
            arguments: &[Map, Anything, Anything],
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (number::XDP_ADJUST_META, ADJUST),
    (
        number::XDP_ADJUST_TAIL,
        Prototype {
            backends: SIM_NFP,
            ..ADJUST
        },
    ),
    (
        number::SKB_LOAD_BYTES_RELATIVE,
        Prototype {
            arguments: &[Context, Anything, MemoryWrite, SIZE, Anything],
            program_types: SKB_TYPES,
            ..PLAIN
        },
    ),
    (
        number::FIB_LOOKUP,
        Prototype {
            arguments: &[Context, MemoryReadWrite { nullable: false }, SIZE, Anything],
            gpl_only: true,
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (number::SK_LOOKUP_TCP, LOOK_UP_SOCKET),
    (number::SK_LOOKUP_UDP, LOOK_UP_SOCKET),
    (
        number::SK_RELEASE,
        Prototype {
            arguments: &[ReleasedSocket],
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::MAP_PUSH_ELEM,
        Prototype {
            arguments: &[Map, MapValue, Anything],
            ..PLAIN
        },
    ),
    (
        number::MAP_POP_ELEM,
        Prototype {
            arguments: &[Map, MapValueWrite],
            ..PLAIN
        },
    ),
    (
        number::MAP_PEEK_ELEM,
        Prototype {
            arguments: &[Map, MapValueWrite],
            ..PLAIN
        },
    ),
    (
        number::SPIN_LOCK,
        Prototype {
            arguments: &[SpinLock],
            returns: Returns::Nothing,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::SPIN_UNLOCK,
        Prototype {
            arguments: &[SpinLock],
            returns: Returns::Nothing,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::SKC_LOOKUP_TCP,
        Prototype {
            returns: Returns::CommonSocketOrNull,
            ..LOOK_UP_SOCKET
        },
    ),
    (number::TCP_CHECK_SYNCOOKIE, SYNCOOKIE),
    (
        number::STRTOL,
        Prototype {
            arguments: &[READ, SIZE, Anything, FixedWrite { bytes: 8 }],
            ..PLAIN
        },
    ),
    (
        number::STRTOUL,
        Prototype {
            arguments: &[READ, SIZE, Anything, FixedWrite { bytes: 8 }],
            ..PLAIN
        },
    ),
    (number::TCP_GEN_SYNCOOKIE, SYNCOOKIE),
    (number::JIFFIES64, PLAIN),
    (number::KTIME_GET_BOOT_NS, PLAIN),
    (
        number::RINGBUF_OUTPUT,
        Prototype {
            arguments: &[Map, READ, SIZE_OR_ZERO, Anything],
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_RESERVE,
        Prototype {
            arguments: &[Map, AllocationSize, Anything],
            returns: Returns::RingbufRecordOrNull,
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_SUBMIT,
        Prototype {
            arguments: &[RingbufRecord, Anything],
            returns: Returns::Nothing,
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_DISCARD,
        Prototype {
            arguments: &[RingbufRecord, Anything],
            returns: Returns::Nothing,
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_QUERY,
        Prototype {
            arguments: &[Map, Anything],
            ..PLAIN
        },
    ),
    (number::KTIME_GET_COARSE_NS, PLAIN),
    (
        number::CHECK_MTU,
        Prototype {
            arguments: &[
                Context,
                Anything,
                FixedReadWrite { bytes: 4 },
                Anything,
                Anything,
            ],
            gpl_only: true,
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (
        number::FOR_EACH_MAP_ELEM,
        Prototype {
            arguments: &[Map, Callback, StackOrNull, Anything],
            ..PLAIN
        },
    ),
    (
        number::SNPRINTF,
        Prototype {
            arguments: &[
                MemoryReadWrite { nullable: true },
                SIZE_OR_ZERO,
                ConstString,
                READ_OR_NULL,
                SIZE_OR_ZERO,
            ],
            gpl_only: true,
            ..PLAIN
        },
    ),
    (
        number::TRACE_VPRINTK,
        Prototype {
            arguments: &[READ, SIZE, READ_OR_NULL, SIZE_OR_ZERO],
            gpl_only: true,
            ..PLAIN
        },
    ),
    (
        number::LOOP,
        Prototype {
            arguments: &[Anything, Callback, StackOrNull, Anything],
            ..PLAIN
        },
    ),
    (
        number::STRNCMP,
        Prototype {
            arguments: &[READ, SIZE, ConstString],
            ..PLAIN
        },
    ),
    (
        number::XDP_GET_BUFF_LEN,
        Prototype {
            arguments: &[Context],
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (
        number::XDP_LOAD_BYTES,
        Prototype {
            arguments: &[Context, Anything, MemoryWrite, SIZE],
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (
        number::XDP_STORE_BYTES,
        Prototype {
            arguments: &[Context, Anything, READ, SIZE],
            program_types: XDP_ONLY,
            ..PLAIN
        },
    ),
    (
        number::DYNPTR_FROM_MEM,
        Prototype {
            arguments: &[
                MemoryWrite,
                SIZE_OR_ZERO,
                Anything,
                DynptrUninit(DynptrKind::Local),
            ],
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_RESERVE_DYNPTR,
        Prototype {
            arguments: &[Map, Anything, Anything, DynptrUninit(DynptrKind::Ringbuf)],
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_SUBMIT_DYNPTR,
        Prototype {
            arguments: &[RingbufDynptr, Anything],
            returns: Returns::Nothing,
            ..PLAIN
        },
    ),
    (
        number::RINGBUF_DISCARD_DYNPTR,
        Prototype {
            arguments: &[RingbufDynptr, Anything],
            returns: Returns::Nothing,
            ..PLAIN
        },
    ),
    (
        number::DYNPTR_READ,
        Prototype {
            arguments: &[MemoryWrite, SIZE_OR_ZERO, Dynptr, Anything, Anything],
            ..PLAIN
        },
    ),
    (
        number::DYNPTR_WRITE,
        Prototype {
            arguments: &[Dynptr, Anything, READ, SIZE_OR_ZERO, Anything],
            ..PLAIN
        },
    ),
    (
        number::DYNPTR_DATA,
        Prototype {
            arguments: &[Dynptr, Anything, ReturnedSize],
            returns: Returns::DynptrMemoryOrNull,
            ..PLAIN
        },
    ),
    (
        number::TCP_RAW_GEN_SYNCOOKIE_IPV4,
        Prototype {
            arguments: &[FixedRead { bytes: 20 }, READ, SIZE_OR_ZERO],
            gpl_only: true,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::TCP_RAW_GEN_SYNCOOKIE_IPV6,
        Prototype {
            arguments: &[FixedRead { bytes: 40 }, READ, SIZE_OR_ZERO],
            gpl_only: true,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::TCP_RAW_CHECK_SYNCOOKIE_IPV4,
        Prototype {
            arguments: &[FixedRead { bytes: 20 }, FixedRead { bytes: 20 }],
            gpl_only: true,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (
        number::TCP_RAW_CHECK_SYNCOOKIE_IPV6,
        Prototype {
            arguments: &[FixedRead { bytes: 40 }, FixedRead { bytes: 20 }],
            gpl_only: true,
            program_types: DEVICE_TYPES,
            ..PLAIN
        },
    ),
    (number::KTIME_GET_TAI_NS, PLAIN),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linux_helper_has_a_name() {
        assert_eq!(NAMES.len(), 212);
        assert_eq!(by_number(0), None);
        assert_eq!(by_number(212), None);
        for number in 1..212 {
            let helper = by_number(number).unwrap();
            assert_eq!(by_name(helper.name), Some(helper));
        }
        assert_eq!(by_number(69).unwrap().name, "bpf_fib_lookup");
        assert_eq!(by_number(211).unwrap().name, "bpf_cgrp_storage_delete");
    }

    #[test]
    fn rows_are_in_order_and_sizes_follow_memory() {
        assert!(CATALOGUE.is_sorted_by_key(|(number, _)| *number));
        for helper in implemented() {
            let arguments = helper.prototype.unwrap().arguments;
            assert!(arguments.len() <= 5, "{}", helper.name);
            for (index, argument) in arguments.iter().enumerate() {
                let is_memory = argument.is_sized_memory();
                let sized = matches!(arguments.get(index + 1), Some(Size { .. }));
                assert_eq!(is_memory, sized, "{}", helper.name);
            }
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one line for each helper")]
    fn the_rows_name_the_helpers_they_mean() {
        let names: Vec<_> = implemented().map(|helper| &helper.name[4..]).collect();
        assert_eq!(
            names,
            [
                "map_lookup_elem",
                "map_update_elem",
                "map_delete_elem",
                "ktime_get_ns",
                "trace_printk",
                "get_prandom_u32",
                "get_smp_processor_id",
                "skb_store_bytes",
                "l3_csum_replace",
                "l4_csum_replace",
                "tail_call",
                "get_cgroup_classid",
                "redirect",
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_change_type",
                "get_hash_recalc",
                "skb_pull_data",
                "csum_update",
                "set_hash_invalid",
                "get_numa_node_id",
                "xdp_adjust_head",
                "set_hash",
                "redirect_map",
                "xdp_adjust_meta",
                "xdp_adjust_tail",
                "skb_load_bytes_relative",
                "fib_lookup",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "map_push_elem",
                "map_pop_elem",
                "map_peek_elem",
                "spin_lock",
                "spin_unlock",
                "skc_lookup_tcp",
                "tcp_check_syncookie",
                "strtol",
                "strtoul",
                "tcp_gen_syncookie",
                "jiffies64",
                "ktime_get_boot_ns",
                "ringbuf_output",
                "ringbuf_reserve",
                "ringbuf_submit",
                "ringbuf_discard",
                "ringbuf_query",
                "ktime_get_coarse_ns",
                "check_mtu",
                "for_each_map_elem",
                "snprintf",
                "trace_vprintk",
                "loop",
                "strncmp",
                "xdp_get_buff_len",
                "xdp_load_bytes",
                "xdp_store_bytes",
                "dynptr_from_mem",
                "ringbuf_reserve_dynptr",
                "ringbuf_submit_dynptr",
                "ringbuf_discard_dynptr",
                "dynptr_read",
                "dynptr_write",
                "dynptr_data",
                "tcp_raw_gen_syncookie_ipv4",
                "tcp_raw_gen_syncookie_ipv6",
                "tcp_raw_check_syncookie_ipv4",
                "tcp_raw_check_syncookie_ipv6",
                "ktime_get_tai_ns",
            ]
        );
    }
}
