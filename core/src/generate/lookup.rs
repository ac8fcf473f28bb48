//! Map lookups: a key on the stack, the call, the null check, and what is done with the value.

use super::atomic::atomic_at;
use super::maps::{READ_ONLY, TABLES, VARIABLES, declarations};
use super::model::Holds;
use super::stack::initialised;
use super::writer::Writer;
use crate::helper::number;
use crate::isa::{Condition, Imm64, Operand, Reg, Width};

/// A lookup with accesses to what it finds.
pub(super) fn lookup(writer: &mut Writer) {
    if writer.random.chance(20) {
        return global_data(writer);
    }
    let map = *writer.random.pick(&TABLES);
    let key = declarations()[map as usize].key_size;
    let off = initialised(writer, key);
    if writer.model.reserved & 0x3f != 0 {
        return;
    }
    writer.load_wide(Reg::R1, Imm64::Map(map), Holds::Nothing);
    writer.mov(Reg::R2, Reg::R10);
    writer.add(Reg::R2, Operand::Imm(off as i32));
    let result = Holds::ValueOrNull(map);
    writer.call(number::MAP_LOOKUP_ELEM, result);
    let mut value = Reg::R0;
    if writer.random.chance(50) {
        value = writer.free_register(&[]);
        writer.mov(value, Reg::R0);
    }
    if writer.slip() {
        writer.model.set(value, Holds::Value(map));
        return access(writer);
    }
    let mut before = writer.model.clone();
    before.set(value, Holds::Nothing);
    let null = if writer.random.chance(80) {
        writer.jump_if(Condition::Eq, Width::W64, value, Operand::Imm(0))
    } else {
        let found = writer.jump_if(Condition::Ne, Width::W64, value, Operand::Imm(0));
        let null = writer.jump();
        writer.land(found);
        null
    };
    writer.model.set(value, Holds::Value(map));
    writer.guarded(null, before, |writer| {
        for _ in 0..=writer.random.below(3) {
            access(writer);
        }
    });
}

/// Global data: a value whose address the loader puts in.
fn global_data(writer: &mut Writer) {
    let dst = writer.free_register(&[]);
    let map = *writer.random.pick(&[READ_ONLY, VARIABLES]);
    let offset = if writer.slip() {
        writer.random.below(80) as u32
    } else {
        0
    };
    let value = Imm64::MapValue { map, offset };
    writer.load_wide(dst, value, Holds::Value(map));
    access(writer);
}

/// One access to a map value that some register points to, at a fixed or a bounded offset.
pub(super) fn access(writer: &mut Writer) {
    let Some(base) = writer.holding(|holds| matches!(holds, Holds::Value(_))) else {
        return;
    };
    let Holds::Value(map) = writer.model.of(base) else {
        return;
    };
    let bytes = i64::from(declarations()[map as usize].value_size);
    let size = writer.size();
    let room = bytes - size.bytes() as i64;
    if room < 0 {
        return;
    }
    let mut off = writer.random.between(0, room);
    if writer.slip() {
        off = writer.random.between(-4, bytes + 4);
    }
    match writer.random.below(6) {
        0 | 1 => {
            let dst = writer.free_register(&[base]);
            writer.load(size, dst, base, off);
            writer.model.set(dst, Holds::Number);
        }
        2 | 3 if map != READ_ONLY || writer.slip() => {
            let src = writer.operand();
            writer.store(size, base, off, src);
        }
        4 if map != READ_ONLY => atomic_at(writer, base, off & !7),
        _ => bounded(writer, base, room),
    }
}

fn bounded(writer: &mut Writer, base: Reg, room: i64) {
    let number = writer.free_number(&[base]);
    let before = writer.model.clone();
    let beyond = writer.bound(number, room.max(1));
    let place = writer.free_register(&[base, number]);
    writer.mov(place, base);
    writer.add(place, Operand::Reg(number));
    writer.model.set(place, Holds::Nothing);
    let dst = writer.free_register(&[place]);
    writer.load(crate::isa::Size::B, dst, place, 0);
    writer.model.set(dst, Holds::Number);
    if let Some(beyond) = beyond {
        writer.guarded(beyond, before, |_| {});
    }
}
