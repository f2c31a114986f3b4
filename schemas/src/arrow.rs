//! The Arrow schema of every table, shared by the sink that writes the rows and the analyzer that
//! reads them.
//!
//! Texts that repeat are dictionary-encoded in memory; in the files they are plain strings to any
//! reader. The partition column `date` is not in the files: the table's log carries it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The column that every table is partitioned by: the UTC day of the row's time, `yyyy-mm-dd`.
pub const PARTITION_COLUMN: &str = "date";

/// A moment, in microseconds since 1970 UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// Text with few distinct values in a batch.
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), false);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// `samples`: one row per value of a series.
pub fn samples_schema() -> SchemaRef {
    schema(&[
        ("ts", timestamp()),
        ("component", dictionary()),
        ("host", dictionary()),
        ("metric", dictionary()),
        ("labels", dictionary()),
        ("value", DataType::Float64),
        ("stream", dictionary()),
        ("seq", DataType::Int64),
    ])
}

/// `requests`: one row per operation of a load run. `ts` is when the schedule wanted it sent; the
/// other times are nanoseconds after that.
pub fn requests_schema() -> SchemaRef {
    schema(&[
        ("ts", timestamp()),
        ("run", dictionary()),
        ("worker", DataType::Int32),
        ("host", dictionary()),
        ("endpoint", dictionary()),
        ("sent_ns", DataType::Int64),
        ("first_byte_ns", DataType::Int64),
        ("done_ns", DataType::Int64),
        ("status", DataType::Int32),
        ("bytes", DataType::Int64),
        ("error", dictionary()),
        ("stream", dictionary()),
        ("seq", DataType::Int64),
    ])
}

/// `events`: one row per fact. `attributes` is canonical text, as labels are.
pub fn events_schema() -> SchemaRef {
    schema(&[
        ("ts", timestamp()),
        ("name", dictionary()),
        ("component", dictionary()),
        ("host", dictionary()),
        ("subject", DataType::Utf8),
        ("message", DataType::Utf8),
        ("attributes", DataType::Utf8),
        ("stream", dictionary()),
        ("seq", DataType::Int64),
    ])
}

/// `samples_1m`, `samples_1h`, `samples_1d`: one row per series and stretch of time, `ts` being the
/// stretch's start. `m2` is the sum of squared distances from the mean; `sketch` holds the
/// distribution, as `driftline_stats::Sketch` encodes it. NaN and infinite values are left out.
pub fn rollups_schema() -> SchemaRef {
    schema(&[
        ("ts", timestamp()),
        ("component", dictionary()),
        ("host", dictionary()),
        ("metric", dictionary()),
        ("labels", dictionary()),
        ("count", DataType::Int64),
        ("sum", DataType::Float64),
        ("m2", DataType::Float64),
        ("min", DataType::Float64),
        ("max", DataType::Float64),
        ("first", DataType::Float64),
        ("last", DataType::Float64),
        ("first_ts", timestamp()),
        ("last_ts", timestamp()),
        ("sketch", DataType::Binary),
    ])
}

/// `series`: one row per series that a sink has seen, with its metric's meaning. `ts` is the time of
/// the first sample that a sink saw of it.
pub fn series_schema() -> SchemaRef {
    schema(&[
        ("ts", timestamp()),
        ("component", dictionary()),
        ("host", dictionary()),
        ("metric", dictionary()),
        ("labels", dictionary()),
        ("unit", dictionary()),
        ("kind", dictionary()),
        ("category", dictionary()),
        ("better", dictionary()),
    ])
}
