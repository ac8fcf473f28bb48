//! Reading the kernel verifier's log: where it stopped and why.

/// The instruction that was refused and the lines that say why, from the end of a log.
pub fn refusal(log: &str) -> (Option<usize>, Vec<String>) {
    let mut insn = None;
    let mut messages: Vec<String> = Vec::new();
    for line in log.lines() {
        if let Some(slot) = instruction_slot(line) {
            insn = Some(slot);
            messages.clear();
        } else if explains(line) {
            // Some errors have no end of line of their own.
            let line = line.split("verification time ").next().unwrap_or(line);
            messages.push(line.trim_end().to_owned());
        }
    }
    if insn.is_none() {
        insn = messages.iter().find_map(|line| number(line, "insn "));
    }
    (insn.map(|slot| slot as usize), messages)
}

/// The number behind the last mention of some words.
pub fn number<T: std::str::FromStr>(log: &str, before: &str) -> Option<T> {
    let start = log.rfind(before)? + before.len();
    let digits = log[start..].split(|c: char| !c.is_ascii_digit()).next();
    digits?.parse().ok()
}

/// The slot in `12: (bf) r1 = r2`.
pub fn instruction_slot(line: &str) -> Option<u64> {
    let (slot, rest) = line.split_once(": (")?;
    let opcode = rest.split_once(')')?.0;
    let is_opcode = opcode.len() == 2 && opcode.chars().all(|c| c.is_ascii_hexdigit());
    is_opcode.then(|| slot.trim().parse().ok())?
}

/// Whether a line is an error rather than the verifier's state, a source line or its statistics.
fn explains(line: &str) -> bool {
    const NOISE: [&str; 18] = [
        ";",
        "from ",
        "processed ",
        "mark_precise",
        "force_precise",
        "verification time",
        "stack depth",
        "func#",
        "Live regs",
        "caller:",
        "callee:",
        "returning from callee",
        "to caller at",
        "cur state:",
        "old state:",
        "SCC ",
        "(",
        " ",
    ];
    let is_state = line
        .split_once(':')
        .is_some_and(|(slot, _)| slot.parse::<usize>().is_ok());
    let is_precision = line.starts_with("frame ") && line.contains(": propagating ");
    !line.trim().is_empty()
        && !is_state
        && !is_precision
        && !NOISE.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_instruction_and_what_follows() {
        let log = "func#0 @0\n0: R1=ctx() R10=fp0\n; int f(void *ctx) @ f.c:3\n\
            0: (b7) r2 = 0                        ; R2=0\n1: (71) r0 = *(u8 *)(r2 +0)\n\
            R2 invalid mem access 'scalar'\nprocessed 2 insns (limit 1000000) max_states_per_insn 7\n";
        let message = "R2 invalid mem access 'scalar'".to_owned();
        assert_eq!(refusal(log), (Some(1), vec![message]));
        assert_eq!(number::<u64>(log, "max_states_per_insn "), Some(7));
    }

    #[test]
    fn states_of_a_loop_are_no_message() {
        let log = "1: (05) goto pc-1\ninfinite loop detected at insn 1\n\
            cur state: R1=ctx() R10=fp0\nold state: R1=ctx() R10=fp0\nprocessed 3 insns\n";
        let message = "infinite loop detected at insn 1".to_owned();
        assert_eq!(refusal(log), (Some(1), vec![message]));
        let early = "jump out of range from insn 2 to 9\nprocessed 0 insns\n";
        assert_eq!(refusal(early).0, Some(2));
        assert_eq!(refusal(""), (None, Vec::new()));
    }
}
