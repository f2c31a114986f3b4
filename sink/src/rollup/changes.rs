//! What has been added to a source since a version, by its log, and which buckets that touches.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use driftline_schemas::arrow::PARTITION_COLUMN;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::gather::failed;
use super::plan::{self, Source};
use crate::SinkError;
use crate::table::{FileStats, Table, delta_error};

/// The files whose rows are new after a version; `None` where the log no longer reaches back so far,
/// or not yet that far, because the table was made anew.
/// Files that only hold the rows of others anew are none of them.
pub(super) async fn since(table: &Table, after: u64) -> Result<Option<Vec<Source>>, SinkError> {
    let fail = |source| delta_error("read the log of", table.root(), source);
    if after > table.version() {
        return Ok(None);
    }
    let mut added = Vec::new();
    for version in after + 1..=table.version() {
        let entry = table.log_store().read_commit_entry(version).await;
        let Some(entry) = entry.map_err(fail)? else {
            return Ok(None);
        };
        for action in get_actions(version, &entry).map_err(fail)? {
            let Action::Add(add) = action else { continue };
            if !add.data_change {
                continue;
            }
            let stats = FileStats::parse(add.stats.as_deref());
            let date = add.partition_values.get(PARTITION_COLUMN).cloned();
            let date = date.flatten().unwrap_or_default();
            let path = table.root().join(&add.path);
            added.extend(Source::new(path, &date, stats.min_ts_us, stats.max_ts_us));
        }
    }
    Ok(Some(added))
}

/// The buckets within a range that the rows of files fall into. Of a file that has been merged and
/// vacuumed meanwhile, they are all that it may have held.
pub(super) fn buckets(
    files: &[Source],
    within: Range<i64>,
    width: i64,
) -> Result<BTreeSet<i64>, SinkError> {
    let mut buckets = BTreeSet::new();
    for file in files.iter().filter(|file| file.reaches(&within)) {
        match File::open(&file.path) {
            Ok(open) => touched(open, file, &within, width, &mut buckets)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let one = std::slice::from_ref(file);
                buckets.extend(plan::buckets(one, within.clone(), width));
            }
            Err(error) => return Err(failed("open a file of", &file.path)(error.into())),
        }
    }
    Ok(buckets)
}

fn touched(
    open: File,
    file: &Source,
    within: &Range<i64>,
    width: i64,
    buckets: &mut BTreeSet<i64>,
) -> Result<(), SinkError> {
    let fail = failed("read a file of", &file.path);
    let builder = ParquetRecordBatchReaderBuilder::try_new(open);
    let builder = builder.map_err(|error| fail(error.into()))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["ts"]);
    let reader = builder.with_projection(mask).build();
    let mut last = None;
    for batch in reader.map_err(|error| fail(error.into()))? {
        let batch = batch?;
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        for ts_us in times.values() {
            let bucket = plan::floor(*ts_us, width);
            if last != Some(bucket) && within.contains(ts_us) {
                buckets.insert(bucket);
                last = Some(bucket);
            }
        }
    }
    Ok(())
}
