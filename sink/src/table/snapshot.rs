//! What a reader needs of a table at one version: its files, and how far each stream stands.

use std::path::{Path, PathBuf};

use deltalake_core::DeltaTable;
use deltalake_core::table::state::DeltaTableState;
use driftline_eventlog::SourceId;
use driftline_schemas::arrow::PARTITION_COLUMN;

use super::{Table, TableError, TableName, delta_error};
use crate::lane::Lane;
use crate::watermark::{self, SPOOL_APP, WatermarkError, Watermarks};

/// Attempts to read a snapshot whose watermark file a maintenance run may be pruning.
const SNAPSHOT_ATTEMPTS: usize = 3;

/// Which version of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// This one.
    Version(u64),
    /// The newest that was committed at or before this time, in milliseconds since 1970 UTC.
    TimeMs(i64),
}

/// One live Parquet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Absolute path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// The partition: a UTC day, `yyyy-mm-dd`. It is not a column of the file.
    pub date: String,
    /// Smallest `ts`, in microseconds since 1970 UTC.
    pub min_ts_us: Option<i64>,
    /// Largest `ts`.
    pub max_ts_us: Option<i64>,
}

/// A table at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The table.
    pub table: TableName,
    /// The version.
    pub version: u64,
    /// The live files.
    pub files: Vec<DataFile>,
    /// How far each stream of the local spools stands in these files. What comes after it is the
    /// fresh tail. Empty for an older version than the newest.
    pub watermarks: Watermarks,
}

/// Reads a table at a version; `None` where the table does not exist yet.
pub async fn snapshot(
    data: &Path,
    table: TableName,
    at: At,
) -> Result<Option<Snapshot>, TableError> {
    let mut attempt = 1;
    loop {
        let version = match at {
            At::Latest => None,
            At::Version(version) => Some(version),
            At::TimeMs(ms) => match version_at(data, table, ms).await? {
                Some(version) => Some(version),
                None => return Ok(None),
            },
        };
        if let Some(asked) = version {
            check_version(data, table, asked).await?;
        }
        let Some(open) = Table::open(data, table, version).await? else {
            return Ok(None);
        };
        match read(&open, at).await {
            Err(TableError::Watermark(WatermarkError::Io { .. }))
                if attempt < SNAPSHOT_ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result.map(Some),
        }
    }
}

/// The offset that a table expects next of a source; 0 where it has none of it.
pub async fn position(data: &Path, table: TableName, source: &SourceId) -> Result<u64, TableError> {
    match Table::open(data, table, None).await? {
        Some(table) => Ok(Lane::load(&table, source).await?.next(source)),
        None => Ok(0),
    }
}

async fn read(table: &Table, at: At) -> Result<Snapshot, TableError> {
    let mut watermarks = Watermarks::default();
    if at == At::Latest
        && let Some(version) = table.transaction(SPOOL_APP).await?
    {
        watermarks = watermark::read(table.root(), SPOOL_APP, version)?;
    }
    Ok(Snapshot {
        table: table.name(),
        version: table.version(),
        files: data_files(table.root(), table.state()),
        watermarks,
    })
}

/// The live files of a state.
pub(crate) fn data_files(root: &Path, state: &DeltaTableState) -> Vec<DataFile> {
    let file = |view: deltalake_core::kernel::LogicalFileView| {
        let stats = FileStats::parse(view.stats().as_deref());
        DataFile {
            path: root.join(view.path().as_ref()),
            size: u64::try_from(view.size()).unwrap_or_default(),
            rows: stats.rows,
            date: view
                .partition_values_map()
                .remove(PARTITION_COLUMN)
                .flatten()
                .unwrap_or_default(),
            min_ts_us: stats.min_ts_us,
            max_ts_us: stats.max_ts_us,
        }
    };
    state.log_data().iter().map(file).collect()
}

/// What the log says of a file.
pub(crate) struct FileStats {
    pub(crate) rows: u64,
    pub(crate) min_ts_us: Option<i64>,
    pub(crate) max_ts_us: Option<i64>,
}

impl FileStats {
    /// Reads the statistics of an Add. What cannot be read is unknown.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let stats = text.and_then(|text| serde_json::from_str(text).ok());
        let stats: serde_json::Value = stats.unwrap_or_default();
        let bound = |which: &str| parse_ts(stats.get(which)?.get("ts")?.as_str()?);
        Self {
            rows: stats
                .get("numRecords")
                .and_then(serde_json::Value::as_u64)
                .unwrap_or_default(),
            min_ts_us: bound("minValues"),
            max_ts_us: bound("maxValues"),
        }
    }
}

fn parse_ts(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|ts| ts.timestamp_micros())
}

async fn version_at(data: &Path, table: TableName, ms: i64) -> Result<Option<u64>, TableError> {
    let Some(open) = Table::open(data, table, None).await? else {
        return Ok(None);
    };
    let (oldest, newest) = versions(&open).await?;
    let none = || TableError::NoVersion {
        table: open.root().to_path_buf(),
        asked: chrono::DateTime::from_timestamp_millis(ms)
            .map_or_else(|| ms.to_string(), |time| time.to_rfc3339()),
        oldest,
        newest,
    };
    let time = chrono::DateTime::from_timestamp_millis(ms).ok_or_else(none)?;
    let mut found = DeltaTable::new(open.log_store().clone());
    found
        .load_with_datetime(time)
        .await
        .map_err(|source| delta_error("find a version by time in", open.root(), source))?;
    let version = found.version().ok_or_else(none)?;
    // The library answers with the oldest version where none is old enough.
    let committed = found
        .snapshot()
        .ok()
        .and_then(|state| state.version_timestamp(version));
    if committed.is_some_and(|committed| committed > ms) {
        return Err(none());
    }
    Ok(Some(version))
}

async fn check_version(data: &Path, table: TableName, asked: u64) -> Result<(), TableError> {
    let Some(open) = Table::open(data, table, None).await? else {
        return Ok(());
    };
    let (oldest, newest) = versions(&open).await?;
    if (oldest..=newest).contains(&asked) {
        return Ok(());
    }
    Err(TableError::NoVersion {
        table: open.root().to_path_buf(),
        asked: asked.to_string(),
        oldest,
        newest,
    })
}

/// The oldest and the newest version whose log entries still stand.
async fn versions(table: &Table) -> Result<(u64, u64), TableError> {
    let dir = table.root().join("_delta_log");
    let entries = std::fs::read_dir(&dir).map_err(|source| TableError::Io {
        op: "list",
        path: dir.clone(),
        source,
    })?;
    let oldest = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let stem = name
                .strip_suffix(".json")
                .or_else(|| name.strip_suffix(".checkpoint.parquet"));
            stem?.parse::<u64>().ok()
        })
        .min();
    Ok((oldest.unwrap_or_default(), table.version()))
}
