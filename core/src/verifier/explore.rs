//! The walk over all paths, depth first and in Linux's order (`do_check`): the fall-through first,
//! the jump later.

use bitvec::{bitvec, vec::BitVec};
use std::collections::{BTreeMap, HashMap};

use super::cfg::{self, Flow};
use super::function::{FunctionInfo, functions};
use super::kernel_log::KernelLog;
use super::linux_6_1::{FrameMarks, Rules};
use super::liveness::{RegisterSet, live_registers};
use super::maps::Maps;
use super::prune::{Explored, LoopVisit};
use super::record::Recorder;
use super::register::{Kind, Register};
use super::reject::{Check, Rejection, reject};
use super::report::Visits;
use super::stack_liveness::StackLiveness;
use super::state::{Place, State, StateId, Step};
use super::watch::Watch;
use crate::isa::{Insn, Reg};
use crate::module::{Module, Program, ProgramType};
use crate::object::btf::Btf;

/// Instructions that Linux looks at before it gives up (`BPF_COMPLEXITY_LIMIT_INSNS`).
pub(super) const MAX_PROCESSED: u64 = 1_000_000;
/// Paths that may wait (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const MAX_PENDING: usize = 8192;

/// How a program is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags, as of the load call"
)]
pub struct Options {
    /// Every access must be aligned (`BPF_F_STRICT_ALIGNMENT`).
    pub strict_alignment: bool,
    /// States are remembered wherever they can be (`BPF_F_TEST_STATE_FREQ`).
    pub frequent_states: bool,
    /// The program is to run on a device (`prog_ifindex`), which lets it choose the RX queue.
    pub offloaded: bool,
    /// A path is cut short only where an earlier one had its ranges or wider ones, whether they
    /// matter or not, so that ranges hold on all paths. Only by the rules of Linux 6.1.
    pub keep_ranges: bool,
    /// Whose rules hold where versions of Linux differ.
    pub rules: Rules,
}

/// What follows an instruction.
pub(super) enum Next {
    Fall,
    Go(i64),
    PathEnds,
}

struct Pending {
    insn: usize,
    previous: i64,
    state: State,
}

/// The verifier at work on one program.
pub(super) struct Verifier<'a> {
    pub(super) module: &'a Module,
    pub(super) program: &'a Program,
    pub(super) options: Options,
    pub(super) btf: Option<Btf>,
    pub(super) maps: Maps<'a>,
    pub(super) functions: Vec<FunctionInfo>,
    pub(super) flow: Vec<Flow>,
    pub(super) live: Vec<RegisterSet>,
    pub(super) loops: Vec<u32>,
    pub(super) state: State,
    pub(super) insn: usize,
    pub(super) previous: i64,
    pending: Vec<Pending>,
    pub(super) explored: Vec<Option<Box<Explored>>>,
    pub(super) buckets: Vec<Vec<StateId>>,
    pub(super) loop_visits: HashMap<(Vec<u32>, u32), LoopVisit>,
    pub(super) next_id: u32,
    pub(super) counts: Counts,
    /// The instruction at hand already has a step in the history.
    pub(super) step_open: bool,
    /// By function, in bytes.
    pub(super) stack_depth: Vec<i64>,
    /// Slots that some path reached.
    pub(super) seen: BitVec,
    pub(super) pointer_kinds: Vec<Option<Kind>>,
    pub(super) stack_live: StackLiveness,
    /// How often each slot was looked at, and how often its state was remembered.
    pub(super) visits: Vec<Visits>,
    pub(super) watch: Option<Box<Watch>>,
    /// Calls of `bpf_loop` with the function that they call, `None` where it is not always the same.
    pub(super) inline_loops: BTreeMap<usize, Option<usize>>,
    /// Facts are gathered here, if they are asked for.
    pub(super) recorder: Option<Recorder<'a>>,
}

/// Counters that Linux prints, and those that decide when states are remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) processed: u64,
    pub(super) jumps: u64,
    pub(super) processed_at_state: u64,
    pub(super) jumps_at_state: u64,
    pub(super) total_states: u64,
    pub(super) peak_states: u64,
    pub(super) max_states_per_insn: u64,
    /// States in the lists, states waiting to be freed, and states of closed loops.
    pub(super) listed: u64,
    pub(super) to_free: u64,
    pub(super) backedges: u64,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(module: &'a Module, program: &'a Program, options: Options) -> Self {
        let count = program.insns.len();
        let btf = module.btf.as_deref().and_then(|btf| Btf::parse(btf).ok());
        Self {
            module,
            program,
            options,
            maps: Maps::of(module, btf.as_ref()),
            flow: Vec::new(),
            live: Vec::new(),
            loops: Vec::new(),
            state: State::entry(0, 0),
            functions: functions(program, btf.as_ref()),
            insn: 0,
            previous: -1,
            pending: Vec::new(),
            explored: Vec::new(),
            buckets: vec![Vec::new(); count],
            loop_visits: HashMap::new(),
            next_id: 0,
            counts: Counts::default(),
            step_open: false,
            stack_depth: vec![0; program.functions.len()],
            seen: bitvec![0; count],
            pointer_kinds: vec![None; count],
            stack_live: StackLiveness::default(),
            inline_loops: BTreeMap::new(),
            btf,
            visits: vec![Visits::default(); count],
            watch: None,
            recorder: None,
        }
    }

    /// Verifies the program.
    pub(super) fn run(&mut self) -> Check {
        if self.program.insns.is_empty() {
            return reject("last insn is not an exit or jmp");
        }
        self.check_kfuncs_allowed()?;
        cfg::check_functions(self.program)?;
        self.check_abnormal_returns()?;
        self.check_map_references()?;
        self.flow = cfg::check_flow(self.program)?;
        if self.options.rules.are_6_1() {
            self.loops = vec![0; self.program.insns.len()];
        } else {
            self.loops = cfg::loops(&self.program.insns);
        }
        self.live = live_registers(&self.program.insns);
        self.with_log(|log| log.live(&self.program.insns, &self.live, &self.loops));
        let mut state = State::entry(0, 0);
        state.frame_mut().registers[1] = Register::pointer(Kind::Context);
        if self.options.rules.are_6_1() {
            state.marks = vec![FrameMarks::default()];
        }
        self.start(state);
        self.walk()?;
        self.verify_global_functions()?;
        self.with_log(KernelLog::walked);
        self.record_end();
        self.check_call_depth()
    }

    /// Begins at a state, with nothing remembered of other functions.
    pub(super) fn start(&mut self, state: State) {
        (self.insn, self.previous) = (state.first_insn, -1);
        self.state = state;
        self.explored.clear();
        self.buckets = vec![Vec::new(); self.program.insns.len()];
        self.loop_visits.clear();
        self.stack_live = StackLiveness::default();
    }

    pub(super) fn walk(&mut self) -> Check {
        loop {
            let next = match self.visit() {
                Err(rejection) => self.watch_refused(rejection)?,
                Ok(next) => next,
            };
            match next {
                Next::Fall => self.insn += 1,
                Next::Go(target) => self.insn = target as usize,
                Next::PathEnds => {
                    self.stack_live.update(&self.state, &self.program.insns);
                    self.end_path();
                    let Some(next) = self.pending.pop() else {
                        return Ok(());
                    };
                    (self.insn, self.previous) = (next.insn, next.previous);
                    self.state = next.state;
                    self.watch_pop();
                }
            }
        }
    }

    fn is_known_by_rules(&mut self) -> Check<bool> {
        match self.options.rules {
            Rules::Linux6_18 => self.is_known(),
            Rules::Linux6_1 => self.is_known_6_1(),
        }
    }

    fn visit(&mut self) -> Check<Next> {
        self.step_open = false;
        let (slot, count) = (self.insn, self.program.insns.len());
        if slot >= count {
            return reject(format!("invalid insn idx {slot} insn_cnt {count}"));
        }
        self.counts.processed += 1;
        if self.counts.processed > MAX_PROCESSED {
            let processed = self.counts.processed;
            return reject(format!(
                "BPF program is too large. Processed {processed} insn"
            ));
        }
        self.state.last_insn = self.previous;
        self.state.insn = slot;
        let flow = self.flow[slot];
        if flow.prune_point && self.is_known_by_rules()? {
            self.with_log(|log| log.safe(self.previous, slot));
            return Ok(Next::PathEnds);
        }
        if flow.jump_point {
            self.push_step(|_| {});
        }
        if self.watch.is_some() {
            self.watch_before(slot);
        }
        self.visits[slot].visits += 1;
        self.seen.set(slot, true);
        self.record_visit(slot);
        let by_path = self.options.rules.are_6_1();
        if by_path {
            self.mark_operands(&self.program.insns[slot]);
        }
        let before = self.state.current();
        let bounds = self.bounds_of(self.state.frame().function);
        let next = self.execute(slot)?;
        self.previous = slot as i64;
        if before == self.state.current() && !by_path {
            self.stack_live.commit(&self.state, slot, bounds);
        }
        if self.watch.is_some() {
            self.watch_after(slot, &next);
        }
        Ok(next)
    }

    fn execute(&mut self, slot: usize) -> Check<Next> {
        let insn = self.program.insns[slot];
        match insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => self.alu(op, width, dst, src)?,
            Insn::Mov { width, dst, src } => self.mov(width, dst, src)?,
            Insn::MovSigned {
                width,
                dst,
                src,
                from,
            } => self.mov_signed(width, dst, src, from)?,
            Insn::Neg { width, dst } => self.negate(width, dst)?,
            Insn::ByteSwap { order, bits, dst } => self.byte_swap(order, bits, dst)?,
            Insn::LoadImm64 { dst, value } => {
                self.load_imm64(slot, dst, value)?;
                return Ok(Next::Go(slot as i64 + 2));
            }
            Insn::WideTail => return reject("invalid BPF_LD_IMM insn"),
            Insn::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => self.load(size, signed, dst, base, off)?,
            Insn::Store {
                size,
                base,
                off,
                src,
            } => self.store(size, base, off, src)?,
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => self.atomic(op, size, base, off, src)?,
            Insn::LoadPacket { mode, .. } => return self.load_packet(mode),
            Insn::Jump { .. } => {
                self.counts.jumps += 1;
                return Ok(Next::Go(insn.jump_target(slot).unwrap_or(0)));
            }
            Insn::MayGoto { off } => return self.may_goto(slot, off),
            Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                off,
            } => {
                self.counts.jumps += 1;
                return self.jump_if(cond, width, dst, src, off);
            }
            Insn::Call { target } => {
                self.counts.jumps += 1;
                return self.call(target);
            }
            Insn::Exit => {
                self.counts.jumps += 1;
                return self.exit();
            }
        }
        Ok(Next::Fall)
    }

    fn load_packet(&mut self, mode: crate::isa::PacketMode) -> Check<Next> {
        if self.program.program_type == ProgramType::Xdp {
            return reject("BPF_LD_[ABS|IND] instructions not allowed for this program type");
        }
        self.check_read(Reg::R6)?;
        self.check_leaks("BPF_LD_[ABS|IND]")?;
        self.check_no_lock("BPF_LD_[ABS|IND]")?;
        if self.state.reg(6).kind != Kind::Context {
            return reject("at the time of BPF_LD_ABS|IND R6 != pointer to skb");
        }
        if let crate::isa::PacketMode::Indirect(src) = mode {
            self.check_read(src)?;
        }
        self.check_no_offset(Reg::R6)?;
        self.clear_caller_saved();
        *self.state.reg_mut(0) = Register {
            half_written_at: self.insn as u32 + 1,
            ..Register::UNKNOWN
        };
        if self.state.frames.len() == 1 {
            return Ok(Next::Fall);
        }
        // A load outside of the packet returns from the function with zero.
        self.push_path(self.insn + 1, self.state.clone())?;
        *self.state.reg_mut(0) = Register::constant(0);
        self.exit_function()
    }

    /// First slot of a function and the one after its last.
    pub(super) fn bounds_of(&self, function: usize) -> (usize, usize) {
        let start = |index: usize| self.program.functions.get(index).map(|f| f.start as usize);
        let end = start(function + 1).unwrap_or(self.program.insns.len());
        (start(function).unwrap_or(0), end)
    }

    /// The number of a new id.
    pub(super) fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// Puts a path aside, to be followed later.
    pub(super) fn push_path(&mut self, insn: usize, state: State) -> Check {
        if self.pending.len() >= MAX_PENDING {
            let count = self.pending.len() + 1;
            return reject(format!("The sequence of {count} jumps is too complex."));
        }
        if let Some(parent) = state.parent {
            self.explored_mut(parent).state.branches += 1;
        }
        self.watch_push();
        self.pending.push(Pending {
            insn,
            previous: self.insn as i64,
            state,
        });
        Ok(())
    }

    /// Adds to the history, in the step of the instruction at hand.
    pub(super) fn push_step(&mut self, fill: impl FnOnce(&mut Step)) {
        let history = &mut self.state.history;
        if !self.step_open {
            history.push(Step {
                insn: self.insn as u32,
                previous: self.previous,
                stack: None,
                dst_is_stack: false,
                src_is_stack: false,
                linked: Vec::new(),
            });
            self.step_open = true;
        }
        if let Some(step) = history.last_mut() {
            fill(step);
        }
    }

    /// All numbers that share an id, six at most; more than that lose it.
    pub(super) fn collect_linked(&mut self, id: u32, linked: &mut Vec<Place>) {
        const MAX_LINKED: usize = 6;
        let id = id & !super::register::PLUS_CONSTANT;
        for frame in (0..self.state.frames.len()).rev() {
            let live = self.live[self.state.insn_of_frame(frame)];
            let registers = (0..10).filter(|index| live & (1 << index) != 0);
            let registers = registers.map(|index| (false, index));
            let slots = self.state.frames[frame].stack.iter().enumerate();
            let slots = slots.filter(|(_, slot)| slot.is_spilled());
            let slots: Vec<_> = slots.map(|(index, _)| (true, index)).collect();
            for (spilled, index) in registers.chain(slots) {
                let place = Place {
                    frame,
                    spilled,
                    index,
                };
                let register = self.state.at(place);
                if !register.is_scalar() || register.base_id() != id {
                    continue;
                }
                if linked.contains(&place) {
                    continue;
                }
                if linked.len() < MAX_LINKED {
                    linked.push(place);
                } else {
                    register.id = 0;
                }
            }
        }
    }

    pub(super) fn explored_mut(&mut self, id: StateId) -> &mut Explored {
        self.explored[id]
            .as_mut()
            .expect("a state with branches is kept")
    }

    /// The stacks of the functions that some path reached as Linux prints them, with what
    /// `may_goto` needs.
    pub(super) fn stack_depth_text(&self) -> String {
        let mut depths = Vec::new();
        for (index, depth) in self.stack_depth.iter().enumerate() {
            let (start, end) = self.bounds_of(index);
            let insns = &self.program.insns[start..end];
            let counts = |insn: &Insn| matches!(insn, Insn::MayGoto { off } if *off != 0);
            let budget = if insns.iter().any(counts) { 16 } else { 0 };
            if index == 0 || self.seen[start..end].any() {
                depths.push((depth + budget + self.inline_loop_stack(index)).to_string());
            }
        }
        depths.join("+")
    }

    /// The instruction that a rejection is about, where it is about one.
    pub(super) fn rejected_insn(&self, _rejection: &Rejection) -> usize {
        self.insn
    }
}
