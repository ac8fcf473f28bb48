//! Which entry an LRU hash map gives up when it is full: Linux's rules (`kernel/bpf/bpf_lru_list.c`),
//! which are an approximation of "least recently used" that depends on the number of CPUs.
//!
//! Each CPU takes new nodes from a free list of its own and notes them in a pending list. When its
//! free list is empty it moves the pending nodes to the shared active or inactive list, ages these
//! by the reference bits that lookups set, and refills its free list from shared free nodes or from
//! the inactive list's end. With `BPF_F_NO_COMMON_LRU` each CPU has a fixed share of the nodes and
//! lists of its own.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::slab::Slab;

/// Most nodes that a CPU takes to its free list at once, and that one ageing looks at
/// (`LOCAL_FREE_TARGET`, `LOCAL_NR_SCANS`).
const LOCAL_TARGET: u32 = 128;
/// The same for lists of a CPU's own (`PERCPU_FREE_TARGET`, `PERCPU_NR_SCANS`).
const OWN_TARGET: u32 = 4;
/// Lists of an [`Aging`]: active, inactive and free.
const LISTS: u32 = 3;

/// Reference bits, which sit in the elements so that readers set them without a lock.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    /// The elements.
    pub(super) elements: &'a Slab,
    /// Where in an element the word is.
    pub(super) offset: usize,
}

impl References<'_> {
    /// Notes that the element was used.
    #[inline]
    pub(super) fn set(self, element: u32) {
        if let Some(word) = self.word(element)
            && word.load(Relaxed) == 0
        {
            word.store(1, Relaxed);
        }
    }

    fn clear(self, element: u32) {
        if let Some(word) = self.word(element) {
            word.store(0, Relaxed);
        }
    }

    fn is_set(self, element: u32) -> bool {
        self.word(element)
            .is_some_and(|word| word.load(Relaxed) != 0)
    }

    fn word(&self, element: u32) -> Option<&AtomicU32> {
        self.elements.get(element)?.atomic_u32(self.offset)
    }
}

/// What an operation on the lists needs of the map.
pub(super) struct Elements<'a> {
    /// Reference bits.
    pub(super) references: References<'a>,
    /// Takes an element out of the hash table.
    pub(super) evict: &'a mut dyn FnMut(u32),
}

/// The lists of an LRU map. Node numbers are the map's element numbers.
#[derive(Debug)]
pub(super) struct Lru {
    lists: Lists,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    Common {
        aging: Aging,
        /// How many nodes a CPU takes at once.
        target: u32,
        cpus: Vec<LocalLists>,
    },
    /// `BPF_F_NO_COMMON_LRU`
    Own { cpus: Vec<Aging> },
}

/// One CPU's lists in the common scheme.
#[derive(Clone, Copy, Debug)]
struct LocalLists {
    free: u32,
    pending: u32,
    /// Whose nodes to take first when there are no others.
    next_steal: usize,
}

impl Lru {
    /// Lists of `entries` free nodes.
    pub(super) fn new(entries: u32, cpus: u32, own_lists: bool) -> Self {
        let cpus = cpus.max(1);
        if own_lists {
            let share = own_share(entries, cpus);
            let aging = |cpu| Aging::new(cpu * LISTS, OWN_TARGET, share);
            return Self {
                lists: Lists::new(cpus * LISTS),
                scheme: Scheme::Own {
                    cpus: (0..cpus).map(aging).collect(),
                },
            };
        }
        let local = |cpu| LocalLists {
            free: LISTS + 2 * cpu,
            pending: LISTS + 2 * cpu + 1,
            next_steal: cpu as usize,
        };
        Self {
            lists: Lists::new(LISTS + 2 * cpus),
            scheme: Scheme::Common {
                aging: Aging::new(0, LOCAL_TARGET, entries),
                target: (entries / cpus / 2).clamp(1, LOCAL_TARGET),
                cpus: (0..cpus).map(local).collect(),
            },
        }
    }

    /// A node for a new element, taken from another element if need be. It counts as the newest.
    pub(super) fn take(&mut self, cpu: u32, elements: &mut Elements<'_>) -> Option<u32> {
        let lists = &mut self.lists;
        match &mut self.scheme {
            Scheme::Common {
                aging,
                target,
                cpus,
            } => {
                let local = *cpus.get(cpu as usize)?;
                if lists.first(local.free).is_none() {
                    lists.flush(aging, local.pending, elements);
                    aging.rotate(lists, elements);
                    let taken = aging.take_free(lists, *target, local.free);
                    if taken < *target {
                        aging.shrink(lists, *target - taken, local.free, elements);
                    }
                }
                let position = match lists.first(local.free) {
                    Some(position) => position,
                    None => steal(lists, cpus, cpu as usize, elements)?,
                };
                let node = lists.node(position);
                lists.links[position as usize].cpu = cpu;
                elements.references.clear(node);
                lists.move_to(position, local.pending);
                Some(node)
            }
            Scheme::Own { cpus } => {
                let aging = cpus.get_mut(cpu as usize)?;
                aging.rotate(lists, elements);
                if lists.first(aging.free).is_none() {
                    let free = aging.free;
                    if aging.take_free(lists, 1, free) == 0 {
                        aging.shrink(lists, OWN_TARGET, free, elements);
                    }
                }
                let position = lists.first(aging.free)?;
                lists.links[position as usize].cpu = cpu;
                aging.move_node(lists, position, aging.inactive, elements);
                Some(lists.node(position))
            }
        }
    }

    /// Gives a node back whose element is in the hash table no more.
    pub(super) fn give_back(&mut self, node: u32, elements: &mut Elements<'_>) {
        let lists = &mut self.lists;
        let position = lists.position(node);
        let Some(&Link { list, cpu, .. }) = lists.links.get(position as usize) else {
            return;
        };
        match &mut self.scheme {
            Scheme::Common { aging, cpus, .. } => {
                let Some(local) = cpus.get(cpu as usize) else {
                    return;
                };
                if list == local.pending {
                    elements.references.clear(node);
                    lists.move_to(position, local.free);
                } else {
                    aging.move_node(lists, position, aging.free, elements);
                }
            }
            Scheme::Own { cpus } => {
                if let Some(aging) = cpus.get_mut(cpu as usize) {
                    aging.move_node(lists, position, aging.free, elements);
                }
            }
        }
    }
}

/// Nodes of each CPU with lists of its own: the entries, rounded up to a multiple of the CPUs
/// where that fits (`htab_map_alloc`).
const fn own_share(entries: u32, cpus: u32) -> u32 {
    if entries.checked_next_multiple_of(cpus).is_some() {
        entries.div_ceil(cpus)
    } else {
        entries / cpus
    }
}

/// Takes a node from the free list or the pending list of a CPU, this one or others in turn.
fn steal(
    lists: &mut Lists,
    cpus: &mut [LocalLists],
    cpu: usize,
    elements: &mut Elements<'_>,
) -> Option<u32> {
    let first = cpus[cpu].next_steal;
    let mut from = first;
    let mut stolen = None;
    while stolen.is_none() {
        let local = cpus[from];
        stolen = lists
            .first(local.free)
            .or_else(|| lists.oldest_pending(local.pending, elements));
        from = (from + 1) % cpus.len();
        if from == first {
            break;
        }
    }
    cpus[cpu].next_steal = from;
    stolen
}

/// Active, inactive and free list, and how nodes age from one to the next.
#[derive(Debug)]
struct Aging {
    active: u32,
    inactive: u32,
    free: u32,
    /// Nodes in the active and the inactive list.
    active_len: u32,
    inactive_len: u32,
    /// Where the next look through the inactive list starts.
    rotation: u32,
    /// How many nodes to look at at once.
    scans: u32,
    /// Nodes that were never used: behind all others in the free list, and in no list here yet.
    fresh: u32,
}

impl Aging {
    fn new(first_list: u32, scans: u32, fresh: u32) -> Self {
        Self {
            active: first_list,
            inactive: first_list + 1,
            free: first_list + 2,
            active_len: 0,
            inactive_len: 0,
            rotation: first_list + 1,
            scans,
            fresh,
        }
    }

    /// Length of a list, if it is counted.
    fn len_mut(&mut self, list: u32) -> Option<&mut u32> {
        if list == self.active {
            Some(&mut self.active_len)
        } else if list == self.inactive {
            Some(&mut self.inactive_len)
        } else {
            None
        }
    }

    /// Moves a node to the front of a list, of these or of a CPU, and keeps the counts.
    fn relink(&mut self, lists: &mut Lists, position: u32, list: u32) {
        if position == self.rotation {
            self.rotation = lists.previous(position);
        }
        let from = lists.links[position as usize].list;
        if let Some(len) = self.len_mut(from) {
            *len -= 1;
        }
        if let Some(len) = self.len_mut(list) {
            *len += 1;
        }
        lists.move_to(position, list);
    }

    /// The same, and forgets that the node was used.
    fn move_node(&mut self, lists: &mut Lists, position: u32, list: u32, elements: &Elements<'_>) {
        elements.references.clear(lists.node(position));
        self.relink(lists, position, list);
    }

    /// Moves up to `count` free nodes to another list; how many there were. To its own free list:
    /// makes fresh nodes real.
    fn take_free(&mut self, lists: &mut Lists, count: u32, to: u32) -> u32 {
        let mut taken = 0;
        while taken < count {
            if to != self.free
                && let Some(position) = lists.first(self.free)
            {
                lists.move_to(position, to);
            } else if self.fresh > 0 {
                self.fresh -= 1;
                lists.add_node(to);
            } else {
                break;
            }
            taken += 1;
        }
        taken
    }

    fn rotate(&mut self, lists: &mut Lists, elements: &Elements<'_>) {
        if self.inactive_len < self.active_len {
            self.rotate_active(lists, elements);
        }
        self.rotate_inactive(lists, elements);
    }

    /// From the active list's end: nodes that were used go to its front, others to the inactive
    /// list.
    fn rotate_active(&mut self, lists: &mut Lists, elements: &Elements<'_>) {
        let Some(first) = lists.first(self.active) else {
            return;
        };
        let mut position = lists.previous(self.active);
        for _ in 0..self.scans {
            if position == self.active {
                break;
            }
            let next = lists.previous(position);
            let used = elements.references.is_set(lists.node(position));
            let list = if used { self.active } else { self.inactive };
            self.move_node(lists, position, list, elements);
            if position == first {
                break;
            }
            position = next;
        }
    }

    /// From where the last look through the inactive list ended: nodes that were used go to the
    /// active list.
    fn rotate_inactive(&mut self, lists: &mut Lists, elements: &Elements<'_>) {
        if lists.first(self.inactive).is_none() {
            return;
        }
        let mut last = lists.next(self.rotation);
        if last == self.inactive {
            last = lists.next(last);
        }
        let mut position = self.rotation;
        let mut next = position;
        let mut scanned = 0;
        while scanned < self.scans {
            if position == self.inactive {
                position = lists.previous(position);
                continue;
            }
            next = lists.previous(position);
            if elements.references.is_set(lists.node(position)) {
                self.move_node(lists, position, self.active, elements);
            }
            if position == last {
                break;
            }
            position = next;
            scanned += 1;
        }
        self.rotation = next;
    }

    /// Evicts up to `count` nodes from the inactive list's end that were not used since they were
    /// looked at last, or if there is none, one that was.
    fn shrink(&mut self, lists: &mut Lists, count: u32, to: u32, elements: &mut Elements<'_>) {
        if self.shrink_inactive(lists, count, to, elements) > 0 {
            return;
        }
        let oldest = lists
            .last(self.inactive)
            .or_else(|| lists.last(self.active));
        if let Some(position) = oldest {
            (elements.evict)(lists.node(position));
            self.relink(lists, position, to);
        }
    }

    fn shrink_inactive(
        &mut self,
        lists: &mut Lists,
        count: u32,
        to: u32,
        elements: &mut Elements<'_>,
    ) -> u32 {
        let mut evicted = 0;
        let mut position = lists.previous(self.inactive);
        for _ in 0..self.scans {
            if position == self.inactive || evicted == count {
                break;
            }
            let next = lists.previous(position);
            let node = lists.node(position);
            if elements.references.is_set(node) {
                self.move_node(lists, position, self.active, elements);
            } else {
                (elements.evict)(node);
                self.relink(lists, position, to);
                evicted += 1;
            }
            position = next;
        }
        evicted
    }
}

/// Doubly linked lists over one vector: heads first, then nodes.
#[derive(Debug)]
struct Lists {
    links: Vec<Link>,
    heads: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// Head of the list that it is in.
    list: u32,
    /// CPU that took the node last.
    cpu: u32,
}

impl Lists {
    fn new(heads: u32) -> Self {
        let head = |position| Link {
            previous: position,
            next: position,
            list: position,
            cpu: 0,
        };
        Self {
            links: (0..heads).map(head).collect(),
            heads,
        }
    }

    fn position(&self, node: u32) -> u32 {
        node + self.heads
    }

    fn node(&self, position: u32) -> u32 {
        position - self.heads
    }

    fn next(&self, position: u32) -> u32 {
        self.links[position as usize].next
    }

    fn previous(&self, position: u32) -> u32 {
        self.links[position as usize].previous
    }

    fn first(&self, list: u32) -> Option<u32> {
        Some(self.next(list)).filter(|&first| first != list)
    }

    fn last(&self, list: u32) -> Option<u32> {
        Some(self.previous(list)).filter(|&last| last != list)
    }

    /// Adds a new node to the front of a list.
    fn add_node(&mut self, list: u32) {
        let position = self.links.len() as u32;
        self.links.push(Link {
            previous: position,
            next: position,
            list,
            cpu: 0,
        });
        self.move_to(position, list);
    }

    /// Moves a node to the front of a list.
    fn move_to(&mut self, position: u32, list: u32) {
        let Link { previous, next, .. } = self.links[position as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
        let first = self.links[list as usize].next;
        self.links[first as usize].previous = position;
        self.links[list as usize].next = position;
        let link = &mut self.links[position as usize];
        (link.previous, link.next, link.list) = (list, first, list);
    }

    /// Moves a CPU's pending nodes to the shared lists, the oldest first.
    fn flush(&mut self, aging: &mut Aging, pending: u32, elements: &Elements<'_>) {
        while let Some(position) = self.last(pending) {
            let used = elements.references.is_set(self.node(position));
            let list = if used { aging.active } else { aging.inactive };
            aging.move_node(self, position, list, elements);
        }
    }

    /// Evicts the oldest pending node that was not used, or if all were, the oldest.
    fn oldest_pending(&self, pending: u32, elements: &mut Elements<'_>) -> Option<u32> {
        let mut position = self.last(pending)?;
        while elements.references.is_set(self.node(position)) {
            position = self.previous(position);
            if position == pending {
                position = self.last(pending)?;
                break;
            }
        }
        (elements.evict)(self.node(position));
        Some(position)
    }
}
