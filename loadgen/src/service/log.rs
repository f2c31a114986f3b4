//! The service's own record of what it answered and when: the truth that load clients are held to.
//!
//! Each thread appends to a segment of its own; a writer's thread empties the segments into a file.
//! Rows are kept in memory instead where tests ask for them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Rows that wait in a segment at most; those beyond are counted as lost.
const MOST_ROWS: usize = 4_000_000;
/// How often segments are written out.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// The first line of a file.
const HEADER: &str = "arrival_us,start_us,end_us,status,path";

/// One request, as the service saw it. Times are microseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its first byte was read.
    pub arrival_us: i64,
    /// Its service began: later than the arrival when it queued for a slot.
    pub start_us: i64,
    /// Its answer was written.
    pub end_us: i64,
    /// The status; 0 when it was never answered.
    pub status: u16,
    /// The path, with its query.
    pub path: Box<str>,
}

/// All segments.
#[derive(Debug)]
pub(crate) struct Log {
    segments: Vec<Mutex<Vec<LogRow>>>,
    lost: AtomicU64,
    closed: AtomicBool,
}

impl Log {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            segments: (0..threads).map(|_| Mutex::default()).collect(),
            lost: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Appends a row of that thread.
    pub(crate) fn append(&self, thread: usize, row: LogRow) {
        let segment = &self.segments[thread];
        let mut rows = segment.lock().unwrap_or_else(PoisonError::into_inner);
        match rows.len() < MOST_ROWS {
            true => rows.push(row),
            false => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Rows that found no room.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What is in memory, by arrival.
    pub(crate) fn rows(&self) -> Vec<LogRow> {
        let mut rows = Vec::new();
        for segment in &self.segments {
            let segment = segment.lock().unwrap_or_else(PoisonError::into_inner);
            rows.extend_from_slice(&segment);
        }
        rows.sort_by_key(|row| row.arrival_us);
        rows
    }

    /// The writer's thread: empties the segments into the file until the log is closed.
    pub(crate) fn write_to(self: Arc<Self>, file: File) -> io::Result<()> {
        let mut file = BufWriter::new(file);
        writeln!(file, "{HEADER}")?;
        loop {
            // Read before the segments, so that nothing appended before the close is missed.
            let closed = self.closed.load(Ordering::Acquire);
            for segment in &self.segments {
                let taken = segment.lock().map(|mut rows| std::mem::take(&mut *rows));
                for row in taken.unwrap_or_default() {
                    write_row(&mut file, &row)?;
                }
            }
            if closed {
                return file.flush();
            }
            std::thread::park_timeout(WRITE_EVERY);
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

fn write_row(out: &mut impl Write, row: &LogRow) -> io::Result<()> {
    let LogRow {
        arrival_us,
        start_us,
        end_us,
        status,
        path,
    } = row;
    write!(out, "{arrival_us},{start_us},{end_us},{status},")?;
    match path.contains([',', '"']) {
        true => writeln!(out, "\"{}\"", path.replace('"', "\"\"")),
        false => writeln!(out, "{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arrival_us: i64, path: &str) -> LogRow {
        LogRow {
            arrival_us,
            start_us: arrival_us + 1,
            end_us: arrival_us + 2,
            status: 200,
            path: path.into(),
        }
    }

    #[test]
    fn every_row_reaches_the_file_before_it_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log.csv");
        let log = Arc::new(Log::new(2));
        let writer = {
            let (log, file) = (Arc::clone(&log), File::create(&path).expect("a file"));
            std::thread::spawn(move || log.write_to(file))
        };
        log.append(0, row(10, "/a?x=1,2"));
        log.append(1, row(5, "/b\""));
        log.close();
        writer.thread().unpark();
        writer.join().expect("the writer").expect("written");
        let text = std::fs::read_to_string(&path).expect("the file");
        let expected = format!("{HEADER}\n10,11,12,200,\"/a?x=1,2\"\n5,6,7,200,\"/b\"\"\"\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_in_memory_come_by_arrival() {
        let log = Log::new(2);
        log.append(0, row(10, "/late"));
        log.append(1, row(5, "/early"));
        let arrivals: Vec<i64> = log.rows().iter().map(|row| row.arrival_us).collect();
        assert_eq!(arrivals, [5, 10]);
        assert_eq!(log.lost(), 0);
    }
}
