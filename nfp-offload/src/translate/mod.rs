//! Translation of eBPF to micro-engine words, in the driver's way but without its optimisation
//! passes. Three layers: [`crate::isa`] knows bits, `emit` operands, the other files idioms.
//!
//! eBPF `rN` lives in the general-purpose registers `2N` (low word) and `2N + 1` (high word), with
//! the same contents in both banks.

mod alu;
mod atomic;
mod call;
mod divide;
mod emit;
mod frame;
mod jump;
mod memory;
mod shift;
mod stack;

use iom_core::isa::{AluOp, ByteOrder, CallTarget, Insn, Operand as BpfOperand, Reg, Width};
use iom_core::module::Program;
use iom_core::verifier::{Facts, InsnFacts};

use crate::isa::EncodeError;
use crate::relocate::{Image, PLACEHOLDER};
use emit::Emitter;

/// A program that passed the checks and still cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// No words for an instruction.
    #[error("instruction {insn}: {what} cannot be translated")]
    Unsupported {
        /// Slot.
        insn: usize,
        /// What it is.
        what: &'static str,
    },
    /// An operand does not fit its field.
    #[error("instruction {insn}: {source}")]
    Encode {
        /// Slot.
        insn: usize,
        /// Why.
        source: EncodeError,
    },
    /// More words than a branch can reach.
    #[error("more than {PLACEHOLDER} words")]
    TooLong,
}

/// Translates an XDP program; `map_ids` are the card's table ids of the module's maps.
pub fn translate(
    program: &Program,
    facts: &Facts,
    map_ids: &[u32],
) -> Result<Image, TranslateError> {
    let mut translator = Translator {
        emit: Emitter::default(),
        map_ids,
        stack_depth: facts
            .functions
            .first()
            .map_or(0, |function| function.stack_depth),
        first_words: Vec::with_capacity(program.insns.len()),
        jumps: Vec::new(),
    };
    frame::prologue(&mut translator.emit);
    for (slot, (insn, facts)) in program.insns.iter().zip(&facts.insns).enumerate() {
        translator.first_words.push(translator.emit.position());
        if facts.reachable {
            translator.insn(slot, *insn, facts)?;
        }
        if translator.emit.position() >= PLACEHOLDER {
            return Err(TranslateError::TooLong);
        }
        if let Some(source) = translator.emit.take_error() {
            return Err(TranslateError::Encode { insn: slot, source });
        }
    }
    translator.finish()
}

/// State of a translation.
struct Translator<'a> {
    emit: Emitter,
    map_ids: &'a [u32],
    stack_depth: u32,
    first_words: Vec<u16>,
    /// Branch words whose target is an eBPF instruction: word and slot.
    jumps: Vec<(u16, usize)>,
}

impl Translator<'_> {
    fn insn(&mut self, slot: usize, insn: Insn, facts: &InsnFacts) -> Result<(), TranslateError> {
        let unsupported = |what| Err(TranslateError::Unsupported { insn: slot, what });
        let emit = &mut self.emit;
        match insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => match (op, src) {
                (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, src) => {
                    shift::shift(emit, op, width, dst, src, facts);
                }
                (AluOp::Mul, src) => alu::multiply(emit, width, dst, src, facts),
                (AluOp::Div, _) => divide::divide(emit, dst, facts),
                (AluOp::Mod | AluOp::SignedDiv | AluOp::SignedMod, _) => {
                    return unsupported("this division");
                }
                (_, BpfOperand::Reg(src)) => alu::register(emit, op, width, dst, src, facts),
                (_, BpfOperand::Imm(imm)) => alu::immediate(emit, op, width, dst, imm, facts),
            },
            Insn::Mov {
                width: Width::W64,
                dst,
                src: BpfOperand::Reg(Reg::R10),
            } => {
                alu::move_frame_pointer(emit, dst, self.stack_depth);
            }
            Insn::Mov { width, dst, src } => alu::mov(emit, width, dst, src),
            Insn::Neg { width, dst } => alu::negate(emit, width, dst, facts),
            Insn::ByteSwap { order, bits, dst } => match order {
                ByteOrder::Big => alu::to_big_endian(emit, bits, dst),
                ByteOrder::Little | ByteOrder::Swap => {
                    return unsupported("a byte swap other than to big-endian");
                }
            },
            Insn::LoadImm64 { dst, value } => match alu::wide_value(value, self.map_ids) {
                Some(value) => alu::load_wide(emit, dst, value),
                None => return unsupported("the address of a variable or function"),
            },
            Insn::WideTail => {}
            Insn::Load { .. } | Insn::Store { .. } => {
                return memory::access(self, slot, insn, facts);
            }
            Insn::Atomic {
                base,
                off,
                src,
                size,
                ..
            } => atomic::add(emit, size, base, off, src, facts),
            Insn::Jump { .. } | Insn::JumpIf { .. } => jump::jump(self, slot, insn),
            Insn::Call {
                target: CallTarget::Helper(_),
            } => call::map_lookup(self, facts),
            Insn::Exit => frame::exit(emit),
            Insn::MovSigned { .. } => return unsupported("a sign-extending move"),
            Insn::LoadPacket { .. } => return unsupported("a legacy packet load"),
            Insn::MayGoto { .. } => return unsupported("may_goto"),
            Insn::Call {
                target: CallTarget::Local(_) | CallTarget::Kfunc { .. },
            } => {
                return unsupported("a call of anything but a helper");
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Image, TranslateError> {
        for (word, slot) in std::mem::take(&mut self.jumps) {
            self.emit.retarget(word, self.first_words[slot]);
        }
        let (target_abort, target_out) = frame::epilogue(&mut self.emit);
        let last = self.first_words.len().saturating_sub(1);
        match self.emit.take_error() {
            Some(source) => Err(TranslateError::Encode { insn: last, source }),
            None => Ok(Image {
                words: self.emit.into_words(),
                target_out,
                target_abort,
                first_words: self.first_words,
                stack_bytes: self.stack_depth.next_multiple_of(64),
            }),
        }
    }
}
