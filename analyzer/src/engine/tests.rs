//! The engine over small tables of real Parquet files and fresh rows.

use std::time::{Duration, Instant};

use datafusion::scalar::ScalarValue;

use super::*;
use crate::testing::{HOST, S, T0, ask, engine, lake, plan, samples};

const LOAD: &str = "system.cpu.load_average.1m";
const BYTES: &str = "system.network.io";

/// Ten seconds of one gauge from this second on.
fn ten(from_s: i64) -> driftline_schemas::SampleBatch {
    samples((from_s..from_s + 10).map(|s| (LOAD, [].as_slice(), T0 + s * S, s as f64)))
}

fn refusal(error: &EngineError) -> Option<&str> {
    match error {
        EngineError::Refused { statement } => Some(statement),
        _ => None,
    }
}

async fn fails(engine: &Engine, sql: &str) -> EngineError {
    match engine.collect(sql, &QueryOptions::default()).await {
        Err(error) => error,
        Ok(_) => panic!("{sql} succeeded"),
    }
}

#[tokio::test]
async fn a_table_is_its_files_and_its_fresh_rows() {
    let sql = "SELECT count(*), min(value), max(value), min(host), min(date) FROM samples";
    for (files, fresh, want) in [
        (
            vec![ten(0), ten(10)],
            vec![ten(20)],
            format!("30|0.0|29.0|{HOST}|2023-11-15"),
        ),
        (
            vec![ten(0)],
            vec![],
            format!("10|0.0|9.0|{HOST}|2023-11-15"),
        ),
        (
            vec![],
            vec![ten(20)],
            format!("10|20.0|29.0|{HOST}|2023-11-15"),
        ),
        (vec![], vec![], "0|null|null|null|null".to_owned()),
    ] {
        let (_dir, lake) = lake(&files, &fresh);
        let engine = engine(lake).await;
        assert_eq!(ask(&engine, sql).await, [want]);
        let rows = 10 * (files.len() + fresh.len());
        let limited = ask(&engine, "SELECT value FROM samples LIMIT 4").await;
        assert_eq!(limited.len(), rows.min(4));
        let filtered = ask(
            &engine,
            "SELECT value FROM samples WHERE value >= 8 AND value < 22",
        )
        .await;
        let all = ask(&engine, "SELECT value FROM samples").await;
        let inside = |text: &&String| {
            let value: f64 = text.parse().expect("a number");
            (8.0..22.0).contains(&value)
        };
        assert_eq!(filtered.len(), all.iter().filter(inside).count());
        let first = ask(
            &engine,
            "SELECT value FROM samples ORDER BY ts DESC LIMIT 1",
        )
        .await;
        assert_eq!(first.len(), rows.min(1));
        assert_eq!(ask(&engine, "SELECT count(*) FROM events").await, ["0"]);
    }
}

#[tokio::test]
async fn files_that_cannot_match_are_left_out() {
    let day = 86_400;
    let (_dir, lake) = lake(&[ten(0), ten(20), ten(day)], &[ten(day + 60)]);
    let engine = engine(lake).await;
    let files = |text: &str| ["/0.parquet", "/1.parquet", "/2.parquet"].map(|f| text.contains(f));
    let by_time = plan(&engine, "SELECT value FROM samples WHERE ts >= '2023-11-15T00:00:15Z' AND ts < '2023-11-15T00:01:00Z'").await;
    assert_eq!(files(&by_time), [false, true, false], "{by_time}");
    let by_day = plan(
        &engine,
        "SELECT value FROM samples WHERE date = '2023-11-16'",
    )
    .await;
    assert_eq!(files(&by_day), [false, false, true], "{by_day}");
    let of_day = ask(
        &engine,
        "SELECT count(*) FROM samples WHERE date = '2023-11-16'",
    )
    .await;
    assert_eq!(of_day, ["20"]);
    let none = ask(
        &engine,
        "SELECT count(*) FROM samples WHERE ts < '2020-01-01T00:00:00Z'",
    )
    .await;
    assert_eq!(none, ["0"]);
}

#[tokio::test]
async fn nothing_but_reading_is_done() {
    let engine = engine(Lake::default()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let target = dir.path().join("out.parquet");
    let copy = format!("COPY (SELECT 1) TO '{}'", target.display());
    let explained = format!("EXPLAIN ANALYZE {copy}");
    let external = "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/tmp/x'";
    for sql in [
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "DROP TABLE series",
        "DROP VIEW metrics",
        "INSERT INTO metrics VALUES (1)",
        "DELETE FROM metrics",
        "UPDATE metrics SET unit = ''",
        "SET datafusion.execution.target_partitions = 1",
        "RESET datafusion.execution.target_partitions",
        "EXPLAIN CREATE TABLE x AS SELECT 1",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        external,
        copy.as_str(),
        explained.as_str(),
    ] {
        let error = fails(&engine, sql).await;
        assert!(refusal(&error).is_some(), "{sql}: {error}");
    }
    assert!(!target.exists());
    for sql in [
        "SHOW TABLES",
        "DESCRIBE series",
        "EXPLAIN SELECT 1",
        "VALUES (1)",
    ] {
        assert!(!ask(&engine, sql).await.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn errors_are_for_people() {
    let (_dir, lake) = lake(&[ten(0)], &[]);
    let engine = engine(lake).await;
    for (sql, part) in [
        ("SELECT valeu FROM samples", "did you mean"),
        ("SELECT * FROM sample", "did you mean samples?"),
        (
            "SELECT * FROM nothing_like_it",
            "there are actions, baselines, counter_rates, ",
        ),
        ("SELECT 1; SELECT 2", "there are 2 statements"),
        ("  ", "there is no statement"),
        ("SELEC 1", "SELEC"),
        (
            "SELECT label(value, 'x') FROM samples",
            "label reads a text of labels",
        ),
        (
            "SELECT list_median(value) FROM samples",
            "gather one with array_agg",
        ),
        ("SELECT list_quantile([1, 2], 5)", "from 0 to 1, not 5"),
        ("SELECT shift([1], [2], 2)", "between 0 and 1"),
    ] {
        let error = fails(&engine, sql).await.to_string();
        assert!(
            error.to_lowercase().contains(&part.to_lowercase()),
            "{sql}: {error}"
        );
        assert!(
            !error.contains("DataFusion") && !error.contains("backtrace"),
            "{sql}: {error}"
        );
    }
}

#[tokio::test]
async fn functions_are_at_hand() {
    let labels = [("b", "x,y"), ("a", "1")];
    let rows = [
        (LOAD, labels.as_slice(), T0, 1.0),
        (LOAD, [].as_slice(), T0, 2.0),
    ];
    let (_dir, lake) = lake(&[samples(rows)], &[]);
    let engine = engine(lake).await;
    let got = ask(
        &engine,
        "SELECT value, label(labels, 'b') FROM samples ORDER BY value",
    )
    .await;
    assert_eq!(got, ["1.0|x,y", "2.0|null"]);
    let got = ask(
        &engine,
        "SELECT value FROM samples WHERE label(labels, 'a') IS NULL",
    )
    .await;
    assert_eq!(got, ["2.0"]);
    let got = ask(
        &engine,
        "SELECT label(labels, 'a') AS a, count(*) FROM samples GROUP BY a ORDER BY a",
    )
    .await;
    assert_eq!(got, ["1|1", "null|1"]);
    let sql = "SELECT list_median([3, 1, 2]), list_mad([1, 1, 4.0, 4]), list_quantile([1, 2], 0.25), list_median([])";
    assert_eq!(ask(&engine, sql).await, ["2.0|2.223903327758403|1.25|null"]);
    let sql = "SELECT s['shift'], s['n_a'], s['n_b'], s['ci_lo'] FROM (SELECT shift([1, 2, 3], [11, 12, 13]) AS s)";
    assert_eq!(ask(&engine, sql).await, ["10.0|3|3|null"]);
    let sql = "SELECT s['shift'], s['n_a'], s['p_value'] FROM (SELECT shift(NULL, [1.5]) AS s)";
    assert_eq!(ask(&engine, sql).await, ["null|0|null"]);
}

/// A counter that grows by 5 per second, from second 0 to `until_s`, with a restart at 50.
fn counter(until_s: i64) -> driftline_schemas::SampleBatch {
    let value = |s: i64| if s < 50 { 1_000 + 5 * s } else { 5 * (s - 49) };
    samples((0..until_s).map(|s| {
        (
            BYTES,
            [("network.interface.name", "eth0")].as_slice(),
            T0 + s * S,
            value(s) as f64,
        )
    }))
}

#[tokio::test]
async fn rates_come_through_bounds_on_time_unchanged() {
    let (_dir, lake) = lake(&[counter(2_000)], &[]);
    let engine = engine(lake).await;
    let all = ask(
        &engine,
        "SELECT rate_per_s, count(*) FROM counter_rates GROUP BY 1",
    )
    .await;
    assert_eq!(all, ["5.0|1999"]);
    let sql = "SELECT rate_per_s, count(*) FROM counter_rates \
               WHERE ts >= '2023-11-15T00:30:00Z' AND ts < '2023-11-15T00:31:00Z' GROUP BY 1";
    assert_eq!(ask(&engine, sql).await, ["5.0|60"]);
    let plan = plan(&engine, sql).await;
    // Ten minutes before the lower bound: nothing older is read.
    let scan = plan
        .lines()
        .filter(|line| line.contains("predicate="))
        .collect::<Vec<_>>()
        .join("\n");
    let oldest = (T0 + (30 * 60 - 600) * S).to_string();
    assert!(scan.contains(&oldest), "{oldest} in\n{plan}");
    assert!(
        plan.contains("BoundedWindowAggExec"),
        "rows must stream through:\n{plan}"
    );
}

#[tokio::test]
async fn foreign_windows_keep_their_rows() {
    let (_dir, lake) = lake(&[counter(20)], &[]);
    let engine = engine(lake).await;
    let sql = "SELECT before FROM (SELECT ts, lag(value) OVER (ORDER BY ts) AS before FROM samples) \
               WHERE ts = '2023-11-15T00:00:10Z'";
    assert_eq!(ask(&engine, sql).await, ["1045.0"]);
}

#[tokio::test]
async fn any_parquet_files_become_a_table() {
    let (dir, lake) = lake(&[ten(0), ten(20)], &[]);
    let engine = engine(lake).await;
    let root = dir.path().display().to_string();
    engine
        .add_files("one", &format!("{root}/date=2023-11-15/0.parquet"))
        .await
        .expect("a file");
    engine
        .add_files("whole", &format!("{root}/date=2023-11-15"))
        .await
        .expect("a directory");
    engine
        .add_files("some", &format!("{root}/*/*.parquet"))
        .await
        .expect("a pattern");
    for (table, rows) in [("one", "10"), ("whole", "20"), ("some", "20")] {
        assert_eq!(
            ask(&engine, &format!("SELECT count(*) FROM {table}")).await,
            [rows],
            "{table}"
        );
    }
    for (name, place, part) in [
        ("one", root.clone(), "already"),
        ("samples", root.clone(), "already"),
        ("A-b", root.clone(), "a to z"),
        ("none", format!("{root}/none.parquet"), "no such file"),
        ("empty", format!("{root}/*.nothing"), "no Parquet file"),
    ] {
        let error = engine
            .add_files(name, &place)
            .await
            .expect_err(name)
            .to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[tokio::test]
async fn parameters_are_values() {
    let (_dir, lake) = lake(&[ten(0)], &[]);
    let engine = engine(lake).await;
    let sql = "SELECT count(*) FROM samples WHERE ts >= $from AND metric = $metric";
    let given = |metric: &str| QueryOptions {
        parameters: vec![
            ("from".to_owned(), crate::rule::timestamp(T0 + 4 * S)),
            ("metric".to_owned(), ScalarValue::from(metric)),
        ],
        timeout: None,
    };
    let rows = engine.collect(sql, &given(LOAD)).await.expect("rows");
    assert_eq!(crate::testing::lines(&rows.batches), ["6"]);
    let rows = engine
        .collect(sql, &given("x' OR 'a' = 'a"))
        .await
        .expect("rows");
    assert_eq!(crate::testing::lines(&rows.batches), ["0"]);
    let error = fails(&engine, sql).await.to_string();
    assert!(error.contains("from"), "{error}");
}

#[tokio::test]
async fn time_and_memory_are_bounded() {
    let engine = engine(Lake::default()).await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(v) WHERE v % 7 = 3";
    let options = QueryOptions {
        timeout: Some(Duration::from_millis(200)),
        ..Default::default()
    };
    let started = Instant::now();
    let error = engine
        .collect(endless, &options)
        .await
        .expect_err("too long");
    assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));

    let config = EngineConfig {
        memory_bytes: 8 << 20,
        ..EngineConfig::default()
    };
    let small = Engine::over(Lake::default(), &config)
        .await
        .expect("an engine");
    let hungry = "SELECT array_agg(v) FROM generate_series(1, 5000000) AS t(v)";
    let error = fails(&small, hungry).await;
    assert!(
        matches!(error, EngineError::Memory { limit_mib: 8, .. }),
        "{error:?}"
    );
    let config = EngineConfig {
        memory_bytes: 32 << 20,
        partitions: 1,
        ..EngineConfig::default()
    };
    let small = Engine::over(Lake::default(), &config)
        .await
        .expect("an engine");
    let groups = "SELECT count(*) FROM (SELECT v, count(*) FROM generate_series(1, 5000000) AS t(v) GROUP BY v)";
    let spilled = ask(&small, groups).await;
    assert_eq!(spilled, ["5000000"], "what does not fit goes to disk");
}
