//! What a run shows of itself while it goes on, and who looks at it.

use super::gauges::Snapshot;
use super::health::Health;
use super::judging::Judged;
use crate::operation::Failure;
use crate::recorder::{Statistics, Times};

/// Response times at a few quantiles, in nanoseconds; none without operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them are at most this.
    pub p50_ns: Option<u64>,
    /// 95 % of them are at most this.
    pub p95_ns: Option<u64>,
    /// 99 % of them are at most this.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
}

impl Quantiles {
    /// Of a distribution.
    pub fn of(times: &Times) -> Self {
        Self {
            p50_ns: times.quantile_ns(0.5),
            p95_ns: times.quantile_ns(0.95),
            p99_ns: times.quantile_ns(0.99),
            max_ns: times.max_ns(),
        }
    }
}

/// A stage, for the time bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSpan {
    /// Its name.
    pub name: String,
    /// When it begins, in nanoseconds since the run's beginning.
    pub from_ns: u64,
    /// When it ends.
    pub until_ns: u64,
}

/// A run at one time.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// Its stages.
    pub stages: Vec<StageSpan>,
    /// Time since the run's beginning.
    pub elapsed_ns: u64,
    /// Whether the stages are over, or a stop was asked for, and answers are only waited for.
    pub is_draining: bool,
    /// Operations measured, the warm-up excluded.
    pub operations: u64,
    /// Of those, failed ones, dropped arrivals included.
    pub failed: u64,
    /// Of those, dropped arrivals.
    pub dropped: u64,
    /// Answers per second since the progress before.
    pub rate_per_s: f64,
    /// Arrivals per second since the progress before.
    pub arrivals_per_s: f64,
    /// Response times since the beginning.
    pub latency: Quantiles,
    /// Response times since the progress before; its longest is that of the whole run.
    pub recent: Quantiles,
    /// What failed, the most frequent first.
    pub failures: Vec<(Failure, u64)>,
    /// The generator's gauges.
    pub generator: Snapshot,
    /// Thresholds as they stand.
    pub thresholds: Vec<Judged>,
    /// The generator's health as it stands.
    pub health: Health,
    /// Processes at work, this one included.
    pub processes: u32,
    /// Worker processes that were lost.
    pub lost_processes: u32,
}

impl Progress {
    /// The stage that is running.
    pub fn stage(&self) -> Option<&StageSpan> {
        self.stages
            .iter()
            .find(|stage| (stage.from_ns..stage.until_ns).contains(&self.elapsed_ns))
    }

    /// How long all stages last.
    pub fn total_ns(&self) -> u64 {
        self.stages.last().map_or(0, |stage| stage.until_ns)
    }
}

/// What somebody who looks on wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    GoOn,
    /// The run is to end: ramp down, record and report.
    Stop,
}

/// Somebody who looks on.
pub trait View {
    /// Shows the run; called about once a second.
    fn show(&mut self, progress: &Progress);

    /// Hands over everything measured so far, just after [`View::show`]: for who needs more than
    /// figures to look at.
    fn measured(&mut self, _statistics: &Statistics, _generator: &Snapshot, _at_ns: u64) {}

    /// Asks for a wish; called about ten times a second, and must not wait.
    fn poll(&mut self) -> Wish {
        Wish::GoOn
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoView;

impl View for NoView {
    fn show(&mut self, _progress: &Progress) {}
}
