//! The table `series`: one row per series that was ever seen, with its metric's meaning.
//!
//! A series' row is committed before its first samples are, so that no sample is without one. The
//! set of known series is loaded at start; two sinks that see a new series at once may both write
//! its row, which readers take as one (they are equal but for `ts`).

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, cast::AsArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use driftline_schemas::arrow::series_schema;
use driftline_schemas::{Labels, Series, SeriesRun};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::batch::{Day, metric_names};
use crate::table::DataFile;

/// Series remembered; beyond this the set starts anew and rows may repeat.
pub(crate) const MAX_KNOWN_SERIES: usize = 4_000_000;

/// The known series could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file of the table cannot be opened.
    #[error("cannot open {path} of the table series")]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of the table cannot be read.
    #[error("cannot read {path} of the table series")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ParquetError,
    },
    /// Arrow arrays do not fit together.
    #[error("cannot build rows of the table series")]
    Arrow(#[from] ArrowError),
}

struct NewSeries {
    ts_us: i64,
    host: String,
    series: Series,
}

/// The series that have a row, and those that wait for one.
#[derive(Default)]
pub(crate) struct SeriesRegistry {
    known: HashSet<u64>,
    fresh: Vec<NewSeries>,
    fresh_keys: HashSet<u64>,
}

impl SeriesRegistry {
    /// Reads the known series from the live files of the table.
    pub(crate) fn load(files: &[DataFile]) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        for file in files {
            registry.load_file(&file.path)?;
        }
        Ok(registry)
    }

    fn load_file(&mut self, path: &PathBuf) -> Result<(), RegistryError> {
        let parquet = |source| RegistryError::Parquet {
            path: path.clone(),
            source,
        };
        let file = File::open(path).map_err(|source| RegistryError::Open {
            path: path.clone(),
            source,
        })?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
        let columns = ["host", "component", "metric", "labels"];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).build().map_err(parquet)?;
        for batch in reader {
            let batch = batch?;
            let text = |name: &str| -> Result<ArrayRef, ArrowError> {
                let index = batch.schema().index_of(name)?;
                cast(batch.column(index), &DataType::Utf8)
            };
            let texts = [
                text("host")?,
                text("component")?,
                text("metric")?,
                text("labels")?,
            ];
            let [host, component, metric, labels] = texts.each_ref().map(|t| t.as_string::<i32>());
            for row in 0..batch.num_rows() {
                self.known.insert(key(
                    host.value(row),
                    component.value(row),
                    metric.value(row),
                    labels.value(row),
                ));
            }
        }
        Ok(())
    }

    /// Takes note of a series of a host and of a time at which it had a sample.
    pub(crate) fn observe(&mut self, host: &str, run: &SeriesRun<'_>, ts_us: i64) {
        let (component, metric) = metric_names(run.metric);
        let key = key(host, component, &metric, run.labels);
        if !self.known.contains(&key) && self.fresh_keys.insert(key) {
            self.fresh.push(NewSeries {
                ts_us,
                host: host.to_owned(),
                series: Series {
                    metric: run.metric.clone(),
                    labels: Labels::from_canonical(run.labels),
                },
            });
        }
    }

    /// The rows that wait, all under the day of the first of them; `None` where none wait.
    pub(crate) fn fresh_rows(&self) -> Result<Option<(Day, RecordBatch)>, ArrowError> {
        let Some(first) = self.fresh.first() else {
            return Ok(None);
        };
        let mut texts: [Vec<String>; 8] = Default::default();
        // One file per commit, so that all its rows stand under one day.
        let ts = vec![first.ts_us; self.fresh.len()];
        for fresh in &self.fresh {
            let (component, metric) = metric_names(&fresh.series.metric);
            let words = fresh.series.metric.view().map(|view| {
                [
                    view.unit,
                    view.kind.as_str(),
                    view.category.as_str(),
                    view.better.as_str(),
                ]
            });
            let [unit, kind, category, better] =
                words.unwrap_or(["", "unknown", "unknown", "neither"]);
            let labels = fresh.series.labels.as_str();
            let row = [
                component,
                &fresh.host,
                &metric,
                labels,
                unit,
                kind,
                category,
                better,
            ];
            for (column, text) in texts.iter_mut().zip(row) {
                column.push(text.to_owned());
            }
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(
            TimestampMicrosecondArray::from(ts).with_timezone("UTC"),
        )];
        for column in texts {
            let plain: StringArray = column.into();
            let dictionary: DictionaryArray<Int32Type> = plain.iter().collect();
            columns.push(Arc::new(dictionary));
        }
        let batch = RecordBatch::try_new(series_schema(), columns)?;
        Ok(Some((Day::of(first.ts_us), batch)))
    }

    /// Takes note that the waiting rows are committed.
    pub(crate) fn committed(&mut self) {
        if self.known.len() + self.fresh_keys.len() > MAX_KNOWN_SERIES {
            self.known.clear();
        }
        self.known.extend(self.fresh_keys.drain());
        self.fresh.clear();
    }

    /// Forgets the waiting rows, because the samples that named them are read again.
    pub(crate) fn discard(&mut self) {
        self.fresh_keys.clear();
        self.fresh.clear();
    }
}

/// 64 bits of SipHash: with millions of series a collision, whose only harm is a missing row of
/// metadata, has odds below one in a million.
fn key(host: &str, component: &str, metric: &str, labels: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (host, component, metric, labels).hash(&mut hasher);
    hasher.finish()
}
