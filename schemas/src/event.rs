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
    /// The false alarms and the power of detection were measured on the past of this installation.
    DetectionValidated,
    /// A collector met a statement of a database that it had not met before; holds its text without literals.
    StatementSeen,
    /// A collector met an index of a database that it had not met before; holds its definition without literals.
    IndexSeen,
    /// A setting of a server has another value than before.
    SettingChanged,
    /// A server was started anew; its counters may have begun anew.
    ServerRestarted,
    /// Somebody set a server's statistics back to zero.
    StatisticsReset,
    /// The role that observes a server may do more than it needs.
    RoleTooPowerful,
    /// A scheduled job began.
    JobStarted,
    /// A scheduled job ended, with its outcome.
    JobFinished,
    /// An optimization is recommended, with its evidence, estimate and risk.
    RecommendationRaised,
    /// A recommendation still holds, perhaps with other figures.
    RecommendationRefreshed,
    /// A recommendation holds no longer.
    RecommendationExpired,
    /// A person does not want a recommendation.
    RecommendationDismissed,
    /// An action was planned and could be applied.
    DryRunPassed,
    /// A person or the configuration allowed an action.
    ActionApproved,
    /// What an action will be judged by was measured and kept, with its exact inverse.
    BaselineFrozen,
    /// An action is about to change a system.
    ApplyStarted,
    /// A part of an action is done.
    ApplyProgressed,
    /// An action has changed a system.
    ApplySucceeded,
    /// An action could not change a system.
    ApplyFailed,
    /// A window after an action was measured.
    WindowObserved,
    /// An action did harm that ends it at once.
    GuardBreached,
    /// Whether an action is kept or reverted.
    VerdictReached,
    /// An action is about to be undone.
    RevertStarted,
    /// An action is undone.
    RevertSucceeded,
    /// An action could not be undone.
    RevertFailed,
    /// Somebody else has changed what an action had changed.
    ExternalChangeDetected,
    /// A name of a newer version.
    Other(String),
}

impl EventName {
    /// Every known name.
    pub const KNOWN: [Self; 53] = [
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
        Self::DetectionValidated,
        Self::StatementSeen,
        Self::IndexSeen,
        Self::SettingChanged,
        Self::ServerRestarted,
        Self::StatisticsReset,
        Self::RoleTooPowerful,
        Self::JobStarted,
        Self::JobFinished,
        Self::RecommendationRaised,
        Self::RecommendationRefreshed,
        Self::RecommendationExpired,
        Self::RecommendationDismissed,
        Self::DryRunPassed,
        Self::ActionApproved,
        Self::BaselineFrozen,
        Self::ApplyStarted,
        Self::ApplyProgressed,
        Self::ApplySucceeded,
        Self::ApplyFailed,
        Self::WindowObserved,
        Self::GuardBreached,
        Self::VerdictReached,
        Self::RevertStarted,
        Self::RevertSucceeded,
        Self::RevertFailed,
        Self::ExternalChangeDetected,
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
            Self::DetectionValidated => "DetectionValidated",
            Self::StatementSeen => "StatementSeen",
            Self::IndexSeen => "IndexSeen",
            Self::SettingChanged => "SettingChanged",
            Self::ServerRestarted => "ServerRestarted",
            Self::StatisticsReset => "StatisticsReset",
            Self::RoleTooPowerful => "RoleTooPowerful",
            Self::JobStarted => "JobStarted",
            Self::JobFinished => "JobFinished",
            Self::RecommendationRaised => "RecommendationRaised",
            Self::RecommendationRefreshed => "RecommendationRefreshed",
            Self::RecommendationExpired => "RecommendationExpired",
            Self::RecommendationDismissed => "RecommendationDismissed",
            Self::DryRunPassed => "DryRunPassed",
            Self::ActionApproved => "ActionApproved",
            Self::BaselineFrozen => "BaselineFrozen",
            Self::ApplyStarted => "ApplyStarted",
            Self::ApplyProgressed => "ApplyProgressed",
            Self::ApplySucceeded => "ApplySucceeded",
            Self::ApplyFailed => "ApplyFailed",
            Self::WindowObserved => "WindowObserved",
            Self::GuardBreached => "GuardBreached",
            Self::VerdictReached => "VerdictReached",
            Self::RevertStarted => "RevertStarted",
            Self::RevertSucceeded => "RevertSucceeded",
            Self::RevertFailed => "RevertFailed",
            Self::ExternalChangeDetected => "ExternalChangeDetected",
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
