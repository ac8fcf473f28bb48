//! The number iterator, `struct bpf_iter_num`: eight bytes of the program's stack.

use crate::map::Errno;

/// Numbers from one to below another. Before the first call of [`Self::advance`] it stands one below
/// its start, and afterwards at the number that the program sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberIterator {
    current: i32,
    end: i32,
}

impl NumberIterator {
    /// Its size on the stack.
    pub const BYTES: usize = 8;
    /// Numbers that one iterator goes through at most: `BPF_MAX_LOOPS`.
    const NUMBERS_MAX: i64 = 8 << 20;

    /// An iterator from `start` to below `end`. With an error, the iterator has no numbers.
    pub fn new(start: i32, end: i32) -> (Self, Result<(), Errno>) {
        let numbers = i64::from(end) - i64::from(start);
        if numbers < 0 {
            return (Self::default(), Err(Errno::EINVAL));
        }
        if numbers > Self::NUMBERS_MAX {
            return (Self::default(), Err(Errno::E2BIG));
        }
        let current = start.wrapping_sub(1);
        (Self { current, end }, Ok(()))
    }

    /// Goes to the next number; `false` if there is none, and then the iterator is empty.
    pub fn advance(&mut self) -> bool {
        let next = i64::from(self.current.wrapping_add(1));
        if next >= i64::from(self.end) {
            *self = Self::default();
            return false;
        }
        self.current = next as i32;
        true
    }

    /// The iterator as it stands on the stack: the number first.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.current.to_le_bytes());
        bytes[4..].copy_from_slice(&self.end.to_le_bytes());
        bytes
    }

    /// The iterator that stands on the stack.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            current: i32::from_le_bytes([a, b, c, d]),
            end: i32::from_le_bytes([e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_order_and_end() {
        let (mut iterator, made) = NumberIterator::new(-1, 2);
        assert_eq!(made, Ok(()));
        let mut seen = Vec::new();
        while iterator.advance() {
            iterator = NumberIterator::from_bytes(iterator.to_bytes());
            seen.push(iterator.current);
        }
        assert_eq!(seen, [-1, 0, 1]);
        assert!(!iterator.advance());
    }

    #[test]
    fn borders() {
        let made = |start, end| {
            let (mut iterator, made) = NumberIterator::new(start, end);
            (made, iterator.advance())
        };
        assert_eq!(made(5, 5), (Ok(()), false));
        assert_eq!(made(6, 5), (Err(Errno::EINVAL), false));
        assert_eq!(made(0, 8 << 20), (Ok(()), true));
        assert_eq!(made(0, (8 << 20) + 1), (Err(Errno::E2BIG), false));
        assert_eq!(made(i32::MIN, i32::MAX), (Err(Errno::E2BIG), false));
        assert_eq!(made(i32::MIN, i32::MIN + 1), (Ok(()), true));
    }
}
