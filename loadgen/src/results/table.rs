//! The two forms of CSV that are imported: series, and requests.

use std::io::BufRead;

use driftline_schemas::{Better, Category};

use super::ImportError;
use super::csv::Record;
use super::lines::Lines;
use super::row::{RequestRow, Row, SampleRow, Take};
use super::time::{millis_ns, number, seconds_us};
use crate::operation::Failure;

const TIMESTAMP: &str = "timestamp";
const NOT_FINITE: &str = "rows whose value is not finite";
const FORMS: &str = "the columns are series,timestamp,value or timestamp,endpoint,latency_ms[,status][,error][,bytes]; rename them";

/// Where the columns stand.
enum Form {
    Series {
        series: usize,
        timestamp: usize,
        value: usize,
    },
    Requests(Places),
}

struct Places {
    timestamp: usize,
    endpoint: usize,
    latency_ms: usize,
    status: Option<usize>,
    error: Option<usize>,
    bytes: Option<usize>,
}

/// Reads every row.
pub(super) fn read<R: BufRead>(
    lines: &mut Lines<'_, R>,
    take: &mut Take<'_>,
) -> Result<(), ImportError> {
    let mut record = Record::default();
    if !record.read(lines)? {
        return Err(ImportError::Empty);
    }
    let form = form(&record)?;
    let columns = record.len();
    while record.read(lines)? {
        if record.len() != columns {
            let found = format!("{} columns", record.len());
            let remedy = format!("the header has {columns}; quote fields that hold commas");
            let first_wrong = record.len().min(columns) + 1;
            return Err(ImportError::Bad {
                line: record.line(),
                column: first_wrong.to_string(),
                found,
                remedy,
            });
        }
        take_row(&form, &record, take)?;
    }
    Ok(())
}

fn form(header: &Record) -> Result<Form, ImportError> {
    let names: Vec<&str> = (0..header.len())
        .map(|at| header.field(at).trim())
        .collect();
    let bad = |at: usize, remedy: &str| {
        let found = names.get(at).copied().unwrap_or("");
        ImportError::bad(header.line(), (at + 1).to_string(), found, remedy)
    };
    let place = |name: &str| names.iter().position(|one| *one == name);
    let is_series = place("series").is_some();
    let (needed, optional): ([&str; 3], &[&str]) = if is_series {
        (["series", TIMESTAMP, "value"], &[])
    } else {
        (
            [TIMESTAMP, "endpoint", "latency_ms"],
            &["status", "error", "bytes"],
        )
    };
    for (at, name) in names.iter().enumerate() {
        if place(name) != Some(at) {
            return Err(bad(at, "the column is there twice; remove one"));
        }
        if !needed.contains(name) && !optional.contains(name) {
            return Err(bad(at, FORMS));
        }
    }
    let [first, second, third] = needed.map(|name| {
        place(name).ok_or_else(|| {
            let remedy = format!("column {name} is missing: {FORMS}");
            let found = names.join(",");
            ImportError::bad(header.line(), (names.len() + 1).to_string(), &found, remedy)
        })
    });
    let (first, second, third) = (first?, second?, third?);
    Ok(if is_series {
        Form::Series {
            series: first,
            timestamp: second,
            value: third,
        }
    } else {
        Form::Requests(Places {
            timestamp: first,
            endpoint: second,
            latency_ms: third,
            status: place("status"),
            error: place("error"),
            bytes: place("bytes"),
        })
    })
}

fn take_row(form: &Form, record: &Record, take: &mut Take<'_>) -> Result<(), ImportError> {
    match form {
        Form::Series {
            series,
            timestamp,
            value,
        } => {
            let metric = name(record, *series, "series")?;
            let ts_us = timestamp_us(record, *timestamp)?;
            let text = record.field(*value).trim();
            let value = number(text)
                .ok_or_else(|| bad(record, "value", text, "a decimal number is expected"))?;
            if !value.is_finite() {
                return take(Row::Ignored(NOT_FINITE));
            }
            take(Row::Sample(SampleRow {
                metric,
                labels: "",
                unit: "1",
                category: Category::Utilisation,
                better: Better::Neither,
                ts_us,
                value,
            }))
        }
        Form::Requests(places) => take(Row::Request(request(record, places)?)),
    }
}

fn request<'a>(record: &'a Record, places: &Places) -> Result<RequestRow<'a>, ImportError> {
    let optional = |place: Option<usize>| place.map_or("", |at| record.field(at).trim());
    let endpoint = name(record, places.endpoint, "endpoint")?;
    let begun_us = timestamp_us(record, places.timestamp)?;
    let latency = record.field(places.latency_ms).trim();
    let done_ns = number(latency).and_then(millis_ns).ok_or_else(|| {
        let remedy = "0 to 7 days in milliseconds are expected; remove rows without a latency";
        bad(record, "latency_ms", latency, remedy)
    })?;
    let status: u32 = match optional(places.status) {
        "" => 0,
        text => text.parse::<u16>().map(u32::from).map_err(|_| {
            let remedy = "a whole number from 0 to 65535 is expected, or nothing";
            bad(record, "status", text, remedy)
        })?,
    };
    let bytes = match optional(places.bytes) {
        "" => 0,
        text => text
            .parse::<u64>()
            .ok()
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or_else(|| {
                let remedy = "a whole number of bytes is expected, or nothing";
                bad(record, "bytes", text, remedy)
            })?,
    };
    let error = match optional(places.error) {
        "" if status >= 400 => Failure::Status.as_str(),
        text => text,
    };
    Ok(RequestRow {
        endpoint,
        error,
        begun_ns: begun_us * 1_000,
        sent_ns: 0,
        first_byte_ns: None,
        done_ns,
        status,
        bytes,
    })
}

fn name<'a>(record: &'a Record, at: usize, column: &str) -> Result<&'a str, ImportError> {
    match record.field(at).trim() {
        "" => Err(bad(record, column, "", "a name is expected")),
        name => Ok(name),
    }
}

fn timestamp_us(record: &Record, at: usize) -> Result<i64, ImportError> {
    let text = record.field(at).trim();
    seconds_us(text).ok_or_else(|| {
        let remedy =
            "seconds since 1970 UTC are expected, such as 1700000000.25 (not milliseconds, not a date)";
        bad(record, TIMESTAMP, text, remedy)
    })
}

fn bad(record: &Record, column: &str, found: &str, remedy: &str) -> ImportError {
    ImportError::bad(record.line(), column, found, remedy)
}
