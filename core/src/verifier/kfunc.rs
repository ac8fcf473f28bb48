//! Calls of kernel functions (`check_kfunc_call`).

use super::alu::MAX_OFFSET;
use super::dynptr::KnownDynptr;
use super::explore::Verifier;
use super::memory::Access;
use super::register::{Kind, Register};
use super::reject::{Check, reject};
use super::stack::HelperUse;
use crate::helper::DynptrKind;
use crate::isa::{CallTarget, Insn, Reg};
use crate::kfunc::{Kfunc, KfuncArgument, KfuncReturns};
use crate::module::ProgramType;

const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// What the arguments of a call say of its result.
#[derive(Default)]
struct CallMeta {
    /// The dynptr that it takes.
    dynptr: Option<KnownDynptr>,
    /// The reference of the iterator that it takes.
    iterator: u32,
    /// The constant size.
    size: u64,
}

impl Verifier<'_> {
    /// Checks what kernel functions ask of the program as a whole (`add_kfunc_call`).
    pub(super) fn check_kfuncs_allowed(&self) -> Check {
        let called = self.program.insns.iter().filter_map(|insn| match insn {
            Insn::Call {
                target: CallTarget::Kernel(kfunc),
            } => Some(kfunc.prototype()),
            _ => None,
        });
        for prototype in called {
            if !self.module.is_gpl_compatible() {
                return reject("cannot call kernel function from non-GPL compatible program");
            }
            if prototype.of_device {
                return reject("metadata kfuncs require device-bound program");
            }
        }
        Ok(())
    }

    /// Checks a call of a kernel function.
    pub(super) fn call_kfunc(&mut self, kfunc: Kfunc) -> Check {
        let prototype = kfunc.prototype();
        if !prototype.program_types.contains(&self.program.program_type) {
            let name = kfunc.name();
            return reject(format!("calling kernel function {name} is not allowed"));
        }
        let place = match kfunc {
            Kfunc::IterNumNext => self.object_place(Reg::R1, 1, "iter").ok().flatten(),
            _ => None,
        };
        let mut meta = CallMeta::default();
        for (index, argument) in prototype.arguments.iter().enumerate() {
            self.check_kfunc_argument(kfunc, index, *argument, &mut meta)?;
        }
        self.clear_caller_saved();
        let result = self.kfunc_result(prototype.returns, &meta)?;
        self.set(Reg::R0, result);
        if let Some(place) = place {
            let mut number = result;
            (number.kind, number.id) = (number.kind.not_null(), 0);
            self.go_round(place, number)?;
        }
        Ok(())
    }

    fn check_kfunc_argument(
        &mut self,
        kfunc: Kfunc,
        index: usize,
        argument: KfuncArgument,
        meta: &mut CallMeta,
    ) -> Check {
        let reg = ARGUMENTS[index];
        let register = *self.state.reg(reg.index());
        let (number, name) = (reg.number(), register.kind.name());
        match argument {
            KfuncArgument::Scalar if register.is_scalar() => Ok(()),
            KfuncArgument::Scalar => reject(format!("R{number} is not a scalar")),
            // The size is checked with the memory before it.
            KfuncArgument::ConstantSize => Ok(()),
            _ if kfunc.prototype().trusted && register.is_null() => reject(format!(
                "Possibly NULL pointer passed to trusted arg{index}"
            )),
            KfuncArgument::Context => {
                if register.kind != Kind::Context {
                    return reject(format!(
                        "arg#{index} expected pointer to ctx, but got {name}"
                    ));
                }
                self.check_no_offset(reg)
            }
            KfuncArgument::NumberIterator => {
                meta.iterator = self.check_iterator(kfunc, reg)?;
                Ok(())
            }
            KfuncArgument::Dynptr => {
                meta.dynptr = Some(self.use_dynptr(reg)?);
                Ok(())
            }
            KfuncArgument::DynptrUninit => {
                let (kind, clone_of) = match (kfunc, meta.dynptr) {
                    (_, Some(original)) => (original.kind, Some(original.reference)),
                    (Kfunc::DynptrFromXdp, None) => (DynptrKind::Xdp, None),
                    (_, None) => (DynptrKind::Skb, None),
                };
                self.make_dynptr(reg, kind, clone_of)
            }
            KfuncArgument::BufferOrNull => self.check_buffer(index, meta),
            KfuncArgument::Memory { bytes } => self.check_kfunc_memory(reg, bytes.into(), false),
        }
    }

    /// Checks a buffer that may be null and its constant size in the next register.
    fn check_buffer(&mut self, index: usize, meta: &mut CallMeta) -> Check {
        let (buffer, size) = (ARGUMENTS[index], ARGUMENTS[index + 1]);
        let (number, scalar) = (size.number(), self.state.reg(size.index()).scalar);
        if !self.state.reg(size.index()).is_scalar() {
            return reject(format!("R{number} is not a scalar"));
        }
        if !self.state.reg(buffer.index()).is_null() {
            let pair = format!(
                "arg#{index} arg#{} memory, len pair leads to invalid memory access",
                index + 1
            );
            self.check_buffer_size(buffer, size)
                .map_err(|rejection| rejection.then(pair))?;
        }
        let Some(known) = scalar.as_const(false) else {
            return reject(format!("R{number} must be a known constant"));
        };
        meta.size = known;
        Ok(())
    }

    /// `check_kfunc_mem_size_reg`
    fn check_buffer_size(&mut self, buffer: Reg, size: Reg) -> Check {
        let (number, scalar) = (size.number(), self.state.reg(size.index()).scalar);
        if scalar.smin < 0 {
            return reject(format!(
                "R{number} min value is negative, either use unsigned or 'var &= const'"
            ));
        }
        if scalar.umax >= MAX_OFFSET as u64 {
            return reject(format!(
                "R{number} unbounded memory access, use 'var &= const' or 'if (var < const)'"
            ));
        }
        self.check_kfunc_memory(buffer, scalar.umax as i64, true)?;
        self.mark_precise(size.index());
        Ok(())
    }

    /// Memory that a kernel function may read and write.
    fn check_kfunc_memory(&mut self, reg: Reg, size: i64, zero: bool) -> Check {
        for access in [Access::Read, Access::Write] {
            let how = HelperUse {
                access,
                zero,
                fills: false,
            };
            self.check_helper_memory(reg, size, how)?;
        }
        Ok(())
    }

    fn kfunc_result(&mut self, returns: KfuncReturns, meta: &CallMeta) -> Check<Register> {
        let mut register = match returns {
            KfuncReturns::Nothing => return Ok(Register::NOT_INIT),
            KfuncReturns::Scalar { .. } => {
                return Ok(Register {
                    half_written_at: self.insn as u32 + 1,
                    ..Register::UNKNOWN
                });
            }
            KfuncReturns::IteratorNumber => Register {
                range: 4,
                reference: meta.iterator,
                ..Register::pointer(Kind::Memory {
                    dynptr: 0,
                    slice: None,
                    read_only: true,
                    nullable: true,
                })
            },
            KfuncReturns::Slice { writable } => {
                if writable && self.program.program_type == ProgramType::SocketFilter {
                    return reject("the prog does not allow writes to packet data");
                }
                Register {
                    range: meta.size as i32,
                    ..Register::pointer(Kind::Memory {
                        dynptr: meta.dynptr.map_or(0, |dynptr| dynptr.id),
                        slice: meta.dynptr.map(|dynptr| dynptr.kind),
                        read_only: !writable,
                        nullable: true,
                    })
                }
            }
        };
        register.id = self.new_id();
        Ok(register)
    }
}
