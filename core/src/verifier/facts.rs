//! The `Facts` side table: what an offload driver asks the verifier for.

/// Facts of one program, by original instruction slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By slot, one for each slot of the program.
    pub insns: Vec<InsnFacts>,
    /// By function, in the order of [`crate::module::Program::functions`].
    pub functions: Vec<FunctionFacts>,
    /// Every path was followed; what refuses the program, if something does, came later.
    pub complete: bool,
    /// The last byte of the packet that the program may look at, from its start.
    pub last_packet_byte: u32,
}

/// Facts of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Bytes of stack in use, a multiple of 8.
    pub stack_depth: u32,
}

/// Facts of one instruction, over all its visits.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as the kernel keeps them"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InsnFacts {
    /// Some path reaches it.
    pub reachable: bool,
    /// The kernel takes it out before translation: nothing reaches it, or it is a jump to what
    /// would run next anyway.
    pub removed: bool,
    /// The function that it belongs to, by index.
    pub function: u32,
    /// Loads, stores and atomics: the base register.
    pub pointer: Option<PointerFacts>,
    /// On some path, the base register points into the stack of a caller.
    pub caller_stack: bool,
    /// Arithmetic and moves: ranges of destination and source before the instruction. Of a constant
    /// source the range is the constant, sign-extended; where there is no source it is 0.
    pub ranges: Option<(Range, Range)>,
    /// Calls of helpers: arguments.
    pub call: Option<CallFacts>,
    /// Atomic additions: size of the addend.
    pub addend: Option<AddendFacts>,
    /// `exit`: the return value on the last visit.
    pub result: Option<Argument>,
    /// A 32-bit result whose upper half must be zeroed: somebody may read it.
    pub zero_extend: bool,
}

/// A range of unsigned 64-bit values, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
}

impl Range {
    /// Every value.
    pub const FULL: Self = Self {
        min: 0,
        max: u64::MAX,
    };

    /// One value.
    pub const fn constant(value: u64) -> Self {
        Self {
            min: value,
            max: value,
        }
    }

    /// The value, if there is only one.
    pub const fn as_constant(self) -> Option<u64> {
        if self.min == self.max {
            Some(self.min)
        } else {
            None
        }
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// The program's context.
    Context,
    /// Stack of a function, by index of its frame: 0 is the entry's.
    Stack {
        /// Frame.
        frame: u32,
    },
    /// The packet.
    Packet,
    /// The metadata in front of the packet.
    PacketMeta,
    /// The end of the packet; not to be followed.
    PacketEnd,
    /// A map itself.
    Map {
        /// Map, by index in the module.
        map: u32,
    },
    /// A value of a map.
    MapValue {
        /// Map, by index in the module.
        map: u32,
    },
    /// A value of a map, or null.
    MapValueOrNull {
        /// Map, by index in the module.
        map: u32,
    },
}

impl Pointer {
    /// The kind in words, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Context => "the context",
            Self::Stack { .. } => "the stack",
            Self::Packet => "the packet",
            Self::PacketMeta => "the packet's metadata",
            Self::PacketEnd => "the packet's end",
            Self::Map { .. } => "a map",
            Self::MapValue { .. } => "a map value",
            Self::MapValueOrNull { .. } => "a map value that may be null",
        }
    }
}

/// What is known of a number's bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownBits {
    /// The bits that are known; zero where they are not.
    pub value: u64,
    /// The bits that are not known.
    pub mask: u64,
}

impl KnownBits {
    /// The value, if all bits are known.
    pub const fn as_constant(self) -> Option<u64> {
        if self.mask == 0 {
            Some(self.value)
        } else {
            None
        }
    }
}

/// As the kernel prints it (`tnum_strn`).
impl std::fmt::Display for KnownBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |number: u64| match number {
            0 => "0".to_owned(),
            _ => format!("{number:#x}"),
        };
        write!(f, "({}; {})", hex(self.value), hex(self.mask))
    }
}

/// The pointer that an instruction follows or passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerFacts {
    /// What it points to.
    pub to: Pointer,
    /// Known part of its offset, in bytes, without the instruction's own; of the stack from the
    /// frame pointer down.
    pub offset: i64,
    /// What is known of the rest of its offset.
    pub variable: KnownBits,
    /// Packet pointers with equal ids share the part of the offset that is not known; 0 if there is
    /// none.
    pub id: u32,
    /// Into the stack: paths lead here with different offsets; `offset` is that of the last one.
    pub differs_by_path: bool,
}

impl PointerFacts {
    /// The offset, with what is known of its variable part.
    pub const fn place(&self) -> i64 {
        self.offset.wrapping_add(self.variable.value as i64)
    }

    /// The offset depends on a number.
    pub const fn is_variable(&self) -> bool {
        self.variable.mask != 0
    }
}

/// What a register hands on: to a helper, or to who called the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Argument {
    /// Something that is not followed here.
    #[default]
    Other,
    /// Nothing that may be read.
    Unset,
    /// A number.
    Number(KnownBits),
    /// A pointer.
    Pointer(PointerFacts),
}

impl Argument {
    /// The pointer, if it is one.
    pub const fn pointer(self) -> Option<PointerFacts> {
        match self {
            Self::Pointer(pointer) => Some(pointer),
            Self::Other | Self::Unset | Self::Number(_) => None,
        }
    }

    /// The number, if it is a known one.
    pub const fn as_constant(self) -> Option<u64> {
        match self {
            Self::Number(bits) => bits.as_constant(),
            Self::Other | Self::Unset | Self::Pointer(_) => None,
        }
    }
}

/// Arguments of a helper call on its last visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallFacts {
    /// The map in `r1`, by index in the module.
    pub map: Option<u32>,
    /// What is in `r2`.
    pub arg2: Argument,
    /// Some visits differ in the number in `r2`.
    pub arg2_differs: bool,
    /// What is in `r3`.
    pub arg3: Argument,
    /// Map updates: bit n is set unless byte n of the value, on the stack, is known to be zero.
    pub maybe_nonzero: u64,
    /// What is in `r4`.
    pub arg4: Argument,
}

/// What is known of the addend of an atomic addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddendFacts {
    /// It may fit 16 bits.
    pub maybe_16: bool,
    /// It may need more than 16 bits.
    pub over_16: bool,
}
