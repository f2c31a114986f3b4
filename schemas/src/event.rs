//! Facts other than samples and requests. Every one is an event in the log, named in the past
//! tense or by what it is (`Gap`).

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::metric::Component;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened, in microseconds since 1970 UTC.
    pub ts_us: i64,
    /// What happened.
    pub name: EventName,
    /// What it happened to.
    pub component: Component,
    /// The thing it is about: a stream, a file, a finding.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
    /// Facts for programs, by key.
    pub attributes: Vec<(String, String)>,
}

/// What happened. Names that this version does not know are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventName {
    /// A collector began a new incarnation.
    CollectorStarted,
    /// A collector stopped in order.
    CollectorStopped,
    /// Seconds without samples, with the reason.
    Gap,
    /// The wall clock jumped.
    ClockStepped,
    /// A component cannot be observed, wholly or in part.
    ComponentFailed,
    /// A component can be observed again.
    ComponentRecovered,
    /// Blocks were dropped because the disk budget or the disk was full.
    BlocksDropped,
    /// A stream began.
    StreamOpened,
    /// A stream ended; nothing more will follow.
    StreamClosed,
    /// Two different blocks bear one stream and sequence.
    StreamConflict,
    /// Blocks of a stream are missing.
    SequenceGap,
    /// A record could not be decoded and was set aside.
    DeadLettered,
    /// A sink took its lease.
    SinkStarted,
    /// A sink stopped in order.
    SinkStopped,
    /// A baseline was computed and kept.
    BaselineTaken,
    /// A person or a tool marked this time.
    Marked,
    /// A load run began; holds the whole scenario.
    RunStarted,
    /// A worker process of a load run was lost.
    WorkerLost,
    /// A load run ended, with its own account of how truthful it is.
    RunFinished,
    /// Something changed, and it is worth a person's attention.
    FindingOpened,
    /// A finding was analysed again, with another result.
    FindingUpdated,
    /// A finding was analysed again, and is none any more.
    FindingSuperseded,
    /// Somebody has seen a finding.
    FindingAcknowledged,
    /// A finding is fixed, or accepted as the new level.
    FindingResolved,
    /// A finding that was resolved is open again.
    FindingReopened,
    /// A day was analysed.
    DayAnalysed,
    /// A name of a newer version.
    Other(String),
}

impl EventName {
    /// Every known name.
    pub const KNOWN: [Self; 26] = [
        Self::CollectorStarted,
        Self::CollectorStopped,
        Self::Gap,
        Self::ClockStepped,
        Self::ComponentFailed,
        Self::ComponentRecovered,
        Self::BlocksDropped,
        Self::StreamOpened,
        Self::StreamClosed,
        Self::StreamConflict,
        Self::SequenceGap,
        Self::DeadLettered,
        Self::SinkStarted,
        Self::SinkStopped,
        Self::BaselineTaken,
        Self::Marked,
        Self::RunStarted,
        Self::WorkerLost,
        Self::RunFinished,
        Self::FindingOpened,
        Self::FindingUpdated,
        Self::FindingSuperseded,
        Self::FindingAcknowledged,
        Self::FindingResolved,
        Self::FindingReopened,
        Self::DayAnalysed,
    ];

    /// The name in tables and on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::CollectorStarted => "CollectorStarted",
            Self::CollectorStopped => "CollectorStopped",
            Self::Gap => "Gap",
            Self::ClockStepped => "ClockStepped",
            Self::ComponentFailed => "ComponentFailed",
            Self::ComponentRecovered => "ComponentRecovered",
            Self::BlocksDropped => "BlocksDropped",
            Self::StreamOpened => "StreamOpened",
            Self::StreamClosed => "StreamClosed",
            Self::StreamConflict => "StreamConflict",
            Self::SequenceGap => "SequenceGap",
            Self::DeadLettered => "DeadLettered",
            Self::SinkStarted => "SinkStarted",
            Self::SinkStopped => "SinkStopped",
            Self::BaselineTaken => "BaselineTaken",
            Self::Marked => "Marked",
            Self::RunStarted => "RunStarted",
            Self::WorkerLost => "WorkerLost",
            Self::RunFinished => "RunFinished",
            Self::FindingOpened => "FindingOpened",
            Self::FindingUpdated => "FindingUpdated",
            Self::FindingSuperseded => "FindingSuperseded",
            Self::FindingAcknowledged => "FindingAcknowledged",
            Self::FindingResolved => "FindingResolved",
            Self::FindingReopened => "FindingReopened",
            Self::DayAnalysed => "DayAnalysed",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let known = Self::KNOWN.into_iter().find(|name| name.as_str() == text);
        Ok(known.unwrap_or_else(|| Self::Other(text.to_owned())))
    }
}
