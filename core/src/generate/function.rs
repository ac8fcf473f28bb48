//! Functions: the entry, those that it calls, and the statements in them.

use super::arithmetic::arithmetic;
use super::atomic::atomic;
use super::context::context;
use super::control::{bounded_loop, branch};
use super::helper::helper;
use super::lookup::{self, lookup};
use super::model::{Holds, Model};
use super::packet::{self, packet};
use super::random::Random;
use super::record::record;
use super::stack::stack;
use super::writer::Writer;
use crate::isa::{AluOp, CallTarget, Insn, Operand, Reg, Width};
use crate::module::ProgramType;

/// Functions in a program, the entry not counted.
const MAX_FUNCTIONS: usize = 4;
/// Branches and loops inside each other.
const MAX_DEPTH: usize = 3;
/// Instructions after which a function comes to its end.
const MAX_INSNS: usize = 400;

/// A whole program.
pub(super) fn program(random: Random, program_type: ProgramType, slips: u32) -> Vec<Insn> {
    let mut writer = Writer {
        random,
        program_type,
        insns: Vec::new(),
        model: Model::entry(&[]),
        slips,
        early_exits: Vec::new(),
        functions: vec![vec![Holds::Context]],
        calls: Vec::new(),
        function: 0,
        holds_reference: false,
    };
    let mut starts = Vec::new();
    while starts.len() < writer.functions.len() {
        starts.push(writer.insns.len());
        function(&mut writer, starts.len() - 1);
    }
    for (slot, function) in writer.calls {
        let distance = starts[function] as i32 - slot as i32 - 1;
        writer.insns[slot] = Insn::Call {
            target: CallTarget::Local(distance),
        };
    }
    writer.insns
}

fn function(writer: &mut Writer, index: usize) {
    writer.function = index;
    writer.model = Model::entry(&writer.functions[index]);
    if let Some(context) = writer.holding(|holds| holds == Holds::Context) {
        writer.mov(Reg::R6, context);
        writer.model.reserved |= 1 << Reg::R6.index();
    }
    let count = 2 + writer.random.below(if index == 0 { 12 } else { 4 });
    statements(writer, 0, count);
    result(writer);
    writer.emit(Insn::Exit);
    let early = std::mem::take(&mut writer.early_exits);
    if !early.is_empty() {
        for pending in early {
            writer.land(pending);
        }
        let action = writer.random.below(5) as i32;
        writer.set_number(Reg::R0, action);
        writer.emit(Insn::Exit);
    }
}

/// Leaves a number in `r0`.
fn result(writer: &mut Writer) {
    if writer.slip() {
        return;
    }
    let number = writer.holding(|holds| holds == Holds::Number);
    match number {
        Some(number) if writer.random.chance(50) => {
            writer.mov(Reg::R0, number);
            if writer.random.chance(50) {
                writer.emit(Insn::Alu {
                    op: AluOp::And,
                    width: Width::W64,
                    dst: Reg::R0,
                    src: Operand::Imm(3),
                });
            }
        }
        _ => {
            let action = writer.random.below(5) as i32;
            writer.set_number(Reg::R0, action);
        }
    }
}

/// Some statements, one after the other.
pub(super) fn statements(writer: &mut Writer, depth: usize, count: usize) {
    for _ in 0..count {
        statement(writer, depth);
    }
}

fn statement(writer: &mut Writer, depth: usize) {
    let deep = depth >= MAX_DEPTH || writer.insns.len() > MAX_INSNS * (writer.function + 1);
    match writer.random.below(24) {
        0..=4 => arithmetic(writer),
        5 => context(writer),
        6..=8 => packet(writer),
        9 => packet::access(writer),
        10 | 11 => stack(writer),
        12 | 13 => lookup(writer),
        14 => lookup::access(writer),
        15 | 16 => helper(writer),
        17 => atomic(writer),
        18 => record(writer),
        19 => call(writer),
        20..=22 if !deep => branch(writer, depth + 1),
        _ if !deep => bounded_loop(writer, depth + 1),
        _ => context(writer),
    }
}

/// Calls a function that stands behind this one, an old or a new one.
fn call(writer: &mut Writer) {
    if writer.model.reserved & 0x3f != 0 {
        return;
    }
    let first = writer.function + 1;
    let known = writer.functions.len();
    let callee = if known <= MAX_FUNCTIONS && writer.random.chance(60) {
        let takes_context = writer.holding(|holds| holds == Holds::Context).is_some();
        let arguments = match writer.random.below(3) {
            0 if takes_context => vec![Holds::Context],
            1 if takes_context => vec![Holds::Context, Holds::Number],
            _ => vec![Holds::Number, Holds::Number],
        };
        writer.functions.push(arguments);
        known
    } else if first < known {
        first + writer.random.below(known - first)
    } else {
        return;
    };
    let arguments = writer.functions[callee].clone();
    if arguments.contains(&Holds::Context) && writer.model.of(Reg::R6) != Holds::Context {
        return;
    }
    for (index, holds) in arguments.iter().enumerate() {
        let reg = Reg::new(index as u8 + 1).expect("an argument register");
        if *holds == Holds::Context {
            writer.mov(reg, Reg::R6);
        } else {
            let number = writer.random.immediate();
            writer.set_number(reg, number);
        }
    }
    writer.calls.push((writer.insns.len(), callee));
    writer.emit(Insn::Call {
        target: CallTarget::Local(0),
    });
    writer.model.after_call();
    writer.model.set(Reg::R0, Holds::Number);
}
