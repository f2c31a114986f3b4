//! Rotations that come at awkward times, and lines that are too long.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::super::tail::CHUNK_BYTES;
use super::*;

#[tokio::test]
async fn a_file_that_was_empty_when_the_reader_was_killed_is_found_again_when_it_was_renamed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    drop(open(&config.path));
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 0.0);
    drop(log);
    append(&config.path, &["/a", "/b"]);
    fs::rename(&config.path, rotated(&config.path, 1)).expect("renamed");
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
        if rotated(&config.path, 1).exists() {
            fs::rename(rotated(&config.path, 1), rotated(&config.path, 2)).expect("renamed");
        }
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

#[tokio::test]
async fn a_copy_that_has_only_been_begun_is_not_read_beside_what_it_is_a_copy_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    assert_eq!(lines(&mut AccessLog::new(config.clone())).await, 2.0);
    let whole = fs::read(&config.path).expect("readable");
    let mut copy = open(&rotated(&config.path, 1));
    // Readers are killed each time, so that each looks at all that lies there.
    for part in [&whole[..0], &whole[..10], &whole[10..]] {
        copy.write_all(part).expect("written");
        let mut log = AccessLog::new(config.clone());
        assert_eq!(lines(&mut log).await, 2.0);
        assert_eq!(lines(&mut log).await, 2.0);
    }
    append(&config.path, &["/c"]);
    copy_and_truncate(&config.path);
    append(&config.path, &["/d"]);
    assert_eq!(lines(&mut AccessLog::new(config)).await, 4.0);
}

/// A worker that has not opened the new file yet, as one with a long request.
#[tokio::test]
async fn a_late_line_of_a_rotated_file_is_counted_once_over_rotations_and_restarts() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    let mut worker = open(&config.path);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 2.0);
    fs::rename(&config.path, rotated(&config.path, 1)).expect("renamed");
    append(&config.path, &["/c"]);
    let mut count = 3.0;
    for restarted in [false, true, false] {
        until_let_go(&mut log, count).await;
        append_to(&mut worker, &["/late"]);
        fs::rename(rotated(&config.path, 1), rotated(&config.path, 2)).expect("renamed");
        fs::rename(&config.path, rotated(&config.path, 1)).expect("renamed");
        append(&config.path, &["/new"]);
        fs::rename(rotated(&config.path, 2), rotated(&config.path, 3)).expect("renamed");
        if restarted {
            drop(log);
            log = AccessLog::new(config.clone());
        }
        count += 2.0;
        assert_eq!(lines(&mut log).await, count, "restarted: {restarted}");
        // For the next round the worker's file stands at the first place again.
        fs::rename(rotated(&config.path, 1), rotated(&config.path, 4)).expect("renamed");
        fs::rename(rotated(&config.path, 3), rotated(&config.path, 1)).expect("renamed");
        assert_eq!(lines(&mut log).await, count);
    }
}

#[tokio::test]
async fn what_was_let_go_and_is_deleted_while_nobody_reads_is_not_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    append(&config.path, &["/a", "/b"]);
    let mut log = AccessLog::new(config.clone());
    assert_eq!(lines(&mut log).await, 2.0);
    fs::rename(&config.path, rotated(&config.path, 1)).expect("renamed");
    append(&config.path, &["/c"]);
    until_let_go(&mut log, 3.0).await;
    drop(log);
    fs::remove_file(rotated(&config.path, 1)).expect("removed");
    let (rows, events) = pass(&mut AccessLog::new(config)).await;
    assert_eq!(value(&rows, "http.server.log.lines", LINES), 3.0);
    assert!(events.is_empty(), "all of it had been read: {events:?}");
}

/// What grows no more is let go once its time is past that of the last look.
async fn until_let_go(log: &mut AccessLog, count: f64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert_eq!(lines(log).await, count);
        if log.reading.as_ref().map(|one| one.tail.len()) == Some(1) {
            return;
        }
        assert!(Instant::now() < deadline, "it is never let go");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
