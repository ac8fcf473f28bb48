//! Lexical parts of the assembly, and the error that remembers what was expected furthest into a
//! line. Every token takes the white space after it.

use crate::isa::{Reg, Width};
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser};
use std::cmp::Ordering;
use std::ops::RangeInclusive;

pub(super) type Parsed<'a, T> = IResult<&'a str, T, Expected<'a>>;

/// What would have been understood at a place.
#[derive(Debug, PartialEq)]
pub(super) struct Expected<'a> {
    /// Rest of the line from that place.
    pub(super) at: &'a str,
    /// Descriptions; tokens stand in backquotes.
    pub(super) items: Vec<String>,
}

impl<'a> ParseError<&'a str> for Expected<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Self {
            at,
            items: Vec::new(),
        }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }

    fn or(mut self, other: Self) -> Self {
        match self.at.len().cmp(&other.at.len()) {
            Ordering::Less => self,
            Ordering::Greater => other,
            Ordering::Equal => {
                for item in other.items {
                    if !self.items.contains(&item) {
                        self.items.push(item);
                    }
                }
                self
            }
        }
    }
}

/// The error that this was expected here, while other forms may still fit.
pub(super) fn expected<T>(at: &str, item: impl Into<String>) -> Parsed<'_, T> {
    Err(nom::Err::Error(Expected {
        at,
        items: vec![item.into()],
    }))
}

/// The error that this was expected here and no other form can fit.
pub(super) fn required<T>(at: &str, item: impl Into<String>) -> Parsed<'_, T> {
    Err(nom::Err::Failure(Expected {
        at,
        items: vec![item.into()],
    }))
}

/// Describes a part as a whole when it fails at its very start.
pub(super) fn described<'a, T>(
    item: &'static str,
    mut part: impl Parser<&'a str, Output = T, Error = Expected<'a>>,
) -> impl FnMut(&'a str) -> Parsed<'a, T> {
    move |input| match part.parse(input) {
        Err(nom::Err::Error(error)) if error.at.len() == input.len() => expected(input, item),
        result => result,
    }
}

/// Punctuation.
pub(super) fn sign<'a>(text: &'static str) -> impl FnMut(&'a str) -> Parsed<'a, &'static str> {
    move |input| match input.strip_prefix(text) {
        Some(rest) => Ok((skip_space(rest), text)),
        None => expected(input, format!("`{text}`")),
    }
}

/// A word that does not go on.
pub(super) fn word<'a>(text: &'static str) -> impl FnMut(&'a str) -> Parsed<'a, &'static str> {
    move |input| match input.strip_prefix(text) {
        Some(rest) if !rest.starts_with(is_name_char) => Ok((skip_space(rest), text)),
        Some(_) | None => expected(input, format!("`{text}`")),
    }
}

/// A name without quotes: label, map, helper or program.
pub(super) fn name(input: &str) -> Parsed<'_, &str> {
    let len = input.find(|c| !is_name_char(c)).unwrap_or(input.len());
    let (name, rest) = input.split_at(len);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return expected(input, "a name");
    }
    Ok((skip_space(rest), name))
}

/// The name as [`any_name`] reads it.
pub(in crate::isa) fn quoted(name: &str) -> String {
    if is_name(name) {
        return name.to_owned();
    }
    let escaped = name
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// Whether a name needs no quotes.
pub(in crate::isa) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(is_name_char)
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// A name, in quotes if it has other characters. `\n` is a line break; before any other character
/// `\` just keeps it.
pub(super) fn any_name(input: &str) -> Parsed<'_, String> {
    let Some(mut rest) = input.strip_prefix('"') else {
        return name(input).map(|(rest, name)| (rest, name.to_owned()));
    };
    let mut text = String::new();
    loop {
        let mut chars = rest.chars();
        match (chars.next(), chars.clone().next()) {
            (Some('"'), _) => return Ok((skip_space(chars.as_str()), text)),
            (Some('\\'), Some(kept)) => {
                chars.next();
                text.push(if kept == 'n' { '\n' } else { kept });
            }
            (Some(plain), _) => text.push(plain),
            (None, _) => return required(rest, "`\"` at the end of the text"),
        }
        rest = chars.as_str();
    }
}

/// A register and the width that its first letter stands for.
pub(super) fn register(input: &str) -> Parsed<'_, (Reg, Width)> {
    const WHAT: &str = "a register";
    let (width, rest) = match input.as_bytes().first() {
        Some(b'r') => (Width::W64, &input[1..]),
        Some(b'w') => (Width::W32, &input[1..]),
        Some(_) | None => return expected(input, WHAT),
    };
    let len = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(len);
    if digits.is_empty() || digits.contains(|c: char| !c.is_ascii_digit()) {
        return expected(input, WHAT);
    }
    match digits.parse().ok().and_then(Reg::new) {
        Some(reg) => Ok((skip_space(after), (reg, width))),
        None => required(input, "a register from 0 to 10"),
    }
}

/// A register written with the letter of this width.
pub(super) fn register_of<'a>(width: Width) -> impl FnMut(&'a str) -> Parsed<'a, Reg> {
    let what = match width {
        Width::W32 => "a 32-bit register, w0 to w10",
        Width::W64 => "a 64-bit register, r0 to r10",
    };
    move |input| match described(what, register).parse(input)? {
        (rest, (reg, found)) if found == width => Ok((rest, reg)),
        _ => required(input, what),
    }
}

/// Exactly this register, where the syntax names an operand twice.
pub(super) fn same_register<'a>(reg: Reg, width: Width) -> impl FnMut(&'a str) -> Parsed<'a, Reg> {
    move |input| match register_of(width).parse(input)? {
        (rest, found) if found == reg => Ok((rest, reg)),
        _ => {
            let letter = if width == Width::W32 { 'w' } else { 'r' };
            required(
                input,
                format!("`{letter}{}`, the register on the left", reg.number()),
            )
        }
    }
}

/// A number without sign, decimal or with `0x`.
pub(super) fn unsigned(input: &str) -> Parsed<'_, u64> {
    let (radix, digits) = match input.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, input),
    };
    let len = digits.find(|c| !is_name_char(c)).unwrap_or(digits.len());
    match u64::from_str_radix(&digits[..len], radix) {
        Ok(number) => Ok((skip_space(&digits[len..]), number)),
        Err(_) if input.starts_with(|c: char| c.is_ascii_digit()) => {
            required(input, "a number of up to 64 bits")
        }
        Err(_) => expected(input, "a number"),
    }
}

/// A number in a range, with or without a sign; white space may follow the sign.
pub(super) fn number<'a>(range: RangeInclusive<i64>) -> impl FnMut(&'a str) -> Parsed<'a, i64> {
    move |input| {
        let (rest, negative) = match input.strip_prefix(['-', '+']) {
            Some(rest) => (skip_space(rest), input.starts_with('-')),
            None => (input, false),
        };
        let (rest, magnitude) = described("a number", unsigned).parse(rest)?;
        let value = if negative {
            -i128::from(magnitude)
        } else {
            i128::from(magnitude)
        };
        match i64::try_from(value) {
            Ok(value) if range.contains(&value) => Ok((rest, value)),
            Ok(_) | Err(_) => required(
                input,
                format!("a number from {} to {}", range.start(), range.end()),
            ),
        }
    }
}

/// A number that must have a sign: the distance of a jump, the offset of an address.
pub(super) fn distance<'a>(range: RangeInclusive<i64>) -> impl FnMut(&'a str) -> Parsed<'a, i64> {
    move |input| {
        if input.starts_with(['-', '+']) {
            number(range.clone()).parse(input)
        } else {
            expected(input, "`+` or `-` and a number")
        }
    }
}

/// Values of a 16-bit offset.
pub(super) const I16: RangeInclusive<i64> = i16::MIN as i64..=i16::MAX as i64;
/// Values of a 32-bit offset or immediate.
pub(super) const I32: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
/// Values of a 32-bit field without sign.
pub(super) const U32: RangeInclusive<i64> = 0..=u32::MAX as i64;
/// Values of an immediate whose 32 bits are all that is used, with and without sign.
pub(super) const ANY32: RangeInclusive<i64> = i32::MIN as i64..=u32::MAX as i64;

pub(super) fn skip_space(input: &str) -> &str {
    input.trim_start_matches([' ', '\t'])
}
