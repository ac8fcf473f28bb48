//! Helpers that call a function of the program again and again: `bpf_loop` and
//! `bpf_for_each_map_elem`. The loop of the machine makes the calls; here is what comes next.

use iom_core::isa::Reg;
use iom_core::map::Map;

use super::address::{self, Kind};
use super::execute::{Machine, Registers};

/// A helper that is calling a function.
#[derive(Debug)]
pub(super) struct Repeat<'m> {
    /// First slot of the function.
    pub(super) function: u32,
    /// What the program hands to each call.
    pub(super) context: u64,
    /// Calls so far, which is what the helper returns.
    pub(super) done: u64,
    /// Over what it goes.
    pub(super) over: Over<'m>,
}

/// Over what a helper goes.
#[derive(Debug)]
pub(super) enum Over<'m> {
    /// Numbers from 0 to below this.
    Numbers(u64),
    /// The entries of a map that were there at the start. Linux goes through a hash by buckets,
    /// in an order that differs from boot to boot; here it is the order of the keys.
    Entries {
        map: &'m Map,
        index: u32,
        keys: std::vec::IntoIter<Vec<u8>>,
    },
}

impl<'m> Machine<'m> {
    /// Puts the arguments of the next call at this depth into registers; `false` if there is none.
    pub(super) fn next_call(
        &mut self,
        repeat: &mut Repeat<'m>,
        depth: usize,
        registers: &mut Registers,
    ) -> bool {
        let arguments = match &mut repeat.over {
            Over::Numbers(end) if repeat.done < *end => [repeat.done, repeat.context, 0, 0],
            Over::Numbers(_) => return false,
            Over::Entries { map, index, keys } => {
                // An entry may have been deleted since.
                let entry = keys.find_map(|key| Some((map.entry(self.queue, &key)?, key)));
                let Some((value, key)) = entry else {
                    return false;
                };
                [
                    address::address(Kind::Map, *index, 0),
                    self.memory.key_address(depth, key),
                    self.memory.value_address(value, map),
                    repeat.context,
                ]
            }
        };
        repeat.done += 1;
        let into = [Reg::R1, Reg::R2, Reg::R3, Reg::R4];
        for (reg, argument) in into.into_iter().zip(arguments) {
            registers.set(reg, argument);
        }
        registers.set(Reg::R5, 0);
        true
    }
}
