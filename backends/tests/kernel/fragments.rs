//! Long packets, which lie in several pieces: helpers on them leave the same behind on interpreter
//! and kernel, for programs that ask for fragments (`xdp.frags`) and for those that do not.

use iom_core::abi::Frame;

use crate::support::{frame, kernel_is_here, run};

/// Lengths around the borders of the linear part and of the pages behind it.
const LENGTHS: [usize; 14] = [
    3400, 3519, 3520, 3521, 3600, 4096, 7615, 7616, 7617, 9000, 20_000, 65_535, 70_000, 73_152,
];

const HEAD: u32 = 0;
const TAIL: u32 = 1;
const META: u32 = 2;
const LOAD: u32 = 3;
const STORE: u32 = 4;

/// A helper with a distance or offset, and the bytes that it copies.
#[derive(Clone, Copy, Debug)]
struct Step(u32, i32, u32);

/// Takes two steps that the packet's first bytes say, and returns the length with what both
/// returned.
#[expect(clippy::too_many_lines, reason = "one program, as text")]
fn program(section: &str) -> String {
    let step = |from: i32, result: &str| {
        let base = 16 * from;
        let call = |label: &str, helper: &str| {
            format!(
                "{label}{from}:
                 r1 = r6
                 r2 = *(u64 *)(r10 - {})
                 call {helper}
                 goto done{from}\n",
                24 - base
            )
        };
        let copy = |label: &str, helper: &str| {
            format!(
                "{label}{from}:
                 r1 = r6
                 r2 = *(u64 *)(r10 - {})
                 r3 = r10
                 r3 += -256
                 r4 = *(u64 *)(r10 - {})
                 r5 = r4
                 if r4 > 200 goto out
                 if r4 == 0 goto out
                 call {helper}
                 goto done{from}\n",
                24 - base,
                48 - 8 * from
            )
        };
        format!(
            "r1 = *(u64 *)(r10 - {})
             if r1 == {HEAD} goto head{from}
             if r1 == {TAIL} goto tail{from}
             if r1 == {META} goto meta{from}
             if r1 == {LOAD} goto load{from}
             goto store{from}
             {}{}{}{}{}
             done{from}:
             {result} = r0\n",
            32 - base,
            call("head", "xdp_adjust_head"),
            call("tail", "xdp_adjust_tail"),
            call("meta", "xdp_adjust_meta"),
            copy("load", "xdp_load_bytes"),
            copy("store", "xdp_store_bytes"),
        )
    };
    let clear = (56 / 8..=256 / 8).map(|word| format!("*(u64 *)(r10 - {}) = 0x5a\n", 8 * word));
    format!(
        ".license \"GPL\"
         .program main {section}
         r6 = r1
         r7 = *(u32 *)(r1 + 0)
         r8 = *(u32 *)(r1 + 4)
         r0 = 0
         r1 = r7
         r1 += 24
         if r1 > r8 goto out
         {}
         r0 = *(u32 *)(r7 + 0)
         *(u64 *)(r10 - 32) = r0
         r0 = *(s32 *)(r7 + 4)
         *(u64 *)(r10 - 24) = r0
         r0 = *(u32 *)(r7 + 8)
         *(u64 *)(r10 - 48) = r0
         r0 = *(u32 *)(r7 + 12)
         *(u64 *)(r10 - 16) = r0
         r0 = *(s32 *)(r7 + 16)
         *(u64 *)(r10 - 8) = r0
         r0 = *(u32 *)(r7 + 20)
         *(u64 *)(r10 - 40) = r0
         {}
         {}
         r1 = r6
         call xdp_get_buff_len
         r0 <<= 14
         r7 &= 127
         r8 &= 127
         r7 <<= 7
         r0 |= r7
         r0 |= r8
         out:
         exit",
        clear.collect::<Vec<_>>().concat(),
        step(0, "r7"),
        step(1, "r8"),
    )
}

fn packet(id: u64, len: usize, steps: [Step; 2]) -> Frame {
    let mut bytes: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
    for (place, Step(helper, distance, count)) in bytes.chunks_mut(12).zip(steps) {
        place[..4].copy_from_slice(&helper.to_le_bytes());
        place[4..8].copy_from_slice(&distance.to_le_bytes());
        place[8..12].copy_from_slice(&count.to_le_bytes());
    }
    frame(id, &bytes)
}

/// Steps that reach just up to the borders and over them.
fn steps(len: i32) -> Vec<Step> {
    let mut steps = Vec::new();
    for distance in [
        -217,
        -216,
        -4,
        0,
        4,
        100,
        3400,
        3506,
        3507,
        len - 14,
        len - 13,
    ] {
        steps.push(Step(HEAD, distance, 0));
    }
    let fragments = [
        1,
        96,
        3520,
        4096,
        4097,
        len - 3520,
        len - 3519,
        len - 3600,
        len - 14,
        len - 13,
    ];
    for distance in fragments {
        steps.push(Step(TAIL, -distance, 0));
        steps.push(Step(TAIL, distance, 0));
    }
    steps.push(Step(TAIL, 0, 0));
    steps.extend([Step(META, -8, 0), Step(META, -3, 0), Step(META, 4, 0)]);
    for offset in [
        0,
        3400,
        3519,
        3520,
        7500,
        7616,
        7617,
        len - 200,
        len - 1,
        len,
        65_535,
        65_536,
    ] {
        for count in [1, 64, 200] {
            steps.push(Step(LOAD, offset, count));
            steps.push(Step(STORE, offset, count));
        }
    }
    steps
}

/// Every step alone and behind some that move a border. Gives how many results there are.
fn agree(section: &str) -> usize {
    let mut frames = Vec::new();
    for len in LENGTHS {
        let first = [
            Step(HEAD, 0, 0),
            Step(HEAD, 64, 0),
            Step(HEAD, -100, 0),
            Step(TAIL, -1, 0),
            Step(TAIL, 3522 - len as i32, 0),
            Step(TAIL, 3520 - len as i32, 0),
            Step(TAIL, 3400 - len as i32, 0),
            Step(META, -12, 0),
        ];
        // All of them only around the first border and behind several pages.
        let count = if matches!(len, 3521 | 9000) {
            first.len()
        } else {
            1
        };
        for before in &first[..count] {
            for step in steps(len as i32) {
                frames.push(packet(frames.len() as u64, len, [*before, step]));
            }
        }
    }
    let run = run(&program(section), frames);
    let results: std::collections::BTreeSet<u32> =
        run.outcomes.iter().map(|outcome| outcome.retval).collect();
    results.len()
}

#[test]
fn kernel_changes_long_packets_alike() {
    if !kernel_is_here() {
        return;
    }
    assert!(agree("xdp.frags") > 100);
}

#[test]
fn kernel_changes_long_packets_alike_without_fragments() {
    if !kernel_is_here() {
        return;
    }
    assert!(agree("xdp") > 100);
}
