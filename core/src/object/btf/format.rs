//! Values as JSON, following their type: what a user reads in a map dump.

use serde_json::{Map, Number, Value};

use super::{Btf, BtfKind, BtfMember, MAX_DEPTH};

/// Most values that one call prints: types that contain each other many times over (a hostile
/// object's) end here instead of filling the memory.
const MAX_VALUES: usize = 1 << 16;

impl Btf {
    /// A value as JSON: integers and floats as numbers, `_Bool` as a boolean, enums by name,
    /// structs and unions as objects with anonymous members merged in, arrays as arrays, pointers
    /// and integers above 64 bits as hexadecimal text. What the type or the bytes do not say is
    /// `null`.
    pub fn format_value(&self, type_id: u32, bytes: &[u8]) -> Value {
        let mut formatter = Formatter {
            btf: self,
            left: MAX_VALUES,
        };
        formatter.value(type_id, bytes, 0)
    }
}

struct Formatter<'a> {
    btf: &'a Btf,
    left: usize,
}

impl Formatter<'_> {
    fn value(&mut self, type_id: u32, bytes: &[u8], depth: usize) -> Value {
        let Some((_, kind)) = self.btf.resolve(type_id) else {
            return Value::Null;
        };
        if depth > MAX_DEPTH || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        match kind {
            BtfKind::Int { size, .. } => int(kind, bytes, *size),
            BtfKind::Pointer { .. } => match unsigned(bytes, 8) {
                Some(address) => Value::from(format!("{address:#x}")),
                None => Value::Null,
            },
            BtfKind::Array { type_id, count } => self.array(*type_id, *count, bytes, depth),
            BtfKind::Struct { members, .. } | BtfKind::Union { members, .. } => {
                let mut object = Map::new();
                self.members(members, bytes, depth, &mut object);
                Value::Object(object)
            }
            BtfKind::Enum { size, signed, .. } => match unsigned(bytes, *size) {
                Some(value) => self.enumerator(kind, value, size.saturating_mul(8), *signed),
                None => Value::Null,
            },
            BtfKind::Float { size: 4 } => match bytes.first_chunk() {
                Some(bytes) => float(f64::from(f32::from_le_bytes(*bytes))),
                None => Value::Null,
            },
            BtfKind::Float { size: 8 } => match bytes.first_chunk() {
                Some(bytes) => float(f64::from_le_bytes(*bytes)),
                None => Value::Null,
            },
            BtfKind::Var { type_id, .. } => self.value(*type_id, bytes, depth + 1),
            BtfKind::Datasec { vars, .. } => {
                let mut object = Map::new();
                for var in vars {
                    let bytes = bytes.get(var.offset as usize..).unwrap_or_default();
                    let value = self.value(var.type_id, bytes, depth + 1);
                    object.insert(self.btf.name_of(var.type_id).to_owned(), value);
                }
                Value::Object(object)
            }
            _ => Value::Null,
        }
    }

    fn array(&mut self, type_id: u32, count: u32, bytes: &[u8], depth: usize) -> Value {
        let Some(size) = self.btf.size_of(type_id).filter(|size| *size > 0) else {
            return Value::Array(Vec::new());
        };
        let elements = bytes.chunks_exact(size as usize).take(count as usize);
        let elements = elements.map(|bytes| self.value(type_id, bytes, depth + 1));
        Value::Array(elements.collect())
    }

    fn members(
        &mut self,
        members: &[BtfMember],
        bytes: &[u8],
        depth: usize,
        object: &mut Map<String, Value>,
    ) {
        for member in members {
            if self.left == 0 {
                return;
            }
            let value = self.member(member, bytes, depth);
            let name = self.btf.string(member.name).unwrap_or_default();
            match value {
                Value::Object(inner) if name.is_empty() => object.extend(inner),
                value => {
                    object.insert(name.to_owned(), value);
                }
            }
        }
    }

    fn member(&mut self, member: &BtfMember, bytes: &[u8], depth: usize) -> Value {
        let start = member.bit_offset as usize / 8;
        let bytes = bytes.get(start..).unwrap_or_default();
        if member.bit_size == 0 && member.bit_offset.is_multiple_of(8) {
            return self.value(member.type_id, bytes, depth + 1);
        }
        self.left -= 1;
        let Some((_, kind)) = self.btf.resolve(member.type_id) else {
            return Value::Null;
        };
        let (signed, boolean, own_bits) = match kind {
            BtfKind::Int {
                signed,
                boolean,
                bits,
                ..
            } => (*signed, *boolean, *bits),
            BtfKind::Enum { signed, size, .. } => (*signed, false, size.saturating_mul(8) as u8),
            _ => return Value::Null,
        };
        let bits = match member.bit_size {
            0 => u32::from(own_bits),
            bits => u32::from(bits),
        };
        let shift = member.bit_offset % 8;
        match unsigned(bytes, (shift + bits).div_ceil(8)) {
            None => Value::Null,
            Some(value) if matches!(kind, BtfKind::Enum { .. }) => {
                self.enumerator(kind, value >> shift, bits, signed)
            }
            Some(value) if boolean => Value::from(value >> shift & 1 != 0),
            Some(value) => integer(value >> shift, bits, signed),
        }
    }

    fn enumerator(&self, kind: &BtfKind, value: u128, bits: u32, signed: bool) -> Value {
        let value = integer(value, bits, signed);
        let BtfKind::Enum { values, .. } = kind else {
            return value;
        };
        let number = value.as_i64().or(value.as_u64().map(|value| value as i64));
        values
            .iter()
            .find(|(_, known)| Some(*known) == number)
            .and_then(|(name, _)| self.btf.string(*name))
            .map_or(value, Value::from)
    }
}

fn int(kind: &BtfKind, bytes: &[u8], size: u32) -> Value {
    let &BtfKind::Int {
        signed,
        boolean,
        bit_offset,
        bits,
        ..
    } = kind
    else {
        return Value::Null;
    };
    match unsigned(bytes, size) {
        None => Value::Null,
        Some(value) if boolean => Value::from(value != 0),
        Some(value) => integer(value >> bit_offset.min(127), u32::from(bits), signed),
    }
}

/// Up to 16 little-endian bytes as a number.
fn unsigned(bytes: &[u8], size: u32) -> Option<u128> {
    let size = size as usize;
    let mut value = [0; 16];
    value.get_mut(..size)?.copy_from_slice(bytes.get(..size)?);
    Some(u128::from_le_bytes(value))
}

/// The low `bits` bits as a JSON number, or as hexadecimal text above 64 bits.
fn integer(value: u128, bits: u32, signed: bool) -> Value {
    let unused = 128 - bits.min(128);
    if unused == 128 {
        return Value::from(0);
    }
    if bits > 64 {
        return Value::from(format!("{:#x}", value << unused >> unused));
    }
    if signed {
        return Value::from(((value << unused) as i128 >> unused) as i64);
    }
    Value::from((value << unused >> unused) as u64)
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
