//! `bpf_csum_diff`: the internet checksum's running sum, as Linux 6.18 computes it.

/// The sum of `seed` and `to` less `from`, folded to 16 bits. Lengths may be odd: the last byte is
/// then the low half of its word.
pub fn csum_diff(from: &[u8], to: &[u8], seed: u32) -> u32 {
    let sum = match (from.is_empty(), to.is_empty()) {
        (false, false) => add(partial(to, seed), !partial(from, 0)),
        (true, false) => partial(to, seed),
        (false, true) => !partial(from, !seed),
        (true, true) => seed,
    };
    u32::from(fold(sum))
}

/// Both halves added with the carry coming round (`csum_from32to16`).
pub(super) const fn fold(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// One's complement sum of little-endian words (`csum_partial`).
fn partial(bytes: &[u8], seed: u32) -> u32 {
    bytes.chunks(4).fold(seed, |sum, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        add(sum, u32::from_le_bytes(word))
    })
}

/// One's complement addition.
pub(super) const fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    /// Values that Linux 6.18 gave.
    #[test]
    fn sums_as_linux_does() {
        for (from, to, expected) in [
            (0, 0, 0),
            (0, 3, 2580),
            (0, 4, 5652),
            (0, 5, 5665),
            (2, 0, 65022),
            (3, 0, 65019),
            (3, 3, 2064),
            (4, 0, 63995),
            (6, 3, 65034),
            (6, 4, 2571),
            (8, 0, 60399),
            (8, 8, 8224),
        ] {
            let sum = csum_diff(&BYTES[..from], &BYTES[8..8 + to], 0);
            assert_eq!(sum, expected, "{from} {to}");
        }
    }

    /// Zero has two forms in one's complement; Linux 6.18 gave these.
    #[test]
    fn zero_and_seeds_as_linux_has_them() {
        let zeros = [0; 4];
        for (seed, pushed, removed, same, number) in [
            (0, 0, 0, 65535, 63995),
            (1, 1, 1, 1, 63996),
            (0xffff, 65535, 65535, 65535, 63995),
            (0xffff_0000, 65535, 65535, 65535, 63995),
            (0xffff_ffff, 65535, 65535, 65535, 63995),
            (0x1_0000, 1, 1, 1, 63996),
            (0x1234_5678, 26796, 26796, 26796, 25256),
        ] {
            assert_eq!(csum_diff(&[], &zeros, seed), pushed, "{seed:#x}");
            assert_eq!(csum_diff(&zeros, &[], seed), removed, "{seed:#x}");
            assert_eq!(csum_diff(&zeros, &zeros, seed), same, "{seed:#x}");
            assert_eq!(csum_diff(&BYTES[..4], &BYTES[..4], seed), same, "{seed:#x}");
            assert_eq!(csum_diff(&BYTES[..4], &[], seed), number, "{seed:#x}");
        }
    }
}
