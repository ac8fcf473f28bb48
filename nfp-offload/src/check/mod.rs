//! Whether a program can be offloaded: every reason against it at once, before translation, each
//! with the sentence that the driver (`nfp/bpf/verifier.c`, `offload.c`) or the kernel would end
//! the load with.

mod arithmetic;
mod call;
mod maps;
mod memory;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use iom_core::isa::{ByteOrder, CallTarget, Imm64, Insn, encode};
use iom_core::module::{Module, Program, ProgramType};
use iom_core::verifier::{Facts, InsnFacts, Range};

use crate::profile::FirmwareProfile;
use crate::translate::{layout, stack_bytes};

/// A step of the load, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The driver reads the firmware's capabilities.
    FirmwareCapabilities,
    /// Maps are created on the card.
    MapCreate,
    /// The kernel's own verifier.
    KernelVerifier,
    /// The driver's hook in it.
    NfpVerifier,
    /// Translation.
    Translate,
    /// The program is attached to the port.
    Load,
}

impl Stage {
    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirmwareCapabilities => "fw-capabilities",
            Self::MapCreate => "map-create",
            Self::KernelVerifier => "kernel-verifier",
            Self::NfpVerifier => "nfp-verifier",
            Self::Translate => "translate",
            Self::Load => "load",
        }
    }
}

/// One reason against offloading a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Where the load would end.
    pub stage: Stage,
    /// Slot of the instruction, if one is to blame.
    pub insn: Option<usize>,
    /// What the driver or the kernel would print.
    pub driver: String,
    /// What is wrong, with the limit and the value found.
    pub message: String,
    /// What to do about it.
    pub fix: Option<&'static str>,
}

/// Every reason against offloading, the one that the driver would name first in front.
pub fn check(
    module: &Module,
    entry: usize,
    facts: &Facts,
    profile: &FirmwareProfile,
) -> Vec<Reason> {
    let program = &module.programs[entry];
    let mut check = Check {
        module,
        program,
        profile,
        slot: None,
        reasons: Vec::new(),
        map_words: BTreeMap::new(),
        updated: BTreeSet::new(),
    };
    check.firmware();
    maps::check(&mut check);
    for slot in order::visited(program, facts) {
        check.slot = Some(slot);
        check.insn(program.insns[slot], &facts.insns[slot]);
    }
    check.slot = None;
    check.limits(facts);
    check.reasons.sort_by_key(|reason| reason.stage);
    check.reasons
}

/// How a word of a map value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordUse {
    Read,
    Counted,
}

impl WordUse {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Counted => "atomic",
        }
    }
}

struct Check<'a> {
    module: &'a Module,
    program: &'a Program,
    profile: &'a FirmwareProfile,
    /// The instruction at hand.
    slot: Option<usize>,
    reasons: Vec<Reason>,
    /// Uses of map-value words: map and word to first use.
    map_words: BTreeMap<(u32, i64), WordUse>,
    /// Map-value words that an update may set to something other than zero.
    updated: BTreeSet<(u32, i64)>,
}

impl Check<'_> {
    fn refuse(
        &mut self,
        stage: Stage,
        driver: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<Option<&'static str>>,
    ) {
        self.reasons.push(Reason {
            stage,
            insn: self.slot,
            driver: driver.into(),
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// A reason of the driver's verifier hook.
    fn hook(
        &mut self,
        driver: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<Option<&'static str>>,
    ) {
        self.refuse(Stage::NfpVerifier, driver, message, fix);
    }

    fn firmware(&mut self) {
        let abi = self.profile.abi;
        if !matches!(abi, 2 | 3) {
            self.refuse(
                Stage::FirmwareCapabilities,
                "NFP firmware does not support eBPF offload",
                format!("the driver knows ABI 2 and 3, the firmware has {abi}"),
                "load a firmware with BPF support",
            );
        }
        let program_type = self.program.program_type;
        if !matches!(program_type, ProgramType::Xdp | ProgramType::SchedCls) {
            self.refuse(
                Stage::FirmwareCapabilities,
                "Invalid argument",
                format!("only XDP and TC programs can be offloaded, not {program_type:?}"),
                "make it an XDP program",
            );
        }
    }

    fn insn(&mut self, insn: Insn, facts: &InsnFacts) {
        match insn {
            Insn::Alu {
                op,
                width,
                dst: _,
                src,
            } => arithmetic::check(self, insn, op, width, src, facts),
            Insn::ByteSwap {
                order: ByteOrder::Big,
                ..
            }
            | Insn::Mov { .. }
            | Insn::Neg { .. }
            | Insn::LoadImm64 {
                value: Imm64::Map(_) | Imm64::Number(_),
                ..
            }
            | Insn::WideTail
            | Insn::Jump { long: false, .. }
            | Insn::JumpIf { .. }
            | Insn::LoadPacket { .. }
            | Insn::Call {
                target: CallTarget::Local(_),
            } => {}
            Insn::ByteSwap { .. } => self.opcode(
                insn,
                "the card swaps to big-endian only",
                "use bpf_htons and its kin",
            ),
            Insn::LoadImm64 { .. } => self.refuse(
                Stage::MapCreate,
                "offloaded map type must be array or hash",
                "the card has no global data: no addresses in map values, of variables, of functions",
                GLOBALS,
            ),
            Insn::Load { signed: true, .. } | Insn::MovSigned { .. } => {
                self.opcode(insn, "the card does not extend signs", CPU_V3);
            }
            Insn::Load {
                size, base: _, off, ..
            } => memory::load(self, size, off, facts),
            Insn::Store { size, off, src, .. } => memory::store(self, size, off, src, facts),
            Insn::Atomic { op, size, off, .. } => {
                memory::atomic(self, insn, op, size, off, facts);
            }
            Insn::Call {
                target: CallTarget::Helper(number),
            } => call::helper(self, number, facts.call.unwrap_or_default()),
            Insn::Call {
                target: CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
            } => self.refuse(
                Stage::KernelVerifier,
                "calling kernel function is not allowed",
                "the card has no kernel functions",
                None,
            ),
            Insn::Jump { long: true, .. } | Insn::MayGoto { .. } => {
                self.opcode(insn, "the driver does not know this jump", CPU_V3);
            }
            Insn::Exit => self.exit(facts.result),
        }
    }

    /// An instruction for which the driver has no translation.
    fn opcode(&mut self, insn: Insn, message: &str, fix: &'static str) {
        let code = encode(&[insn]).first().copied().unwrap_or_default();
        self.hook(
            format!("instruction {code:#04x} not supported"),
            message,
            fix,
        );
    }

    /// TC programs may only return what the firmware can tell apart.
    fn exit(&mut self, result: Option<Range>) {
        const STOLEN_SHOT_QUEUED: [u64; 3] = [2, 4, 5];
        const REDIRECT: u64 = 7;
        let in_entry = self
            .slot
            .is_none_or(|slot| self.program.function_of(slot) == 0);
        if self.program.program_type != ProgramType::SchedCls || !in_entry {
            return;
        }
        let Some(range) = result else { return };
        let fix = "return TC_ACT_SHOT, TC_ACT_STOLEN, TC_ACT_QUEUED or TC_ACT_UNSPEC as constants";
        match range.as_constant() {
            None => self.hook(
                format!("unsupported exit state: 1, var_off: {}", known_bits(range)),
                format!(
                    "the return value must be a constant, it is {} to {}",
                    range.min, range.max
                ),
                fix,
            ),
            Some(value) if value <= REDIRECT && !STOLEN_SHOT_QUEUED.contains(&value) => self.hook(
                format!("unsupported exit state: 1, imm: {value:x}"),
                format!("the card cannot carry out TC action {value}"),
                fix,
            ),
            Some(_) => {}
        }
    }

    /// The stack, and how far into the packet the program looks.
    fn limits(&mut self, facts: &Facts) {
        let stack = stack_bytes(self.program, &layout(self.program, facts));
        let max = u32::from(self.profile.stack_bytes) / 64 * 64;
        if stack > max {
            self.hook(
                format!("stack too large: program {stack}B > FW stack {max}B"),
                format!("the program needs {stack} bytes of stack, the firmware gives {max}"),
                "keep large values in a map, or in fewer functions at once",
            );
        }
        let split = (u32::from(self.profile.inline_mtu) * 64).saturating_sub(32);
        let looks = facts.packet_bytes.unwrap_or(0).min(self.profile.port_mtu);
        if split < looks {
            self.refuse(
                Stage::Load,
                "BPF offload not supported with potential packet access beyond HW packet split boundary",
                format!("the program looks at {looks} bytes of a packet; {split} are within reach"),
                "look at fewer bytes, or lower the port's MTU",
            );
        }
    }
}

/// A number as the kernel prints what it knows of its bits (`tnum_strn` of `tnum_range`).
fn known_bits(range: Range) -> String {
    let differing = range.min ^ range.max;
    let mask = match differing.leading_zeros() {
        0 => u64::MAX,
        zeros => (1u64 << (64 - zeros)) - 1,
    };
    format!("({:#x}; {mask:#x})", range.min & !mask).replace("(0x0;", "(0;")
}

const CPU_V3: &str = "compile with -mcpu=v3 or lower";
const GLOBALS: &str = "make it a constant (`static const` that the compiler folds, `#define`) or a value of an array map";
