//! Translation of eBPF to micro-engine words: what Linux's nfp driver makes of the same
//! instructions and verifier facts. Three layers: [`crate::isa`] knows bits, `emit` operands,
//! the other files idioms. `optimize` holds the passes before them.
//!
//! eBPF `rN` lives in the general-purpose registers `2N` (low word) and `2N + 1` (high word), with
//! the same contents in both banks.

mod adjust;
mod alu;
mod atomic;
mod call;
mod copy;
mod defects;
mod divide;
mod emit;
mod error;
mod frame;
mod function;
mod jump;
mod legacy_load;
mod memory;
mod optimize;
mod packet;
mod shift;
mod stack;
mod step;

use iom_core::isa::{AluOp, ByteOrder, CallTarget, Insn, Operand as BpfOperand, Reg, Width};
use iom_core::module::{Program, ProgramType};
use iom_core::verifier::Facts;

use crate::profile::FirmwareProfile;
use crate::relocate::Image;
use emit::Emitter;
use step::Step;

pub use defects::{Defect, defects, on_all_paths};
pub use error::{TranslateError, TranslateErrorKind};
pub use function::{FunctionLayout, layout, stack_bytes};
pub(crate) use memory::{RX_QUEUE_INDEX, can_read_context};
pub use optimize::mark_removed;

/// The most words that branch addresses reach.
const WORDS_MAX: u16 = 1 << 14;

/// What the translator is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The program.
    pub program: &'a Program,
    /// What the verifier knows of it.
    pub facts: &'a Facts,
    /// The firmware.
    pub profile: &'a FirmwareProfile,
    /// The card's table ids of the module's maps.
    pub map_ids: &'a [u32],
    /// What becomes of the driver's defects.
    pub mode: DefectMode,
}

/// Whether the words are wrong where those of the driver are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefectMode {
    /// Word for word the driver's.
    #[default]
    Kept,
    /// Words that do what the program says; no driver makes them.
    Fixed,
}

/// Translates an XDP or TC program that passed the checks.
pub fn translate(input: Input<'_>) -> Result<Image, TranslateError> {
    let mut steps = step::steps(input.program, input.facts);
    optimize::optimize(&mut steps, input.mode);
    let functions = layout(input.program, input.facts);
    let mut translator = Translator {
        emit: Emitter::default(),
        input,
        short_adjust_head: input.mode == DefectMode::Kept
            && adjust::is_short(input.program, input.facts, input.profile),
        stack_depth: functions.first().map_or(0, FunctionLayout::frame_bytes),
        functions,
        function: 0,
        first_words: Vec::with_capacity(steps.len()),
        jumps: Vec::new(),
        calls: Vec::new(),
    };
    frame::prologue(&mut translator.emit);
    for (slot, step) in steps.iter().enumerate() {
        translator.first_words.push(translator.emit.position());
        let result = translator.step(slot, step);
        let kind = match (result, translator.emit.take_error()) {
            (Err(kind), _) => Some(kind),
            (Ok(()), Some(source)) => Some(TranslateErrorKind::Encode { source }),
            (Ok(()), None) => translator.too_long(),
        };
        if let Some(kind) = kind {
            return Err(TranslateError { insn: slot, kind });
        }
    }
    translator.finish(&steps)
}

/// State of a translation.
struct Translator<'a> {
    emit: Emitter,
    input: Input<'a>,
    functions: Vec<FunctionLayout>,
    /// The function of the current instruction.
    function: usize,
    /// Bytes of its frame.
    stack_depth: u32,
    /// The one `bpf_xdp_adjust_head` needs no tests.
    short_adjust_head: bool,
    first_words: Vec<u16>,
    /// Branch words whose target is an eBPF instruction: word and slot.
    jumps: Vec<(u16, usize)>,
    /// Words that load the address of a function: word and slot.
    calls: Vec<(u16, usize)>,
}

type Translated = Result<(), TranslateErrorKind>;

impl Translator<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "a flat match, one short arm for each shape of instruction"
    )]
    fn step(&mut self, slot: usize, step: &Step<'_>) -> Translated {
        if step.starts_function {
            function::prologue(self);
        }
        if step.is_skipped() {
            return Ok(());
        }
        let (insn, facts, emit) = (step.insn, step.facts, &mut self.emit);
        let mode = self.input.mode;
        match insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => match (op, src) {
                (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, src) => {
                    shift::shift(emit, (op, width), dst, src, facts, mode);
                }
                (AluOp::Mul, src) => alu::multiply(emit, width, dst, src, facts, mode),
                (AluOp::Div, _) => divide::divide(emit, dst, facts, mode)?,
                (AluOp::Mod | AluOp::SignedDiv | AluOp::SignedMod, _) => return unknown(),
                (_, BpfOperand::Reg(src)) => alu::register(emit, op, width, dst, src, facts),
                (_, BpfOperand::Imm(imm)) => alu::immediate(emit, op, width, dst, imm, facts),
            },
            Insn::Mov {
                width: Width::W64,
                dst,
                src: BpfOperand::Reg(Reg::R10),
            } => alu::move_frame_pointer(emit, dst, self.stack_depth),
            Insn::Mov { width, dst, src } => alu::mov(emit, width, dst, src),
            Insn::Neg { width, dst } => alu::negate(emit, width, dst, facts),
            Insn::ByteSwap {
                order: ByteOrder::Big,
                bits,
                dst,
            } => alu::to_big_endian(emit, bits, dst),
            Insn::LoadImm64 { dst, value } => match alu::wide_value(value, self.input.map_ids) {
                Some(value) => alu::load_wide(emit, dst, value),
                None => return unknown(),
            },
            Insn::WideTail => {}
            Insn::Load { .. } | Insn::Store { .. } => return memory::access(self, step),
            Insn::Atomic {
                base,
                off,
                src,
                size,
                ..
            } => atomic::add(emit, size, base, off, src, facts),
            Insn::Jump { .. } | Insn::JumpIf { .. } => jump::jump(self, slot, step),
            Insn::LoadPacket { size, mode, imm } => {
                legacy_load::load(emit, size, mode, imm, facts);
            }
            Insn::Call {
                target: CallTarget::Helper(number),
            } => return call::helper(self, number, facts),
            Insn::Call {
                target: CallTarget::Local(_),
            } => function::call(self, slot, insn),
            Insn::Exit if self.function == 0 => frame::exit(emit),
            Insn::Exit => function::exit(self),
            Insn::ByteSwap {
                order: ByteOrder::Little | ByteOrder::Swap,
                ..
            }
            | Insn::MovSigned { .. }
            | Insn::MayGoto { .. }
            | Insn::Call {
                target: CallTarget::Kernel(_) | CallTarget::Kfunc { .. },
            } => return unknown(),
        }
        Ok(())
    }

    fn too_long(&self) -> Option<TranslateErrorKind> {
        let limit = self.input.profile.max_len.min(WORDS_MAX);
        (self.emit.position() > limit).then_some(TranslateErrorKind::TooLong { limit })
    }

    fn finish(mut self, steps: &[Step<'_>]) -> Result<Image, TranslateError> {
        let last = steps.len();
        let fail = |insn, kind| Err(TranslateError { insn, kind });
        let epilogue = match self.input.program.program_type {
            ProgramType::SchedCls => frame::epilogue_tc(&mut self.emit),
            _ => frame::epilogue_xdp(&mut self.emit),
        };
        let mut image = Image {
            words: Vec::new(),
            target_abort: epilogue.abort,
            target_out: epilogue.out,
            target_push: 0,
            target_pop: 0,
            first_words: Vec::new(),
            stack_bytes: function::stack_bytes(self.input.program, &self.functions),
        };
        if self.functions.iter().skip(1).any(|f| f.saves_registers) {
            (image.target_push, image.target_pop) = function::subroutines(&mut self.emit);
        }
        frame::padding(&mut self.emit);
        for (word, slot) in std::mem::take(&mut self.jumps) {
            if steps[slot].merged {
                return fail(last, TranslateErrorKind::LandsOnRemoved { insn: slot });
            }
            self.emit.retarget(word, self.first_words[slot]);
        }
        for (word, slot) in std::mem::take(&mut self.calls) {
            self.emit.set_address(word, self.first_words[slot]);
        }
        if let Some(kind) = self.too_long() {
            return fail(last, kind);
        }
        if let Some(source) = self.emit.take_error() {
            return fail(last, TranslateErrorKind::Encode { source });
        }
        image.words = self.emit.into_words();
        image.first_words = self.first_words;
        Ok(image)
    }
}

/// An instruction for which the driver has no words: the checks refuse it.
const fn unknown() -> Translated {
    Err(TranslateErrorKind::NoRecipe)
}
