//! The interpreter's loop: one match on the operation, one program run from entry to exit.

use iom_core::abi::{Environment, Frame, PacketRandom, QueueId, Recorder, TrapKind};
use iom_core::helper::{Fib, RedirectState, skb_load_bytes, skb_load_bytes_relative};
use iom_core::isa::{AtomicOp, Reg, Size};
use iom_core::map::MapSet;
use iom_core::module::ProgramType;

use super::address::{self, Kind};
use super::arithmetic::{
    alu32, alu64, byte_swap, holds32, holds64, mov_signed, negate, sign_extend,
};
use super::callback::Repeat;
use super::context::packet_start;
use super::memory::{FRAMES_MAX, Fault, Memory, STACK_BYTES};
use super::op::{Code, Op};

/// Times that the `may_goto`s of one function call continue before they leave: `BPF_MAX_LOOPS`.
const LOOPS_MAX: u32 = 8 << 20;

/// The eleven registers, in an array that no register number can miss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers([u64; 16]);

impl Registers {
    #[inline]
    pub(super) const fn get(&self, reg: Reg) -> u64 {
        self.0[reg.index() & 15]
    }

    #[inline]
    pub(super) const fn set(&mut self, reg: Reg, value: u64) {
        self.0[reg.index() & 15] = value;
    }

    /// All registers in order.
    pub(super) fn values(&self) -> &[u64] {
        &self.0[..Reg::COUNT]
    }
}

/// Where a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Program of the module, by index.
    pub(super) program: u32,
    /// Slot of the instruction.
    pub(super) slot: u32,
    /// Call depth, 0 in the entry function.
    pub(super) depth: u32,
}

/// Looks on while a program runs. The one that does nothing costs nothing.
pub(super) trait Observer {
    /// Called before each instruction.
    fn before(
        &mut self,
        position: Position,
        registers: &Registers,
        memory: &Memory<'_>,
        frame: &Frame,
    );

    /// Called when a conditional branch has decided where to go.
    #[inline]
    fn branched(&mut self, _position: Position, _taken: bool) {}
}

/// Nobody looks.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    #[inline]
    fn before(&mut self, _: Position, _: &Registers, _: &Memory<'_>, _: &Frame) {}
}

/// What a function goes back to, and its caller's registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller {
    program: u32,
    slot: u32,
    saved: [u64; 4],
    loops: u32,
}

impl Caller {
    /// A function that goes on at `next` once the one it calls returns.
    fn of(position: Position, next: usize, registers: &Registers, loops: u32) -> Self {
        Self {
            program: position.program,
            slot: next as u32,
            saved: [Reg::R6, Reg::R7, Reg::R8, Reg::R9].map(|reg| registers.get(reg)),
            loops,
        }
    }
}

/// What all packets of a worker share.
#[derive(Debug)]
pub(super) struct Machine<'m> {
    /// Programs by index in the module; those that cannot run here hold the reason.
    pub(super) programs: &'m [Result<Code, String>],
    /// Maps by index in the module.
    pub(super) maps: &'m MapSet,
    /// Memory that programs reach.
    pub(super) memory: Memory<'m>,
    /// What the function at each call depth goes back to.
    pub(super) callers: [Caller; FRAMES_MAX],
    /// The helper that called the function at each call depth, if one did.
    pub(super) repeats: [Option<Box<Repeat<'m>>>; FRAMES_MAX],
    /// The queue, which is the CPU.
    pub(super) queue: QueueId,
    /// Interfaces, routes and neighbours.
    pub(super) fib: &'m Fib,
    /// Seed of random numbers.
    pub(super) environment: Environment,
    /// Instructions for one packet at most.
    pub(super) budget: u64,
}

/// State of one packet beside the machine's.
pub(super) struct Packet<'p> {
    /// The packet.
    pub(super) frame: &'p mut Frame,
    /// Type of the program.
    pub(super) program_type: ProgramType,
    /// Where it is redirected to.
    pub(super) redirect: RedirectState,
    /// Its random numbers.
    pub(super) random: PacketRandom,
    /// Tail calls that were made.
    pub(super) tail_calls: u32,
    /// It wrote to a ring buffer.
    pub(super) rings_used: bool,
    /// Where events and printed lines go.
    pub(super) recorder: Option<&'p mut Recorder>,
}

/// How a run ended early, and where.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) position: Position,
    pub(super) kind: Fault,
}

/// What a helper call does to the program.
pub(super) enum Called<'m> {
    /// It goes on, with this in `r0`.
    Returned(u64),
    /// Another program takes its place.
    TailCall(u32),
    /// A function is called again and again.
    Repeat(Box<Repeat<'m>>),
}

impl Machine<'_> {
    /// Runs the entry program with these arguments and gives `r0`.
    #[expect(
        clippy::too_many_lines,
        reason = "a flat match with one short arm per operation"
    )]
    pub(super) fn run<O: Observer>(
        &mut self,
        entry: u32,
        arguments: [u64; 2],
        packet: &mut Packet<'_>,
        observer: &mut O,
    ) -> Result<u64, Stop> {
        // A fault may have left some.
        self.repeats.fill_with(|| None);
        let mut registers = Registers::default();
        registers.set(Reg::R1, arguments[0]);
        registers.set(Reg::R2, arguments[1]);
        let mut position = Position {
            program: entry,
            slot: 0,
            depth: 0,
        };
        let mut loops = LOOPS_MAX;
        let stop = |position, kind| Stop { position, kind };
        let mut code = self.code(entry).map_err(|kind| stop(position, kind))?;
        let program_type = code.program_type;
        self.enter(0, &mut registers);
        let mut next = 0;
        let mut left = self.budget;
        loop {
            position.slot = next as u32;
            let Some(&op) = code.ops.get(next) else {
                return Err(stop(position, Box::new(TrapKind::NoInstruction)));
            };
            if left == 0 {
                let kind = TrapKind::Budget {
                    budget: self.budget,
                };
                return Err(stop(position, Box::new(kind)));
            }
            left -= 1;
            observer.before(position, &registers, &self.memory, packet.frame);
            next += 1;
            let r = &mut registers;
            match op {
                Op::Alu64 { op, dst, src } => r.set(dst, alu64(op, r.get(dst), r.get(src))),
                Op::Alu64Imm { op, dst, imm } => r.set(dst, alu64(op, r.get(dst), imm)),
                Op::Alu32 { op, dst, src } => {
                    r.set(dst, alu32(op, r.get(dst) as u32, r.get(src) as u32));
                }
                Op::Alu32Imm { op, dst, imm } => r.set(dst, alu32(op, r.get(dst) as u32, imm)),
                Op::Mov64 { dst, src } => r.set(dst, r.get(src)),
                Op::Mov32 { dst, src } => r.set(dst, u64::from(r.get(src) as u32)),
                Op::MovImm { dst, value } => r.set(dst, value),
                Op::MovWide { dst, value } => {
                    r.set(dst, value);
                    next += 1;
                }
                Op::MovSigned {
                    width,
                    dst,
                    src,
                    from,
                } => {
                    r.set(dst, mov_signed(width, r.get(src), from));
                }
                Op::Neg { width, dst } => {
                    r.set(dst, negate(width, r.get(dst)));
                }
                Op::ByteSwap { order, bits, dst } => r.set(dst, byte_swap(order, bits, r.get(dst))),
                Op::Load {
                    size,
                    dst,
                    base,
                    off,
                } => {
                    let at = r.get(base).wrapping_add(off as u64);
                    let value = self.memory.load(packet.frame, program_type, at, size);
                    r.set(dst, value.map_err(|kind| stop(position, kind))?);
                }
                Op::LoadSigned {
                    size,
                    dst,
                    base,
                    off,
                } => {
                    let at = r.get(base).wrapping_add(off as u64);
                    let value = self.memory.load(packet.frame, program_type, at, size);
                    r.set(
                        dst,
                        sign_extend(value.map_err(|kind| stop(position, kind))?, size),
                    );
                }
                Op::Store {
                    size,
                    base,
                    off,
                    src,
                } => {
                    let at = r.get(base).wrapping_add(off as u64);
                    let value = r.get(src);
                    let stored = self
                        .memory
                        .store(packet.frame, program_type, at, size, value);
                    stored.map_err(|kind| stop(position, kind))?;
                }
                Op::StoreImm {
                    size,
                    base,
                    off,
                    imm,
                } => {
                    let at = r.get(base).wrapping_add(off as u64);
                    let value = imm as u64;
                    let stored = self
                        .memory
                        .store(packet.frame, program_type, at, size, value);
                    stored.map_err(|kind| stop(position, kind))?;
                }
                Op::Atomic {
                    op,
                    size,
                    base,
                    off,
                    src,
                } => {
                    let at = r.get(base).wrapping_add(off as u64);
                    let done = self.atomic(packet, r, (op, size), at, src);
                    done.map_err(|kind| stop(position, kind))?;
                }
                Op::LoadPacket { size, index, imm } => {
                    let index = index.map_or(0, |reg| r.get(reg) as u32);
                    let offset = index.wrapping_add(imm as u32) as i32;
                    match load_packet(packet.frame, packet_start(program_type), offset, size) {
                        Some(value) => r.set(Reg::R0, value),
                        // Linux ends the program with 0, whatever the call depth.
                        None => return Ok(0),
                    }
                }
                Op::Jump { target } => next = target as usize,
                Op::Jump64 {
                    cond,
                    dst,
                    src,
                    target,
                } => {
                    let taken = holds64(cond, r.get(dst), r.get(src));
                    observer.branched(position, taken);
                    if taken {
                        next = target as usize;
                    }
                }
                Op::Jump64Imm {
                    cond,
                    dst,
                    imm,
                    target,
                } => {
                    let taken = holds64(cond, r.get(dst), imm as u64);
                    observer.branched(position, taken);
                    if taken {
                        next = target as usize;
                    }
                }
                Op::Jump32 {
                    cond,
                    dst,
                    src,
                    target,
                } => {
                    let taken = holds32(cond, r.get(dst) as u32, r.get(src) as u32);
                    observer.branched(position, taken);
                    if taken {
                        next = target as usize;
                    }
                }
                Op::Jump32Imm {
                    cond,
                    dst,
                    imm,
                    target,
                } => {
                    let taken = holds32(cond, r.get(dst) as u32, imm as u32);
                    observer.branched(position, taken);
                    if taken {
                        next = target as usize;
                    }
                }
                Op::MayGoto { target } => {
                    observer.branched(position, loops == 0);
                    if loops == 0 {
                        next = target as usize;
                    } else {
                        loops -= 1;
                    }
                }
                Op::CallHelper { number } => {
                    let called = self.helper(number, packet, r);
                    match called.map_err(|kind| stop(position, kind))? {
                        Called::Returned(value) => r.set(Reg::R0, value),
                        Called::TailCall(program) => {
                            code = self.code(program).map_err(|kind| stop(position, kind))?;
                            position.program = program;
                            next = 0;
                            loops = LOOPS_MAX;
                            self.enter(position.depth as usize, r);
                        }
                        Called::Repeat(mut repeat) => {
                            let depth = position.depth as usize + 1;
                            check_depth(depth).map_err(|kind| stop(position, kind))?;
                            if self.next_call(&mut repeat, depth, r) {
                                self.callers[depth] = Caller::of(position, next, r, loops);
                                position.depth += 1;
                                loops = LOOPS_MAX;
                                next = repeat.function as usize;
                                self.repeats[depth] = Some(repeat);
                                self.enter(depth, r);
                            } else {
                                r.set(Reg::R0, repeat.done);
                            }
                        }
                    }
                }
                Op::CallKfunc { kfunc } => {
                    let value = self.kfunc(kfunc, program_type, packet, r);
                    r.set(Reg::R0, value.map_err(|kind| stop(position, kind))?);
                }
                Op::CallLocal { target } => {
                    let depth = position.depth as usize + 1;
                    check_depth(depth).map_err(|kind| stop(position, kind))?;
                    self.callers[depth] = Caller::of(position, next, r, loops);
                    position.depth += 1;
                    loops = LOOPS_MAX;
                    next = target as usize;
                    self.enter(depth, r);
                }
                Op::Exit => {
                    if position.depth == 0 {
                        let unreleased = self.memory.discard_records();
                        if unreleased == 0 {
                            return Ok(r.get(Reg::R0));
                        }
                        let kind = TrapKind::UnreleasedRecords { count: unreleased };
                        return Err(stop(position, Box::new(kind)));
                    }
                    let depth = position.depth as usize;
                    if let Some(mut repeat) = self.repeats[depth].take() {
                        // A callback that returns 1 ends the loop.
                        let again = r.get(Reg::R0) == 0 && self.next_call(&mut repeat, depth, r);
                        if again {
                            loops = LOOPS_MAX;
                            next = repeat.function as usize;
                            self.repeats[depth] = Some(repeat);
                            self.enter(depth, r);
                            continue;
                        }
                        r.set(Reg::R0, repeat.done);
                    }
                    let caller = self.callers[depth];
                    position.depth -= 1;
                    if caller.program != position.program {
                        code = self
                            .code(caller.program)
                            .map_err(|kind| stop(position, kind))?;
                    }
                    position.program = caller.program;
                    loops = caller.loops;
                    next = caller.slot as usize;
                    self.leave(position.depth as usize, &caller, r);
                }
                Op::FramePointer => {
                    return Err(stop(position, Box::new(TrapKind::FramePointer)));
                }
                Op::Unresolved => {
                    return Err(stop(position, Box::new(TrapKind::Unresolved)));
                }
                Op::NoInstruction => {
                    return Err(stop(position, Box::new(TrapKind::NoInstruction)));
                }
            }
        }
    }
}

impl<'m> Machine<'m> {
    /// The code of a program of the module.
    fn code(&self, program: u32) -> Result<&'m Code, Fault> {
        let refused = |reason: &str| {
            Box::new(TrapKind::RefusedProgram {
                program,
                reason: reason.to_owned(),
            })
        };
        match self.programs.get(program as usize) {
            Some(Ok(code)) => Ok(code),
            Some(Err(reason)) => Err(refused(reason)),
            None => Err(refused("the module has no such program")),
        }
    }

    /// Gives a function its stack and its frame pointer.
    fn enter(&mut self, depth: usize, registers: &mut Registers) {
        self.memory.enter(depth);
        let top = address::address(Kind::Stack, depth as u32, STACK_BYTES as u32);
        registers.set(Reg::R10, top);
    }

    /// Gives a caller its stack and registers back.
    fn leave(&mut self, depth: usize, caller: &Caller, registers: &mut Registers) {
        self.memory.leave_to(depth);
        let top = address::address(Kind::Stack, depth as u32, STACK_BYTES as u32);
        registers.set(Reg::R10, top);
        for (reg, value) in [Reg::R6, Reg::R7, Reg::R8, Reg::R9]
            .into_iter()
            .zip(caller.saved)
        {
            registers.set(reg, value);
        }
    }

    fn atomic(
        &mut self,
        packet: &mut Packet<'_>,
        registers: &mut Registers,
        (op, size): (AtomicOp, Size),
        at: u64,
        src: Reg,
    ) -> Result<(), Fault> {
        let (operand, expected) = (registers.get(src), registers.get(Reg::R0));
        let old = self
            .memory
            .atomic(packet.frame, at, size, op, operand, expected)?;
        match op {
            AtomicOp::Add { fetch }
            | AtomicOp::Or { fetch }
            | AtomicOp::And { fetch }
            | AtomicOp::Xor { fetch } => {
                if fetch {
                    registers.set(src, old);
                }
            }
            AtomicOp::Exchange => registers.set(src, old),
            AtomicOp::CompareExchange => registers.set(Reg::R0, old),
        }
        Ok(())
    }
}

/// Refuses a call that would make the stack too deep.
fn check_depth(depth: usize) -> Result<(), Fault> {
    if depth < FRAMES_MAX {
        return Ok(());
    }
    Err(Box::new(TrapKind::CallDepth { max: FRAMES_MAX }))
}

/// A legacy packet load: big-endian; `None` outside the packet. Negative offsets count from the
/// network header or the Ethernet header and reach the linear part only.
fn load_packet(frame: &Frame, start: usize, offset: i32, size: Size) -> Option<u64> {
    /// `SKF_NET_OFF` and `SKF_LL_OFF`.
    const NETWORK: i32 = -0x10_0000;
    const LINK: i32 = -0x20_0000;
    let mut bytes = [0; 8];
    let (_, into) = bytes.split_at_mut(8 - size.bytes());
    match offset {
        0.. => skb_load_bytes(frame, start, offset as u32, into),
        NETWORK..0 => skb_load_bytes_relative(frame, (offset - NETWORK) as u32, into, 1),
        LINK..NETWORK => skb_load_bytes_relative(frame, (offset - LINK) as u32, into, 0),
        _ => return None,
    }
    .ok()?;
    Some(u64::from_be_bytes(bytes))
}
