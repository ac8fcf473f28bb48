//! Whether a program can be offloaded: every reason against it at once, before translation, each
//! with the sentence that the driver (`nfp/bpf/verifier.c`, `offload.c`) or the kernel would end
//! the load with.

mod arithmetic;
mod attach;
mod call;
mod maps;
mod memory;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use iom_core::isa::{AluOp, ByteOrder, CallTarget, Imm64, Insn, encode};
use iom_core::module::{Module, Program, ProgramType, XdpAttach};
use iom_core::verifier::{
    Argument, Facts, KnownBits, Options, Refusal, Rules, Visit, verify_with_facts,
};

use crate::profile::FirmwareProfile;
use crate::translate::{TranslateError, TranslateErrorKind, layout, mark_removed, stack_bytes};

pub use attach::{Attachment, TcFilter};
pub use rule::Rule;

/// A step of the load, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The driver reads the firmware's capabilities.
    FirmwareCapabilities,
    /// Maps are created on the card.
    MapCreate,
    /// The driver's hook in the kernel's verifier, which is asked before an instruction is checked.
    NfpVerifier,
    /// The kernel's own verifier.
    KernelVerifier,
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
    /// The rule that is not kept.
    pub rule: Rule,
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

impl Reason {
    /// A reason that no instruction is to blame for.
    pub(super) fn of(
        rule: Rule,
        driver: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<Option<&'static str>>,
    ) -> Self {
        Self {
            rule,
            stage: rule.stage(),
            insn: None,
            driver: driver.into(),
            message: message.into(),
            fix: fix.into(),
        }
    }

    /// Why a program of so many slots cannot be translated.
    pub(super) fn of_translation(error: &TranslateError, slots: usize) -> Self {
        let rule = match error.kind {
            TranslateErrorKind::Context => Rule::ContextField,
            TranslateErrorKind::StoreConstant => Rule::StoreConstant,
            TranslateErrorKind::Encode { .. } => Rule::ShiftAmount,
            TranslateErrorKind::TooLong { .. } => Rule::ProgramLength,
            TranslateErrorKind::LandsOnRemoved { .. } => Rule::RemovedTarget,
            TranslateErrorKind::Pointer
            | TranslateErrorKind::DivideByZero
            | TranslateErrorKind::NotConstantDivision
            | TranslateErrorKind::NoRecipe => Rule::Translation,
        };
        Self {
            insn: (error.insn < slots).then_some(error.insn),
            ..Self::of(
                rule,
                error.driver_message(),
                error.kind.to_string(),
                rule.fix(),
            )
        }
    }
}

/// A program's facts, up to where the kernel's verifier refuses it, and every reason against
/// offloading it, the one that the driver would name first in front.
pub fn check(module: &Module, entry: usize, profile: &FirmwareProfile) -> (Facts, Vec<Reason>) {
    let program = &module.programs[entry];
    let mut check = Check {
        module,
        program,
        profile,
        slot: None,
        reasons: Vec::new(),
        map_words: BTreeMap::new(),
        updated: BTreeSet::new(),
        refused: BTreeSet::new(),
    };
    check.firmware();
    maps::check(&mut check);
    let (verification, mut facts) =
        verify_with_facts(module, program, OPTIONS, &mut |visit| check.visit(visit));
    check.slot = None;
    mark_removed(program, &mut facts);
    if facts.complete {
        check.limits(&facts);
    }
    if let Some(refusal) = verification.refusal {
        check.verifier(&refusal);
    }
    // The translator goes through the program in its own order.
    check.reasons.sort_by_key(|reason| {
        let slot = reason.insn.filter(|_| reason.stage == Stage::Translate);
        (reason.stage, slot)
    });
    (facts, check.reasons)
}

/// How Linux verifies an offloaded program, by the rules of the version that the driver's words were
/// recorded with.
const OPTIONS: Options = Options {
    offloaded: true,
    rules: Rules::Linux6_1,
    strict_alignment: false,
    frequent_states: false,
    keep_ranges: false,
};

/// Facts that hold on all paths, not only on those that the kernel's verifier follows; unless there
/// are too many.
pub fn facts_of_all_paths(module: &Module, program: &Program) -> Option<Facts> {
    let options = Options {
        keep_ranges: true,
        ..OPTIONS
    };
    let (_, facts) = verify_with_facts(module, program, options, &mut |_| {});
    facts.complete.then_some(facts)
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
    /// Slots that have a reason; later visits do not repeat it.
    refused: BTreeSet<usize>,
}

impl Check<'_> {
    /// A visit of an instruction, before the kernel's verifier looks at it.
    fn visit(&mut self, visit: Visit<'_>) {
        if self.refused.contains(&visit.slot) {
            return;
        }
        let known = self.reasons.len();
        self.slot = Some(visit.slot);
        self.insn(self.program.insns[visit.slot], visit);
        if self.reasons.len() > known {
            self.refused.insert(visit.slot);
        }
    }

    /// What the kernel's own verifier says.
    fn verifier(&mut self, refusal: &Refusal) {
        self.slot = Some(refusal.insn).filter(|insn| *insn < self.program.insns.len());
        let driver = refusal.messages.join("\n");
        let is_new = self.slot.is_some_and(|slot| {
            let insn = self.program.insns[slot];
            let signed = [AluOp::SignedDiv, AluOp::SignedMod];
            matches!(insn, Insn::MovSigned { .. })
                || matches!(insn, Insn::Alu { op, .. } if signed.contains(&op))
        });
        let fix = is_new.then_some(CPU_V3);
        self.refuse(Rule::Verifier, driver, refusal.reason.clone(), fix);
    }

    fn refuse(
        &mut self,
        rule: Rule,
        driver: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<Option<&'static str>>,
    ) {
        self.reasons.push(Reason {
            insn: self.slot,
            ..Reason::of(rule, driver, message, fix)
        });
    }

    fn firmware(&mut self) {
        let abi = self.profile.abi;
        if !matches!(abi, 2 | 3) {
            self.refuse(
                Rule::Abi,
                "NFP firmware does not support eBPF offload",
                format!("the driver knows ABI 2 and 3, the firmware has {abi}"),
                "load a firmware with BPF support",
            );
        }
        let program_type = self.program.program_type;
        if !matches!(program_type, ProgramType::Xdp | ProgramType::SchedCls) {
            self.refuse(
                Rule::ProgramType,
                "Invalid argument",
                format!("only XDP and TC programs can be offloaded, not {program_type:?}"),
                "make it an XDP program",
            );
        }
        if self.program.fragments {
            self.refuse(
                Rule::LoadFlags,
                "Invalid argument",
                "a program that takes fragments (xdp.frags) is loaded with a flag, and the card takes none",
                "put it into section xdp; the card gives it the first part of a packet",
            );
        }
        if self.program.attach != XdpAttach::Device {
            self.refuse(
                Rule::AttachPoint,
                "Invalid argument",
                "the program is for entries of a devmap or cpumap, which the card does not have",
                "put it into section xdp",
            );
        }
    }

    fn insn(&mut self, insn: Insn, visit: Visit<'_>) {
        match insn {
            Insn::Alu {
                op,
                width,
                dst: _,
                src,
            } => arithmetic::check(self, insn, op, width, src, visit.so_far),
            Insn::ByteSwap {
                order: ByteOrder::Big,
                ..
            }
            | Insn::Mov { .. }
            // Not for the driver: the kernel of its time has no such move.
            | Insn::MovSigned { .. }
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
            Insn::LoadImm64 { .. } => self.refuse(Rule::GlobalData,
                "offloaded map type must be array or hash",
                "the card has no global data: no addresses in map values, of variables, of functions",
                GLOBALS,
            ),
            Insn::Load { signed: true, .. } => {
                self.opcode(insn, "the card does not extend signs", CPU_V3);
            }
            Insn::Load {
                size, base, off, ..
            } => memory::load(self, size, (base, off), visit),
            Insn::Store { base, off, src, .. } => memory::store(self, (base, off), src, visit),
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => memory::atomic(self, insn, (op, size), (base, off), src, visit),
            Insn::Call {
                target: CallTarget::Helper(number),
            } => call::helper(self, number, visit),
            Insn::Call {
                target: CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
            } => self.refuse(Rule::Kfunc,
                "calling kernel function is not allowed",
                "the card has no kernel functions",
                None,
            ),
            Insn::Jump { long: true, .. } | Insn::MayGoto { .. } => {
                self.opcode(insn, "the driver does not know this jump", CPU_V3);
            }
            Insn::Exit => self.exit(visit.now.result),
        }
    }

    /// An instruction for which the driver has no translation.
    fn opcode(&mut self, insn: Insn, message: &str, fix: &'static str) {
        let code = encode(&[insn]).first().copied().unwrap_or_default();
        self.refuse(
            Rule::Opcode,
            format!("instruction {code:#04x} not supported"),
            message,
            fix,
        );
    }

    /// TC programs may only return what the firmware can tell apart.
    fn exit(&mut self, result: Option<Argument>) {
        const STOLEN_SHOT_QUEUED: [u64; 3] = [2, 4, 5];
        const REDIRECT: u64 = 7;
        if self.program.program_type != ProgramType::SchedCls {
            return;
        }
        let result = result.unwrap_or_default();
        let fix = "return TC_ACT_SHOT, TC_ACT_STOLEN, TC_ACT_QUEUED or TC_ACT_UNSPEC as constants";
        match result.as_constant() {
            None => {
                let bits = known_bits(result);
                let kind = memory::argument_type(result);
                self.refuse(
                    Rule::ExitNotConstant,
                    format!("unsupported exit state: {kind}, var_off: {bits}"),
                    format!(
                        "the return value must be a constant; of its bits this is known: {bits}"
                    ),
                    fix,
                );
            }
            Some(value) if value <= REDIRECT && !STOLEN_SHOT_QUEUED.contains(&value) => self
                .refuse(
                    Rule::ExitState,
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
            self.refuse(
                Rule::StackSize,
                format!("stack too large: program {stack}B > FW stack {max}B"),
                format!("the program needs {stack} bytes of stack, the firmware gives {max}"),
                "keep large values in a map, or in fewer functions at once",
            );
        }
        attach::split_boundary(self.profile, facts.last_packet_byte, &mut self.reasons);
    }
}

const CPU_V3: &str = "compile with -mcpu=v3 or lower";
const GLOBALS: &str = "make it a constant (`static const` that the compiler folds, `#define`) or a value of an array map";

/// What is known of the bits of a register, also of what is added to a pointer.
fn known_bits(argument: Argument) -> KnownBits {
    match argument {
        Argument::Number(bits) => bits,
        Argument::Pointer(pointer) => pointer.variable,
        Argument::Unset => KnownBits {
            value: 0,
            mask: u64::MAX,
        },
        Argument::Other => KnownBits::default(),
    }
}
