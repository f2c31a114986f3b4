//! Stack distances by a Fenwick tree over the order of last references.
//!
//! Sources: Bennett and Kruskal, "LRU stack processing" (IBM J. Res. Dev. 19, 1975), for counting
//! the keys that were touched since by partial sums over time; Fenwick, "A new data structure for
//! cumulative frequency tables" (Software: Practice and Experience 24, 1994), for the tree.
//!
//! Every touch takes a new slot. When the slots are used up, those of live keys are moved together,
//! which costs less than one step per touch on average, so that memory follows the live keys and
//! not the length of the trace.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The tree has at least so many slots.
const FEWEST_SLOTS: usize = 1_024;

/// Larger objects count as this large, in bytes.
const LARGEST: u64 = 1 << 40;

/// The keys by recency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsIs>>,
    slots: Vec<Slot>,
    /// Partial sums of the slots' sizes; its length is the slots that there are.
    tree: Vec<u64>,
    total: u64,
}

/// What was true of a key when it was touched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Size of all other keys that were touched since.
    pub(crate) others: u64,
    /// The key's own size now.
    pub(crate) own: u64,
    /// When it was loaded.
    pub(crate) loaded_at: u64,
}

/// Moments of the sizes of the keys in a stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) keys: usize,
    pub(crate) sum: f64,
    pub(crate) sum_of_squares: f64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    slot: usize,
    loaded_at: u64,
}

/// A key's last reference; size 0 where the key has been touched again or forgotten.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u64,
    size: u64,
}

/// Keys are well mixed already.
#[derive(Debug, Clone, Copy, Default)]
struct AsIs(u64);

impl Stack {
    /// Moves a key to the top. `None` where it was not there.
    pub(crate) fn touch(&mut self, hash: u64, size: u64, at: u64) -> Option<Touch> {
        if self.slots.len() == self.tree.len() {
            self.compact();
        }
        let slot = self.slots.len();
        let known = self.entries.get_mut(&hash).map(|entry| {
            let old = entry.slot;
            entry.slot = slot;
            (old, entry.loaded_at)
        });
        let touch = match known {
            Some((old, loaded_at)) => {
                let others = self.total - self.sum_through(old);
                self.clear(old);
                Some(Touch {
                    others,
                    own: size,
                    loaded_at,
                })
            }
            None => {
                let entry = Entry {
                    slot,
                    loaded_at: at,
                };
                self.entries.insert(hash, entry);
                None
            }
        };
        // A tebibyte each, so that the sums of 16 million keys cannot overflow.
        let size = size.min(LARGEST);
        self.slots.push(Slot { hash, size });
        self.change(slot, size, true);
        touch
    }

    /// Counts a key as loaded at this time if its lifetime is over.
    pub(crate) fn reload_after(&mut self, hash: u64, at: u64, ttl: u64) {
        if let Some(entry) = self.entries.get_mut(&hash)
            && at.saturating_sub(entry.loaded_at) >= ttl
        {
            entry.loaded_at = at;
        }
    }

    /// Takes a key out.
    pub(crate) fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.clear(entry.slot);
        }
    }

    /// Keys in the stack.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Slots that are held: what bounds the memory.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.tree.len()
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let live = self.slots.iter().map(|slot| slot.size as f64);
        let (sum, sum_of_squares) = live.fold((0.0, 0.0), |(sum, squares), size| {
            (sum + size, squares + size * size)
        });
        Sizes {
            keys: self.len(),
            sum,
            sum_of_squares,
        }
    }

    fn clear(&mut self, slot: usize) {
        let size = std::mem::take(&mut self.slots[slot].size);
        self.change(slot, size, false);
    }

    /// Adds to or takes from the sums over a slot. They never fall below what they hold.
    fn change(&mut self, slot: usize, size: u64, add: bool) {
        let apply = |sum: &mut u64| {
            *sum = if add { *sum + size } else { *sum - size };
        };
        apply(&mut self.total);
        let mut node = slot + 1;
        while node <= self.tree.len() {
            apply(&mut self.tree[node - 1]);
            node += node & node.wrapping_neg();
        }
    }

    fn sum_through(&self, slot: usize) -> u64 {
        let mut node = slot + 1;
        let mut sum = 0;
        while node > 0 {
            sum += self.tree[node - 1];
            node &= node - 1;
        }
        sum
    }

    fn compact(&mut self) {
        self.slots.retain(|slot| slot.size > 0);
        let slots = (2 * self.slots.len()).max(FEWEST_SLOTS);
        self.tree.clear();
        self.tree.resize(slots, 0);
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(entry) = self.entries.get_mut(&slot.hash) {
                entry.slot = at;
            }
            self.tree[at] = slot.size;
        }
        // Every node passes its sum to the one above it, in linear time.
        for node in 1..=slots {
            let above = node + (node & node.wrapping_neg());
            if above <= slots {
                self.tree[above - 1] += self.tree[node - 1];
            }
        }
    }
}

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
