//! What is outside the micro-engine: memory with 40-bit addresses, where map values are, and the
//! firmware's helper routines.

use super::state::{Bank, State};
use crate::cycles::Wait;

/// There is nothing at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at {address:#x} are outside of every region")]
pub struct OutOfBounds {
    /// First byte.
    pub address: u64,
    /// How many bytes.
    pub len: usize,
}

/// Why a helper cannot do its work; a result that the program should see is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareFault {
    /// The program passed a table id that no map has.
    #[error("there is no map with table id {table}")]
    UnknownTable {
        /// The table id.
        table: u32,
    },
    /// The program passed a pointer to nothing.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

/// Width of a counter in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterWidth {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// Memory with 40-bit byte addresses. Values are in the byte order that eBPF programs see.
///
/// On a card, counters are big-endian words, low word first, and the driver swaps them whenever
/// the host reads or writes the map. A word of a map value is either read or added to, never both,
/// so an implementation may keep counters in the host's order and need no swap.
pub trait Memory {
    /// Reads bytes. A read starts inside an object but may end up to 3 bytes behind it, because
    /// code for short loads reads whole words; those bytes may have any value.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), OutOfBounds>;

    /// Writes bytes.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds>;

    /// Adds to a counter, atomically.
    fn add(&mut self, address: u64, addend: u64, width: CounterWidth) -> Result<(), OutOfBounds>;
}

/// A helper that is a firmware routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// `bpf_map_lookup_elem`: the result is 0 or a [`map_pointer`].
    MapLookup,
    /// `bpf_map_update_elem`
    MapUpdate,
    /// `bpf_map_delete_elem`
    MapDelete,
    /// `bpf_perf_event_output`
    PerfEventOutput,
}

impl Helper {
    /// What a call waits for.
    pub const fn wait(self) -> Wait {
        match self {
            Self::MapLookup => Wait::Lookup,
            Self::MapUpdate => Wait::Update,
            Self::MapDelete => Wait::Delete,
            Self::PerfEventOutput => Wait::Event,
        }
    }
}

/// The firmware around the program.
pub trait Firmware: Memory {
    /// Executes a helper and returns R0.
    fn call(&mut self, helper: Helper, call: &HelperCall<'_>) -> Result<u64, FirmwareFault>;

    /// The next pseudo-random number.
    fn random(&mut self) -> u32;
}

/// What a helper is called with.
#[derive(Clone, Copy, Debug)]
pub struct HelperCall<'a> {
    pub(super) state: &'a State,
    pub(super) packet: &'a [u8],
}

impl HelperCall<'_> {
    /// Table id of the map, for the map helpers.
    pub fn table(&self) -> u32 {
        self.state.gpr(Bank::A, 0)
    }

    /// Where the data of `bpf_perf_event_output` is: 4 map value, 6 stack.
    pub fn data_type(&self) -> u32 {
        self.state.gpr(Bank::A, 1)
    }

    /// Argument 1 to 5 as the program passed it.
    ///
    /// # Panics
    /// For any other number.
    pub fn argument(&self, number: u8) -> u64 {
        assert!((1..=5).contains(&number), "arguments are R1 to R5");
        let low = self.state.gpr(Bank::A, 2 * number);
        let high = self.state.gpr(Bank::A, 2 * number + 1);
        u64::from(high) << 32 | u64::from(low)
    }

    /// The map key, which local-memory index 0 points to.
    pub fn key(&self, bytes: &mut [u8]) {
        self.local_memory(self.state.lm_address(0), bytes);
    }

    /// The value of an update, which local-memory index 2 points to.
    pub fn value(&self, bytes: &mut [u8]) {
        self.local_memory(self.state.lm_address(2), bytes);
    }

    /// Bytes of local memory, where the stack is, from a byte address. Addresses wrap.
    pub fn local_memory(&self, address: u32, bytes: &mut [u8]) {
        for (offset, byte) in (0..).zip(bytes) {
            let address = address.wrapping_add(offset);
            let word = self.state.local_memory(address / 4);
            *byte = word.to_le_bytes()[(address % 4) as usize];
        }
    }

    /// The packet as it is now.
    pub const fn packet(&self) -> &[u8] {
        self.packet
    }
}

/// R0 for the map value at a 40-bit address. Code adds offsets to the low word and uses
/// `(high << 8) + low` as the address.
pub const fn map_pointer(address: u64) -> u64 {
    let high = (address >> 32 & 0xff) << 24;
    high << 32 | address & 0xffff_ffff
}

/// The 40-bit address of a map value pointer.
pub const fn map_address(pointer: u64) -> u64 {
    ((pointer >> 32) << 8).wrapping_add(pointer & 0xffff_ffff) & ADDRESS_MASK
}

/// 40 bits.
pub(super) const ADDRESS_MASK: u64 = (1 << 40) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_pointers_carry_the_address() {
        for address in [4, 0x23_4000_0000, 0xff_ffff_fffc] {
            assert_eq!(map_address(map_pointer(address)), address);
        }
        let pointer = map_pointer(0x23_4000_0000) + 12;
        assert_eq!(map_address(pointer), 0x23_4000_000c);
    }
}
