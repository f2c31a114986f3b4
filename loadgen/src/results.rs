//! Results of other tools, brought into the same log: k6's JSON lines and CSV rows of requests
//! become a run in the table `requests`, JMH's JSON and CSV rows of series become samples.
//!
//! The input is read twice. The first pass checks every row and learns the endpoints and the times,
//! so that what is malformed leaves nothing in the log; the second pass writes. Memory does not grow
//! with the number of rows. A killed import leaves a run without `RunFinished` (samples: without the
//! second `Marked`), as a killed run does.
//!
//! Importing the same bytes twice would double their rows. The name of an import is therefore made
//! of its content ([`run_name`]), and whether the log or the tables hold that run already is for the
//! caller to check, who can see both. Scenarios from documents of other tools are in
//! [`crate::import`]; what rows mean in SQL is left to the analyzer.

mod csv;
mod error;
mod events;
mod jmh;
mod k6;
mod lines;
mod log;
mod row;
mod survey;
mod table;
mod time;

use std::io::{self, BufRead, Seek, SeekFrom};
use std::path::PathBuf;

use driftline_eventlog::spool::SpoolConfig;
use driftline_schemas::metric::{Better, Category};

pub use error::ImportError;

use self::lines::{FNV_OFFSET, Lines, fnv1a};
use self::log::Log;
use self::survey::Survey;

/// Longest id of a run, as for runs of Driftline's own.
pub const MAX_RUN_BYTES: usize = 40;
/// Longest line or CSV record, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Largest JMH document, in bytes; the only input that is held in memory.
pub const MAX_JMH_BYTES: usize = 64 << 20;
/// Most endpoints of a run.
pub const MAX_ENDPOINTS: usize = 1_000;
/// Most bytes of a run's endpoints together: they stand in one event.
pub const MAX_ENDPOINT_BYTES: usize = 256 << 10;
/// Most error texts of a run.
pub const MAX_ERRORS: usize = 1_000;
/// Most series of an import.
pub const MAX_SERIES: usize = 100_000;
/// Longest name of an endpoint, an error or a series, in bytes.
pub const MAX_NAME_BYTES: usize = 1_024;
/// The label that says from where latency counts, unless the user sets it.
pub const LATENCY_FROM: &str = "latency_from";

/// The tool whose results are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// The JSON lines of `k6 run --out json=FILE`.
    ///
    /// k6 stamps a request's points at its end. The request began, as far as k6 knows, at that time
    /// less `http_req_duration` less `http_req_blocked` (which holds connecting and TLS); this is
    /// its `ts`. Its `service_ms` is k6's `http_req_duration`, its `latency_ms` the wait for a
    /// connection in addition. When the schedule wanted it is in no file of k6's: a virtual user
    /// that waits for an answer sends nothing meanwhile, so that coordinated omission, where the
    /// script allowed it, is in the data and stays there. The run is labelled `latency_from=sent`.
    K6,
    /// The JSON of `-rf json`.
    ///
    /// Each iteration's score becomes a sample of `jmh.<benchmark>`, and of
    /// `jmh.<benchmark>.<metric>` for secondary metrics, labelled with the parameters, the mode and
    /// the fork. JMH keeps no times: the last iteration is put at [`ImportRequest::at_us`], those
    /// before it 1 s apart, fork after fork. Of mode `sample` each iteration's mean is taken.
    Jmh,
    /// CSV with a header (RFC 4180, UTF-8 with or without a byte order mark, LF or CRLF), of one
    /// of two forms, columns in any order:
    ///
    /// - `series,timestamp,value`: samples of gauges named by `series`. Rows without a finite value
    ///   (`NaN`, infinities) are left out and counted.
    /// - `timestamp,endpoint,latency_ms[,status][,error][,bytes]`: requests that began at
    ///   `timestamp`. A status of 400 and above without an error is a failure of `status`.
    ///
    /// Timestamps are seconds since 1970 UTC, with fractions down to microseconds. Rows may come in
    /// any order; rows with one timestamp are all kept.
    Csv,
}

impl Tool {
    /// The tool's name: on the command line, in names of runs and as their scenario.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::K6 => "k6",
            Self::Jmh => "jmh",
            Self::Csv => "csv",
        }
    }
}

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where the results come from.
    pub tool: Tool,
    /// The data directory; the log is in `log` below it.
    pub data: PathBuf,
    /// The id of the run; by default [`run_name`] of the content.
    pub run: Option<String>,
    /// The host that the results speak of.
    pub host: String,
    /// Labels of the run. They are in its event, not on series, whose history they would cut.
    pub labels: Vec<(String, String)>,
    /// When the results were measured, in µs since 1970 UTC: needed for JMH, of no use otherwise.
    pub at_us: Option<i64>,
    /// What the series of a CSV file mean; left out, they are shares of which no direction is better.
    pub meaning: Option<SeriesMeaning>,
    /// How the log uses the disk. Rows are never dropped for room, whatever `on_full` says: the
    /// import fails instead.
    pub spool: SpoolConfig,
}

/// What the series of a CSV file mean, which has no place for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesMeaning {
    /// Their unit, in UCUM.
    pub unit: String,
    /// What they say about a resource.
    pub category: Category,
    /// Which direction is good.
    pub better: Better,
}

/// What has been imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The id of the run.
    pub run: String,
    /// The hash of the content, as it stands in the run's event.
    pub hash: String,
    /// Rows of `requests` or `samples`.
    pub rows: u64,
    /// The first time in them, in µs since 1970 UTC.
    pub from_us: i64,
    /// The last time in them: the end of the last request, or the last sample.
    pub until_us: i64,
    /// What was left out, by name, and how often it occurred.
    pub ignored: Vec<(String, u64)>,
}

/// The FNV-1a hash (64 bits) of all that is left of an input.
pub fn content_hash(input: &mut dyn BufRead) -> io::Result<u64> {
    let mut hash = FNV_OFFSET;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(hash);
        }
        hash = fnv1a(hash, chunk);
        let taken = chunk.len();
        input.consume(taken);
    }
}

/// The id of a run that nobody named: of equal content it is equal.
pub fn run_name(tool: Tool, hash: u64) -> String {
    format!("{}-{hash:016x}", tool.as_str())
}

/// The name of the producer that writes a run's rows, hence of its directory in the log.
pub fn producer_name(run: &str) -> String {
    format!("import-{run}")
}

/// Imports what is left of an input; `progress` is told the rows written so far.
///
/// After an error before anything is written (every malformed input) the log is as it was. After
/// an error of the log the run is there without its end, and another attempt needs another name.
pub fn import<R: BufRead + Seek>(
    request: &ImportRequest,
    input: &mut R,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    if let Some(run) = &request.run
        && !is_valid_run(run)
    {
        return Err(ImportError::RunName { found: run.clone() });
    }
    let start = input.stream_position().map_err(ImportError::Read)?;
    let mut survey = Survey::default();
    let hash = read(request, input, &mut |row| survey.take(&row))?;
    survey.check(request.tool)?;
    let run = match &request.run {
        Some(run) => run.clone(),
        None => run_name(request.tool, hash),
    };
    input
        .seek(SeekFrom::Start(start))
        .map_err(ImportError::Read)?;
    let mut log = Log::open(request, &run, survey.kind())?;
    let written = write(request, input, hash, &survey, &mut log, progress);
    // Whatever happened, nobody shall wait for more.
    let closed = log.close();
    written.and(closed)?;
    Ok(Imported {
        run,
        hash: format!("{hash:016x}"),
        rows: survey.rows(),
        from_us: survey.first_us(),
        until_us: survey.last_us(),
        ignored: survey.ignored().collect(),
    })
}

/// The second pass: the first event, the rows, the last event.
fn write<R: BufRead>(
    request: &ImportRequest,
    input: &mut R,
    hash: u64,
    survey: &Survey,
    log: &mut Log,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImportError> {
    log.tell(events::begun(request, log.run(), hash, survey))?;
    let again = read(request, input, &mut |row| {
        if log.take(&row)? {
            progress(log.rows());
        }
        Ok(())
    })?;
    if again != hash {
        return Err(ImportError::Changed);
    }
    log.flush()?;
    progress(log.rows());
    log.tell(events::ended(request, log.run(), hash, survey))
}

/// Reads every row of an input; gives the hash of its bytes.
fn read<R: BufRead>(
    request: &ImportRequest,
    input: &mut R,
    take: &mut row::Take<'_>,
) -> Result<u64, ImportError> {
    let mut lines = Lines::new(input);
    match request.tool {
        Tool::K6 => k6::read(&mut lines, take)?,
        Tool::Jmh => jmh::read(&mut lines, request.at_us, take)?,
        Tool::Csv => table::read(&mut lines, take)?,
    }
    Ok(lines.hash())
}

/// Whether a name can be the id of a run, which is part of the name of a directory.
fn is_valid_run(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= MAX_RUN_BYTES
        && name.bytes().next().is_some_and(is_plain)
        && name
            .bytes()
            .all(|letter| is_plain(letter) || matches!(letter, b'.' | b'_' | b'-'))
}
