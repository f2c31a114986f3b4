//! Parquet files of a table: how their columns are encoded, and how a file becomes durable before
//! the commit that names it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use deltalake_core::kernel::Add;
use driftline_schemas::arrow::PARTITION_COLUMN;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::durable_store::{create_dir_durably, sync_dir};

/// How far a file has come from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Rows in the order of their arrival, written to be committed soon.
    Raw,
    /// Rows sorted by series and time, merged from other files.
    Compacted,
}

/// The prefix of a raw file's name; compaction looks for it.
pub const RAW_PREFIX: &str = "raw-";
/// The prefix of a compacted file's name.
pub const COMPACTED_PREFIX: &str = "sorted-";
const ROWS_PER_GROUP: usize = 1 << 20;
/// Columns of `f64`, of samples and of rollups.
const FLOATS: [&str; 7] = ["value", "sum", "m2", "min", "max", "first", "last"];

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system failed.
    #[error("cannot {op} {path}; is the disk full or read-only?")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The Parquet library failed, most often because the disk is full.
    #[error("cannot write {path}; is the disk full?")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ParquetError,
    },
}

/// The encodings of a level, for every table.
///
/// Measured on host samples: `ts` as deltas takes a sixth of the bytes that its default dictionary
/// takes, and `seq` likewise; sorted values without a dictionary take 1.43 bytes each where a
/// dictionary takes 2.02, because zstd sees the bytes that neighbours share.
pub fn properties(level: Level) -> WriterProperties {
    let zstd = |level| ZstdLevel::try_new(level).map_or(Compression::SNAPPY, Compression::ZSTD);
    let builder = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_statistics_enabled(EnabledStatistics::Page);
    let builder = deltas(deltas(builder, "ts"), "seq");
    // Sketches are all distinct and have no order that anybody asks for.
    let builder = builder
        .set_column_dictionary_enabled(ColumnPath::from("sketch"), false)
        .set_column_statistics_enabled(ColumnPath::from("sketch"), EnabledStatistics::None);
    let builder = FLOATS.iter().fold(builder, |builder, column| {
        builder.set_column_dictionary_enabled(ColumnPath::from(*column), false)
    });
    let compression = match level {
        Level::Raw => zstd(1),
        Level::Compacted => zstd(3),
    };
    builder.set_compression(compression).build()
}

fn deltas(builder: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column);
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// Writes one file of one day, syncs it and its directory, and returns the action that adds it.
/// A file that could not be finished is removed.
pub fn write(
    table_root: &Path,
    date: &str,
    level: Level,
    batches: &[RecordBatch],
    now_ms: i64,
) -> Result<Add, FileError> {
    let prefix = match level {
        Level::Raw => RAW_PREFIX,
        Level::Compacted => COMPACTED_PREFIX,
    };
    let relative = format!(
        "{PARTITION_COLUMN}={date}/{prefix}{}.parquet",
        Uuid::new_v4()
    );
    let path = table_root.join(&relative);
    let size = match write_synced(&path, properties(level), batches) {
        Ok(size) => size,
        Err(error) => {
            // The error that matters is the one before; an orphan is found by the vacuum.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
    };
    Ok(Add {
        path: relative,
        partition_values: HashMap::from([(PARTITION_COLUMN.to_owned(), Some(date.to_owned()))]),
        size: size as i64,
        modification_time: now_ms,
        data_change: level == Level::Raw,
        stats: Some(stats(batches)),
        ..Default::default()
    })
}

fn write_synced(
    path: &Path,
    properties: WriterProperties,
    batches: &[RecordBatch],
) -> Result<u64, FileError> {
    let io = |op| {
        let path = path.to_path_buf();
        move |source| FileError::Io { op, path, source }
    };
    let parquet = |source| FileError::Parquet {
        path: path.to_path_buf(),
        source,
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    create_dir_durably(dir).map_err(io("create the directory of"))?;
    let file = File::create_new(path).map_err(io("create"))?;
    let schema = batches
        .first()
        .map(RecordBatch::schema)
        .unwrap_or_else(|| std::sync::Arc::new(arrow::datatypes::Schema::empty()));
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(parquet)?;
    for batch in batches {
        writer.write(batch).map_err(parquet)?;
    }
    let file = writer.into_inner().map_err(parquet)?;
    file.sync_all().map_err(io("sync"))?;
    let size = file.metadata().map_err(io("inspect"))?.len();
    sync_dir(dir).map_err(io("sync the directory of"))?;
    Ok(size)
}

/// Row count and the bounds of `ts`, by which readers leave whole files out.
fn stats(batches: &[RecordBatch]) -> String {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let times = || {
        let column = |batch: &RecordBatch| batch.column_by_name("ts").cloned();
        batches
            .iter()
            .filter_map(column)
            .filter(|column| !column.is_empty())
    };
    let least = times()
        .filter_map(|ts| min(ts.as_primitive::<TimestampMicrosecondType>()))
        .min();
    let most = times()
        .filter_map(|ts| max(ts.as_primitive::<TimestampMicrosecondType>()))
        .max();
    let mut stats = serde_json::json!({ "numRecords": rows, "nullCount": { "ts": 0 } });
    if let (Some(least), Some(most)) = (least.and_then(rfc3339), most.and_then(rfc3339)) {
        stats["minValues"] = serde_json::json!({ "ts": least });
        stats["maxValues"] = serde_json::json!({ "ts": most });
    }
    stats.to_string()
}

/// `None` for years that the format cannot write: such a file is then never left out.
fn rfc3339(ts_us: i64) -> Option<String> {
    use chrono::Datelike as _;
    let time = chrono::DateTime::from_timestamp_micros(ts_us)?;
    (0..=9999)
        .contains(&time.year())
        .then(|| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}
