//! Parameters: global variables of a program that get another value before it is loaded, typed
//! through BTF. In `.rodata` the verifier takes them as constants.

use std::fmt::Write as _;

use super::btf::{Btf, BtfKind};
use crate::hex;
use crate::map::{InitialEntry, InitialValue, MapSpec};
use crate::module::Module;

/// Why a parameter cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No types, so that nobody knows where the variables are.
    #[error("parameter {name}: the program has no type information (BTF); compile with -g")]
    NoTypes {
        /// Parameter.
        name: String,
    },
    /// No variable of this name.
    #[error("parameter {name}: no global variable has this name{}", known_names(.known))]
    Unknown {
        /// Parameter.
        name: String,
        /// Names that there are.
        known: Vec<String>,
    },
    /// The variable has no such member or element.
    #[error("parameter {name}: {part} is no member or element there")]
    Part {
        /// Parameter.
        name: String,
        /// The part.
        part: String,
    },
    /// A value that the type cannot have.
    #[error("parameter {name}: {value:?} is no value of its type; it takes {expected}")]
    Value {
        /// Parameter.
        name: String,
        /// What was given.
        value: String,
        /// What the type takes.
        expected: String,
    },
}

fn known_names(known: &[String]) -> String {
    match known {
        [] => "; the program has none".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    }
}

/// Sets global variables of a module. A name may go into a variable: `limits.rate`, `ports[2]`.
pub fn set_parameters<'p>(
    module: &mut Module,
    parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
) -> Result<(), ParameterError> {
    let btf = module
        .btf
        .as_deref()
        .and_then(|bytes| Btf::parse(bytes).ok());
    for (name, value) in parameters {
        let Some(btf) = &btf else {
            let name = name.to_owned();
            return Err(ParameterError::NoTypes { name });
        };
        set_parameter(btf, &mut module.maps, name, value)?;
    }
    Ok(())
}

fn set_parameter(
    btf: &Btf,
    maps: &mut [MapSpec],
    name: &str,
    value: &str,
) -> Result<(), ParameterError> {
    let variable = name.split(['.', '[']).next().unwrap_or_default();
    let found = variables(btf, maps).find(|(_, known, _, _)| *known == variable);
    let Some((map, _, type_id, offset)) = found else {
        let mut known: Vec<_> = variables(btf, maps)
            .map(|(_, known, _, _)| known.to_owned())
            .collect();
        known.sort();
        let name = name.to_owned();
        return Err(ParameterError::Unknown { name, known });
    };
    let rest = &name[variable.len()..];
    let (type_id, inside) = follow(btf, type_id, rest).map_err(|part| ParameterError::Part {
        name: name.to_owned(),
        part: part.to_owned(),
    })?;
    let bytes = parse(btf, type_id, value).map_err(|expected| ParameterError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        expected,
    })?;
    let start = offset as usize + inside as usize;
    let target = contents(&mut maps[map]).get_mut(start..start.saturating_add(bytes.len()));
    let target = target.ok_or_else(|| ParameterError::Part {
        name: name.to_owned(),
        part: variable.to_owned(),
    })?;
    target.copy_from_slice(&bytes);
    Ok(())
}

/// The global variables: index of their map, name, type and offset.
fn variables<'a>(
    btf: &'a Btf,
    maps: &'a [MapSpec],
) -> impl Iterator<Item = (usize, &'a str, u32, u32)> {
    let sections = maps
        .iter()
        .enumerate()
        .filter(|(_, spec)| spec.data_section);
    sections.flat_map(move |(map, spec)| {
        let vars = match btf.get(spec.btf_types.1).map(|found| &found.kind) {
            Some(BtfKind::Datasec { vars, .. }) => vars.as_slice(),
            _ => &[],
        };
        vars.iter().filter_map(move |var| {
            let name = btf.name_of(var.type_id);
            match btf.get(var.type_id)?.kind {
                BtfKind::Var { type_id, .. } => Some((map, name, type_id, var.offset)),
                _ => None,
            }
        })
    })
}

/// The bytes of a data section before the first packet.
fn contents(spec: &mut MapSpec) -> &mut [u8] {
    if spec.initial.is_empty() {
        spec.initial.push(InitialEntry {
            key: vec![0; 4],
            value: InitialValue::Bytes(vec![0; spec.value_size as usize]),
        });
    }
    match &mut spec.initial[0].value {
        InitialValue::Bytes(bytes) => bytes,
        InitialValue::Map(_) | InitialValue::Program(_) => &mut [],
    }
}

/// Type and offset of what `.member` and `[index]` lead to, or the part that leads nowhere.
fn follow<'n>(btf: &Btf, type_id: u32, path: &'n str) -> Result<(u32, u32), &'n str> {
    let (mut type_id, mut offset, mut path) = (type_id, 0u32, path);
    while !path.is_empty() {
        let end = path[1..].find(['.', '[']).map_or(path.len(), |at| at + 1);
        let (part, rest) = path.split_at(end);
        let (next, inside) = match part.strip_prefix('.') {
            Some(member) => member_of(btf, type_id, member, 0),
            None => element_of(btf, type_id, part),
        }
        .ok_or(part)?;
        type_id = next;
        offset = offset.checked_add(inside).ok_or(part)?;
        path = rest;
    }
    Ok((type_id, offset))
}

fn member_of(btf: &Btf, type_id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
    let (_, BtfKind::Struct { members, .. } | BtfKind::Union { members, .. }) =
        btf.resolve(type_id)?
    else {
        return None;
    };
    members.iter().find_map(|member| {
        let known = btf.string(member.name)?;
        let offset = member.bit_offset / 8;
        if known == name && member.bit_size == 0 && !name.is_empty() {
            return Some((member.type_id, offset));
        }
        // Anonymous members lend their own; nobody nests them deeper.
        if !known.is_empty() || depth > 4 {
            return None;
        }
        let (found, inside) = member_of(btf, member.type_id, name, depth + 1)?;
        Some((found, offset.checked_add(inside)?))
    })
}

fn element_of(btf: &Btf, type_id: u32, part: &str) -> Option<(u32, u32)> {
    let index: u32 = part.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    let (_, BtfKind::Array { type_id, count }) = btf.resolve(type_id)? else {
        return None;
    };
    let offset = btf.size_of(*type_id)?.checked_mul(index)?;
    (index < *count).then_some((*type_id, offset))
}

/// A value's bytes, or what the type takes.
fn parse(btf: &Btf, type_id: u32, text: &str) -> Result<Vec<u8>, String> {
    let unsupported = || "no value: only integers, enums, text and arrays of them are".to_owned();
    let (_, kind) = btf.resolve(type_id).ok_or_else(unsupported)?;
    match *kind {
        BtfKind::Int { boolean: true, .. } => match text {
            "true" | "1" | "y" => Ok(vec![1]),
            "false" | "0" | "n" => Ok(vec![0]),
            _ => Err("true or false".to_owned()),
        },
        BtfKind::Int {
            size: size @ (1 | 2 | 4 | 8),
            signed,
            ..
        } => integer(text, size, signed),
        BtfKind::Enum {
            size: size @ (1 | 2 | 4 | 8),
            signed,
            ref values,
        } => enumerator(btf, values, text, size, signed),
        BtfKind::Array { type_id, count } => array(btf, type_id, count, text),
        _ => Err(unsupported()),
    }
}

fn integer(text: &str, size: u32, signed: bool) -> Result<Vec<u8>, String> {
    let bits = size * 8;
    let (low, high) = if signed {
        (-(1i128 << (bits - 1)), 1i128 << (bits - 1))
    } else {
        (0, 1i128 << bits)
    };
    let hex = |text: &str| {
        let digits = text.strip_prefix("0x").or(text.strip_prefix("0X"))?;
        i128::from_str_radix(digits, 16)
            .ok()
            .filter(|number| *number >= 0)
    };
    // Hexadecimal is a bit pattern: 0xffffffff is -1 where there is a sign.
    let pattern = hex(text).filter(|number| *number < 1i128 << bits);
    let number = match text.strip_prefix('-') {
        Some(digits) => hex(digits).or(digits.parse().ok()).map(|number| -number),
        None => text.parse().ok(),
    };
    let number = number.filter(|number| (low..high).contains(number));
    let character = match text.as_bytes() {
        [byte] | [b'\'', byte, b'\''] if size == 1 => Some(i128::from(*byte)),
        _ => None,
    };
    let value = number.or(pattern).or(character).ok_or_else(|| {
        let mut expected = format!(
            "integers from {low} to {}, also in hexadecimal (0x)",
            high - 1
        );
        if size == 1 {
            expected += ", or a character";
        }
        expected
    })?;
    Ok(value.to_le_bytes()[..size as usize].to_vec())
}

fn enumerator(
    btf: &Btf,
    values: &[(u32, i64)],
    text: &str,
    size: u32,
    signed: bool,
) -> Result<Vec<u8>, String> {
    let named = values
        .iter()
        .find(|(name, _)| btf.string(*name) == Some(text));
    if let Some((_, value)) = named {
        return Ok(value.to_le_bytes()[..size as usize].to_vec());
    }
    integer(text, size, signed).map_err(|mut expected| {
        for (name, _) in values {
            let _ = write!(expected, ", {}", btf.string(*name).unwrap_or_default());
        }
        expected
    })
}

/// Bytes in hexadecimal (`0x…`) or text for arrays of bytes; for others, elements between commas.
/// What is not said is zero.
fn array(btf: &Btf, element: u32, count: u32, text: &str) -> Result<Vec<u8>, String> {
    let count = count as usize;
    // Without a size the type is broken, and may contain itself.
    let size = btf
        .size_of(element)
        .ok_or("no value: its type has no size")? as usize;
    let of_bytes = |kind: &BtfKind| {
        matches!(
            kind,
            BtfKind::Int {
                size: 1,
                boolean: false,
                ..
            }
        )
    };
    let mut bytes = if btf.resolve(element).is_some_and(|(_, kind)| of_bytes(kind)) {
        byte_array(count, text)?
    } else {
        let elements = text.split(',').map(str::trim);
        let parsed: Result<Vec<_>, _> = elements.map(|text| parse(btf, element, text)).collect();
        let bytes = parsed?.concat();
        if bytes.len() > count.saturating_mul(size) {
            return Err(format!("up to {count} elements with commas between them"));
        }
        bytes
    };
    // The caller checks the length against the section before anything is kept.
    bytes.resize(
        bytes.len().max(count.saturating_mul(size).min(MAX_ARRAY)),
        0,
    );
    Ok(bytes)
}

fn byte_array(count: usize, text: &str) -> Result<Vec<u8>, String> {
    let bytes = if let Some(digits) = text.strip_prefix("0x") {
        hex::decode(digits).filter(|bytes| bytes.len() <= count)
    } else {
        let quoted = text.strip_prefix('"');
        let quoted = quoted.and_then(|text| text.strip_suffix('"'));
        let text = quoted.unwrap_or(text);
        (text.len() < count).then(|| text.as_bytes().to_vec())
    };
    bytes.ok_or_else(|| {
        format!(
            "up to {count} bytes in hexadecimal (0x…) or up to {} of text",
            count.saturating_sub(1)
        )
    })
}

/// Most bytes of an array that are set at once.
const MAX_ARRAY: usize = 1 << 20;
