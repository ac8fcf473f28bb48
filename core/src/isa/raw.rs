//! Instructions as bytes: the fields of one 8-byte slot (RFC 9669 section 3) and the values of the
//! opcode's parts, which only `decode.rs` and `encode.rs` use.

/// Bytes of a slot.
pub const SLOT_LEN: usize = 8;

/// The fields of one slot, nothing checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawInsn {
    /// Class, and by class: operation and source bit, or mode and size.
    pub opcode: u8,
    /// Destination register field, 0 to 15.
    pub dst: u8,
    /// Source register field, 0 to 15.
    pub src: u8,
    /// Signed offset.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl RawInsn {
    /// Reads a slot in little-endian layout.
    pub fn from_bytes(bytes: [u8; SLOT_LEN]) -> Self {
        let [opcode, registers, off0, off1, imm0, imm1, imm2, imm3] = bytes;
        Self {
            opcode,
            dst: registers & 0xf,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes([imm0, imm1, imm2, imm3]),
        }
    }

    /// Writes the slot in little-endian layout.
    pub fn to_bytes(self) -> [u8; SLOT_LEN] {
        let [off0, off1] = self.off.to_le_bytes();
        let [imm0, imm1, imm2, imm3] = self.imm.to_le_bytes();
        let registers = (self.dst & 0xf) | self.src << 4;
        [self.opcode, registers, off0, off1, imm0, imm1, imm2, imm3]
    }
}

/// Instruction classes: the low three bits (RFC 9669 section 3.2).
pub(super) mod class {
    pub(in crate::isa) const MASK: u8 = 0x07;
    pub(in crate::isa) const LD: u8 = 0x00;
    pub(in crate::isa) const LDX: u8 = 0x01;
    pub(in crate::isa) const ST: u8 = 0x02;
    pub(in crate::isa) const STX: u8 = 0x03;
    pub(in crate::isa) const ALU: u8 = 0x04;
    pub(in crate::isa) const JMP: u8 = 0x05;
    pub(in crate::isa) const JMP32: u8 = 0x06;
    pub(in crate::isa) const ALU64: u8 = 0x07;
}

/// Bit 3 of arithmetic and jumps: the second operand is a register, or a swap is to big-endian.
pub(super) const SOURCE_REG: u8 = 0x08;

/// Operations of arithmetic and jumps: the high four bits.
pub(super) const OP_MASK: u8 = 0xf0;

/// Arithmetic operations (RFC 9669 section 4.1).
pub(super) mod alu {
    pub(in crate::isa) const ADD: u8 = 0x00;
    pub(in crate::isa) const SUB: u8 = 0x10;
    pub(in crate::isa) const MUL: u8 = 0x20;
    pub(in crate::isa) const DIV: u8 = 0x30;
    pub(in crate::isa) const OR: u8 = 0x40;
    pub(in crate::isa) const AND: u8 = 0x50;
    pub(in crate::isa) const LSH: u8 = 0x60;
    pub(in crate::isa) const RSH: u8 = 0x70;
    pub(in crate::isa) const NEG: u8 = 0x80;
    pub(in crate::isa) const MOD: u8 = 0x90;
    pub(in crate::isa) const XOR: u8 = 0xa0;
    pub(in crate::isa) const MOV: u8 = 0xb0;
    pub(in crate::isa) const ARSH: u8 = 0xc0;
    pub(in crate::isa) const END: u8 = 0xd0;
}

/// Jump operations (RFC 9669 section 4.3); `MAY_GOTO` is Linux's `BPF_JCOND`.
pub(super) mod jump {
    pub(in crate::isa) const ALWAYS: u8 = 0x00;
    pub(in crate::isa) const EQ: u8 = 0x10;
    pub(in crate::isa) const GT: u8 = 0x20;
    pub(in crate::isa) const GE: u8 = 0x30;
    pub(in crate::isa) const SET: u8 = 0x40;
    pub(in crate::isa) const NE: u8 = 0x50;
    pub(in crate::isa) const SIGNED_GT: u8 = 0x60;
    pub(in crate::isa) const SIGNED_GE: u8 = 0x70;
    pub(in crate::isa) const CALL: u8 = 0x80;
    pub(in crate::isa) const EXIT: u8 = 0x90;
    pub(in crate::isa) const LT: u8 = 0xa0;
    pub(in crate::isa) const LE: u8 = 0xb0;
    pub(in crate::isa) const SIGNED_LT: u8 = 0xc0;
    pub(in crate::isa) const SIGNED_LE: u8 = 0xd0;
    pub(in crate::isa) const MAY_GOTO: u8 = 0xe0;
}

/// Source register field of a call (RFC 9669 section 4.3.1).
pub(super) mod call {
    pub(in crate::isa) const HELPER: u8 = 0;
    pub(in crate::isa) const LOCAL: u8 = 1;
    pub(in crate::isa) const KFUNC: u8 = 2;
}

/// Modes of loads and stores: the high three bits (RFC 9669 section 5).
pub(super) mod mode {
    pub(in crate::isa) const MASK: u8 = 0xe0;
    pub(in crate::isa) const IMM: u8 = 0x00;
    pub(in crate::isa) const ABS: u8 = 0x20;
    pub(in crate::isa) const IND: u8 = 0x40;
    pub(in crate::isa) const MEM: u8 = 0x60;
    pub(in crate::isa) const MEMSX: u8 = 0x80;
    pub(in crate::isa) const ATOMIC: u8 = 0xc0;
}

/// Sizes of loads and stores: bits 3 and 4.
pub(super) mod size {
    pub(in crate::isa) const MASK: u8 = 0x18;
    pub(in crate::isa) const W: u8 = 0x00;
    pub(in crate::isa) const H: u8 = 0x08;
    pub(in crate::isa) const B: u8 = 0x10;
    pub(in crate::isa) const DW: u8 = 0x18;
}

/// Opcode of the wide load's first slot.
pub(super) const WIDE: u8 = class::LD | mode::IMM | size::DW;

/// Source register field of the wide load (RFC 9669 section 5.4). The `_BY_INDEX` forms differ
/// from the others only in what the kernel takes the number for.
pub(super) mod wide {
    pub(in crate::isa) const NUMBER: u8 = 0;
    pub(in crate::isa) const MAP: u8 = 1;
    pub(in crate::isa) const MAP_VALUE: u8 = 2;
    pub(in crate::isa) const VARIABLE: u8 = 3;
    pub(in crate::isa) const FUNCTION: u8 = 4;
    pub(in crate::isa) const MAP_BY_INDEX: u8 = 5;
    pub(in crate::isa) const MAP_VALUE_BY_INDEX: u8 = 6;
}

/// Immediate of the atomic operations (RFC 9669 section 5.3).
pub(super) mod atomic {
    pub(in crate::isa) const FETCH: i32 = 0x01;
    pub(in crate::isa) const ADD: i32 = 0x00;
    pub(in crate::isa) const OR: i32 = 0x40;
    pub(in crate::isa) const AND: i32 = 0x50;
    pub(in crate::isa) const XOR: i32 = 0xa0;
    pub(in crate::isa) const EXCHANGE: i32 = 0xe0 | FETCH;
    pub(in crate::isa) const COMPARE_EXCHANGE: i32 = 0xf0 | FETCH;
}
