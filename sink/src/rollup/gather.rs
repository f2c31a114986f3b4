//! Reads the rows of some buckets from a source's files, batch by batch, for a share of the series.
//!
//! What the rows are reduced to is left to [`super::reduce`].

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use driftline_schemas::arrow::dictionary;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};

use super::plan::{self, Source};
use super::series::{Numbered, SeriesKey};
use crate::SinkError;

const ROWS_PER_BATCH: usize = 1 << 16;

/// One of several equal shares of all series, by a hash of their names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) part: u64,
    pub(super) of: u64,
}

impl Share {
    fn takes(self, series: &SeriesKey) -> bool {
        let mut hasher = DefaultHasher::new();
        series.hash(&mut hasher);
        hasher.finish() % self.of == self.part
    }
}

/// Reads columns of the rows in some ascending buckets, from every file that may hold some, until
/// `take` has enough. The column `ts` must be among them.
pub(super) fn read(
    files: &[Source],
    columns: &[&str],
    buckets: &[i64],
    width: i64,
    take: &mut dyn FnMut(&RecordBatch) -> Result<bool, SinkError>,
) -> Result<(), SinkError> {
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else {
        return Ok(());
    };
    let within = *first..last.saturating_add(width);
    let buckets: Arc<[i64]> = buckets.into();
    for file in files.iter().filter(|file| file.reaches(&within)) {
        let fail = failed("read a file of", &file.path);
        let open = File::open(&file.path).map_err(|error| fail(error.into()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(open);
        let builder = builder.map_err(|error| fail(error.into()))?;
        let schema = builder.parquet_schema();
        let times = ProjectionMask::columns(schema, ["ts"]);
        let mask = ProjectionMask::columns(schema, columns.iter().copied());
        let buckets = Arc::clone(&buckets);
        let chosen = ArrowPredicateFn::new(times, move |batch| in_buckets(&batch, &buckets, width));
        let reader = builder
            .with_projection(mask)
            .with_row_filter(RowFilter::new(vec![Box::new(chosen)]))
            .with_batch_size(ROWS_PER_BATCH)
            .build();
        for batch in reader.map_err(|error| fail(error.into()))? {
            if !take(&batch?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Which rows of a batch are in some ascending buckets.
pub(super) fn in_buckets(
    batch: &RecordBatch,
    buckets: &[i64],
    width: i64,
) -> Result<BooleanArray, ArrowError> {
    let times = batch.column(batch.schema().index_of("ts")?);
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let contains = |ts_us: &i64| buckets.binary_search(&plan::floor(*ts_us, width)).is_ok();
    Ok(times.values().iter().map(contains).map(Some).collect())
}

/// The number of each row's series; `None` for those of other shares.
pub(super) fn number_series(
    batch: &RecordBatch,
    share: Share,
    series: &mut Numbered<SeriesKey>,
) -> Result<Vec<Option<u32>>, ArrowError> {
    let names = ["metric", "host", "labels", "component"];
    let columns: Vec<Texts> = names
        .into_iter()
        .map(|name| Texts::of(batch, name))
        .collect::<Result<_, _>>()?;
    let mut known: HashMap<[i32; 4], Option<u32>> = HashMap::new();
    let mut numbers = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let keys = [0, 1, 2, 3].map(|at: usize| columns[at].key(row));
        let number = known.entry(keys).or_insert_with(|| {
            let text = |at: usize| columns[at].text(keys[at]).to_owned();
            let key = SeriesKey {
                metric: text(0),
                host: text(1),
                labels: text(2),
                component: text(3),
            };
            share.takes(&key).then(|| series.number(key))
        });
        numbers.push(*number);
    }
    Ok(numbers)
}

/// A column of texts that repeat.
pub(super) struct Texts {
    column: DictionaryArray<Int32Type>,
    texts: StringArray,
}

impl Texts {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let column = cast(batch.column(batch.schema().index_of(name)?), &dictionary())?;
        let column = column.as_dictionary::<Int32Type>().clone();
        let texts = cast(column.values(), &DataType::Utf8)?;
        let texts = texts.as_string::<i32>().clone();
        Ok(Self { column, texts })
    }

    pub(super) fn key(&self, row: usize) -> i32 {
        self.column.keys().value(row)
    }

    pub(super) fn text(&self, key: i32) -> &str {
        // Keys of a dictionary array are checked to lie within its values.
        self.texts.value(key as usize)
    }
}

/// An error of a step that concerns a file.
pub(super) fn failed(
    op: &'static str,
    path: &Path,
) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> SinkError + use<> {
    let path: PathBuf = path.to_path_buf();
    move |source| SinkError::Maintenance {
        op,
        path: path.clone(),
        source,
    }
}
