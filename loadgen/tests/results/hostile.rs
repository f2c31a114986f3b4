//! Large and hostile inputs.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use driftline_loadgen::results::{ImportError, Tool, import};
use proptest::prelude::*;

use super::bed::Bed;

/// Lines that are made as they are read, so that nothing but the import can hold them.
struct Generated {
    lines: u64,
    at: u64,
    line: Vec<u8>,
    read: usize,
    /// From this pass on, the last line differs.
    changes_in_pass: u32,
    pass: u32,
}

impl Generated {
    fn new(lines: u64, changes_in_pass: u32) -> Self {
        Self {
            lines,
            at: 0,
            line: Vec::new(),
            read: 0,
            changes_in_pass,
            pass: 1,
        }
    }
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.line.len() {
            if self.at == self.lines {
                return Ok(0);
            }
            self.line = match self.at {
                0 => b"series,timestamp,value\n".to_vec(),
                at if at + 1 == self.lines && self.pass >= self.changes_in_pass => {
                    b"changed,1,1\n".to_vec()
                }
                at => format!("s{},{},{at}\n", at % 50, 1_700_000_000 + at).into_bytes(),
            };
            self.at += 1;
            self.read = 0;
        }
        let count = buffer.len().min(self.line.len() - self.read);
        buffer[..count].copy_from_slice(&self.line[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

impl Seek for Generated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Current(0) => Ok(0),
            SeekFrom::Start(0) => {
                *self = Self {
                    pass: self.pass + 1,
                    ..Self::new(self.lines, self.changes_in_pass)
                };
                Ok(0)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The most memory that this process had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect("it is there").parse().expect("a number")
}

#[test]
fn a_million_lines_stream() {
    let bed = Bed::new();
    let before = peak_kib();
    let mut input = BufReader::new(Generated::new(1_000_001, 3));
    let mut told = Vec::new();
    let imported = import(&bed.request(Tool::Csv), &mut input, &mut |rows| {
        told.push(rows)
    });
    assert_eq!(imported.expect("well formed").rows, 1_000_000);
    assert_eq!(told.last(), Some(&1_000_000));
    assert!(told.is_sorted());
    // The rows alone would take more than 24 MiB, and the text as much.
    let grown = peak_kib() - before;
    assert!(grown < 32 * 1_024, "the peak grew by {grown} KiB");
    assert_eq!(bed.samples().len(), 1_000_000);
}

#[test]
fn a_file_that_changes_meanwhile_leaves_no_end() {
    let bed = Bed::new();
    let mut input = BufReader::new(Generated::new(10_000, 2));
    let error = import(&bed.request(Tool::Csv), &mut input, &mut |_| {});
    assert!(matches!(error, Err(ImportError::Changed)), "{error:?}");
    assert_eq!(bed.events().len(), 1, "nothing but its beginning");
}

#[test]
fn a_line_without_end_is_refused() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'"');
            Ok(buffer.len())
        }
    }
    impl Seek for Endless {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    for tool in [Tool::K6, Tool::Csv] {
        let bed = Bed::new();
        let mut input = BufReader::new(Endless);
        let error = import(&bed.request(tool), &mut input, &mut |_| {});
        assert!(
            matches!(error, Err(ImportError::LineTooLong { line: 1, .. })),
            "{error:?}"
        );
    }
}

const WELL_FORMED: [(Tool, &str); 3] = [
    (
        Tool::K6,
        "{\"type\":\"Point\",\"metric\":\"http_req_duration\",\"data\":{\"time\":\"2026-01-31T12:00:00Z\",\"value\":1.5,\"tags\":{\"status\":\"200\"}}}\n",
    ),
    (
        Tool::Jmh,
        "[{\"benchmark\":\"a\",\"mode\":\"thrpt\",\"primaryMetric\":{\"scoreUnit\":\"ops/s\",\"rawData\":[[1,2]]}}]",
    ),
    (
        Tool::Csv,
        "timestamp,endpoint,latency_ms,status\n1700000000,\"a\"\"b\",1.5,200\n",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_input_panics(
        which in 0..3_usize,
        cut in 0..200_usize,
        place in 0..200_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let (tool, text) = WELL_FORMED[which];
        let mut text = text.as_bytes().to_vec();
        text.truncate(text.len().saturating_sub(cut % (text.len() + 1)));
        let place = place.min(text.len());
        text.splice(place..place, bytes);
        let bed = Bed::new();
        match bed.import(tool, &text) {
            Ok(imported) => {
                let rows = bed.requests().len() + bed.samples().len();
                prop_assert_eq!(imported.rows, rows as u64);
            }
            Err(error) => prop_assert!(!bed.has_log(), "{} left something in the log", error),
        }
    }
}
