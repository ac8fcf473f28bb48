//! Dynptrs: memory whose size programs learn while they run, as 16 bytes of their stack
//! (`struct bpf_dynptr_kern`). Where the memory is, is the backend's affair.

use crate::map::Errno;

/// What a dynptr points to (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DynptrKind {
    /// Memory of the program: a map value.
    Local,
    /// A reserved ring-buffer record.
    Ringbuf,
    /// The packet of a socket buffer.
    Skb,
    /// The packet of an XDP program.
    Xdp,
}

/// A dynptr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dynptr {
    /// Where its memory starts; 0 for the null dynptr, which has none.
    pub data: u64,
    /// What is there.
    pub kind: DynptrKind,
    /// The program may not write there.
    pub read_only: bool,
    /// Bytes in front of the part that it shows.
    offset: u32,
    /// Bytes that it shows.
    size: u32,
}

const SIZE_MASK: u32 = Dynptr::SIZE_MAX;
const KIND_SHIFT: u32 = 28;
const READ_ONLY: u32 = 1 << 31;

impl Dynptr {
    /// Its size on the stack.
    pub const BYTES: usize = 16;
    /// Bytes that a dynptr shows at most: `DYNPTR_MAX_SIZE`.
    pub const SIZE_MAX: u32 = (1 << 24) - 1;
    /// No memory.
    pub const NULL: Self = Self {
        data: 0,
        kind: DynptrKind::Local,
        read_only: false,
        offset: 0,
        size: 0,
    };

    /// A dynptr to memory that the program may write. There are no flags yet.
    pub fn new(data: u64, kind: DynptrKind, size: u32, flags: u64) -> Result<Self, Errno> {
        if size > Self::SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            data,
            kind,
            size,
            ..Self::NULL
        })
    }

    /// Whether it has no memory.
    pub const fn is_null(&self) -> bool {
        self.data == 0
    }

    /// How many bytes it shows.
    pub fn size(&self) -> Result<u32, Errno> {
        if self.is_null() {
            return Err(Errno::EINVAL);
        }
        Ok(self.size)
    }

    /// Where `len` bytes at an offset in what it shows start in its memory.
    pub fn part(&self, offset: u32, len: u32) -> Result<u32, Errno> {
        let size = self.size()?;
        if len > size || offset > size - len {
            return Err(Errno::E2BIG);
        }
        Ok(self.offset + offset)
    }

    /// Shows only the bytes from `start` to `end` of what it showed (`bpf_dynptr_adjust`).
    pub fn adjust(&mut self, start: u32, end: u32) -> Result<(), Errno> {
        if self.is_null() || start > end {
            return Err(Errno::EINVAL);
        }
        if end > self.size {
            return Err(Errno::ERANGE);
        }
        self.offset += start;
        self.size = end - start;
        Ok(())
    }

    /// The dynptr as it stands on the stack.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let kind = match self.kind {
            DynptrKind::Local => 1,
            DynptrKind::Ringbuf => 2,
            DynptrKind::Skb => 3,
            DynptrKind::Xdp => 4,
        };
        let read_only = if self.read_only { READ_ONLY } else { 0 };
        let size = match self.data {
            0 => 0,
            _ => self.size | kind << KIND_SHIFT | read_only,
        };
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.data.to_le_bytes());
        bytes[8..12].copy_from_slice(&size.to_le_bytes());
        bytes[12..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// The dynptr that stands on the stack; bytes that are none give the null dynptr. A program
    /// that was not verified may have made them up, so where they point proves nothing.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        let (data, size, offset) = (bits as u64, (bits >> 64) as u32, (bits >> 96) as u32);
        let kind = match size >> KIND_SHIFT & 7 {
            1 => DynptrKind::Local,
            2 => DynptrKind::Ringbuf,
            3 => DynptrKind::Skb,
            4 => DynptrKind::Xdp,
            _ => return Self::NULL,
        };
        Self {
            data,
            kind,
            read_only: size & READ_ONLY != 0,
            offset: offset & SIZE_MASK,
            size: size & SIZE_MASK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_and_adjustments_stay_inside() {
        let mut dynptr = Dynptr::new(7, DynptrKind::Local, 10, 0).unwrap();
        assert_eq!(dynptr.part(0, 10), Ok(0));
        assert_eq!(dynptr.part(10, 0), Ok(10));
        assert_eq!(dynptr.part(1, 10), Err(Errno::E2BIG));
        assert_eq!(dynptr.part(u32::MAX, 1), Err(Errno::E2BIG));
        assert_eq!(dynptr.adjust(3, 2), Err(Errno::EINVAL));
        assert_eq!(dynptr.adjust(3, 11), Err(Errno::ERANGE));
        assert_eq!(dynptr.adjust(3, 8), Ok(()));
        assert_eq!((dynptr.size(), dynptr.part(1, 4)), (Ok(5), Ok(4)));
        assert_eq!(Dynptr::from_bytes(dynptr.to_bytes()), dynptr);
    }

    #[test]
    fn the_null_dynptr_has_nothing() {
        let mut null = Dynptr::from_bytes(Dynptr::NULL.to_bytes());
        assert_eq!(null, Dynptr::NULL);
        assert_eq!(null.size(), Err(Errno::EINVAL));
        assert_eq!(null.part(0, 0), Err(Errno::EINVAL));
        assert_eq!(null.adjust(0, 0), Err(Errno::EINVAL));
        assert_eq!(
            Dynptr::new(1, DynptrKind::Xdp, 1 << 24, 0),
            Err(Errno::E2BIG)
        );
        assert_eq!(Dynptr::new(1, DynptrKind::Xdp, 1, 1), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_dynptr(bytes: [u8; 16], offset: u32, len: u32) {
            let mut dynptr = Dynptr::from_bytes(bytes);
            let part = dynptr.part(offset, len);
            prop_assert!(part.is_err() || part.unwrap() >= offset);
            prop_assert_eq!(Dynptr::from_bytes(dynptr.to_bytes()), dynptr);
            let _ = dynptr.adjust(offset, len);
        }
    }
}
