//! A lane: one transaction of a table, with the positions that it covers.
//!
//! All local spools share a lane, because every restart opens new streams; each Kafka partition is
//! a lane of its own, because partitions move between sinks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use driftline_eventlog::SourceId;
use driftline_schemas::StreamId;

use crate::table::{Table, TableError};
use crate::watermark::{self, Watermarks, app_of};

/// How long a spool's stream must be gone from the disk before its mark is dropped. A directory
/// that is only unmounted for a moment must not come back as new.
pub(crate) const RETIRE_AFTER: Duration = Duration::from_secs(3600);

/// Positions under one transaction.
#[derive(Debug)]
pub(crate) struct Lane {
    app: String,
    /// The transaction's version in the table's state.
    base: Option<i64>,
    /// Where the streams stand, with what is pending.
    pub(crate) marks: Watermarks,
    /// The next offset per source, with what is pending.
    next: BTreeMap<SourceId, u64>,
    touched: bool,
    gone_since: BTreeMap<StreamId, Instant>,
}

impl Lane {
    /// Reads a source's lane as the table's state has it.
    pub(crate) async fn load(table: &Table, source: &SourceId) -> Result<Self, TableError> {
        let app = app_of(source);
        let base = table.transaction(&app).await?;
        let marks = match base {
            Some(version) => watermark::read(table.root(), &app, version)?,
            None => Watermarks::default(),
        };
        Ok(Self {
            app,
            base,
            marks,
            next: BTreeMap::new(),
            touched: false,
            gone_since: BTreeMap::new(),
        })
    }

    /// The name of the transaction.
    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The offset to read next from a source.
    pub(crate) fn next(&self, source: &SourceId) -> u64 {
        if let Some(next) = self.next.get(source) {
            return *next;
        }
        match source {
            SourceId::Spool(stream) => self.marks.next_seq(stream),
            // The transaction's version of a partition is its next offset.
            SourceId::Kafka { .. } => self.base.and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
        }
    }

    /// Moves past an offset of a source.
    pub(crate) fn advance(&mut self, source: &SourceId, next: u64) {
        if let SourceId::Spool(stream) = source {
            let mark = self.marks.entry(stream);
            mark.next_seq = mark.next_seq.max(next);
        }
        self.next.insert(source.clone(), next);
        self.touched = true;
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched
    }

    /// The transaction's version after the pending commit.
    pub(crate) fn next_version(&self) -> i64 {
        let partition = self.next.iter().find_map(|(source, next)| match source {
            SourceId::Kafka { .. } => i64::try_from(*next).ok(),
            SourceId::Spool(_) => None,
        });
        partition.unwrap_or_else(|| self.base.map_or(1, |base| base + 1))
    }

    /// Takes note that the pending version is committed; yields the positions it covers.
    pub(crate) fn committed(&mut self) -> Vec<(SourceId, u64)> {
        self.base = Some(self.next_version());
        self.touched = false;
        let positions = self
            .next
            .iter()
            .map(|(source, next)| (source.clone(), *next))
            .collect();
        self.next
            .retain(|source, _| matches!(source, SourceId::Kafka { .. }));
        positions
    }

    /// Drops the marks of spools that have been gone from the disk for [`RETIRE_AFTER`].
    pub(crate) fn retire(&mut self, present: &[SourceId], now: Instant) {
        let here = |stream: &StreamId| present.contains(&SourceId::Spool(stream.clone()));
        self.gone_since.retain(|stream, _| !here(stream));
        for (stream, _) in self.marks.iter() {
            if !here(stream) {
                self.gone_since.entry(stream.clone()).or_insert(now);
            }
        }
        let gone = &self.gone_since;
        self.marks.retain(|stream| {
            gone.get(stream)
                .is_none_or(|since| now.duration_since(*since) < RETIRE_AFTER)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> StreamId {
        "a/000000000000000000000000000000ff/events"
            .parse()
            .expect("stream")
    }

    fn lane(source: &SourceId) -> Lane {
        Lane {
            app: app_of(source),
            base: None,
            marks: Watermarks::default(),
            next: BTreeMap::new(),
            touched: false,
            gone_since: BTreeMap::new(),
        }
    }

    #[test]
    fn a_partitions_version_is_its_next_offset_and_the_spools_is_a_counter() {
        let partition = SourceId::Kafka {
            topic: "t".to_owned(),
            partition: 3,
        };
        let mut kafka = lane(&partition);
        kafka.advance(&partition, 42);
        assert_eq!(kafka.next_version(), 42);
        assert_eq!(kafka.committed(), [(partition.clone(), 42)]);
        assert_eq!(kafka.next(&partition), 42);

        let spool = SourceId::Spool(stream());
        let mut local = lane(&spool);
        local.advance(&spool, 42);
        assert_eq!(local.next_version(), 1);
        assert_eq!(local.committed(), [(spool.clone(), 42)]);
        local.advance(&spool, 43);
        assert_eq!(local.next_version(), 2);
        assert_eq!(local.next(&spool), 43);
    }

    #[test]
    fn a_stream_is_forgotten_only_after_it_has_been_gone_for_long() {
        let spool = SourceId::Spool(stream());
        let mut lane = lane(&spool);
        lane.advance(&spool, 5);
        let start = Instant::now();
        lane.retire(&[], start);
        lane.retire(std::slice::from_ref(&spool), start + RETIRE_AFTER);
        lane.retire(&[], start + RETIRE_AFTER * 2);
        assert_eq!(lane.marks.next_seq(&stream()), 5, "it came back in between");
        lane.retire(&[], start + RETIRE_AFTER * 3);
        assert_eq!(lane.marks.next_seq(&stream()), 0);
    }
}
