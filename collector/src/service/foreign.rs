//! What everything shares that brings metrics of its own (scrapes, OTLP, remote write): definitions,
//! label sets, the bounded buffer between requests and passes, and the listener.
//!
//! How each protocol is read is left to its module. Nothing here trusts its input: every name, label
//! set, time and size has a limit, and what lies beyond it is rejected, counted and told.

pub(super) mod definition;
pub(super) mod dictionary;
pub(super) mod family;
pub(super) mod intake;
pub(super) mod receiver;
pub(super) mod report;
pub(super) mod server;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod wire;

use std::time::Duration;

use super::ServiceError;
use super::options::Section;

/// Longest name of a metric, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// Longest unit of a metric, in bytes.
pub(super) const MAX_UNIT_BYTES: usize = 64;
/// Most labels of a series.
pub(super) const MAX_LABELS: usize = 128;
/// Longest canonical label set, in bytes; a block holds tens of thousands of such series.
pub(super) const MAX_LABEL_BYTES: usize = 4_096;
/// Most metrics of one source.
pub(super) const MAX_METRICS: usize = 20_000;

/// Why a sample was not taken while the others were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// More series than are kept.
    TooManySeries,
    /// More metrics than are kept.
    TooManyMetrics,
    /// More labels, or longer ones, than a series can have.
    LabelsTooLong,
    /// A metric without a name, or with one that is too long.
    BadName,
    /// A time that lies too far back or ahead.
    TimeOutOfRange,
    /// A delta that is not newer than the one before.
    DeltaOutOfOrder,
    /// A form of metric that is not read.
    Unsupported,
    /// A histogram whose counts and bounds do not fit together.
    Inconsistent,
    /// More samples than a scrape may yield.
    TooManySamples,
}

impl Reason {
    /// Every reason.
    pub(super) const ALL: [Self; 9] = [
        Self::TooManySeries,
        Self::TooManyMetrics,
        Self::LabelsTooLong,
        Self::BadName,
        Self::TimeOutOfRange,
        Self::DeltaOutOfOrder,
        Self::Unsupported,
        Self::Inconsistent,
        Self::TooManySamples,
    ];

    /// The word in labels.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TooManySeries => "too_many_series",
            Self::TooManyMetrics => "too_many_metrics",
            Self::LabelsTooLong => "labels_too_long",
            Self::BadName => "bad_name",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::DeltaOutOfOrder => "delta_out_of_order",
            Self::Unsupported => "unsupported",
            Self::Inconsistent => "inconsistent",
            Self::TooManySamples => "too_many_samples",
        }
    }

    /// What the sender, or the operator, can do.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::TooManySeries => {
                "there are more series than max_series: leave out a label that has a value of its own for each request, user or session, or raise max_series"
            }
            Self::TooManyMetrics => {
                "there are more metrics than are kept: look whether names are made from values, which belong into labels"
            }
            Self::LabelsTooLong => {
                "a series has more labels, or longer ones, than are kept: leave out long attributes such as statements or stack traces"
            }
            Self::BadName => "a metric has no name, or one of more than 512 bytes: name it",
            Self::TimeOutOfRange => {
                "a time lies further back than max_age or further ahead than max_ahead: set the sender's clock, or raise them"
            }
            Self::DeltaOutOfOrder => {
                "a delta is not newer than the one before: let one sender own a series (service.instance.id tells them apart), or send cumulative sums"
            }
            Self::Unsupported => {
                "a metric has a form, or a temporality, that is not read: send sums, gauges, histograms or summaries"
            }
            Self::Inconsistent => {
                "the counts of a histogram do not fit its bounds: look at the sender's library"
            }
            Self::TooManySamples => {
                "an exposition has more than max_samples: leave metrics out by metrics.exclude, or raise max_samples"
            }
        }
    }
}

/// Why a whole request was not taken. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It is not what the protocol says.
    #[error("{0}")]
    Malformed(#[from] wire::Malformed),
    /// The buffer has no room for it.
    #[error("the buffer of {limit} samples has no room: try again later")]
    Full {
        /// Samples that the buffer holds.
        limit: usize,
    },
    /// It holds more samples than the buffer.
    #[error("the request holds more than {limit} samples: send smaller requests")]
    TooMany {
        /// Samples that the buffer holds.
        limit: usize,
    },
}

/// What a receiver may be asked for: the largest body, most requests and connections at once, most
/// series and waiting samples.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
const MAX_AT_ONCE: usize = 65_536;
const MAX_KEPT: usize = 100_000_000;
/// How far times may lie away at most.
const MAX_AWAY: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);

/// The options of a receiver that have a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) max_body_bytes: usize,
    pub(super) max_requests: usize,
    pub(super) max_connections: usize,
    pub(super) limits: Limits,
}

impl Options {
    /// Says what cannot work of them.
    pub(super) fn check(&self, section: Section<'_>) -> Result<(), ServiceError> {
        let limits = &self.limits;
        section.check_counts(&[
            ("max_body_bytes", self.max_body_bytes, 1..=MAX_BODY_BYTES),
            ("max_requests", self.max_requests, 1..=MAX_AT_ONCE),
            ("max_connections", self.max_connections, 1..=MAX_AT_ONCE),
            ("max_series", limits.max_series, 1..=MAX_KEPT),
            ("max_queued", limits.max_queued, 1..=MAX_KEPT),
        ])?;
        let times = [("max_age", limits.max_age), ("max_ahead", limits.max_ahead)];
        match times.into_iter().find(|(_, found)| *found > MAX_AWAY) {
            Some((option, _)) => {
                let what = format!("{option} is out of range");
                Err(section.refuse(&what, "choose at most ten years, 87840h"))
            }
            None => Ok(()),
        }
    }
}

/// The bounds of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most series that are known at once.
    pub(super) max_series: usize,
    /// Most samples that wait for the pass.
    pub(super) max_queued: usize,
    /// How far back a time may lie.
    pub(super) max_age: Duration,
    /// How far ahead a time may lie.
    pub(super) max_ahead: Duration,
    /// After so long without a sample a series is forgotten.
    pub(super) forget_after: Duration,
}
