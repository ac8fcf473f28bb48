//! What is known of a register or of a spilled one: a number, or a pointer of some kind.

use super::scalar::Scalar;
use crate::helper::DynptrKind;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing that may be read.
    NotInit,
    Scalar,
    Context,
    /// Frame pointer of a function, by index of its frame.
    Stack(u8),
    Packet,
    PacketMeta,
    PacketEnd,
    Map(u32),
    MapValue {
        map: u32,
        nullable: bool,
    },
    /// A key of a map, which only callbacks get.
    MapKey(u32),
    /// A ring-buffer record.
    Record {
        nullable: bool,
    },
    /// Memory of a known size: from the caller of a global function, from a kernel function or
    /// behind a dynptr.
    Memory {
        /// Id of the dynptr, 0 if none.
        dynptr: u32,
        /// A slice, of this kind of dynptr.
        slice: Option<DynptrKind>,
        read_only: bool,
        nullable: bool,
    },
    /// Contents of a dynptr's slot on the stack, never of a register; the first slot is the one at
    /// the lower address.
    Dynptr {
        kind: DynptrKind,
        first: bool,
    },
    /// Contents of an iterator's slot on the stack, never of a register.
    Iterator {
        drained: bool,
        /// How often it gave a number on this path.
        depth: u32,
    },
    Socket {
        socket: Socket,
        nullable: bool,
    },
    /// The address of a function, by its index.
    Function(u32),
}

/// Kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// `struct bpf_sock`, a full socket.
    Full,
    /// `struct sock_common`.
    Common,
    /// `struct bpf_tcp_sock`.
    Tcp,
    /// `struct bpf_xdp_sock`.
    Xdp,
    /// A kernel structure by BTF id.
    Kernel,
}

impl Kind {
    /// Memory that a program may read and write.
    pub(super) const fn memory(nullable: bool) -> Self {
        Self::Memory {
            dynptr: 0,
            slice: None,
            read_only: false,
            nullable,
        }
    }

    pub(super) fn nullable(self) -> bool {
        matches!(
            self,
            Self::MapValue { nullable: true, .. }
                | Self::Record { nullable: true }
                | Self::Memory { nullable: true, .. }
                | Self::Socket { nullable: true, .. }
        )
    }

    /// The pointer once it is known not to be null.
    pub(super) fn not_null(self) -> Self {
        match self {
            Self::MapValue { map, .. } => Self::MapValue {
                map,
                nullable: false,
            },
            Self::Record { .. } => Self::Record { nullable: false },
            Self::Memory {
                dynptr,
                slice,
                read_only,
                ..
            } => Self::Memory {
                dynptr,
                slice,
                read_only,
                nullable: false,
            },
            Self::Socket { socket, .. } => Self::Socket {
                socket,
                nullable: false,
            },
            other => other,
        }
    }

    pub(super) fn is_packet(self) -> bool {
        matches!(self, Self::Packet | Self::PacketMeta)
    }

    pub(super) fn is_any_packet(self) -> bool {
        self.is_packet() || self == Self::PacketEnd
    }

    /// Linux's name (`reg_type_str`).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotInit => "?",
            Self::Scalar => "scalar",
            Self::Context => "ctx",
            Self::Stack(_) => "fp",
            Self::Packet => "pkt",
            Self::PacketMeta => "pkt_meta",
            Self::PacketEnd => "pkt_end",
            Self::Map(_) => "map_ptr",
            Self::MapValue { nullable, .. } => {
                ["map_value", "map_value_or_null"][usize::from(nullable)]
            }
            Self::MapKey(_) => "map_key",
            Self::Record { nullable } => {
                ["ringbuf_mem", "ringbuf_mem_or_null"][usize::from(nullable)]
            }
            Self::Memory {
                read_only,
                nullable,
                ..
            } => match (read_only, nullable) {
                (false, false) => "mem",
                (false, true) => "mem_or_null",
                (true, false) => "rdonly_mem",
                (true, true) => "rdonly_mem_or_null",
            },
            Self::Dynptr { .. } => "dynptr",
            Self::Iterator { .. } => "iter",
            Self::Socket { socket, nullable } => socket.names()[usize::from(nullable)],
            Self::Function(_) => "func",
        }
    }
}

impl Socket {
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Full => ["sock", "sock_or_null"],
            Self::Common => ["sock_common", "sock_common_or_null"],
            Self::Tcp => ["tcp_sock", "tcp_sock_or_null"],
            Self::Xdp => ["xdp_sock", "xdp_sock_or_null"],
            Self::Kernel => ["ptr_", "ptr_or_null_"],
        }
    }
}

/// A packet pointer that was compared with the packet's end, instead of a range.
pub(super) const AT_PACKET_END: i32 = -1;
/// The packet has at most as much as the pointer says.
pub(super) const BEYOND_PACKET_END: i32 = -2;
/// Marks the id of a number that is another one plus a constant, which is then in `offset`.
pub(super) const PLUS_CONSTANT: u32 = 3 << 30;
/// The mark of a sum of 64 bits, and of one of 32 bits, whose upper half is zero.
pub(super) const PLUS_CONSTANT_64: u32 = 1 << 31;
pub(super) const PLUS_CONSTANT_32: u32 = 1 << 30;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register {
    pub(super) kind: Kind,
    /// Known part of a pointer's offset; of a number with [`PLUS_CONSTANT`], the constant.
    pub(super) offset: i32,
    /// Of packet pointers: bytes that are known to be there, or one of the marks above. Of
    /// ring-buffer records and of memory: the size.
    pub(super) range: i32,
    /// The number, or the part of a pointer's offset that is not known.
    pub(super) scalar: Scalar,
    /// Equal ids share what is learnt later: null or not, ranges, values. 0 is none.
    pub(super) id: u32,
    /// The reference that must be given up, 0 if none.
    pub(super) reference: u32,
    /// Slot + 1 of the 32-bit instruction that made it, whose upper half may need zeroing; 0 if
    /// none.
    pub(super) half_written_at: u32,
    /// The program's safety rests on this number's value.
    pub(super) precise: bool,
}

impl Register {
    pub(super) const NOT_INIT: Self = Self {
        kind: Kind::NotInit,
        offset: 0,
        range: 0,
        scalar: Scalar::UNKNOWN,
        id: 0,
        reference: 0,
        half_written_at: 0,
        precise: false,
    };

    pub(super) const UNKNOWN: Self = Self {
        kind: Kind::Scalar,
        ..Self::NOT_INIT
    };

    pub(super) const fn constant(value: u64) -> Self {
        Self {
            scalar: Scalar::constant(value),
            ..Self::UNKNOWN
        }
    }

    /// A pointer to the start of something.
    pub(super) const fn pointer(kind: Kind) -> Self {
        Self {
            kind,
            scalar: Scalar::constant(0),
            ..Self::NOT_INIT
        }
    }

    pub(super) fn is_scalar(&self) -> bool {
        self.kind == Kind::Scalar
    }

    pub(super) fn is_null(&self) -> bool {
        self.is_scalar() && self.scalar.as_const(false) == Some(0)
    }

    /// The id without the mark.
    pub(super) fn base_id(&self) -> u32 {
        self.id & !PLUS_CONSTANT
    }

    /// Everything but ids, marks and how it was written.
    pub(super) fn same_value(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.offset == other.offset
            && self.range == other.range
            && self.scalar == other.scalar
    }
}
