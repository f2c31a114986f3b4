//! Rollups against a naive computation, through late rows, merges, retention, crashes and replays.

mod contents;
mod failures;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use bytes::Bytes;
use driftline_schemas::{
    BlockHeader, Body, Decoder, Envelope, Labels, MetricRef, SampleBatch, Series, encode,
};
use driftline_stats::noise::Noise;
use driftline_stats::{Rollup, Sketch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::columns::{StoredRollups, numbers};
use super::gather::{Share, Texts, number_series};
use super::series::{Numbered, SeriesKey};
use super::*;
use crate::batch::BatchBuilder;
use crate::compact::compact_once;
use crate::{Clock, Maintenance, SinkConfig};

/// The start of 2026-01-01, UTC.
const START: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;
const EVERYTHING: Share = Share { part: 0, of: 1 };

type Row = (&'static str, i64, f64);
/// Per series and bucket, every stored bit.
type Rows = BTreeMap<(SeriesKey, i64), Vec<u8>>;

struct Lake {
    dir: TempDir,
    blocks: u64,
    config: SinkConfig,
}

impl Lake {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            blocks: 0,
            config: SinkConfig::default(),
        }
    }

    fn data(&self) -> &Path {
        self.dir.path()
    }

    /// Commits a block of samples, numbered in the order of the calls.
    async fn commit(&mut self, rows: &[Row]) {
        self.blocks += 1;
        commit_block(self.data(), self.blocks, rows).await;
    }

    async fn maintenance(&self, now_us: i64) -> Maintenance {
        let clock = Clock::new(move || now_us);
        Maintenance::open(self.data(), self.config.clone(), clock, Arc::default())
            .await
            .expect("open the maintenance")
    }

    async fn round(&self, now_us: i64, vacuum: bool) {
        let mut maintenance = self.maintenance(now_us).await;
        maintenance
            .round(vacuum, &false.into())
            .await
            .expect("round");
    }

    async fn rows(&self, resolution: Resolution) -> Rows {
        rows(self.data(), resolution).await
    }

    async fn all_rows(&self) -> [Rows; 3] {
        let [minute, hour, day] = Resolution::ALL;
        [
            self.rows(minute).await,
            self.rows(hour).await,
            self.rows(day).await,
        ]
    }

    /// Holds every table against what the samples say of the buckets closed at a time.
    async fn check(&self, now_us: i64) {
        let closed = now_us - 15 * SECOND;
        let mut finer = naive(self.data()).await;
        for resolution in Resolution::ALL {
            finer = coarser(finer, resolution.width_us());
            let is_closed = |bucket: i64| bucket + resolution.width_us() <= closed;
            let expected: Rows = finer
                .iter()
                .filter(|((_, bucket), _)| is_closed(*bucket))
                .map(|(key, rollup)| (key.clone(), rollup.encode()))
                .collect();
            let found = self.rows(resolution).await;
            let differ = expected
                .iter()
                .find(|(key, row)| found.get(key) != Some(row));
            assert_eq!(differ.map(|(key, _)| key), None, "{resolution:?}");
            assert_eq!(found.len(), expected.len(), "{resolution:?}");
        }
    }
}

async fn commit_block(data: &Path, seq: u64, rows: &[Row]) {
    let mut table = Table::open_or_create(data, TableName::Samples)
        .await
        .expect("samples");
    let series = |label: &str| Series {
        metric: MetricRef::Known(1),
        labels: Labels::new(&[("k", label)]),
    };
    let rows = rows
        .iter()
        .map(|(label, ts, value)| (series(label), *ts, *value));
    let stream = if seq.is_multiple_of(2) { "b" } else { "a" };
    let stream = format!("{stream}/000000000000000000000000000000ff/samples");
    let header = BlockHeader {
        stream: stream.parse().expect("a stream"),
        seq,
        host: "h".to_owned(),
    };
    let body = Body::Samples(SampleBatch::from_rows(rows));
    let payload = Bytes::from(encode(&header, &body).expect("encode"));
    let envelope = Envelope::parse(&payload).expect("parse");
    let mut builder = BatchBuilder::new(TableName::Samples);
    let mut decoder = Decoder::default();
    builder.push(
        &envelope,
        &decoder.rows(&envelope).expect("rows"),
        &mut |_, _| {},
    );
    let mut actions = Vec::new();
    for (day, batch) in builder.finish().expect("finish") {
        let add = parquet_file::write(table.root(), &day.to_date(), Level::Raw, &[batch], 0);
        actions.push(Action::Add(add.expect("write")));
    }
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    table.commit(actions, &[], operation).await.expect("commit");
}

/// Reads the batches of a table's live files.
async fn batches(data: &Path, name: TableName) -> Vec<RecordBatch> {
    let Some(table) = Table::open(data, name, None).await.expect("open") else {
        return Vec::new();
    };
    let mut batches = Vec::new();
    for file in data_files_of(&table) {
        let file = std::fs::File::open(&file.path).expect("open");
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
        let reader = builder.build().expect("reader");
        batches.extend(reader.map(|batch| batch.expect("a batch")));
    }
    batches
}

/// Every row as the bytes of its rollup; the columns that repeat its sketch are checked.
async fn rows(data: &Path, resolution: Resolution) -> Rows {
    let mut rows = Rows::new();
    for batch in batches(data, resolution.table()).await {
        let mut series = Numbered::default();
        let numbers_of_series = number_series(&batch, EVERYTHING, &mut series).expect("series");
        let (series, ranks) = series.ranked();
        let stored = StoredRollups::of(&batch).expect("columns");
        let count = numbers::<Int64Type>(&batch, "count").expect("count");
        let min = numbers::<Float64Type>(&batch, "min").expect("min");
        let max = numbers::<Float64Type>(&batch, "max").expect("max");
        for (row, number) in numbers_of_series.into_iter().enumerate() {
            let sketch = Sketch::decode(stored.sketch(row)).expect("a sketch");
            let rollup = Rollup::from_parts(stored.moments(row), sketch).expect("a rollup");
            assert_eq!(count.value(row) as u64, rollup.count());
            assert_eq!(
                (min.value(row), max.value(row)),
                (rollup.min(), rollup.max())
            );
            let rank = ranks[number.expect("every series") as usize];
            let key = (series[rank as usize].clone(), stored.ts_us(row));
            let before = rows.insert(key, rollup.encode());
            assert_eq!(before, None, "a series has one row per bucket");
        }
    }
    rows
}

/// The samples by the minute, computed from all of them at once.
async fn naive(data: &Path) -> BTreeMap<(SeriesKey, i64), Rollup> {
    let mut samples = Vec::new();
    for batch in batches(data, TableName::Samples).await {
        let texts = |name| Texts::of(&batch, name).expect("a column");
        let (metric, host) = (texts("metric"), texts("host"));
        let (labels, component, stream) = (texts("labels"), texts("component"), texts("stream"));
        let text = |column: &Texts, row| column.text(column.key(row)).to_owned();
        let ts = batch
            .column_by_name("ts")
            .expect("ts")
            .as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let seq = numbers::<Int64Type>(&batch, "seq").expect("seq");
        let value = numbers::<Float64Type>(&batch, "value").expect("value");
        for row in 0..batch.num_rows() {
            let series = SeriesKey {
                metric: text(&metric, row),
                host: text(&host, row),
                labels: text(&labels, row),
                component: text(&component, row),
            };
            let place = (series, ts.value(row), text(&stream, row), seq.value(row));
            samples.push((place, value.value(row)));
        }
    }
    samples.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.total_cmp(y)));
    let mut minutes: BTreeMap<(SeriesKey, i64), Vec<(i64, f64)>> = BTreeMap::new();
    for ((series, ts, _, _), value) in samples {
        let minute = ts - ts.rem_euclid(60 * SECOND);
        minutes
            .entry((series, minute))
            .or_default()
            .push((ts, value));
    }
    let rollup = |(key, samples): (_, Vec<_>)| Some((key, Rollup::of(&samples)?));
    minutes.into_iter().filter_map(rollup).collect()
}

fn coarser(
    finer: BTreeMap<(SeriesKey, i64), Rollup>,
    width: i64,
) -> BTreeMap<(SeriesKey, i64), Rollup> {
    let mut merged: BTreeMap<(SeriesKey, i64), Rollup> = BTreeMap::new();
    for ((series, at), rollup) in finer {
        let key = (series, at - at.rem_euclid(width));
        match merged.get_mut(&key) {
            Some(merged) => merged.merge(&rollup),
            None => {
                merged.insert(key, rollup);
            }
        }
    }
    merged
}

const LABELS: [&str; 3] = ["x", "y", "z"];

/// Samples of some minutes from a minute on, four a minute, in blocks of up to half an hour.
async fn commit_minutes(lake: &mut Lake, noise: &mut Noise, from: i64, minutes: i64) {
    let all: Vec<Row> = (0..minutes * 4)
        .flat_map(|at| LABELS.map(|label| (label, from * 60 * SECOND + at * 15 * SECOND)))
        .map(|(label, at)| {
            let value = match noise.next_u64() % 50 {
                0 => f64::NAN,
                1 => 0.0,
                _ => (2.0 * noise.normal()).exp() * if label == "z" { -1.0 } else { 1.0 },
            };
            (label, START + at, value)
        })
        .collect();
    for block in all.chunks(30 * 4 * LABELS.len()) {
        lake.commit(block).await;
    }
}
