//! Where the driver itself translates wrongly: programs that it accepts and whose words do
//! something else than the program. The words here are the same unless they are to be
//! [`Fixed`](super::DefectMode::Fixed); this names the places.

use iom_core::isa::{AluOp, CallTarget, Condition, Insn, Operand, Size, Width};
use iom_core::map::MapSpec;
use iom_core::module::ProgramType;
use iom_core::verifier::{Argument, Facts, InsnFacts, Pointer, Range, RegisterSet, live_registers};

use super::step::{Step, steps};
use super::{DefectMode, Input, adjust, divide, optimize};

/// A place where the words do not do what the program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Number of the defect, as in `docs/nfp.md`.
    pub id: u32,
    /// Slot of the instruction.
    pub insn: usize,
    /// What goes wrong.
    pub message: String,
    /// How to avoid it.
    pub fix: &'static str,
}

/// The driver's defects that a program runs into, in program order. `all_paths` are facts that
/// hold on every path, where those of the input hold on the paths that the verifier followed.
pub fn defects(input: Input<'_>, maps: &[MapSpec], all_paths: Option<&Facts>) -> Vec<Defect> {
    let mut changed = steps(input.program, input.facts);
    optimize::optimize(&mut changed, DefectMode::Kept);
    let lint = Lint {
        maps,
        live: live_registers(&input.program.insns),
        is_short: adjust::is_short(input.program, input.facts, input.profile),
    };
    let mut found = Vec::new();
    for (insn, step) in changed.iter().enumerate() {
        if step.is_skipped() {
            continue;
        }
        let original = input.program.insns[insn];
        let everywhere = all_paths.and_then(|facts| facts.insns.get(insn));
        let here = [
            everywhere.and_then(|all| pruned_range(original, step.facts, all)),
            negated_minimum(original),
            lint.copied_register(insn, step),
            overlapping_copy(step, changed.get(insn + 1)),
            division(step),
            shift_amount(original, step.facts),
            lint.behind_value(step, everywhere),
            lint.adjust_head(original),
            queued(input.program.program_type, step.facts),
        ];
        let here = here.into_iter().flatten();
        found.extend(here.map(|(id, message, fix)| Defect {
            id,
            insn,
            message,
            fix,
        }));
    }
    found
}

/// Facts with the ranges of all paths, for words that are right on all of them.
pub fn on_all_paths(facts: &Facts, all_paths: &Facts) -> Facts {
    let mut joined = facts.clone();
    for (insn, all) in joined.insns.iter_mut().zip(&all_paths.insns) {
        if let (Some((left, right)), Some((all_left, all_right))) = (&mut insn.ranges, all.ranges) {
            *left = left.join(all_left);
            *right = right.join(all_right);
        }
        if let (Some(addend), Some(all)) = (&mut insn.addend, all.addend) {
            addend.maybe_16 |= all.maybe_16;
            addend.over_16 |= all.over_16;
        }
    }
    joined
}

type Found = Option<(u32, String, &'static str)>;

/// What a lint looks at beside the instruction.
struct Lint<'a> {
    maps: &'a [MapSpec],
    /// Registers that are read later, before each instruction.
    live: Vec<RegisterSet>,
    /// The one `bpf_xdp_adjust_head` makes no tests.
    is_short: bool,
}

/// The form of an instruction that suits the paths that the verifier followed, and not one that
/// it cut short because it had seen a state like it.
fn pruned_range(insn: Insn, seen: &InsnFacts, all: &InsnFacts) -> Found {
    const MASK: &str =
        "mask or test the number right before, so that its range is the same on every path";
    const U16: u64 = 0xffff;
    const U32: u64 = 0xffff_ffff;
    if let (Some(seen), Some(all)) = (seen.addend, all.addend) {
        let is_missing = all.maybe_16 && !seen.maybe_16 || all.over_16 && !seen.over_16;
        let size = if seen.over_16 { "above" } else { "below" };
        return is_missing.then(|| {
            let message = format!("adds as if the number was always {size} 65,536, as it is on the paths that the verifier followed");
            (1, message, MASK)
        });
    }
    let Insn::Alu { op, width, src, .. } = insn else {
        return None;
    };
    let ((left, right), (all_left, all_right)) = (seen.ranges?, all.ranges?);
    let (what, seen, all) = match op {
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if matches!(src, Operand::Reg(_)) => {
            let is_right = shift_suits(right, width, all_right);
            (!is_right).then_some(("the amount", right, all_right))?
        }
        AluOp::Mul => {
            let limit = if left.max.max(right.max) <= U16 {
                U16
            } else {
                U32
            };
            let factors = [
                ("the first factor", left, all_left),
                ("the second factor", right, all_right),
            ];
            factors.into_iter().find(|(_, _, all)| all.max > limit)?
        }
        AluOp::Div if all_left.max > U32 => ("the dividend", left, all_left),
        AluOp::Div if all_right != right => ("the divisor", right, all_right),
        _ => return None,
    };
    let message = format!(
        "takes {what} for {}, as it is on the paths that the verifier followed; on others it may be {}",
        describe(seen),
        describe(all)
    );
    Some((1, message, MASK))
}

fn describe(range: Range) -> String {
    match range.as_constant() {
        Some(value) => value.to_string(),
        None => format!("{} to {}", range.min, range.max),
    }
}

/// Whether the words that a shift becomes for one range of its amount are right for another.
fn shift_suits(amount: Range, width: Width, all: Range) -> bool {
    match (amount.as_constant(), width) {
        (Some(constant), _) => all.as_constant() == Some(constant),
        (None, Width::W64) if amount.max < 32 => all.max < 32,
        (None, Width::W64) if amount.min >= 32 => all.min >= 32,
        (None, _) => true,
    }
}

/// -2^31 has no positive counterpart in 32 bits.
fn negated_minimum(insn: Insn) -> Found {
    const REGISTER: &str = "use the constant from a register";
    match insn {
        Insn::Alu {
            op: AluOp::Add | AluOp::Sub,
            width: Width::W64,
            src: Operand::Imm(i32::MIN),
            ..
        } => Some((
            2,
            "adds or subtracts -2^31 with the wrong sign".to_owned(),
            REGISTER,
        )),
        // Unsigned words compare alike with either sign.
        Insn::JumpIf {
            cond: Condition::Ge | Condition::Lt,
            width: Width::W32,
            ..
        } => None,
        Insn::JumpIf {
            cond: Condition::Ge | Condition::SignedGe | Condition::Lt | Condition::SignedLt,
            src: Operand::Imm(i32::MIN),
            ..
        } => Some((2, "compares with -2^31 wrongly".to_owned(), REGISTER)),
        _ => None,
    }
}

impl Lint<'_> {
    /// Copies after which the load register holds something else than the last load.
    fn copied_register(&self, slot: usize, step: &Step<'_>) -> Found {
        let gather = step.gather?;
        let Insn::Load { size, dst, .. } = step.insn else {
            return None;
        };
        let is_wrong = match size {
            Size::W => !gather.descending,
            Size::B => gather.descending,
            Size::H => gather.descending && gather.len.is_multiple_of(4),
            Size::DW => false,
        };
        let pairs = usize::from(gather.len) / size.bytes();
        let live = self.live.get(slot + 2 * pairs).copied().unwrap_or(0);
        (is_wrong && live >> dst.index() & 1 == 1).then(|| {
            let message = format!(
                "after this copy of {} bytes {dst} does not hold what was copied last",
                gather.len
            );
            (3, message, "read the value again where it is used")
        })
    }

    /// Short loads read a whole word, which may end behind the map value.
    fn behind_value(&self, step: &Step<'_>, everywhere: Option<&InsnFacts>) -> Found {
        let Insn::Load { size, off, .. } = step.insn else {
            return None;
        };
        let pointer = step.facts.pointer?;
        let Pointer::MapValue { map } = pointer.to else {
            return None;
        };
        let known = match everywhere.and_then(|all| all.pointer).map(|all| all.to) {
            Some(Pointer::MapValue { map }) => map,
            _ => map,
        };
        let value = match self.maps.get(known as usize) {
            Some(map) => map.value_size,
            // Recorded facts do not name the map.
            None => self.maps.iter().map(|map| map.value_size).min()?,
        };
        let end = pointer.offset + i64::from(off) + size.bytes().max(4) as i64;
        let behind = end - i64::from(value);
        (size.bytes() < 4 && behind > 0).then(|| {
            let message = format!("reads {behind} bytes behind the map value, too");
            let fix = "end the value with a field of 4 bytes; what is read there is not used";
            (9, message, fix)
        })
    }

    fn adjust_head(&self, insn: Insn) -> Found {
        let is_call = insn
            == Insn::Call {
                target: CallTarget::Helper(adjust::ADJUST_HEAD),
            };
        (is_call && self.is_short).then(|| {
            let message = "moves the head without a look at the length; frames under 60 bytes may become too short";
            let fix = "test the length before, or call the helper in two places";
            (10, message.to_owned(), fix)
        })
    }
}

/// A TC program's `TC_ACT_QUEUED`: direct action does not know it and goes on with the packet.
fn queued(program_type: ProgramType, facts: &InsnFacts) -> Found {
    const QUEUED: u64 = 5;
    let result = facts.result.and_then(Argument::as_constant);
    (program_type == ProgramType::SchedCls && result == Some(QUEUED)).then(|| {
        let message =
            "returns TC_ACT_QUEUED, on which the card drops the packet; the kernel goes on with it";
        (
            12,
            message.to_owned(),
            "return TC_ACT_STOLEN or TC_ACT_SHOT to drop it",
        )
    })
}

/// Copies made in one piece, although a part of one element is stored before it is read.
fn overlapping_copy(step: &Step<'_>, store: Option<&Step<'_>>) -> Found {
    let gather = step.gather?;
    let Insn::Load { size, off, .. } = step.insn else {
        return None;
    };
    let (from, to) = (step.facts.pointer?, store?.facts.pointer?);
    let in_packet = [from, to]
        .iter()
        .all(|pointer| pointer.to == Pointer::Packet);
    let read = i64::from(off) + from.offset;
    let written = i64::from(gather.store_off) + to.offset;
    let ahead = if gather.descending {
        read - written
    } else {
        written - read
    };
    let overlaps = in_packet
        && from.id == to.id
        && (1..i64::from(gather.len)).contains(&ahead)
        && ahead % size.bytes() as i64 != 0;
    overlaps.then(|| {
        let message = format!(
            "copies {} bytes in one piece, although some are read after others overwrote them",
            gather.len
        );
        (4, message, "copy through a local variable")
    })
}

/// A shift right by 0 is the indirect form, by whatever amount was left there.
fn division(step: &Step<'_>) -> Found {
    let Insn::Alu { op: AluOp::Div, .. } = step.insn else {
        return None;
    };
    let (_, divisor) = step.facts.ranges?;
    let divisor = u32::try_from(divisor.min).ok()?;
    divide::shifts_by_zero(divisor).then(|| {
        let message =
            format!("divides by {divisor} and shifts by an amount that is left over from before");
        (
            5,
            message,
            "divide in another way: by 1 not at all, else by a factor first",
        )
    })
}

/// Amounts of shifts by a register that are not cut as eBPF cuts them.
fn shift_amount(insn: Insn, facts: &InsnFacts) -> Found {
    const MASK: &str = "mask the amount with 63 (31 in 32 bits)";
    let Insn::Alu {
        op: op @ (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh),
        width,
        src: Operand::Reg(_),
        ..
    } = insn
    else {
        return None;
    };
    let (_, amount) = facts.ranges.unwrap_or((Range::FULL, Range::FULL));
    if amount.as_constant().is_some() {
        return None;
    }
    if op == AluOp::Arsh && amount.max >= 1 << 31 {
        let message = "bit 31 of the amount becomes the sign of the result";
        return Some((6, message.to_owned(), MASK));
    }
    let is_beyond = width == Width::W64 && amount.min >= 32 && amount.max >= 64;
    is_beyond.then(|| {
        let message = format!("shifts by {} as if by 32 to 63", describe(amount));
        (6, message, MASK)
    })
}
