//! Logs as servers write them: rotated, truncated, read again after a kill.

mod rotation;
mod writers;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::recorder::Recorder;
use crate::service::Meter;
use crate::testing::{Row, rows_of, value};

const LINES: &str = "service.name=shop";

fn config(directory: &Path) -> AccessLogConfig {
    AccessLogConfig {
        name: "shop".to_owned(),
        path: directory.join("access.log"),
        format: Format::Common,
        duration_last: true,
        from_start: true,
        state_dir: Some(directory.join("state")),
        ..AccessLogConfig::default()
    }
}

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.expect("writable")
}

/// Where the rotated file with this number is.
fn rotated(path: &Path, number: usize) -> PathBuf {
    path.with_extension(format!("log.{number}"))
}

/// As logrotate's copytruncate does it.
fn copy_and_truncate(path: &Path) {
    fs::copy(path, rotated(path, 1)).expect("copied");
    open(path).set_len(0).expect("truncated");
}

fn append(path: &Path, targets: &[&str]) {
    append_to(&mut open(path), targets);
}

fn append_to(file: &mut File, targets: &[&str]) {
    for target in targets {
        writeln!(file, r#"::1 - - [t] "GET {target} HTTP/1.1" 200 10 0.020"#).expect("writable");
    }
}

async fn pass(log: &mut AccessLog) -> (Vec<Row>, Vec<Event>) {
    let (rows, events, outcome) = look(log).await;
    outcome.expect("the log is there");
    (rows, events)
}

async fn look(log: &mut AccessLog) -> (Vec<Row>, Vec<Event>, Result<(), ServiceError>) {
    let mut out = Pass {
        recorder: Recorder::new(),
        batches: Vec::new(),
        events: Vec::new(),
        meter: Meter::default(),
    };
    out.recorder.begin(1_000_000);
    let outcome = log.pass(&mut out).await;
    (rows_of(&out.recorder.finish()), out.events, outcome)
}

async fn lines(log: &mut AccessLog) -> f64 {
    value(&pass(log).await.0, "http.server.log.lines", LINES)
}

#[tokio::test]
async fn endpoints_are_counted_and_timed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(
        &config.path,
        &["/orders/1", "/orders/2?x", "/orders/2?x", "/"],
    );
    let (rows, events) = pass(&mut AccessLog::new(config)).await;
    let orders = "http.request.method=GET,http.route=/orders/{id},service.name=shop";
    let requests = "http.request.method=GET,http.response.status_class=2xx,\
                    http.route=/orders/{id},service.name=shop";
    assert_eq!(value(&rows, "http.server.requests", requests), 3.0);
    assert_eq!(value(&rows, "http.server.responses.identical", orders), 1.0);
    assert_eq!(value(&rows, "http.server.response.io", orders), 30.0);
    let p99 = value(
        &rows,
        "http.server.duration.quantile",
        "quantile=0.99,service.name=shop",
    );
    assert!((0.0198..=0.0202).contains(&p99), "{p99}");
    assert!(events.is_empty(), "{events:?}");
    assert!(!rows.iter().any(|row| row.0 == "http.server.retries"));
}

#[tokio::test]
async fn an_etag_tells_contents_apart_where_sizes_cannot() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = AccessLogConfig {
        format: Format::Json,
        ..config(directory.path())
    };
    let lines = [
        ("a", 10),
        // Other contents of the same size, then the same ones compressed.
        ("b", 10),
        ("b", 7),
        // Without one sizes are compared again.
        ("-", 7),
        ("-", 7),
    ];
    let line = |(etag, bytes)| {
        format!(
            r#"{{"request":"GET /x HTTP/1.1","status":200,"body_bytes_sent":{bytes},"sent_http_etag":"{etag}"}}"#
        ) + "\n"
    };
    fs::write(&config.path, lines.map(line).concat()).expect("written");
    let (rows, _) = pass(&mut AccessLog::new(config)).await;
    let labels = "http.request.method=GET,http.route=/x,service.name=shop";
    let count = |what: &str| value(&rows, &format!("http.server.responses.{what}"), labels);
    assert_eq!((count("compared"), count("identical")), (5.0, 2.0));
}

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_over_renaming_and_kills() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 2.0);
    append(&config.path, &["/c"]);
    // Nothing is written when it is dropped: it is as if it were killed.
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 3.0);
    append(&config.path, &["/d"]);
    let rotated = directory.path().join("access.log.1");
    fs::rename(&config.path, &rotated).expect("renamed");
    append(&config.path, &["/e"]);
    append(&rotated, &["/late"]);
    assert_eq!(lines(&mut log).await, 6.0);
    drop(log);
    append(&config.path, &["/f"]);
    fs::rename(&rotated, directory.path().join("access.log.2")).expect("renamed");
    fs::rename(&config.path, &rotated).expect("renamed");
    append(&config.path, &["/g"]);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 8.0);
    assert_eq!(lines(&mut log).await, 8.0);
}

#[tokio::test]
async fn what_was_copied_before_a_truncation_is_read_from_the_copy() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 2.0);
    append(&config.path, &["/unread"]);
    copy_and_truncate(&config.path);
    append(&config.path, &["/new"]);
    assert_eq!(lines(&mut log).await, 4.0);
    assert_eq!(lines(&mut AccessLog::new(config)).await, 4.0);
}

#[tokio::test]
async fn a_line_is_counted_when_it_is_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    fs::write(&config.path, r#"::1 - - [t] "GET / HT"#).expect("writable");
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 0.0);
    let mut file = open(&config.path);
    file.write_all(b"TP/1.1\" 200 1 0.1\n").expect("writable");
    let (rows, _) = pass(&mut log).await;
    assert_eq!(value(&rows, "http.server.log.lines", LINES), 1.0);
    assert_eq!(value(&rows, "http.server.log.malformed", LINES), 0.0);
}

#[tokio::test]
async fn malformed_lines_are_counted_and_told_once_without_queries() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    fs::write(&config.path, "nonsense /x?token=hush more\nworse\n").expect("writable");
    let mut log = AccessLog::new(config.clone());
    let (rows, events) = pass(&mut log).await;
    assert_eq!(value(&rows, "http.server.log.malformed", LINES), 2.0);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].message.contains("nonsense /x?") && !events[0].message.contains("hush"));
    append(&config.path, &["/"]);
    assert!(pass(&mut log).await.1.is_empty(), "it is told once");
}

#[tokio::test]
async fn endpoints_are_bounded_and_scanners_make_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = AccessLogConfig {
        max_endpoints: 2,
        ..config(directory.path())
    };
    append(&config.path, &["/a", "/b", "/c", "/d"]);
    let mut log = AccessLog::new(config.clone());
    let (rows, events) = pass(&mut log).await;
    let other = "http.request.method=_OTHER,http.response.status_class=2xx,\
                 http.route=other,service.name=shop";
    assert_eq!(value(&rows, "http.server.requests", other), 2.0);
    assert_eq!(value(&rows, "http.server.log.endpoints", LINES), 2.0);
    assert!(
        events[0].message.contains("raise max_endpoints"),
        "{events:?}"
    );
}
