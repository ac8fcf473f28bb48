//! SYN cookies of raw TCP headers. Linux makes them of a secret and of the time; here they are a
//! fixed function of the headers, so that a run can be repeated, and the kernel backend puts the
//! same function in place of Linux's. What Linux takes from the headers alone, the size of
//! segments, is as there.

use crate::map::Errno;

/// Start of the hash, which Linux has a secret for.
pub const COOKIE_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Multiplier of the hash.
pub const COOKIE_MULTIPLIER: u64 = 0xbf58_476d_1ce4_e5b9;
/// Bytes of a TCP header without options.
pub const TCP_BYTES: usize = 20;
/// `msstab` of `net/ipv4/syncookies.c` and of `net/ipv6/syncookies.c`.
const SEGMENTS: [[u16; 4]; 2] = [[536, 1300, 1440, 1460], [1220, 1420, 1440, 8940]];

/// Which IP header stands before the TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4, without options.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Bytes of the header.
    pub const fn header_bytes(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// Offsets in the header of the words of both addresses.
    pub fn address_words(self) -> impl Iterator<Item = usize> {
        let start = match self {
            Self::V4 => 12,
            Self::V6 => 8,
        };
        (start..self.header_bytes()).step_by(4)
    }
}

/// `bpf_tcp_raw_gen_syncookie_ipv4` and `_ipv6`: the cookie and, in the upper half, the size of
/// segments that it stands for. `tcp` is the header with its options.
pub fn raw_gen_syncookie(version: IpVersion, ip: &[u8], tcp: &[u8]) -> Result<u64, Errno> {
    let header_bytes = |tcp: &[u8]| usize::from(tcp[12] >> 4) * 4;
    if tcp.len() < TCP_BYTES || tcp.len() != header_bytes(tcp) {
        return Err(Errno::EINVAL);
    }
    let table = SEGMENTS[usize::from(version == IpVersion::V6)];
    let wanted = segment_option(&tcp[TCP_BYTES..]).unwrap_or(table[0]);
    let fits = table.iter().rev().find(|size| **size <= wanted);
    let segment = *fits.unwrap_or(&table[0]);
    let cookie = cookie(version, ip, tcp).ok_or(Errno::EINVAL)?;
    Ok(u64::from(cookie) | u64::from(segment) << 32)
}

/// `bpf_tcp_raw_check_syncookie_ipv4` and `_ipv6`: whether the header acknowledges its cookie.
pub fn raw_check_syncookie(version: IpVersion, ip: &[u8], tcp: &[u8]) -> Result<(), Errno> {
    let expected = cookie(version, ip, tcp).ok_or(Errno::EACCES)?;
    let acknowledged = word(tcp, 8).map(u32::swap_bytes);
    // Both numbers are one more than in the SYN.
    if acknowledged == Some(expected) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// A hash of addresses and ports plus the sequence number.
fn cookie(version: IpVersion, ip: &[u8], tcp: &[u8]) -> Option<u32> {
    let mut hash = COOKIE_SEED;
    let words = version.address_words().map(|offset| word(ip, offset));
    for word in words.chain([word(tcp, 0)]) {
        hash = (hash ^ u64::from(word?)).wrapping_mul(COOKIE_MULTIPLIER);
        hash ^= hash >> 32;
    }
    let sequence = word(tcp, 4)?.swap_bytes();
    Some((hash as u32).wrapping_add(sequence))
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

/// The size of segments in TCP options, if there is one (`tcp_parse_mss_option`).
fn segment_option(mut options: &[u8]) -> Option<u16> {
    loop {
        options = match options {
            [] | [0, ..] => return None,
            [1, rest @ ..] => rest,
            [2, 4, high, low, ..] if (*high, *low) != (0, 0) => {
                return Some(u16::from_be_bytes([*high, *low]));
            }
            [_, len, ..] if *len >= 2 => options.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(sequence: u32, acknowledged: u32, options: &[u8]) -> Vec<u8> {
        let mut header = vec![0x12, 0x34, 0, 80];
        header.extend(sequence.to_be_bytes());
        header.extend(acknowledged.to_be_bytes());
        header.extend([(5 + options.len() as u8 / 4) << 4, 2, 0, 0, 0, 0, 0, 0]);
        header.extend(options);
        header
    }

    #[test]
    fn the_cookie_comes_back() {
        for version in [IpVersion::V4, IpVersion::V6] {
            let ip = vec![7; version.header_bytes()];
            let made = raw_gen_syncookie(version, &ip, &tcp(99, 0, &[])).unwrap() as u32;
            let check = |ack| raw_check_syncookie(version, &ip, &tcp(100, ack, &[]));
            assert_eq!(check(made.wrapping_add(1)), Ok(()));
            assert_eq!(check(made), Err(Errno::EACCES));
            let other = vec![8; version.header_bytes()];
            assert_ne!(
                raw_gen_syncookie(version, &other, &tcp(99, 0, &[])).unwrap() as u32,
                made
            );
        }
    }

    #[test]
    fn segment_sizes() {
        let size = |options: &[u8]| {
            let made = raw_gen_syncookie(IpVersion::V4, &[7; 20], &tcp(0, 0, options));
            made.map(|made| made >> 32)
        };
        assert_eq!(size(&[]), Ok(536));
        assert_eq!(size(&[1, 1, 1, 1, 2, 4, 5, 0xb4]), Ok(1460));
        assert_eq!(size(&[2, 4, 5, 0xb3]), Ok(1440));
        assert_eq!(size(&[2, 4, 0, 1]), Ok(536));
        assert_eq!(size(&[0, 0, 0, 0, 2, 4, 5, 0xb4]), Ok(536));
        assert_eq!(size(&[3, 40, 0, 0]), Ok(536));
        assert_eq!(
            raw_gen_syncookie(IpVersion::V4, &[7; 20], &tcp(0, 0, &[])[..19]),
            Err(Errno::EINVAL)
        );
    }
}
