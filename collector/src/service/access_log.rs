//! Access logs of HTTP servers: requests, errors and durations by endpoint, from the lines that a
//! server writes anyway.
//!
//! **What is guaranteed.** Every whole line is counted exactly once in the totals, over restarts, kill
//! -9 and rotation by renaming, because totals and positions are kept as one ([`state`]) and samples
//! hold totals. A rotated file is found again by its inode and its first bytes as long as it lies
//! beside the log, uncompressed. With copytruncate, what was not read before the truncation is read
//! from the copy; what a server writes between the copy and the truncation is lost to everybody. What
//! is known to be lost is counted. Not exact after kill -9 are the quantiles of the interval that was
//! under way, the trace (lines after the last state are traced again), and the count of identical
//! responses, which starts with an empty memory. A line counts at the time when it is read.

mod config;
mod counts;
mod json;
mod line;
mod repeats;
mod rotated;
mod route;
mod state;
mod tail;
#[cfg(test)]
mod tests;
mod trace;

use std::hash::Hasher as _;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};
use siphasher::sip::SipHasher13;

use super::{Pass, Service, ServiceError};
use crate::clock;
pub(super) use config::check;
pub use config::{AccessLogConfig, Format};
use counts::Counts;
pub use json::FieldNames;
use json::JsonLines;
pub use line::DurationUnit;
use line::Entry;
use repeats::Repeats;
use route::Pattern;
use state::State;
use tail::{Line, Tail};
use trace::Trace;

/// Bytes that one pass reads at most; the rest is left to the next one and shows as lag.
const MAX_PASS_BYTES: u64 = 512 * 1024 * 1024;
/// So much of the time-out is spent reading.
const READING_SHARE: u32 = 2;
/// So much of a malformed line is told.
const MAX_EXAMPLE_CHARS: usize = 160;

pub(super) fn services(configs: &[AccessLogConfig]) -> Vec<Box<dyn Service>> {
    let service =
        |config: &AccessLogConfig| -> Box<dyn Service> { Box::new(AccessLog::new(config.clone())) };
    configs.iter().map(service).collect()
}

/// A log and what is known of it.
struct AccessLog {
    subject: String,
    config: AccessLogConfig,
    /// Begun at the first pass.
    reading: Option<Reading>,
    told: Told,
    buffer: Vec<u8>,
}

/// What was told already, since each is told once.
#[derive(Debug, Default)]
struct Told {
    malformed: bool,
    endpoints: bool,
    files: bool,
    vanished: bool,
    lost_bytes: u64,
}

/// Where reading has come to, and what was counted up to there.
#[derive(Debug)]
struct Reading {
    tail: Tail,
    tally: Tally,
    lost_before: u64,
}

/// What lines are counted in.
#[derive(Debug)]
struct Tally {
    parser: Parser,
    counts: Counts,
    repeats: Repeats,
    trace: Option<Trace>,
    lines: u64,
    malformed: u64,
    example: Option<String>,
}

#[derive(Debug)]
enum Parser {
    Text {
        combined: bool,
        duration: Option<DurationUnit>,
    },
    Json(JsonLines),
}

impl AccessLog {
    fn new(config: AccessLogConfig) -> Self {
        Self {
            subject: format!("access_log.{}", config.name),
            config,
            reading: None,
            told: Told::default(),
            buffer: Vec::new(),
        }
    }

    /// Takes up what was remembered.
    fn begin(&self) -> Result<Reading, ServiceError> {
        check(&self.config)?;
        let kept = match self.state_path() {
            Some(path) => state::read(&path).map_err(|error| unavailable(&error))?,
            None => None,
        }
        .unwrap_or_default();
        let config = &self.config;
        let tail = Tail::new(
            &config.path,
            (kept.positions, kept.resting, kept.spared),
            kept.current_ns,
            config.from_start,
        );
        let duration = config.duration_last.then_some(config.duration_unit);
        let parser = match config.format {
            Format::Json => Parser::Json(JsonLines::new(
                &config.fields,
                config.duration_unit,
                config.first_attempt,
            )),
            format => Parser::Text {
                combined: format == Format::Combined,
                duration,
            },
        };
        let slow_after_us = u64::try_from(config.slow_after.as_micros()).unwrap_or(u64::MAX);
        let patterns = config.routes.iter().filter_map(|text| Pattern::new(text));
        let counts = Counts::new(
            config.max_endpoints,
            slow_after_us,
            patterns.collect(),
            kept.totals,
        );
        let trace = config
            .trace
            .then(|| Trace::new(config.trace_one_in, config.trace_max));
        Ok(Reading {
            tail,
            tally: Tally {
                parser,
                counts,
                repeats: Repeats::default(),
                trace,
                lines: kept.lines,
                malformed: kept.malformed,
                example: None,
            },
            lost_before: kept.lost_bytes,
        })
    }

    fn state_path(&self) -> Option<PathBuf> {
        let directory = self.config.state_dir.as_ref()?;
        Some(directory.join(format!("{}.json", self.config.name)))
    }
}

#[async_trait]
impl Service for AccessLog {
    fn component(&self) -> Component {
        Component::Http
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn time_out(&self) -> Duration {
        self.config.time_out
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        let begun_ns = clock::mono_ns();
        if self.reading.is_none() {
            self.reading = Some(self.begin()?);
        }
        let state_path = self.state_path();
        let reading = self.reading.as_mut().expect("it was begun above");
        // Files that change from now on may be read in part only.
        let refreshed = reading.tail.refresh(clock::file_ns());
        let limit_ns = begun_ns + nanoseconds(self.config.time_out / READING_SHARE);
        let read = reading.read_on(&mut self.buffer, limit_ns).await;
        reading.record(&self.config.name, out);
        out.events.extend(events(
            &self.subject,
            &self.config,
            reading,
            &mut self.told,
            out.recorder.ts_us(),
        ));
        let trace = reading.tally.trace.as_mut();
        let (ts_us, name) = (out.ts_us(), &self.config.name);
        out.events
            .extend(trace.and_then(|trace| trace.take(ts_us, &self.subject, name)));
        if let Some(path) = state_path {
            state::write(&path, &reading.state()).map_err(|error| unavailable(&error))?;
        }
        refreshed
            .and(read)
            .map_err(|source| ServiceError::Unreachable {
                what: format!("the access log {}", self.config.path.display()),
                source: source.into(),
                remedy: "look whether it is there and readable to the collector's user",
            })
    }
}

impl Reading {
    /// Reads all files in turn, so that a large one holds up none.
    async fn read_on(&mut self, buffer: &mut Vec<u8>, limit_ns: u64) -> std::io::Result<()> {
        let mut budget = MAX_PASS_BYTES;
        loop {
            let mut came = 0;
            for at in 0..self.tail.len() {
                let tally = &mut self.tally;
                came += self.tail.read(at, buffer, &mut |line| tally.take(line))?;
            }
            budget = budget.saturating_sub(came);
            if came == 0 || budget == 0 || clock::mono_ns() > limit_ns {
                return Ok(());
            }
            // Other services share this thread.
            tokio::task::yield_now().await;
        }
    }

    fn record(&mut self, service: &str, out: &mut Pass) {
        self.tally.counts.record(service, &mut out.recorder);
        let labels = [("service.name", service)];
        let mut count = |metric: u32, value| out.recorder.count(metric, &mut labels.clone(), value);
        count(const { id("http.server.log.lines") }, self.tally.lines);
        count(
            const { id("http.server.log.malformed") },
            self.tally.malformed,
        );
        count(const { id("http.server.log.lag") }, self.tail.lag());
        count(const { id("http.server.log.lost") }, self.lost_bytes());
        let endpoints = self.tally.counts.endpoints() as u64;
        count(const { id("http.server.log.endpoints") }, endpoints);
        if let Some(trace) = &self.tally.trace {
            let requests = const { id("http.server.log.trace.requests") };
            count(requests, trace.requests_in_all);
            let dropped = const { id("http.server.log.trace.dropped") };
            count(dropped, trace.dropped_in_all);
        }
    }

    fn lost_bytes(&self) -> u64 {
        self.lost_before + self.tail.lost_bytes
    }

    fn state(&self) -> State {
        State {
            current_ns: self.tail.since_ns(),
            positions: self.tail.positions(),
            resting: self.tail.resting(),
            spared: self.tail.spared(),
            totals: self.tally.counts.totals().to_vec(),
            lines: self.tally.lines,
            malformed: self.tally.malformed,
            lost_bytes: self.lost_bytes(),
            ..State::default()
        }
    }
}

impl Tally {
    fn take(&mut self, line: Line<'_>) {
        self.lines += 1;
        let text = match line {
            Line::Whole(text) => text,
            Line::TooLong(text) => return self.note_malformed(text),
        };
        let entry = match &self.parser {
            Parser::Text { combined, duration } => line::parse(text, *combined, *duration),
            Parser::Json(lines) => lines.parse(text),
        };
        match entry {
            Some(entry) => {
                let identical = if entry.method == "GET" {
                    note_get(&entry, &mut self.repeats, self.trace.as_mut())
                } else {
                    None
                };
                self.counts.count(&entry, identical);
            }
            None => self.note_malformed(text),
        }
    }

    fn note_malformed(&mut self, text: &[u8]) {
        self.malformed += 1;
        if self.example.is_none() {
            self.example = Some(example(text));
        }
    }
}

/// Notes a GET in the trace and among the repeats; says whether it was like the one before, where it
/// can be compared.
fn note_get(entry: &Entry<'_>, repeats: &mut Repeats, trace: Option<&mut Trace>) -> Option<bool> {
    let version = match &entry.etag {
        Some(etag) => Some(hash(etag.strip_prefix("W/").unwrap_or(etag))),
        None => entry.bytes,
    };
    let version = version.filter(|_| entry.status == 200);
    if version.is_none() && trace.is_none() {
        return None;
    }
    let path_hash = hash(&entry.target);
    if let Some(trace) = trace {
        trace.note(path_hash);
    }
    version.map(|version| repeats.note(path_hash, version))
}

fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The beginning of a line without queries, which may hold secrets.
fn example(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut kept = String::new();
    let mut within_query = false;
    for letter in text.chars().take(MAX_EXAMPLE_CHARS) {
        within_query = match letter {
            '?' => {
                kept.push_str("?…");
                true
            }
            ' ' | '"' => false,
            _ => within_query,
        };
        if !within_query && !letter.is_control() {
            kept.push(letter);
        }
    }
    kept
}

/// What is new and worth telling.
fn events(
    subject: &str,
    config: &AccessLogConfig,
    reading: &Reading,
    told: &mut Told,
    ts_us: i64,
) -> Vec<Event> {
    let name = &config.name;
    let mut events = Vec::new();
    let mut tell = |kind: &str, message: String| {
        events.push(Event {
            ts_us,
            name: EventName::Other(kind.to_owned()),
            component: Component::Http,
            subject: subject.to_owned(),
            message,
            attributes: vec![("service.name".to_owned(), name.clone())],
        });
    };
    let once = |done: &mut bool, now: bool| now && !std::mem::replace(done, true);
    if let Some(example) = &reading.tally.example
        && once(&mut told.malformed, true)
    {
        let message = format!(
            "a line of the log of {name} is not in the format {:?} and is not counted: {example}",
            config.format
        );
        tell("LogLineMalformed", message);
    }
    if once(&mut told.endpoints, reading.tally.counts.overflowed) {
        let message = counts::overflow_message(name, config.max_endpoints);
        tell("EndpointsOverflowed", message);
    }
    if once(&mut told.files, reading.tail.overflowed) {
        let message = format!(
            "the log of {name} has too many files, some are not read: make {} name fewer",
            config.path.display()
        );
        tell("LogFilesOverflowed", message);
    }
    if once(&mut told.vanished, reading.tail.vanished > 0) {
        let message = format!(
            "a file of the log of {name} was rotated away while nobody read it: keep the last \
             rotated file uncompressed (delaycompress)"
        );
        tell("LogLinesLost", message);
    }
    let lost = reading.tail.lost_bytes;
    if lost > std::mem::replace(&mut told.lost_bytes, lost) {
        let message = format!("{lost} bytes of the log of {name} went before they were read");
        tell("LogLinesLost", message);
    }
    events
}

fn unavailable(error: &state::StateError) -> ServiceError {
    ServiceError::Misconfigured {
        what: "the state of an access log cannot be kept".to_owned(),
        remedy: error.to_string(),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
