//! A large program that costs a verifier time and memory: branches whose paths meet only after a
//! while, and loops.

use super::Candidate;
use super::random::Random;
use crate::isa::{AluOp, Condition, Insn, Operand, Reg, Size, Width, encode};
use crate::module::ProgramType;

/// A program of about `insns` instructions.
pub fn large(insns: usize, seed: u64) -> Candidate {
    let mut random = Random::new(seed);
    let mut program = prologue();
    while program.len() + 120 < insns {
        for _ in 0..4 {
            branches(&mut program, &mut random);
        }
        counted_loop(&mut program, &mut random);
        // The same on all paths from here on.
        let off = random.below(BYTES as usize) as i16;
        program.push(load(Size::B, SUM, PACKET, off));
    }
    program.extend([mov(Reg::R0, 2), Insn::Exit]);
    Candidate {
        program_type: ProgramType::Xdp,
        bytes: encode(&program),
        maps: Vec::new(),
    }
}

const DATA_END: Reg = Reg::R6;
const PACKET: Reg = Reg::R7;
const SUM: Reg = Reg::R8;
const COUNTER: Reg = Reg::R9;
const BYTES: i32 = 64;

fn mov(dst: Reg, imm: i32) -> Insn {
    Insn::Mov {
        width: Width::W64,
        dst,
        src: Operand::Imm(imm),
    }
}

fn copy(dst: Reg, src: Reg) -> Insn {
    Insn::Mov {
        width: Width::W64,
        dst,
        src: Operand::Reg(src),
    }
}

fn alu(op: AluOp, dst: Reg, src: Operand) -> Insn {
    Insn::Alu {
        op,
        width: Width::W64,
        dst,
        src,
    }
}

fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
    Insn::Load {
        size,
        signed: false,
        dst,
        base,
        off,
    }
}

fn jump_if(cond: Condition, dst: Reg, src: Operand, off: i16) -> Insn {
    Insn::JumpIf {
        cond,
        width: Width::W64,
        dst,
        src,
        off,
    }
}

/// Puts a pointer to [`BYTES`] bytes of packet into [`PACKET`].
fn prologue() -> Vec<Insn> {
    vec![
        load(Size::W, PACKET, Reg::R1, 0),
        load(Size::W, DATA_END, Reg::R1, 4),
        copy(Reg::R3, PACKET),
        alu(AluOp::Add, Reg::R3, Operand::Imm(BYTES)),
        jump_if(Condition::Le, Reg::R3, Operand::Reg(DATA_END), 2),
        mov(Reg::R0, 1),
        Insn::Exit,
        mov(SUM, 0),
    ]
}

/// Comparisons of a packet byte, whose branches leave different numbers in registers and on the
/// stack, and an access that rests on one of them.
fn branches(program: &mut Vec<Insn>, random: &mut Random) {
    let off = random.below(BYTES as usize) as i16;
    let slot = -8 * (1 + random.below(8) as i16);
    program.push(load(Size::B, Reg::R1, PACKET, off));
    let ways = 2 + random.below(3) as i32;
    for way in 0..ways {
        let limit = random.below(256) as i32;
        program.extend([
            jump_if(Condition::Gt, Reg::R1, Operand::Imm(limit), 2),
            alu(AluOp::Add, SUM, Operand::Imm(way + 1)),
            alu(AluOp::Xor, Reg::R1, Operand::Imm(way)),
        ]);
    }
    program.extend([
        Insn::Store {
            size: Size::DW,
            base: Reg::R10,
            off: slot,
            src: Operand::Reg(SUM),
        },
        copy(Reg::R2, SUM),
        alu(AluOp::And, Reg::R2, Operand::Imm(31)),
        alu(AluOp::Add, Reg::R2, Operand::Reg(PACKET)),
        copy(Reg::R3, Reg::R2),
        alu(AluOp::Add, Reg::R3, Operand::Imm(1)),
        jump_if(Condition::Gt, Reg::R3, Operand::Reg(DATA_END), 1),
        load(Size::B, Reg::R3, Reg::R2, 0),
        alu(AluOp::And, SUM, Operand::Imm(0xff)),
    ]);
}

/// A loop with a constant number of rounds.
fn counted_loop(program: &mut Vec<Insn>, random: &mut Random) {
    let rounds = 2 + random.below(6) as i32;
    let off = random.below(BYTES as usize) as i16;
    program.extend([
        mov(COUNTER, 0),
        load(Size::B, Reg::R1, PACKET, off),
        jump_if(Condition::Set, Reg::R1, Operand::Imm(1), 1),
        alu(AluOp::Add, SUM, Operand::Imm(1)),
        alu(AluOp::Add, COUNTER, Operand::Imm(1)),
        jump_if(Condition::Lt, COUNTER, Operand::Imm(rounds), -5),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::{Options, verify};

    #[test]
    fn a_large_program_is_accepted_and_costs_something() {
        let module = large(1000, 1).module().expect("instructions");
        let program = &module.programs[0];
        assert!((860..1000).contains(&program.insns.len()));
        let verification = verify(&module, program, Options::default());
        assert_eq!(verification.refusal, None);
        assert!(verification.processed > 4_000, "{}", verification.processed);
    }
}
