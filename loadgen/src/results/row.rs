//! What every reader makes of its input, and every pass takes.

use driftline_schemas::{Better, Category};

use super::ImportError;

/// One thing read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Row<'a> {
    Request(RequestRow<'a>),
    Sample(SampleRow<'a>),
    /// Something that is not imported, by name.
    Ignored(&'a str),
}

/// Takes rows one by one.
pub(super) type Take<'a> = dyn FnMut(Row<'_>) -> Result<(), ImportError> + 'a;

/// A request; durations are counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestRow<'a> {
    pub(super) endpoint: &'a str,
    /// Empty where it succeeded.
    pub(super) error: &'a str,
    /// In ns since 1970 UTC.
    pub(super) begun_ns: i64,
    pub(super) sent_ns: i64,
    /// `None` where it is not known.
    pub(super) first_byte_ns: Option<i64>,
    pub(super) done_ns: i64,
    pub(super) status: u32,
    pub(super) bytes: u64,
}

/// A value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SampleRow<'a> {
    pub(super) metric: &'a str,
    /// Canonical.
    pub(super) labels: &'a str,
    pub(super) unit: &'a str,
    pub(super) category: Category,
    pub(super) better: Better,
    pub(super) ts_us: i64,
    pub(super) value: f64,
}
