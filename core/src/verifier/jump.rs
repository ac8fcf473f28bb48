//! Conditional jumps (`check_cond_jmp_op`): which ways are followed, and what is learnt on each:
//! of numbers, of null-ness, of the packet's length.

use super::branch::flip;
use super::explore::{Next, Verifier};
use super::linux_6_1::Rules;
use super::maps::Maps;
use super::register::{
    AT_PACKET_END, BEYOND_PACKET_END, Kind, PLUS_CONSTANT, PLUS_CONSTANT_32, Register, Socket,
};
use super::reject::Check;
use super::scalar::Scalar;
use super::state::{Place, State};
use crate::isa::{Condition, Operand, Reg, Width};

/// Packets are at most this long (`MAX_PACKET_OFF`).
const MAX_PACKET: u64 = 0xffff;

impl Verifier<'_> {
    pub(super) fn jump_if(
        &mut self,
        cond: Condition,
        width: Width,
        dst: Reg,
        src: Operand,
        off: i16,
    ) -> Check<Next> {
        self.check_read(dst)?;
        let source = match src {
            Operand::Reg(src) => {
                self.check_read(src)?;
                *self.state.reg(src.index())
            }
            Operand::Imm(imm) => Register::constant(i64::from(imm) as u64),
        };
        let left = *self.state.reg(dst.index());
        let stack = |register: &Register| matches!(register.kind, Kind::Stack(_));
        let rules = self.options.rules;
        if !rules.are_6_1() && (stack(&left) || stack(&source)) {
            self.push_step(|step| {
                step.dst_is_stack |= stack(&left);
                step.src_is_stack |= stack(&source);
            });
        }
        let half = width == Width::W32;
        let target = self.insn as i64 + 1 + i64::from(off);
        if let Some(taken) = branch_taken(rules, &left, &source, cond, half) {
            if left.is_scalar() {
                self.mark_precise(dst.index());
            }
            if let (Operand::Reg(src), true) = (src, source.is_scalar()) {
                self.mark_precise(src.index());
            }
            return Ok(if taken { Next::Go(target) } else { Next::Fall });
        }
        let linked = match rules {
            Rules::Linux6_18 => Some(self.link_compared(dst, src)),
            Rules::Linux6_1 => None,
        };
        let linked = linked.as_deref();
        let mut other = self.state.clone();
        compare(
            rules,
            &mut self.state,
            (dst, src),
            (cond, half, false),
            linked,
        );
        compare(rules, &mut other, (dst, src), (cond, half, true), linked);
        if !half {
            let imm_zero = src == Operand::Imm(0);
            let equality = matches!(cond, Condition::Eq | Condition::Ne);
            if let (Operand::Reg(src), true, Rules::Linux6_18) = (src, equality, rules) {
                let equal = if cond == Condition::Eq {
                    &mut other
                } else {
                    &mut self.state
                };
                lift_null(equal, dst, src, &self.maps);
            }
            if imm_zero && equality && left.kind.nullable() {
                self.state
                    .mark_null(dst.index(), cond == Condition::Ne, &self.maps);
                other.mark_null(dst.index(), cond == Condition::Eq, &self.maps);
            } else if let Operand::Reg(src) = src {
                match_packet(cond, dst, src, &mut self.state, &mut other);
            }
        }
        self.push_path(target as usize, other)?;
        Ok(Next::Fall)
    }

    fn link_compared(&mut self, dst: Reg, src: Operand) -> Vec<Place> {
        let mut linked = Vec::new();
        let mut registers = Vec::new();
        if let Operand::Reg(src) = src {
            registers.push(src);
        }
        registers.push(dst);
        for reg in registers {
            let register = *self.state.reg(reg.index());
            if register.is_scalar() && register.id != 0 {
                self.collect_linked(register.id, &mut linked);
            }
        }
        if linked.len() > 1 {
            let places = linked.clone();
            self.push_step(|step| step.linked = places);
        }
        linked
    }

    pub(super) fn may_goto(&mut self, slot: usize, off: i16) -> Check<Next> {
        self.counts.jumps += 1;
        let mut queued = self.state.clone();
        queued.may_goto_depth += 1;
        self.widen_from_last_round(&mut queued);
        self.push_path(slot + 1, queued)?;
        Ok(Next::Go(slot as i64 + 1 + i64::from(off)))
    }

    /// Forgets numbers of a state that goes round a loop through the instruction at hand, where
    /// they changed since the last round and do not matter so far.
    pub(super) fn widen_from_last_round(&mut self, queued: &mut State) {
        let parent = self
            .state
            .parent
            .map(|id| self.explored_mut(id).state.depth);
        let previous = parent.and_then(|depth| self.previous_entry(self.insn, depth));
        if let Some(previous) = previous {
            let next_id = self.next_id;
            self.explored_mut(previous).widen_imprecise(queued, next_id);
        }
    }
}

fn branch_taken(
    rules: Rules,
    a: &Register,
    b: &Register,
    cond: Condition,
    half: bool,
) -> Option<bool> {
    if a.kind.is_any_packet() && b.kind.is_any_packet() && !half {
        return packet_taken(a, b, cond);
    }
    if rules.are_6_1() && (!b.is_scalar() || b.scalar.as_const(half).is_none()) {
        return None;
    }
    let (mut a, mut b, mut cond) = (a, b, cond);
    let constant = |register: &Register| {
        if register.is_scalar() {
            register.scalar.as_const(half)
        } else {
            None
        }
    };
    if constant(b).is_none() {
        (a, b, cond) = (b, a, flip(cond));
    }
    if !a.is_scalar() {
        // Linux's list (`reg_not_null`); of other pointers it does not say.
        let listed = matches!(
            a.kind,
            Kind::MapValue { .. }
                | Kind::MapKey(_)
                | Kind::Memory { .. }
                | Kind::Record { .. }
                | Kind::Map(_)
                | Kind::Socket {
                    socket: Socket::Full | Socket::Common | Socket::Tcp,
                    ..
                }
        );
        let never_null = listed && !a.kind.nullable();
        return match cond {
            Condition::Eq if never_null && constant(b) == Some(0) => Some(false),
            Condition::Ne if never_null && constant(b) == Some(0) => Some(true),
            _ => None,
        };
    }
    if !b.is_scalar() {
        return None;
    }
    rules.is_taken(&a.scalar, &b.scalar, cond, half)
}

/// Comparisons with the packet's end whose outcome an earlier one decided.
fn packet_taken(a: &Register, b: &Register, cond: Condition) -> Option<bool> {
    let (packet, cond) = if b.kind == Kind::PacketEnd {
        (a, cond)
    } else if a.kind == Kind::PacketEnd {
        (b, flip(cond))
    } else {
        return None;
    };
    let beyond = packet.range == BEYOND_PACKET_END;
    let at = beyond || packet.range == AT_PACKET_END;
    match cond {
        Condition::Gt => beyond.then_some(true),
        Condition::Le => beyond.then_some(false),
        Condition::Ge => at.then_some(true),
        Condition::Lt => at.then_some(false),
        _ => None,
    }
}

/// Applies what a comparison says to both registers and to all that are linked to them.
fn compare(
    rules: Rules,
    state: &mut State,
    (dst, src): (Reg, Operand),
    (cond, half, holds): (Condition, bool, bool),
    linked: Option<&[Place]>,
) {
    let mut left = *state.reg(dst.index());
    let mut right = match src {
        Operand::Reg(src) => *state.reg(src.index()),
        Operand::Imm(imm) => Register::constant(i64::from(imm) as u64),
    };
    if left.is_scalar() && right.is_scalar() {
        rules.learn(&mut left.scalar, &mut right.scalar, cond, half, holds);
        rules.sanitize(&mut left.scalar);
        rules.sanitize(&mut right.scalar);
        *state.reg_mut(dst.index()) = left;
        if let Operand::Reg(src) = src {
            *state.reg_mut(src.index()) = right;
        }
    }
    let learnt = |state: &mut State, reg: Reg| match linked {
        Some(linked) => share(state, reg, linked),
        None => state.share_6_1(reg),
    };
    if let Operand::Reg(src) = src {
        learnt(state, src);
    }
    learnt(state, dst);
}

/// Hands what a number learnt to the numbers linked to it (`sync_linked_regs`).
fn share(state: &mut State, known: Reg, linked: &[Place]) {
    let source = *state.reg(known.index());
    if !source.is_scalar() || source.id == 0 {
        return;
    }
    let here = Place {
        frame: state.current(),
        spilled: false,
        index: known.index(),
    };
    for place in linked.iter().filter(|place| **place != here) {
        let register = state.at(*place);
        if !register.is_scalar() || register.base_id() != source.base_id() {
            continue;
        }
        if (register.id ^ source.id) & PLUS_CONSTANT == PLUS_CONSTANT {
            // What a sum of 64 bits says of one of 32 does not hold.
            continue;
        }
        let half_written_at = register.half_written_at;
        let plain = register.id & PLUS_CONSTANT == 0 && source.id & PLUS_CONSTANT == 0;
        if plain || register.offset == source.offset {
            *register = source;
        } else {
            let (id, offset) = (register.id, register.offset);
            let delta = i64::from(offset) - i64::from(source.offset);
            *register = source;
            (register.id, register.offset) = (id, offset);
            register.scalar.add(&Scalar::constant(delta as u64));
            if (id | source.id) & PLUS_CONSTANT_32 != 0 {
                register.scalar.zero_extend_32();
            }
            register.scalar.sync();
        }
        register.half_written_at = half_written_at;
    }
}

/// A pointer that equals one that is not null is not null.
fn lift_null(equal: &mut State, dst: Reg, src: Reg, maps: &Maps<'_>) {
    let (left, right) = (*equal.reg(dst.index()), *equal.reg(src.index()));
    let pointers = !left.is_scalar() && !right.is_scalar();
    if pointers && left.kind.nullable() != right.kind.nullable() {
        let lifted = if right.kind.nullable() { src } else { dst };
        let register = equal.reg_mut(lifted.index());
        register.kind = maps.not_null(register.kind);
    }
}

/// Learns the packet's length from comparisons of packet pointers (`try_match_pkt_pointers`).
fn match_packet(cond: Condition, dst: Reg, src: Reg, falls: &mut State, jumps: &mut State) {
    let (left, right) = (*falls.reg(dst.index()), *falls.reg(src.index()));
    let at_start = |register: &Register| {
        register.kind == Kind::Packet
            && register.offset == 0
            && register.scalar.as_const(false) == Some(0)
            && register.id == 0
    };
    let forward = (left.kind == Kind::Packet && right.kind == Kind::PacketEnd)
        || (left.kind == Kind::PacketMeta && at_start(&right));
    let backward = (left.kind == Kind::PacketEnd && right.kind == Kind::Packet)
        || (at_start(&left) && right.kind == Kind::PacketMeta);
    // Seen from the packet pointer: `pointer cond end`.
    let (pointer, reg, cond) = if forward {
        (left, dst, cond)
    } else if backward {
        (right, src, flip(cond))
    } else {
        return;
    };
    match cond {
        Condition::Gt => {
            find_good(falls, &pointer, false);
            mark_end(jumps, reg, true);
        }
        Condition::Lt => {
            find_good(jumps, &pointer, true);
            mark_end(falls, reg, false);
        }
        Condition::Ge => {
            find_good(falls, &pointer, true);
            mark_end(jumps, reg, false);
        }
        Condition::Le => {
            find_good(jumps, &pointer, false);
            mark_end(falls, reg, true);
        }
        _ => {}
    }
}

fn mark_end(state: &mut State, reg: Reg, beyond: bool) {
    let register = state.reg_mut(reg.index());
    if register.kind == Kind::Packet {
        register.range = if beyond {
            BEYOND_PACKET_END
        } else {
            AT_PACKET_END
        };
    }
}

/// Bytes in front of a pointer that is known not to lie behind the packet's end can be accessed.
fn find_good(state: &mut State, pointer: &Register, open: bool) {
    if pointer.offset < 0 || (pointer.offset == 0 && open) {
        return;
    }
    let end = pointer.scalar.umax.saturating_add(pointer.offset as u64);
    if pointer.scalar.umax > MAX_PACKET || end > MAX_PACKET {
        return;
    }
    let range = pointer.offset + i32::from(open);
    for register in state.all_registers() {
        if register.kind == pointer.kind && register.id == pointer.id {
            register.range = register.range.max(range);
        }
    }
}
