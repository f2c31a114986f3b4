//! Rows in memory in the shape of the tables: the partition column, and series that no table knows
//! yet.
//!
//! Rows of blocks come from the sink's own builder, so that they look the same before and after
//! they are committed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use driftline_schemas::arrow::{PARTITION_COLUMN, events_schema, samples_schema, series_schema};
use driftline_schemas::{Event, Labels, MetricRef, SampleBatch, Series, SeriesRun};

const US_PER_DAY: i64 = 86_400_000_000;

/// The partition column, as it stands behind the columns of the files.
pub(crate) fn partition_field() -> Field {
    Field::new(PARTITION_COLUMN, DataType::Date32, false)
}

/// A table's columns and the partition column.
pub(crate) fn with_partition(files: &SchemaRef) -> SchemaRef {
    let mut fields = files.fields().to_vec();
    fields.push(Arc::new(partition_field()));
    Arc::new(Schema::new(fields))
}

/// Adds the partition column.
pub(crate) fn dated(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let ts = batch.column(batch.schema().index_of("ts")?);
    // Days that a 32-bit number cannot count are the nearest that it can.
    let day = |us: i64| {
        let day = us.div_euclid(US_PER_DAY);
        day.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    };
    let dates: Date32Array = ts.as_primitive::<TimestampMicrosecondType>().unary(day);
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(dates));
    RecordBatch::try_new(with_partition(&batch.schema()), columns)
}

/// Gathers samples and the series that they belong to.
#[derive(Default)]
pub(super) struct Rows {
    samples: Vec<RecordBatch>,
    seen: SeenSeries,
}

impl Rows {
    /// Adds samples that never were in a log: they have no stream.
    pub(super) fn push(&mut self, host: &str, batch: &SampleBatch) -> Result<(), ArrowError> {
        self.seen.observe(host, batch);
        self.samples.push(dated(&sample_columns(host, batch)?)?);
        Ok(())
    }

    /// Rows of the tables `samples` and `series`.
    pub(super) fn finish(self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), ArrowError> {
        Ok((self.samples, self.seen.finish()?))
    }
}

fn dictionary<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    let column: DictionaryArray<Int32Type> = texts.collect();
    Arc::new(column)
}

fn timestamps(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn sample_columns(host: &str, batch: &SampleBatch) -> Result<RecordBatch, ArrowError> {
    let samples = || batch.samples.iter();
    let series = || samples().map(|sample| &batch.series[sample.series as usize]);
    let columns: Vec<ArrayRef> = vec![
        timestamps(samples().map(|sample| sample.ts_us)),
        dictionary(series().map(|series| names(&series.metric).0)),
        dictionary(series().map(|_| host)),
        dictionary(series().map(|series| names(&series.metric).1)),
        dictionary(series().map(|series| series.labels.as_str())),
        Arc::new(Float64Array::from_iter_values(
            samples().map(|sample| sample.value),
        )),
        dictionary(series().map(|_| "")),
        Arc::new(Int64Array::from(vec![0; batch.samples.len()])),
    ];
    RecordBatch::try_new(samples_schema(), columns)
}

/// Events of a host that never were in a log, as rows of the table.
pub(super) fn event_columns(host: &str, events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let attributes = events.iter().map(|event| {
        let pairs = event.attributes.iter();
        let pairs: Vec<(&str, &str)> = pairs
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Some(Labels::new(&pairs).as_str().to_owned())
    });
    let columns: Vec<ArrayRef> = vec![
        timestamps(events.iter().map(|event| event.ts_us)),
        dictionary(events.iter().map(|event| event.name.as_str())),
        dictionary(events.iter().map(|event| event.component.as_str())),
        dictionary(events.iter().map(|_| host)),
        Arc::new(StringArray::from_iter_values(
            events.iter().map(|event| &event.subject),
        )),
        Arc::new(StringArray::from_iter_values(
            events.iter().map(|event| &event.message),
        )),
        Arc::new(attributes.collect::<StringArray>()),
        dictionary(events.iter().map(|_| "")),
        Arc::new(Int64Array::from(vec![0; events.len()])),
    ];
    dated(&RecordBatch::try_new(events_schema(), columns)?)
}

/// Component and name of a metric.
fn names(metric: &MetricRef) -> (&str, &str) {
    metric.view().map_or(("unknown", "unknown"), |view| {
        (view.component.as_str(), view.name)
    })
}

/// The distinct series of some batches, with the time of their first sample.
#[derive(Default)]
pub(super) struct SeenSeries {
    hosts: HashMap<String, HashMap<Series, i64>>,
}

impl SeenSeries {
    /// Takes note of the series of a host's samples.
    pub(super) fn observe(&mut self, host: &str, batch: &SampleBatch) {
        for run in batch.samples.chunk_by(|a, b| a.series == b.series) {
            let series = &batch.series[run[0].series as usize];
            self.note(host, series.clone(), run[0].ts_us);
        }
    }

    /// Takes note of one series, as a block names it.
    pub(super) fn observe_run(&mut self, host: &str, run: &SeriesRun<'_>, ts_us: i64) {
        let series = Series {
            metric: run.metric.clone(),
            labels: Labels::from_canonical(run.labels),
        };
        self.note(host, series, ts_us);
    }

    fn note(&mut self, host: &str, series: Series, ts_us: i64) {
        if !self.hosts.contains_key(host) {
            self.hosts.insert(host.to_owned(), HashMap::new());
        }
        let known = self.hosts.get_mut(host);
        let first = known.map(|known| known.entry(series).or_insert(ts_us));
        if let Some(first) = first {
            *first = (*first).min(ts_us);
        }
    }

    /// Rows of the table `series`, in an order of their own.
    pub(super) fn finish(self) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut rows: Vec<(&str, &Series, i64)> = Vec::new();
        for (host, known) in &self.hosts {
            rows.extend(
                known
                    .iter()
                    .map(|(series, ts)| (host.as_str(), series, *ts)),
            );
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        rows.sort();
        let series = || rows.iter().map(|(_, series, _)| *series);
        let columns: Vec<ArrayRef> = vec![
            timestamps(rows.iter().map(|(_, _, ts)| *ts)),
            dictionary(series().map(|series| names(&series.metric).0)),
            dictionary(rows.iter().map(|(host, _, _)| *host)),
            dictionary(series().map(|series| names(&series.metric).1)),
            dictionary(series().map(|series| series.labels.as_str())),
            dictionary(series().map(|series| meaning(series)[0])),
            dictionary(series().map(|series| meaning(series)[1])),
            dictionary(series().map(|series| meaning(series)[2])),
            dictionary(series().map(|series| meaning(series)[3])),
        ];
        let batch = RecordBatch::try_new(series_schema(), columns)?;
        Ok(vec![dated(&batch)?])
    }
}

/// Unit, kind, category and better direction.
fn meaning(series: &Series) -> [&str; 4] {
    let unknown = ["", "unknown", "unknown", "neither"];
    series.metric.view().map_or(unknown, |view| {
        [
            view.unit,
            view.kind.as_str(),
            view.category.as_str(),
            view.better.as_str(),
        ]
    })
}
