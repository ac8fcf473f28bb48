//! LPM tries: the value of the longest stored prefix of a key.
//!
//! A key is a prefix length (u32) and as many data bytes as the map has, most significant bit
//! first. Nodes form a binary trie with compressed paths, as in `kernel/bpf/lpm_trie.c`. Readers
//! take no lock; they walk again if a node was given to another prefix meanwhile.

use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slab::Slab;
use super::{Errno, MapSpec, UpdateMode};
use crate::isa::Size;
use crate::memory::SharedBytes;

/// Bytes of a node before its data: two children, prefix length, and whether it has a value.
const HEADER: usize = 16;

/// Storage of an LPM trie.
#[derive(Debug)]
pub(super) struct LpmTrie {
    data_size: usize,
    value_size: usize,
    max_entries: u32,
    nodes: Slab,
    /// Link to the first node.
    root: AtomicU32,
    /// How often a node that was freed has been taken for another prefix.
    reuses: AtomicU64,
    writer: Mutex<Writer>,
}

/// What the writer lock protects.
#[derive(Debug, Default)]
struct Writer {
    entries: u32,
    free: Vec<u32>,
    fresh: u32,
}

/// A node: `link` is its number plus one, as links hold it; 0 is none.
#[derive(Clone, Copy)]
struct Node<'a> {
    link: u32,
    memory: SharedBytes<'a>,
}

impl<'a> Node<'a> {
    fn word(self, index: usize) -> &'a AtomicU32 {
        self.memory
            .atomic_u32(index * 4)
            .expect("a word of the header")
    }

    /// The link to the child whose next bit is `bit`.
    fn child(self, bit: bool) -> &'a AtomicU32 {
        self.word(usize::from(bit))
    }

    fn prefix_len(self) -> u32 {
        self.word(2).load(Relaxed)
    }

    fn has_value(self) -> bool {
        self.word(3).load(Relaxed) != 0
    }

    fn set_has_value(self, has_value: bool) {
        self.word(3).store(u32::from(has_value), Release);
    }
}

/// A checked key.
#[derive(Clone, Copy)]
struct Prefix<'a> {
    len: u32,
    data: &'a [u8],
}

impl Prefix<'_> {
    fn bit(self, index: u32) -> bool {
        let byte = self.data.get(index as usize / 8).copied().unwrap_or(0);
        byte & (0x80 >> (index % 8)) != 0
    }
}

/// Where a walk for an exact prefix ended.
struct Walk<'a> {
    /// The link that leads to `node`.
    slot: &'a AtomicU32,
    /// The node before, and the link that leads to it.
    parent: Option<(&'a AtomicU32, Node<'a>)>,
    /// The first node that does not lead on, and how many bits it shares with the prefix.
    node: Option<(Node<'a>, u32)>,
}

impl LpmTrie {
    /// An empty trie.
    pub(super) fn new(spec: &MapSpec) -> Self {
        let data_size = spec.key_size as usize - 4;
        let value_size = spec.value_size as usize;
        Self {
            data_size,
            value_size,
            max_entries: spec.max_entries,
            nodes: Slab::new(HEADER + data_size.next_multiple_of(8) + value_size),
            root: AtomicU32::new(0),
            reuses: AtomicU64::new(0),
            writer: Mutex::default(),
        }
    }

    /// The value of the longest stored prefix of the key.
    pub(super) fn lookup(&self, key: &[u8]) -> Option<SharedBytes<'_>> {
        let key = self.prefix(key).ok()?;
        loop {
            let reuses = self.reuses.load(Acquire);
            let found = self.walk_down(key);
            fence(Acquire);
            if self.reuses.load(Relaxed) == reuses {
                return found.and_then(|node| self.value(node));
            }
        }
    }

    fn walk_down(&self, key: Prefix<'_>) -> Option<Node<'_>> {
        let mut found = None;
        let mut next = self.node(self.root.load(Acquire));
        // A walk through nodes that change meanwhile must end too.
        for _ in 0..=self.data_size * 8 {
            let Some(node) = next else { break };
            let len = node.prefix_len();
            if Self::common(node, key) < len {
                break;
            }
            if node.has_value() {
                found = Some(node);
            }
            if len >= key.len {
                break;
            }
            next = self.node(node.child(key.bit(len)).load(Acquire));
        }
        found
    }

    /// Sets the value of a prefix.
    pub(super) fn update(&self, key: &[u8], value: &[u8], mode: UpdateMode) -> Result<(), Errno> {
        let prefix = self.prefix(key)?;
        let mut writer = self.lock();
        let walk = self.walk(prefix);
        let exact = walk
            .node
            .filter(|&(node, common)| common == prefix.len && node.prefix_len() == prefix.len);
        let exists = exact.is_some_and(|(node, _)| node.has_value());
        mode.check(exists)?;
        if !exists && writer.entries == self.max_entries {
            return Err(Errno::ENOSPC);
        }
        let new = self.new_node(&mut writer, prefix, Some(value))?;
        match walk.node {
            None => walk.slot.store(new.link, Release),
            Some((old, _)) if exact.is_some() => {
                for bit in [false, true] {
                    new.child(bit).store(old.child(bit).load(Relaxed), Relaxed);
                }
                walk.slot.store(new.link, Release);
                writer.free.push(old.link);
            }
            Some((old, common)) if common == prefix.len => {
                new.child(self.bit(old, common)).store(old.link, Relaxed);
                walk.slot.store(new.link, Release);
            }
            Some((old, common)) => {
                let shared = Prefix {
                    len: common,
                    data: prefix.data,
                };
                let fork = self.new_node(&mut writer, shared, None)?;
                fork.child(prefix.bit(common)).store(new.link, Relaxed);
                fork.child(!prefix.bit(common)).store(old.link, Relaxed);
                walk.slot.store(fork.link, Release);
            }
        }
        writer.entries += u32::from(!exists);
        Ok(())
    }

    /// Deletes exactly this prefix.
    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let prefix = self.prefix(key)?;
        let mut writer = self.lock();
        let walk = self.walk(prefix);
        let (node, _) = walk
            .node
            .filter(|&(node, common)| {
                common == prefix.len && node.prefix_len() == prefix.len && node.has_value()
            })
            .ok_or(Errno::ENOENT)?;
        writer.entries -= 1;
        let children = [false, true].map(|bit| node.child(bit).load(Relaxed));
        if children.iter().all(|&child| child != 0) {
            node.set_has_value(false);
            return Ok(());
        }
        match walk.parent {
            // A fork has two children: without this one its other child takes its place.
            Some((parent_slot, parent)) if children == [0, 0] && !parent.has_value() => {
                let left = parent.child(false).load(Relaxed);
                let right = parent.child(true).load(Relaxed);
                let other = if left == node.link { right } else { left };
                parent_slot.store(other, Release);
                writer.free.push(parent.link);
            }
            _ => walk.slot.store(children[0] | children[1], Release),
        }
        writer.free.push(node.link);
        Ok(())
    }

    /// Every prefix with its value, as one-value lists, in no particular order.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let _writer = self.lock();
        let mut entries = Vec::new();
        let mut links = vec![self.root.load(Relaxed)];
        while let Some(link) = links.pop() {
            let Some(node) = self.node(link) else {
                continue;
            };
            links.extend([false, true].map(|bit| node.child(bit).load(Relaxed)));
            if let Some(value) = self.value(node).filter(|_| node.has_value()) {
                let mut key = node.prefix_len().to_le_bytes().to_vec();
                key.extend(self.data(node).to_vec());
                entries.push((key, vec![value.to_vec()]));
            }
        }
        entries
    }

    /// Deletes all prefixes.
    pub(super) fn clear(&self) {
        for (key, _) in self.entries() {
            let _ = self.delete(&key);
        }
    }

    /// Follows nodes that are shorter prefixes of this one.
    fn walk(&self, prefix: Prefix<'_>) -> Walk<'_> {
        let mut walk = Walk {
            slot: &self.root,
            parent: None,
            node: None,
        };
        while let Some(node) = self.node(walk.slot.load(Relaxed)) {
            let common = Self::common(node, prefix);
            let len = node.prefix_len();
            if common != len || len == prefix.len {
                walk.node = Some((node, common));
                break;
            }
            walk.parent = Some((walk.slot, node));
            walk.slot = node.child(prefix.bit(len));
        }
        walk
    }

    /// How many bits a node's prefix and another have in common.
    fn common(node: Node<'_>, prefix: Prefix<'_>) -> u32 {
        let limit = node.prefix_len().min(prefix.len);
        let (words, rest) = prefix.data.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for (index, word) in words.iter().chain([&last]).enumerate() {
            let start = index as u32 * 64;
            if start >= limit {
                break;
            }
            // Nodes hold whole words, with zeros behind the data.
            let stored = node.memory.load(HEADER + index * 8, Size::DW).unwrap_or(0);
            let difference = u64::from_be(stored) ^ u64::from_be_bytes(*word);
            if difference != 0 {
                return limit.min(start + difference.leading_zeros());
            }
        }
        limit
    }

    fn bit(&self, node: Node<'_>, index: u32) -> bool {
        let mut byte = [0];
        self.data(node).read(index as usize / 8, &mut byte);
        byte[0] & (0x80 >> (index % 8)) != 0
    }

    fn new_node(
        &self,
        writer: &mut Writer,
        prefix: Prefix<'_>,
        value: Option<&[u8]>,
    ) -> Result<Node<'_>, Errno> {
        let link = if let Some(link) = writer.free.pop() {
            // Readers that still walk through this node see the count change before the node.
            self.reuses.fetch_add(1, Relaxed);
            fence(Release);
            link
        } else {
            writer.fresh += 1;
            writer.fresh
        };
        let memory = self.nodes.get_or_allocate(link - 1)?;
        let node = Node { link, memory };
        node.child(false).store(0, Relaxed);
        node.child(true).store(0, Relaxed);
        node.word(2).store(prefix.len, Relaxed);
        node.set_has_value(value.is_some());
        self.data(node).write(0, prefix.data);
        if let (Some(place), Some(value)) = (self.value(node), value) {
            place.write(0, value);
        }
        Ok(node)
    }

    fn node(&self, link: u32) -> Option<Node<'_>> {
        let memory = self.nodes.get(link.checked_sub(1)?)?;
        Some(Node { link, memory })
    }

    fn data<'a>(&self, node: Node<'a>) -> SharedBytes<'a> {
        node.memory
            .slice(HEADER, self.data_size)
            .expect("data of a node")
    }

    fn value<'a>(&self, node: Node<'a>) -> Option<SharedBytes<'a>> {
        let offset = HEADER + self.data_size.next_multiple_of(8);
        node.memory.slice(offset, self.value_size)
    }

    fn prefix<'a>(&self, key: &'a [u8]) -> Result<Prefix<'a>, Errno> {
        let (len, data) = key.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        let len = u32::from_le_bytes(*len);
        if len as usize > self.data_size * 8 {
            return Err(Errno::EINVAL);
        }
        Ok(Prefix { len, data })
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::map::{MapFlags, MapType};

    fn trie(max_entries: u32) -> LpmTrie {
        let mut spec = MapSpec::new("t", MapType::LpmTrie, 6, 4, max_entries);
        spec.flags = MapFlags(MapFlags::NO_PREALLOC);
        LpmTrie::new(&spec)
    }

    fn key(len: u32, data: u16) -> Vec<u8> {
        [&len.to_le_bytes()[..], &data.to_be_bytes()].concat()
    }

    /// The bits that count.
    fn masked(len: u32, data: u16) -> u16 {
        (u32::from(data) & !(0xffff_u32 >> len)) as u16
    }

    #[test]
    fn longest_prefix_wins() {
        let trie = trie(10);
        for (len, data, value) in [(0, 0, 1), (8, 0xc000, 2), (12, 0xc0a0, 3), (16, 0xc0a8, 4)] {
            trie.update(&key(len, data), &[value, 0, 0, 0], UpdateMode::Any)
                .unwrap();
        }
        let value = |len, data| trie.lookup(&key(len, data)).map(|value| value.to_vec()[0]);
        assert_eq!(value(16, 0xc0a8), Some(4));
        assert_eq!(value(16, 0xc0a9), Some(3));
        assert_eq!(value(16, 0xc0b9), Some(2));
        assert_eq!(value(12, 0xc0a8), Some(3));
        assert_eq!(value(11, 0xc0a8), Some(2));
        assert_eq!(value(16, 0x0a00), Some(1));
        assert_eq!(value(17, 0xc0a8), None);
    }

    #[test]
    fn a_full_trie_takes_updates_of_what_it_has() {
        let trie = trie(1);
        trie.update(&key(8, 0x0a00), &[1; 4], UpdateMode::Any)
            .unwrap();
        let other = trie.update(&key(8, 0x0b00), &[2; 4], UpdateMode::Any);
        assert_eq!(other, Err(Errno::ENOSPC));
        trie.update(&key(8, 0x0aff), &[3; 4], UpdateMode::Any)
            .unwrap();
        assert_eq!(trie.entries(), [(key(8, 0x0aff), vec![vec![3; 4]])]);
        assert_eq!(trie.delete(&key(17, 0)), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_prefixes(
            ops in proptest::collection::vec(
                (0..4_u8, 0..=16_u32, 0..64_u16, any::<u32>(), 0..3_u64), 0..300,
            ),
        ) {
            let trie = trie(20);
            // Keyed by length and the bits that count; holds the data as given and the value.
            let mut model: BTreeMap<(u32, u16), (u16, u32)> = BTreeMap::new();
            for (kind, len, bits, value, flags) in ops {
                let data = bits << 10 | bits;
                let id = (len, masked(len, data));
                match kind {
                    0 | 1 => {
                        let mode = UpdateMode::from_flags(flags).unwrap();
                        let expected = mode.check(model.contains_key(&id)).and_then(|()| {
                            if model.len() == 20 && !model.contains_key(&id) {
                                return Err(Errno::ENOSPC);
                            }
                            model.insert(id, (data, value));
                            Ok(())
                        });
                        let result = trie.update(&key(len, data), &value.to_le_bytes(), mode);
                        prop_assert_eq!(result, expected);
                    }
                    2 => {
                        let expected = model.remove(&id).map(|_| ()).ok_or(Errno::ENOENT);
                        prop_assert_eq!(trie.delete(&key(len, data)), expected);
                    }
                    _ => {
                        let expected = (0..=len)
                            .rev()
                            .find_map(|len| model.get(&(len, masked(len, data))))
                            .map(|(_, value)| value.to_le_bytes().to_vec());
                        let found = trie.lookup(&key(len, data)).map(SharedBytes::to_vec);
                        prop_assert_eq!(found, expected);
                    }
                }
            }
            let mut entries = trie.entries();
            entries.sort();
            let mut expected: Vec<_> = model
                .iter()
                .map(|(&(len, _), &(data, value))| {
                    (key(len, data), vec![value.to_le_bytes().to_vec()])
                })
                .collect();
            expected.sort();
            prop_assert_eq!(entries, expected);
        }
    }
}
