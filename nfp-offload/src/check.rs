//! Whether a program can be offloaded: every reason against it at once, before translation. The
//! rules are the driver's (`nfp/bpf/verifier.c`, `offload.c`) and this translator's own limits.

use std::collections::BTreeMap;

use iom_core::abi::Refusal;
use iom_core::helper;
use iom_core::isa::{
    AluOp, AtomicOp, ByteOrder, CallTarget, Imm64, Insn, Operand, Reg, Size, Width,
};
use iom_core::map::{MapSpec, MapType};
use iom_core::module::{Module, Program, ProgramType};
use iom_core::verifier::{Facts, InsnFacts, Pointer, PointerFacts, Range};

use crate::profile::FirmwareProfile;

const MAP_LOOKUP: u32 = 1;
/// Bytes that a 32-bit multiplier or dividend holds.
const U32_MAX: u64 = u32::MAX as u64;

/// Every reason why a program cannot be offloaded to a card with this firmware.
pub fn check(
    module: &Module,
    entry: usize,
    facts: &Facts,
    profile: &FirmwareProfile,
) -> Vec<Refusal> {
    let program = &module.programs[entry];
    let mut check = Check {
        module,
        entry,
        profile,
        reasons: Vec::new(),
        map_words: BTreeMap::new(),
    };
    if program.program_type != ProgramType::Xdp {
        check.refuse(None, "only XDP programs are translated", None);
    }
    check.maps(program);
    for (slot, (insn, facts)) in program.insns.iter().zip(&facts.insns).enumerate() {
        if facts.reachable {
            check.insn(slot, *insn, facts);
        }
    }
    check.stack(facts);
    check.reasons
}

/// How a word of a map value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordUse {
    Read,
    Counted,
}

struct Check<'a> {
    module: &'a Module,
    entry: usize,
    profile: &'a FirmwareProfile,
    reasons: Vec<Refusal>,
    /// Uses of map-value words: map and word to first use.
    map_words: BTreeMap<(u32, i64), WordUse>,
}

impl Check<'_> {
    fn refuse(&mut self, insn: Option<usize>, message: impl Into<String>, fix: Option<&str>) {
        let reason = Refusal {
            program: self.entry,
            insn,
            message: message.into(),
            fix: fix.map(str::to_owned),
        };
        self.reasons.push(reason);
    }

    /// Maps that the program names.
    fn maps(&mut self, program: &Program) {
        let mut used: Vec<u32> = program
            .insns
            .iter()
            .filter_map(|insn| match *insn {
                Insn::LoadImm64 {
                    value: Imm64::Map(map) | Imm64::MapValue { map, .. },
                    ..
                } => Some(map),
                _ => None,
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        let mut elements = 0u64;
        for index in &used {
            let Some(spec) = self.module.maps.get(*index as usize) else {
                continue;
            };
            elements += u64::from(spec.max_entries);
            self.map(&spec.clone());
        }
        let Some(limits) = self.profile.maps else {
            if !used.is_empty() {
                self.refuse(None, "the firmware has no maps", None);
            }
            return;
        };
        if used.len() > limits.max_maps as usize {
            self.refuse(
                None,
                format!("{} maps, the card has {}", used.len(), limits.max_maps),
                None,
            );
        }
        if elements > u64::from(limits.max_elements) {
            let message = format!(
                "{elements} map entries in all, the card has {}",
                limits.max_elements
            );
            self.refuse(None, message, Some("lower max_entries"));
        }
    }

    fn map(&mut self, spec: &MapSpec) {
        let name = &spec.name;
        if spec.data_section {
            let fix = "use a constant (`static const` that the compiler folds, `#define`) or an array map";
            return self.refuse(
                None,
                format!("global data ({name}) cannot be offloaded"),
                Some(fix),
            );
        }
        if !matches!(spec.map_type, MapType::Hash | MapType::Array) {
            let message = format!(
                "map {name} is of type {}; the card has hash and array",
                spec.map_type.name()
            );
            let fix = match spec.map_type {
                MapType::PercpuArray | MapType::PercpuHash => {
                    Some("use the plain type and atomic additions")
                }
                MapType::LruHash => Some("use a hash map and delete old entries from user space"),
                _ => None,
            };
            return self.refuse(None, message, fix);
        }
        if spec.flags.0 != 0 {
            let message = format!(
                "map {name} has flags {:#x}; the card takes none",
                spec.flags.0
            );
            self.refuse(None, message, Some("remove map_flags"));
        }
        let Some(limits) = self.profile.maps else {
            return;
        };
        let sizes = [
            ("keys", spec.key_size, limits.max_key),
            ("values", spec.value_size, limits.max_value),
        ];
        for (what, size, max) in sizes.into_iter().filter(|(_, size, max)| size > max) {
            self.refuse(
                None,
                format!("map {name} has {what} of {size} bytes; the card takes {max}"),
                None,
            );
        }
        let entry = u64::from(spec.key_size).next_multiple_of(8)
            + u64::from(spec.value_size).next_multiple_of(8);
        if entry > u64::from(limits.max_entry) {
            let message = format!(
                "map {name} has entries of {entry} bytes; the card takes {}",
                limits.max_entry
            );
            self.refuse(None, message, None);
        }
    }

    fn stack(&mut self, facts: &Facts) {
        let depth = facts
            .functions
            .first()
            .map_or(0, |function| function.stack_depth);
        let max = u32::from(self.profile.stack_bytes);
        if depth > max {
            self.refuse(
                None,
                format!("the program uses {depth} bytes of stack; the firmware gives {max}"),
                None,
            );
        }
    }

    fn insn(&mut self, slot: usize, insn: Insn, facts: &InsnFacts) {
        match insn {
            Insn::Alu {
                op,
                width,
                dst,
                src,
            } => self.alu(slot, op, width, (dst, src), facts),
            Insn::ByteSwap {
                order: ByteOrder::Little | ByteOrder::Swap,
                ..
            } => {
                self.refuse(
                    Some(slot),
                    "the card swaps to big-endian only",
                    Some("use bpf_htons and its kin"),
                );
            }
            Insn::LoadImm64 {
                value: Imm64::Variable { .. } | Imm64::Function { .. },
                ..
            } => {
                self.refuse(
                    Some(slot),
                    "addresses of functions and kernel variables cannot be offloaded",
                    None,
                );
            }
            Insn::Load {
                size, signed, off, ..
            } => self.load(slot, size, signed, off, facts),
            Insn::Store { size, off, src, .. } => self.store(slot, size, off, src, facts),
            Insn::Atomic { op, size, off, .. } => self.atomic(slot, op, size, off, facts),
            Insn::Call { target } => self.call(slot, target, facts),
            Insn::MovSigned { .. } => self.refuse(
                Some(slot),
                "sign-extending moves cannot be offloaded",
                CPU_V3,
            ),
            Insn::LoadPacket { .. } => self.refuse(
                Some(slot),
                "legacy packet loads are not translated for XDP",
                None,
            ),
            Insn::MayGoto { .. } => self.refuse(Some(slot), "may_goto cannot be offloaded", None),
            Insn::Mov { .. }
            | Insn::Neg { .. }
            | Insn::ByteSwap {
                order: ByteOrder::Big,
                ..
            }
            | Insn::LoadImm64 {
                value: Imm64::MapValue { .. } | Imm64::Map(_) | Imm64::Number(_),
                ..
            }
            | Insn::WideTail
            | Insn::Jump { .. }
            | Insn::JumpIf { .. }
            | Insn::Exit => {}
        }
    }

    fn alu(
        &mut self,
        slot: usize,
        op: AluOp,
        width: Width,
        (dst, src): (Reg, Operand),
        facts: &InsnFacts,
    ) {
        let Some((left, right)) = facts.ranges else {
            return;
        };
        let slot = Some(slot);
        match op {
            AluOp::Mul => self.multiplication(slot, width, src, (left, right)),
            AluOp::Div => self.division(slot, src, (left, right)),
            AluOp::Mod | AluOp::SignedMod | AluOp::SignedDiv => {
                let fix = "for a power of two use `&`; else multiply back and subtract";
                self.refuse(
                    slot,
                    "the card has no modulo and no signed division",
                    Some(fix),
                );
            }
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                let bits = if width == Width::W64 { 64 } else { 32 };
                let amount = right.as_constant();
                if let Some(amount) = amount.filter(|amount| *amount >= bits) {
                    self.refuse(
                        slot,
                        format!("shift of a {bits}-bit number by {amount} bits"),
                        None,
                    );
                }
                if src == Operand::Reg(dst) && amount.is_none() {
                    let message =
                        "shift of a register by itself is translated wrongly by the driver";
                    self.refuse(slot, message, None);
                }
            }
            AluOp::Add | AluOp::Sub | AluOp::Or | AluOp::And | AluOp::Xor => {}
        }
    }

    fn multiplication(
        &mut self,
        slot: Option<usize>,
        width: Width,
        src: Operand,
        (left, right): (Range, Range),
    ) {
        let too_wide = match src {
            Operand::Imm(imm) => imm < 0 && width == Width::W64,
            Operand::Reg(_) => right.max > U32_MAX,
        };
        if too_wide || left.max > U32_MAX {
            let message = "multiplication of numbers that may need more than 32 bits";
            let fix = "multiply 32-bit numbers, or mask the operands";
            self.refuse(slot, message, Some(fix));
        }
    }

    fn division(&mut self, slot: Option<usize>, src: Operand, (left, right): (Range, Range)) {
        if left.max > U32_MAX {
            let message = "division of a number that may need more than 32 bits";
            self.refuse(slot, message, Some("divide a 32-bit number"));
        }
        let negative = matches!(src, Operand::Imm(imm) if imm < 0);
        match right.as_constant() {
            None => {
                let message = "the divisor is not a known constant";
                self.refuse(slot, message, Some("divide by constants only"));
            }
            Some(0 | 1) => {
                let message = "division by 0 or 1 is translated wrongly by the driver";
                self.refuse(slot, message, None);
            }
            Some(_) if negative => {
                let message = "division by a negative constant cannot be offloaded";
                self.refuse(slot, message, None);
            }
            Some(_) => {}
        }
    }

    fn load(&mut self, slot: usize, size: Size, signed: bool, off: i16, facts: &InsnFacts) {
        if signed {
            return self.refuse(
                Some(slot),
                "sign-extending loads cannot be offloaded",
                CPU_V3,
            );
        }
        let Some(pointer) = facts.pointer else {
            return self.untyped(slot);
        };
        let offset = pointer.offset + i64::from(off);
        match pointer.to {
            Pointer::Context if size == Size::W && matches!(offset, 0 | 4) => {}
            Pointer::Context => {
                self.refuse(
                    Some(slot),
                    "of the context, only data and data_end can be read",
                    None,
                );
            }
            Pointer::Packet => {}
            Pointer::MapValue { map } => {
                self.map_value(slot, map, size, offset, pointer, WordUse::Read);
            }
            Pointer::Stack { .. } => self.stack_access(slot, size, offset, pointer),
            other => self.wrong_kind(slot, other),
        }
    }

    fn store(&mut self, slot: usize, size: Size, off: i16, src: Operand, facts: &InsnFacts) {
        if matches!(src, Operand::Imm(_)) {
            let fix = "store a variable, or compile with -mcpu=v3";
            self.refuse(
                Some(slot),
                "the driver cannot translate a store of a constant",
                Some(fix),
            );
        }
        let Some(pointer) = facts.pointer else {
            return self.untyped(slot);
        };
        match pointer.to {
            Pointer::Packet => {}
            Pointer::Stack { .. } => {
                self.stack_access(slot, size, pointer.offset + i64::from(off), pointer);
            }
            Pointer::MapValue { .. } => {
                let fix = "count with __sync_fetch_and_add, or write from user space";
                self.refuse(Some(slot), "map values can only be added to", Some(fix));
            }
            other => self.wrong_kind(slot, other),
        }
    }

    fn atomic(&mut self, slot: usize, op: AtomicOp, size: Size, off: i16, facts: &InsnFacts) {
        if op != (AtomicOp::Add { fetch: false }) {
            let fix = "use only additions whose result is ignored";
            self.refuse(
                Some(slot),
                "of the atomic operations the card has addition only",
                Some(fix),
            );
        }
        let Some(pointer) = facts.pointer else {
            return self.untyped(slot);
        };
        let Pointer::MapValue { map } = pointer.to else {
            return self.refuse(Some(slot), "atomic additions are for map values only", None);
        };
        if facts.addend.is_none() && matches!(op, AtomicOp::Add { .. }) {
            self.refuse(Some(slot), "what is added must be a number", None);
        }
        self.map_value(
            slot,
            map,
            size,
            pointer.offset + i64::from(off),
            pointer,
            WordUse::Counted,
        );
    }

    fn map_value(
        &mut self,
        slot: usize,
        map: u32,
        size: Size,
        offset: i64,
        pointer: PointerFacts,
        new: WordUse,
    ) {
        if pointer.id != 0 || pointer.differs_by_path {
            let fix = "use a constant index into the value";
            return self.refuse(
                Some(slot),
                "the offset in the map value is not constant",
                Some(fix),
            );
        }
        let bytes = size.bytes() as i64;
        let value_size = self
            .module
            .maps
            .get(map as usize)
            .map_or(0, |spec| i64::from(spec.value_size));
        if offset < 0 || offset + bytes > value_size {
            return self.refuse(
                Some(slot),
                format!(
                    "bytes {offset} to {} of a map value of {value_size} bytes",
                    offset + bytes
                ),
                None,
            );
        }
        for word in (offset / 4)..=((offset + bytes - 1) / 4) {
            let first = *self.map_words.entry((map, word)).or_insert(new);
            if first != new {
                let message = format!(
                    "bytes {} to {} of the map value are both read and added to",
                    word * 4,
                    word * 4 + 4
                );
                return self.refuse(
                    Some(slot),
                    message,
                    Some("read counters from user space only"),
                );
            }
        }
    }

    fn stack_access(&mut self, slot: usize, size: Size, offset: i64, pointer: PointerFacts) {
        if pointer.id != 0 || pointer.differs_by_path {
            return self.refuse(Some(slot), "the place on the stack is not constant", None);
        }
        let bytes = size.bytes() as i64;
        if offset.rem_euclid(bytes) != 0 || offset < -512 || offset + bytes > 0 {
            self.refuse(
                Some(slot),
                format!("access of {bytes} bytes at {offset} from the frame pointer"),
                None,
            );
        }
    }

    fn call(&mut self, slot: usize, target: CallTarget, facts: &InsnFacts) {
        let number = match target {
            CallTarget::Helper(number) => number,
            CallTarget::Local(_) => {
                return self.refuse(
                    Some(slot),
                    "calls of the program's own functions are not translated",
                    Some("inline them (__always_inline)"),
                );
            }
            CallTarget::Kfunc { .. } => {
                return self.refuse(Some(slot), "the card has no kernel functions", None);
            }
        };
        if number != MAP_LOOKUP {
            let name = helper::by_number(number).map_or_else(
                || format!("helper {number}"),
                |helper| helper.name.to_owned(),
            );
            return self.refuse(Some(slot), format!("{name} is not translated"), None);
        }
        if self.profile.helpers.map_lookup == 0 {
            self.refuse(Some(slot), "the firmware cannot look up maps", None);
        }
        let Some(call) = facts.call else { return };
        if call.map.is_none() {
            self.refuse(
                Some(slot),
                "which map is looked up depends on the path",
                Some("look up each map on its own path"),
            );
        }
        match call.arg2 {
            Some(PointerFacts {
                to: Pointer::Stack { .. },
                offset,
                id: 0,
                differs_by_path: false,
            }) => {
                if offset.rem_euclid(4) != 0 {
                    self.refuse(
                        Some(slot),
                        format!("the key stands at {offset} from the frame pointer"),
                        Some("align it to 4 bytes"),
                    );
                }
            }
            _ => self.refuse(
                Some(slot),
                "the key must stand on the stack at a constant place",
                Some("copy it into a local variable"),
            ),
        }
    }

    fn untyped(&mut self, slot: usize) {
        let fix = "access memory through one kind of pointer on all paths";
        self.refuse(
            Some(slot),
            "what this pointer points to depends on the path, or is not known",
            Some(fix),
        );
    }

    fn wrong_kind(&mut self, slot: usize, pointer: Pointer) {
        self.refuse(
            Some(slot),
            format!("access through a pointer to {}", pointer.name()),
            None,
        );
    }
}

const CPU_V3: Option<&str> = Some("compile with -mcpu=v3 or lower");
