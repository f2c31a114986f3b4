//! The JSON lines of k6: points of one request, which share their time and tags, become one row.
//!
//! k6 writes the points of a request one after the other. A window of open requests joins them even
//! where a few requests are interleaved; what finds no partner within it is counted by name.

use std::collections::VecDeque;
use std::io::BufRead;

use serde::Deserialize;

use super::lines::{FNV_OFFSET, Lines, fnv1a};
use super::row::{RequestRow, Row, Take};
use super::time::{millis_ns, rfc3339_ns};
use super::{ImportError, MAX_LINE_BYTES};
use crate::operation::Failure;

/// Requests whose points may be interleaved.
const OPEN_REQUESTS: usize = 256;
/// The points of a request, each of which comes once.
const POINTS: [&str; 9] = [
    "http_reqs",
    "http_req_duration",
    "http_req_blocked",
    "http_req_connecting",
    "http_req_tls_handshaking",
    "http_req_sending",
    "http_req_waiting",
    "http_req_receiving",
    "http_req_failed",
];
const DURATION: usize = 1;
const BLOCKED: usize = 2;
const SENDING: usize = 5;
const WAITING: usize = 6;
const FAILED: usize = 8;
/// What is ignored of a request without duration.
const INCOMPLETE: &str = "requests without http_req_duration";
const SYNTAX: &str = "import what `k6 run --out json=FILE` wrote; if this is the last line of a test that was killed, remove it";

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    metric: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Data {
    time: Option<String>,
    value: Option<f64>,
    tags: Option<Tags>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    name: String,
    url: String,
    method: String,
    status: String,
    error_code: String,
    error: String,
    expected_response: String,
    scenario: String,
    group: String,
}

/// A request of which points may still come.
#[derive(Debug)]
struct Open {
    key: u64,
    line: u64,
    end_ns: i64,
    tags: Tags,
    values: [Option<f64>; POINTS.len()],
}

/// Reads every request.
pub(super) fn read<R: BufRead>(
    lines: &mut Lines<'_, R>,
    take: &mut Take<'_>,
) -> Result<(), ImportError> {
    let mut open: VecDeque<Open> = VecDeque::with_capacity(OPEN_REQUESTS + 1);
    let mut text = Vec::new();
    let mut has_read = false;
    while lines.read(&mut text, MAX_LINE_BYTES)? {
        let line = text.trim_ascii();
        if !line.is_empty() {
            let parsed = parse(line, lines.line(), !has_read)?;
            has_read = true;
            if parsed.kind == "Point" {
                point(parsed, lines.line(), &mut open, take)?;
            }
        }
        text.clear();
    }
    if !has_read {
        return Err(ImportError::Empty);
    }
    open.into_iter().try_for_each(|one| one.end(take))
}

fn parse(text: &[u8], line: u64, is_first: bool) -> Result<Line, ImportError> {
    serde_json::from_slice(text).map_err(|error| {
        if is_first && is_summary(text) {
            return ImportError::Summary;
        }
        ImportError::Json {
            line,
            column: error.column(),
            reason: reason(&error),
            remedy: SYNTAX,
        }
    })
}

/// Whether a document that begins so is a summary: pretty-printed, or an object on one line.
fn is_summary(text: &[u8]) -> bool {
    let has = |key: &str| {
        serde_json::from_slice::<serde_json::Value>(text)
            .is_ok_and(|value| value.get(key).is_some())
    };
    text == b"{" || has("metrics") || has("root_group")
}

/// The parser's word without the place, which counts lines from elsewhere.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Takes a point: one of a request's is joined with the others.
fn point(
    parsed: Line,
    line: u64,
    open: &mut VecDeque<Open>,
    take: &mut Take<'_>,
) -> Result<(), ImportError> {
    let Some(place) = POINTS.iter().position(|name| *name == parsed.metric) else {
        return take(Row::Ignored(&parsed.metric));
    };
    let missing = |column: &str| ImportError::bad(line, column, "nothing", SYNTAX);
    let data = parsed.data.ok_or_else(|| missing("data"))?;
    let time = data.time.ok_or_else(|| missing("data.time"))?;
    let value = data.value.ok_or_else(|| missing("data.value"))?;
    let tags = data.tags.unwrap_or_default();
    let key = key(&time, &tags);
    // The newest first: a request's points come one after the other. One that has this point
    // already is another request of the same time.
    let found = open
        .iter()
        .rposition(|one| one.key == key && one.values[place].is_none());
    if let Some(at) = found {
        open[at].values[place] = Some(value);
        if open[at].values.iter().all(Option::is_some)
            && let Some(whole) = open.remove(at)
        {
            whole.end(take)?;
        }
        return Ok(());
    }
    let end_ns = rfc3339_ns(&time).ok_or_else(|| {
        let remedy = "a time as k6 writes it is expected, such as 2026-01-31T12:00:00.123456789Z";
        ImportError::bad(line, "data.time", &time, remedy)
    })?;
    let mut values = [None; POINTS.len()];
    values[place] = Some(value);
    open.push_back(Open {
        key,
        line,
        end_ns,
        tags,
        values,
    });
    if open.len() > OPEN_REQUESTS
        && let Some(oldest) = open.pop_front()
    {
        oldest.end(take)?;
    }
    Ok(())
}

fn key(time: &str, tags: &Tags) -> u64 {
    [
        time,
        &tags.name,
        &tags.url,
        &tags.method,
        &tags.status,
        &tags.error_code,
        &tags.scenario,
        &tags.group,
    ]
    .iter()
    .fold(FNV_OFFSET, |hash, text| {
        fnv1a(fnv1a(hash, text.as_bytes()), &[0xff])
    })
}

impl Open {
    /// Gives the request, now that all its points are here, or that no more are waited for.
    fn end(self, take: &mut Take<'_>) -> Result<(), ImportError> {
        if self.values[DURATION].is_none() {
            return take(Row::Ignored(INCOMPLETE));
        }
        let duration_ns = self.duration_ns(DURATION)?;
        let blocked_ns = self.duration_ns(BLOCKED)?;
        let done_ns = blocked_ns + duration_ns;
        let status = self.status()?;
        let first_byte_ns = if status > 0 && self.values[WAITING].is_some() {
            let after_sent_ns = self.duration_ns(SENDING)? + self.duration_ns(WAITING)?;
            Some((blocked_ns + after_sent_ns).min(done_ns))
        } else {
            None
        };
        let code;
        let error = match self.failure(status) {
            None => "",
            Some(Ok(failure)) => failure.as_str(),
            Some(Err(other)) => {
                code = other;
                &code
            }
        };
        take(Row::Request(RequestRow {
            endpoint: &self.tags.endpoint(),
            error,
            begun_ns: self.end_ns - done_ns,
            sent_ns: blocked_ns,
            first_byte_ns,
            done_ns,
            status,
            bytes: 0,
        }))
    }

    /// A duration of the request; 0 where its point is missing.
    fn duration_ns(&self, place: usize) -> Result<i64, ImportError> {
        let millis = self.values[place].unwrap_or(0.0);
        millis_ns(millis).ok_or_else(|| {
            let remedy = format!(
                "{} of 0 to 7 days in milliseconds is expected",
                POINTS[place]
            );
            ImportError::bad(self.line, "data.value", &millis.to_string(), remedy)
        })
    }

    fn status(&self) -> Result<u32, ImportError> {
        let text = &self.tags.status;
        if text.is_empty() {
            return Ok(0);
        }
        text.parse::<u16>().map(u32::from).map_err(|_| {
            let remedy = "a status of HTTP is expected, or 0 where there was no answer";
            ImportError::bad(self.line, "data.tags.status", text, remedy)
        })
    }

    /// Why it failed, if k6 says that it did: in Driftline's words where there is one, else k6's
    /// code. Its texts hold addresses and ports that make each of them another.
    fn failure(&self, status: u32) -> Option<Result<Failure, String>> {
        let tags = &self.tags;
        let has_failed = match (self.values[FAILED], tags.expected_response.as_str()) {
            (Some(rate), _) => rate > 0.0,
            (None, "true") => false,
            (None, "false") => true,
            (None, _) => status >= 400 || !tags.error_code.is_empty() || !tags.error.is_empty(),
        };
        if !has_failed {
            return None;
        }
        let known = match tags.error_code.parse::<u16>() {
            // Without a code there is an answer whose status was not expected.
            Err(_) if status > 0 => Failure::Status,
            Err(_) => return Some(Err("k6 error".to_owned())),
            Ok(1_050) => Failure::Timeout,
            Ok(1_100..=1_199) => Failure::Resolve,
            Ok(1_201) => Failure::Closed,
            Ok(1_211) => Failure::ConnectTimeout,
            Ok(1_212) => Failure::Refused,
            Ok(1_210 | 1_213) => Failure::Connect,
            Ok(1_220) => Failure::Reset,
            Ok(1_300..=1_399) => Failure::Tls,
            Ok(1_400..=1_599) => Failure::Status,
            Ok(1_600..=1_799) => Failure::Malformed,
            Ok(code) => return Some(Err(format!("k6 error {code}"))),
        };
        Some(Ok(known))
    }
}

impl Tags {
    /// The name that the script gave, or method and URL.
    fn endpoint(&self) -> String {
        let name = match self.name.as_str() {
            "" => self.url.as_str(),
            name => name,
        };
        match (self.method.as_str(), name) {
            ("", "") => "http".to_owned(),
            ("", name) => name.to_owned(),
            (method, name) => format!("{method} {name}").trim_end().to_owned(),
        }
    }
}
