//! Bytes to typed instructions (RFC 9669). Everything that the encoding alone can get wrong is
//! refused here: unknown opcodes, registers above 10, reserved fields that are not zero. Where
//! jumps and calls lead is the verifier's business.

use super::raw::{
    OP_MASK, RawInsn, SLOT_LEN, SOURCE_REG, WIDE, alu, atomic, call, class, jump, mode, size, wide,
};
use super::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};

/// A program that is not valid bytecode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction {insn}: {kind}")]
pub struct DecodeError {
    /// Slot of the instruction.
    pub insn: usize,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

/// What is wrong with an instruction's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The program ends inside a slot.
    #[error("the program ends after {bytes} of this instruction's 8 bytes")]
    Truncated {
        /// Bytes present.
        bytes: usize,
    },
    /// No instruction has this opcode.
    #[error("unknown opcode {opcode:#04x}")]
    UnknownOpcode {
        /// The opcode.
        opcode: u8,
    },
    /// A register above 10.
    #[error("{field} field names register {number}; there are only r0 to r10")]
    UnknownRegister {
        /// Which field.
        field: Field,
        /// The register's number.
        number: u8,
    },
    /// A field that this instruction does not use is not zero.
    #[error("opcode {opcode:#04x} uses a reserved field: {field} must be 0, not {value}")]
    Reserved {
        /// The opcode.
        opcode: u8,
        /// Which field.
        field: Field,
        /// Its value.
        value: i32,
    },
    /// A field that selects a form of this instruction has a value without meaning.
    #[error("opcode {opcode:#04x} has no form with {field} = {value:#x}")]
    UnknownForm {
        /// The opcode.
        opcode: u8,
        /// Which field.
        field: Field,
        /// Its value.
        value: i32,
    },
    /// An instruction that Linux has beyond RFC 9669 and cpu v4.
    #[error("{what} is not supported")]
    Unsupported {
        /// The instruction's name.
        what: &'static str,
    },
    /// A wide load without its second slot.
    #[error("a wide load needs a second slot with opcode 0, dst 0, src 0 and off 0")]
    BadWideTail,
}

/// A field of a slot, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Destination register.
    Dst,
    /// Source register.
    Src,
    /// Offset.
    Off,
    /// Immediate.
    Imm,
    /// Immediate of a wide load's second slot.
    NextImm,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dst => "dst",
            Self::Src => "src",
            Self::Off => "off",
            Self::Imm => "imm",
            Self::NextImm => "imm of the second slot",
        })
    }
}

type Decoded<T> = Result<T, DecodeErrorKind>;

/// Decodes a program; the result is indexed by slot, as the kernel's logs are.
pub fn decode(bytes: &[u8]) -> Result<Vec<Insn>, DecodeError> {
    let (slots, rest) = bytes.as_chunks::<SLOT_LEN>();
    if !rest.is_empty() {
        let kind = DecodeErrorKind::Truncated { bytes: rest.len() };
        return Err(DecodeError {
            insn: slots.len(),
            kind,
        });
    }
    let mut slots = slots.iter().map(|bytes| RawInsn::from_bytes(*bytes));
    let mut insns = Vec::with_capacity(slots.len());
    while let Some(raw) = slots.next() {
        let insn = insns.len();
        let decoded = if raw.opcode == WIDE {
            decode_wide(raw, slots.next())
        } else {
            decode_slot(raw)
        };
        insns.push(decoded.map_err(|kind| DecodeError { insn, kind })?);
        if raw.opcode == WIDE {
            insns.push(Insn::WideTail);
        }
    }
    Ok(insns)
}

fn decode_slot(raw: RawInsn) -> Decoded<Insn> {
    match raw.opcode & class::MASK {
        class::LD => decode_packet_load(raw),
        class::LDX => decode_load(raw),
        class::ST => decode_store_imm(raw),
        class::STX => match raw.opcode & mode::MASK {
            mode::ATOMIC => decode_atomic(raw),
            _ => decode_store_reg(raw),
        },
        class::ALU => decode_alu(raw, Width::W32),
        class::ALU64 => decode_alu(raw, Width::W64),
        class::JMP => decode_jump(raw, Width::W64),
        // JMP32; the mask leaves eight classes and the other seven are above.
        _ => decode_jump(raw, Width::W32),
    }
}

fn decode_wide(raw: RawInsn, tail: Option<RawInsn>) -> Decoded<Insn> {
    let imm = raw.imm as u32;
    let Some(RawInsn {
        opcode: 0,
        dst: 0,
        src: 0,
        off: 0,
        imm: next_imm,
    }) = tail
    else {
        return Err(DecodeErrorKind::BadWideTail);
    };
    let unless_tail = |value: Imm64| match next_imm {
        0 => Ok(value),
        value => Err(reserved(raw, Field::NextImm, value)),
    };
    must_be_zero(raw, &[Field::Off])?;
    let value = match raw.src {
        wide::NUMBER => Imm64::Number(u64::from(imm) | u64::from(next_imm as u32) << 32),
        wide::MAP | wide::MAP_BY_INDEX => unless_tail(Imm64::Map(imm))?,
        wide::MAP_VALUE | wide::MAP_VALUE_BY_INDEX => Imm64::MapValue {
            map: imm,
            offset: next_imm as u32,
        },
        wide::VARIABLE => unless_tail(Imm64::Variable { btf_id: imm })?,
        wide::FUNCTION => unless_tail(Imm64::Function { offset: raw.imm })?,
        src => return Err(unknown_form(raw, Field::Src, i32::from(src))),
    };
    Ok(Insn::LoadImm64 {
        dst: dst(raw)?,
        value,
    })
}

fn decode_packet_load(raw: RawInsn) -> Decoded<Insn> {
    let size = decode_size(raw.opcode);
    if size == Size::DW {
        return Err(unknown_opcode(raw));
    }
    let mode = match raw.opcode & mode::MASK {
        mode::ABS => {
            must_be_zero(raw, &[Field::Dst, Field::Src, Field::Off])?;
            PacketMode::Absolute
        }
        mode::IND => {
            must_be_zero(raw, &[Field::Dst, Field::Off])?;
            PacketMode::Indirect(src(raw)?)
        }
        _ => return Err(unknown_opcode(raw)),
    };
    Ok(Insn::LoadPacket {
        size,
        mode,
        imm: raw.imm,
    })
}

fn decode_load(raw: RawInsn) -> Decoded<Insn> {
    let size = decode_size(raw.opcode);
    let signed = match raw.opcode & mode::MASK {
        mode::MEM => false,
        mode::MEMSX if size != Size::DW => true,
        _ => return Err(unknown_opcode(raw)),
    };
    must_be_zero(raw, &[Field::Imm])?;
    Ok(Insn::Load {
        size,
        signed,
        dst: dst(raw)?,
        base: src(raw)?,
        off: raw.off,
    })
}

fn decode_store_imm(raw: RawInsn) -> Decoded<Insn> {
    if raw.opcode & mode::MASK != mode::MEM {
        return Err(unknown_opcode(raw));
    }
    must_be_zero(raw, &[Field::Src])?;
    let size = decode_size(raw.opcode);
    Ok(Insn::Store {
        size,
        base: dst(raw)?,
        off: raw.off,
        src: Operand::Imm(raw.imm),
    })
}

fn decode_store_reg(raw: RawInsn) -> Decoded<Insn> {
    if raw.opcode & mode::MASK != mode::MEM {
        return Err(unknown_opcode(raw));
    }
    must_be_zero(raw, &[Field::Imm])?;
    let size = decode_size(raw.opcode);
    Ok(Insn::Store {
        size,
        base: dst(raw)?,
        off: raw.off,
        src: Operand::Reg(src(raw)?),
    })
}

fn decode_atomic(raw: RawInsn) -> Decoded<Insn> {
    // Linux 6.15's BPF_LOAD_ACQ and BPF_STORE_REL, of any size.
    match raw.imm {
        0x100 => {
            return Err(DecodeErrorKind::Unsupported {
                what: "load-acquire",
            });
        }
        0x110 => {
            return Err(DecodeErrorKind::Unsupported {
                what: "store-release",
            });
        }
        _ => {}
    }
    let size = decode_size(raw.opcode);
    if !matches!(size, Size::W | Size::DW) {
        return Err(unknown_opcode(raw));
    }
    let fetch = raw.imm & atomic::FETCH != 0;
    let op = match raw.imm {
        atomic::EXCHANGE => AtomicOp::Exchange,
        atomic::COMPARE_EXCHANGE => AtomicOp::CompareExchange,
        imm => match imm & !atomic::FETCH {
            atomic::ADD => AtomicOp::Add { fetch },
            atomic::OR => AtomicOp::Or { fetch },
            atomic::AND => AtomicOp::And { fetch },
            atomic::XOR => AtomicOp::Xor { fetch },
            _ => return Err(unknown_form(raw, Field::Imm, imm)),
        },
    };
    Ok(Insn::Atomic {
        op,
        size,
        base: dst(raw)?,
        off: raw.off,
        src: src(raw)?,
    })
}

fn decode_alu(raw: RawInsn, width: Width) -> Decoded<Insn> {
    // Signed division and modulo are the unsigned opcodes with offset 1.
    let signed = raw.off == 1;
    let op = match raw.opcode & OP_MASK {
        alu::ADD => AluOp::Add,
        alu::SUB => AluOp::Sub,
        alu::MUL => AluOp::Mul,
        alu::DIV if signed => AluOp::SignedDiv,
        alu::DIV => AluOp::Div,
        alu::OR => AluOp::Or,
        alu::AND => AluOp::And,
        alu::LSH => AluOp::Lsh,
        alu::RSH => AluOp::Rsh,
        alu::MOD if signed => AluOp::SignedMod,
        alu::MOD => AluOp::Mod,
        alu::XOR => AluOp::Xor,
        alu::ARSH => AluOp::Arsh,
        alu::NEG => return decode_neg(raw, width),
        alu::MOV => return decode_mov(raw, width),
        alu::END => return decode_byte_swap(raw, width),
        _ => return Err(unknown_opcode(raw)),
    };
    if !matches!(op, AluOp::SignedDiv | AluOp::SignedMod) {
        must_be_zero(raw, &[Field::Off])?;
    }
    Ok(Insn::Alu {
        op,
        width,
        dst: dst(raw)?,
        src: operand(raw)?,
    })
}

fn decode_neg(raw: RawInsn, width: Width) -> Decoded<Insn> {
    if raw.opcode & SOURCE_REG != 0 {
        return Err(unknown_opcode(raw));
    }
    must_be_zero(raw, &[Field::Src, Field::Off, Field::Imm])?;
    Ok(Insn::Neg {
        width,
        dst: dst(raw)?,
    })
}

fn decode_mov(raw: RawInsn, width: Width) -> Decoded<Insn> {
    if raw.opcode & SOURCE_REG == 0 {
        must_be_zero(raw, &[Field::Off])?;
    }
    let from = match (raw.off, width) {
        (0, _) => {
            return Ok(Insn::Mov {
                width,
                dst: dst(raw)?,
                src: operand(raw)?,
            });
        }
        (8, _) => Size::B,
        (16, _) => Size::H,
        (32, Width::W64) => Size::W,
        (off, _) => return Err(unknown_form(raw, Field::Off, i32::from(off))),
    };
    must_be_zero(raw, &[Field::Imm])?;
    Ok(Insn::MovSigned {
        width,
        dst: dst(raw)?,
        src: src(raw)?,
        from,
    })
}

fn decode_byte_swap(raw: RawInsn, width: Width) -> Decoded<Insn> {
    let big = raw.opcode & SOURCE_REG != 0;
    let order = match (width, big) {
        (Width::W32, false) => ByteOrder::Little,
        (Width::W32, true) => ByteOrder::Big,
        (Width::W64, false) => ByteOrder::Swap,
        (Width::W64, true) => return Err(unknown_opcode(raw)),
    };
    must_be_zero(raw, &[Field::Src, Field::Off])?;
    let bits = match raw.imm {
        16 => SwapWidth::B16,
        32 => SwapWidth::B32,
        64 => SwapWidth::B64,
        imm => return Err(unknown_form(raw, Field::Imm, imm)),
    };
    Ok(Insn::ByteSwap {
        order,
        bits,
        dst: dst(raw)?,
    })
}

fn decode_jump(raw: RawInsn, width: Width) -> Decoded<Insn> {
    let cond = match raw.opcode & OP_MASK {
        jump::EQ => Condition::Eq,
        jump::GT => Condition::Gt,
        jump::GE => Condition::Ge,
        jump::SET => Condition::Set,
        jump::NE => Condition::Ne,
        jump::SIGNED_GT => Condition::SignedGt,
        jump::SIGNED_GE => Condition::SignedGe,
        jump::LT => Condition::Lt,
        jump::LE => Condition::Le,
        jump::SIGNED_LT => Condition::SignedLt,
        jump::SIGNED_LE => Condition::SignedLe,
        _ => return decode_control(raw, width),
    };
    Ok(Insn::JumpIf {
        cond,
        width,
        dst: dst(raw)?,
        src: operand(raw)?,
        off: raw.off,
    })
}

/// The instructions of the jump classes that compare nothing.
fn decode_control(raw: RawInsn, width: Width) -> Decoded<Insn> {
    if raw.opcode & SOURCE_REG != 0 {
        return Err(unknown_opcode(raw));
    }
    match (raw.opcode & OP_MASK, width) {
        (jump::ALWAYS, Width::W64) => {
            must_be_zero(raw, &[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Insn::Jump {
                off: i32::from(raw.off),
                long: false,
            })
        }
        (jump::ALWAYS, Width::W32) => {
            must_be_zero(raw, &[Field::Dst, Field::Src, Field::Off])?;
            Ok(Insn::Jump {
                off: raw.imm,
                long: true,
            })
        }
        (jump::CALL, Width::W64) => decode_call(raw),
        (jump::EXIT, Width::W64) => {
            must_be_zero(raw, &[Field::Dst, Field::Src, Field::Off, Field::Imm])?;
            Ok(Insn::Exit)
        }
        // Source field 0 is Linux's BPF_MAY_GOTO, the only form there is.
        (jump::MAY_GOTO, Width::W64) => {
            must_be_zero(raw, &[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Insn::MayGoto { off: raw.off })
        }
        _ => Err(unknown_opcode(raw)),
    }
}

fn decode_call(raw: RawInsn) -> Decoded<Insn> {
    must_be_zero(raw, &[Field::Dst])?;
    let target = match raw.src {
        call::HELPER => {
            must_be_zero(raw, &[Field::Off])?;
            CallTarget::Helper(raw.imm as u32)
        }
        call::LOCAL => {
            must_be_zero(raw, &[Field::Off])?;
            CallTarget::Local(raw.imm)
        }
        // The offset selects the module's BTF (Linux, `fd_array`).
        call::KFUNC => CallTarget::Kfunc {
            btf_id: raw.imm,
            module: raw.off,
        },
        src => return Err(unknown_form(raw, Field::Src, i32::from(src))),
    };
    Ok(Insn::Call { target })
}

fn decode_size(opcode: u8) -> Size {
    match opcode & size::MASK {
        size::W => Size::W,
        size::H => Size::H,
        size::B => Size::B,
        // DW, the last of the mask's four values.
        _ => Size::DW,
    }
}

/// The second operand by the source bit; the field not used must be zero.
fn operand(raw: RawInsn) -> Decoded<Operand> {
    if raw.opcode & SOURCE_REG == 0 {
        must_be_zero(raw, &[Field::Src])?;
        Ok(Operand::Imm(raw.imm))
    } else {
        must_be_zero(raw, &[Field::Imm])?;
        Ok(Operand::Reg(src(raw)?))
    }
}

fn dst(raw: RawInsn) -> Decoded<Reg> {
    Reg::new(raw.dst).ok_or(DecodeErrorKind::UnknownRegister {
        field: Field::Dst,
        number: raw.dst,
    })
}

fn src(raw: RawInsn) -> Decoded<Reg> {
    Reg::new(raw.src).ok_or(DecodeErrorKind::UnknownRegister {
        field: Field::Src,
        number: raw.src,
    })
}

fn must_be_zero(raw: RawInsn, fields: &[Field]) -> Decoded<()> {
    for &field in fields {
        let value = match field {
            Field::Dst => i32::from(raw.dst),
            Field::Src => i32::from(raw.src),
            Field::Off => i32::from(raw.off),
            Field::Imm | Field::NextImm => raw.imm,
        };
        if value != 0 {
            return Err(reserved(raw, field, value));
        }
    }
    Ok(())
}

fn reserved(raw: RawInsn, field: Field, value: i32) -> DecodeErrorKind {
    DecodeErrorKind::Reserved {
        opcode: raw.opcode,
        field,
        value,
    }
}

fn unknown_form(raw: RawInsn, field: Field, value: i32) -> DecodeErrorKind {
    DecodeErrorKind::UnknownForm {
        opcode: raw.opcode,
        field,
        value,
    }
}

fn unknown_opcode(raw: RawInsn) -> DecodeErrorKind {
    DecodeErrorKind::UnknownOpcode { opcode: raw.opcode }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{arbitrary, encode};
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn slot(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; SLOT_LEN] {
        RawInsn {
            opcode,
            dst,
            src,
            off,
            imm,
        }
        .to_bytes()
    }

    fn check_error(bytes: &[u8], expected: &Expect) {
        expected.assert_eq(&decode(bytes).expect_err("is refused").to_string());
    }

    #[test]
    fn errors_are_readable() {
        check_error(
            &[slot(0xb7, 0, 0, 0, 0), slot(0xff, 0, 0, 0, 0)].concat(),
            &expect!["instruction 1: unknown opcode 0xff"],
        );
        check_error(
            &slot(0xbf, 0, 11, 0, 0),
            &expect!["instruction 0: src field names register 11; there are only r0 to r10"],
        );
        check_error(
            &slot(0x07, 1, 0, 1, 0),
            &expect!["instruction 0: opcode 0x07 uses a reserved field: off must be 0, not 1"],
        );
        check_error(
            &slot(0xdb, 1, 2, 0, 0x30),
            &expect!["instruction 0: opcode 0xdb has no form with imm = 0x30"],
        );
        check_error(
            &slot(0xd3, 1, 2, 0, 0x100),
            &expect!["instruction 0: load-acquire is not supported"],
        );
        check_error(
            &slot(WIDE, 1, 0, 0, 0),
            &expect![
                "instruction 0: a wide load needs a second slot with opcode 0, dst 0, src 0 and off 0"
            ],
        );
        check_error(
            &slot(0x95, 0, 0, 0, 0)[..5],
            &expect!["instruction 0: the program ends after 5 of this instruction's 8 bytes"],
        );
    }

    /// The opcodes of RFC 9669's appendix, plus Linux's `may_goto` (0xe5).
    #[test]
    fn the_256_opcodes_decode_or_are_refused() {
        let accepted = |opcode: u8| {
            let head = slot(opcode, 0, 0, 0, 0);
            let swap = slot(opcode, 0, 0, 0, 16);
            let wide = [head, [0; SLOT_LEN]].concat();
            decode(&head).is_ok() || decode(&swap).is_ok() || decode(&wide).is_ok()
        };
        let mut rows = String::new();
        for high in 0..16 {
            let row: Vec<u8> = (0..16).map(|low| high << 4 | low).collect();
            let marks = row
                .iter()
                .map(|&opcode| if accepted(opcode) { '+' } else { '.' });
            rows.extend(marks.chain(['\n']));
        }
        expect![[r"
            ....++++....+..+
            ....+++++...++++
            +...+++++...++++
            +...++++....++++
            +...+++++...++++
            +...++++....++++
            .+++++++.+++++++
            .+++++++.+++++++
            .+..++.+.+......
            .+..++.+....+..+
            ....++++....++++
            ....++++....++++
            ...+++++....++++
            ....++++...++++.
            .....+..........
            ................
        "]]
        .assert_eq(&rows);
    }

    #[test]
    fn maps_by_index_are_maps() {
        let program = [slot(WIDE, 1, 6, 0, 3), slot(0, 0, 0, 0, 8)].concat();
        let value = Imm64::MapValue { map: 3, offset: 8 };
        assert_eq!(
            decode(&program),
            Ok(vec![
                Insn::LoadImm64 {
                    dst: Reg::R1,
                    value
                },
                Insn::WideTail
            ])
        );
    }

    proptest! {
        #[test]
        fn decode_reverses_encode(program in arbitrary::program(0..40)) {
            prop_assert_eq!(decode(&encode(&program)), Ok(program));
        }

        #[test]
        fn encode_reverses_decode(opcode: u8, registers: u8, off in small_i16(), imm in small_i32(), next: i32) {
            let raw = RawInsn { opcode, dst: registers & 15, src: registers >> 4, off, imm };
            // Maps by index become plain maps, which is the one form that is not kept.
            prop_assume!(raw.opcode != WIDE || raw.src < wide::MAP_BY_INDEX);
            let mut bytes = raw.to_bytes().to_vec();
            if opcode == WIDE {
                bytes.extend(slot(0, 0, 0, 0, next));
            }
            if let Ok(insns) = decode(&bytes) {
                prop_assert_eq!(encode(&insns), bytes);
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Err(error) = decode(&bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    /// Offsets, mostly the few that mean something.
    fn small_i16() -> impl Strategy<Value = i16> {
        prop_oneof![Just(0), Just(1), Just(8), Just(16), Just(32), any::<i16>()]
    }

    /// Immediates, mostly the few that mean something.
    fn small_i32() -> impl Strategy<Value = i32> {
        prop_oneof![3 => Just(0), 1 => 0..256, 1 => any::<i32>()]
    }
}
