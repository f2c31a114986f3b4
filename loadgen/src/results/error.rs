//! Why results could not be imported, and what to do.

use std::io;

use driftline_eventlog::LogError;
use driftline_schemas::{EncodeError, IdError};

use super::{
    MAX_ENDPOINT_BYTES, MAX_ENDPOINTS, MAX_ERRORS, MAX_JMH_BYTES, MAX_NAME_BYTES, MAX_RUN_BYTES,
    MAX_SERIES,
};

/// Results that could not be imported. Only [`ImportError::Log`], [`ImportError::Encode`] and
/// [`ImportError::Changed`] can leave a part of a run in the log.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The input cannot be read.
    #[error("the results cannot be read; check the file and its permissions")]
    Read(#[source] io::Error),
    /// There are no bytes.
    #[error("the results are empty; is it the right file?")]
    Empty,
    /// It is compressed.
    #[error("the results are compressed; decompress them first, for example with gunzip")]
    Compressed,
    /// It is only a summary.
    #[error(
        "the document is a summary of k6, which has no requests; run k6 with --out json=FILE and import that file"
    )]
    Summary,
    /// Something stands there that cannot be understood.
    #[error("line {line}, column {column}: found {found}; {remedy}")]
    Bad {
        /// The line, from 1; of a CSV record that has many lines, its first.
        line: u64,
        /// The column's name, or its number from 1.
        column: String,
        /// What stands there.
        found: String,
        /// What should.
        remedy: String,
    },
    /// JSON that cannot be understood.
    #[error("line {line}, column {column}: {reason}; {remedy}")]
    Json {
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// The parser's word.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A line is too long to be of such a file.
    #[error("line {line} has more than {limit} bytes; is it the right file?")]
    LineTooLong {
        /// The line, from 1.
        line: u64,
        /// The most that it may have.
        limit: usize,
    },
    /// The document is too large.
    #[error("the document has more than {MAX_JMH_BYTES} bytes; run fewer benchmarks into one file")]
    TooLarge,
    /// There is nothing to import in it.
    #[error("the results have no {wanted}; {remedy}")]
    NoRows {
        /// What is missing.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Too many endpoints.
    #[error(
        "there are more than {MAX_ENDPOINTS} endpoints (or {MAX_ENDPOINT_BYTES} bytes of their names), the last one {last:?}; give requests that differ only in an id one name (in k6: the tag name)"
    )]
    TooManyEndpoints {
        /// The one that was too many.
        last: String,
    },
    /// Too many error texts.
    #[error(
        "there are more than {MAX_ERRORS} texts of errors, the last one {last:?}; leave out what differs from one to the next"
    )]
    TooManyErrors {
        /// The one that was too many.
        last: String,
    },
    /// Too many series.
    #[error("there are more than {MAX_SERIES} series, the last one {last:?}; import fewer at once")]
    TooManySeries {
        /// The one that was too many.
        last: String,
    },
    /// A name is too long.
    #[error("{what} {start:?}… has more than {MAX_NAME_BYTES} bytes; shorten it")]
    NameTooLong {
        /// What it names.
        what: &'static str,
        /// How it begins.
        start: String,
    },
    /// JMH keeps no times, and none was given.
    #[error("results of JMH have no times; give the time at which they were measured")]
    NoTime,
    /// The time that was given is out of range.
    #[error("the time {found} µs is not between 1970 and 2200; give microseconds since 1970 UTC")]
    Time {
        /// What was given.
        found: i64,
    },
    /// The run's name cannot be one.
    #[error(
        "run {found:?} is not valid: use 1 to {MAX_RUN_BYTES} of a-z, 0-9, '.', '_', '-', beginning with a letter or a digit"
    )]
    RunName {
        /// What was given.
        found: String,
    },
    /// The two passes did not see the same bytes.
    #[error(
        "the results changed while they were read; import them again under another name when they are whole"
    )]
    Changed,
    /// The producer's name cannot be one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A block cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl ImportError {
    /// Says where something stands that cannot be understood.
    pub(super) fn bad(
        line: u64,
        column: impl Into<String>,
        found: &str,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Bad {
            line,
            column: column.into(),
            found: quoted(found),
            remedy: remedy.into(),
        }
    }
}

/// The beginning of a text from outside, in quotes and without control characters.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", start(text))
}

/// The beginning of a text.
pub(super) fn start(text: &str) -> String {
    text.chars().take(80).collect()
}
