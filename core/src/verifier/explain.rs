//! Explanations of refusals: what is wrong in plain words, where the values came from, what to do,
//! and every independent reason that a second run finds.

use super::classes::{CLASSES, Class};
use super::explore::{Options, Verifier};
use super::history::{Event, History};
use super::path::PathStep;
use super::prototype::{is_allowed, prototype};
use super::reject::{Rejection, reject};
use super::watch::Watch;
use crate::helper;
use crate::isa::{CallTarget, Insn, Operand, Reg};
use crate::module::{Module, Program};

/// Why a program is refused, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Slot of the instruction.
    pub insn: usize,
    /// What is wrong, in plain words.
    pub what: String,
    /// What to do about it, if that is known.
    pub fix: Option<String>,
    /// What happened to the values before, oldest first.
    pub history: Vec<Event>,
    /// Linux's lines for the error.
    pub messages: Vec<String>,
}

/// Reasons that are looked for at most.
pub(super) const MAX_REASONS: usize = 10;
/// Instructions that are spent on further reasons after the first.
pub(super) const MORE_PROCESSED: u64 = 50_000;

/// Verifies a program once more and explains why it is refused: first what Linux says first, then
/// what else is wrong on other paths or can be seen without following any. Empty if it is accepted.
pub fn explain(module: &Module, program: &Program, options: Options) -> Vec<Explanation> {
    let mut verifier = Verifier::new(module, program, options);
    verifier.watch = Some(Box::new(Watch::explaining()));
    let last = verifier.run().err();
    let watch = verifier.watch.take();
    let mut reasons = watch.map_or(Vec::new(), |watch| watch.found);
    if let Some(rejection) = last.filter(|_| reasons.is_empty()) {
        reasons.push(verifier.explain_whole(&rejection));
    }
    if !reasons.is_empty() {
        for (insn, rejection) in calls_that_fail(module, program) {
            if !reasons.iter().any(|reason| reason.insn == insn) {
                reasons.push(plain(insn, &rejection.messages));
            }
        }
    }
    reasons
}

/// What Linux's lines mean, and what to do about it. Without a row of its own, the lines as they are.
pub fn explain_messages(messages: &[String]) -> (String, Option<String>) {
    match find(messages) {
        Some((class, holes)) => (fill(class.what, &holes), Some(fill(class.fix, &holes))),
        None => (messages.join("; "), None),
    }
}

/// An explanation without a history.
fn plain(insn: usize, messages: &[String]) -> Explanation {
    let (what, fix) = explain_messages(messages);
    Explanation {
        insn,
        what,
        fix,
        history: Vec::new(),
        messages: messages.to_vec(),
    }
}

/// Calls that fail wherever they are made.
fn calls_that_fail(module: &Module, program: &Program) -> Vec<(usize, Rejection)> {
    let slots = program.insns.iter().enumerate();
    let fails = slots.filter_map(|(slot, insn)| {
        let Insn::Call {
            target: CallTarget::Helper(number),
        } = *insn
        else {
            return None;
        };
        let Some(helper) = helper::by_number(number) else {
            let message = format!("invalid func unknown#{number}");
            return Some((slot, reject::<()>(message).err()?));
        };
        let message = match prototype(number, program.program_type) {
            _ if !is_allowed(number, program.program_type) => format!(
                "program of this type cannot use helper {}#{number}",
                helper.name
            ),
            None => format!("helper {}#{number} is not supported", helper.name),
            Some(known) if known.gpl_only && !module.is_gpl_compatible() => {
                "cannot call GPL-restricted function from non-GPL compatible program".to_owned()
            }
            Some(_) => return None,
        };
        Some((slot, reject::<()>(message).err()?))
    });
    fails.take(MAX_REASONS).collect()
}

impl Verifier<'_> {
    /// An explanation with the histories of the values that the error names.
    pub(super) fn explain_here(&self, rejection: &Rejection, steps: &[PathStep]) -> Explanation {
        let history = History {
            program: self.program,
            maps: &self.maps,
            steps,
        };
        let holes = find(&rejection.messages).map_or(Vec::new(), |(_, holes)| holes);
        let hole = |name: &str| {
            holes
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, text)| *text)
        };
        let mut events = Vec::new();
        if let Some(insn) = hole("acquired").and_then(|text| text.parse().ok()) {
            events.extend(history.acquired(insn));
        }
        let lines = rejection.messages.iter();
        let mut registers =
            lines.filter_map(|line| matches("R{reg} ", line)?.first().map(|(_, text)| *text));
        let named = hole("reg").or_else(|| registers.next());
        let named = named.and_then(|text| text.parse().ok()).and_then(Reg::new);
        let insn = self.program.insns.get(self.insn).copied();
        let failed = steps.last().filter(|step| step.insn == self.insn);
        match (failed, insn) {
            (Some(failed), Some(insn)) if hole("insn").is_none() => {
                let used = base(insn);
                if let Some(reg) = named.or(used) {
                    let here = *self.state.reg(reg.index());
                    let last = if Some(reg) == used { failed.left } else { here };
                    events.extend(history.of(reg, last));
                }
                if let Insn::Alu {
                    src: Operand::Reg(src),
                    ..
                } = insn
                {
                    let mut more = history.of(src, failed.right);
                    more.retain(|event| !events.contains(event));
                    events.extend(more);
                }
            }
            _ => events.extend(history.jump_back(self.insn)),
        }
        Explanation {
            history: events,
            ..plain(self.insn, &rejection.messages)
        }
    }

    /// An explanation of an error that belongs to no path.
    fn explain_whole(&self, rejection: &Rejection) -> Explanation {
        let holes = find(&rejection.messages).map_or(Vec::new(), |(_, holes)| holes);
        let named = ["insn", "from"].iter().find_map(|name| {
            let hole = holes.iter().find(|(known, _)| known == name)?;
            hole.1
                .parse()
                .ok()
                .filter(|slot| *slot < self.program.insns.len())
        });
        plain(named.unwrap_or(self.insn), &rejection.messages)
    }
}

/// The register through which an instruction goes, or that it changes.
fn base(insn: Insn) -> Option<Reg> {
    match insn {
        Insn::Load { base, .. } | Insn::Store { base, .. } | Insn::Atomic { base, .. } => {
            Some(base)
        }
        Insn::Alu { dst, src, .. } => match src {
            Operand::Reg(_) | Operand::Imm(_) => Some(dst),
        },
        Insn::JumpIf { dst, .. } | Insn::Neg { dst, .. } | Insn::ByteSwap { dst, .. } => Some(dst),
        Insn::Mov { .. }
        | Insn::MovSigned { .. }
        | Insn::LoadImm64 { .. }
        | Insn::WideTail
        | Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
    }
}

/// What stands in the holes of a class, by their names.
type Holes<'a> = Vec<(&'static str, &'a str)>;

/// The class of an error, by its first line that has one.
fn find(messages: &[String]) -> Option<(&'static Class, Holes<'_>)> {
    let lines = || messages.iter();
    CLASSES.iter().find_map(|class| {
        let holes = lines().find_map(|line| matches(class.said, line))?;
        Some((class, holes))
    })
}

/// Matches a line, or a part of it, with a pattern whose holes take as little as they can.
fn matches<'a>(pattern: &'static str, line: &'a str) -> Option<Holes<'a>> {
    let first = pattern.split('{').next().unwrap_or_default();
    let starts = line.match_indices(first).map(|(start, _)| start);
    let mut starts = if first.is_empty() {
        vec![0]
    } else {
        starts.collect()
    };
    starts.dedup();
    starts
        .into_iter()
        .find_map(|start| matches_at(pattern, &line[start..]))
}

fn matches_at<'a>(mut pattern: &'static str, mut line: &'a str) -> Option<Holes<'a>> {
    let mut holes = Vec::new();
    loop {
        let Some(open) = pattern.find('{') else {
            return line.starts_with(pattern).then_some(holes);
        };
        line = line.strip_prefix(&pattern[..open])?;
        let close = open + pattern[open..].find('}')?;
        let name = &pattern[open + 1..close];
        pattern = &pattern[close + 1..];
        let literal = &pattern[..pattern.find('{').unwrap_or(pattern.len())];
        let end = if literal.is_empty() {
            line.len()
        } else {
            line.find(literal)?
        };
        let number = matches!(name, "reg" | "insn" | "acquired" | "off" | "size");
        let text = &line[..end];
        let digit = |c: char| c.is_ascii_digit() || "+-(;)x ".contains(c) || c.is_ascii_hexdigit();
        if number && (text.is_empty() || !text.chars().all(digit)) {
            return None;
        }
        holes.push((name, text));
        line = &line[end..];
    }
}

fn fill(text: &str, holes: &Holes<'_>) -> String {
    holes.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_own_line() {
        for class in CLASSES {
            let mut line = class.said.to_owned();
            while let (Some(open), Some(close)) = (line.find('{'), line.find('}')) {
                line.replace_range(open..=close, "1");
            }
            let messages = [line];
            let (found, _) = find(&messages).expect("a class");
            assert_eq!(found.said, class.said);
            let (what, fix) = explain_messages(&messages);
            let filled = |text: &str| !text.contains('{') || text.contains("{ ");
            assert!(filled(&what) && fix.is_some(), "{what}");
        }
    }

    #[test]
    fn holes_take_what_linux_prints() {
        let line = "invalid access to packet, off=14 size=4, R3(id=0,off=14,r=14)".to_owned();
        let (what, fix) = explain_messages(&[line]);
        assert_eq!(
            what,
            "the program accesses 4 byte(s) of the packet at offset 14, but on this path only 14 byte(s) are known to be there"
        );
        assert!(fix.is_some_and(|fix| fix.contains("data_end")));
        let (what, fix) = explain_messages(&["something new".to_owned()]);
        assert_eq!((what.as_str(), fix), ("something new", None));
    }
}
