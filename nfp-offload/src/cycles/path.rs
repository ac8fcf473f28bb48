//! The cost of a program before it has seen a packet: of each instruction, and along the shortest
//! and the longest path. A loop counts once. Where an instruction's words branch among themselves
//! all of them count.

use iom_core::isa::{CallTarget, Insn as BpfInsn};
use iom_core::module::Program;

use super::{BUBBLES_ALWAYS, BUBBLES_TESTED, Cost, Wait};
use crate::isa::{AddressMode, Command, CommandOp, Condition, ContextSwap, Insn};
use crate::relocate::{Image, PLACEHOLDER, Relocation, Word};

/// The cost of one eBPF instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsnCost {
    /// Instruction words.
    pub words: usize,
    /// If all of them run and the branch is taken.
    pub cost: Cost,
}

/// The cost of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramCost {
    /// By slot.
    pub insns: Vec<InsnCost>,
    /// Words before and behind the instructions.
    pub frame_words: usize,
    /// The least that a packet costs.
    pub shortest: Cost,
    /// The most.
    pub longest: Cost,
    /// There is a loop, which counts once in both.
    pub has_loop: bool,
}

/// The cost of a translated program.
pub fn program_cost(program: &Program, image: &Image) -> ProgramCost {
    let words = |from: usize, to: usize| image.words.get(from..to).unwrap_or(&[]);
    let body_end = usize::from(image.target_abort);
    let starts = image.first_words.iter().map(|first| usize::from(*first));
    let ends = starts.clone().skip(1).chain([body_end]);
    let insns: Vec<InsnCost> = starts
        .zip(ends)
        .map(|(from, to)| InsnCost {
            words: to.saturating_sub(from),
            cost: sum(words(from, to)),
        })
        .collect();
    let first = image.first_words.first().copied().unwrap_or(0);
    let prologue = sum(words(0, usize::from(first)));
    // Up to the branch back to the firmware and its slots.
    let out = words(usize::from(image.target_out), image.words.len());
    let exit = out
        .iter()
        .position(|word| word.relocation == Relocation::NextPacket)
        .map_or(out, |branch| &out[..(branch + 3).min(out.len())]);
    let around = prologue + sum(exit);
    let mut paths = Paths {
        program,
        insns: &insns,
        visits: vec![Visit::NotYet; insns.len()],
        has_loop: false,
    };
    let (shortest, longest) = paths.from(0);
    ProgramCost {
        frame_words: image.words.len() - insns.iter().map(|insn| insn.words).sum::<usize>(),
        has_loop: paths.has_loop,
        shortest: shortest + around,
        longest: longest + around,
        insns,
    }
}

fn sum(words: &[Word]) -> Cost {
    let mut sum = Cost::default();
    for word in words {
        sum += word_cost(word);
    }
    sum
}

/// One cycle, bubbles if it is taken, waiting.
fn word_cost(word: &Word) -> Cost {
    let bubbles = match word.insn {
        Insn::Branch(branch) if branch.condition == Condition::Always => {
            BUBBLES_ALWAYS.saturating_sub(branch.defer)
        }
        Insn::Branch(branch) => BUBBLES_TESTED.saturating_sub(branch.defer),
        Insn::BranchBit(branch) => BUBBLES_TESTED.saturating_sub(branch.defer),
        Insn::Return(branch) => BUBBLES_TESTED.saturating_sub(branch.defer),
        _ => 0,
    };
    let mut cost = Cost {
        instructions: 1,
        cycles: 1 + u64::from(bubbles),
        ..Cost::default()
    };
    let wait = match (word.insn, word.relocation) {
        (Insn::Command(command), _) => command_wait(&command),
        (Insn::Branch(branch), Relocation::Helper) => {
            Wait::of_helper(branch.target.wrapping_sub(PLACEHOLDER))
        }
        _ => None,
    };
    if let Some(wait) = wait {
        cost.waits.count(wait);
    }
    cost
}

/// What a command waits for.
pub(crate) fn command_wait(command: &Command) -> Option<Wait> {
    if command.swap == ContextSwap::Never {
        return None;
    }
    let in_packet = command.mode == AddressMode::Bits32;
    Some(match command.op {
        CommandOp::Write8Swap | CommandOp::Write32Swap => Wait::PacketWrite,
        CommandOp::Add | CommandOp::AddImm => Wait::MapAdd,
        CommandOp::Read8
        | CommandOp::Read32
        | CommandOp::Read32Le
        | CommandOp::Read32Swap
        | CommandOp::ReadLe
        | CommandOp::ReadSwapLe => {
            if in_packet {
                Wait::PacketRead
            } else {
                Wait::MapRead
            }
        }
    })
}

/// Searches paths to the exit, once from each instruction.
struct Paths<'a> {
    program: &'a Program,
    insns: &'a [InsnCost],
    visits: Vec<Visit>,
    has_loop: bool,
}

/// Where the search is with an instruction.
#[derive(Clone, Copy, PartialEq)]
enum Visit {
    NotYet,
    /// It is on the path being followed.
    Open,
    /// The shortest and the longest way to the exit, if one leads there.
    Done(Option<(Cost, Cost)>),
}

impl Visit {
    const fn best(self) -> Option<(Cost, Cost)> {
        match self {
            Self::Done(best) => best,
            Self::NotYet | Self::Open => None,
        }
    }
}

impl Paths<'_> {
    /// The shortest and the longest way from an instruction to the exit.
    fn from(&mut self, start: usize) -> (Cost, Cost) {
        let mut order = vec![(start, false)];
        while let Some((slot, is_followed)) = order.pop() {
            if is_followed {
                self.visits[slot] = Visit::Done(self.best(slot));
                continue;
            }
            if self.visits.get(slot) != Some(&Visit::NotYet) {
                continue;
            }
            self.visits[slot] = Visit::Open;
            order.push((slot, true));
            for next in self.after(slot) {
                self.has_loop |= self.visits[next] == Visit::Open;
                order.push((next, false));
            }
        }
        let found = self.visits.get(start).and_then(|visit| visit.best());
        found.unwrap_or_default()
    }

    /// The cost from here, once those behind are known. A way back into the path is left out.
    fn best(&self, slot: usize) -> Option<(Cost, Cost)> {
        let insn = self.insns[slot];
        if self.program.insns[slot] == BpfInsn::Exit && insn.words > 0 {
            return Some((insn.cost, insn.cost));
        }
        let behind = || {
            let next = self.successors(slot).into_iter();
            next.filter_map(|next| self.visits[next].best())
        };
        let called = self
            .callee(slot)
            .and_then(|callee| self.visits[callee].best());
        let (call_shortest, call_longest) = called.unwrap_or_default();
        let by_length = |a: &Cost, b: &Cost| a.alone().total_cmp(&b.alone());
        let shortest = behind().map(|(shortest, _)| shortest).min_by(by_length)?;
        let longest = behind().map(|(_, longest)| longest).max_by(by_length)?;
        Some((
            insn.cost + call_shortest + shortest,
            insn.cost + call_longest + longest,
        ))
    }

    fn after(&self, slot: usize) -> Vec<usize> {
        let mut after = self.successors(slot);
        after.extend(self.callee(slot));
        after
    }

    fn successors(&self, slot: usize) -> Vec<usize> {
        let insn = self.program.insns[slot];
        let next = slot as i64 + 1;
        let target = insn.jump_target(slot);
        let targets = match insn {
            // Taken out: what was jumped over has no words either, up to what comes next.
            _ if self.insns[slot].words == 0 => [Some(next), None],
            BpfInsn::Exit => [None, None],
            BpfInsn::Jump { .. } => [target, None],
            _ => [Some(next), target],
        };
        let targets = targets.into_iter().flatten();
        targets
            .filter_map(|target| usize::try_from(target).ok())
            .filter(|target| *target < self.insns.len())
            .collect()
    }

    /// The first instruction of a function that is called here.
    fn callee(&self, slot: usize) -> Option<usize> {
        let insn = self.program.insns[slot];
        let BpfInsn::Call {
            target: CallTarget::Local(_),
        } = insn
        else {
            return None;
        };
        let target = usize::try_from(insn.function_target(slot)?).ok()?;
        (target < self.insns.len()).then_some(target)
    }
}
