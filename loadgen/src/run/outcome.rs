//! What a run came to, and what is to be thought of it.

use super::gauges::Snapshot;
use super::health::Health;
use super::judging::Judged;
use crate::recorder::{Measurement, Statistics};
use crate::report::Verdict;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After its last stage.
    Completed,
    /// Because somebody wanted it to.
    Interrupted,
    /// Because a threshold was broken that ends the run.
    Aborted,
    /// Parts of it are missing: a worker process was lost, or a worker thread failed.
    Incomplete,
}

impl Ended {
    /// As it stands in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Aborted => "aborted",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// The run's id.
    pub run: String,
    /// How it ended.
    pub ended: Ended,
    /// Everything measured, merged over workers and processes.
    pub statistics: Statistics,
    /// The whole of it.
    pub measured: Measurement,
    /// When measuring ended, in nanoseconds since the run's beginning.
    pub until_ns: u64,
    /// Operations, warm-up and lost ones included.
    pub operations: u64,
    /// Operations that are in no log.
    pub lost: u64,
    /// Bytes of the blocks of requests in the log.
    pub log_bytes: u64,
    /// Thresholds at the end.
    pub thresholds: Vec<Judged>,
    /// The generator's health.
    pub health: Health,
    /// The generator's gauges at the end.
    pub generator: Snapshot,
    /// What went wrong, for people.
    pub notes: Vec<String>,
    /// From the beginning until all is recorded.
    pub seconds: f64,
}

impl RunOutcome {
    /// `ok`, or `limited` where operations are missing in the log.
    pub fn recording(&self) -> &'static str {
        if self.lost > 0 { "limited" } else { "ok" }
    }

    /// Whether the generator and its recording were good enough to be believed: `ok`, `limited` or
    /// `recording-limited`.
    pub fn generator_state(&self) -> &'static str {
        if self.lost > 0 {
            "recording-limited"
        } else {
            self.health.as_str()
        }
    }

    /// Answers per second, from the end of the warm-up to the end of the last stage.
    pub fn rate_per_s(&self) -> Option<f64> {
        self.statistics
            .rate_per_s(&self.measured, None, self.until_ns)
    }

    /// Everything that limits what may be concluded.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.health.reasons().to_vec();
        if self.lost > 0 {
            reasons.push(format!(
                "{} operations could not be recorded; use a faster or larger disk under the data directory",
                self.lost
            ));
        }
        reasons.extend_from_slice(&self.notes);
        reasons
    }

    /// What is to be made of it, as the report says it. A broken threshold counts in an interrupted run
    /// too; an unbroken one does not, because the rest of the run might have broken it.
    pub fn verdict(&self) -> Verdict {
        let is_broken = self.thresholds.iter().any(|one| one.passed == Some(false));
        let is_open = self.thresholds.iter().any(|one| one.passed.is_none());
        if self.lost > 0 {
            Verdict::RecordingLimited
        } else if self.health != Health::Ok {
            Verdict::GeneratorLimited
        } else if self.ended == Ended::Incomplete {
            Verdict::Incomplete
        } else if is_broken || self.ended == Ended::Aborted {
            Verdict::Failed
        } else if self.ended == Ended::Interrupted {
            Verdict::Incomplete
        } else if is_open || self.measured.operations() == 0 {
            Verdict::TooLittleData
        } else {
            Verdict::Passed
        }
    }
}
