//! Rotations that come at awkward times, and lines that are too long.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::super::tail::CHUNK_BYTES;
use super::*;

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.expect("writable")
}

fn copy_and_truncate(path: &Path) {
    let (first, second) = (path.with_extension("log.1"), path.with_extension("log.2"));
    if first.exists() {
        fs::rename(&first, second).expect("renamed");
    }
    fs::copy(path, first).expect("copied");
    open(path).set_len(0).expect("truncated");
}

#[tokio::test]
async fn a_file_that_was_empty_when_the_reader_was_killed_is_found_again_when_it_was_renamed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    drop(open(&config.path));
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 0.0);
    drop(log);
    append(&config.path, &["/a", "/b"]);
    fs::rename(&config.path, config.path.with_extension("log.1")).expect("renamed");
    append(&config.path, &["/c"]);
    let (rows, events) = pass(&mut AccessLog::new(config)).await;
    assert_eq!(value(&rows, "http.server.log.lines", LINES), 3.0);
    assert!(events.is_empty(), "nothing has vanished: {events:?}");
}

#[tokio::test]
async fn two_truncations_between_two_looks_lose_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 2.0);
    append(&config.path, &["/unread"]);
    for target in ["/between", "/new"] {
        copy_and_truncate(&config.path);
        append(&config.path, &[target]);
    }
    assert_eq!(lines(&mut log).await, 5.0);
    assert_eq!(lines(&mut AccessLog::new(config)).await, 5.0);
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_passed_over_in_bounded_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/before"]);
    let mut file = open(&config.path);
    file.write_all(&vec![b'x'; 10_000_000]).expect("written");
    let mut log = AccessLog::new(config.clone());
    // Its end is not there yet.
    assert_eq!(lines(&mut log).await, 2.0);
    file.write_all(b"\n").expect("written");
    append(&config.path, &["/after"]);
    let (rows, events) = pass(&mut log).await;
    assert_eq!(value(&rows, "http.server.log.lines", LINES), 3.0);
    assert_eq!(value(&rows, "http.server.log.malformed", LINES), 1.0);
    assert_eq!(value(&rows, "http.server.log.lag", LINES), 0.0);
    assert!(log.buffer.capacity() <= CHUNK_BYTES);
    assert!(events.iter().all(|event| event.message.len() < 1_000));
}
