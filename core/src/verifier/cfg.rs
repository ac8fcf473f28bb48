//! Control flow: whether every jump stays in its function and every instruction can be reached,
//! and where states are worth remembering. The walk is Linux's (`check_cfg`), because its order
//! decides which message comes first.

use super::callback::calls_back;
use super::iterator::is_next_call;
use super::reject::{Check, reject};
use crate::isa::{CallTarget, Imm64, Insn};
use crate::module::Program;
use bitvec::bitvec;

/// What control flow says of an instruction.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent marks, not the states of a machine"
)]
pub(super) struct Flow {
    /// States are compared and remembered here.
    pub(super) prune_point: bool,
    /// The way here is recorded.
    pub(super) jump_point: bool,
    /// States are always remembered here.
    pub(super) force_checkpoint: bool,
    /// A helper that calls a function of the program is called here.
    pub(super) calls_back: bool,
}

/// Checks the functions' bounds: jumps stay inside, and nothing falls out at the end.
pub(super) fn check_functions(program: &Program) -> Check {
    for (index, function) in program.functions.iter().enumerate() {
        let start = function.start as usize;
        let next = program.functions.get(index + 1);
        let end = next.map_or(program.insns.len(), |next| next.start as usize);
        for slot in start..end {
            let insn = &program.insns[slot];
            if let Some(target) = insn.jump_target(slot)
                && !(start as i64..end as i64).contains(&target)
            {
                return reject(format!("jump out of range from insn {slot} to {target}"));
            }
        }
        let last = program.insns.get(end.wrapping_sub(1));
        if !matches!(last, Some(Insn::Exit | Insn::Jump { .. })) {
            return reject("last insn is not an exit or jmp");
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Visit {
    New,
    Discovered,
    FallThrough,
    Branch,
    Explored,
}

struct Walk<'a> {
    insns: &'a [Insn],
    visits: Vec<Visit>,
    stack: Vec<usize>,
    flow: Vec<Flow>,
}

/// Walks all edges and gives what they say of each instruction.
pub(super) fn check_flow(program: &Program) -> Check<Vec<Flow>> {
    let count = program.insns.len();
    let mut walk = Walk {
        insns: &program.insns,
        visits: vec![Visit::New; count],
        stack: vec![0],
        flow: vec![Flow::default(); count],
    };
    walk.visits[0] = Visit::Discovered;
    while let Some(&slot) = walk.stack.last() {
        if !walk.visit(slot)? {
            walk.visits[slot] = Visit::Explored;
            walk.stack.pop();
        }
    }
    for slot in 0..count {
        match walk.insns[slot] {
            Insn::WideTail if walk.visits[slot] != Visit::New => {
                return reject(format!("jump into the middle of ldimm64 insn {}", slot - 1));
            }
            Insn::WideTail => {}
            _ if walk.visits[slot] != Visit::Explored => {
                return reject(format!("unreachable insn {slot}"));
            }
            _ => {}
        }
    }
    Ok(walk.flow)
}

impl Walk<'_> {
    /// Goes one edge further; false when the instruction has none left.
    fn visit(&mut self, slot: usize) -> Check<bool> {
        let next = slot as i64 + 1;
        match self.insns[slot] {
            Insn::Exit => Ok(false),
            insn @ Insn::Jump { .. } => {
                let target = insn.jump_target(slot).unwrap_or(next);
                let pushed = self.push(slot, target, Visit::FallThrough)?;
                self.mark(target);
                Ok(pushed)
            }
            insn @ (Insn::JumpIf { .. } | Insn::MayGoto { .. }) => {
                self.flow[slot].prune_point = true;
                self.flow[slot].force_checkpoint |= matches!(insn, Insn::MayGoto { .. });
                let target = insn.jump_target(slot).unwrap_or(next);
                Ok(self.push(slot, next, Visit::FallThrough)?
                    || self.push(slot, target, Visit::Branch)?)
            }
            insn @ Insn::Call { target } => {
                if is_next_call(&insn) {
                    self.flow[slot].prune_point = true;
                    self.flow[slot].force_checkpoint = true;
                }
                if calls_back(&insn) {
                    let flow = &mut self.flow[slot];
                    (flow.calls_back, flow.force_checkpoint) = (true, true);
                    self.mark(slot as i64);
                }
                let local = matches!(target, CallTarget::Local(_));
                self.visit_call(slot, next, insn.function_target(slot).filter(|_| local))
            }
            insn @ Insn::LoadImm64 { value, .. } => {
                if matches!(value, Imm64::Function { .. }) {
                    self.visit_call(slot, next + 1, insn.function_target(slot))
                } else {
                    self.push(slot, next + 1, Visit::FallThrough)
                }
            }
            Insn::Alu { .. }
            | Insn::Mov { .. }
            | Insn::MovSigned { .. }
            | Insn::Neg { .. }
            | Insn::ByteSwap { .. }
            | Insn::WideTail
            | Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::Atomic { .. }
            | Insn::LoadPacket { .. } => self.push(slot, next, Visit::FallThrough),
        }
    }

    fn visit_call(&mut self, slot: usize, next: i64, callee: Option<i64>) -> Check<bool> {
        if self.push(slot, next, Visit::FallThrough)? {
            return Ok(true);
        }
        self.mark(next);
        let Some(callee) = callee else {
            return Ok(false);
        };
        self.flow[slot].prune_point = true;
        self.push(slot, callee, Visit::Branch)
    }

    fn mark(&mut self, slot: i64) {
        if let Some(flow) = self.flow.get_mut(slot as usize) {
            flow.prune_point = true;
            flow.jump_point = true;
        }
    }

    fn push(&mut self, from: usize, to: i64, edge: Visit) -> Check<bool> {
        if self.visits[from] >= edge {
            return Ok(false);
        }
        let count = self.insns.len() as i64;
        if to < 0 || to >= count {
            return reject(format!("jump out of range from insn {from} to {to}"));
        }
        if edge == Visit::Branch {
            self.mark(to);
        }
        let target = &mut self.visits[to as usize];
        match *target {
            Visit::New => {
                *target = Visit::Discovered;
                self.visits[from] = edge;
                self.stack.push(to as usize);
                return Ok(true);
            }
            Visit::Explored => self.visits[from] = edge,
            Visit::Discovered | Visit::FallThrough | Visit::Branch => {}
        }
        Ok(false)
    }
}

/// Slots that may run after this one in the same function.
pub(super) fn successors(insns: &[Insn], slot: usize) -> impl Iterator<Item = usize> {
    let insn = &insns[slot];
    let wide = matches!(insn, Insn::LoadImm64 { .. });
    let falls = !matches!(insn, Insn::Exit | Insn::Jump { .. });
    let next = falls.then_some(slot + 1 + usize::from(wide));
    let target = insn.jump_target(slot).map(|target| target as usize);
    let count = insns.len();
    next.into_iter()
        .chain(target)
        .filter(move |slot| *slot < count)
}

/// Numbers of the loops that instructions are in, 0 for none: the strongly connected components
/// of each function's control flow, found by Tarjan's algorithm with its own stack.
pub(super) fn loops(insns: &[Insn]) -> Vec<u32> {
    let count = insns.len();
    let mut order = vec![0_usize; count];
    let mut low = vec![0_usize; count];
    let mut on_stack = bitvec![0; count];
    let mut found = vec![0_u32; count];
    let (mut stack, mut next_order, mut next_loop) = (Vec::new(), 1, 1);
    for root in 0..count {
        if order[root] != 0 || insns[root] == Insn::WideTail {
            continue;
        }
        let mut work = vec![(root, 0_usize)];
        while let Some((slot, edge)) = work.pop() {
            if edge == 0 {
                (order[slot], low[slot]) = (next_order, next_order);
                next_order += 1;
                stack.push(slot);
                on_stack.set(slot, true);
            }
            if let Some(to) = successors(insns, slot).nth(edge) {
                work.push((slot, edge + 1));
                if order[to] == 0 {
                    work.push((to, 0));
                } else if on_stack[to] {
                    low[slot] = low[slot].min(order[to]);
                }
                continue;
            }
            if let Some((parent, _)) = work.last() {
                low[*parent] = low[*parent].min(low[slot]);
            }
            if low[slot] != order[slot] {
                continue;
            }
            let start = stack
                .iter()
                .rposition(|member| *member == slot)
                .unwrap_or(0);
            let members = stack.split_off(start);
            let is_loop = members.len() > 1
                || calls_back(&insns[slot])
                || successors(insns, slot).any(|to| to == slot);
            for member in members {
                on_stack.set(member, false);
                found[member] = if is_loop { next_loop } else { 0 };
            }
            next_loop += u32::from(is_loop);
        }
    }
    found
}
