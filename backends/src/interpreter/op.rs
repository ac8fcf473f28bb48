//! The interpreter's own instruction form: one operation for each slot, operand kinds told apart,
//! jump targets as absolute slots, addresses of maps and functions filled in.

use iom_core::abi::Refusal;
use iom_core::helper;
use iom_core::isa::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, PacketMode, Reg, Size,
    SwapWidth, Width,
};
use iom_core::kfunc::Kfunc;
use iom_core::module::{Module, Program, ProgramType};

use super::address::{self, Kind};

/// One operation. 16 bytes, so that four share a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Alu64 {
        op: AluOp,
        dst: Reg,
        src: Reg,
    },
    Alu64Imm {
        op: AluOp,
        dst: Reg,
        imm: u64,
    },
    Alu32 {
        op: AluOp,
        dst: Reg,
        src: Reg,
    },
    Alu32Imm {
        op: AluOp,
        dst: Reg,
        imm: u32,
    },
    Mov64 {
        dst: Reg,
        src: Reg,
    },
    Mov32 {
        dst: Reg,
        src: Reg,
    },
    MovImm {
        dst: Reg,
        value: u64,
    },
    /// The second slot is skipped.
    MovWide {
        dst: Reg,
        value: u64,
    },
    MovSigned {
        width: Width,
        dst: Reg,
        src: Reg,
        from: Size,
    },
    Neg {
        width: Width,
        dst: Reg,
    },
    ByteSwap {
        order: ByteOrder,
        bits: SwapWidth,
        dst: Reg,
    },
    Load {
        size: Size,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    LoadSigned {
        size: Size,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    Store {
        size: Size,
        base: Reg,
        off: i16,
        src: Reg,
    },
    StoreImm {
        size: Size,
        base: Reg,
        off: i16,
        imm: i32,
    },
    Atomic {
        op: AtomicOp,
        size: Size,
        base: Reg,
        off: i16,
        src: Reg,
    },
    LoadPacket {
        size: Size,
        index: Option<Reg>,
        imm: i32,
    },
    Jump {
        target: u32,
    },
    Jump64 {
        cond: Condition,
        dst: Reg,
        src: Reg,
        target: u32,
    },
    Jump64Imm {
        cond: Condition,
        dst: Reg,
        imm: i32,
        target: u32,
    },
    Jump32 {
        cond: Condition,
        dst: Reg,
        src: Reg,
        target: u32,
    },
    Jump32Imm {
        cond: Condition,
        dst: Reg,
        imm: i32,
        target: u32,
    },
    MayGoto {
        target: u32,
    },
    CallHelper {
        number: u32,
    },
    CallKfunc {
        kfunc: Kfunc,
    },
    CallLocal {
        target: u32,
    },
    Exit,
    /// Writes `r10`. Only a fault when reached: Linux lets it stand in dead code.
    FramePointer,
    /// Needs something that the kernel does not have.
    Unresolved,
    /// The second slot of a wide load.
    NoInstruction,
}

const _: () = assert!(size_of::<Op>() == 16);

/// A lowered program.
#[derive(Debug)]
pub(super) struct Code {
    /// Operations by slot, as the program's instructions.
    pub(super) ops: Vec<Op>,
    /// Which context the program has.
    pub(super) program_type: ProgramType,
}

/// Global data that programs address directly: numbers of the values that a worker sets up once.
#[derive(Debug, Default)]
pub(super) struct GlobalData {
    /// Maps by index in the module; the position is the number of the value.
    pub(super) maps: Vec<u32>,
}

impl GlobalData {
    fn number(&mut self, map: u32) -> u32 {
        let known = self.maps.iter().position(|&other| other == map);
        known.unwrap_or_else(|| {
            self.maps.push(map);
            self.maps.len() - 1
        }) as u32
    }
}

/// Lowers a program of a module, or says every reason why it cannot run here.
pub(super) fn lower(
    module: &Module,
    index: usize,
    global_data: &mut GlobalData,
) -> Result<Code, Vec<Refusal>> {
    let Some(program) = module.programs.get(index) else {
        return Err(vec![Refusal {
            program: index,
            insn: None,
            message: format!("the module has no program {index}"),
            fix: None,
        }]);
    };
    let mut ops = Vec::with_capacity(program.insns.len());
    let mut reasons = Vec::new();
    for (slot, insn) in program.insns.iter().enumerate() {
        match (Lowering {
            module,
            program,
            slot,
            global_data,
        })
        .insn(insn)
        {
            Ok(op) => ops.push(op),
            Err(message) => reasons.push(Refusal {
                program: index,
                insn: Some(slot),
                message,
                fix: None,
            }),
        }
    }
    if reasons.is_empty() {
        Ok(Code {
            ops,
            program_type: program.program_type,
        })
    } else {
        Err(reasons)
    }
}

/// One instruction and what it may refer to.
struct Lowering<'a> {
    module: &'a Module,
    program: &'a Program,
    slot: usize,
    global_data: &'a mut GlobalData,
}

impl Lowering<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "a flat match with one short arm per variant"
    )]
    fn insn(&mut self, insn: &Insn) -> Result<Op, String> {
        let slot = self.slot as u32;
        let unresolved = &self.program.unresolved;
        if unresolved.iter().any(|found| found.insn == slot) {
            return Ok(Op::Unresolved);
        }
        if destination(insn) == Some(Reg::R10) {
            return Ok(Op::FramePointer);
        }
        Ok(match *insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => alu(op, width, dst, src),
            Insn::Mov { width, dst, src } => mov(width, dst, src),
            Insn::MovSigned {
                width,
                dst,
                src,
                from,
            } => Op::MovSigned {
                width,
                dst,
                src,
                from,
            },
            Insn::Neg { width, dst } => Op::Neg { width, dst },
            Insn::ByteSwap { order, bits, dst } => Op::ByteSwap { order, bits, dst },
            Insn::LoadImm64 { dst, value } => Op::MovWide {
                dst,
                value: self.wide(value, insn)?,
            },
            Insn::WideTail => Op::NoInstruction,
            Insn::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                if signed {
                    Op::LoadSigned {
                        size,
                        dst,
                        base,
                        off,
                    }
                } else {
                    Op::Load {
                        size,
                        dst,
                        base,
                        off,
                    }
                }
            }
            Insn::Store {
                size,
                base,
                off,
                src: Operand::Reg(src),
            } => Op::Store {
                size,
                base,
                off,
                src,
            },
            Insn::Store {
                size,
                base,
                off,
                src: Operand::Imm(imm),
            } => Op::StoreImm {
                size,
                base,
                off,
                imm,
            },
            Insn::Atomic {
                op,
                size,
                base,
                off,
                src,
            } => Op::Atomic {
                op,
                size,
                base,
                off,
                src,
            },
            Insn::LoadPacket { size, mode, imm } => self.packet(size, mode, imm)?,
            Insn::Jump { .. } => Op::Jump {
                target: self.target(insn.jump_target(self.slot))?,
            },
            Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                ..
            } => jump_if(
                cond,
                width,
                dst,
                src,
                self.target(insn.jump_target(self.slot))?,
            ),
            Insn::MayGoto { .. } => Op::MayGoto {
                target: self.target(insn.jump_target(self.slot))?,
            },
            Insn::Call { target } => self.call(target, insn)?,
            Insn::Exit => Op::Exit,
        })
    }

    /// A jump or call target, which must be an instruction of the program.
    fn target(&self, slot: Option<i64>) -> Result<u32, String> {
        let inside = slot.and_then(|slot| usize::try_from(slot).ok());
        match inside.and_then(|slot| self.program.insns.get(slot)) {
            Some(Insn::WideTail) => Err("jump into the second half of a wide load".to_owned()),
            Some(_) => Ok(slot.unwrap_or_default() as u32),
            None => Err("jump out of the program".to_owned()),
        }
    }

    fn wide(&mut self, value: Imm64, insn: &Insn) -> Result<u64, String> {
        match value {
            Imm64::Number(number) => Ok(number),
            Imm64::Map(map) => {
                self.map(map)?;
                Ok(address::address(Kind::Map, map, 0))
            }
            Imm64::MapValue { map, offset } => {
                let size = self.map(map)?;
                if offset >= size {
                    return Err(format!(
                        "offset {offset} is outside the {size} bytes of map {map}"
                    ));
                }
                Ok(address::address(
                    Kind::Value,
                    self.global_data.number(map),
                    offset,
                ))
            }
            Imm64::Variable { btf_id } => Err(format!("kernel variable {btf_id} is not here")),
            Imm64::Function { .. } => {
                let slot = self.target(insn.function_target(self.slot))?;
                Ok(address::address(Kind::Function, slot, 0))
            }
        }
    }

    /// Checks a map's index and gives its value size.
    fn map(&self, map: u32) -> Result<u32, String> {
        let spec = self.module.maps.get(map as usize);
        spec.map(|spec| spec.value_size)
            .ok_or_else(|| format!("the module has no map {map}"))
    }

    fn packet(&self, size: Size, mode: PacketMode, imm: i32) -> Result<Op, String> {
        match self.program.program_type {
            ProgramType::SchedCls | ProgramType::SocketFilter => {}
            ProgramType::Xdp | ProgramType::Raw => {
                return Err("legacy packet loads are for socket filters and tc".to_owned());
            }
        }
        let index = match mode {
            PacketMode::Absolute => None,
            PacketMode::Indirect(reg) => Some(reg),
        };
        Ok(Op::LoadPacket { size, index, imm })
    }

    fn call(&self, target: CallTarget, insn: &Insn) -> Result<Op, String> {
        match target {
            CallTarget::Helper(number) => {
                check_helper(self.module, self.program, number)?;
                Ok(Op::CallHelper { number })
            }
            CallTarget::Local(_) => Ok(Op::CallLocal {
                target: self.target(insn.function_target(self.slot))?,
            }),
            CallTarget::Kernel(kfunc) => {
                let name = kfunc.name();
                let program_type = self.program.program_type;
                if !kfunc.prototype().program_types.contains(&program_type) {
                    return Err(format!("{program_type:?} programs cannot call {name}"));
                }
                if !self.module.is_gpl_compatible() {
                    return Err(format!(
                        "{name} is for programs with a GPL-compatible licence"
                    ));
                }
                Ok(Op::CallKfunc { kfunc })
            }
            CallTarget::Kfunc { btf_id, .. } => Err(format!(
                "kernel function {btf_id} has no name here: each kernel numbers them anew"
            )),
        }
    }
}

/// Refuses a helper that is not here or not for this program, by its name.
fn check_helper(module: &Module, program: &Program, number: u32) -> Result<(), String> {
    let Some(helper) = helper::by_number(number) else {
        return Err(format!("there is no helper {number}"));
    };
    let name = helper.name;
    let Some(prototype) = helper.prototype.filter(|prototype| prototype.backends.sim) else {
        return Err(format!("helper {name} ({number}) is not supported"));
    };
    if !prototype.program_types.contains(&program.program_type) {
        return Err(format!(
            "{:?} programs cannot call {name}",
            program.program_type
        ));
    }
    if prototype.gpl_only && !module.is_gpl_compatible() {
        return Err(format!(
            "{name} is for programs with a GPL-compatible licence"
        ));
    }
    Ok(())
}

/// The register that an instruction writes, as far as it names it.
const fn destination(insn: &Insn) -> Option<Reg> {
    match *insn {
        Insn::Alu { dst, .. }
        | Insn::Mov { dst, .. }
        | Insn::MovSigned { dst, .. }
        | Insn::Neg { dst, .. }
        | Insn::ByteSwap { dst, .. }
        | Insn::LoadImm64 { dst, .. }
        | Insn::Load { dst, .. } => Some(dst),
        Insn::Atomic { op, src, .. } => match op {
            AtomicOp::Add { fetch: true }
            | AtomicOp::Or { fetch: true }
            | AtomicOp::And { fetch: true }
            | AtomicOp::Xor { fetch: true }
            | AtomicOp::Exchange => Some(src),
            AtomicOp::Add { fetch: false }
            | AtomicOp::Or { fetch: false }
            | AtomicOp::And { fetch: false }
            | AtomicOp::Xor { fetch: false }
            | AtomicOp::CompareExchange => None,
        },
        Insn::WideTail
        | Insn::Store { .. }
        | Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::JumpIf { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
    }
}

const fn alu(op: AluOp, width: Width, dst: Reg, src: Operand) -> Op {
    match (width, src) {
        (Width::W64, Operand::Reg(src)) => Op::Alu64 { op, dst, src },
        (Width::W64, Operand::Imm(imm)) => Op::Alu64Imm {
            op,
            dst,
            imm: imm as u64,
        },
        (Width::W32, Operand::Reg(src)) => Op::Alu32 { op, dst, src },
        (Width::W32, Operand::Imm(imm)) => Op::Alu32Imm {
            op,
            dst,
            imm: imm as u32,
        },
    }
}

const fn mov(width: Width, dst: Reg, src: Operand) -> Op {
    match (width, src) {
        (Width::W64, Operand::Reg(src)) => Op::Mov64 { dst, src },
        (Width::W64, Operand::Imm(imm)) => Op::MovImm {
            dst,
            value: imm as u64,
        },
        (Width::W32, Operand::Reg(src)) => Op::Mov32 { dst, src },
        (Width::W32, Operand::Imm(imm)) => Op::MovImm {
            dst,
            value: imm as u32 as u64,
        },
    }
}

const fn jump_if(cond: Condition, width: Width, dst: Reg, src: Operand, target: u32) -> Op {
    match (width, src) {
        (Width::W64, Operand::Reg(src)) => Op::Jump64 {
            cond,
            dst,
            src,
            target,
        },
        (Width::W64, Operand::Imm(imm)) => Op::Jump64Imm {
            cond,
            dst,
            imm,
            target,
        },
        (Width::W32, Operand::Reg(src)) => Op::Jump32 {
            cond,
            dst,
            src,
            target,
        },
        (Width::W32, Operand::Imm(imm)) => Op::Jump32Imm {
            cond,
            dst,
            imm,
            target,
        },
    }
}
