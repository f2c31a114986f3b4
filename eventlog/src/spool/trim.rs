//! The consumer's side of forgetting: the cursor, and the removal of what was committed long
//! enough ago. Dropping unread records for want of room is the producer's (`budget`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use driftline_schemas::{Kind, StreamId};
use tracing::warn;

use super::format::{Magic, Stamp};
use super::layout::{self, StreamDir};
use super::{Clock, SpoolConfig, mark};
use crate::LogError;
use crate::disk::Disk;

/// Commits that are remembered per stream until they are old enough; more are merged, which only
/// makes trimming later.
const MAX_COMMITS: usize = 64;

/// Moves cursors, and trims behind them after a lag.
pub(super) struct Trim {
    clock: Clock,
    lag: Duration,
    streams: BTreeMap<StreamId, Commits>,
}

/// What has been committed of one stream.
#[derive(Debug, Default)]
struct Commits {
    cursor: u64,
    /// Positions and when they were committed, both ascending.
    recent: VecDeque<(u64, Duration)>,
    /// Everything below may go.
    due: u64,
    /// True while segments below `due` may still be there.
    unfinished: bool,
}

impl Trim {
    pub(super) fn new(config: &SpoolConfig, clock: Clock) -> Self {
        Self {
            clock,
            lag: Duration::from_secs(config.trim_lag_s),
            streams: BTreeMap::new(),
        }
    }

    /// Moves the cursor forward; a position behind it changes nothing. A stream that is gone was
    /// consumed before.
    pub(super) fn committed(
        &mut self,
        disk: &dyn Disk,
        dir: &StreamDir,
        next: u64,
    ) -> Result<(), LogError> {
        let now = (self.clock)();
        let commits = self.commits(disk, dir)?;
        if next <= commits.cursor {
            return Ok(());
        }
        let stamp = Stamp { next, segment: 0 };
        match mark::write_stamp(disk, &dir.cursor(), Magic::Cursor, stamp) {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        }
        commits.cursor = next;
        if commits.recent.len() == MAX_COMMITS {
            commits.recent.pop_back();
        }
        commits.recent.push_back((next, now));
        Ok(())
    }

    /// Removes what is due of one stream; true if the whole stream has been removed. What cannot
    /// be removed stays for another time: that is no reason to stop reading.
    pub(super) fn trim(&mut self, disk: &dyn Disk, dir: &StreamDir) -> bool {
        self.try_trim(disk, dir).unwrap_or_else(|error| {
            warn!(%error, stream = %dir.stream, "consumed records could not be removed");
            false
        })
    }

    fn try_trim(&mut self, disk: &dyn Disk, dir: &StreamDir) -> Result<bool, LogError> {
        let now = (self.clock)();
        let lag = self.lag;
        let commits = self.commits(disk, dir)?;
        while let Some((next, at)) = commits.recent.front()
            && at.saturating_add(lag) <= now
        {
            commits.due = *next;
            commits.recent.pop_front();
            commits.unfinished = true;
        }
        let due = commits.due;
        if due == 0 {
            return Ok(false);
        }
        let unfinished = commits.unfinished;
        let closed = mark::read_stamp(disk, &dir.closed(), Magic::Closed)?;
        if closed.is_some_and(|closed| closed.next <= due) {
            dir.remove(disk)?;
            self.streams.remove(&dir.stream);
            return Ok(true);
        }
        if unfinished {
            let segments = dir.segments(disk)?.unwrap_or_default();
            for pair in segments.windows(2).take_while(|pair| pair[1] <= due) {
                layout::remove_segment(disk, dir, pair[0])?;
            }
            self.commits(disk, dir)?.unfinished = false;
        }
        Ok(false)
    }

    /// Forgets the streams of a kind that are no longer there.
    pub(super) fn keep_only(&mut self, kind: Kind, streams: &BTreeSet<StreamId>) {
        self.streams
            .retain(|stream, _| stream.kind != kind || streams.contains(stream));
    }

    /// What is known of a stream. A cursor found on disk counts as committed just now, because
    /// nobody knows when it was.
    fn commits(&mut self, disk: &dyn Disk, dir: &StreamDir) -> Result<&mut Commits, LogError> {
        if !self.streams.contains_key(&dir.stream) {
            let now = (self.clock)();
            let cursor = match read_cursor(disk, dir) {
                Err(error @ LogError::Corrupt { .. }) => {
                    warn!(%error, "the cursor will be written anew by the next commit");
                    0
                }
                cursor => cursor?.unwrap_or(0),
            };
            let recent = if cursor > 0 {
                VecDeque::from([(cursor, now)])
            } else {
                VecDeque::new()
            };
            let commits = Commits {
                cursor,
                recent,
                due: 0,
                unfinished: false,
            };
            self.streams.insert(dir.stream.clone(), commits);
        }
        Ok(self.streams.entry(dir.stream.clone()).or_default())
    }
}

impl fmt::Debug for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trim")
            .field("lag", &self.lag)
            .field("streams", &self.streams)
            .finish()
    }
}

/// The committed position of a stream; `None` if there is none yet.
pub(super) fn read_cursor(disk: &dyn Disk, dir: &StreamDir) -> Result<Option<u64>, LogError> {
    Ok(mark::read_stamp(disk, &dir.cursor(), Magic::Cursor)?.map(|stamp| stamp.next))
}
