//! Which records of a stream are on their way, and how far they have arrived without a gap.
//!
//! Pure bookkeeping: the cursor moves only over acknowledged records that follow one another in the
//! order of sending, so that a record which failed is never stepped over. Sending is left to the
//! shipper.

use std::collections::VecDeque;

/// The records of one stream between the cursor and the next one to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Everything below has arrived.
    cursor: u64,
    /// The next sequence number to read from the spool.
    next: u64,
    /// Sent, in ascending order, and not yet below the cursor.
    sent: VecDeque<Sent>,
    /// Bytes of those in `sent` that have not arrived.
    pending_bytes: usize,
    /// How many of those in `sent` have not arrived.
    pending_records: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    seq: u64,
    bytes: usize,
    arrived: bool,
}

impl Window {
    /// A window in which everything below `cursor` has arrived.
    pub(crate) fn new(cursor: u64) -> Self {
        Self {
            cursor,
            next: cursor,
            sent: VecDeque::new(),
            pending_bytes: 0,
            pending_records: 0,
        }
    }

    /// Everything below has arrived.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Where to read on.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes on their way.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Records on their way.
    pub(crate) fn pending_records(&self) -> usize {
        self.pending_records
    }

    /// Notes a record as sent. Numbers ascend, but some may be missing: a spool that was full has
    /// dropped them.
    pub(crate) fn send(&mut self, seq: u64, bytes: usize) {
        debug_assert!(seq >= self.next, "records are sent in ascending order");
        self.next = seq + 1;
        self.pending_bytes += bytes;
        self.pending_records += 1;
        self.sent.push_back(Sent {
            seq,
            bytes,
            arrived: false,
        });
    }

    /// Notes a record as arrived and moves the cursor as far as nothing is missing. Returns false
    /// for a record that is not on its way.
    pub(crate) fn arrive(&mut self, seq: u64) -> bool {
        let Ok(index) = self.sent.binary_search_by_key(&seq, |sent| sent.seq) else {
            return false;
        };
        let sent = &mut self.sent[index];
        if sent.arrived {
            return false;
        }
        sent.arrived = true;
        self.pending_bytes -= sent.bytes;
        self.pending_records -= 1;
        while self.sent.front().is_some_and(|sent| sent.arrived) {
            if let Some(sent) = self.sent.pop_front() {
                self.cursor = sent.seq + 1;
            }
        }
        if self.sent.is_empty() {
            // What was skipped behind the last record is done with too.
            self.cursor = self.next;
        }
        true
    }

    /// Steps over numbers that can no longer be read.
    pub(crate) fn skip(&mut self, to: u64) {
        self.next = self.next.max(to);
        if self.sent.is_empty() {
            self.cursor = self.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_failed_record_is_never_stepped_over() {
        let mut window = Window::new(5);
        for seq in 5..9 {
            window.send(seq, 10);
        }
        assert!(window.arrive(6) && window.arrive(7));
        assert_eq!(
            (window.cursor(), window.next(), window.pending_records()),
            (5, 9, 2)
        );
        assert!(window.arrive(5));
        assert_eq!((window.cursor(), window.pending_bytes()), (8, 10));
        assert!(!window.arrive(7), "a record arrives once");
        assert!(!window.arrive(9), "and only when it was sent");
    }

    #[test]
    fn numbers_that_the_spool_dropped_do_not_hold_the_cursor() {
        let mut window = Window::new(0);
        window.send(3, 1);
        window.send(9, 1);
        assert!(window.arrive(3));
        assert_eq!(window.cursor(), 4);
        assert!(window.arrive(9));
        assert_eq!(window.cursor(), 10);
    }

    #[test]
    fn what_was_dropped_is_stepped_over_when_all_before_it_has_arrived() {
        let mut window = Window::new(0);
        window.send(0, 1);
        window.skip(7);
        assert_eq!((window.cursor(), window.next()), (0, 7));
        window.send(7, 1);
        assert!(window.arrive(0));
        window.skip(12);
        assert_eq!((window.cursor(), window.next()), (1, 12));
        assert!(window.arrive(7));
        assert_eq!((window.cursor(), window.next()), (12, 12));
        window.skip(3);
        assert_eq!(window.next(), 12, "never back");
    }

    proptest! {
        /// Against a model that remembers every record by itself, in any order of arrival.
        #[test]
        fn the_cursor_is_the_arrived_prefix(
            gaps in proptest::collection::vec(1u64..4, 1..40),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut window = Window::new(0);
            let mut seqs = Vec::new();
            let mut seq = 0;
            for gap in gaps {
                seq += gap;
                window.send(seq, 7);
                seqs.push(seq);
            }
            let mut arrived = std::collections::BTreeSet::new();
            for index in order {
                let seq = *index.get(&seqs);
                prop_assert_eq!(window.arrive(seq), arrived.insert(seq));
                let prefix = seqs.iter().take_while(|seq| arrived.contains(seq)).last();
                prop_assert_eq!(window.cursor(), prefix.map_or(0, |seq| seq + 1));
                prop_assert_eq!(window.pending_records(), seqs.len() - arrived.len());
                prop_assert_eq!(window.pending_bytes(), 7 * (seqs.len() - arrived.len()));
            }
        }
    }
}
