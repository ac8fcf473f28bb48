//! The kernel verifier's log: where it stopped and why.

/// What a verifier's log says in the end.
pub(super) struct Verdict {
    /// Slot of the instruction that it stopped at.
    pub(super) insn: Option<usize>,
    /// The lines after it.
    pub(super) message: Option<String>,
}

/// Reads the end of a log: the last line `N: (opcode) …` and the lines behind it that explain.
pub(super) fn read_log(log: &str) -> Verdict {
    let mut insn = None;
    let mut message: Vec<&str> = Vec::new();
    for line in log.lines() {
        // One message comes without an end of line.
        let line = line.split("verification time").next().unwrap_or(line);
        if let Some(slot) = instruction_line(line) {
            insn = Some(slot);
            message.clear();
        } else if explains(line) {
            message.push(line.trim());
        }
    }
    Verdict {
        insn: insn.or_else(|| message.iter().find_map(|line| mentioned_insn(line))),
        message: (!message.is_empty()).then(|| message.join("; ")),
    }
}

/// The slot in `12: (bf) r1 = r2`.
fn instruction_line(line: &str) -> Option<usize> {
    let (slot, rest) = line.split_once(": (")?;
    let opcode = rest.get(..2)?;
    u8::from_str_radix(opcode, 16).ok()?;
    slot.parse().ok()
}

/// The slot in "unreachable insn 3" and "jump out of range from insn 2 to 9".
fn mentioned_insn(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("insn ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Whether a line is an error rather than the verifier's state, a source line or its statistics.
fn explains(line: &str) -> bool {
    let is_state = line
        .split_once(':')
        .is_some_and(|(slot, _)| slot.parse::<usize>().is_ok());
    let is_noise = [
        ";",
        "from ",
        "processed ",
        "mark_precise",
        "verification time",
        "stack depth",
        "func#",
        "Func#",
        "Validating ",
        "cur state:",
        "old state:",
        "caller:",
        "callee:",
        "BPF ",
        "The sequence of",
    ]
    .iter()
    .any(|start| line.starts_with(start));
    !line.trim().is_empty() && !is_state && !is_noise
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, insn: Option<usize>, message: Option<&str>) {
        let verdict = read_log(log);
        assert_eq!(verdict.insn, insn);
        assert_eq!(verdict.message.as_deref(), message);
    }

    #[test]
    fn the_last_instruction_and_what_follows() {
        check(
            "func#0 @0\n0: R1=ctx() R10=fp0\n; int f(void *ctx) @ f.c:3\n0: (b7) r2 = 0  ; R2=0\n\
             from 0 to 4: R2=0\n4: (71) r0 = *(u8 *)(r2 +0)\nR2 invalid mem access 'scalar'\n\
             processed 2 insns (limit 1000000) max_states_per_insn 0\n",
            Some(4),
            Some("R2 invalid mem access 'scalar'"),
        );
    }

    #[test]
    fn an_instruction_that_only_the_message_names() {
        let message = "jump out of range from insn 2 to 9";
        check(
            &format!("{message}\nprocessed 0 insns\n"),
            Some(2),
            Some(message),
        );
    }

    #[test]
    fn no_log() {
        check("", None, None);
    }
}
