//! What a table has of buckets that are made anew: the files to remove, and their other rows.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, filter_record_batch, not};
use deltalake_core::kernel::Action;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::gather::{failed, in_buckets};
use crate::SinkError;
use crate::batch::Day;
use crate::table::{Table, arrow_schema};

/// What makes room for new rows.
#[derive(Default)]
pub(super) struct Displaced {
    /// The files that hold rows of the buckets.
    pub(super) removes: Vec<Action>,
    /// Their rows of other buckets, a batch per file.
    pub(super) kept: Vec<RecordBatch>,
}

/// Finds what a table has of some ascending buckets of one day.
pub(super) fn displaced(
    table: &Table,
    buckets: &[i64],
    width: i64,
) -> Result<Displaced, SinkError> {
    let mut displaced = Displaced::default();
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else {
        return Ok(displaced);
    };
    let date = Day::of(*first).to_date();
    let files = crate::table::data_files_of(table);
    for (file, view) in files.into_iter().zip(table.state().log_data().iter()) {
        let before = file.max_ts_us.is_some_and(|max| max < *first);
        let after = file.min_ts_us.is_some_and(|min| min > *last);
        if file.date != date || before || after {
            continue;
        }
        let fail = failed("read a file of", &file.path);
        let open = File::open(&file.path).map_err(|error| fail(error.into()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(open)
            .and_then(|builder| builder.build())
            .map_err(|error| fail(error.into()))?;
        let mut kept = Vec::new();
        let mut rows = 0;
        for batch in reader {
            let batch = batch?;
            rows += batch.num_rows();
            let others = not(&in_buckets(&batch, buckets, width)?)?;
            kept.push(filter_record_batch(&batch, &others)?);
        }
        let kept = concat_batches(&arrow_schema(table.name()), &kept)?;
        if kept.num_rows() == rows {
            continue;
        }
        displaced
            .removes
            .push(Action::Remove(view.remove_action(true)));
        if kept.num_rows() > 0 {
            displaced.kept.push(kept);
        }
    }
    Ok(displaced)
}
