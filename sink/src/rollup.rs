//! Rollups: `samples_1m` from the committed `samples`, `samples_1h` from that, `samples_1d` from that.
//!
//! A row is a pure function of the source's rows of one series in one bucket, reduced in one order,
//! so that it comes out equal bit for bit whenever it is made again. A table's own transactions say
//! how far it has come: [`VERSION_APP`] the source's version whose late rows are all in, and
//! [`UNTIL_APP`] the time before which every bucket is. A pass makes two sorts of buckets anew, whole:
//! those that have closed since, and closed ones that newer commits of the source have touched. What
//! it replaces and what it adds become visible in one commit that moves both transactions; a crash
//! before it leaves orphans, and repeating a part that was committed changes nothing.
//!
//! Merging small files, retention and vacuum are left to the maintenance, as for every table.

mod changes;
mod columns;
mod gather;
mod plan;
mod reduce;
mod rewrite;
mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use deltalake_core::kernel::Action;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use driftline_schemas::arrow::PARTITION_COLUMN;

use self::gather::Share;
use self::plan::{Plan, Source};
use self::rewrite::Displaced;
use crate::batch::{Day, US_PER_DAY};
use crate::parquet_file::{self, Level};
use crate::table::{MAINTENANCE_APP, RETIRED_APP, Table, TableError, TableName, data_files_of};
use crate::{SinkError, Step, Steps};

/// The transaction that holds the source's version.
const VERSION_APP: &str = "driftline.rollup";
/// The transaction that holds the end of the last bucket, in microseconds since 1970 UTC.
const UNTIL_APP: &str = "driftline.rollup.until";
/// Versions of the source without anything late after which the position is committed by itself, so
/// that a later start need not read log entries that are gone.
const POSITION_EVERY: u64 = 8;
/// Samples held in memory at a time, at 32 bytes each.
const MAX_SAMPLES_HELD: usize = 1 << 21;
/// Rollup rows held in memory at a time, at some 400 bytes each.
const MAX_ROLLUPS_HELD: usize = 1 << 18;
/// Rows that one pass reads before it leaves the rest to the next, so that the maintenance of other
/// tables is not kept waiting.
const MAX_ROWS_PER_PASS: usize = 1 << 24;
/// Shares that the series of one bucket are divided into at most; a share is then taken whole, since
/// one series of one bucket cannot be divided.
const MAX_SHARES: u64 = 1 << 10;
const US_PER_MINUTE: i64 = 60_000_000;
const US_PER_HOUR: i64 = 60 * US_PER_MINUTE;

/// A width of buckets. Buckets start on whole minutes, hours and days UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    Minute,
    Hour,
    Day,
}

impl Resolution {
    /// Every resolution, a source before what is made from it.
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub(crate) const fn table(self) -> TableName {
        match self {
            Self::Minute => TableName::Samples1m,
            Self::Hour => TableName::Samples1h,
            Self::Day => TableName::Samples1d,
        }
    }

    pub(crate) const fn source(self) -> TableName {
        match self {
            Self::Minute => TableName::Samples,
            Self::Hour => TableName::Samples1m,
            Self::Day => TableName::Samples1h,
        }
    }

    pub(crate) const fn width_us(self) -> i64 {
        match self {
            Self::Minute => US_PER_MINUTE,
            Self::Hour => US_PER_HOUR,
            Self::Day => US_PER_DAY,
        }
    }

    /// Buckets that are made together: those of an hour or of a day, never of two days.
    const fn unit_us(self) -> i64 {
        match self {
            Self::Minute => US_PER_HOUR,
            Self::Hour | Self::Day => US_PER_DAY,
        }
    }
}

/// Bounds on the work of a pass.
#[derive(Debug, Clone, Copy)]
struct Limits {
    rows_held: usize,
    rows_per_pass: usize,
    shares: u64,
}

impl Limits {
    const fn of(resolution: Resolution) -> Self {
        Self {
            rows_held: match resolution {
                Resolution::Minute => MAX_SAMPLES_HELD,
                Resolution::Hour | Resolution::Day => MAX_ROLLUPS_HELD,
            },
            rows_per_pass: MAX_ROWS_PER_PASS,
            shares: MAX_SHARES,
        }
    }
}

/// How far a table has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    version: u64,
    until: i64,
}

/// Keeps one rollup table.
pub(crate) struct Roller {
    resolution: Resolution,
    limits: Limits,
    seen: Option<Seen>,
}

/// What is known beyond what is committed: the source was read to a version, with an end at which
/// these of its buckets are still to be made anew. A new start finds it out again.
#[derive(Debug, Clone)]
struct Seen {
    version: u64,
    until: i64,
    late: BTreeSet<i64>,
}

/// What a pass works with.
pub(crate) struct Pass<'a> {
    pub(crate) source: &'a Table,
    pub(crate) target: &'a mut Table,
    pub(crate) now_us: i64,
    /// Buckets that end after this are open.
    pub(crate) closed_us: i64,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) steps: &'a Steps,
}

impl Roller {
    pub(crate) fn new(resolution: Resolution) -> Self {
        Self {
            resolution,
            limits: Limits::of(resolution),
            seen: None,
        }
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Brings the table up to the source's state, as the arguments have it. `false` where a bound or
    /// another writer has left some of it to the next pass.
    pub(crate) async fn pass(&mut self, mut pass: Pass<'_>) -> Result<bool, SinkError> {
        let seen = self.seen.take();
        match self.try_pass(&mut pass, seen).await {
            Err(SinkError::Table(TableError::Conflict { .. })) => Ok(false),
            result => result,
        }
    }

    async fn try_pass(
        &mut self,
        pass: &mut Pass<'_>,
        seen: Option<Seen>,
    ) -> Result<bool, SinkError> {
        let committed = progress(pass.target).await?;
        let mut plan = self.plan(pass, committed, seen).await?;
        let newest = pass.source.version();
        let mut progress = committed.unwrap_or(Progress {
            version: newest,
            until: i64::MIN,
        });
        if plan.late.is_empty() {
            progress.version = newest;
        }
        let mut work = Work {
            resolution: self.resolution,
            limits: self.limits,
            files: plan.files,
            committed,
            progress,
            rows_left: self.limits.rows_per_pass,
            most_buckets: usize::MAX,
            shares: 1,
        };
        let mut done = work.perform(pass, &mut plan.closed, Sort::Closing).await?;
        let sort = Sort::Late { newest };
        done = done && work.perform(pass, &mut plan.late, sort).await?;
        if done {
            work.progress.version = newest;
            work.commit_position(pass).await?;
        }
        let late = plan.late;
        self.seen = work.committed.map(|committed| Seen {
            version: newest,
            until: committed.until,
            late,
        });
        Ok(done)
    }

    async fn plan(
        &self,
        pass: &Pass<'_>,
        committed: Option<Progress>,
        seen: Option<Seen>,
    ) -> Result<Plan, SinkError> {
        let width = self.resolution.width_us();
        let retired = retired(pass.source).await?.max(retired(pass.target).await?);
        let files: Vec<Source> = data_files_of(pass.source)
            .into_iter()
            .filter_map(Source::of)
            .collect();
        let until = committed.map_or(i64::MIN, |committed| committed.until);
        let closed = plan::floor(pass.closed_us, width);
        let mut plan = Plan {
            closed: plan::buckets(&files, until.max(retired)..closed, width),
            ..Plan::default()
        };
        if let Some(committed) = committed {
            let same = |seen: &Seen| seen.until == until && seen.version >= committed.version;
            let (version, seen_late) = match seen.filter(same) {
                Some(seen) => (seen.version, seen.late),
                None => (committed.version, BTreeSet::new()),
            };
            let late = match changes::since(pass.source, version).await? {
                Some(added) => changes::buckets(&added, retired..until, width)?,
                None => {
                    tracing::warn!(
                        table = pass.target.name().as_str(),
                        "the source's log no longer tells what has changed; every bucket is made anew"
                    );
                    plan::buckets(&files, retired..until, width)
                }
            };
            plan.late = seen_late;
            plan.late.extend(late);
        }
        plan.files = files;
        Ok(plan)
    }
}

/// Why buckets are made.
#[derive(Debug, Clone, Copy)]
enum Sort {
    /// They have closed, and the table has nothing of them.
    Closing,
    /// They are in the table; with the last of them the source's version is in.
    Late { newest: u64 },
}

/// A pass under way.
struct Work {
    resolution: Resolution,
    limits: Limits,
    files: Vec<Source>,
    /// What the table says.
    committed: Option<Progress>,
    /// What the next commit says.
    progress: Progress,
    rows_left: usize,
    /// Buckets that were found to fit into memory together.
    most_buckets: usize,
    /// Shares that the series of one bucket were found to need.
    shares: u64,
}

impl Work {
    /// Makes buckets and commits them part by part; those that are done are taken out. `false` where
    /// something is left.
    async fn perform(
        &mut self,
        pass: &mut Pass<'_>,
        buckets: &mut BTreeSet<i64>,
        sort: Sort,
    ) -> Result<bool, SinkError> {
        let width = self.resolution.width_us();
        let mut parts: VecDeque<_> = plan::parts(buckets, self.resolution.unit_us()).into();
        while let Some(mut part) = parts.pop_front() {
            if pass.stop.load(Ordering::Relaxed) || self.rows_left == 0 {
                return Ok(false);
            }
            if part.len() > self.most_buckets {
                parts.push_front(part.split_off(self.most_buckets));
            }
            let Some(batches) = self.make(&part)? else {
                self.most_buckets = (part.len() / 2).max(1);
                parts.push_front(part);
                continue;
            };
            let mut displaced = Displaced::default();
            match sort {
                Sort::Closing => {
                    let last = part.last().copied().unwrap_or(self.progress.until);
                    self.progress.until = last.saturating_add(width);
                }
                Sort::Late { newest } => {
                    displaced = rewrite::displaced(pass.target, &part, width, pass.now_us / 1_000)?;
                    if parts.is_empty() {
                        self.progress.version = newest;
                    }
                }
            }
            self.replace(pass, &part, batches, displaced).await?;
            for bucket in part {
                buckets.remove(&bucket);
            }
        }
        Ok(true)
    }

    /// The rows of some buckets; `None` where they are too many to be held, and fewer buckets are
    /// to be asked for.
    fn make(&mut self, buckets: &[i64]) -> Result<Option<Vec<RecordBatch>>, SinkError> {
        loop {
            let shares = if buckets.len() == 1 { self.shares } else { 1 };
            let mut batches = Vec::new();
            for part in 0..shares {
                let share = Share { part, of: shares };
                let most = if shares < self.limits.shares {
                    self.limits.rows_held
                } else {
                    usize::MAX
                };
                match reduce::rollups(self.resolution, &self.files, buckets, share, most)? {
                    Some(reduced) => {
                        self.rows_left = self.rows_left.saturating_sub(reduced.rows_read);
                        batches.push(reduced.batch);
                    }
                    None => break,
                }
            }
            if batches.len() as u64 == shares {
                batches.retain(|batch| batch.num_rows() > 0);
                return Ok(Some(batches));
            }
            if buckets.len() > 1 {
                return Ok(None);
            }
            self.shares *= 2;
        }
    }

    /// Puts rows in the place of what the table has of these buckets.
    async fn replace(
        &mut self,
        pass: &mut Pass<'_>,
        buckets: &[i64],
        batches: Vec<RecordBatch>,
        displaced: Displaced,
    ) -> Result<(), SinkError> {
        let mut actions = displaced.removes;
        let (root, now_ms) = (pass.target.root().to_path_buf(), pass.now_us / 1_000);
        // The buckets of a part are of one day, and so are those of a file.
        let date = Day::of(buckets.first().copied().unwrap_or_default()).to_date();
        let mut written = Vec::new();
        let mut adds = displaced.kept;
        for batch in batches {
            adds.push(parquet_file::write(
                &root,
                &date,
                Level::Raw,
                &[batch],
                now_ms,
            )?);
        }
        for add in adds {
            written.push(root.join(&add.path));
            actions.push(Action::Add(add));
        }
        if actions.is_empty() {
            return Ok(());
        }
        pass.steps.reached(Step::RollingUp);
        if let Err(error) = self.commit(pass, actions).await {
            for path in written {
                // Nothing names these files; where one cannot be removed, the vacuum finds it.
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
        pass.steps.reached(Step::RolledUp);
        Ok(())
    }

    /// Commits how far the table has come where no rows have said so for long.
    async fn commit_position(&mut self, pass: &mut Pass<'_>) -> Result<(), SinkError> {
        let Some(Progress { version, .. }) = self.committed else {
            return Ok(());
        };
        // A source that was made anew has a lower version than the one before.
        if version > self.progress.version || version + POSITION_EVERY <= self.progress.version {
            self.commit(pass, Vec::new()).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, pass: &mut Pass<'_>, actions: Vec<Action>) -> Result<(), SinkError> {
        let version = i64::try_from(self.progress.version).unwrap_or(i64::MAX);
        let mut moves = vec![
            (VERSION_APP.to_owned(), version),
            (UNTIL_APP.to_owned(), self.progress.until),
        ];
        let removes = |action: &Action| matches!(action, Action::Remove(_));
        if actions.iter().any(removes) {
            let turn = pass.target.transaction(MAINTENANCE_APP).await?;
            moves.push((MAINTENANCE_APP.to_owned(), turn.unwrap_or_default() + 1));
        }
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![PARTITION_COLUMN.to_owned()]),
            predicate: None,
        };
        pass.target.commit(actions, &moves, operation).await?;
        self.committed = Some(self.progress);
        Ok(())
    }
}

async fn progress(table: &Table) -> Result<Option<Progress>, TableError> {
    let version = table.transaction(VERSION_APP).await?;
    let until = table.transaction(UNTIL_APP).await?;
    Ok(version.zip(until).map(|(version, until)| Progress {
        version: u64::try_from(version).unwrap_or_default(),
        until,
    }))
}

/// The time before which rows of a table may be missing.
async fn retired(table: &Table) -> Result<i64, TableError> {
    let day = table.transaction(RETIRED_APP).await?;
    Ok(day.map_or(i64::MIN, |day| day.saturating_mul(US_PER_DAY)))
}
