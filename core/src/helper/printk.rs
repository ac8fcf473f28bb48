//! `bpf_trace_printk`, `bpf_trace_vprintk` and `bpf_snprintf`: which formats they take and what text
//! they make (`kernel/bpf/helpers.c`, `bpf_bprintf_prepare`).

use std::fmt::Write;

use crate::map::Errno;

/// Bytes of a line at most.
const LINE_MAX: usize = 1024;
/// Bytes of a string argument at most: `MAX_BPRINTF_BIN_ARGS` less the zero byte.
const STRING_MAX: usize = 511;

/// One conversion of a format: `%-08llx` and its kin.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag character")]
struct Conversion {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    width: usize,
    /// How many `l`.
    longs: u8,
}

/// Numbers of `trace_vprintk` and `snprintf` at most: `MAX_BPRINTF_VARARGS`.
pub const ARGUMENTS_MAX: usize = 12;

/// The line that a format and its numbers give, as long as a line may be.
pub fn format_line(
    format: &[u8],
    arguments: &[u64],
    read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Result<String, Errno> {
    let bytes = self::format(format, arguments, read)?;
    let character = |&byte: &u8| if byte.is_ascii() { byte as char } else { '?' };
    Ok(bytes.iter().take(LINE_MAX - 1).map(character).collect())
}

/// The text that a format and its numbers give. `read` fetches up to so many bytes of the
/// program's memory at an address, for `%s` and addresses.
pub fn format(
    format: &[u8],
    arguments: &[u64],
    read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Errno> {
    let end = format.iter().position(|&byte| byte == 0);
    let mut rest = &format[..end.ok_or(Errno::EINVAL)?];
    let mut arguments = arguments.iter().copied();
    let mut line = String::new();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let printable = byte.is_ascii_graphic() || is_space(byte);
        if !printable {
            return Err(Errno::EINVAL);
        }
        if byte != b'%' {
            line.push(byte as char);
        } else if rest.first() == Some(&b'%') {
            line.push('%');
            rest = &rest[1..];
        } else {
            let argument = arguments.next().ok_or(Errno::EINVAL)?;
            let conversion = take_conversion(&mut rest);
            convert(&mut line, conversion, &mut rest, argument, read)?;
        }
    }
    // Every character is one byte.
    Ok(line.chars().map(|character| character as u8).collect())
}

/// Takes flags, width and length; precision is not allowed and shows up as a bad specifier.
fn take_conversion(rest: &mut &[u8]) -> Conversion {
    let mut conversion = Conversion::default();
    while let Some((&flag, tail)) = rest.split_first() {
        match flag {
            b'-' => conversion.left = true,
            b'0' => conversion.zeros = true,
            b'+' => conversion.plus = true,
            b' ' => conversion.space = true,
            _ => break,
        }
        *rest = tail;
    }
    while let Some((&digit @ b'0'..=b'9', tail)) = rest.split_first() {
        let width = conversion.width * 10 + usize::from(digit - b'0');
        conversion.width = width.min(LINE_MAX);
        *rest = tail;
    }
    while conversion.longs < 2
        && let Some((b'l', tail)) = rest.split_first()
    {
        conversion.longs += 1;
        *rest = tail;
    }
    conversion
}

/// Takes the specifier and appends the argument.
fn convert(
    line: &mut String,
    conversion: Conversion,
    rest: &mut &[u8],
    argument: u64,
    read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Result<(), Errno> {
    let (&specifier, tail) = rest.split_first().ok_or(Errno::EINVAL)?;
    *rest = tail;
    let wide = conversion.longs > 0;
    let unsigned = if wide {
        argument
    } else {
        u64::from(argument as u32)
    };
    let signed = if wide {
        argument as i64
    } else {
        i64::from(argument as i32)
    };
    let digits = match specifier {
        b'd' | b'i' => signed.unsigned_abs().to_string(),
        b'u' => unsigned.to_string(),
        b'x' => format!("{unsigned:x}"),
        b'X' => format!("{unsigned:X}"),
        b'p' if !wide => pointer(rest, argument, read)?,
        b'c' if !wide => char::from(argument as u8).to_string(),
        b's' if !wide => string(argument, read),
        _ => return Err(Errno::EINVAL),
    };
    let sign = match specifier {
        b'd' | b'i' if signed < 0 => "-",
        b'd' | b'i' if conversion.plus => "+",
        b'd' | b'i' if conversion.space => " ",
        _ => "",
    };
    let number = matches!(specifier, b'd' | b'i' | b'u' | b'x' | b'X');
    pad(line, conversion, number, sign, &digits);
    Ok(())
}

fn pad(line: &mut String, conversion: Conversion, number: bool, sign: &str, text: &str) {
    let missing = conversion.width.saturating_sub(sign.len() + text.len());
    let fill = |line: &mut String, with: &str| line.push_str(&with.repeat(missing));
    if conversion.left {
        line.push_str(sign);
        line.push_str(text);
        fill(line, " ");
    } else if conversion.zeros && number {
        line.push_str(sign);
        fill(line, "0");
        line.push_str(text);
    } else {
        fill(line, " ");
        line.push_str(sign);
        line.push_str(text);
    }
}

/// `%p`, `%px`, `%pK`, `%pI4`, `%pi6` and so on. Linux prints a hash for `%p`; here it is the
/// address, which means as little.
fn pointer(
    rest: &mut &[u8],
    address: u64,
    read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Result<String, Errno> {
    match **rest {
        [b'K' | b'x', ref tail @ ..] => {
            *rest = tail;
            Ok(format!("{address:016x}"))
        }
        // Symbols; an address that belongs to none prints as a number.
        [b's' | b'S' | b'B', ref tail @ ..] => {
            *rest = tail;
            Ok(format!("{address:#x}"))
        }
        [kind @ (b'i' | b'I'), version @ (b'4' | b'6'), ref tail @ ..] => {
            *rest = tail;
            let len = if version == b'4' { 4 } else { 16 };
            let bytes = read(address, len).filter(|bytes| bytes.len() == len);
            Ok(ip_address(&bytes.unwrap_or_else(|| vec![0; len]), kind))
        }
        [] => Ok(format!("{address:016x}")),
        [next, ..] if is_space(next) || next.is_ascii_punctuation() => {
            Ok(format!("{address:016x}"))
        }
        [..] => Err(Errno::EINVAL),
    }
}

/// `I4` 1.2.3.4, `i4` 001.002.003.004, `I6` with colons, `i6` without.
fn ip_address(bytes: &[u8], kind: u8) -> String {
    if bytes.len() == 4 {
        let parts = bytes.iter().map(|byte| match kind {
            b'i' => format!("{byte:03}"),
            _ => byte.to_string(),
        });
        return parts.collect::<Vec<_>>().join(".");
    }
    let groups = bytes.chunks(2).map(|pair| {
        pair.iter().fold(String::new(), |mut group, byte| {
            let _ = write!(group, "{byte:02x}");
            group
        })
    });
    let separator = if kind == b'I' { ":" } else { "" };
    groups.collect::<Vec<_>>().join(separator)
}

/// The string at an address, up to its end, a character for each byte.
fn string(address: u64, read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>) -> String {
    let bytes = (0..STRING_MAX as u64).map_while(|offset| {
        let byte = *read(address.wrapping_add(offset), 1)?.first()?;
        (byte != 0).then_some(byte)
    });
    bytes.map(char::from).collect()
}

/// C's `isspace`, which knows the vertical tab.
const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str, arguments: [u64; 3]) -> Result<String, Errno> {
        let memory = b"\x0a\x00\x00\x01 text\0";
        let mut read = |address: u64, len: usize| {
            let start = usize::try_from(address).ok()?;
            memory
                .get(start..start.checked_add(len)?)
                .map(<[u8]>::to_vec)
        };
        format_line(format!("{format}\0").as_bytes(), &arguments, &mut read)
    }

    #[test]
    fn numbers_and_padding() {
        let minus = u64::MAX;
        for (format, argument, expected) in [
            ("%d", minus, "-1"),
            ("%u", minus, "4294967295"),
            ("%lld", minus, "-1"),
            ("%lu", minus, "18446744073709551615"),
            ("%llx|", 255, "ff|"),
            ("%08X", 0xbeef, "0000BEEF"),
            ("%-6d|", 42, "42    |"),
            ("%6d|", minus, "    -1|"),
            ("%06d|", minus, "-00001|"),
            ("%+d", 5, "+5"),
            ("100%% of %i", 7, "100% of 7"),
            ("%c%%", u64::from(b'z'), "z%"),
            ("%pI4", 0, "10.0.0.1"),
            ("%pi4", 0, "010.000.000.001"),
            ("%s!", 5, "text!"),
            ("%px", 0x1234, "0000000000001234"),
        ] {
            assert_eq!(line(format, [argument, 0, 0]).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_linux_refuses() {
        for format in [
            "%d %d %d %d",
            "%f",
            "%hd",
            "%.3d",
            "%",
            "%l",
            "%pZ",
            "\u{1}",
            "ü",
            "%lls",
        ] {
            assert_eq!(line(format, [0; 3]), Err(Errno::EINVAL), "{format:?}");
        }
        let unterminated = format_line(b"no end", &[0; 3], &mut |_, _| None);
        assert_eq!(unterminated, Err(Errno::EINVAL));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(format: Vec<u8>, arguments: [u64; 3]) {
            let _ = format_line(&format, &arguments, &mut |_, len| Some(vec![b'x'; len]));
        }
    }
}
