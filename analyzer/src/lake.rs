//! The tables as a query sees them: the files of one version, and the fresh rows of the log after
//! exactly that version.
//!
//! A table is read first and the log afterwards, so that rows which are committed in between are
//! seen once, in the log: the version's watermarks say where to begin. Reading files is left to
//! [`provider`]; keeping the log long enough is the spool's business, which trims well after the
//! commit.

pub(crate) mod provider;
pub(crate) mod rows;
mod tail;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use driftline_eventlog::LogError;
use driftline_schemas::{Event, Kind, SampleBatch};
use driftline_sink::table::{At, DataFile, Snapshot, TableError, TableName, snapshot};

use self::rows::{Rows, event_columns};

/// Rows of the log that a query takes in beside the tables: about 200 MiB.
pub const DEFAULT_TAIL_MAX_ROWS: usize = 4_000_000;
/// Attempts at a version and a log that fit together, when the log is trimmed in between.
const ATTEMPTS: usize = 3;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeOptions {
    /// Which version. A version's number is that of `samples`; the other tables, which have
    /// numbers of their own, are then read at their newest. A time holds for all of them.
    pub at: At,
    /// Whether rows that are only in the log are seen.
    pub tail: Tail,
    /// Rows of the log that are taken in at most; more are an error.
    pub tail_max_rows: usize,
}

/// Whether rows that are only in the log are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Those in the local spool, of every producer on this machine.
    Spool,
    /// None. Right where spools are shipped to Kafka: what is in a table then came by the broker,
    /// and the version knows nothing of the spool.
    Excluded,
}

/// Reading the tables failed.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log was trimmed while it was read, again and again.
    #[error("the log below {log} moves faster than it can be read; try again")]
    Moving {
        /// The log's directory.
        log: PathBuf,
    },
    /// No sink keeps up with the log.
    #[error(
        "the log holds more than {limit} {kind} rows that are in no table yet; start a sink with `driftline sink`, or raise query.tail_max_rows"
    )]
    TailTooLong {
        /// Of which kind.
        kind: Kind,
        /// The limit.
        limit: usize,
    },
    /// A block was written by a newer build.
    #[error("the log of {stream} holds blocks of format {found}; upgrade driftline to read them")]
    NewerFormat {
        /// Whose block.
        stream: String,
        /// The format.
        found: u32,
    },
    /// Rows that do not become columns.
    #[error("cannot build the columns of fresh rows")]
    Arrow(#[from] ArrowError),
    /// The reading thread ended.
    #[error("the thread that reads the log ended early: {reason}")]
    Thread {
        /// Why.
        reason: String,
    },
}

/// The tables.
#[derive(Debug, Clone, Default)]
pub struct Lake {
    pub(crate) tables: Vec<TableContents>,
    notices: Vec<String>,
}

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct TableContents {
    pub(crate) name: TableName,
    /// `None` where it does not exist yet.
    pub(crate) version: Option<u64>,
    pub(crate) files: Vec<DataFile>,
    /// Rows in the files' columns and the partition column.
    pub(crate) tail: Vec<RecordBatch>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            at: At::Latest,
            tail: Tail::Spool,
            tail_max_rows: DEFAULT_TAIL_MAX_ROWS,
        }
    }
}

impl Lake {
    /// Reads the state of the tables below a data directory, which need not exist yet.
    pub async fn open(data: &Path, options: &LakeOptions) -> Result<Self, LakeError> {
        // Parquet files are named absolutely, whatever the directory that the query starts in.
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
        for attempt in 1..=ATTEMPTS {
            match Self::read(&data, options, attempt == ATTEMPTS).await {
                Err(LakeError::Moving { .. }) if attempt < ATTEMPTS => {}
                result => return result,
            }
        }
        Err(LakeError::Moving {
            log: log_dir(&data),
        })
    }

    async fn read(data: &Path, options: &LakeOptions, last: bool) -> Result<Self, LakeError> {
        let mut lake = Self::default();
        if let At::Version(version) = options.at {
            let notice = format!(
                "samples at version {version}; events, requests and series at their newest"
            );
            lake.notices.push(notice);
        }
        let mut fresh_series = Vec::new();
        for kind in Kind::ALL {
            let name = TableName::of(kind);
            let committed = snapshot(data, name, version_of(name, options.at)).await?;
            let mut rows = Vec::new();
            if options.tail == Tail::Spool && options.at == At::Latest {
                let read = tail::read(log_dir(data), kind, &committed, options, last).await?;
                rows = read.batches;
                fresh_series.extend(read.series);
                lake.notices.extend(read.notices);
            }
            lake.tables.push(TableContents::new(name, committed, rows));
        }
        // A series is committed before its samples are, so this order misses none.
        let name = TableName::Series;
        let committed = snapshot(data, name, version_of(name, options.at)).await?;
        lake.tables
            .push(TableContents::new(name, committed, fresh_series));
        // Rollups follow the tables and have no rows in the log.
        for name in TableName::ROLLUPS {
            let committed = snapshot(data, name, version_of(name, options.at)).await?;
            lake.tables
                .push(TableContents::new(name, committed, Vec::new()));
        }
        Ok(lake)
    }

    /// Tables that hold these samples of a host and nothing else.
    pub fn in_memory(host: &str, batches: &[SampleBatch]) -> Result<Self, LakeError> {
        Self::of_hosts(batches.iter().map(|batch| (host, batch)), [])
    }

    /// Tables that hold these samples and events, each with its host, and nothing else.
    pub fn of_hosts<'a>(
        samples: impl IntoIterator<Item = (&'a str, &'a SampleBatch)>,
        events: impl IntoIterator<Item = (&'a str, &'a [Event])>,
    ) -> Result<Self, LakeError> {
        let mut rows = Rows::default();
        for (host, batch) in samples {
            rows.push(host, batch)?;
        }
        let (samples, series) = rows.finish()?;
        let events = events
            .into_iter()
            .map(|(host, events)| event_columns(host, events))
            .collect::<Result<Vec<_>, _>>()?;
        let mut lake = Self::default();
        for (name, tail) in [(TableName::Samples, samples), (TableName::Series, series)] {
            lake.tables.push(TableContents::new(name, None, tail));
        }
        Ok(lake.with_rows(TableName::Events, events))
    }

    /// These rows besides, in the columns of the table and with its partition column.
    pub fn with_rows(mut self, name: TableName, rows: Vec<RecordBatch>) -> Self {
        match self.tables.iter_mut().find(|table| table.name == name) {
            Some(table) => table.tail.extend(rows),
            None if rows.is_empty() => {}
            None => self.tables.push(TableContents::new(name, None, rows)),
        }
        self
    }

    /// A table's contents; of one that was never read, nothing.
    pub(crate) fn contents(&self, name: TableName) -> TableContents {
        let found = self.tables.iter().find(|table| table.name == name);
        found
            .cloned()
            .unwrap_or_else(|| TableContents::new(name, None, Vec::new()))
    }

    /// What the person who asks should know, such as damage in the log.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The version of a table; `None` where it does not exist yet.
    pub fn version(&self, name: TableName) -> Option<u64> {
        self.tables.iter().find(|table| table.name == name)?.version
    }

    /// Whether a table holds anything.
    pub(crate) fn has_rows(&self, name: TableName) -> bool {
        let found = self.tables.iter().find(|table| table.name == name);
        found.is_some_and(|table| !table.files.is_empty() || !table.tail.is_empty())
    }

    /// Whether there is nothing to ask: neither tables nor fresh rows.
    pub fn is_empty(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.files.is_empty() && table.tail.is_empty())
    }
}

impl TableContents {
    fn new(name: TableName, committed: Option<Snapshot>, tail: Vec<RecordBatch>) -> Self {
        let version = committed.as_ref().map(|snapshot| snapshot.version);
        let files = committed.map(|snapshot| snapshot.files).unwrap_or_default();
        Self {
            name,
            version,
            files,
            tail,
        }
    }
}

fn version_of(name: TableName, at: At) -> At {
    match at {
        At::Version(_) if name != TableName::Samples => At::Latest,
        at => at,
    }
}

fn log_dir(data: &Path) -> PathBuf {
    data.join("log")
}

#[cfg(test)]
mod tests;
