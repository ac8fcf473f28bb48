//! How often each instruction ran and which way each branch went, over all packets and queues.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iom_core::abi::{Frame, XdpAction};
use iom_core::isa::Insn;
use iom_core::module::{Module, Program};

use super::execute::{Observer, Position, Registers};
use super::memory::Memory;

/// A request to count, and the counts so far. Clones share them; workers that run at the same time
/// take turns.
#[derive(Clone, Debug, Default)]
pub struct Coverage(Arc<Mutex<Counts>>);

impl Coverage {
    /// The counts of all packets that ran until now.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ran, by program of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By index of the program.
    pub programs: Vec<ProgramCounts>,
    /// How many packets ran this many instructions.
    pub lengths: BTreeMap<u64, u64>,
}

/// What ran of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramCounts {
    /// By slot of the program's own instructions.
    pub slots: Vec<SlotCount>,
    /// Packets whose action this program decided, as the entry or after a tail call.
    pub actions: BTreeMap<XdpAction, u64>,
}

/// How often one instruction ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCount {
    /// How often at all.
    pub executed: u64,
    /// Times that a conditional branch went to its target.
    pub taken: u64,
    /// Times that a conditional branch went on behind itself.
    pub not_taken: u64,
}

impl Counts {
    /// Makes room for a module's programs.
    pub(super) fn fit(&mut self, module: &Module) {
        let programs = self.programs.len().max(module.programs.len());
        self.programs.resize_with(programs, ProgramCounts::default);
        for (counts, program) in self.programs.iter_mut().zip(&module.programs) {
            let slots = counts.slots.len().max(program.insns.len());
            counts.slots.resize(slots, SlotCount::default());
        }
    }
}

impl ProgramCounts {
    /// How often the function that starts in this slot was called; where the program starts, how
    /// often it was the entry or reached by a tail call. Jumps back to the slot do not count.
    pub fn calls(&self, program: &Program, start: usize) -> u64 {
        let jumps = program.insns.iter().zip(&self.slots).enumerate();
        let jumps = jumps.filter(|(slot, (insn, _))| insn.jump_target(*slot) == Some(start as i64));
        let arrivals = jumps.map(|(_, (insn, count))| match insn {
            Insn::Jump { .. } => count.executed,
            _ => count.taken,
        });
        let executed = self.slots.get(start).map_or(0, |count| count.executed);
        executed - arrivals.sum::<u64>().min(executed)
    }

    /// How many instructions ran.
    pub fn executed(&self) -> u64 {
        self.slots.iter().map(|count| count.executed).sum()
    }
}

/// Counts while one packet's program runs.
pub(super) struct Counter<'c> {
    counts: &'c mut Counts,
    instructions: u64,
    program: u32,
}

impl<'c> Counter<'c> {
    pub(super) fn new(counts: &'c mut Counts, entry: u32) -> Self {
        Self {
            counts,
            instructions: 0,
            program: entry,
        }
    }

    /// Counts the packet: the last program that ran decided what becomes of it.
    pub(super) fn finish(self, action: XdpAction) {
        *self.counts.lengths.entry(self.instructions).or_default() += 1;
        let program = &mut self.counts.programs[self.program as usize];
        *program.actions.entry(action).or_default() += 1;
    }

    fn slot(&mut self, position: Position) -> &mut SlotCount {
        let program = &mut self.counts.programs[position.program as usize];
        &mut program.slots[position.slot as usize]
    }
}

impl Observer for Counter<'_> {
    #[inline]
    fn before(&mut self, position: Position, _: &Registers, _: &Memory<'_>, _: &Frame) {
        self.instructions += 1;
        self.program = position.program;
        self.slot(position).executed += 1;
    }

    #[inline]
    fn branched(&mut self, position: Position, taken: bool) {
        let count = self.slot(position);
        if taken {
            count.taken += 1;
        } else {
            count.not_taken += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::{Interpreter, Observe};
    use iom_core::abi::{Backend, Environment, LoadRequest, Network, Outcome, QueueId, TrapKind};
    use iom_core::isa::{AluOp, Condition, Operand, Reg, Width, assemble};
    use iom_core::map::MapSet;
    use proptest::prelude::*;

    /// Runs packets of these lengths, in turn on two queues; gives the counts and the traps.
    fn count(module: Module, budget: u64, lengths: &[usize]) -> (Module, Counts, Vec<Outcome>) {
        let maps = MapSet::create(&module.maps, 2).expect("maps");
        for (spec, map) in module.maps.iter().zip(maps.iter()) {
            for entry in &spec.initial {
                map.insert_initial(entry).expect("entries that fit");
            }
        }
        let module = Arc::new(module);
        let coverage = Coverage::default();
        let interpreter = Interpreter {
            budget,
            observe: Observe::Coverage(coverage.clone()),
        };
        let instance = interpreter.load(&LoadRequest {
            module: &module,
            entry: 0,
            maps: &maps,
            environment: Environment::default(),
            network: Network::empty(),
            ports: 1,
            queues: 2,
        });
        let instance = instance.expect("a program that loads");
        let mut all = Vec::new();
        for (index, len) in lengths.iter().enumerate() {
            let mut frame = Frame::new();
            frame.set_packet(&vec![0; *len]).expect("it fits");
            let mut worker = instance.worker(QueueId(index as u32 % 2)).expect("workers");
            let mut outcomes = Vec::new();
            let run = worker.run(&mut [frame], &mut outcomes, None);
            run.expect("it runs");
            all.append(&mut outcomes);
        }
        drop(instance);
        let module = Arc::into_inner(module).expect("nobody else has it");
        (module, coverage.counts(), all)
    }

    fn executed(counts: &ProgramCounts) -> Vec<u64> {
        counts.slots.iter().map(|count| count.executed).collect()
    }

    #[test]
    fn loops_calls_and_tail_calls_are_counted_exactly() {
        let text = "
            .map next prog_array key 4 value 4 max 1
            .entry 00000000 = program second
            .program first xdp
            r6 = r1
            r7 = 3
        again:
            call function
            r7 += -1
            if r7 != 0 goto again
            r1 = *(u32 *)(r6 + 4)
            r2 = *(u32 *)(r6 + 0)
            r1 -= r2
            if r1 < 50 goto short
            r1 = r6
            r2 = map[next] ll
            r3 = 0
            call bpf_tail_call
        short:
            r0 = 1
            exit
        function:
            exit
            .program second xdp
            r0 = 2
            exit";
        let module = assemble(text, "test.bpf").expect("valid assembly");
        let (module, counts, _) = count(module, 1000, &[60, 20, 60, 60]);
        let [first, second] = &counts.programs[..] else {
            panic!("two programs");
        };
        let each = [4, 4, 12, 12, 12, 4, 4, 4, 4, 3, 3, 0, 3, 3, 1, 1, 12];
        assert_eq!(executed(first), each);
        assert_eq!(executed(second), [3, 3]);
        let branch = |slot: usize| (first.slots[slot].taken, first.slots[slot].not_taken);
        assert_eq!((branch(4), branch(8), branch(2)), ((8, 4), (1, 3), (0, 0)));
        let calls = |counts: &ProgramCounts, program: usize, start| {
            counts.calls(&module.programs[program], start)
        };
        assert_eq!(calls(first, 0, 0), 4);
        assert_eq!(calls(first, 0, 16), 12);
        assert_eq!(calls(second, 1, 0), 3);
        assert_eq!(first.actions, BTreeMap::from([(XdpAction::Drop, 1)]));
        assert_eq!(second.actions, BTreeMap::from([(XdpAction::Pass, 3)]));
        assert_eq!(counts.lengths, BTreeMap::from([(20, 1), (24, 3)]));
    }

    /// Additions, jumps and branches inside a program, and an exit behind them.
    fn any_program() -> impl Strategy<Value = Vec<Insn>> {
        let insn = (0..3, 6_u8..=9, -4..4, any::<prop::sample::Index>());
        prop::collection::vec(insn, 1..30).prop_map(|insns| {
            let len = insns.len() + 1;
            let made = insns
                .iter()
                .enumerate()
                .map(|(slot, (kind, reg, imm, target))| {
                    let dst = Reg::new(*reg).expect("a register");
                    let src = Operand::Imm(*imm);
                    let (width, cond) = (Width::W64, Condition::SignedGt);
                    let off = target.index(len) as i32 - slot as i32 - 1;
                    match kind {
                        0 => Insn::Jump { off, long: false },
                        1 => Insn::JumpIf {
                            cond,
                            width,
                            dst,
                            src,
                            off: off as i16,
                        },
                        _ => Insn::Alu {
                            op: AluOp::Add,
                            width,
                            dst,
                            src,
                        },
                    }
                });
            made.chain([Insn::Exit]).collect()
        })
    }

    /// How often each slot was reached, by what the slots before it did.
    fn arrivals(insns: &[Insn], counts: &ProgramCounts) -> Vec<u64> {
        let mut arrivals = vec![0; insns.len()];
        arrivals[0] = 1;
        for (slot, (insn, count)) in insns.iter().zip(&counts.slots).enumerate() {
            let (jumped, went_on) = match insn {
                Insn::Jump { .. } => (count.executed, 0),
                Insn::JumpIf { .. } => (count.taken, count.not_taken),
                Insn::Exit => (0, 0),
                _ => (0, count.executed),
            };
            if let Some(target) = insn.jump_target(slot) {
                arrivals[target as usize] += jumped;
            }
            if went_on > 0 {
                arrivals[slot + 1] += went_on;
            }
        }
        arrivals
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What comes into an instruction ran it, and each run of a branch went one way.
        #[test]
        fn no_run_of_an_instruction_is_lost(insns in any_program()) {
            let mut module = assemble("r0 = 2\nexit", "test.bpf").expect("valid assembly");
            module.programs[0].insns = insns;
            module.programs[0].lines.clear();
            let (module, counts, outcomes) = count(module, 500, &[60]);
            let insns = &module.programs[0].insns;
            let program = &counts.programs[0];
            let mut expected = arrivals(insns, program);
            if let Some(trap) = &outcomes[0].trap {
                prop_assert_eq!(&trap.kind, &TrapKind::Budget { budget: 500 });
                expected[trap.insn as usize] -= 1;
            }
            prop_assert_eq!(executed(program), expected);
            for (insn, count) in insns.iter().zip(&program.slots) {
                let ways = count.taken + count.not_taken;
                let branch = matches!(insn, Insn::JumpIf { .. });
                prop_assert_eq!(ways, if branch { count.executed } else { 0 });
            }
            prop_assert_eq!(counts.lengths, BTreeMap::from([(program.executed(), 1)]));
        }
    }
}
