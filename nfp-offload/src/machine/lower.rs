//! Words to the machine's internal form, once for each program: places of operands are resolved,
//! masks computed, branch targets looked up.

use super::fault::{FaultKind, MachineFault};
use super::firmware::Helper;
use super::state::{Bank, Place, Post};
use crate::cycles::{Wait, command_wait};
use crate::isa::{
    AddressMode, Alu, AluOp, Command, CommandOp, Condition, ContextSwap, Csr, Immed, ImmedWidth,
    Insn, LmAccess, LoadField, Mul, MulKind, MulStep, Operand, Shift, ShiftControl, ShiftOp,
    decode,
};
use crate::profile::FirmwareProfile;
use crate::ustore;

/// A program in the internal form. It can be executed any number of times.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) ops: Box<[Op]>,
    addresses: Addresses,
}

/// Where the program and the firmware are.
#[derive(Clone, Debug)]
struct Addresses {
    start: u32,
    words: u32,
    done: u32,
    helpers: [(u32, Helper); 4],
}

/// Where a branch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Word(u16),
    Done,
    Helper(Helper),
    Nowhere(u32),
}

/// One instruction in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Register(RegisterOp),
    CsrRead {
        csr: Csr,
    },
    Command(CommandForm),
    Branch {
        condition: Condition,
        target: Target,
        defer: u8,
    },
    BranchBit {
        src: Place,
        bit: u8,
        set: bool,
        target: Target,
        defer: u8,
    },
    Return {
        src: Place,
        post: Post,
        defer: u8,
    },
}

/// An instruction that touches registers only and cannot fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum RegisterOp {
    Alu(AluForm),
    Shift(ShiftForm),
    LoadField(LoadFieldForm),
    Immed(ImmedForm),
    MulStart {
        left: Place,
        right: Place,
        post: Post,
    },
    MulStep {
        wide: bool,
    },
    MulStore {
        dst: Place,
        high: bool,
        post: Post,
    },
    IndexWrite {
        index: u8,
        src: Place,
        post: Post,
    },
}

/// An ALU operation in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) struct AluForm {
    pub(super) op: AluOp,
    pub(super) dst: Place,
    pub(super) left: Place,
    pub(super) right: Place,
    pub(super) post: Post,
}

/// A shift in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShiftForm {
    pub(super) op: ShiftOp,
    pub(super) control: ShiftControl,
    pub(super) amount: u8,
    /// The amount is the previous left source.
    pub(super) indirect: bool,
    pub(super) dst: Place,
    pub(super) left: Place,
    pub(super) right: Place,
}

/// A byte-masked move in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadFieldForm {
    pub(super) dst: Place,
    /// The destination as a source.
    pub(super) old: Place,
    pub(super) src: Place,
    pub(super) control: ShiftControl,
    pub(super) amount: u8,
    /// Bits that are replaced.
    pub(super) mask: u32,
    /// Bits of the old value that stay.
    pub(super) keep: u32,
}

/// A constant load in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImmedForm {
    pub(super) dst: Place,
    /// The destination as a source.
    pub(super) old: Place,
    pub(super) value: u32,
    /// Bits of the old value that stay.
    pub(super) keep: u32,
    pub(super) post: Post,
}

/// A memory command in the internal form.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandForm {
    pub(super) op: CommandOp,
    pub(super) a: Place,
    pub(super) b: Place,
    pub(super) mode: AddressMode,
    pub(super) xfer: u8,
    pub(super) count: u8,
    pub(super) indirect: bool,
    /// Words that run before the command.
    pub(super) defer: u8,
    /// What the program waits for.
    pub(super) wait: Option<Wait>,
}

impl Program {
    /// Loads words with ECC, relocated for `profile`.
    pub fn load(words: &[u64], profile: &FirmwareProfile) -> Result<Self, MachineFault> {
        const MAX: usize = 1 << 14;
        if words.len() > MAX {
            let words = words.len();
            return Err(FaultKind::TooLong { words, max: MAX }.at(MAX));
        }
        let helpers = &profile.helpers;
        let addresses = Addresses {
            start: profile.start_offset.into(),
            words: words.len() as u32,
            done: profile.done_offset.into(),
            helpers: [
                (helpers.map_lookup.into(), Helper::MapLookup),
                (helpers.map_update.into(), Helper::MapUpdate),
                (helpers.map_delete.into(), Helper::MapDelete),
                (helpers.perf_event_output.into(), Helper::PerfEventOutput),
            ],
        };
        let ops = (0..)
            .zip(words)
            .map(|(index, &word)| lower(word, &addresses).map_err(|kind| kind.at(index)))
            .collect::<Result<_, _>>()?;
        Ok(Self { ops, addresses })
    }

    /// What is at an absolute address.
    pub(super) fn target(&self, address: u32) -> Target {
        self.addresses.target(address)
    }
}

impl Addresses {
    fn target(&self, address: u32) -> Target {
        if let Some(word) = address.checked_sub(self.start)
            && word < self.words
        {
            return Target::Word(word as u16);
        }
        if address == self.done {
            return Target::Done;
        }
        self.helpers
            .iter()
            .find(|&&(helper, _)| helper == address && address != 0)
            .map_or(Target::Nowhere(address), |&(_, helper)| {
                Target::Helper(helper)
            })
    }
}

const fn not_modelled(what: &'static str) -> FaultKind {
    FaultKind::NotModelled { what }
}

fn lower(word: u64, addresses: &Addresses) -> Result<Op, FaultKind> {
    Ok(match decode(ustore::strip(word)?)? {
        Insn::Alu(insn) => Op::Register(lower_alu(&insn)?),
        Insn::Shift(insn) => Op::Register(lower_shift(&insn)?),
        Insn::LoadField(insn) => Op::Register(lower_load_field(&insn)?),
        Insn::Immed(insn) => Op::Register(lower_immed(insn)?),
        Insn::Branch(insn) => Op::Branch {
            condition: insn.condition,
            target: addresses.target(insn.target.into()),
            defer: insn.defer,
        },
        Insn::BranchBit(insn) => Op::BranchBit {
            src: source(insn.src, Bank::A),
            bit: insn.bit,
            set: insn.set,
            target: addresses.target(insn.target.into()),
            defer: insn.defer,
        },
        Insn::Return(insn) => Op::Return {
            src: source(insn.src, Bank::A),
            post: post(&[insn.src])?,
            defer: insn.defer,
        },
        Insn::Mul(insn) => Op::Register(lower_mul(insn)?),
        Insn::CsrRead { csr } => Op::CsrRead { csr },
        Insn::CsrWrite { csr, src } => Op::Register(RegisterOp::IndexWrite {
            index: csr.lm_index().ok_or(not_modelled("a write to this CSR"))?,
            src: source(src, Bank::A),
            post: post(&[src])?,
        }),
        Insn::Command(insn) => lower_command(&insn)?,
        Insn::CtxArb { .. } => return Err(not_modelled("ctx_arb")),
        Insn::BranchByte { .. } => return Err(not_modelled("br_byte")),
    })
}

/// Where a source is. A missing one is encoded as register 0 of its slot's bank, and read.
fn source(operand: Operand, missing: Bank) -> Place {
    match operand {
        Operand::None => Place::gpr(missing, 0),
        Operand::A(n) | Operand::Both(n) => Place::gpr(Bank::A, n),
        Operand::B(n) => Place::gpr(Bank::B, n),
        Operand::Xfer(n) => Place::xfer_in(n),
        Operand::Lm(index, LmAccess::Offset(offset)) => Place::indexed(index, offset),
        Operand::Lm(index, LmAccess::Increment | LmAccess::Decrement) => Place::indexed(index, 0),
        Operand::Imm(value) => Place::immediate(value),
    }
}

fn destination(operand: Operand) -> Place {
    match operand {
        Operand::None | Operand::Imm(_) => Place::NOWHERE,
        Operand::Both(n) => Place::both(n),
        Operand::Xfer(n) => Place::xfer_out(n),
        Operand::A(_) | Operand::B(_) | Operand::Lm(..) => source(operand, Bank::A),
    }
}

/// A destination as the source of the bits that stay.
fn old_value(operand: Operand) -> Place {
    match operand {
        Operand::None => Place::immediate(0),
        _ => source(operand, Bank::A),
    }
}

/// How the operands move the index registers: once, even if two of them name the same.
fn post(operands: &[Operand]) -> Result<Post, FaultKind> {
    let mut post = 0;
    for operand in operands {
        let (index, direction) = match *operand {
            Operand::Lm(index, LmAccess::Increment) => (index, 1),
            Operand::Lm(index, LmAccess::Decrement) => (index, 2),
            _ => continue,
        };
        post |= direction << (2 * index);
        if post >> (2 * index) & 3 == 3 {
            return Err(not_modelled("an index register that moves both ways"));
        }
    }
    Ok(Post(post))
}

/// The bank of the slot that a missing left source stands in: beside a bank A register it is
/// slot B.
const fn missing_left(right: Operand) -> Bank {
    match right {
        Operand::A(_) => Bank::B,
        _ => Bank::A,
    }
}

fn lower_alu(insn: &Alu) -> Result<RegisterOp, FaultKind> {
    Ok(RegisterOp::Alu(AluForm {
        op: insn.op,
        dst: destination(insn.dst),
        left: source(insn.left, missing_left(insn.right)),
        right: source(insn.right, Bank::A),
        post: post(&[insn.dst, insn.left, insn.right])?,
    }))
}

fn lower_shift(insn: &Shift) -> Result<RegisterOp, FaultKind> {
    match (insn.op, insn.control) {
        (ShiftOp::Ashr, ShiftControl::Right)
        | (ShiftOp::B, _)
        | (
            ShiftOp::And | ShiftOp::Or,
            ShiftControl::Rotate | ShiftControl::Right | ShiftControl::Left,
        ) => {}
        _ => return Err(not_modelled("this shift with this operation")),
    }
    Ok(RegisterOp::Shift(ShiftForm {
        op: insn.op,
        control: insn.control,
        amount: insn.amount,
        indirect: insn.is_indirect(),
        dst: destination(insn.dst),
        left: source(insn.left, missing_left(insn.right)),
        right: source(insn.right, Bank::A),
    }))
}

fn lower_load_field(insn: &LoadField) -> Result<RegisterOp, FaultKind> {
    let indirect = insn.amount == 0 && insn.control != ShiftControl::Rotate;
    if indirect || insn.control == ShiftControl::Double {
        return Err(not_modelled("ld_field with this shift"));
    }
    let mask = (0..4)
        .filter(|byte| insn.bytes >> byte & 1 == 1)
        .fold(0, |mask, byte| mask | 0xff << (8 * byte));
    Ok(RegisterOp::LoadField(LoadFieldForm {
        dst: destination(insn.dst),
        old: old_value(insn.dst),
        src: source(insn.src, Bank::A),
        control: insn.control,
        amount: insn.amount,
        mask,
        keep: if insn.clear { 0 } else { !mask },
    }))
}

fn lower_immed(insn: Immed) -> Result<RegisterOp, FaultKind> {
    let shift = 8 * insn.shift.code() as u32;
    let mut value = u32::from(insn.value) << shift;
    if insn.invert {
        value = !value;
    }
    let mask: u32 = match insn.width {
        ImmedWidth::All => u32::MAX,
        ImmedWidth::Word => 0xffff << shift,
        ImmedWidth::Byte => return Err(not_modelled("immed_b")),
    };
    Ok(RegisterOp::Immed(ImmedForm {
        dst: destination(insn.dst),
        old: old_value(insn.dst),
        value: value & mask,
        keep: !mask,
        post: post(&[insn.dst])?,
    }))
}

fn lower_mul(insn: Mul) -> Result<RegisterOp, FaultKind> {
    let stores = |high| {
        Ok(RegisterOp::MulStore {
            dst: destination(insn.left),
            high,
            post: post(&[insn.left])?,
        })
    };
    match (insn.kind, insn.step) {
        (MulKind::By24x8, _) => Err(not_modelled("a 24x8 multiplication")),
        (_, MulStep::Last) => stores(false),
        (_, MulStep::Last2) => stores(true),
        (MulKind::Start, _) => Ok(RegisterOp::MulStart {
            left: source(insn.left, Bank::A),
            right: source(insn.right, Bank::A),
            post: post(&[insn.left, insn.right])?,
        }),
        (MulKind::By16x16, _) => Ok(RegisterOp::MulStep { wide: false }),
        (MulKind::By32x32, _) => Ok(RegisterOp::MulStep { wide: true }),
    }
}

fn lower_command(insn: &Command) -> Result<Op, FaultKind> {
    match insn.op {
        CommandOp::Read8
        | CommandOp::Read32Swap
        | CommandOp::Write8Swap
        | CommandOp::Write32Swap
        | CommandOp::Add
        | CommandOp::AddImm => {}
        CommandOp::Read32 | CommandOp::Read32Le | CommandOp::ReadLe | CommandOp::ReadSwapLe => {
            return Err(not_modelled("this memory command"));
        }
    }
    Ok(Op::Command(CommandForm {
        op: insn.op,
        a: source(insn.a, Bank::A),
        b: source(insn.b, Bank::B),
        mode: insn.mode,
        xfer: insn.xfer,
        count: insn.count,
        indirect: insn.indirect,
        wait: command_wait(insn),
        defer: match insn.swap {
            ContextSwap::Now | ContextSwap::Never => 0,
            ContextSwap::Defer1 => 1,
            ContextSwap::Defer2 => 2,
        },
    }))
}
