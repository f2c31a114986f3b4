//! Rollups as rows of a table, and back.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    StringDictionaryBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use driftline_schemas::arrow::rollups_schema;
use driftline_stats::{Moments, Rollup};

use super::series::SeriesKey;

/// The columns that a rollup is read back from.
pub(super) const STORED: [&str; 12] = [
    "ts",
    "component",
    "host",
    "metric",
    "labels",
    "sum",
    "m2",
    "first",
    "last",
    "first_ts",
    "last_ts",
    "sketch",
];

/// Growing columns.
#[derive(Default)]
pub(super) struct RollupColumns {
    ts: Vec<i64>,
    component: StringDictionaryBuilder<Int32Type>,
    host: StringDictionaryBuilder<Int32Type>,
    metric: StringDictionaryBuilder<Int32Type>,
    labels: StringDictionaryBuilder<Int32Type>,
    count: Vec<i64>,
    /// `sum`, `m2`, `min`, `max`, `first` and `last`.
    floats: [Vec<f64>; 6],
    first_ts: Vec<i64>,
    last_ts: Vec<i64>,
    sketch: BinaryBuilder,
}

impl RollupColumns {
    pub(super) fn push(&mut self, series: &SeriesKey, bucket: i64, rollup: &Rollup) {
        let moments = rollup.moments();
        self.ts.push(bucket);
        self.component.append_value(&series.component);
        self.host.append_value(&series.host);
        self.metric.append_value(&series.metric);
        self.labels.append_value(&series.labels);
        // A count that a table's signed number cannot hold would take millennia.
        self.count
            .push(i64::try_from(rollup.count()).unwrap_or(i64::MAX));
        let floats = [
            moments.sum,
            moments.m2,
            rollup.min(),
            rollup.max(),
            moments.first,
            moments.last,
        ];
        for (column, value) in self.floats.iter_mut().zip(floats) {
            column.push(value);
        }
        self.first_ts.push(moments.first_ts_us);
        self.last_ts.push(moments.last_ts_us);
        self.sketch.append_value(rollup.sketch().encode());
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let times = |values: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        };
        let mut columns = vec![
            times(self.ts),
            Arc::new(self.component.finish()) as ArrayRef,
            Arc::new(self.host.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(Int64Array::from(self.count)),
        ];
        for floats in self.floats {
            columns.push(Arc::new(Float64Array::from(floats)));
        }
        columns.extend([times(self.first_ts), times(self.last_ts)]);
        columns.push(Arc::new(self.sketch.finish()));
        RecordBatch::try_new(rollups_schema(), columns)
    }
}

/// What a batch of [`STORED`] columns holds.
pub(super) struct StoredRollups<'a> {
    ts: &'a PrimitiveArray<TimestampMicrosecondType>,
    sum: &'a PrimitiveArray<Float64Type>,
    m2: &'a PrimitiveArray<Float64Type>,
    first: &'a PrimitiveArray<Float64Type>,
    last: &'a PrimitiveArray<Float64Type>,
    first_ts: &'a PrimitiveArray<TimestampMicrosecondType>,
    last_ts: &'a PrimitiveArray<TimestampMicrosecondType>,
    sketch: &'a arrow::array::BinaryArray,
}

impl<'a> StoredRollups<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let sketch = batch.column(batch.schema().index_of("sketch")?);
        Ok(Self {
            ts: numbers(batch, "ts")?,
            sum: numbers(batch, "sum")?,
            m2: numbers(batch, "m2")?,
            first: numbers(batch, "first")?,
            last: numbers(batch, "last")?,
            first_ts: numbers(batch, "first_ts")?,
            last_ts: numbers(batch, "last_ts")?,
            sketch: sketch.as_binary::<i32>(),
        })
    }

    pub(super) fn ts_us(&self, row: usize) -> i64 {
        self.ts.value(row)
    }

    pub(super) fn moments(&self, row: usize) -> Moments {
        Moments {
            sum: self.sum.value(row),
            m2: self.m2.value(row),
            first: self.first.value(row),
            last: self.last.value(row),
            first_ts_us: self.first_ts.value(row),
            last_ts_us: self.last_ts.value(row),
        }
    }

    pub(super) fn sketch(&self, row: usize) -> &'a [u8] {
        self.sketch.value(row)
    }
}

/// A column of numbers of a batch.
pub(super) fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, ArrowError> {
    Ok(batch.column(batch.schema().index_of(name)?).as_primitive())
}
