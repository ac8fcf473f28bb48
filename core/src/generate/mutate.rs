//! Mutations: a few fields or instructions of an existing program are changed.

use super::Candidate;
use super::random::Random;
use crate::isa::{RawInsn, SLOT_LEN, decode};

/// Changes one to three things. What is no instruction any more says nothing of a verifier, so most
/// such changes are tried again.
pub fn mutate(candidate: &mut Candidate, random: &mut Random) {
    const ATTEMPTS: usize = 8;
    let original = candidate.bytes.clone();
    for _ in 0..ATTEMPTS {
        change(candidate, random);
        if decode(&candidate.bytes).is_ok() || random.chance(10) {
            return;
        }
        candidate.bytes.clone_from(&original);
    }
}

fn change(candidate: &mut Candidate, random: &mut Random) {
    let (slots, _) = candidate.bytes.as_chunks::<SLOT_LEN>();
    let mut slots: Vec<_> = slots
        .iter()
        .map(|slot| RawInsn::from_bytes(*slot))
        .collect();
    if slots.is_empty() {
        return;
    }
    for _ in 0..=random.below(3) {
        if random.chance(75) || slots.len() < 3 {
            let slot = random.below(slots.len());
            change_field(&mut slots[slot], random);
        } else {
            change_order(&mut slots, random);
        }
    }
    candidate.bytes = slots.iter().flat_map(|slot| slot.to_bytes()).collect();
}

fn change_field(insn: &mut RawInsn, random: &mut Random) {
    const STEPS: [i16; 8] = [-8, -4, -1, 1, 2, 4, 8, 16];
    let step = *random.pick(&STEPS);
    match random.below(12) {
        0 => insn.opcode = random.number() as u8,
        // The operation, the size or the class only.
        1 => insn.opcode ^= 0x10 << random.below(4),
        2 => insn.opcode ^= 0x08 << random.below(2),
        3 => insn.opcode ^= 1 << random.below(3),
        4 | 5 => insn.dst = random.below(11) as u8,
        6 | 7 => insn.src = random.below(11) as u8,
        8 => insn.off = insn.off.wrapping_add(step),
        9 => insn.off = random.between(-24, 24) as i16,
        10 => insn.imm = insn.imm.wrapping_add(step.into()),
        _ => insn.imm = random.immediate(),
    }
}

/// Removes, repeats, swaps or copies instructions; jumps across them are left as they are.
fn change_order(slots: &mut Vec<RawInsn>, random: &mut Random) {
    let (one, two) = (random.below(slots.len()), random.below(slots.len()));
    match random.below(4) {
        0 => {
            slots.remove(one);
        }
        1 => slots.insert(one, slots[one]),
        2 => slots.swap(one, two),
        _ => slots[one] = slots[two],
    }
}
