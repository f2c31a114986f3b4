//! What a table has of buckets that are made anew: the files to remove, and their other rows in new
//! files, one file at a time.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, not};
use deltalake_core::kernel::{Action, Add};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::gather::{failed, in_buckets};
use crate::SinkError;
use crate::batch::Day;
use crate::parquet_file::{self, Level};
use crate::table::{DataFile, Table, data_files_of};

/// What makes room for new rows.
#[derive(Default)]
pub(super) struct Displaced {
    /// The files that hold rows of the buckets.
    pub(super) removes: Vec<Action>,
    /// New files with their rows of other buckets.
    pub(super) kept: Vec<Add>,
}

/// Finds what a table has of some ascending buckets of one day.
pub(super) fn displaced(
    table: &Table,
    buckets: &[i64],
    width: i64,
    now_ms: i64,
) -> Result<Displaced, SinkError> {
    let mut displaced = Displaced::default();
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else {
        return Ok(displaced);
    };
    let date = Day::of(*first).to_date();
    let views = table.state().log_data();
    for (file, view) in data_files_of(table).into_iter().zip(views.iter()) {
        let before = file.max_ts_us.is_some_and(|max| max < *first);
        let after = file.min_ts_us.is_some_and(|min| min > *last);
        if file.date != date || before || after {
            continue;
        }
        let held: usize = read(&file, Some("ts"), &mut |batch| {
            Ok(in_buckets(&batch, buckets, width)?.true_count())
        })?
        .iter()
        .sum();
        if held == 0 {
            continue;
        }
        let others = read(&file, None, &mut |batch| {
            let others = not(&in_buckets(&batch, buckets, width)?)?;
            Ok(filter_record_batch(&batch, &others)?)
        })?;
        displaced
            .removes
            .push(Action::Remove(view.remove_action(true)));
        if others.iter().any(|batch| batch.num_rows() > 0) {
            let add = parquet_file::write(table.root(), &date, Level::Raw, &others, now_ms)?;
            displaced.kept.push(add);
        }
    }
    Ok(displaced)
}

/// Does something with every batch of a file: with one of its columns or with all.
fn read<T>(
    file: &DataFile,
    column: Option<&str>,
    act: &mut dyn FnMut(RecordBatch) -> Result<T, SinkError>,
) -> Result<Vec<T>, SinkError> {
    let path: &PathBuf = &file.path;
    let fail = failed("read a file of", path);
    let open = File::open(path).map_err(|error| fail(error.into()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open);
    let builder = builder.map_err(|error| fail(error.into()))?;
    let mask = match column {
        Some(column) => ProjectionMask::columns(builder.parquet_schema(), [column]),
        None => ProjectionMask::all(),
    };
    let reader = builder
        .with_projection(mask)
        .with_batch_size(1 << 16)
        .build();
    let reader = reader.map_err(|error| fail(error.into()))?;
    reader.map(|batch| act(batch?)).collect()
}
