//! All timers of a worker's connections in one heap, so that one timer of the kernel serves them
//! all. A connection has at most one valid entry; entries that an earlier one has replaced are
//! skipped when their time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::operation::NEVER_NS;

/// Who is to be woken when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Timers {
    /// Makes sure that `slot` is woken at `deadline_ns` or before; `armed_ns` is its valid entry.
    pub(crate) fn arm(&mut self, slot: u32, armed_ns: &mut u64, deadline_ns: u64) {
        if deadline_ns < *armed_ns {
            *armed_ns = deadline_ns;
            self.heap.push(Reverse((deadline_ns, slot)));
        }
    }

    /// When the next entry is due.
    pub(crate) fn next_ns(&self) -> u64 {
        self.heap.peek().map_or(NEVER_NS, |Reverse((at, _))| *at)
    }

    /// Takes an entry that is due.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, u32)> {
        if self.next_ns() > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_deadlines_are_added_and_they_come_in_order() {
        let mut timers = Timers::default();
        let (mut first, mut second) = (NEVER_NS, NEVER_NS);
        timers.arm(0, &mut first, 50);
        timers.arm(0, &mut first, 70);
        timers.arm(1, &mut second, 60);
        timers.arm(0, &mut first, 20);
        assert_eq!((first, second), (20, 60));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(60), Some((20, 0)));
        assert_eq!(timers.pop_due(60), Some((50, 0)));
        assert_eq!(timers.pop_due(60), Some((60, 1)));
        assert_eq!(timers.next_ns(), NEVER_NS);
    }
}
