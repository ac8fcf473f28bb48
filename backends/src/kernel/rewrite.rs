//! The deterministic rewrite: calls that read the outside world become reads of the environment
//! map, calls whose effect test-run hides leave their arguments and result there.
//!
//! What a call may change is all that a replacement changes: `r1` to `r5` are dead after a call,
//! and before it those that are no arguments. No stack is used.

use std::collections::BTreeSet;

use iom_core::abi::PacketRandom;
use iom_core::helper::{COOKIE_MULTIPLIER, COOKIE_SEED, IpVersion, TCP_BYTES, number};
use iom_core::isa::{
    AluOp, ByteOrder, CallTarget, Condition, Imm64, Insn, Operand, Reg, Size, SwapWidth, Width,
};
use iom_core::kfunc::Kfunc;

use super::environment_map::{
    CALLS, COOKIE, EVENT_BYTES, EVENT_COUNT, EVENT_FLAGS, EVENT_MAP, EVENT_RECORDS, EVENT_SHIFT,
    EVENTS, JIFFIES, KTIME, RANDOM, RECORD_COUNT, RECORD_FLAGS, RECORD_KEY, RECORD_MAP,
    RECORD_RESULT, RECORD_SHIFT, RECORDS, RX_HASH, RX_HASH_TYPE, RX_TIME, RX_VLAN,
};

/// Helpers that give a time in ns: `ktime_get_ns`, `_boot_ns`, `_coarse_ns`, `_tai_ns`.
const TIME_HELPERS: [u32; 4] = [5, 125, 160, 208];
const JIFFIES64: u32 = 118;
const GET_PRANDOM_U32: u32 = 7;
const GET_NUMA_NODE_ID: u32 = 42;
const REDIRECT: u32 = 23;
const PERF_EVENT_OUTPUT: u32 = 25;
const REDIRECT_MAP: u32 = 51;

/// A rewritten program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// Instructions.
    pub(super) insns: Vec<Insn>,
    /// For each original slot, and the end, the new slot where its replacement starts.
    pub(super) starts: Vec<u32>,
    /// Whether anything was replaced.
    pub(super) changed: bool,
}

impl Rewritten {
    /// A program as it is.
    pub(super) fn plain(insns: &[Insn]) -> Self {
        Self {
            insns: insns.to_vec(),
            starts: (0..=insns.len() as u32).collect(),
            changed: false,
        }
    }

    /// The original slot that the instruction in a new slot stands for.
    pub(super) fn original(&self, slot: usize) -> usize {
        let after = self.starts.partition_point(|start| *start as usize <= slot);
        after.saturating_sub(1)
    }
}

/// Rewrites a program that the verifier accepted; `environment` is the environment map's index.
pub(super) fn rewrite(insns: &[Insn], environment: u32) -> Rewritten {
    let mut far = BTreeSet::new();
    loop {
        let starts = layout(insns, environment, &far);
        let further = overflowing(insns, &starts, &far);
        if further.is_empty() {
            return emit(insns, environment, starts, &far);
        }
        // A branch that became longer may push others over the limit; each turn adds one at least.
        far.extend(further);
    }
}

/// New slot of each original slot and of the end, if the branches in `far` take three slots.
fn layout(insns: &[Insn], environment: u32, far: &BTreeSet<usize>) -> Vec<u32> {
    let mut starts = Vec::with_capacity(insns.len() + 1);
    let mut next = 0;
    for (slot, insn) in insns.iter().enumerate() {
        starts.push(next);
        next += if far.contains(&slot) {
            3
        } else {
            replacement(insn, environment).map_or(1, |insns| insns.len() as u32)
        };
    }
    starts.push(next);
    starts
}

/// Distance from just behind the new place of `slot` to the new place of the slot `off` further.
/// Targets outside the program, which no accepted program has, stay as they are.
fn distance(starts: &[u32], slot: usize, off: i64) -> i64 {
    let target = slot as i64 + 1 + off;
    usize::try_from(target)
        .ok()
        .and_then(|target| starts.get(target))
        .map_or(off, |start| i64::from(*start) - i64::from(starts[slot]) - 1)
}

/// Conditional branches whose new offset does not fit 16 bits.
fn overflowing(insns: &[Insn], starts: &[u32], far: &BTreeSet<usize>) -> Vec<usize> {
    let overflows = |(slot, insn): (usize, &Insn)| {
        let (Insn::JumpIf { off, .. } | Insn::MayGoto { off }) = insn else {
            return None;
        };
        let off = distance(starts, slot, i64::from(*off));
        (i16::try_from(off).is_err() && !far.contains(&slot)).then_some(slot)
    };
    insns.iter().enumerate().filter_map(overflows).collect()
}

fn emit(insns: &[Insn], environment: u32, starts: Vec<u32>, far: &BTreeSet<usize>) -> Rewritten {
    let mut output = Vec::with_capacity(starts.last().map_or(0, |end| *end as usize));
    let mut changed = false;
    for (slot, insn) in insns.iter().enumerate() {
        if let Some(insns) = replacement(insn, environment) {
            changed = true;
            output.extend(insns);
        } else if far.contains(&slot) {
            output.extend(far_branch(*insn, &starts, slot));
        } else {
            output.push(moved(*insn, &starts, slot));
        }
    }
    Rewritten {
        insns: output,
        starts,
        changed,
    }
}

/// The instruction at its new place.
fn moved(insn: Insn, starts: &[u32], slot: usize) -> Insn {
    let offset = |off| distance(starts, slot, off);
    match insn {
        Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off,
        } => Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off: offset(off.into()) as i16,
        },
        Insn::MayGoto { off } => Insn::MayGoto {
            off: offset(off.into()) as i16,
        },
        Insn::Jump { off, long } => {
            let off = offset(off.into()) as i32;
            Insn::Jump {
                off,
                long: long || i16::try_from(off).is_err(),
            }
        }
        Insn::Call {
            target: CallTarget::Local(off),
        } => Insn::Call {
            target: CallTarget::Local(offset(off.into()) as i32),
        },
        Insn::LoadImm64 {
            dst,
            value: Imm64::Function { offset: off },
        } => Insn::LoadImm64 {
            dst,
            value: Imm64::Function {
                offset: offset(off.into()) as i32,
            },
        },
        other => other,
    }
}

/// `if c goto +1; goto +1; gotol T` for a branch to a target beyond 16 bits.
fn far_branch(insn: Insn, starts: &[u32], slot: usize) -> [Insn; 3] {
    let (near, off) = match insn {
        Insn::JumpIf {
            cond,
            width,
            dst,
            src,
            off,
        } => {
            let near = Insn::JumpIf {
                cond,
                width,
                dst,
                src,
                off: 1,
            };
            (near, off)
        }
        Insn::MayGoto { off } => (Insn::MayGoto { off: 1 }, off),
        other => unreachable!("{other:?} is no conditional branch"),
    };
    let skip = Insn::Jump {
        off: 1,
        long: false,
    };
    // `distance` counts from behind the first of the three.
    let off = distance(starts, slot, off.into()) as i32 - 2;
    [near, skip, Insn::Jump { off, long: true }]
}

/// What an instruction is replaced by, if it is.
fn replacement(insn: &Insn, environment: u32) -> Option<Vec<Insn>> {
    let Insn::Call { target } = insn else {
        return None;
    };
    let helper = match target {
        CallTarget::Helper(helper) => *helper,
        CallTarget::Kernel(kfunc) => return metadata(*kfunc, environment),
        CallTarget::Local(_) | CallTarget::Kfunc { .. } => return None,
    };
    match helper {
        helper if TIME_HELPERS.contains(&helper) => Some(read(environment, KTIME)),
        JIFFIES64 => Some(read(environment, JIFFIES)),
        // All queues are on one node.
        GET_NUMA_NODE_ID => Some(vec![Insn::Mov {
            width: Width::W64,
            dst: Reg::R0,
            src: Operand::Imm(0),
        }]),
        GET_PRANDOM_U32 => Some(random(environment)),
        number::TCP_RAW_GEN_SYNCOOKIE_IPV4 => Some(made_cookie(environment, *insn, IpVersion::V4)),
        number::TCP_RAW_GEN_SYNCOOKIE_IPV6 => Some(made_cookie(environment, *insn, IpVersion::V6)),
        number::TCP_RAW_CHECK_SYNCOOKIE_IPV4 => Some(checked_cookie(IpVersion::V4)),
        number::TCP_RAW_CHECK_SYNCOOKIE_IPV6 => Some(checked_cookie(IpVersion::V6)),
        PERF_EVENT_OUTPUT => Some(measured(environment, *insn)),
        REDIRECT => {
            let arguments = [
                (RECORD_MAP, Operand::Imm(0)),
                (RECORD_KEY, Operand::Reg(Reg::R1)),
                (RECORD_FLAGS, Operand::Reg(Reg::R2)),
            ];
            Some(observed(environment, *insn, arguments))
        }
        REDIRECT_MAP => {
            let arguments = [
                (RECORD_MAP, Operand::Reg(Reg::R1)),
                (RECORD_KEY, Operand::Reg(Reg::R2)),
                (RECORD_FLAGS, Operand::Reg(Reg::R3)),
            ];
            Some(observed(environment, *insn, arguments))
        }
        _ => None,
    }
}

/// Whether a program makes redirect calls.
pub(super) fn redirects(insns: &[Insn]) -> bool {
    insns.iter().any(|insn| {
        matches!(
            insn,
            Insn::Call {
                target: CallTarget::Helper(REDIRECT | REDIRECT_MAP)
            }
        )
    })
}

/// `r0` = the number at an offset of the environment map.
fn read(environment: u32, off: i16) -> Vec<Insn> {
    let mut insns = address(Reg::R0, environment).to_vec();
    insns.push(load(Reg::R0, Reg::R0, off));
    insns
}

/// `r0` = the next of [`PacketRandom`]. The 32-bit move at the end tells the verifier what it
/// knows of the helper's result.
fn random(environment: u32) -> Vec<Insn> {
    let mut insns = address(Reg::R1, environment).to_vec();
    insns.push(load(Reg::R0, Reg::R1, RANDOM));
    insns.extend(wide_number(Reg::R2, PacketRandom::INCREMENT));
    insns.push(alu(AluOp::Add, Reg::R0, Operand::Reg(Reg::R2)));
    insns.push(store(Reg::R1, RANDOM, Operand::Reg(Reg::R0)));
    let fold = |shift| {
        [
            mov(Reg::R1, Reg::R0),
            alu(AluOp::Rsh, Reg::R1, Operand::Imm(shift)),
            alu(AluOp::Xor, Reg::R0, Operand::Reg(Reg::R1)),
        ]
    };
    for (shift, multiplier) in [
        (30, PacketRandom::MULTIPLIER_1),
        (27, PacketRandom::MULTIPLIER_2),
    ] {
        insns.extend(fold(shift));
        insns.extend(wide_number(Reg::R1, multiplier));
        insns.push(alu(AluOp::Mul, Reg::R0, Operand::Reg(Reg::R1)));
    }
    insns.extend(fold(31));
    insns.push(Insn::Mov {
        width: Width::W32,
        dst: Reg::R0,
        src: Operand::Reg(Reg::R0),
    });
    insns
}

/// `w4` = the SYN cookie of the headers that `r1` and `r2` point to, by way of `r5`.
fn cookie(version: IpVersion) -> Vec<Insn> {
    let word = |base, off| Insn::Load {
        size: Size::W,
        signed: false,
        dst: Reg::R5,
        base,
        off,
    };
    let mut insns = wide_number(Reg::R4, COOKIE_SEED).to_vec();
    let addresses = version.address_words();
    let words = addresses.map(|offset| word(Reg::R1, offset as i16));
    for load_word in words.chain([word(Reg::R2, 0)]) {
        insns.push(load_word);
        insns.push(alu(AluOp::Xor, Reg::R4, Operand::Reg(Reg::R5)));
        insns.extend(wide_number(Reg::R5, COOKIE_MULTIPLIER));
        insns.push(alu(AluOp::Mul, Reg::R4, Operand::Reg(Reg::R5)));
        insns.push(mov(Reg::R5, Reg::R4));
        insns.push(alu(AluOp::Rsh, Reg::R5, Operand::Imm(32)));
        insns.push(alu(AluOp::Xor, Reg::R4, Operand::Reg(Reg::R5)));
    }
    insns.push(word(Reg::R2, 4));
    insns.push(big_endian(Reg::R5));
    insns.push(Insn::Alu {
        op: AluOp::Add,
        width: Width::W32,
        dst: Reg::R4,
        src: Operand::Reg(Reg::R5),
    });
    insns
}

/// A call that makes a SYN cookie, with ours in place of the one that Linux makes of its secret.
fn made_cookie(environment: u32, call: Insn, version: IpVersion) -> Vec<Insn> {
    // A header that is too short is an error and may not be read.
    let hash = cookie(version);
    let mut insns = vec![Insn::JumpIf {
        cond: Condition::Lt,
        width: Width::W64,
        dst: Reg::R3,
        src: Operand::Imm(TCP_BYTES as i32),
        off: hash.len() as i16 + 3,
    }];
    insns.extend(hash);
    insns.extend(address(Reg::R0, environment));
    insns.push(store(Reg::R0, COOKIE, Operand::Reg(Reg::R4)));
    insns.push(call);
    let mut replaced = address(Reg::R1, environment).to_vec();
    replaced.push(load(Reg::R2, Reg::R1, COOKIE));
    replaced.push(alu(AluOp::Rsh, Reg::R0, Operand::Imm(32)));
    replaced.push(alu(AluOp::Lsh, Reg::R0, Operand::Imm(32)));
    replaced.push(alu(AluOp::Or, Reg::R0, Operand::Reg(Reg::R2)));
    insns.push(Insn::JumpIf {
        cond: Condition::SignedLt,
        width: Width::W64,
        dst: Reg::R0,
        src: Operand::Imm(0),
        off: replaced.len() as i16,
    });
    insns.extend(replaced);
    insns
}

/// Whether a header acknowledges our SYN cookie, in place of the call that asks for Linux's.
fn checked_cookie(version: IpVersion) -> Vec<Insn> {
    const REFUSED: i32 = -13;
    let mut insns = cookie(version);
    insns.push(Insn::Load {
        size: Size::W,
        signed: false,
        dst: Reg::R5,
        base: Reg::R2,
        off: 8,
    });
    insns.push(big_endian(Reg::R5));
    let result = |value| Insn::Mov {
        width: Width::W64,
        dst: Reg::R0,
        src: Operand::Imm(value),
    };
    insns.push(result(0));
    insns.push(Insn::JumpIf {
        cond: Condition::Eq,
        width: Width::W64,
        dst: Reg::R4,
        src: Operand::Reg(Reg::R5),
        off: 1,
    });
    insns.push(result(REFUSED));
    insns
}

fn big_endian(dst: Reg) -> Insn {
    Insn::ByteSwap {
        order: ByteOrder::Big,
        bits: SwapWidth::B32,
        dst,
    }
}

/// What a metadata kernel function leaves where `r2` and `r3` point: test-run has no device that
/// could say.
fn metadata(kfunc: Kfunc, environment: u32) -> Option<Vec<Insn>> {
    const NO_DATA: i32 = -61;
    let fetch = |off| load(Reg::R4, Reg::R0, off);
    let put = |size, base| Insn::Store {
        size,
        base,
        off: 0,
        src: Operand::Reg(Reg::R4),
    };
    let result = |value| Insn::Mov {
        width: Width::W32,
        dst: Reg::R0,
        src: Operand::Imm(value),
    };
    let rest = match kfunc {
        Kfunc::XdpMetadataRxHash => vec![
            fetch(RX_HASH),
            put(Size::W, Reg::R2),
            fetch(RX_HASH_TYPE),
            put(Size::W, Reg::R3),
            result(0),
        ],
        Kfunc::XdpMetadataRxTimestamp => {
            vec![fetch(RX_TIME), put(Size::DW, Reg::R2), result(0)]
        }
        Kfunc::XdpMetadataRxVlanTag => vec![
            fetch(RX_VLAN),
            result(NO_DATA),
            Insn::JumpIf {
                cond: Condition::Eq,
                width: Width::W64,
                dst: Reg::R4,
                src: Operand::Imm(0),
                off: 4,
            },
            put(Size::H, Reg::R2),
            alu(AluOp::Rsh, Reg::R4, Operand::Imm(16)),
            put(Size::H, Reg::R3),
            result(0),
        ],
        _ => return None,
    };
    Some([&address(Reg::R0, environment)[..], &rest].concat())
}

/// Whether a program asks its device, which only programs that are bound to one may.
pub(super) fn asks_device(insns: &[Insn]) -> bool {
    insns.iter().any(|insn| {
        matches!(insn, Insn::Call { target: CallTarget::Kernel(kfunc) }
            if kfunc.prototype().of_device)
    })
}

/// A call with a record of its arguments before it and of its result behind it. Before it only
/// `r0`, `r4` and `r5` are free.
fn observed(environment: u32, call: Insn, arguments: [(i16, Operand); 3]) -> Vec<Insn> {
    let mut insns = address(Reg::R0, environment).to_vec();
    insns.push(load(Reg::R4, Reg::R0, CALLS));
    insns.extend(record(Reg::R0, Reg::R4));
    insns.extend(arguments.map(|(field, value)| store(Reg::R0, RECORDS + field, value)));
    insns.push(call);
    insns.extend(address(Reg::R1, environment));
    insns.push(load(Reg::R2, Reg::R1, CALLS));
    insns.push(mov(Reg::R3, Reg::R2));
    insns.push(alu(AluOp::Add, Reg::R3, Operand::Imm(1)));
    insns.push(store(Reg::R1, CALLS, Operand::Reg(Reg::R3)));
    insns.extend(record(Reg::R1, Reg::R2));
    insns.push(store(
        Reg::R1,
        RECORDS + RECORD_RESULT,
        Operand::Reg(Reg::R0),
    ));
    insns
}

/// A call of `perf_event_output` with a record of how long the event is, which the kernel pads.
/// Before the call only `r0` is free.
fn measured(environment: u32, call: Insn) -> Vec<Insn> {
    let mut insns = address(Reg::R0, environment).to_vec();
    insns.push(store(Reg::R0, EVENT_MAP, Operand::Reg(Reg::R2)));
    insns.push(store(Reg::R0, EVENT_FLAGS, Operand::Reg(Reg::R3)));
    insns.push(store(Reg::R0, EVENT_BYTES, Operand::Reg(Reg::R5)));
    insns.push(call);
    let mut sent = address(Reg::R1, environment).to_vec();
    sent.push(load(Reg::R2, Reg::R1, EVENTS));
    sent.push(mov(Reg::R3, Reg::R2));
    sent.push(alu(AluOp::Add, Reg::R3, Operand::Imm(1)));
    sent.push(store(Reg::R1, EVENTS, Operand::Reg(Reg::R3)));
    // Packet bytes follow the data.
    sent.push(load(Reg::R3, Reg::R1, EVENT_FLAGS));
    sent.push(alu(AluOp::Rsh, Reg::R3, Operand::Imm(32)));
    sent.push(load(Reg::R4, Reg::R1, EVENT_BYTES));
    sent.push(alu(AluOp::Add, Reg::R3, Operand::Reg(Reg::R4)));
    sent.push(load(Reg::R4, Reg::R1, EVENT_MAP));
    sent.push(alu(AluOp::And, Reg::R2, Operand::Imm(EVENT_COUNT - 1)));
    sent.push(alu(AluOp::Lsh, Reg::R2, Operand::Imm(EVENT_SHIFT)));
    sent.push(alu(AluOp::Add, Reg::R1, Operand::Reg(Reg::R2)));
    sent.push(store(Reg::R1, EVENT_RECORDS, Operand::Reg(Reg::R4)));
    sent.push(store(Reg::R1, EVENT_RECORDS + 8, Operand::Reg(Reg::R3)));
    insns.push(Insn::JumpIf {
        cond: Condition::Ne,
        width: Width::W64,
        dst: Reg::R0,
        src: Operand::Imm(0),
        off: sent.len() as i16,
    });
    insns.extend(sent);
    insns
}

/// Moves `base` from the start of the map to the record with number `index` less [`RECORDS`].
fn record(base: Reg, index: Reg) -> [Insn; 3] {
    [
        alu(AluOp::And, index, Operand::Imm(RECORD_COUNT - 1)),
        alu(AluOp::Lsh, index, Operand::Imm(RECORD_SHIFT)),
        alu(AluOp::Add, base, Operand::Reg(index)),
    ]
}

fn address(dst: Reg, map: u32) -> [Insn; 2] {
    let value = Imm64::MapValue { map, offset: 0 };
    [Insn::LoadImm64 { dst, value }, Insn::WideTail]
}

fn wide_number(dst: Reg, value: u64) -> [Insn; 2] {
    let value = Imm64::Number(value);
    [Insn::LoadImm64 { dst, value }, Insn::WideTail]
}

fn load(dst: Reg, base: Reg, off: i16) -> Insn {
    Insn::Load {
        size: Size::DW,
        signed: false,
        dst,
        base,
        off,
    }
}

fn store(base: Reg, off: i16, src: Operand) -> Insn {
    Insn::Store {
        size: Size::DW,
        base,
        off,
        src,
    }
}

fn alu(op: AluOp, dst: Reg, src: Operand) -> Insn {
    Insn::Alu {
        op,
        width: Width::W64,
        dst,
        src,
    }
}

fn mov(dst: Reg, src: Reg) -> Insn {
    Insn::Mov {
        width: Width::W64,
        dst,
        src: Operand::Reg(src),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use iom_core::isa::assemble;
    use proptest::prelude::*;

    fn insns(text: &str) -> Vec<Insn> {
        let module = assemble(text, "test.bpf").unwrap_or_else(|error| panic!("{error}\n{text}"));
        module.programs[0].insns.clone()
    }

    /// Shows the rewritten program, each instruction with its slot and the original one.
    fn check(text: &str, expected: &Expect) {
        let rewritten = rewrite(&insns(text), 9);
        let shown: Vec<String> = (0..)
            .zip(&rewritten.insns)
            .filter(|(_, insn)| **insn != Insn::WideTail)
            .map(|(slot, insn)| format!("{slot:<3} {:<2} {insn}\n", rewritten.original(slot)))
            .collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn time_and_redirects() {
        check(
            "if r1 == 0 goto out
             call ktime_get_ns
             r1 = map[0] ll
             call redirect_map
             again: call redirect
             if r0 == 4 goto again
             call subprogram
             out: exit
             subprogram: r1 = func subprogram ll
             exit",
            &expect![[r"
                0   0  if r1 == 0 goto +47
                1   1  r0 = map[9] + 0 ll
                3   1  r0 = *(u64 *)(r0 + 0)
                4   2  r1 = map[0] ll
                6   4  r0 = map[9] + 0 ll
                8   4  r4 = *(u64 *)(r0 + 24)
                9   4  r4 &= 63
                10  4  r4 <<= 5
                11  4  r0 += r4
                12  4  *(u64 *)(r0 + 32) = r1
                13  4  *(u64 *)(r0 + 40) = r2
                14  4  *(u64 *)(r0 + 48) = r3
                15  4  call bpf_redirect_map
                16  4  r1 = map[9] + 0 ll
                18  4  r2 = *(u64 *)(r1 + 24)
                19  4  r3 = r2
                20  4  r3 += 1
                21  4  *(u64 *)(r1 + 24) = r3
                22  4  r2 &= 63
                23  4  r2 <<= 5
                24  4  r1 += r2
                25  4  *(u64 *)(r1 + 56) = r0
                26  5  r0 = map[9] + 0 ll
                28  5  r4 = *(u64 *)(r0 + 24)
                29  5  r4 &= 63
                30  5  r4 <<= 5
                31  5  r0 += r4
                32  5  *(u64 *)(r0 + 32) = 0
                33  5  *(u64 *)(r0 + 40) = r1
                34  5  *(u64 *)(r0 + 48) = r2
                35  5  call bpf_redirect
                36  5  r1 = map[9] + 0 ll
                38  5  r2 = *(u64 *)(r1 + 24)
                39  5  r3 = r2
                40  5  r3 += 1
                41  5  *(u64 *)(r1 + 24) = r3
                42  5  r2 &= 63
                43  5  r2 <<= 5
                44  5  r1 += r2
                45  5  *(u64 *)(r1 + 56) = r0
                46  6  if r0 == 4 goto -21
                47  7  call pc+1
                48  8  exit
                49  9  r1 = func pc-1 ll
                51  11 exit
            "]],
        );
    }

    #[test]
    fn random_numbers() {
        check(
            "call get_prandom_u32\nexit",
            &expect![[r"
                0   0  r1 = map[9] + 0 ll
                2   0  r0 = *(u64 *)(r1 + 16)
                3   0  r2 = 0x9e3779b97f4a7c15 ll
                5   0  r0 += r2
                6   0  *(u64 *)(r1 + 16) = r0
                7   0  r1 = r0
                8   0  r1 >>= 30
                9   0  r0 ^= r1
                10  0  r1 = 0xbf58476d1ce4e5b9 ll
                12  0  r0 *= r1
                13  0  r1 = r0
                14  0  r1 >>= 27
                15  0  r0 ^= r1
                16  0  r1 = 0x94d049bb133111eb ll
                18  0  r0 *= r1
                19  0  r1 = r0
                20  0  r1 >>= 31
                21  0  r0 ^= r1
                22  0  w0 = w0
                23  1  exit
            "]],
        );
    }

    #[test]
    fn branches_beyond_16_bits_become_long() {
        let calls = "call get_prandom_u32\n".repeat(2000);
        let text = format!("if r1 == 0 goto out\ngoto out\n{calls}out: exit");
        let rewritten = rewrite(&insns(&text), 0);
        let target = rewritten.starts[2002] as i32;
        let shown: Vec<String> = rewritten.insns[..4].iter().map(Insn::to_string).collect();
        let long = |slot: i32| format!("gotol +{}", target - slot - 1);
        assert_eq!(
            shown,
            [
                "if r1 == 0 goto +1".to_owned(),
                "goto +1".to_owned(),
                long(2),
                long(3)
            ]
        );
    }

    #[test]
    fn other_programs_stay_as_they_are() {
        let insns = insns("r1 = 5 ll\ncall map_lookup_elem\nif r0 == 0 goto out\nout: exit");
        assert_eq!(rewrite(&insns, 0), Rewritten::plain(&insns));
    }

    proptest! {
        /// Wherever a jump went, it goes to the start of what stands there now.
        #[test]
        fn jumps_reach_the_same_instructions(
            kinds in proptest::collection::vec((0..6u8, any::<prop::sample::Index>()), 1..200),
        ) {
            let insns: Vec<Insn> = kinds
                .iter()
                .enumerate()
                .map(|(slot, (kind, target))| {
                    let off = target.index(kinds.len()) as i32 - slot as i32 - 1;
                    match kind {
                        0 => Insn::Jump { off, long: false },
                        1 => Insn::MayGoto { off: off as i16 },
                        2 => Insn::Call { target: CallTarget::Local(off) },
                        3 => Insn::Call { target: CallTarget::Helper(GET_PRANDOM_U32) },
                        4 => Insn::Call { target: CallTarget::Helper(REDIRECT) },
                        _ => Insn::Exit,
                    }
                })
                .collect();
            let rewritten = rewrite(&insns, 0);
            prop_assert_eq!(*rewritten.starts.last().unwrap() as usize, rewritten.insns.len());
            for (slot, insn) in insns.iter().enumerate() {
                let start = rewritten.starts[slot] as usize;
                prop_assert_eq!(rewritten.original(start), slot);
                let target = |insn: &Insn, slot| insn.jump_target(slot).or(insn.function_target(slot));
                if let Some(before) = target(insn, slot) {
                    let after = target(&rewritten.insns[start], start);
                    prop_assert_eq!(after, Some(i64::from(rewritten.starts[before as usize])));
                }
            }
        }
    }
}
