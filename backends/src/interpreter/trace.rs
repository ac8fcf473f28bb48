//! What one packet's program does, step by step: instructions, registers that change, memory that
//! is touched, source lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use iom_core::abi::{Access, Frame, HEADROOM_BYTES, Outcome};
use iom_core::isa::{Insn, ListingLine, Operand, Reg, Size, list_program};
use iom_core::module::Module;

use super::address::{self, Kind};
use super::execute::{Observer, Position, Registers};
use super::memory::Memory;

/// One instruction that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// Program of the module, by index.
    pub program: u32,
    /// Slot of the instruction.
    pub slot: u32,
    /// Call depth, 0 in the entry function.
    pub depth: u32,
    /// Registers that it changed, with their new values.
    pub changes: Vec<(Reg, u64)>,
    /// Memory that it touched; what helpers touch is not here.
    pub memory: Option<TraceAccess>,
}

/// One access to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceAccess {
    /// What was done.
    pub access: Access,
    /// Bytes.
    pub len: usize,
    /// Where: region and offset.
    pub place: String,
    /// What was stored; what was loaded is among the changed registers.
    pub stored: Option<u64>,
}

/// What a traced packet did, and what came of it.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Instructions in the order they ran.
    pub steps: Vec<TraceStep>,
    /// How the program ended.
    pub outcome: Outcome,
}

/// A request to trace one packet, and the steps once it ran. Clones share them.
#[derive(Clone, Debug)]
pub struct Trace {
    packet_id: u64,
    traced: Arc<Mutex<Option<Traced>>>,
}

impl Trace {
    /// Traces the packet with this number.
    pub fn of_packet(packet_id: u64) -> Self {
        Self {
            packet_id,
            traced: Arc::default(),
        }
    }

    /// Which packet.
    pub fn packet_id(&self) -> u64 {
        self.packet_id
    }

    /// What it did; `None` until it ran.
    pub fn traced(&self) -> Option<Traced> {
        let traced = self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        traced.clone()
    }

    /// The same as text: source lines as comments, then instructions with what they did.
    pub fn text(&self, module: &Module) -> Option<String> {
        let Traced { steps, outcome } = self.traced()?;
        let mut text = steps_text(module, &steps);
        let _ = match &outcome.trap {
            Some(trap) => writeln!(text, "; fault: {trap}"),
            None => writeln!(
                text,
                "; returns {} ({})",
                outcome.retval,
                outcome.action_name()
            ),
        };
        Some(text)
    }

    pub(super) fn finish(&self, tracer: Tracer<'_>, outcome: Outcome) {
        let mut traced = self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        *traced = Some(Traced {
            steps: tracer.steps,
            outcome,
        });
    }
}

/// Notes each step of a program.
pub(super) struct Tracer<'m> {
    module: &'m Module,
    steps: Vec<TraceStep>,
    before: Registers,
}

impl<'m> Tracer<'m> {
    pub(super) fn new(module: &'m Module) -> Self {
        Self {
            module,
            steps: Vec::new(),
            before: Registers::default(),
        }
    }
}

impl Observer for Tracer<'_> {
    fn before(
        &mut self,
        position: Position,
        registers: &Registers,
        memory: &Memory<'_>,
        frame: &Frame,
    ) {
        if let Some(last) = self.steps.last_mut() {
            let pairs = self.before.values().iter().zip(registers.values());
            let changed = pairs.enumerate().filter(|(_, (old, new))| old != new);
            last.changes = changed
                .filter_map(|(number, (_, new))| Some((Reg::new(number as u8)?, *new)))
                .collect();
        }
        self.before = *registers;
        let program = self.module.programs.get(position.program as usize);
        let insn = program.and_then(|program| program.insns.get(position.slot as usize));
        self.steps.push(TraceStep {
            program: position.program,
            slot: position.slot,
            depth: position.depth,
            changes: Vec::new(),
            memory: insn.and_then(|insn| touched(insn, registers, memory, frame)),
        });
    }
}

/// The memory that an instruction is about to touch.
fn touched(
    insn: &Insn,
    registers: &Registers,
    memory: &Memory<'_>,
    frame: &Frame,
) -> Option<TraceAccess> {
    let (access, size, base, off, stored) = match *insn {
        Insn::Load {
            size, base, off, ..
        } => (Access::Read, size, base, off, None),
        Insn::Store {
            size,
            base,
            off,
            src,
        } => {
            let value = match src {
                Operand::Reg(reg) => registers.get(reg),
                Operand::Imm(imm) => imm as u64,
            };
            (Access::Write, size, base, off, Some(low_bytes(value, size)))
        }
        Insn::Atomic {
            size,
            base,
            off,
            src,
            ..
        } => {
            let operand = low_bytes(registers.get(src), size);
            (Access::Atomic, size, base, off, Some(operand))
        }
        _ => return None,
    };
    let at = registers.get(base).wrapping_add(off as u64);
    Some(TraceAccess {
        access,
        len: size.bytes(),
        place: place(at, memory, frame),
        stored,
    })
}

const fn low_bytes(value: u64, size: Size) -> u64 {
    match size {
        Size::B => value as u8 as u64,
        Size::H => value as u16 as u64,
        Size::W => value as u32 as u64,
        Size::DW => value,
    }
}

/// A place in words. In the packet it counts from where the packet started when it came in, on the
/// stack from the frame pointer.
fn place(at: u64, memory: &Memory<'_>, frame: &Frame) -> String {
    let offset = address::signed_offset(at);
    match address::kind(at) {
        Some(Kind::Packet) => format!("packet{:+}", offset - HEADROOM_BYTES as i64),
        Some(Kind::Stack) => {
            let top = super::memory::STACK_BYTES as i64;
            format!("stack of frame {}{:+}", address::number(at), offset - top)
        }
        Some(Kind::Context) => format!("context{offset:+}"),
        _ => format!("{}{offset:+}", memory.region(frame, at)),
    }
}

/// A register's value in words: addresses by region, small numbers in decimal.
fn value_text(value: u64) -> String {
    let offset = address::signed_offset(value);
    match address::kind(value) {
        Some(Kind::Packet) => format!("packet{:+}", offset - HEADROOM_BYTES as i64),
        Some(Kind::Stack) => {
            let top = super::memory::STACK_BYTES as i64;
            format!("fp{}{:+}", address::number(value), offset - top)
        }
        Some(Kind::Context) => format!("context{offset:+}"),
        Some(Kind::Value) => format!("value{}{offset:+}", address::number(value)),
        Some(Kind::Map) => format!("map{}", address::number(value)),
        Some(Kind::Record) => format!("record{}{offset:+}", address::number(value)),
        Some(Kind::Raw) => format!("memory{offset:+}"),
        Some(Kind::Function) => format!("function at {}", address::number(value)),
        Some(Kind::Key) => format!("key{offset:+}"),
        Some(Kind::Fragment) => format!("fragment{}{offset:+}", address::number(value)),
        None if value < 10 => value.to_string(),
        None => format!("{value:#x}"),
    }
}

fn steps_text(module: &Module, steps: &[TraceStep]) -> String {
    let mut text = String::new();
    let mut listings: BTreeMap<u32, Vec<ListingLine>> = BTreeMap::new();
    let mut last_line = None;
    for step in steps {
        let Some(program) = module.programs.get(step.program as usize) else {
            continue;
        };
        let listing = listings
            .entry(step.program)
            .or_insert_with(|| list_program(program, &module.maps));
        let indent = "  ".repeat(step.depth as usize);
        let line = program.line_of(step.slot as usize);
        if let Some(line) = line
            && last_line != Some((step.depth, &line.file, line.line))
        {
            last_line = Some((step.depth, &line.file, line.line));
            let source = line.text.trim();
            let _ = writeln!(text, "{indent}; {}:{}: {source}", line.file, line.line);
        }
        let insn = listing
            .iter()
            .find(|listed| listed.slot == step.slot as usize)
            .map_or("", |listed| listed.text.as_str());
        let effects = effects_text(step);
        let _ = writeln!(
            text,
            "{}",
            format!("{indent}{:>5}: {insn:<40} {effects}", step.slot).trim_end()
        );
    }
    text
}

fn effects_text(step: &TraceStep) -> String {
    let changes = step
        .changes
        .iter()
        .map(|(reg, value)| format!("{reg}={}", value_text(*value)));
    let memory = step.memory.iter().map(|memory| {
        let stored = memory
            .stored
            .map_or_else(String::new, |value| format!(" <- {value:#x}"));
        format!(
            "{} {} at {}{stored}",
            memory.access, memory.len, memory.place
        )
    });
    let effects: Vec<_> = changes.chain(memory).collect();
    effects.join(", ")
}
