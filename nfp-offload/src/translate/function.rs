//! Functions of the program: frames, calls, and the subroutines that save and restore `r6` to
//! `r9`. A frame of a callee starts with the return address and, if it saves registers, those.

use iom_core::isa::{CallTarget, Insn, Reg};
use iom_core::module::Program;
use iom_core::verifier::Facts;

use super::Translator;
use super::emit::{Emitter, SCRATCH, STACK_BASE, low};
use crate::isa::{AluOp, Condition, Csr, Operand};
use crate::relocate::{PLACEHOLDER, Relocation};

use Operand::{A, B, Both};

/// Frames start at multiples of this.
const FRAME_ALIGN: u32 = 64;
const RETURN_ADDRESS_BYTES: u32 = 4;
const SAVED_REGISTER_BYTES: u32 = 32;
const SAVED: [Reg; 4] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9];
/// The register with the return address, bank A; in bank B the callee's for the subroutine.
const RETURN: Operand = A(SCRATCH);
/// Where a frame holds the return address.
const RETURN_SLOT: Operand = Operand::lm(0, 0);

/// The frame of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionLayout {
    /// Bytes, with the return address and the saved registers of a callee.
    pub depth: u32,
    /// It may change `r6` to `r9`.
    pub saves_registers: bool,
}

impl FunctionLayout {
    /// Bytes from the stack base to the end of the frame, where the frame pointer points.
    pub fn frame_bytes(&self) -> u32 {
        self.depth.next_multiple_of(4)
    }
}

/// The frames of a program's functions.
pub fn layout(program: &Program, facts: &Facts) -> Vec<FunctionLayout> {
    let mut functions = vec![FunctionLayout::default(); program.functions.len().max(1)];
    for (slot, insn) in program.insns.iter().enumerate() {
        let first_operand = first_operand(insn);
        if first_operand.is_some_and(|reg| SAVED.contains(&reg)) {
            functions[program.function_of(slot)].saves_registers = true;
        }
    }
    for (index, function) in functions.iter_mut().enumerate() {
        function.depth = facts.functions.get(index).map_or(0, |f| f.stack_depth);
        if index > 0 {
            function.depth += RETURN_ADDRESS_BYTES;
            if function.saves_registers {
                function.depth += SAVED_REGISTER_BYTES;
            }
        }
    }
    functions
}

/// The register in an instruction's destination field, which the driver takes for one that is
/// written.
fn first_operand(insn: &Insn) -> Option<Reg> {
    match *insn {
        Insn::Alu { dst, .. }
        | Insn::Mov { dst, .. }
        | Insn::MovSigned { dst, .. }
        | Insn::Neg { dst, .. }
        | Insn::ByteSwap { dst, .. }
        | Insn::LoadImm64 { dst, .. }
        | Insn::Load { dst, .. }
        | Insn::JumpIf { dst, .. } => Some(dst),
        Insn::Store { base, .. } | Insn::Atomic { base, .. } => Some(base),
        Insn::WideTail
        | Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
    }
}

/// Bytes of stack along the deepest chain of calls.
pub fn stack_bytes(program: &Program, functions: &[FunctionLayout]) -> u32 {
    // Callees by function; the verifier refuses recursion, so chains are shorter than the list.
    let mut deepest = vec![0; functions.len()];
    for _ in 0..functions.len() {
        let mut next: Vec<u32> = functions.iter().copied().map(aligned_bytes).collect();
        for (slot, insn) in program.insns.iter().enumerate() {
            if let Some(callee) = callee(program, slot, insn) {
                let caller = program.function_of(slot);
                let chain = aligned_bytes(functions[caller]) + deepest[callee];
                next[caller] = next[caller].max(chain);
            }
        }
        deepest = next;
    }
    deepest.first().copied().unwrap_or(0)
}

const fn aligned_bytes(function: FunctionLayout) -> u32 {
    function.depth.next_multiple_of(FRAME_ALIGN)
}

/// The function that an instruction calls.
fn callee(program: &Program, slot: usize, insn: &Insn) -> Option<usize> {
    let Insn::Call {
        target: CallTarget::Local(_),
    } = insn
    else {
        return None;
    };
    let target = usize::try_from(insn.function_target(slot)?).ok()?;
    Some(program.function_of(target))
}

/// First words of a function other than the entry: the return address goes to the stack.
pub(super) fn prologue(translator: &mut Translator<'_>) {
    translator.function += 1;
    let layout = translator.functions.get(translator.function);
    translator.stack_depth = layout.map_or(0, FunctionLayout::frame_bytes);
    translator.emit.mov(RETURN_SLOT, RETURN);
}

pub(super) fn call(translator: &mut Translator<'_>, slot: usize, insn: Insn) {
    let target = insn.function_target(slot).unwrap_or_default() as usize;
    let callee = callee(translator.input.program, slot, &insn).unwrap_or_default();
    let saves = translator.functions[callee].saves_registers;
    let frame = translator.stack_depth.next_multiple_of(FRAME_ALIGN);
    move_stack(&mut translator.emit, frame, AluOp::Add);
    let emit = &mut translator.emit;
    if saves {
        emit.branch(Condition::Always, PLACEHOLDER, 2, Relocation::PushRegisters);
        let word = emit.position();
        emit.address(B(SCRATCH), 0);
        translator.calls.push((word, target));
    } else {
        let word = emit.branch(Condition::Always, 0, 1, Relocation::Branch);
        translator.jumps.push((word, target));
    }
    let after = translator.emit.position() + 1;
    translator.emit.address(RETURN, after);
    move_stack(&mut translator.emit, frame, AluOp::Sub);
    if frame != 0 {
        translator.emit.nops(3);
    }
}

/// Moves the stack base, and the index register with it.
fn move_stack(emit: &mut Emitter, bytes: u32, op: AluOp) {
    if bytes != 0 {
        let right = emit.constant(bytes);
        emit.alu(STACK_BASE, STACK_BASE, op, right);
        emit.csr_write(Csr::LmAddr0, STACK_BASE);
    }
}

/// `exit` of a function other than the entry.
pub(super) fn exit(translator: &mut Translator<'_>) {
    let layout = translator.functions.get(translator.function);
    let saves = layout.is_some_and(|layout| layout.saves_registers);
    let emit = &mut translator.emit;
    if saves {
        emit.branch(Condition::Always, PLACEHOLDER, 1, Relocation::PopRegisters);
        emit.mov(RETURN, RETURN_SLOT);
    } else {
        emit.mov(RETURN, RETURN_SLOT);
        emit.return_to(RETURN, 0);
    }
}

/// The subroutines that save registers on the way into a function and restore them on the way
/// out; returns their first words.
pub(super) fn subroutines(emit: &mut Emitter) -> (u16, u16) {
    let push = emit.position();
    saved_words(emit, B(SCRATCH), |emit, slot, word| emit.mov(slot, B(word)));
    let pop = emit.position();
    saved_words(emit, RETURN, |emit, slot, word| emit.mov(Both(word), slot));
    (push, pop)
}

/// Moves the words of all saved registers; the last three stand in the slots of the return.
fn saved_words(emit: &mut Emitter, to: Operand, moved: impl Fn(&mut Emitter, Operand, u8)) {
    let words = SAVED.iter().flat_map(|reg| [low(*reg), low(*reg) + 1]);
    for (slot, word) in (1..).zip(words) {
        if slot == 6 {
            emit.return_to(to, 3);
        }
        moved(emit, Operand::lm(0, slot), word);
    }
}
