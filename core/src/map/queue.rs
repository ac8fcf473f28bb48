//! Queues and stacks: values in order, without keys (`kernel/bpf/queue_stack_maps.c`).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{EXIST, Errno, MapSpec, MapType, NOEXIST};

/// Storage of a queue or a stack.
#[derive(Debug)]
pub(super) struct QueueStack {
    /// Values leave where they came in.
    stack: bool,
    max_entries: usize,
    /// The oldest first.
    values: Mutex<VecDeque<Vec<u8>>>,
}

impl QueueStack {
    /// An empty queue or stack.
    pub(super) fn new(spec: &MapSpec) -> Self {
        Self {
            stack: spec.map_type == MapType::Stack,
            max_entries: spec.max_entries as usize,
            values: Mutex::default(),
        }
    }

    /// Adds a value; where there is no room, under `BPF_EXIST` in the oldest one's place.
    pub(super) fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & NOEXIST != 0 || flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let mut values = self.lock();
        if values.len() >= self.max_entries {
            if flags & EXIST == 0 {
                return Err(Errno::E2BIG);
            }
            values.pop_front();
        }
        values.push_back(value.to_vec());
        Ok(())
    }

    /// Takes the next value out.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        let mut values = self.lock();
        if self.stack {
            values.pop_back()
        } else {
            values.pop_front()
        }
    }

    /// The next value, which stays.
    pub(super) fn peek(&self) -> Option<Vec<u8>> {
        let values = self.lock();
        let next = if self.stack {
            values.back()
        } else {
            values.front()
        };
        next.cloned()
    }

    /// Every value, the oldest first: pushed in this order they make the same queue or stack.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let values = self.lock();
        let entry = |value: &Vec<u8>| (Vec::new(), vec![value.clone()]);
        values.iter().map(entry).collect()
    }

    /// Takes all values out.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(map_type: MapType) -> QueueStack {
        let map = QueueStack::new(&MapSpec::new("q", map_type, 0, 1, 3));
        for value in 1..=3 {
            map.push(&[value], 0).unwrap();
        }
        assert_eq!(map.push(&[4], 0), Err(Errno::E2BIG));
        map.push(&[4], EXIST).unwrap();
        map
    }

    #[test]
    fn a_full_one_gives_up_its_oldest_value() {
        let queue = filled(MapType::Queue);
        assert_eq!(queue.peek(), Some(vec![2]));
        let values: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(values, [[2], [3], [4]]);
        let stack = filled(MapType::Stack);
        assert_eq!(stack.peek(), Some(vec![4]));
        let values: Vec<_> = std::iter::from_fn(|| stack.pop()).collect();
        assert_eq!(values, [[4], [3], [2]]);
    }

    #[test]
    fn flags_are_checked_first() {
        let queue = filled(MapType::Queue);
        for flags in [1, 3, 4, 5, 1 << 40] {
            assert_eq!(queue.push(&[0], flags), Err(Errno::EINVAL));
        }
    }
}
