//! What has been written, acknowledged, shown and given up, kept outside the simulated machine:
//! the truth that the spool is judged by.

use std::collections::BTreeMap;

use driftline_eventlog::Record;
use driftline_eventlog::spool::Dropped;
use driftline_schemas::StreamId;

/// Every stream's truth.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) streams: BTreeMap<StreamId, Account>,
}

/// One stream's truth.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Every record that `append` has taken.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Everything below was acknowledged by `sync` or shown to a reader.
    pub(crate) promised: u64,
    /// The consumer's own durable position.
    pub(crate) consumed: u64,
    /// Consumed positions and when they were committed to the spool, in seconds.
    commits: Vec<(u64, u64)>,
    /// Everything below was reported as dropped.
    dropped: u64,
}

impl Account {
    /// Checks records that a read from `from` gave: in order, without a gap, as they were written.
    pub(crate) fn check(&mut self, from: u64, records: &[Record]) -> u64 {
        let mut next = from;
        for record in records {
            assert_eq!(record.offset, next, "records are numbered without a gap");
            let written = self.payloads.get(next as usize);
            assert_eq!(
                written.map(Vec::as_slice),
                Some(record.payload.as_ref()),
                "record {next}"
            );
            next += 1;
        }
        self.promised = self.promised.max(next);
        next
    }

    pub(crate) fn committed(&mut self, next: u64, now: u64) {
        self.commits.push((next, now));
    }

    /// Everything below may rightly be gone. When room was short, consumed records may go before
    /// their lag is over.
    pub(crate) fn may_be_gone(&self, now: u64, lag: u64, room_was_short: bool) -> u64 {
        let due = |(_, at): &&(u64, u64)| room_was_short || at + lag <= now;
        let trimmed = self.commits.iter().filter(due).map(|(next, _)| *next).max();
        trimmed.unwrap_or(0).max(self.dropped)
    }
}

impl Ledger {
    pub(crate) fn account(&mut self, stream: &StreamId) -> &mut Account {
        self.streams.entry(stream.clone()).or_default()
    }

    pub(crate) fn dropped(&mut self, dropped: &Dropped) {
        assert!(dropped.first_seq < dropped.next_seq, "{dropped:?}");
        let account = self.account(&dropped.stream);
        // A power loss may bring a removed segment back, to be dropped once more.
        account.dropped = account.dropped.max(dropped.next_seq);
    }
}
