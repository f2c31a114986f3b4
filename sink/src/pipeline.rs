//! One kind of stream into its table: read, judge, gather, write, commit.
//!
//! The order within a commit is what makes it exactly once: rows are durable in files that nothing
//! names, then watermarks are, then one Delta commit names both and moves the transactions, and
//! only then is the log told that it may forget.

use std::collections::BTreeMap;
use std::time::Instant;

use deltalake_core::kernel::Action;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use driftline_eventlog::{LogError, LogReader, Record, SourceId};
use driftline_schemas::arrow::PARTITION_COLUMN;
use driftline_schemas::{Decoder, Kind};

use crate::batch::{BatchBuilder, MAX_DAYS_PER_BATCH};
use crate::dead_letter::DeadLetters;
use crate::ingest::{Outcome, judge};
use crate::lane::Lane;
use crate::parquet_file::{self, Level};
use crate::report::Reporter;
use crate::series_registry::SeriesRegistry;
use crate::table::{Table, TableError};
use crate::watermark::{self, app_of};
use crate::{Clock, SinkConfig, SinkError, Step, Steps};

/// What a sink has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows committed.
    pub rows: u64,
    /// Commits.
    pub commits: u64,
    /// Blocks that were in the table already.
    pub duplicates: u64,
    /// Blocks that bear the number of another block.
    pub conflicts: u64,
    /// Records that could not be decoded.
    pub dead_letters: u64,
    /// Blocks that never came.
    pub missing: u64,
}

/// The parts of a sink that its pipelines share.
pub(crate) struct Shared<'a> {
    pub(crate) config: &'a SinkConfig,
    pub(crate) reader: &'a mut dyn LogReader,
    pub(crate) dead_letters: &'a DeadLetters,
    pub(crate) reporter: &'a mut Reporter,
    pub(crate) series: &'a mut SeriesRegistry,
    pub(crate) series_table: &'a mut Table,
    pub(crate) clock: &'a Clock,
    pub(crate) steps: &'a Steps,
}

/// One kind of stream on its way into its table.
pub(crate) struct Pipeline {
    kind: Kind,
    table: Table,
    lanes: BTreeMap<String, Lane>,
    sources: Vec<SourceId>,
    batch: BatchBuilder,
    decoder: Decoder,
    pending_since: Option<Instant>,
    pub(crate) counts: Counts,
}

impl Pipeline {
    pub(crate) fn new(kind: Kind, table: Table) -> Self {
        let batch = BatchBuilder::new(table.name());
        Self {
            kind,
            table,
            lanes: BTreeMap::new(),
            sources: Vec::new(),
            batch,
            decoder: Decoder::default(),
            pending_since: None,
            counts: Counts::default(),
        }
    }

    /// Reads once from every source; says whether there was anything. After an error what was
    /// pending is read again.
    pub(crate) async fn ingest(&mut self, shared: &mut Shared<'_>) -> Result<bool, SinkError> {
        let result = self.try_ingest(shared).await;
        if result.is_err() {
            self.forget_pending(shared);
            self.lanes.clear();
        }
        result
    }

    async fn try_ingest(&mut self, shared: &mut Shared<'_>) -> Result<bool, SinkError> {
        self.follow_sources(shared).await?;
        let mut any = false;
        for source in self.sources.clone() {
            let from = self.lane(&source)?.next(&source);
            match shared.reader.read(&source, from, shared.config.read_bytes) {
                Ok(records) => {
                    any |= !records.is_empty();
                    self.take(shared, &source, &records)?;
                }
                Err(error) => self.pass_obstacle(shared, &source, from, error)?,
            }
            if self.is_full(shared.config) {
                self.commit(shared).await?;
            }
        }
        Ok(any)
    }

    /// Opens lanes of new sources. Where a source has gone, what is pending is read again, because
    /// its rows are another sink's now.
    async fn follow_sources(&mut self, shared: &mut Shared<'_>) -> Result<(), SinkError> {
        let sources = shared.reader.sources(self.kind)?;
        let moved = |source: &SourceId| matches!(source, SourceId::Kafka { .. });
        let lost = self
            .sources
            .iter()
            .any(|had| moved(had) && !sources.contains(had));
        if lost {
            self.forget_pending(shared);
            self.lanes.clear();
        }
        for source in &sources {
            let app = app_of(source);
            if !self.lanes.contains_key(&app) {
                if moved(source) {
                    self.table.refresh().await?;
                }
                self.lanes
                    .insert(app, Lane::load(&self.table, source).await?);
            }
        }
        for lane in self.lanes.values_mut() {
            if lane.app() == watermark::SPOOL_APP && !lane.is_touched() {
                lane.retire(&sources, Instant::now());
            }
        }
        self.sources = sources;
        Ok(())
    }

    fn lane(&mut self, source: &SourceId) -> Result<&mut Lane, SinkError> {
        let app = app_of(source);
        self.lanes.get_mut(&app).ok_or(SinkError::UnknownSource {
            source_id: source.to_string(),
        })
    }

    fn take(
        &mut self,
        shared: &mut Shared<'_>,
        source: &SourceId,
        records: &[Record],
    ) -> Result<(), SinkError> {
        let mut decoder = std::mem::take(&mut self.decoder);
        let taken = records
            .iter()
            .try_for_each(|record| self.take_one(shared, source, record, &mut decoder));
        self.decoder = decoder;
        taken
    }

    fn take_one(
        &mut self,
        shared: &mut Shared<'_>,
        source: &SourceId,
        record: &Record,
        decoder: &mut Decoder,
    ) -> Result<(), SinkError> {
        let lane = self.lane(source)?;
        match judge(source, record, &mut lane.marks, decoder) {
            Outcome::Accepted {
                envelope,
                rows,
                missing,
            } => {
                lane.advance(source, record.offset + 1);
                if missing > 0 {
                    self.counts.missing += missing;
                    shared
                        .reporter
                        .sequence_gap(&envelope, missing, shared.clock)?;
                }
                let (host, series) = (&envelope.host, &mut *shared.series);
                self.batch.push(&envelope, &rows, &mut |run, ts_us| {
                    series.observe(host, run, ts_us);
                });
            }
            Outcome::Duplicate => {
                lane.advance(source, record.offset + 1);
                self.counts.duplicates += 1;
            }
            Outcome::Conflict {
                envelope,
                committed,
            } => {
                let reason = format!("the table holds another block with checksum {committed:08x}");
                self.set_aside(shared, source, record, &reason)?;
                self.counts.conflicts += 1;
                shared
                    .reporter
                    .conflict(&envelope, committed, source, shared.clock)?;
            }
            Outcome::Undecodable { reason } => {
                self.set_aside(shared, source, record, &reason)?;
                self.counts.dead_letters += 1;
                let origin = format!("{source} offset {}", record.offset);
                shared
                    .reporter
                    .dead_lettered(&origin, &reason, shared.clock)?;
            }
            Outcome::Newer { found } => {
                let source_id = source.to_string();
                return Err(SinkError::NewerFormat {
                    source_id,
                    offset: record.offset,
                    found,
                });
            }
        }
        self.pending_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn set_aside(
        &mut self,
        shared: &mut Shared<'_>,
        source: &SourceId,
        record: &Record,
        reason: &str,
    ) -> Result<(), SinkError> {
        let now_us = shared.clock.now_us();
        shared
            .dead_letters
            .keep(source, record.offset, reason, &record.payload, now_us)?;
        self.lane(source)?.advance(source, record.offset + 1);
        Ok(())
    }

    /// Steps over records that are gone or damaged, and says so; other errors are passed on.
    fn pass_obstacle(
        &mut self,
        shared: &mut Shared<'_>,
        source: &SourceId,
        from: u64,
        error: LogError,
    ) -> Result<(), SinkError> {
        let next = match &error {
            LogError::Trimmed {
                first_available, ..
            } => *first_available,
            LogError::Corrupt { .. } => shared.reader.skip_damage(source, from)?,
            _ => return Err(error.into()),
        };
        self.counts.missing += next.saturating_sub(from);
        shared
            .reporter
            .lost(source, from, next, &error.to_string(), shared.clock)?;
        self.lane(source)?.advance(source, next);
        self.pending_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn is_full(&self, config: &SinkConfig) -> bool {
        self.batch.rows() >= config.batch_rows || self.batch.days() >= MAX_DAYS_PER_BATCH
    }

    /// Whether the commit interval has passed since the first pending record.
    pub(crate) fn is_due(&self, config: &SinkConfig) -> bool {
        self.pending_since
            .is_some_and(|since| since.elapsed() >= config.commit_every())
    }

    /// Commits what is pending. After a conflict nothing is pending any more: the positions are
    /// read from the table again and the log is read from there.
    pub(crate) async fn commit(&mut self, shared: &mut Shared<'_>) -> Result<(), SinkError> {
        if !self.lanes.values().any(Lane::is_touched) {
            self.pending_since = None;
            return Ok(());
        }
        match self.try_commit(shared).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.forget_pending(shared);
                self.lanes.clear();
                self.table.refresh().await?;
                match error {
                    SinkError::Table(TableError::Conflict { .. }) => {
                        tracing::warn!(%error, "reading positions again");
                        Ok(())
                    }
                    error => Err(error),
                }
            }
        }
    }

    async fn try_commit(&mut self, shared: &mut Shared<'_>) -> Result<(), SinkError> {
        commit_series(shared).await?;
        let rows = self.batch.rows() as u64;
        let now_ms = shared.clock.now_us() / 1_000;
        let mut actions = Vec::new();
        for (day, batch) in self.batch.finish()? {
            let date = day.to_date();
            let add = parquet_file::write(self.table.root(), &date, Level::Raw, &[batch], now_ms)?;
            actions.push(Action::Add(add));
        }
        shared.steps.reached(Step::FilesWritten);
        let mut moves = Vec::new();
        for lane in self.lanes.values().filter(|lane| lane.is_touched()) {
            let version = lane.next_version();
            watermark::write(self.table.root(), lane.app(), version, &lane.marks)
                .map_err(TableError::from)?;
            moves.push((lane.app().to_owned(), version));
        }
        shared.steps.reached(Step::WatermarksWritten);
        self.table
            .commit(actions, &moves, append_operation())
            .await?;
        shared.steps.reached(Step::Committed);
        self.counts.rows += rows;
        self.counts.commits += 1;
        self.pending_since = None;
        for lane in self.lanes.values_mut().filter(|lane| lane.is_touched()) {
            for (source, next) in lane.committed() {
                shared.reader.committed(&source, next)?;
            }
        }
        shared.steps.reached(Step::Acknowledged);
        Ok(())
    }

    fn forget_pending(&mut self, shared: &mut Shared<'_>) {
        self.batch = BatchBuilder::new(self.table.name());
        if self.kind == Kind::Samples {
            shared.series.discard();
        }
        self.pending_since = None;
    }
}

/// Commits the rows of series that are seen for the first time, before their samples.
async fn commit_series(shared: &mut Shared<'_>) -> Result<(), SinkError> {
    let Some((day, batch)) = shared.series.fresh_rows()? else {
        return Ok(());
    };
    let now_ms = shared.clock.now_us() / 1_000;
    let root = shared.series_table.root().to_path_buf();
    let add = parquet_file::write(&root, &day.to_date(), Level::Raw, &[batch], now_ms)?;
    shared
        .series_table
        .commit(vec![Action::Add(add)], &[], append_operation())
        .await?;
    shared.series.committed();
    Ok(())
}

fn append_operation() -> DeltaOperation {
    DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: Some(vec![PARTITION_COLUMN.to_owned()]),
        predicate: None,
    }
}
