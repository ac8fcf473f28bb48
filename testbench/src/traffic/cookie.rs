//! The cookie of `programs/syncookie`, so that captures can hold clients that answer rightly.

use std::net::IpAddr;

use iom_core::abi::Environment;

/// `secret` of `syncookie.c`.
const SECRET: [u32; 2] = [0x6c1d_5f21, 0xa3b7_e914];

/// The cookie for a client at a server, at the start of a run with the default environment.
pub(super) fn syn_cookie(client: (IpAddr, u16), server: (IpAddr, u16)) -> u32 {
    const SLOT_SHIFT: u32 = 36;
    const TCP: u32 = 6;
    let slot = (Environment::default().start_ns >> SLOT_SHIFT) as u32;
    // The program reads the network's bytes as little-endian words.
    let port = |port: u16| u32::from(port.swap_bytes());
    let words = address_words(client.0)
        .into_iter()
        .chain(address_words(server.0))
        .chain([port(client.1) << 16 | port(server.1), TCP]);
    let flow = finish(words.fold(SECRET[0], mix));
    finish(mix(mix(flow, slot), SECRET[1]))
}

fn address_words(ip: IpAddr) -> [u32; 4] {
    let bytes = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let (words, _) = bytes.as_chunks::<4>();
    [0, 1, 2, 3].map(|i| u32::from_le_bytes(words[i]))
}

/// `hash_word` of `programs/include/hash.h`.
fn mix(hash: u32, word: u32) -> u32 {
    let word = word
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593);
    (hash ^ word)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xe654_6b64)
}

/// `hash_finish` of `programs/include/hash.h`.
fn finish(hash: u32) -> u32 {
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}
