//! Strings that helpers read from maps nobody can change (`check_reg_const_str`), formats among
//! them (`check_bpf_snprintf_call`).

use super::explore::Verifier;
use super::register::Kind;
use super::reject::{Check, reject};
use crate::helper;
use crate::isa::Reg;
use crate::map::{InitialValue, MapFlags, MapType};

impl Verifier<'_> {
    /// Checks that a register points to a string that ends in its map's value.
    pub(super) fn check_string(&self, reg: Reg) -> Check {
        let register = *self.state.reg(reg.index());
        let Kind::MapValue { map, .. } = register.kind else {
            return Ok(());
        };
        let (spec, number) = (self.map(map), reg.number());
        if !spec.flags.contains(MapFlags::RDONLY_PROG) || !spec.frozen {
            return reject(format!("R{number} does not point to a readonly map'"));
        }
        if !register.scalar.is_const() {
            return reject(format!("R{number} is not a constant address'"));
        }
        if spec.map_type != MapType::Array {
            return reject("no direct value access support for this map type");
        }
        let off = i64::from(register.offset);
        self.check_map_value(reg, map, off, i64::from(spec.value_size) - off, false)?;
        match self.string_at(reg) {
            Some(_) => Ok(()),
            None => reject("string is not zero-terminated"),
        }
    }

    /// The string that a register points to, with the zero byte that ends it.
    fn string_at(&self, reg: Reg) -> Option<&[u8]> {
        let register = self.state.reg(reg.index());
        let Kind::MapValue { map, .. } = register.kind else {
            return None;
        };
        let start = i64::from(register.offset) + register.scalar.as_const(false)? as i64;
        let contents = self.maps.spec(map).initial.iter().find_map(|entry| {
            let InitialValue::Bytes(bytes) = &entry.value else {
                return None;
            };
            Some(bytes.as_slice())
        });
        // A map that nothing was put in is full of zeros.
        let Some(contents) = contents else {
            return Some(&[0]);
        };
        let rest = contents.get(usize::try_from(start).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(&rest[..=end])
    }

    /// Checks a format against the length of the numbers that it prints.
    pub(super) fn check_format(&self, format: Reg, length: Reg) -> Check {
        let length = self.state.reg(length.index()).scalar.bits.value;
        let Some(text) = self.string_at(format) else {
            return Ok(());
        };
        let numbers = vec![0; text.len().min(length as usize / 8)];
        let fits = helper::format(text, &numbers, &mut |_, _| None).is_ok();
        if !length.is_multiple_of(8) || !fits {
            return reject("Invalid format string");
        }
        Ok(())
    }
}
