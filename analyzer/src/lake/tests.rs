//! Fresh rows from real spools.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{SpoolConfig, SpoolProducer, SpoolReader, SpoolWriter};
use driftline_schemas::{
    BlockHeader, Body, Component, Event, EventName, Incarnation, ProducerId, encode,
};
use driftline_sink::{Clock, Reporter, Sink, SinkConfig, Steps};

use super::*;
use crate::testing::{S, T0, ask, engine, samples};

const LOAD: &str = "system.cpu.load_average.1m";

fn producer(data: &Path, name: &str) -> SpoolProducer {
    let id = ProducerId::new(name).expect("a producer's name");
    let config = SpoolConfig::default();
    SpoolProducer::open(
        Arc::new(RealDisk),
        &log_dir(data),
        id,
        Incarnation::from_u128(1),
        config,
    )
    .expect("a spool")
}

fn append(writer: &mut SpoolWriter, body: &Body) {
    let stream = writer.stream().clone();
    let header = BlockHeader {
        stream,
        seq: writer.next_seq(),
        host: "h1".to_owned(),
    };
    let payload = encode(&header, body).expect("a block");
    writer.append(header.seq, &payload).expect("appended");
}

fn second(s: i64) -> Body {
    Body::Samples(samples([(LOAD, [].as_slice(), T0 + s * S, s as f64)]))
}

#[tokio::test]
async fn before_the_first_commit_everything_is_in_the_tail() {
    let data = tempfile::tempdir().expect("a directory");
    let spool = producer(data.path(), "collector-a");
    let mut writer = spool.writer(Kind::Samples).expect("a writer");
    let mut events = spool.writer(Kind::Events).expect("a writer");
    for s in 0..10 {
        append(&mut writer, &second(s));
    }
    writer.sync().expect("synced");
    append(&mut writer, &second(10));
    let event = Event {
        ts_us: T0,
        name: EventName::Marked,
        component: Component::Host,
        subject: "deploy".to_owned(),
        message: "a deployment".to_owned(),
        attributes: vec![("version".to_owned(), "2".to_owned())],
    };
    append(&mut events, &Body::Events(vec![event]));
    events.sync().expect("synced");
    let lake = Lake::open(data.path(), &LakeOptions::default())
        .await
        .expect("a lake");
    assert!(lake.notices().is_empty() && !lake.is_empty());
    assert_eq!(lake.version(TableName::Samples), None);
    let engine = engine(lake).await;
    let rows = "SELECT count(*), max(value), min(stream), max(seq), min(date) FROM samples";
    let stream = "collector-a/00000000000000000000000000000001/samples";
    let want = format!("10|9.0|{stream}|9|2023-11-15");
    assert_eq!(ask(&engine, rows).await, [want], "only what is durable");
    let series = "SELECT metric, kind, unit, host, first_seen FROM series";
    let want = format!("{LOAD}|gauge|{{thread}}|h1|2023-11-15T00:00:00Z");
    assert_eq!(ask(&engine, series).await, [want]);
    let marks = "SELECT subject, message, label(attributes, 'version') FROM events";
    assert_eq!(ask(&engine, marks).await, ["deploy|a deployment|2"]);
}

#[tokio::test]
async fn the_tail_is_bounded_and_can_be_left_out() {
    let data = tempfile::tempdir().expect("a directory");
    let spool = producer(data.path(), "collector-a");
    let mut writer = spool.writer(Kind::Samples).expect("a writer");
    for s in 0..10 {
        append(&mut writer, &second(s));
    }
    writer.sync().expect("synced");
    let few = LakeOptions {
        tail_max_rows: 9,
        ..LakeOptions::default()
    };
    let error = Lake::open(data.path(), &few).await.expect_err("ten rows");
    assert!(
        error.to_string().contains("raise query.tail_max_rows"),
        "{error}"
    );
    let enough = LakeOptions {
        tail_max_rows: 10,
        ..LakeOptions::default()
    };
    assert!(
        !Lake::open(data.path(), &enough)
            .await
            .expect("a lake")
            .is_empty()
    );
    let without = LakeOptions {
        tail: Tail::Excluded,
        ..few
    };
    assert!(
        Lake::open(data.path(), &without)
            .await
            .expect("a lake")
            .is_empty()
    );
}

#[tokio::test]
async fn damage_is_told_and_the_rest_is_read() {
    let data = tempfile::tempdir().expect("a directory");
    let spool = producer(data.path(), "collector-a");
    let mut writer = spool.writer(Kind::Samples).expect("a writer");
    append(&mut writer, &second(0));
    writer.append(1, b"not a block at all").expect("appended");
    append(&mut writer, &second(2));
    writer.sync().expect("synced");
    let lake = Lake::open(data.path(), &LakeOptions::default())
        .await
        .expect("a lake");
    assert_eq!(lake.notices().len(), 1, "{:?}", lake.notices());
    assert!(
        lake.notices()[0].starts_with("block 1 of collector-a/"),
        "{:?}",
        lake.notices()
    );
    assert_eq!(
        ask(&engine(lake).await, "SELECT value FROM samples ORDER BY 1").await,
        ["0.0", "2.0"]
    );
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_an_empty_lake() {
    let data = tempfile::tempdir().expect("a directory");
    let nowhere = data.path().join("not-yet");
    let lake = Lake::open(&nowhere, &LakeOptions::default())
        .await
        .expect("a lake");
    assert!(lake.is_empty() && !nowhere.exists());
}

/// Rows are committed while others arrive: a query sees each once, wherever it is.
#[tokio::test]
async fn the_tail_begins_exactly_where_the_table_ends() {
    let data = tempfile::tempdir().expect("a directory");
    let spool = producer(data.path(), "collector-a");
    let mut writer = spool.writer(Kind::Samples).expect("a writer");
    let own = producer(data.path(), "sink-a");
    let reports = own.writer(Kind::Events).expect("a writer");
    let stream = reports.stream().clone();
    let reporter = Reporter::new(Box::new(reports), stream, "h1".to_owned());
    let clock: Arc<dyn Fn() -> Duration + Send + Sync> = Arc::new(|| Duration::ZERO);
    let reader = SpoolReader::open(
        Arc::new(RealDisk),
        &log_dir(data.path()),
        &SpoolConfig::default(),
        clock,
    );
    let mut sink = Sink::open(
        data.path(),
        SinkConfig::default(),
        Box::new(reader),
        reporter,
        Clock::new(|| T0),
        Arc::new(Steps::default()),
    )
    .await
    .expect("a sink");
    let mut versions = Vec::new();
    for round in 0..4 {
        for s in 0..5 {
            append(&mut writer, &second(10 * round + s));
        }
        writer.sync().expect("synced");
        sink.drain().await.expect("committed");
        for s in 5..10 {
            append(&mut writer, &second(10 * round + s));
        }
        writer.sync().expect("synced");
        let lake = Lake::open(data.path(), &LakeOptions::default())
            .await
            .expect("a lake");
        versions.push(lake.version(TableName::Samples).expect("a version"));
        let engine = engine(lake).await;
        let rows = 10 * (round + 1);
        let want = format!("{rows}|{rows}|{}.0|{}", rows - 1, rows - 1);
        let sql = "SELECT count(*), count(DISTINCT value), max(value), max(seq) FROM samples";
        assert_eq!(ask(&engine, sql).await, [want]);
        assert_eq!(
            ask(&engine, "SELECT metric, count(*) FROM series GROUP BY 1").await,
            [format!("{LOAD}|1")]
        );
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let at = LakeOptions {
        at: At::Version(versions[0]),
        ..LakeOptions::default()
    };
    let then = Lake::open(data.path(), &at).await.expect("a lake");
    assert!(
        then.notices()[0].contains("samples at version"),
        "{:?}",
        then.notices()
    );
    let sql = "SELECT count(*), max(value) FROM samples";
    assert_eq!(
        ask(&engine(then).await, sql).await,
        ["5|4.0"],
        "a version has no tail"
    );
    let at = LakeOptions {
        at: At::Version(999),
        ..LakeOptions::default()
    };
    let error = Lake::open(data.path(), &at)
        .await
        .expect_err("no such version");
    assert!(error.to_string().contains("999"), "{error}");
}
