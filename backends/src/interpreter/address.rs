//! Guest addresses: a region's kind and number in the upper bits, an offset in the lower ones.
//! No host address is ever a guest address, and no arithmetic of a program makes a valid address
//! of another kind by accident: offset 0 lies far from both ends of its 32 bits.

/// Kinds of regions: the top byte of an address. 0 is none, so that small numbers are no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The program's context.
    Context = 1,
    /// Packet memory; offsets count from the start of the frame's memory.
    Packet = 2,
    /// Stack of the function at the call depth that the number says.
    Stack = 3,
    /// A map value, by number in [`super::memory::Memory`].
    Value = 4,
    /// A map itself, by index in the module: for helpers only.
    Map = 5,
    /// A reserved ring-buffer record.
    Record = 6,
    /// Memory of a `raw` program.
    Raw = 7,
    /// A function of the program, by slot: for callbacks only.
    Function = 8,
    /// The key of a map's entry that the callback at the call depth that the number says looks at.
    Key = 9,
    /// A fragment of the packet, by number.
    Fragment = 10,
}

/// Where offset 0 lies in the lower 32 bits.
const BIAS: u32 = 0x4000_0000;
const KIND_SHIFT: u32 = 56;
const NUMBER_SHIFT: u32 = 32;
const NUMBER_MASK: u64 = 0x00ff_ffff;

/// Regions of a kind at most.
pub(super) const NUMBERS: usize = 1 << 24;

/// The address of an offset in a region.
#[inline]
pub(super) const fn address(kind: Kind, number: u32, offset: u32) -> u64 {
    (kind as u64) << KIND_SHIFT
        | (number as u64 & NUMBER_MASK) << NUMBER_SHIFT
        | BIAS.wrapping_add(offset) as u64
}

/// The kind of region that an address lies in.
#[inline]
pub(super) const fn kind(address: u64) -> Option<Kind> {
    match (address >> KIND_SHIFT) as u8 {
        1 => Some(Kind::Context),
        2 => Some(Kind::Packet),
        3 => Some(Kind::Stack),
        4 => Some(Kind::Value),
        5 => Some(Kind::Map),
        6 => Some(Kind::Record),
        7 => Some(Kind::Raw),
        8 => Some(Kind::Function),
        9 => Some(Kind::Key),
        10 => Some(Kind::Fragment),
        _ => None,
    }
}

/// The region's number.
#[inline]
pub(super) const fn number(address: u64) -> usize {
    (address >> NUMBER_SHIFT & NUMBER_MASK) as usize
}

/// The offset for bounds checks: one before the region is a large number.
#[inline]
pub(super) const fn offset(address: u64) -> usize {
    (address as u32).wrapping_sub(BIAS) as usize
}

/// The offset for messages: one before the region is -1.
pub(super) const fn signed_offset(address: u64) -> i64 {
    address as u32 as i64 - BIAS as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let place = address(Kind::Value, 77, 12);
        assert_eq!(kind(place), Some(Kind::Value));
        assert_eq!((number(place), offset(place)), (77, 12));
        let before = place.wrapping_sub(13);
        assert_eq!((kind(before), number(before)), (Some(Kind::Value), 77));
        assert_eq!(signed_offset(before), -1);
        assert!(offset(before) > 1 << 31);
        assert_eq!(kind(0), None);
        assert_eq!(kind(u64::MAX), None);
    }
}
