//! Verdicts as JSON (`docs/verifier.md` has the schema).

use iom_core::module::{Module, Program};
use serde_json::{Value, json};

use super::hot::{functions, hottest_insns, hottest_lines};
use super::{Reason, Verdict, instruction};

/// Entries in each list of what was looked at most.
const HOTTEST: usize = 10;

/// One verdict.
pub fn verdict(module: &Module, program: &Program, verdict: &Verdict) -> Value {
    let first = verdict.reasons.first();
    let effort = &verdict.effort;
    let mut value = json!({
        "version": 1,
        "backend": verdict.judge.name(),
        "program": verdict.program,
        "verdict": if verdict.accepted() { "accept" } else { "reject" },
        "reason": null,
        "insn": null,
        "instruction": null,
        "source": null,
        "history": [],
        "fix": null,
        "kernel_messages": [],
    });
    if let (Some(object), Some(first)) = (value.as_object_mut(), first) {
        merge(object, reason(module, program, first));
    }
    let rest = json!({
        "reasons": verdict.reasons.iter().map(|one| reason(module, program, one)).collect::<Vec<_>>(),
        "processed": effort.processed,
        "total_states": effort.total_states,
        "peak_states": effort.peak_states,
        "max_states_per_insn": effort.max_states_per_insn,
        "stack_depth": effort.stack_depth,
        "time_us": effort.time_us,
        "functions": functions(program, effort).iter().map(|function| json!({
            "name": function.name,
            "start": function.start,
            "stack": function.stack,
            "visits": function.visits,
            "states": function.states,
        })).collect::<Vec<_>>(),
        "hottest_insns": hottest_insns(effort, HOTTEST).iter().map(|(slot, visits)| json!({
            "insn": slot,
            "instruction": instruction(module, program, *slot),
            "source": source(program, *slot),
            "visits": visits.visits,
            "states": visits.states,
        })).collect::<Vec<_>>(),
        "hottest_lines": hottest_lines(program, effort, HOTTEST).iter().map(|line| json!({
            "file": line.file,
            "line": line.line,
            "text": line.text,
            "visits": line.visits,
            "states": line.states,
        })).collect::<Vec<_>>(),
    });
    if let Some(object) = value.as_object_mut() {
        merge(object, rest);
        if let Some(log) = &verdict.log {
            object.insert("log".to_owned(), json!(log));
        }
    }
    value
}

fn merge(object: &mut serde_json::Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        object.extend(more);
    }
}

fn reason(module: &Module, program: &Program, reason: &Reason) -> Value {
    let events = reason.history.iter().map(|event| {
        json!({
            "insn": event.insn,
            "source": source(program, event.insn),
            "text": event.text,
        })
    });
    json!({
        "reason": reason.what,
        "insn": reason.insn,
        "instruction": reason.insn.and_then(|insn| instruction(module, program, insn)),
        "source": reason.insn.and_then(|insn| source(program, insn)),
        "history": events.collect::<Vec<_>>(),
        "fix": reason.fix,
        "kernel_messages": reason.messages,
    })
}

/// The source line of an instruction.
pub fn source(program: &Program, insn: usize) -> Option<Value> {
    let line = program.line_of(insn)?;
    Some(json!({ "file": &*line.file, "line": line.line, "text": &*line.text }))
}
