//! The machine: executes a loaded program on a packet, one instruction a cycle.

use super::command::Issued;
use super::entry::{Outcome, PacketBuffer};
use super::fault::{FaultKind, MachineFault};
use super::firmware::{Firmware, Helper, HelperCall};
use super::lower::{CommandForm, Op, Program, Target};
use super::state::{Bank, State};
use super::strict::{Finding, Findings};
use crate::cycles::{BUBBLES_ALWAYS, BUBBLES_TESTED};
use crate::isa::{Condition, Csr};

/// How many bits of an indirect amount a double shift sees. No public text says it; with 6 the
/// driver's 64-bit shifts by a register are right for an amount of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DoubleShift {
    /// Five: an amount of 32 counts as 0.
    FiveBits,
    /// Six: an amount of 32 gives the left source.
    #[default]
    SixBits,
}

/// What can be chosen about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Instructions that a program may execute for one packet. It is tested at taken branches.
    pub budget: u64,
    /// Amount of indirect double shifts.
    pub double_shift: DoubleShift,
    /// Note what a card might not forgive, for [`MicroEngine::findings`].
    pub strict: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            budget: 1_000_000,
            double_shift: DoubleShift::default(),
            strict: false,
        }
    }
}

/// One ME context with its packet buffer. It is reused from packet to packet.
#[derive(Debug)]
pub struct MicroEngine {
    config: Config,
    pub(super) state: State,
    pub(super) packet: PacketBuffer,
    findings: Findings,
}

/// Where execution goes on.
enum Flow {
    Next(usize),
    Done,
}

/// A taken branch.
#[derive(Clone, Copy)]
struct Jump {
    target: Target,
    defer: u8,
    /// Cycles between a branch and its target, less those that defer slots use.
    bubbles: u8,
}

/// Registers that a firmware routine may leave with any value: R1 to R5 and scratch.
const CLOBBERED: [u8; 12] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21];

impl MicroEngine {
    /// A micro-engine context.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: State::new(config.double_shift, config.strict),
            packet: PacketBuffer::new(),
            findings: Findings::default(),
        }
    }

    /// Runs a program on a frame. Afterwards the frame is in [`packet`](Self::packet).
    pub fn run<F: Firmware>(
        &mut self,
        program: &Program,
        frame: &[u8],
        firmware: &mut F,
    ) -> Result<Outcome, MachineFault> {
        self.enter(frame).map_err(|kind| kind.at(0))?;
        let mut word = 0;
        loop {
            if let Some(Op::Register(op)) = program.ops.get(word) {
                self.state.execute(op);
                self.note(word);
                word += 1;
                continue;
            }
            let flow = self.step(program, word, firmware);
            self.note(word);
            match flow.map_err(|kind| kind.at(word))? {
                Flow::Next(next) => word = next,
                Flow::Done => return self.leave().map_err(|kind| kind.at(word)),
            }
        }
    }

    /// Keeps what the instruction at `word` or its slots did that a card might not forgive.
    #[inline]
    fn note(&mut self, word_index: usize) {
        if let Some(kind) = self.state.finding.take() {
            self.findings.add(Finding { word_index, kind });
        }
    }

    /// What all runs in strict mode did that a card might not forgive.
    pub fn findings(&self) -> &[Finding] {
        self.findings.get()
    }

    /// Executes the word at `word`, with the slots that it defers to.
    fn step<F: Firmware>(
        &mut self,
        program: &Program,
        word: usize,
        firmware: &mut F,
    ) -> Result<Flow, FaultKind> {
        let op = program.ops.get(word).ok_or(FaultKind::End)?;
        let jump = match *op {
            Op::Branch {
                condition,
                target,
                defer,
            } => {
                if !self.state.holds(condition) {
                    return Ok(self.not_taken(word));
                }
                let bubbles = if condition == Condition::Always {
                    BUBBLES_ALWAYS
                } else {
                    BUBBLES_TESTED
                };
                Jump {
                    target,
                    defer,
                    bubbles,
                }
            }
            Op::BranchBit {
                src,
                bit,
                set,
                target,
                defer,
            } => {
                if (self.state.read(src) >> bit & 1 == 1) != set {
                    return Ok(self.not_taken(word));
                }
                Jump {
                    target,
                    defer,
                    bubbles: BUBBLES_TESTED,
                }
            }
            Op::Return { src, post, defer } => {
                let target = program.target(self.state.read(src));
                self.state.post_modify(post);
                Jump {
                    target,
                    defer,
                    bubbles: BUBBLES_TESTED,
                }
            }
            Op::Command(form) if form.defer > 0 => {
                return self.deferring_command(program, word, form, firmware);
            }
            Op::Register(_) | Op::CsrRead { .. } | Op::Command(_) => {
                self.straight(op, firmware)?;
                return Ok(Flow::Next(word + 1));
            }
        };
        self.jump(program, word, jump, firmware)
    }

    fn not_taken(&mut self, word: usize) -> Flow {
        self.state.count();
        Flow::Next(word + 1)
    }

    fn deferring_command<F: Firmware>(
        &mut self,
        program: &Program,
        word: usize,
        form: CommandForm,
        firmware: &mut F,
    ) -> Result<Flow, FaultKind> {
        // The address is that of now, the data what the slots have put in transfer registers.
        let command: Issued = self.issue(form)?;
        self.state.count();
        self.slots(program, word, form.defer, firmware)?;
        self.perform(command, firmware)?;
        Ok(Flow::Next(word + 1 + usize::from(form.defer)))
    }

    fn jump<F: Firmware>(
        &mut self,
        program: &Program,
        word: usize,
        jump: Jump,
        firmware: &mut F,
    ) -> Result<Flow, FaultKind> {
        self.state.count();
        self.slots(program, word, jump.defer, firmware)?;
        self.state.cost.cycles += u64::from(jump.bubbles.saturating_sub(jump.defer));
        if self.state.cost.instructions > self.config.budget {
            let budget = self.config.budget;
            return Err(FaultKind::Budget { budget });
        }
        match jump.target {
            Target::Word(target) => Ok(Flow::Next(target.into())),
            Target::Done => Ok(Flow::Done),
            Target::Helper(helper) => self.call(program, helper, firmware),
            Target::Nowhere(address) => Err(FaultKind::BranchTarget { address }),
        }
    }

    /// Executes the `count` words after the one at `word`.
    fn slots<F: Firmware>(
        &mut self,
        program: &Program,
        word: usize,
        count: u8,
        firmware: &mut F,
    ) -> Result<(), FaultKind> {
        for slot in word + 1..=word + usize::from(count) {
            self.straight(program.ops.get(slot).ok_or(FaultKind::End)?, firmware)?;
        }
        Ok(())
    }

    /// Calls a firmware routine, which returns to the address in B0.
    fn call<F: Firmware>(
        &mut self,
        program: &Program,
        helper: Helper,
        firmware: &mut F,
    ) -> Result<Flow, FaultKind> {
        self.state.cost.waits.count(helper.wait());
        self.state.settle_all();
        let return_address = self.state.gpr(Bank::B, 0);
        let call = HelperCall {
            state: &self.state,
            packet: self.packet(),
        };
        let result = firmware.call(helper, &call)?;
        for bank in [Bank::A, Bank::B] {
            for register in CLOBBERED {
                let value = 0xbadb_ad00 | u32::from(register);
                self.state.set_gpr(bank, register, value);
            }
            self.state.set_gpr(bank, 0, result as u32);
            self.state.set_gpr(bank, 1, (result >> 32) as u32);
        }
        match program.target(return_address) {
            Target::Word(word) => Ok(Flow::Next(word.into())),
            Target::Done | Target::Helper(_) | Target::Nowhere(_) => Err(FaultKind::BranchTarget {
                address: return_address,
            }),
        }
    }

    /// Executes an instruction after which the next word follows.
    fn straight<F: Firmware>(&mut self, op: &Op, firmware: &mut F) -> Result<(), FaultKind> {
        match *op {
            Op::Register(ref op) => {
                self.state.execute(op);
                return Ok(());
            }
            Op::CsrRead { csr } => self.read_csr(csr, firmware),
            Op::Command(form) if form.defer == 0 => {
                let command = self.issue(form)?;
                self.perform(command, firmware)?;
            }
            Op::Command(_) | Op::Branch { .. } | Op::BranchBit { .. } | Op::Return { .. } => {
                return Err(FaultKind::DeferSlot);
            }
        }
        self.state.count();
        Ok(())
    }

    fn read_csr<F: Firmware>(&mut self, csr: Csr, firmware: &mut F) {
        self.state.settle();
        self.state.csr_value = Some(match csr {
            Csr::PseudoRandom => firmware.random(),
            Csr::ContextPointer => 0,
            Csr::LmAddr0 => self.state.lm_address(0),
            Csr::LmAddr1 => self.state.lm_address(1),
            Csr::LmAddr2 => self.state.lm_address(2),
            Csr::LmAddr3 => self.state.lm_address(3),
        });
    }
}
