//! Forward analysis over the control-flow graph, joining the states of all paths that meet.

use std::collections::BTreeSet;

use super::arithmetic;
use super::facts::{
    AddendFacts, CallFacts, Facts, FunctionFacts, InsnFacts, Pointer, PointerFacts, Range,
};
use super::join::{STACK_BYTES, State, Value};
use crate::helper::{self, Returns};
use crate::isa::{AluOp, AtomicOp, CallTarget, Condition, Imm64, Insn, Operand, Reg, Size, Width};
use crate::module::{Program, ProgramType};

/// Visits of an instruction after which growing ranges are given up.
const VISITS_BEFORE_WIDENING: u32 = 8;

/// What the analysis cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalyzeError {
    /// A call of a function of the program itself, or a callback.
    #[error("instruction {insn}: functions of the program itself cannot be analysed")]
    LocalFunction {
        /// Slot.
        insn: usize,
    },
    /// A kernel function.
    #[error("instruction {insn}: kernel functions cannot be analysed")]
    KernelFunction {
        /// Slot.
        insn: usize,
    },
    /// Control flow that leaves the program.
    #[error("instruction {insn}: control leaves the program")]
    LeavesProgram {
        /// Slot.
        insn: usize,
    },
}

/// Finds the facts of a program.
pub fn analyze(program: &Program) -> Result<Facts, AnalyzeError> {
    let mut analysis = Analysis::new(program);
    let mut work = BTreeSet::from([0]);
    while let Some(insn) = work.pop_first() {
        analysis.visit(insn, &mut work)?;
    }
    Ok(analysis.facts())
}

struct Analysis<'a> {
    program: &'a Program,
    /// State before each instruction; `None` until a path reaches it.
    before: Vec<Option<State>>,
    visits: Vec<u32>,
    /// Lowest stack offset in use, and whether some use is not known.
    stack_depth: i64,
}

impl<'a> Analysis<'a> {
    fn new(program: &'a Program) -> Self {
        let mut before = vec![None; program.insns.len()];
        if let Some(first) = before.first_mut() {
            *first = Some(State::entry());
        }
        Self {
            program,
            visits: vec![0; program.insns.len()],
            before,
            stack_depth: 0,
        }
    }

    fn visit(&mut self, insn: usize, work: &mut BTreeSet<usize>) -> Result<(), AnalyzeError> {
        let outside = AnalyzeError::LeavesProgram { insn };
        let state = self
            .before
            .get(insn)
            .cloned()
            .flatten()
            .ok_or(outside.clone())?;
        self.visits[insn] += 1;
        for (target, after) in self.step(insn, state)? {
            let target = usize::try_from(target)
                .ok()
                .filter(|target| *target < self.before.len());
            let target = target.ok_or(outside.clone())?;
            let widen = self.visits[target] > VISITS_BEFORE_WIDENING;
            let joined = match &self.before[target] {
                Some(known) => known.join(&after, widen),
                None => after,
            };
            if self.before[target].as_ref() != Some(&joined) {
                self.before[target] = Some(joined);
                work.insert(target);
            }
        }
        Ok(())
    }

    /// The states after an instruction, with the slots that they lead to.
    fn step(&mut self, insn: usize, mut state: State) -> Result<Vec<(i64, State)>, AnalyzeError> {
        let mut next = insn as i64 + 1;
        match self.program.insns[insn] {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => alu(&mut state, insn, op, width, dst, src),
            Insn::Mov { width, dst, src } => mov(&mut state, width, dst, src),
            Insn::MovSigned {
                width,
                dst,
                src,
                from,
            } => {
                let value = arithmetic::sign_extend(state.get(src).range(), from, width);
                state.set(dst, Value::Number(value));
            }
            Insn::Neg { width, dst } => {
                let value = arithmetic::negate(state.get(dst).range(), width);
                state.set(dst, Value::Number(value));
            }
            Insn::ByteSwap { bits, dst, .. } => {
                let max = u64::MAX >> (64 - bits.bits());
                state.set(dst, Value::Number(Range { min: 0, max }));
            }
            Insn::LoadImm64 { dst, value } => {
                state.set(dst, wide_value(value, insn)?);
                next += 1;
            }
            Insn::WideTail => return Err(AnalyzeError::LeavesProgram { insn }),
            Insn::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let value = self.load(&state, size, signed, base, off);
                state.set(dst, value);
            }
            Insn::Store {
                size,
                base,
                off,
                src,
            } => self.store(&mut state, size, base, off, src),
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => self.atomic(&mut state, op, size, base, off, src),
            Insn::LoadPacket { size, .. } => load_packet(&mut state, size),
            Insn::Jump { .. } | Insn::MayGoto { .. } | Insn::JumpIf { .. } => {
                return Ok(jump(self.program.insns[insn], insn, state));
            }
            Insn::Call { target } => self.call(&mut state, insn, target)?,
            Insn::Exit => return Ok(Vec::new()),
        }
        Ok(vec![(next, state)])
    }

    fn load(&mut self, state: &State, size: Size, signed: bool, base: Reg, off: i16) -> Value {
        let Value::Pointer {
            to,
            offset,
            id,
            differs,
        } = state.get(base)
        else {
            return loaded_number(size, signed);
        };
        match to {
            Pointer::Context => {
                context_field(self.program.program_type, offset + i64::from(off), size)
            }
            Pointer::Stack { .. } => {
                self.use_stack(offset + i64::from(off));
                if size == Size::DW && id == 0 && !differs {
                    state.load_slot(offset + i64::from(off))
                } else {
                    loaded_number(size, signed)
                }
            }
            Pointer::Packet
            | Pointer::PacketMeta
            | Pointer::PacketEnd
            | Pointer::Map { .. }
            | Pointer::MapValue { .. }
            | Pointer::MapValueOrNull { .. } => loaded_number(size, signed),
        }
    }

    fn store(&mut self, state: &mut State, size: Size, base: Reg, off: i16, src: Operand) {
        let value = operand(state, src);
        match state.get(base) {
            Value::Pointer {
                to: Pointer::Stack { .. },
                offset,
                id: 0,
                differs: false,
            } => {
                self.use_stack(offset + i64::from(off));
                state.store_slots(offset + i64::from(off), size.bytes() as i64, value);
            }
            Value::Pointer {
                to: Pointer::Stack { .. },
                offset,
                ..
            } => {
                self.use_stack(offset + i64::from(off));
                state.forget_stack();
            }
            Value::Pointer { .. } | Value::Number(_) | Value::Unset | Value::Mixed => {}
        }
    }

    fn atomic(
        &mut self,
        state: &mut State,
        op: AtomicOp,
        size: Size,
        base: Reg,
        off: i16,
        src: Reg,
    ) {
        if let Value::Pointer {
            to: Pointer::Stack { .. },
            offset,
            ..
        } = state.get(base)
        {
            self.use_stack(offset + i64::from(off));
            state.forget_stack();
        }
        let old = loaded_number(size, false);
        match op {
            AtomicOp::Add { fetch }
            | AtomicOp::Or { fetch }
            | AtomicOp::And { fetch }
            | AtomicOp::Xor { fetch } => {
                if fetch {
                    state.set(src, old);
                }
            }
            AtomicOp::Exchange => state.set(src, old),
            AtomicOp::CompareExchange => state.set(Reg::R0, old),
        }
    }

    fn call(
        &mut self,
        state: &mut State,
        insn: usize,
        target: CallTarget,
    ) -> Result<(), AnalyzeError> {
        let number = match target {
            CallTarget::Helper(number) => number,
            CallTarget::Local(_) => return Err(AnalyzeError::LocalFunction { insn }),
            CallTarget::Kernel(_) | CallTarget::Kfunc { .. } => {
                return Err(AnalyzeError::KernelFunction { insn });
            }
        };
        let prototype = helper::by_number(number).and_then(|helper| helper.prototype);
        let result = match (
            prototype.map(|prototype| prototype.returns),
            state.get(Reg::R1),
        ) {
            (
                Some(Returns::MapValueOrNull),
                Value::Pointer {
                    to: Pointer::Map { map },
                    ..
                },
            ) => Value::Pointer {
                to: Pointer::MapValueOrNull { map },
                offset: 0,
                id: insn as u32 + 1,
                differs: false,
            },
            (Some(Returns::Scalar), _) => Value::ANY_NUMBER,
            _ => Value::Mixed,
        };
        let writes = prototype.is_none_or(|prototype| {
            prototype
                .arguments
                .iter()
                .any(|argument| argument.writes_memory())
        });
        for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            if let Value::Pointer {
                to: Pointer::Stack { .. },
                offset,
                ..
            } = state.get(reg)
            {
                self.use_stack(offset);
                if writes {
                    state.forget_stack();
                }
            }
            state.set(reg, Value::Unset);
        }
        if prototype.is_none_or(|prototype| prototype.changes_packet) {
            state.forget_packet();
        }
        // A result of the same call in an earlier round of a loop is another value.
        state.forget_id(insn as u32 + 1);
        state.set(Reg::R0, result);
        Ok(())
    }

    fn use_stack(&mut self, offset: i64) {
        self.stack_depth = self.stack_depth.min(offset.max(-STACK_BYTES));
    }

    fn facts(self) -> Facts {
        let insns = self.program.insns.iter().zip(&self.before).enumerate();
        let insns = insns.map(|(index, (insn, state))| {
            let function = self.program.function_of(index) as u32;
            match state {
                Some(state) => InsnFacts {
                    function,
                    ..insn_facts(*insn, state)
                },
                None => InsnFacts {
                    function,
                    ..InsnFacts::default()
                },
            }
        });
        let stack_depth = (-self.stack_depth + 7) as u32 / 8 * 8;
        let insns = insns.collect();
        Facts {
            insns,
            functions: vec![FunctionFacts { stack_depth }; self.program.functions.len().max(1)],
            packet_bytes: None,
        }
    }
}

fn insn_facts(insn: Insn, state: &State) -> InsnFacts {
    let mut facts = InsnFacts {
        reachable: true,
        ..InsnFacts::default()
    };
    match insn {
        Insn::Alu {
            op: _,
            width,
            dst,
            src,
        } => {
            facts.ranges = Some((state.get(dst).range(), operand(state, src).range()));
            facts.zero_extend = width == Width::W32;
        }
        Insn::Neg { width, .. } | Insn::Mov { width, .. } | Insn::MovSigned { width, .. } => {
            facts.zero_extend = width == Width::W32;
        }
        Insn::Load { size, base, .. } => {
            facts.pointer = pointer_facts(state.get(base));
            facts.zero_extend = size != Size::DW;
        }
        Insn::Store { base, .. } => facts.pointer = pointer_facts(state.get(base)),
        Insn::Atomic { op, base, src, .. } => {
            facts.pointer = pointer_facts(state.get(base));
            facts.addend = addend_facts(op, state.get(src));
        }
        Insn::Call {
            target: CallTarget::Helper(_),
        } => facts.call = Some(call_facts(state)),
        Insn::Exit => {
            facts.result = match state.get(Reg::R0) {
                Value::Number(range) => Some(range),
                Value::Pointer { .. } | Value::Unset | Value::Mixed => None,
            };
        }
        Insn::LoadPacket { .. } => facts.zero_extend = true,
        Insn::ByteSwap { .. }
        | Insn::LoadImm64 { .. }
        | Insn::WideTail
        | Insn::Jump { .. }
        | Insn::JumpIf { .. }
        | Insn::MayGoto { .. }
        | Insn::Call {
            target: CallTarget::Local(_) | CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
        } => {}
    }
    facts
}

fn addend_facts(op: AtomicOp, addend: Value) -> Option<AddendFacts> {
    let (AtomicOp::Add { .. }, Value::Number(range)) = (op, addend) else {
        return None;
    };
    Some(AddendFacts {
        maybe_16: range.min <= 0xffff,
        over_16: range.max > 0xffff,
    })
}

fn call_facts(state: &State) -> CallFacts {
    let map = match state.get(Reg::R1) {
        Value::Pointer {
            to: Pointer::Map { map },
            ..
        } => Some(map),
        Value::Pointer { .. } | Value::Number(_) | Value::Unset | Value::Mixed => None,
    };
    let number = |reg| match state.get(reg) {
        Value::Number(range) => Some(range),
        Value::Pointer { .. } | Value::Unset | Value::Mixed => None,
    };
    let pointer = |reg| pointer_facts(state.get(reg));
    CallFacts {
        map,
        arg2: pointer(Reg::R2),
        arg2_range: number(Reg::R2),
        arg3: pointer(Reg::R3),
        arg3_range: number(Reg::R3),
        // The analysis keeps no bytes of the stack.
        maybe_nonzero: u64::MAX,
        arg4: pointer(Reg::R4),
    }
}

fn pointer_facts(value: Value) -> Option<PointerFacts> {
    match value {
        Value::Pointer {
            to,
            offset,
            id,
            differs,
        } => Some(PointerFacts {
            to,
            offset,
            id,
            differs_by_path: differs,
        }),
        Value::Number(_) | Value::Unset | Value::Mixed => None,
    }
}

fn operand(state: &State, src: Operand) -> Value {
    match src {
        Operand::Reg(reg) => state.get(reg),
        Operand::Imm(imm) => Value::Number(Range::constant(i64::from(imm) as u64)),
    }
}

fn alu(state: &mut State, insn: usize, op: AluOp, width: Width, dst: Reg, src: Operand) {
    let (left, right) = (state.get(dst), operand(state, src));
    let result = match (left, right, op, width) {
        (Value::Pointer { .. }, Value::Number(by), AluOp::Add, Width::W64) => {
            moved(left, by, 1, insn)
        }
        (Value::Pointer { .. }, Value::Number(by), AluOp::Sub, Width::W64) => {
            moved(left, by, -1, insn)
        }
        (Value::Number(by), Value::Pointer { .. }, AluOp::Add, Width::W64) => {
            moved(right, by, 1, insn)
        }
        (Value::Number(a), Value::Number(b), _, _) => {
            Value::Number(arithmetic::alu(op, width, a, b))
        }
        // The difference of two pointers, or whatever else is made of them, is a number.
        _ => Value::Number(arithmetic::alu(op, width, Range::FULL, Range::FULL)),
    };
    state.set(dst, result);
}

/// A pointer moved by a number.
fn moved(pointer: Value, by: Range, sign: i64, insn: usize) -> Value {
    let Value::Pointer {
        to,
        offset,
        id,
        differs,
    } = pointer
    else {
        return Value::Mixed;
    };
    match by.as_constant() {
        Some(constant) => {
            let offset = offset.wrapping_add((constant as i64).wrapping_mul(sign));
            Value::Pointer {
                to,
                offset,
                id,
                differs,
            }
        }
        None => Value::Pointer {
            to,
            offset,
            id: insn as u32 + 1,
            differs,
        },
    }
}

fn mov(state: &mut State, width: Width, dst: Reg, src: Operand) {
    let value = match (width, operand(state, src)) {
        (Width::W64, value) => value,
        (Width::W32, value) => Value::Number(arithmetic::truncate(value.range())),
    };
    state.set(dst, value);
}

fn wide_value(value: Imm64, insn: usize) -> Result<Value, AnalyzeError> {
    Ok(match value {
        Imm64::Number(number) => Value::Number(Range::constant(number)),
        Imm64::Map(map) => Value::pointer(Pointer::Map { map }, 0),
        Imm64::MapValue { map, offset } => {
            Value::pointer(Pointer::MapValue { map }, i64::from(offset))
        }
        Imm64::Variable { .. } => return Err(AnalyzeError::KernelFunction { insn }),
        Imm64::Function { .. } => return Err(AnalyzeError::LocalFunction { insn }),
    })
}

fn loaded_number(size: Size, signed: bool) -> Value {
    if signed || size == Size::DW {
        return Value::ANY_NUMBER;
    }
    Value::Number(Range {
        min: 0,
        max: (1 << (8 * size.bytes())) - 1,
    })
}

fn context_field(program_type: ProgramType, offset: i64, size: Size) -> Value {
    let pointer = match (program_type, offset) {
        (ProgramType::Xdp, 0) | (ProgramType::SchedCls, 76) => Some(Pointer::Packet),
        (ProgramType::Xdp, 4) | (ProgramType::SchedCls, 80) => Some(Pointer::PacketEnd),
        (ProgramType::Xdp, 8) | (ProgramType::SchedCls, 140) => Some(Pointer::PacketMeta),
        _ => None,
    };
    pointer
        .filter(|_| size == Size::W)
        .map_or(loaded_number(size, false), |to| Value::pointer(to, 0))
}

fn load_packet(state: &mut State, size: Size) {
    for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        state.set(reg, Value::Unset);
    }
    state.set(Reg::R0, loaded_number(size, false));
}

/// The paths after a jump, each with what its condition says; a path whose condition cannot hold
/// is left out.
fn jump(insn: Insn, index: usize, state: State) -> Vec<(i64, State)> {
    let target = insn.jump_target(index).unwrap_or(index as i64 + 1);
    let next = index as i64 + 1;
    let Insn::JumpIf {
        cond,
        width,
        dst,
        src,
        ..
    } = insn
    else {
        let falls_through = matches!(insn, Insn::MayGoto { .. });
        let through = falls_through.then(|| (next, state.clone()));
        return through.into_iter().chain([(target, state)]).collect();
    };
    let mut paths = Vec::with_capacity(2);
    for (slot, taken) in [(next, false), (target, true)] {
        let mut after = state.clone();
        if assume(&mut after, cond, width, dst, src, taken) {
            paths.push((slot, after));
        }
    }
    paths
}

/// Puts into the state what a condition says if it holds (`taken`) or not; false if that cannot be.
fn assume(
    state: &mut State,
    cond: Condition,
    width: Width,
    dst: Reg,
    src: Operand,
    taken: bool,
) -> bool {
    let (left, right) = (state.get(dst), operand(state, src));
    match (left, right) {
        (
            Value::Pointer {
                to: Pointer::MapValueOrNull { map },
                offset,
                differs,
                ..
            },
            Value::Number(number),
        ) if number.as_constant() == Some(0) && width == Width::W64 => {
            let is_null = match cond {
                Condition::Eq => Some(taken),
                Condition::Ne => Some(!taken),
                _ => None,
            };
            match is_null {
                Some(true) => state.replace(left, Value::Number(Range::constant(0))),
                Some(false) => {
                    state.replace(
                        left,
                        Value::Pointer {
                            to: Pointer::MapValue { map },
                            offset,
                            id: 0,
                            differs,
                        },
                    );
                }
                None => {}
            }
            true
        }
        (Value::Number(a), Value::Number(b)) => {
            let Some((a, b)) = arithmetic::assume(cond, width, a, b, taken) else {
                return false;
            };
            state.set(dst, Value::Number(a));
            if let Operand::Reg(reg) = src {
                state.set(reg, Value::Number(b));
            }
            true
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Program;

    fn program(insns: Vec<Insn>) -> Program {
        Program {
            name: "test".to_owned(),
            section: "xdp".to_owned(),
            program_type: ProgramType::Xdp,
            attach: crate::module::XdpAttach::Device,
            fragments: false,
            insns,
            functions: Vec::new(),
            lines: Vec::new(),
            unresolved: Vec::new(),
        }
    }

    const R0: Reg = Reg::R0;
    const R1: Reg = Reg::R1;
    const R2: Reg = Reg::R2;
    const R10: Reg = Reg::R10;

    fn mov(dst: Reg, src: Operand) -> Insn {
        Insn::Mov {
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

    fn jump_if(cond: Condition, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::JumpIf {
            cond,
            width: Width::W64,
            dst,
            src: Operand::Imm(imm),
            off,
        }
    }

    #[test]
    fn packet_loads_are_typed_also_through_the_stack() {
        let facts = analyze(&program(vec![
            load(Size::W, R2, R1, 0),
            Insn::Store {
                size: Size::DW,
                base: R10,
                off: -16,
                src: Operand::Reg(R2),
            },
            load(Size::DW, R1, R10, -16),
            load(Size::B, R0, R1, 13),
            Insn::Exit,
        ]))
        .unwrap();
        let to: Vec<_> = facts
            .insns
            .iter()
            .map(|facts| facts.pointer.map(|pointer| pointer.to))
            .collect();
        let stack = Some(Pointer::Stack { frame: 0 });
        assert_eq!(
            to,
            [
                Some(Pointer::Context),
                stack,
                stack,
                Some(Pointer::Packet),
                None
            ]
        );
        assert_eq!(facts.functions[0].stack_depth, 16);
    }

    #[test]
    fn a_map_value_is_one_after_the_null_test_only() {
        let facts = analyze(&program(vec![
            Insn::LoadImm64 {
                dst: R1,
                value: Imm64::Map(3),
            },
            Insn::WideTail,
            mov(R2, Operand::Reg(R10)),
            Insn::Call {
                target: CallTarget::Helper(1),
            },
            jump_if(Condition::Eq, R0, 0, 1),
            load(Size::W, R0, R0, 4),
            Insn::Exit,
        ]))
        .unwrap();
        assert_eq!(
            facts.insns[5].pointer.unwrap().to,
            Pointer::MapValue { map: 3 }
        );
        assert_eq!(facts.insns[3].call.unwrap().map, Some(3));
        assert!(!facts.insns[1].reachable && facts.insns[6].reachable);
    }

    #[test]
    fn a_value_that_may_be_a_number_is_no_pointer() {
        let facts = analyze(&program(vec![
            load(Size::W, R2, R1, 16),
            load(Size::W, R0, R1, 0),
            jump_if(Condition::Eq, R2, 0, 1),
            mov(R0, Operand::Imm(1)),
            load(Size::B, R0, R0, 0),
            Insn::Exit,
        ]))
        .unwrap();
        assert_eq!(facts.insns[4].pointer, None);
    }

    #[test]
    fn loops_end_and_keep_no_false_bound() {
        let facts = analyze(&program(vec![
            mov(R0, Operand::Imm(0)),
            Insn::Alu {
                op: AluOp::Add,
                width: Width::W64,
                dst: R0,
                src: Operand::Imm(1),
            },
            Insn::JumpIf {
                cond: Condition::Ne,
                width: Width::W64,
                dst: R0,
                src: Operand::Imm(1000),
                off: -2,
            },
            Insn::Exit,
        ]))
        .unwrap();
        let (range, _) = facts.insns[1].ranges.unwrap();
        assert!(range.max >= 999, "{range:?}");
    }

    #[test]
    fn leaving_the_program_is_an_error() {
        let falls_off = program(vec![mov(R0, Operand::Imm(0))]);
        assert_eq!(
            analyze(&falls_off),
            Err(AnalyzeError::LeavesProgram { insn: 0 })
        );
        assert_eq!(
            analyze(&program(Vec::new())),
            Err(AnalyzeError::LeavesProgram { insn: 0 })
        );
    }
}
