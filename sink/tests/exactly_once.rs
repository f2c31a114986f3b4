//! The sink on a real spool: every block once, whatever happens between two commits.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{SpoolConfig, SpoolProducer, SpoolReader, SpoolWriter};
use driftline_schemas::{
    BlockHeader, Body, Incarnation, Kind, Labels, MetricRef, ProducerId, SampleBatch, Series,
    encode,
};
use driftline_sink::table::{At, Snapshot, Table, TableName, snapshot};
use driftline_sink::{Clock, Maintenance, Reporter, Sink, SinkConfig, Steps};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

const START_US: i64 = 1_750_000_000_000_000;
const SERIES: usize = 5;

struct Host {
    dir: TempDir,
    incarnations: u128,
}

impl Host {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("temporary directory"),
            incarnations: 0,
        }
    }

    fn data(&self) -> &Path {
        self.dir.path()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn producer(&mut self, name: &str, kind: Kind) -> (SpoolProducer, SpoolWriter) {
        self.incarnations += 1;
        let incarnation = Incarnation::from_u128(self.incarnations);
        let id = ProducerId::new(name).expect("valid");
        let config = SpoolConfig::default();
        let producer =
            SpoolProducer::open(Arc::new(RealDisk), &self.log(), id, incarnation, config)
                .expect("open the producer");
        let writer = producer.writer(kind).expect("open the stream");
        (producer, writer)
    }

    async fn sink(&mut self) -> Sink {
        let (producer, writer) = self.producer("sink", Kind::Events);
        drop(producer);
        let stream = writer.stream().clone();
        let reporter = Reporter::new(Box::new(writer), stream, "h".to_owned());
        let clock = Arc::new(|| Duration::ZERO);
        let reader = SpoolReader::open(
            Arc::new(RealDisk),
            &self.log(),
            &SpoolConfig::default(),
            clock,
        );
        let config = SinkConfig {
            commit_seconds: 0.001,
            ..SinkConfig::default()
        };
        let now = Clock::new(|| START_US);
        Sink::open(
            self.data(),
            config,
            Box::new(reader),
            reporter,
            now,
            Arc::default(),
        )
        .await
        .expect("open the sink")
    }

    async fn snapshot(&self, table: TableName) -> Snapshot {
        snapshot(self.data(), table, At::Latest)
            .await
            .expect("snapshot")
            .expect("a table")
    }

    /// Number of rows per (stream, seq) in the samples table.
    async fn ledger(&self) -> BTreeMap<(String, i64), usize> {
        let mut ledger = BTreeMap::new();
        for file in self.snapshot(TableName::Samples).await.files {
            let file = File::open(&file.path).expect("open a data file");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .expect("parquet")
                .build()
                .expect("reader");
            for batch in reader {
                let batch = batch.expect("batch");
                let stream = batch.column_by_name("stream").expect("stream");
                let stream = cast(stream, &DataType::Utf8).expect("cast");
                let seq = batch
                    .column_by_name("seq")
                    .expect("seq")
                    .as_primitive::<Int64Type>();
                for row in 0..batch.num_rows() {
                    let key = (
                        stream.as_string::<i32>().value(row).to_owned(),
                        seq.value(row),
                    );
                    *ledger.entry(key).or_default() += 1;
                }
            }
        }
        ledger
    }
}

fn block(writer: &SpoolWriter, seq: u64) -> Vec<u8> {
    block_at(writer, seq, START_US + seq as i64 * 1_000_000)
}

fn block_at(writer: &SpoolWriter, seq: u64, ts: i64) -> Vec<u8> {
    let series = |at: usize| Series {
        metric: MetricRef::Known(1),
        labels: Labels::new(&[("at", &at.to_string())]),
    };
    let rows = (0..SERIES).map(|at| (series(at), ts, (seq * 10) as f64 + at as f64));
    let body = Body::Samples(SampleBatch::from_rows(rows));
    let header = BlockHeader {
        stream: writer.stream().clone(),
        seq,
        host: "h".to_owned(),
    };
    encode(&header, &body).expect("encode")
}

fn append(writer: &mut SpoolWriter, blocks: u64) {
    for _ in 0..blocks {
        let seq = writer.next_seq();
        let payload = block(writer, seq);
        writer.append(seq, &payload).expect("append");
    }
    writer.sync().expect("sync");
}

fn assert_once(ledger: &BTreeMap<(String, i64), usize>, blocks: usize) {
    assert_eq!(ledger.len(), blocks, "blocks in the table");
    for (block, rows) in ledger {
        assert_eq!(*rows, SERIES, "rows of {block:?}");
    }
}

#[tokio::test]
async fn blocks_are_committed_once_over_restarts_of_both_sides() {
    let mut host = Host::new();
    let mut blocks = 0;
    for _ in 0..3 {
        let (_producer, mut writer) = host.producer("collector", Kind::Samples);
        for _ in 0..2 {
            append(&mut writer, 7);
            blocks += 7;
            // The sink that read ahead without committing is dropped: its reading must not count.
            let mut lost = host.sink().await;
            lost.turn().await.expect("turn");
            drop(lost);
            host.sink().await.drain().await.expect("drain");
        }
        writer.close().expect("close");
    }
    assert_once(&host.ledger().await, blocks);
    let series: u64 = host
        .snapshot(TableName::Series)
        .await
        .files
        .iter()
        .map(|f| f.rows)
        .sum();
    assert_eq!(
        series, SERIES as u64,
        "a series is registered once over restarts"
    );
}

#[tokio::test]
async fn compaction_changes_no_row_and_leaves_one_sorted_file() {
    let mut host = Host::new();
    let (_producer, mut writer) = host.producer("collector", Kind::Samples);
    for _ in 0..12 {
        append(&mut writer, 3);
        host.sink().await.drain().await.expect("drain");
    }
    let before = host.ledger().await;
    assert_eq!(host.snapshot(TableName::Samples).await.files.len(), 12);
    let config = SinkConfig::default();
    let now = Clock::new(|| START_US);
    let steps = Arc::new(Steps::default());
    let mut maintenance = Maintenance::open(host.data(), config, now, steps)
        .await
        .expect("open maintenance");
    maintenance.round(true, &false.into()).await.expect("round");
    let files = host.snapshot(TableName::Samples).await.files;
    assert_eq!(files.len(), 1);
    assert!(files[0].path.display().to_string().contains("sorted-"));
    assert_eq!(host.ledger().await, before);
    // Positions survive the compaction: a new sink takes up where the table stands.
    append(&mut writer, 1);
    host.sink().await.drain().await.expect("drain");
    assert_once(&host.ledger().await, 37);
}

#[tokio::test]
async fn days_beyond_the_retention_go_and_never_come_back() {
    const DAY_US: i64 = 86_400_000_000;
    let mut host = Host::new();
    let (_producer, mut writer) = host.producer("collector", Kind::Samples);
    for days in [0, 1, 29, 30, 31] {
        let seq = writer.next_seq();
        let payload = block_at(&writer, seq, START_US + days * DAY_US);
        writer.append(seq, &payload).expect("append");
    }
    writer.sync().expect("sync");
    host.sink().await.drain().await.expect("drain");
    assert_once(&host.ledger().await, 5);
    let kept = |retention_days| SinkConfig {
        retention_days,
        vacuum_seconds: 0,
        ..SinkConfig::default()
    };
    for (retention_days, left) in [(0, 5), (30, 4), (2, 3)] {
        let now = Clock::new(|| START_US + 31 * DAY_US);
        let mut maintenance =
            Maintenance::open(host.data(), kept(retention_days), now, Arc::default())
                .await
                .expect("open maintenance");
        maintenance.round(true, &false.into()).await.expect("round");
        assert_once(&host.ledger().await, left);
    }
    let days = std::fs::read_dir(host.data().join("tables/samples")).expect("the table");
    let on_disk = days.filter_map(Result::ok).filter(|day| {
        let files = std::fs::read_dir(day.path()).into_iter().flatten();
        day.file_name().to_string_lossy().starts_with("date=") && files.count() > 0
    });
    assert_eq!(
        on_disk.count(),
        3,
        "the files are gone, not only their names"
    );
    // What was removed is still committed: a new sink does not read it again.
    append(&mut writer, 1);
    host.sink().await.drain().await.expect("drain");
    assert_once(&host.ledger().await, 4);
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_with_an_event_and_the_rest_is_committed() {
    let mut host = Host::new();
    let (_producer, mut writer) = host.producer("collector", Kind::Samples);
    append(&mut writer, 2);
    let seq = writer.next_seq();
    writer.append(seq, b"this is not a block").expect("append");
    append(&mut writer, 2);
    let mut sink = host.sink().await;
    sink.drain().await.expect("drain");
    assert_eq!(sink.counts().dead_letters, 1);
    sink.drain().await.expect("drain the event about it");
    assert_once(&host.ledger().await, 4);
    let letters = std::fs::read_to_string(host.data().join("dead-letter/records.jsonl"));
    let letters = letters.expect("dead letters");
    assert!(
        letters.contains("\"offset\":2") && letters.contains("collector"),
        "{letters}"
    );
    let events: u64 = host
        .snapshot(TableName::Events)
        .await
        .files
        .iter()
        .map(|f| f.rows)
        .sum();
    assert_eq!(events, 1);
}

#[tokio::test]
async fn a_newer_format_stops_the_sink_and_loses_nothing() {
    let mut host = Host::new();
    let (_producer, mut writer) = host.producer("collector", Kind::Samples);
    append(&mut writer, 1);
    let seq = writer.next_seq();
    let mut newer = block(&writer, seq);
    newer[1] = 9;
    writer.append(seq, &newer).expect("append");
    writer.sync().expect("sync");
    let mut sink = host.sink().await;
    let error = sink.drain().await.expect_err("a newer format");
    assert!(error.to_string().contains("upgrade"), "{error}");
    assert!(!error.is_retryable());
    assert!(!host.data().join("dead-letter").exists());
}

#[tokio::test]
async fn a_foreign_table_and_a_damaged_log_are_named() {
    let host = Host::new();
    let root = TableName::Samples.dir(host.data());
    std::fs::create_dir_all(root.join("_delta_log")).expect("create");
    let entry = root.join("_delta_log/00000000000000000000.json");
    std::fs::write(&entry, b"").expect("write");
    let error = Table::open(host.data(), TableName::Samples, None)
        .await
        .err()
        .expect("damaged");
    assert!(error.to_string().contains("damaged"), "{error}");
    let foreign = concat!(
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        "\n",
        r#"{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"#,
        r#""schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":0}}"#,
    );
    std::fs::write(&entry, foreign).expect("write");
    let error = Table::open(host.data(), TableName::Samples, None)
        .await
        .err()
        .expect("foreign");
    assert!(error.to_string().contains("not Driftline's"), "{error}");
}

#[tokio::test]
async fn old_versions_can_be_read_and_absent_ones_are_named() {
    let mut host = Host::new();
    let (_producer, mut writer) = host.producer("collector", Kind::Samples);
    append(&mut writer, 1);
    host.sink().await.drain().await.expect("drain");
    let first = host.snapshot(TableName::Samples).await;
    append(&mut writer, 1);
    host.sink().await.drain().await.expect("drain");
    let at = At::Version(first.version);
    let back = snapshot(host.data(), TableName::Samples, at)
        .await
        .expect("read")
        .expect("table");
    assert_eq!(back.files, first.files);
    let error = snapshot(host.data(), TableName::Samples, At::Version(99))
        .await
        .expect_err("absent");
    assert!(error.to_string().contains("versions 0 to 2"), "{error}");
    let early = snapshot(host.data(), TableName::Samples, At::TimeMs(1_000)).await;
    assert!(early.is_err(), "no version is that old");
}
