//! Typed instructions: one variant of [`Insn`] for each shape, so that every consumer is an
//! exhaustive match. Opcode bytes appear in `decode.rs` and `encode.rs` only.

use crate::kfunc::Kfunc;

/// A register, `r0` to `r10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// Return value, clobbered by calls.
    pub const R0: Self = Self(0);
    /// First argument, and the context at entry.
    pub const R1: Self = Self(1);
    /// Second argument.
    pub const R2: Self = Self(2);
    /// Third argument.
    pub const R3: Self = Self(3);
    /// Fourth argument.
    pub const R4: Self = Self(4);
    /// Fifth argument.
    pub const R5: Self = Self(5);
    /// First callee-saved register.
    pub const R6: Self = Self(6);
    /// Callee-saved.
    pub const R7: Self = Self(7);
    /// Callee-saved.
    pub const R8: Self = Self(8);
    /// Last callee-saved register.
    pub const R9: Self = Self(9);
    /// Frame pointer, read-only.
    pub const R10: Self = Self(10);
    /// How many registers there are.
    pub const COUNT: usize = 11;

    /// The register with this number, or `None` above 10.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 10 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The register's number, 0 to 10.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The register's number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for Reg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Operation width of arithmetic and jumps. A 32-bit operation zeroes the upper half of its
/// destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits: `w1` in text.
    W32,
    /// 64 bits: `r1` in text.
    W64,
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// One byte, `u8`.
    B,
    /// Two bytes, `u16`.
    H,
    /// Four bytes, `u32`.
    W,
    /// Eight bytes, `u64`.
    DW,
}

impl Size {
    /// The size in bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> usize {
        match self {
            Self::B => 1,
            Self::H => 2,
            Self::W => 4,
            Self::DW => 8,
        }
    }
}

/// Second operand of arithmetic, jumps and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to 64 bits by 64-bit operations.
    Imm(i32),
}

/// Two-operand arithmetic (RFC 9669 section 4.1). Moves, negation and byte swaps have variants of
/// [`Insn`] of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
    /// `/=` unsigned; division by zero gives 0.
    Div,
    /// `s/=` signed; division by zero gives 0.
    SignedDiv,
    /// `|=`
    Or,
    /// `&=`
    And,
    /// `<<=`, the amount masked to the width.
    Lsh,
    /// `>>=` logical.
    Rsh,
    /// `%=` unsigned; modulo zero leaves the destination.
    Mod,
    /// `s%=` signed, with the sign of the dividend; modulo zero leaves the destination.
    SignedMod,
    /// `^=`
    Xor,
    /// `s>>=` arithmetic.
    Arsh,
}

/// What a byte swap converts to (RFC 9669 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// `leN`: to little-endian; truncates on a little-endian machine.
    Little,
    /// `beN`: to big-endian; swaps on a little-endian machine.
    Big,
    /// `bswapN`: swaps whatever the machine's order is (cpu v4).
    Swap,
}

/// Width of a byte swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwapWidth {
    /// 16 bits; the rest of the register becomes zero.
    B16,
    /// 32 bits; the rest of the register becomes zero.
    B32,
    /// 64 bits.
    B64,
}

impl SwapWidth {
    /// The width in bits: 16, 32 or 64.
    pub const fn bits(self) -> u32 {
        match self {
            Self::B16 => 16,
            Self::B32 => 32,
            Self::B64 => 64,
        }
    }
}

/// Condition of a jump (RFC 9669 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `&`: any common bit set.
    Set,
    /// `>` unsigned.
    Gt,
    /// `>=` unsigned.
    Ge,
    /// `<` unsigned.
    Lt,
    /// `<=` unsigned.
    Le,
    /// `s>`
    SignedGt,
    /// `s>=`
    SignedGe,
    /// `s<`
    SignedLt,
    /// `s<=`
    SignedLe,
}

/// Atomic operation on memory (RFC 9669 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// `lock *(..) += rS`; with `fetch` the old value goes to the source register.
    Add {
        /// The old value goes to the source register.
        fetch: bool,
    },
    /// Bitwise or.
    Or {
        /// The old value goes to the source register.
        fetch: bool,
    },
    /// Bitwise and.
    And {
        /// The old value goes to the source register.
        fetch: bool,
    },
    /// Bitwise exclusive or.
    Xor {
        /// The old value goes to the source register.
        fetch: bool,
    },
    /// Exchange; the old value goes to the source register.
    Exchange,
    /// Compare with `r0` and exchange; the old value goes to `r0`.
    CompareExchange,
}

/// Addressing of the legacy packet loads (RFC 9669 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketMode {
    /// `r0 = *(u32 *)skb[imm]`
    Absolute,
    /// `r0 = *(u32 *)skb[rS + imm]`
    Indirect(Reg),
}

/// Value of a wide (two-slot) load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// A plain number (source register field 0).
    Number(u64),
    /// The map with this index in the maps of the module (field 1).
    Map(u32),
    /// Address inside the first value of a map (field 2): global data.
    MapValue {
        /// Index in the maps of the module.
        map: u32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// A kernel variable by BTF id (field 3).
    Variable {
        /// Type id in the kernel's BTF.
        btf_id: u32,
    },
    /// Address of a function for callbacks (field 4).
    Function {
        /// Offset in slots from the instruction after this one's first slot, as in a local call.
        offset: i32,
    },
}

/// What a call instruction calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallTarget {
    /// A helper by number.
    Helper(u32),
    /// A function of the same program: offset in slots from the next instruction.
    Local(i32),
    /// A kernel function of the catalogue. Its instruction has no BTF id yet: each kernel has its
    /// own.
    Kernel(Kfunc),
    /// A kernel function by BTF id; `module` is the offset field (0 = vmlinux).
    Kfunc {
        /// Type id in the kernel's BTF.
        btf_id: i32,
        /// Index into the fd array, 0 for vmlinux.
        module: i16,
    },
}

/// One decoded instruction. Programs are indexed by slot (8 bytes), as the kernel's logs are, so
/// that a wide load is followed by [`Insn::WideTail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Insn {
    /// Two-operand arithmetic.
    Alu {
        /// Operation.
        op: AluOp,
        /// Width.
        width: Width,
        /// Left operand and destination.
        dst: Reg,
        /// Right operand.
        src: Operand,
    },
    /// `dst = src`.
    Mov {
        /// Width.
        width: Width,
        /// Destination.
        dst: Reg,
        /// Source.
        src: Operand,
    },
    /// `dst = (s8)src` and its kin: sign-extending register move (cpu v4).
    MovSigned {
        /// Width of the result; the upper half is zeroed for 32 bits.
        width: Width,
        /// Destination.
        dst: Reg,
        /// Source.
        src: Reg,
        /// Width of the source: B, H or, for 64 bits, W.
        from: Size,
    },
    /// `dst = -dst`.
    Neg {
        /// Width.
        width: Width,
        /// Destination.
        dst: Reg,
    },
    /// `dst = be16 dst` and its kin.
    ByteSwap {
        /// Order to convert to.
        order: ByteOrder,
        /// How many bits.
        bits: SwapWidth,
        /// Destination.
        dst: Reg,
    },
    /// `dst = value ll`: two slots.
    LoadImm64 {
        /// Destination.
        dst: Reg,
        /// Value.
        value: Imm64,
    },
    /// Second slot of the wide load before it; never executed, never a jump target.
    WideTail,
    /// `dst = *(size *)(base + off)`.
    Load {
        /// Size.
        size: Size,
        /// Sign-extend the value (cpu v4).
        signed: bool,
        /// Destination.
        dst: Reg,
        /// Base address.
        base: Reg,
        /// Bytes from the base.
        off: i16,
    },
    /// `*(size *)(base + off) = src`.
    Store {
        /// Size.
        size: Size,
        /// Base address.
        base: Reg,
        /// Bytes from the base.
        off: i16,
        /// Value.
        src: Operand,
    },
    /// Atomic read-modify-write of 4 or 8 bytes.
    Atomic {
        /// Operation.
        op: AtomicOp,
        /// W or DW.
        size: Size,
        /// Base address.
        base: Reg,
        /// Bytes from the base.
        off: i16,
        /// Operand and, with fetch, destination.
        src: Reg,
    },
    /// Legacy packet load into `r0`, big-endian; ends the program if out of bounds.
    LoadPacket {
        /// B, H or W.
        size: Size,
        /// Addressing.
        mode: PacketMode,
        /// Offset in the packet.
        imm: i32,
    },
    /// `goto` (16-bit offset) or `gotol` (32-bit, cpu v4).
    Jump {
        /// Slots from the next instruction.
        off: i32,
        /// Encoded as `gotol`.
        long: bool,
    },
    /// `if dst cond src goto`.
    JumpIf {
        /// Condition.
        cond: Condition,
        /// Width of the comparison.
        width: Width,
        /// Left operand.
        dst: Reg,
        /// Right operand.
        src: Operand,
        /// Slots from the next instruction.
        off: i16,
    },
    /// `may_goto`: leaves a loop when the kernel's budget is used up (cpu v4).
    MayGoto {
        /// Slots from the next instruction.
        off: i16,
    },
    /// `call`.
    Call {
        /// What is called.
        target: CallTarget,
    },
    /// `exit`.
    Exit,
}

impl Insn {
    /// The slot that a jump of this instruction at `index` goes to, as a signed slot number that
    /// may lie outside the program. Calls and function addresses are not jumps.
    pub fn jump_target(&self, index: usize) -> Option<i64> {
        let next = index as i64 + 1;
        match *self {
            Self::Jump { off, .. } => Some(next + i64::from(off)),
            Self::JumpIf { off, .. } | Self::MayGoto { off } => Some(next + i64::from(off)),
            Self::Alu { .. }
            | Self::Mov { .. }
            | Self::MovSigned { .. }
            | Self::Neg { .. }
            | Self::ByteSwap { .. }
            | Self::LoadImm64 { .. }
            | Self::WideTail
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Atomic { .. }
            | Self::LoadPacket { .. }
            | Self::Call { .. }
            | Self::Exit => None,
        }
    }

    /// The map that this instruction loads, or into whose value it points.
    pub fn map_reference(&self) -> Option<u32> {
        match *self {
            Self::LoadImm64 {
                value: Imm64::Map(map) | Imm64::MapValue { map, .. },
                ..
            } => Some(map),
            _ => None,
        }
    }

    /// The slot where the function starts that this instruction at `index` calls, or whose
    /// address it takes.
    pub fn function_target(&self, index: usize) -> Option<i64> {
        let off = match *self {
            Self::Call {
                target: CallTarget::Local(off),
            } => off,
            Self::LoadImm64 {
                value: Imm64::Function { offset },
                ..
            } => offset,
            Self::Call {
                target: CallTarget::Helper(_) | CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
            }
            | Self::LoadImm64 {
                value:
                    Imm64::Number(_) | Imm64::Map(_) | Imm64::MapValue { .. } | Imm64::Variable { .. },
                ..
            }
            | Self::Alu { .. }
            | Self::Mov { .. }
            | Self::MovSigned { .. }
            | Self::Neg { .. }
            | Self::ByteSwap { .. }
            | Self::WideTail
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Atomic { .. }
            | Self::LoadPacket { .. }
            | Self::Jump { .. }
            | Self::JumpIf { .. }
            | Self::MayGoto { .. }
            | Self::Exit => return None,
        };
        Some(index as i64 + 1 + i64::from(off))
    }
}
