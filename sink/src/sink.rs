//! The sink's loop over all kinds of streams.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::error::ArrowError;
use driftline_eventlog::{LogError, LogReader};
use driftline_schemas::{EncodeError, Kind};

use crate::dead_letter::{DeadLetterError, DeadLetters};
use crate::parquet_file::FileError;
use crate::pipeline::{Counts, Pipeline, Shared};
use crate::report::Reporter;
use crate::series_registry::{RegistryError, SeriesRegistry};
use crate::table::{Table, TableError, TableName};
use crate::{LeaseError, SinkConfig, Steps};

/// Shortest and longest wait after a failure that may pass, such as a full disk.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A sink's failure.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A data file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Dead letters cannot be kept.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    /// The lease is somebody else's.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The known series cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Rows do not fit their schema.
    #[error("cannot build rows")]
    Arrow(#[from] ArrowError),
    /// An event of our own cannot be encoded.
    #[error("cannot encode an event of the sink")]
    Encode(#[from] EncodeError),
    /// A producer is newer than this sink.
    #[error(
        "{source_id} offset {offset} has format version {found}, newer than this build reads; upgrade the sink: nothing is lost meanwhile"
    )]
    NewerFormat {
        /// The source.
        source_id: String,
        /// The record.
        offset: u64,
        /// The version found.
        found: u32,
    },
    /// A source that was never listed.
    #[error("source {source_id} is not one of this sink's")]
    UnknownSource {
        /// The source.
        source_id: String,
    },
    /// A maintenance step failed.
    #[error("cannot {op} in {path}")]
    Maintenance {
        /// What was tried.
        op: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SinkError {
    /// Whether the same step may succeed later, without anybody's help but an operator's.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::File(_) | Self::DeadLetter(_) => true,
            Self::Table(error) => {
                matches!(
                    error,
                    TableError::Io { .. } | TableError::Delta { .. } | TableError::Watermark(_)
                )
            }
            _ => false,
        }
    }
}

/// Wall-clock time, as an argument.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that reads microseconds since 1970 UTC.
    pub fn new(now_us: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_us))
    }

    /// The system's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
    }

    /// Microseconds since 1970 UTC.
    pub fn now_us(&self) -> i64 {
        (self.0)()
    }
}

/// The log into the tables of one data directory.
pub struct Sink {
    config: SinkConfig,
    reader: Box<dyn LogReader + Send>,
    pipelines: Vec<Pipeline>,
    series: SeriesRegistry,
    series_table: Table,
    dead_letters: DeadLetters,
    reporter: Reporter,
    clock: Clock,
    steps: Arc<Steps>,
}

impl Sink {
    /// Opens or creates the tables; positions are read from them when sources appear.
    pub async fn open(
        data: &Path,
        config: SinkConfig,
        reader: Box<dyn LogReader + Send>,
        reporter: Reporter,
        clock: Clock,
        steps: Arc<Steps>,
    ) -> Result<Self, SinkError> {
        let mut pipelines = Vec::new();
        for kind in Kind::ALL {
            let table = Table::open_or_create(data, TableName::of(kind)).await?;
            pipelines.push(Pipeline::new(kind, table));
        }
        let series_table = Table::open_or_create(data, TableName::Series).await?;
        let files = crate::table::data_files_of(&series_table);
        Ok(Self {
            config,
            reader,
            pipelines,
            series: SeriesRegistry::load(&files)?,
            series_table,
            dead_letters: DeadLetters::new(data),
            reporter,
            clock,
            steps,
        })
    }

    /// What has been done since the start, over all tables.
    pub fn counts(&self) -> Counts {
        self.pipelines
            .iter()
            .fold(Counts::default(), |sum, pipeline| {
                let more = pipeline.counts;
                Counts {
                    rows: sum.rows + more.rows,
                    commits: sum.commits + more.commits,
                    duplicates: sum.duplicates + more.duplicates,
                    conflicts: sum.conflicts + more.conflicts,
                    dead_letters: sum.dead_letters + more.dead_letters,
                    missing: sum.missing + more.missing,
                }
            })
    }

    /// The sink's own stream of events.
    pub fn reporter(&mut self) -> &mut Reporter {
        &mut self.reporter
    }

    /// Runs until told to stop, then commits what is pending. Failures that may pass are retried
    /// with growing waits; the log keeps everything meanwhile.
    pub async fn run(&mut self, stop: &AtomicBool) -> Result<(), SinkError> {
        let mut wait = RETRY_WAIT.0;
        while !stop.load(Ordering::Relaxed) {
            match self.turn().await {
                Ok(true) => wait = RETRY_WAIT.0,
                Ok(false) => tokio::time::sleep(Duration::from_millis(self.config.poll_ms)).await,
                Err(error) if error.is_retryable() => {
                    tracing::error!(error = %Chain(&error), retry_in = ?wait, "the sink cannot go on");
                    sleep_unless(stop, wait).await;
                    wait = (wait * 2).min(RETRY_WAIT.1);
                }
                Err(error) => return Err(error),
            }
        }
        self.drain().await
    }

    /// Reads whatever there is and commits it.
    pub async fn drain(&mut self) -> Result<(), SinkError> {
        while self.turn().await? {}
        self.each(async |pipeline, shared| pipeline.commit(shared).await)
            .await
    }

    /// Reads once from every source and commits what is due; says whether there was anything.
    pub async fn turn(&mut self) -> Result<bool, SinkError> {
        let mut any = false;
        self.each(async |pipeline, shared| {
            any |= pipeline.ingest(shared).await?;
            if pipeline.is_due(shared.config) {
                pipeline.commit(shared).await?;
            }
            Ok(())
        })
        .await?;
        Ok(any)
    }

    async fn each(
        &mut self,
        mut act: impl AsyncFnMut(&mut Pipeline, &mut Shared<'_>) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let mut shared = Shared {
            config: &self.config,
            reader: self.reader.as_mut(),
            dead_letters: &self.dead_letters,
            reporter: &mut self.reporter,
            series: &mut self.series,
            series_table: &mut self.series_table,
            clock: &self.clock,
            steps: &self.steps,
        };
        for pipeline in &mut self.pipelines {
            act(pipeline, &mut shared).await?;
        }
        Ok(())
    }
}

async fn sleep_unless(stop: &AtomicBool, wait: Duration) {
    let slice = Duration::from_millis(100);
    let mut left = wait;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(left.min(slice)).await;
        left = left.saturating_sub(slice);
    }
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
