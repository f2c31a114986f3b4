//! Delta tables: opening and creating them, their snapshots, and the commit that makes rows and
//! positions visible together.
//!
//! Writing Parquet is left to [`crate::parquet_file`]; what to commit is left to the sink.

mod create;
mod snapshot;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{
    CommitBuilder, CommitConflictError, CommitProperties, TransactionError,
};
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, logstore_with};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use driftline_schemas::Kind;
use url::Url;

pub use self::create::arrow_schema;
pub(crate) use self::snapshot::FileStats;
pub use self::snapshot::{At, DataFile, Snapshot, position, snapshot};
use crate::durable_store;
use crate::watermark::WatermarkError;

/// The transaction that every commit carries which removes files, so that two of them never
/// succeed on one snapshot.
pub const MAINTENANCE_APP: &str = "driftline.maintenance";
/// The transaction that moves when days are removed: all days before its version, in days since
/// 1970, are incomplete, whatever rows of them have come since.
pub(crate) const RETIRED_APP: &str = "driftline.retired";
/// Names our tables in their Delta metadata, so that a foreign table is recognised.
pub(crate) const TABLE_FORMAT_KEY: &str = "driftline.format";
/// The version of the tables' layout.
pub(crate) const TABLE_FORMAT: u32 = 1;

/// A table operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file system failed.
    #[error("cannot {op} {path}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The Delta library failed.
    #[error("cannot {op} table {table}")]
    Delta {
        /// What was tried.
        op: &'static str,
        /// The table's directory.
        table: PathBuf,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// Another writer committed under one of our transactions.
    #[error("another writer has moved {app} of table {table}; its position must be read again")]
    Conflict {
        /// The table's directory.
        table: PathBuf,
        /// The transaction, where it is known.
        app: String,
    },
    /// The directory holds a Delta table that Driftline did not make, or of a newer layout.
    #[error(
        "{table} holds a table that is not Driftline's ({reason}); choose another data directory with --data"
    )]
    Foreign {
        /// The table's directory.
        table: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The newest log entry is empty or cut: the commit cannot be trusted.
    #[error(
        "log entry {path} of a table is damaged ({reason}); restore it, or remove it if it is the newest one: its rows are then committed again from the log"
    )]
    DamagedLog {
        /// The log entry.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No such version, or none that old.
    #[error("table {table} has no version for {asked}; versions {oldest} to {newest} can be read")]
    NoVersion {
        /// The table's directory.
        table: PathBuf,
        /// What was asked for.
        asked: String,
        /// The oldest version.
        oldest: u64,
        /// The newest version.
        newest: u64,
    },
    /// A watermark file failed.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
}

/// The tables of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableName {
    /// Values of series.
    Samples,
    /// Operations of load runs.
    Requests,
    /// Facts of any other sort.
    Events,
    /// What is known of each series.
    Series,
    /// Samples by the minute.
    Samples1m,
    /// Samples by the hour.
    Samples1h,
    /// Samples by the UTC day.
    Samples1d,
}

impl TableName {
    /// Every table.
    pub const ALL: [Self; 7] = [
        Self::Samples,
        Self::Requests,
        Self::Events,
        Self::Series,
        Self::Samples1m,
        Self::Samples1h,
        Self::Samples1d,
    ];
    /// The tables that are made from `samples`, each from the one before.
    pub const ROLLUPS: [Self; 3] = [Self::Samples1m, Self::Samples1h, Self::Samples1d];

    /// The table's name in SQL, which is also its directory's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Series => "series",
            Self::Samples1m => "samples_1m",
            Self::Samples1h => "samples_1h",
            Self::Samples1d => "samples_1d",
        }
    }

    /// The table that a kind of stream goes to.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Samples => Self::Samples,
            Kind::Requests => Self::Requests,
            Kind::Events => Self::Events,
        }
    }

    /// The table's directory below a data directory.
    pub fn dir(self, data: &Path) -> PathBuf {
        data.join("tables").join(self.as_str())
    }
}

/// An open table: its log store and the state that the next commit builds on.
pub struct Table {
    name: TableName,
    root: PathBuf,
    log_store: LogStoreRef,
    state: DeltaTableState,
}

impl Table {
    /// Opens a table at its newest version, creating it where there is none.
    pub async fn open_or_create(data: &Path, name: TableName) -> Result<Self, TableError> {
        let root = name.dir(data);
        durable_store::create_dir_durably(&root).map_err(|source| TableError::Io {
            op: "create",
            path: root.clone(),
            source,
        })?;
        let log_store = log_store(&root)?;
        if !has_log(&root) {
            create::create(name, &root, Arc::clone(&log_store)).await?;
        }
        Self::load(name, root, log_store, None).await
    }

    /// Opens a table that exists; `None` where there is none yet.
    pub async fn open(
        data: &Path,
        name: TableName,
        version: Option<u64>,
    ) -> Result<Option<Self>, TableError> {
        let root = name.dir(data);
        if !has_log(&root) {
            return Ok(None);
        }
        let log_store = log_store(&root)?;
        Self::load(name, root, log_store, version).await.map(Some)
    }

    async fn load(
        name: TableName,
        root: PathBuf,
        log_store: LogStoreRef,
        version: Option<u64>,
    ) -> Result<Self, TableError> {
        check_newest_entry(&root)?;
        let state = DeltaTableState::try_new(log_store.as_ref(), version)
            .await
            .map_err(|source| delta_error("open", &root, source))?;
        create::check_ours(&root, &state)?;
        Ok(Self {
            name,
            root,
            log_store,
            state,
        })
    }

    /// Which table this is.
    pub fn name(&self) -> TableName {
        self.name
    }

    /// The table's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The version that the next commit builds on.
    pub fn version(&self) -> u64 {
        self.state.version()
    }

    /// The state that the next commit builds on.
    pub fn state(&self) -> &DeltaTableState {
        &self.state
    }

    /// The table's log.
    pub fn log_store(&self) -> &LogStoreRef {
        &self.log_store
    }

    /// Takes in what others have committed.
    pub async fn refresh(&mut self) -> Result<(), TableError> {
        self.state
            .update(self.log_store.as_ref(), None)
            .await
            .map_err(|source| delta_error("refresh", &self.root, source))
    }

    /// The version of a transaction, as the current state has it.
    pub async fn transaction(&self, app: &str) -> Result<Option<i64>, TableError> {
        self.state
            .transaction_version(self.log_store.as_ref(), app)
            .await
            .map_err(|source| delta_error("read a transaction of", &self.root, source))
    }

    /// Commits actions and moves transactions, all or nothing, durably.
    ///
    /// # Errors
    /// [`TableError::Conflict`] when another writer has moved one of these transactions since this
    /// table was last refreshed: nothing was committed.
    pub async fn commit(
        &mut self,
        actions: Vec<Action>,
        transactions: &[(String, i64)],
        operation: DeltaOperation,
    ) -> Result<(), TableError> {
        let moves = transactions
            .iter()
            .map(|(app, version)| Transaction::new(app, *version));
        let properties = CommitProperties::default()
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(moves.collect());
        let commit = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(
                Some(self.state.snapshot()),
                Arc::clone(&self.log_store),
                operation,
            )
            .await;
        match commit {
            Ok(done) => {
                self.state = done.snapshot();
                Ok(())
            }
            Err(source) if is_conflict(&source) => {
                let apps: Vec<_> = transactions.iter().map(|(app, _)| app.as_str()).collect();
                Err(TableError::Conflict {
                    table: self.root.clone(),
                    app: apps.join(", "),
                })
            }
            Err(source) => Err(delta_error("commit to", &self.root, source)),
        }
    }
}

/// The live files of an open table.
pub(crate) fn data_files_of(table: &Table) -> Vec<DataFile> {
    snapshot::data_files(&table.root, &table.state)
}

fn is_conflict(error: &DeltaTableError) -> bool {
    let DeltaTableError::Transaction { source } = error else {
        return false;
    };
    matches!(
        source,
        TransactionError::CommitConflict(
            CommitConflictError::ConcurrentTransaction
                | CommitConflictError::ConcurrentDeleteDelete
                | CommitConflictError::ConcurrentDeleteRead
        )
    )
}

pub(crate) fn delta_error(op: &'static str, table: &Path, source: DeltaTableError) -> TableError {
    TableError::Delta {
        op,
        table: table.to_path_buf(),
        source: Box::new(source),
    }
}

fn log_store(root: &Path) -> Result<LogStoreRef, TableError> {
    let absolute = fs::canonicalize(root).map_err(|source| TableError::Io {
        op: "open",
        path: root.to_path_buf(),
        source,
    })?;
    let foreign = |reason: &str| TableError::Foreign {
        table: root.to_path_buf(),
        reason: reason.to_owned(),
    };
    let url = Url::from_directory_path(&absolute).map_err(|()| foreign("its path is not a URL"))?;
    let store = durable_store::whole()
        .map_err(|source| delta_error("open", root, DeltaTableError::from(source)))?;
    logstore_with(store, &url, StorageConfig::default())
        .map_err(|source| delta_error("open", root, source))
}

fn has_log(root: &Path) -> bool {
    let Ok(entries) = fs::read_dir(root.join("_delta_log")) else {
        return false;
    };
    entries
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().ends_with(".json"))
}

/// A zero-length newest entry would load silently as an empty commit, and a cut one would make the
/// table unreadable with an error about JSON: both are named here instead.
fn check_newest_entry(root: &Path) -> Result<(), TableError> {
    let dir = root.join("_delta_log");
    let fail = |op, path: &Path, source| TableError::Io {
        op,
        path: path.to_path_buf(),
        source,
    };
    let entries = fs::read_dir(&dir).map_err(|source| fail("list", &dir, source))?;
    let newest = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .max();
    let Some(path) = newest else { return Ok(()) };
    let bytes = fs::read(&path).map_err(|source| fail("read", &path, source))?;
    let reason = if bytes.is_empty() {
        "it is empty".to_owned()
    } else {
        let last = bytes
            .trim_ascii_end()
            .split(|byte| *byte == b'\n')
            .next_back();
        match serde_json::from_slice::<serde_json::Value>(last.unwrap_or_default()) {
            Ok(_) => return Ok(()),
            Err(error) => format!("its last line is not JSON: {error}"),
        }
    };
    Err(TableError::DamagedLog { path, reason })
}
