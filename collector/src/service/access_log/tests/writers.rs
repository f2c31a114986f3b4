//! Logs that are written, rotated and read all at once, with readers that are killed in between.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _};

use super::*;

const LINES_WRITTEN: u32 = 20_000;
const LINES_PER_FILE: u32 = 1_000;
/// Rotated files that are kept, as far more than are needed.
const KEPT: usize = 8;
/// A reader is killed after so many passes.
const PASSES_PER_LIFE: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// What the writer and the reader know of each other.
#[derive(Default)]
struct Progress {
    passes: AtomicUsize,
    is_written: AtomicBool,
}

impl Progress {
    /// Waits until the reader has looked again: no rotation is to be missed because the machine is
    /// busy.
    fn wait_for_a_pass(&self) {
        let (begun, before) = (Instant::now(), self.passes.load(Ordering::SeqCst));
        while self.passes.load(Ordering::SeqCst) < before + 2 {
            assert!(begun.elapsed() < PATIENCE, "nobody reads");
            std::thread::yield_now();
        }
    }
}

/// Makes room for the newest rotated file.
fn shift(path: &Path) {
    for number in (1..KEPT).rev() {
        // At first there are fewer.
        let _ = fs::rename(rotated(path, number), rotated(path, number + 1));
    }
}

fn rename(path: &Path) {
    shift(path);
    fs::rename(path, rotated(path, 1)).expect("renamed");
}

fn shift_and_copy(path: &Path) {
    shift(path);
    copy_and_truncate(path);
}

/// Writes lines in pieces that end anywhere, and rotates between two of them.
fn write(path: &Path, rotate: fn(&Path), progress: &Progress, seed: u64) {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut file = open(path);
    // What is rotated away before the first look is not read.
    progress.wait_for_a_pass();
    for number in 0..LINES_WRITTEN {
        let line = format!("::1 - - [{number}] \"GET /n?{number} HTTP/1.1\" 200 {number} 0.020\n");
        let (first, rest) = line.as_bytes().split_at(random.random_range(0..line.len()));
        file.write_all(first).expect("written");
        file.write_all(rest).expect("written");
        if number % LINES_PER_FILE == LINES_PER_FILE - 1 {
            rotate(path);
            file = open(path);
            progress.wait_for_a_pass();
        }
    }
    progress.is_written.store(true, Ordering::SeqCst);
}

async fn is_counted_exactly(rotate: fn(&Path), seed: u64) {
    println!("seed {seed}");
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    drop(open(&config.path));
    let progress = Progress::default();
    let rows = std::thread::scope(|scope| {
        scope.spawn(|| write(&config.path, rotate, &progress, seed));
        let reading = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(read(&config, &progress))
        });
        reading.join().expect("no panic")
    });
    let of = |metric: &str| value(&rows, metric, LINES);
    assert_eq!(of("http.server.log.malformed"), 0.0);
    assert_eq!(of("http.server.log.lost"), 0.0);
    assert_eq!(of("http.server.log.lines"), f64::from(LINES_WRITTEN));
    let requests = "http.request.method=GET,http.response.status_class=2xx,\
                    http.route=/n,service.name=shop";
    let counted = value(&rows, "http.server.requests", requests);
    assert_eq!(counted, f64::from(LINES_WRITTEN));
    // Each number stands in one line, so their sum shows which lines were counted.
    let orders = "http.request.method=GET,http.route=/n,service.name=shop";
    let sum = f64::from(LINES_WRITTEN) * f64::from(LINES_WRITTEN - 1) / 2.0;
    assert_eq!(value(&rows, "http.server.response.io", orders), sum);
}

/// Passes, in several lives, until everything is read and some passes more; what the last one told.
async fn read(config: &AccessLogConfig, progress: &Progress) -> Vec<Row> {
    let begun = Instant::now();
    let mut log = AccessLog::new(config.clone());
    let (mut number, mut whole) = (0, 0);
    loop {
        number += 1;
        if number % PASSES_PER_LIFE == 0 {
            log = AccessLog::new(config.clone());
        }
        let is_written = progress.is_written.load(Ordering::SeqCst);
        // In the middle of a rotation there is no log, which is told and does no harm.
        let (rows, _, outcome) = look(&mut log).await;
        if let Err(error) = outcome {
            assert!(
                error.to_string().contains("look whether it is there"),
                "{error}"
            );
        }
        progress.passes.fetch_add(1, Ordering::SeqCst);
        let lines = value(&rows, "http.server.log.lines", LINES);
        whole += u32::from(is_written && lines >= f64::from(LINES_WRITTEN));
        if whole > 2 * PASSES_PER_LIFE || begun.elapsed() > PATIENCE {
            return rows;
        }
    }
}

#[tokio::test]
async fn every_line_is_counted_once_while_files_are_renamed_and_readers_killed() {
    is_counted_exactly(rename, 1).await;
}

#[tokio::test]
async fn every_line_is_counted_once_while_files_are_copied_and_truncated_and_readers_killed() {
    is_counted_exactly(shift_and_copy, 2).await;
}
