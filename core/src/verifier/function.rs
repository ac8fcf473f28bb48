//! The program's own functions: calls and returns of static ones, whose bodies are followed at each
//! call, and global ones, which are verified once, for any arguments that their types allow
//! (`btf_prepare_func_args`), and taken for granted where they are called.

use super::explore::{Next, Verifier};
use super::memory::Access;
use super::register::{Kind, Register};
use super::reject::{Check, Rejection, reject};
use super::scalar::Scalar;
use super::stack::HelperUse;
use super::state::{Frame, MAX_FRAMES, State};
use crate::isa::{CallTarget, Insn, Reg};
use crate::module::{Program, ProgramType};
use crate::object::btf::{Btf, BtfKind, Linkage};

/// What a function takes in one register, as its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Scalar,
    Context,
    Memory { size: u32, nullable: bool },
}

/// What is known of a function besides its body.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent marks, not the states of a machine"
)]
pub(super) struct FunctionInfo {
    /// Verified on its own.
    pub(super) global: bool,
    /// Its name in the type information.
    pub(super) name: String,
    /// A call makes pointers into the packet unusable.
    pub(super) changes_packet: bool,
    /// Some path that was followed calls it.
    called: bool,
    verified: bool,
    /// Its type does not say what it takes, or a call did not fit it.
    unreliable: bool,
}

/// What is known of each function; without type information all are static.
pub(super) fn functions(program: &Program, btf: Option<&Btf>) -> Vec<FunctionInfo> {
    let typed = btf.filter(|_| has_types(program));
    let mut infos: Vec<FunctionInfo> = program
        .functions
        .iter()
        .map(|function| {
            let id = function.btf_id.unwrap_or(0);
            let found = typed.and_then(|btf| btf.get(id));
            let global = matches!(
                found.map(|found| &found.kind),
                Some(BtfKind::Func {
                    linkage: Linkage::Global,
                    ..
                })
            );
            FunctionInfo {
                global,
                name: typed.map_or("", |btf| btf.name_of(id)).to_owned(),
                ..FunctionInfo::default()
            }
        })
        .collect();
    mark_packet_changes(program, &mut infos);
    infos
}

/// Whether the kernel gets type information with the program: for each function, or for none.
pub(super) fn has_types(program: &Program) -> bool {
    let mut functions = program.functions.iter();
    functions.all(|function| function.btf_id.is_some())
}

/// A function that calls one which changes the packet changes it, too.
fn mark_packet_changes(program: &Program, infos: &mut [FunctionInfo]) {
    let mut changed = true;
    while changed {
        changed = false;
        for (slot, insn) in program.insns.iter().enumerate() {
            let Insn::Call { target } = *insn else {
                continue;
            };
            let changes = match target {
                CallTarget::Helper(helper) => {
                    let prototype = super::prototype::prototype(helper, program.program_type);
                    prototype.is_some_and(|prototype| prototype.changes_packet)
                }
                CallTarget::Local(_) => {
                    let callee = insn.function_target(slot).unwrap_or(0) as usize;
                    infos[program.function_of(callee)].changes_packet
                }
                CallTarget::Kfunc { .. } | CallTarget::Kernel(_) => false,
            };
            let info = &mut infos[program.function_of(slot)];
            changed |= changes && !info.changes_packet;
            info.changes_packet |= changes;
        }
    }
}

impl Verifier<'_> {
    /// Verifies global functions that were called, and those that they call in turn.
    pub(super) fn verify_global_functions(&mut self) -> Check {
        while let Some(function) = self
            .functions
            .iter()
            .position(|info| info.global && info.called && !info.verified)
            .filter(|index| *index != 0)
        {
            let parameters = self.parameters(function)?.unwrap_or_default();
            let mut state = State::entry(function, self.bounds_of(function).0);
            for (index, parameter) in parameters.into_iter().enumerate() {
                state.frame_mut().registers[index + 1] = match parameter {
                    Parameter::Scalar => Register::UNKNOWN,
                    Parameter::Context => Register::pointer(Kind::Context),
                    Parameter::Memory { size, nullable } => Register {
                        range: size as i32,
                        id: self.new_id(),
                        ..Register::pointer(Kind::memory(nullable))
                    },
                };
            }
            self.start(state);
            self.walk()?;
            self.functions[function].verified = true;
        }
        Ok(())
    }

    pub(super) fn call_function(&mut self) -> Check<Next> {
        let slot = self.insn;
        let target = self.program.insns[slot].function_target(slot).unwrap_or(0);
        let Ok(function) = self
            .program
            .functions
            .binary_search_by_key(&target, |function| i64::from(function.start))
        else {
            return reject("call to invalid destination");
        };
        if self.functions[function].global {
            return self.call_global(function).map(|()| Next::Fall);
        }
        self.check_static_arguments(function);
        let depth = self.state.frames.len();
        if depth >= MAX_FRAMES {
            return reject(format!(
                "the call stack of {} frames is too deep",
                depth + 1
            ));
        }
        let mut frame = Frame::new(function, slot as u32, depth);
        frame.registers[1..6].copy_from_slice(&self.state.frame().registers[1..6]);
        self.clear_caller_saved();
        self.state.frames.push(frame);
        self.state.enter_marks();
        Ok(Next::Go(target))
    }

    fn call_global(&mut self, function: usize) -> Check {
        let name = self.functions[function].name.clone();
        let matched = self.match_arguments(function);
        if self.state.lock.is_some() {
            return Err(Rejection {
                messages: vec![
                    "global function calls are not allowed while holding a lock,".to_owned(),
                    "use static function instead".to_owned(),
                ],
            });
        }
        matched.map_err(|rejection| {
            rejection.then(format!(
                "Caller passes invalid args into func#{function} ('{name}')"
            ))
        })?;
        if self.functions[function].changes_packet {
            self.state.forget_packet_pointers();
        }
        self.functions[function].called = true;
        self.clear_caller_saved();
        self.set(Reg::R0, Register::UNKNOWN);
        Ok(())
    }

    /// Linux compares the arguments of static functions with their types, too, which refuses
    /// nothing, but reads what they point to.
    pub(super) fn check_static_arguments(&mut self, function: usize) {
        if self.match_arguments(function).is_err() {
            self.functions[function].unreliable = true;
        }
    }

    /// Checks arguments against the types of a function (`btf_check_func_arg_match`).
    fn match_arguments(&mut self, function: usize) -> Check {
        if self.functions[function].unreliable {
            return reject("");
        }
        let Some(parameters) = self.parameters(function)? else {
            return reject("");
        };
        for (index, parameter) in parameters.into_iter().enumerate() {
            let reg = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5][index];
            let register = *self.state.reg(reg.index());
            let number = reg.number();
            match parameter {
                Parameter::Scalar if !register.is_scalar() => {
                    return reject(format!("R{number} is not a scalar"));
                }
                Parameter::Scalar => {}
                Parameter::Context => {
                    self.check_no_offset_argument(reg)?;
                    if register.kind != Kind::Context {
                        return reject(format!("arg#{index} expects pointer to ctx"));
                    }
                }
                Parameter::Memory { size, nullable } => {
                    self.check_no_offset_argument(reg)?;
                    self.check_memory_argument(reg, size)?;
                    if !nullable && register.kind.nullable() {
                        return reject(format!("arg#{index} is expected to be non-NULL"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Only pointers to memory may have an offset (`check_func_arg_reg_off`).
    fn check_no_offset_argument(&self, reg: Reg) -> Check {
        match self.state.reg(reg.index()).kind {
            Kind::Stack(_)
            | Kind::Packet
            | Kind::PacketMeta
            | Kind::MapKey(_)
            | Kind::MapValue { .. }
            | Kind::Memory { .. }
            | Kind::Record { .. }
            | Kind::Scalar => Ok(()),
            Kind::NotInit
            | Kind::Context
            | Kind::PacketEnd
            | Kind::Map(_)
            | Kind::Dynptr { .. }
            | Kind::Iterator { .. }
            | Kind::Socket { .. }
            | Kind::Function(_) => self.check_no_offset(reg),
        }
    }

    /// Checks that memory can be read and written (`check_mem_reg`).
    fn check_memory_argument(&mut self, reg: Reg, size: u32) -> Check {
        let register = *self.state.reg(reg.index());
        if register.is_null() {
            return Ok(());
        }
        let kind = self.maps.not_null(register.kind);
        self.state.reg_mut(reg.index()).kind = kind;
        let mut how = HelperUse {
            access: Access::Read,
            zero: true,
            fills: false,
        };
        let mut checked = self.check_helper_memory(reg, size.into(), how);
        if checked.is_ok() {
            how.access = Access::Write;
            checked = self.check_helper_memory(reg, size.into(), how);
        }
        self.state.reg_mut(reg.index()).kind = register.kind;
        checked
    }

    pub(super) fn exit(&mut self) -> Check<Next> {
        if self.state.frames.len() > 1 {
            return self.exit_function();
        }
        let what = "BPF_EXIT instruction in main prog";
        self.check_leaks(what)?;
        self.check_no_lock(what)?;
        self.check_read(Reg::R0)?;
        let result = self.state.reg(0);
        if self.state.frame().function != 0 && !result.is_scalar() {
            return reject(format!(
                "At subprogram exit the register R0 is not a scalar value ({})",
                result.kind.name()
            ));
        }
        Ok(Next::PathEnds)
    }

    /// Back to the caller, or, from a callback, to the helper that calls back.
    pub(super) fn exit_function(&mut self) -> Check<Next> {
        let result = *self.state.reg(0);
        if matches!(result.kind, Kind::Stack(_)) {
            return reject("cannot return stack pointer to the caller");
        }
        self.stack_live.update(&self.state, &self.program.insns);
        if self.state.frame().callback {
            return Ok(Next::Go(self.leave_callback()? as i64));
        }
        let callsite = self.state.frame().callsite;
        self.state.frames.pop();
        self.state.leave_marks();
        *self.state.reg_mut(0) = result;
        Ok(Next::Go(i64::from(callsite) + 1))
    }

    /// What a function takes by its type. `None` where a static function's type does not say,
    /// which is no error.
    fn parameters(&self, function: usize) -> Check<Option<Vec<Parameter>>> {
        let info = &self.functions[function];
        let id = self.program.functions[function].btf_id.unwrap_or(0);
        let typed = self.btf.as_ref().filter(|_| has_types(self.program));
        let Some(btf) = typed else {
            return Ok(None);
        };
        let refuse = |message: String| {
            if info.global {
                reject(message)
            } else {
                Ok(None)
            }
        };
        let name = &info.name;
        let Some(BtfKind::Func { type_id, .. }) = btf.get(id).map(|found| &found.kind) else {
            return refuse("Global functions need valid BTF".to_owned());
        };
        let prototype = btf.get(*type_id).map(|found| &found.kind);
        let Some(BtfKind::FuncProto { return_id, params }) = prototype else {
            return refuse(format!("Invalid type of function {name}()"));
        };
        if params.len() > 5 {
            return refuse(format!(
                "Global function {name}() with {} > 5 args. Buggy compiler.",
                params.len()
            ));
        }
        let result = btf.resolve(*return_id).map(|(_, kind)| kind);
        if !matches!(result, Some(BtfKind::Int { .. } | BtfKind::Enum { .. })) {
            return refuse(format!(
                "Global function {name}() doesn't return scalar. Only those are supported."
            ));
        }
        let mut parameters = Vec::new();
        for (index, (_, type_id)) in params.iter().enumerate() {
            let tags = argument_tags(btf, id, index);
            match self.parameter(btf, (index, *type_id), &tags, info)? {
                Some(parameter) => parameters.push(parameter),
                None => return Ok(None),
            }
        }
        Ok(Some(parameters))
    }

    fn parameter(
        &self,
        btf: &Btf,
        (index, type_id): (usize, u32),
        tags: &[&str],
        info: &FunctionInfo,
    ) -> Check<Option<Parameter>> {
        const KNOWN: [&str; 3] = ["ctx", "nonnull", "nullable"];
        if !tags.is_empty() && !info.global {
            return Ok(None);
        }
        if tags.iter().any(|tag| !KNOWN.contains(tag)) {
            return reject(format!("arg#{index} has unsupported set of tags"));
        }
        let Some((_, kind)) = btf.resolve(type_id) else {
            return Ok(None);
        };
        let BtfKind::Pointer { type_id: target } = kind else {
            if !tags.is_empty() {
                return reject(format!(
                    "arg#{index} has pointer tag, but is not a pointer type"
                ));
            }
            return match kind {
                BtfKind::Int { .. } | BtfKind::Enum { .. } => Ok(Some(Parameter::Scalar)),
                _ if !info.global => Ok(None),
                kind => reject(format!(
                    "Arg#{index} type {} in {}() is not supported yet.",
                    kind_name(kind),
                    info.name
                )),
            };
        };
        let combined = || reject(format!("arg#{index} has invalid combination of tags"));
        if tags.contains(&"ctx") || self.is_context(btf, *target) {
            if tags.iter().any(|tag| *tag != "ctx") {
                return combined();
            }
            return Ok(Some(Parameter::Context));
        }
        if !info.global {
            return Ok(None);
        }
        if tags.contains(&"nullable") {
            return combined();
        }
        let Some(size) = btf.size_of(*target) else {
            let (id, kind) = btf.resolve(*target).unwrap_or((0, &BtfKind::Void));
            return reject(format!(
                "arg#{index} reference type('{} {}') size cannot be determined: -22",
                kind_name(kind),
                btf.name_of(id)
            ));
        };
        Ok(Some(Parameter::Memory {
            size,
            nullable: !tags.contains(&"nonnull"),
        }))
    }

    /// Whether a type is the context of programs of this type, which goes by its name.
    fn is_context(&self, btf: &Btf, type_id: u32) -> bool {
        let Some((id, BtfKind::Struct { .. })) = btf.resolve(type_id) else {
            return false;
        };
        let wanted = match self.program.program_type {
            ProgramType::Xdp => "xdp_md",
            ProgramType::SchedCls | ProgramType::SocketFilter => "__sk_buff",
            ProgramType::Raw => return false,
        };
        let name = btf.name_of(id);
        name == wanted
            || name
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.starts_with("___"))
    }

    /// Refuses packet loads and tail calls in functions without types, which say what they return
    /// (`check_abnormal_return`).
    pub(super) fn check_abnormal_returns(&self) -> Check {
        if has_types(self.program) && self.btf.is_some() {
            return Ok(());
        }
        for function in 1..self.program.functions.len() {
            let (start, end) = self.bounds_of(function);
            let loads = |insn: &Insn| matches!(insn, Insn::LoadPacket { .. });
            if self.program.insns[start..end].iter().any(loads) {
                return reject("LD_ABS is not allowed in subprogs without BTF");
            }
            if self.has_tail_call(function) {
                return reject("tail_call is not allowed in subprogs without BTF");
            }
        }
        Ok(())
    }
}

/// The `arg:` tags of a parameter.
fn argument_tags(btf: &Btf, function: u32, index: usize) -> Vec<&str> {
    let tags = btf.iter().filter(|(_, found)| {
        matches!(found.kind, BtfKind::DeclTag { type_id, component }
            if type_id == function && component == index as i32)
    });
    tags.filter_map(|(id, _)| btf.name_of(id).strip_prefix("arg:"))
        .collect()
}

/// Linux's name of a kind (`btf_type_str`).
fn kind_name(kind: &BtfKind) -> &'static str {
    match kind {
        BtfKind::Void => "UNKNOWN",
        BtfKind::Int { .. } => "INT",
        BtfKind::Pointer { .. } => "PTR",
        BtfKind::Array { .. } => "ARRAY",
        BtfKind::Struct { .. } => "STRUCT",
        BtfKind::Union { .. } => "UNION",
        BtfKind::Enum { .. } => "ENUM",
        BtfKind::Forward { .. } => "FWD",
        BtfKind::Typedef { .. } => "TYPEDEF",
        BtfKind::Modifier { .. } => "CONST",
        BtfKind::Func { .. } => "FUNC",
        BtfKind::FuncProto { .. } => "FUNC_PROTO",
        BtfKind::Var { .. } => "VAR",
        BtfKind::Datasec { .. } => "DATASEC",
        BtfKind::Float { .. } => "FLOAT",
        BtfKind::DeclTag { .. } => "DECL_TAG",
    }
}

/// Refuses a number outside of a range, bounds included.
pub(super) fn check_range(number: &Scalar, place: &str, range: (i64, i64)) -> Check {
    let (least, most) = range;
    if least <= number.smin && number.smax <= most {
        return Ok(());
    }
    let bound = |known: bool, name: &str, value: i64| {
        if known {
            format!(" {name}={value}")
        } else {
            String::new()
        }
    };
    let mut known = bound(number.smin > i64::MIN, "smin", number.smin);
    known.push_str(&bound(number.smax < i64::MAX, "smax", number.smax));
    if known.is_empty() {
        " unknown scalar value".clone_into(&mut known);
    }
    reject(format!(
        "{place} the register R0 has{known} should have been in [{least}, {most}]"
    ))
}
