//! What tests of several modules need: samples by the names of their metrics, and tables of real
//! Parquet files.

pub(crate) mod runs;

use std::fs::{self, File};
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use driftline_schemas::{
    BlockHeader, Body, Decoder, Envelope, Labels, MetricRef, SampleBatch, Series, encode,
    metric_named,
};
use driftline_sink::batch::BatchBuilder;
use driftline_sink::table::{DataFile, TableName};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::engine::{Engine, EngineConfig, QueryOptions};
use crate::lake::Lake;
use crate::lake::rows::dated;

/// The host of all samples in tests.
pub(crate) const HOST: &str = "h1";
/// Midnight of some day.
pub(crate) const T0: i64 = 1_700_006_400_000_000;
/// A second.
pub(crate) const S: i64 = 1_000_000;

/// A sample: metric, labels in pairs, time, value.
pub(crate) type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], i64, f64);

pub(crate) fn samples<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> SampleBatch {
    SampleBatch::from_rows(rows.into_iter().map(|(metric, labels, ts_us, value)| {
        let metric = metric_named(metric).expect("a metric of the catalogue");
        let series = Series {
            metric: MetricRef::Known(metric.id),
            labels: Labels::new(labels),
        };
        (series, ts_us, value)
    }))
}

/// A lake whose samples are partly in Parquet files, one per batch, and partly fresh.
pub(crate) fn lake(files: &[SampleBatch], fresh: &[SampleBatch]) -> (TempDir, Lake) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = files.to_vec();
    all.extend_from_slice(fresh);
    let mut lake = Lake::in_memory(HOST, fresh).expect("fresh rows");
    let committed = Lake::in_memory(HOST, &all).expect("rows");
    for (table, committed) in lake.tables.iter_mut().zip(committed.tables) {
        match table.name {
            TableName::Samples => {
                let batches = committed.tail.iter().take(files.len()).enumerate();
                let written = batches.map(|(number, batch)| write(dir.path(), number, batch));
                table.files = written.collect();
                table.version = Some(7);
            }
            TableName::Series => table.tail = committed.tail,
            _ => {}
        }
    }
    (dir, lake)
}

/// Writes a batch as a file of its first row's day, without the partition column.
fn write(dir: &Path, number: usize, batch: &RecordBatch) -> DataFile {
    let dates = batch.column_by_name("date").expect("a date");
    let dates = arrow::compute::cast(dates, &DataType::Utf8).expect("texts");
    let date = dates.as_string::<i32>().value(0).to_owned();
    let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
    let batch = batch.project(&columns).expect("the columns of files");
    let folder = dir.join(format!("date={date}"));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(format!("{number}.parquet"));
    let file = File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("an end");
    let ts = batch.column_by_name("ts").expect("a time");
    let ts = ts.as_primitive::<TimestampMicrosecondType>();
    DataFile {
        size: fs::metadata(&path).expect("a size").len(),
        path,
        rows: batch.num_rows() as u64,
        date,
        min_ts_us: min(ts),
        max_ts_us: max(ts),
    }
}

pub(crate) async fn engine(lake: Lake) -> Engine {
    Engine::over(lake, &EngineConfig::default())
        .await
        .expect("an engine")
}

/// A result as lines of text, values separated by `|`.
pub(crate) async fn ask(engine: &Engine, sql: &str) -> Vec<String> {
    let rows = engine
        .collect(sql, &QueryOptions::default())
        .await
        .expect(sql);
    lines(&rows.batches)
}

pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let texts: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow::compute::cast(column, &DataType::Utf8).expect("texts"))
            .collect();
        for row in 0..batch.num_rows() {
            let values = texts.iter().map(|column| {
                let column = column.as_string::<i32>();
                if arrow::array::Array::is_null(column, row) {
                    "null"
                } else {
                    column.value(row)
                }
            });
            lines.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

/// The plan of a query, as the engine will run it.
pub(crate) async fn plan(engine: &Engine, sql: &str) -> String {
    ask(engine, &format!("EXPLAIN {sql}")).await.join("\n")
}

/// The rows of one block, as the tail of a table holds them.
pub(crate) fn block(table: TableName, body: Body) -> Vec<RecordBatch> {
    let stream = format!("test/{:032x}/{}", 1, body.kind());
    let header = BlockHeader {
        stream: stream.parse().expect("a stream"),
        seq: 0,
        host: HOST.to_owned(),
    };
    let payload = encode(&header, &body).expect("a block");
    let envelope = Envelope::parse(&payload.into()).expect("an envelope");
    let mut decoder = Decoder::default();
    let rows = decoder.rows(&envelope).expect("rows");
    let mut builder = BatchBuilder::new(table);
    builder.push(&envelope, &rows, &mut |_, _| {});
    let days = builder.finish().expect("batches");
    days.iter()
        .map(|(_, batch)| dated(batch).expect("a date"))
        .collect()
}
