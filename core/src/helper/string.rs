//! Helpers on strings: numbers from text and comparison, as Linux 6.18 does them
//! (`kernel/bpf/helpers.c`, `lib/kstrtox.c`).

use std::cmp::Ordering;

use crate::map::Errno;

/// `BPF_STRTOX_BASE_MASK`: the bits of the flags that hold the base.
const BASE_MASK: u64 = 0x1f;
/// Characters behind space and sign that are looked at.
const DIGITS_MAX: usize = 63;

/// A number as text has it: its sign, its magnitude and the bytes that it takes.
struct Parsed {
    negative: bool,
    magnitude: u64,
    consumed: u64,
}

/// `bpf_strtol`: the number and the bytes that it takes, space in front included.
pub fn strtol(text: &[u8], flags: u64) -> Result<(i64, u64), Errno> {
    let parsed = parse(text, flags)?;
    let magnitude = i128::from(parsed.magnitude);
    let value = if parsed.negative {
        -magnitude
    } else {
        magnitude
    };
    let value = i64::try_from(value).map_err(|_| Errno::ERANGE)?;
    Ok((value, parsed.consumed))
}

/// `bpf_strtoul`: the number and the bytes that it takes, space in front included.
pub fn strtoul(text: &[u8], flags: u64) -> Result<(u64, u64), Errno> {
    let parsed = parse(text, flags)?;
    if parsed.negative {
        return Err(Errno::EINVAL);
    }
    Ok((parsed.magnitude, parsed.consumed))
}

/// `bpf_strncmp`: -1, 0 or 1. The second string ends at its zero byte, the first there or at its
/// length.
pub fn strncmp(one: &[u8], other: &[u8]) -> i64 {
    let others = other.iter().copied().chain(std::iter::repeat(0));
    for (left, right) in one.iter().copied().zip(others) {
        match left.cmp(&right) {
            Ordering::Less => return -1,
            Ordering::Greater => return 1,
            Ordering::Equal if left == 0 => return 0,
            Ordering::Equal => {}
        }
    }
    0
}

fn parse(text: &[u8], flags: u64) -> Result<Parsed, Errno> {
    let base = flags & BASE_MASK;
    if text.is_empty() || flags != base || !matches!(base, 0 | 8 | 10 | 16) {
        return Err(Errno::EINVAL);
    }
    let start = text.iter().position(|&byte| !is_space(byte));
    let mut rest = &text[start.unwrap_or(text.len())..];
    let negative = rest.first() == Some(&b'-');
    rest = &rest[usize::from(negative)..];
    if rest.is_empty() {
        return Err(Errno::EINVAL);
    }
    let skipped = text.len() - rest.len();
    let rest = &rest[..rest.len().min(DIGITS_MAX)];
    let (base, prefix) = radix(rest, base);
    let (magnitude, digits) = digits(&rest[prefix..], base)?;
    Ok(Parsed {
        negative,
        magnitude,
        consumed: (skipped + prefix + digits) as u64,
    })
}

/// The base, and the bytes of `0x` in front.
fn radix(text: &[u8], base: u64) -> (u64, usize) {
    let hex = matches!(text, [b'0', b'x' | b'X', ..]);
    let base = match base {
        0 if hex && text.get(2).is_some_and(u8::is_ascii_hexdigit) => 16,
        0 if text.first() == Some(&b'0') => 8,
        0 => 10,
        given => given,
    };
    (base, if base == 16 && hex { 2 } else { 0 })
}

/// The value of the digits in front and how many they are.
fn digits(text: &[u8], base: u64) -> Result<(u64, usize), Errno> {
    let digit = |byte: u8| char::from(byte).to_digit(base as u32).map(u64::from);
    let count = text.iter().take_while(|&&byte| digit(byte).is_some());
    let count = count.count();
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let value = text[..count].iter().try_fold(0u64, |value, &byte| {
        value.checked_mul(base)?.checked_add(digit(byte)?)
    });
    Ok((value.ok_or(Errno::ERANGE)?, count))
}

/// Linux's `isspace`, which knows the vertical tab and Latin-1's no-break space.
const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || byte == 0xa0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_space_sign_and_base() {
        for (text, flags, signed, unsigned) in [
            ("12", 0, Ok((12, 2)), Ok((12, 2))),
            (" \t-12 ", 10, Ok((-12, 5)), Err(Errno::EINVAL)),
            ("0x1fg", 0, Ok((31, 4)), Ok((31, 4))),
            ("0x1f", 16, Ok((31, 4)), Ok((31, 4))),
            ("1f", 16, Ok((31, 2)), Ok((31, 2))),
            ("0x", 0, Ok((0, 1)), Ok((0, 1))),
            ("0x", 16, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            ("0779", 0, Ok((63, 3)), Ok((63, 3))),
            ("8", 8, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            ("1", 2, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            ("1", 32, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            ("", 0, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            (" -", 0, Err(Errno::EINVAL), Err(Errno::EINVAL)),
            (
                "18446744073709551615",
                0,
                Err(Errno::ERANGE),
                Ok((u64::MAX, 20)),
            ),
            (
                "18446744073709551616",
                0,
                Err(Errno::ERANGE),
                Err(Errno::ERANGE),
            ),
            (
                "-9223372036854775808",
                0,
                Ok((i64::MIN, 20)),
                Err(Errno::EINVAL),
            ),
        ] {
            assert_eq!(strtol(text.as_bytes(), flags), signed, "{text:?}");
            assert_eq!(strtoul(text.as_bytes(), flags), unsigned, "{text:?}");
        }
    }

    #[test]
    fn strings_end_at_zero_or_at_the_length() {
        assert_eq!(strncmp(b"abc\0x", b"abc\0y"), 0);
        assert_eq!(strncmp(b"abc", b"abcd\0"), 0);
        assert_eq!(strncmp(b"abd", b"abc\0"), 1);
        assert_eq!(strncmp(b"ab\xff", b"ab\x01\0"), 1);
        assert_eq!(strncmp(b"ab\0", b"abc\0"), -1);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>, flags in 0u64..40) {
            let _ = strtol(&text, flags);
            let _ = strtoul(&text, flags);
        }
    }
}
