//! Values with a spin lock: updates under the lock (`BPF_F_LOCK`), and plain ones that leave the
//! lock alone (`copy_map_value_locked`, `copy_map_value`).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::Errno;
use crate::memory::SharedBytes;

/// Bytes of a `struct bpf_spin_lock`.
const LOCK_BYTES: usize = 4;
/// How often a lock is tried, letting others run in between.
const TRIES: u32 = 1 << 20;

/// Writes a value but for its lock.
pub(super) fn write_around(place: SharedBytes<'_>, value: &[u8], lock: Option<u32>) -> Option<()> {
    let Some(lock) = lock.map(|lock| lock as usize) else {
        return place.write(0, value);
    };
    let behind = lock + LOCK_BYTES;
    place.write(0, value.get(..lock)?)?;
    place.write(behind, value.get(behind..)?)
}

/// Writes a value while its lock is held. A lock that never becomes free, because a program that
/// was not verified holds it, is busy.
pub(super) fn write_locked(place: SharedBytes<'_>, value: &[u8], lock: u32) -> Result<(), Errno> {
    let word = place.atomic_u32(lock as usize).ok_or(Errno::EINVAL)?;
    let take = || word.compare_exchange(0, 1, Acquire, Relaxed).is_ok();
    let taken = (0..TRIES).any(|_| {
        let taken = take();
        if !taken {
            std::thread::yield_now();
        }
        taken
    });
    if !taken {
        return Err(Errno::EBUSY);
    }
    let written = write_around(place, value, Some(lock));
    word.store(0, Release);
    written.ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::super::{ANY, EXIST, F_LOCK, Map, MapSpec, MapType, NOEXIST};
    use super::*;
    use crate::abi::QueueId;

    fn map(map_type: MapType, lock: Option<u32>) -> Map {
        let mut spec = MapSpec::new("values", map_type, 4, 12, 2);
        spec.spin_lock = lock;
        Map::create(&spec, 1).expect("the map is created")
    }

    #[test]
    fn locked_updates_are_for_values_with_a_lock() {
        for map_type in [MapType::Array, MapType::Hash] {
            let update = |map: &Map, flags| map.update(QueueId(0), &[0; 4], &[7; 12], flags);
            let plain = map(map_type, None);
            assert_eq!(update(&plain, ANY | F_LOCK), Err(Errno::EINVAL));
            let locked = map(map_type, Some(4));
            if map_type == MapType::Hash {
                assert_eq!(update(&locked, EXIST | F_LOCK), Err(Errno::ENOENT));
            }
            assert_eq!(update(&locked, ANY | F_LOCK), Ok(()));
            assert_eq!(update(&locked, NOEXIST | F_LOCK), Err(Errno::EEXIST));
            assert_eq!(update(&locked, EXIST | F_LOCK), Ok(()));
            assert_eq!(update(&locked, ANY), Ok(()));
            let value = locked
                .lookup(QueueId(0), &[0; 4])
                .expect("the value is there");
            assert_eq!(value.to_vec(), [7, 7, 7, 7, 0, 0, 0, 0, 7, 7, 7, 7]);
        }
    }

    #[test]
    fn an_update_waits_for_the_lock() {
        let map = map(MapType::Array, Some(0));
        let value = map.lookup(QueueId(0), &[0; 4]).expect("the value is there");
        let lock = value.atomic_u32(0).expect("the lock is aligned");
        lock.store(1, Relaxed);
        std::thread::scope(|scope| {
            let update = scope.spawn(|| map.update(QueueId(0), &[0; 4], &[9; 12], F_LOCK));
            std::thread::yield_now();
            let seen = value.to_vec();
            assert_eq!(seen[4..], [0; 8]);
            lock.store(0, Release);
            assert_eq!(update.join().expect("the thread ends"), Ok(()));
        });
        assert_eq!(value.to_vec()[4..], [9; 8]);
    }
}
