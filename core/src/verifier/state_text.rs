//! Registers, stack and references as the kernel's verifier prints them in its log
//! (`print_verifier_state` in kernel/bpf/log.c of 6.18).

use std::fmt::{Display, Formatter, Result, Write};

use super::maps::Maps;
use super::register::{Kind, PLUS_CONSTANT, Register};
use super::scalar::Scalar;
use super::state::{Byte, Frame, SLOT, Slot, State};
use super::tnum::Tnum;
use crate::helper::DynptrKind;

/// Which registers and stack slots are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) registers: u16,
    pub(super) slots: u64,
}

impl Shown {
    pub(super) const ALL: Self = Self {
        registers: u16::MAX,
        slots: u64::MAX,
    };
    pub(super) const NONE: Self = Self {
        registers: 0,
        slots: 0,
    };
}

/// One frame of a state, each part with a space before it, without the line's end.
pub(super) struct StateText<'a> {
    pub(super) maps: &'a Maps<'a>,
    pub(super) state: &'a State,
    pub(super) frame: usize,
    pub(super) shown: Shown,
}

impl Display for StateText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let frame = &self.state.frames[self.frame];
        if self.frame > 0 {
            write!(f, " frame{}:", self.frame)?;
        }
        for (index, register) in frame.registers.iter().enumerate() {
            if register.kind != Kind::NotInit && self.shown.registers & (1 << index) != 0 {
                write!(f, " R{index}={}", self.register(register))?;
            }
        }
        for (index, slot) in frame.stack.iter().enumerate() {
            if self.shown.slots & (1 << index) != 0 {
                self.slot(f, index, slot)?;
            }
        }
        let references = self.state.references.iter();
        for (index, (id, _)) in references.enumerate() {
            let before = if index == 0 { " refs=" } else { "," };
            write!(f, "{before}{id}")?;
        }
        Ok(())
    }
}

impl StateText<'_> {
    fn register<'a>(&'a self, register: &'a Register) -> RegisterText<'a> {
        RegisterText {
            maps: self.maps,
            register,
            frame: self.frame,
        }
    }

    fn slot(&self, f: &mut Formatter<'_>, index: usize, slot: &Slot) -> Result {
        if slot.bytes.iter().all(|byte| *byte == Byte::Invalid) {
            return Ok(());
        }
        let below = (index as i64 + 1) * SLOT;
        let Register { id, reference, .. } = slot.spilled;
        match slot.spilled.kind {
            Kind::Dynptr { first: false, .. } => return Ok(()),
            Kind::Dynptr { kind, first: true } => {
                write!(f, " fp-{below}=dynptr_{}", dynptr_name(kind))?;
                let mut list = List { f, first: true };
                list.put(format_args!("id={id}"))?;
                if reference != 0 {
                    list.put(format_args!("ref_id={reference}"))?;
                }
                return f.write_char(')');
            }
            Kind::Iterator { drained, depth } => {
                let state = if drained { "drained" } else { "active" };
                return write!(
                    f,
                    " fp-{below}=iter_num(ref_id={reference},state={state},depth={depth})"
                );
            }
            _ => {}
        }
        write!(f, " fp-{below}=")?;
        let bytes = slot.bytes.iter().map(|byte| letter(*byte));
        if slot.is_spilled() {
            bytes
                .take_while(|byte| *byte != 'r')
                .try_for_each(|byte| f.write_char(byte))?;
            return self.register(&slot.spilled).fmt(f);
        }
        bytes.into_iter().try_for_each(|byte| f.write_char(byte))
    }
}

fn dynptr_name(kind: DynptrKind) -> &'static str {
    match kind {
        DynptrKind::Local => "local",
        DynptrKind::Ringbuf => "ringbuf",
        DynptrKind::Skb => "skb",
        DynptrKind::Xdp => "xdp",
    }
}

fn letter(byte: Byte) -> char {
    match byte {
        Byte::Invalid => '?',
        Byte::Spill => 'r',
        Byte::Misc => 'm',
        Byte::Zero => '0',
        Byte::Dynptr => 'd',
        Byte::Iterator => 'i',
    }
}

/// A register, seen from a frame.
pub(super) struct RegisterText<'a> {
    pub(super) maps: &'a Maps<'a>,
    pub(super) register: &'a Register,
    pub(super) frame: usize,
}

impl Display for RegisterText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let register = self.register;
        let known = register.scalar.as_const(false);
        if register.is_scalar() && register.precise {
            f.write_char('P')?;
        }
        if let (true, Some(value)) = (register.is_scalar(), known) {
            return Signed(value as i64).fmt(f);
        }
        f.write_str(register.kind.name())?;
        if let Kind::Stack(frame) = register.kind {
            if usize::from(frame) != self.frame {
                write!(f, "[{frame}]")?;
            }
            if let Some(value) = known {
                return Signed(value as i64 + i64::from(register.offset)).fmt(f);
            }
        }
        let mut list = List { f, first: true };
        self.members(&mut list)?;
        if list.first {
            f.write_char('(')?;
        }
        f.write_char(')')
    }
}

/// Members in brackets, with commas between them.
struct List<'a, 'b> {
    f: &'a mut Formatter<'b>,
    first: bool,
}

impl List<'_, '_> {
    fn put(&mut self, member: std::fmt::Arguments<'_>) -> Result {
        self.f.write_char(if self.first { '(' } else { ',' })?;
        self.first = false;
        self.f.write_fmt(member)
    }
}

impl RegisterText<'_> {
    fn members(&self, list: &mut List<'_, '_>) -> Result {
        let register = self.register;
        if register.id != 0 {
            list.put(format_args!("id={}", register.base_id()))?;
        }
        if register.id & PLUS_CONSTANT != 0 {
            write!(list.f, "{:+}", register.offset)?;
        }
        if register.reference != 0 {
            list.put(format_args!("ref_obj_id={}", register.reference))?;
        }
        if let Kind::Map(map) | Kind::MapKey(map) | Kind::MapValue { map, .. } = register.kind {
            let spec = self.maps.spec(map);
            if !spec.name.is_empty() && !self.maps.is_template(map) {
                list.put(format_args!("map={}", ObjectName(&spec.name)))?;
            }
            list.put(format_args!("ks={},vs={}", spec.key_size, spec.value_size))?;
        }
        if !register.is_scalar() && register.offset != 0 {
            list.put(format_args!("off={}", Signed(register.offset.into())))?;
        }
        if register.kind.is_packet() {
            let range = i64::from(register.range) as u64;
            list.put(format_args!("r={}", Unsigned(range)))?;
        }
        if matches!(register.kind, Kind::Record { .. } | Kind::Memory { .. }) {
            list.put(format_args!("sz={}", Unsigned(register.range as u64)))?;
        }
        match register.scalar.as_const(false) {
            Some(0) => Ok(()),
            Some(value) => list.put(format_args!("imm={}", Signed(value as i64))),
            None => ranges(&register.scalar, list),
        }
    }
}

/// Bounds that say something, equal ones together, and the bits if they say something.
fn ranges(scalar: &Scalar, list: &mut List<'_, '_>) -> Result {
    let half = |value: i32| match i16::try_from(value) {
        Ok(small) => i64::from(small) as u64,
        Err(_) => u64::from(value as u32),
    };
    // Name, value, and whether it says nothing.
    let mut bounds = [
        ("smin", scalar.smin as u64, scalar.smin == i64::MIN),
        ("smax", scalar.smax as u64, scalar.smax == i64::MAX),
        ("umin", scalar.umin, scalar.umin == 0),
        ("umax", scalar.umax, scalar.umax == u64::MAX),
        ("smin32", half(scalar.s32_min), scalar.s32_min == i32::MIN),
        ("smax32", half(scalar.s32_max), scalar.s32_max == i32::MAX),
        ("umin32", scalar.u32_min.into(), scalar.u32_min == 0),
        ("umax32", scalar.u32_max.into(), scalar.u32_max == u32::MAX),
    ];
    let negative = |name: &str, value: u64| name.starts_with('s') && (value as i64) < 0;
    for index in 0..bounds.len() {
        let (name, value, silent) = bounds[index];
        if silent {
            continue;
        }
        let mut names = name.to_owned();
        for (other, same, silent) in bounds.iter_mut().skip(index + 2).step_by(2) {
            if !*silent && *same == value && negative(other, *same) == negative(name, value) {
                *silent = true;
                let _ = write!(names, "={other}");
            }
        }
        if name.starts_with('s') {
            list.put(format_args!("{names}={}", Signed(value as i64)))?;
        } else {
            list.put(format_args!("{names}={}", Unsigned(value)))?;
        }
    }
    if scalar.bits == Tnum::UNKNOWN {
        return Ok(());
    }
    let Tnum { value, mask } = scalar.bits;
    list.put(format_args!("var_off=({value:#x}; {mask:#x})"))
}

/// Decimal if it is short.
struct Signed(i64);

impl Display for Signed {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match i16::try_from(self.0) {
            Ok(small) => write!(f, "{small}"),
            Err(_) => write!(f, "{:#x}", self.0),
        }
    }
}

/// Decimal if it is short.
struct Unsigned(u64);

impl Display for Unsigned {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match u16::try_from(self.0) {
            Ok(small) => write!(f, "{small}"),
            Err(_) => write!(f, "{:#x}", self.0),
        }
    }
}

/// A name as the kernel keeps it: 15 characters, letters, digits, `.` and `_`.
struct ObjectName<'a>(&'a str);

impl Display for ObjectName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.bytes().take(15).try_for_each(|byte| {
            let allowed = byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
            f.write_char(if allowed { byte.into() } else { '_' })
        })
    }
}

/// Stack slots that hold something else than before, and all of a stack that grew.
pub(super) fn changed_slots(before: &[Slot], frame: &Frame) -> u64 {
    let slots = frame.stack.iter().enumerate();
    let changed = slots.filter(|(index, slot)| before.get(*index).unwrap_or(&Slot::EMPTY) != *slot);
    changed.fold(0, |set, (index, _)| set | 1 << index)
}
