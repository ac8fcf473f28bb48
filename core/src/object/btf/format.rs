//! Values as JSON, following their type: what a user reads in a map dump.

use serde_json::{Map, Number, Value};

use super::{Btf, BtfKind, BtfMember, MAX_DEPTH};

/// Most values that are printed for each byte, and in any case: types that contain each other many
/// times over (a hostile object's) end here instead of filling the memory.
const VALUES_PER_BYTE: usize = 8;
const MIN_VALUES: usize = 1024;

impl Btf {
    /// A value as JSON: integers and floats as numbers, `_Bool` as a boolean, enums by name,
    /// structs and unions as objects with anonymous members merged in, arrays as arrays, pointers
    /// and integers above 64 bits as hexadecimal text. What the type or the bytes do not say is
    /// `null`.
    pub fn format_value(&self, type_id: u32, bytes: &[u8]) -> Value {
        let mut formatter = Formatter {
            btf: self,
            left: MIN_VALUES + VALUES_PER_BYTE * bytes.len(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::btf::{BtfSectionVar, BtfType, Linkage};
    use proptest::prelude::*;
    use serde_json::json;

    /// Names of the test's types and members; an offset into the strings is found by name.
    const STRINGS: &str = "\0int\0u8\0flags\0low\0high\0mode\0OFF\0ON\0port\0addr\0bool\0next\0";

    fn name(text: &str) -> u32 {
        STRINGS
            .find(&format!("\0{text}\0"))
            .expect("a name of the test") as u32
            + 1
    }

    fn int(size: u32, signed: bool) -> BtfKind {
        BtfKind::Int {
            size,
            signed,
            boolean: false,
            bit_offset: 0,
            bits: (size * 8) as u8,
        }
    }

    fn member(text: &str, type_id: u32, bit_offset: u32, bit_size: u8) -> BtfMember {
        let name = if text.is_empty() { 0 } else { name(text) };
        BtfMember {
            name,
            type_id,
            bit_offset,
            bit_size,
        }
    }

    /// Types from 1 on.
    fn btf(kinds: Vec<BtfKind>) -> Btf {
        let types = std::iter::once(BtfKind::Void).chain(kinds);
        Btf {
            types: types
                .map(|kind| BtfType {
                    name: name("port"),
                    offset: 0,
                    kind,
                })
                .collect(),
            strings: STRINGS.as_bytes().to_vec(),
        }
    }

    #[test]
    fn scalars() {
        let check = |kind: BtfKind, bytes: &[u8], expected: Value| {
            assert_eq!(btf(vec![kind]).format_value(1, bytes), expected);
        };
        check(int(4, true), &[0xfe, 0xff, 0xff, 0xff], json!(-2));
        check(int(8, false), &[0xff; 8], json!(u64::MAX));
        check(
            int(16, false),
            &[1; 16],
            json!("0x1010101010101010101010101010101"),
        );
        check(int(4, true), &[1, 2], Value::Null);
        check(
            BtfKind::Pointer { type_id: 0 },
            &[1, 0, 0, 0, 0, 0, 0, 0],
            json!("0x1"),
        );
        check(
            BtfKind::Float { size: 4 },
            &1.5f32.to_le_bytes(),
            json!(1.5),
        );
        let mode = BtfKind::Enum {
            size: 4,
            signed: true,
            values: vec![(name("OFF"), -1), (name("ON"), 1)],
        };
        check(mode.clone(), &[0xff; 4], json!("OFF"));
        check(mode, &[7, 0, 0, 0], json!(7));
        let truth = BtfKind::Int {
            size: 1,
            signed: false,
            boolean: true,
            bit_offset: 0,
            bits: 8,
        };
        check(truth, &[1], json!(true));
    }

    #[test]
    fn structs_bit_fields_arrays_and_sections() {
        let types = btf(vec![
            int(1, false),
            BtfKind::Array {
                type_id: 1,
                count: 4,
            },
            BtfKind::Union {
                size: 4,
                members: vec![member("addr", 2, 0, 0), member("next", 4, 0, 0)],
            },
            int(4, false),
            BtfKind::Struct {
                size: 12,
                members: vec![
                    member("", 3, 0, 0),
                    member("low", 4, 32, 3),
                    member("high", 4, 35, 29),
                    member("port", 1, 64, 0),
                ],
            },
            BtfKind::Var {
                type_id: 4,
                linkage: Linkage::Global,
            },
            BtfKind::Datasec {
                size: 8,
                vars: vec![BtfSectionVar {
                    type_id: 6,
                    offset: 4,
                    size: 4,
                }],
            },
        ]);
        let bytes = [10, 0, 0, 1, 0x0d, 0, 0, 0, 80, 0, 0, 0];
        let expected =
            json!({"addr": [10, 0, 0, 1], "next": 0x0100_000a, "low": 5, "high": 1, "port": 80});
        assert_eq!(types.format_value(5, &bytes), expected);
        assert_eq!(types.format_value(7, &bytes), json!({"port": 13}));
        assert_eq!(types.size_of(5), Some(12));
    }

    #[test]
    fn types_that_contain_themselves_end() {
        let array = |type_id| BtfKind::Array {
            type_id,
            count: u32::MAX,
        };
        let itself = BtfKind::Struct {
            size: 0,
            members: vec![member("next", 3, 0, 0); 100],
        };
        let typedef = BtfKind::Typedef { type_id: 4 };
        let types = btf(vec![array(2), array(1), itself, typedef]);
        for id in 0..6 {
            types.format_value(id, &[0; 64]);
            types.size_of(id);
        }
        assert_eq!(types.size_of(1), None);
        assert_eq!(types.resolve(4), None);
    }

    proptest! {
        #[test]
        fn integers_keep_their_low_bits(value: u64, bits in 1..=64u32) {
            let shown = integer(u128::from(value), bits, false);
            prop_assert_eq!(shown.as_u64(), Some(value << (64 - bits) >> (64 - bits)));
            let shown = integer(u128::from(value), bits, true);
            prop_assert_eq!(shown.as_i64(), Some((value << (64 - bits)) as i64 >> (64 - bits)));
        }
    }
}
