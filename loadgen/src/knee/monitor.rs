//! One step, seen window by window: when it is known well enough, and what was measured. Where the
//! windows come from is left to the caller; their length is free, and a fifth of a second to a second
//! suits settling and batches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StepPlan;
use super::config::SearchConfig;
use super::judgement::{FOLLOWING_SHARE, Judgement, judge_report};
use super::latencies::Latencies;
use super::statistics::{Estimate, batch_error, lag1_correlation, rises, settled_from, wilson};
use crate::threshold::Measure;

/// Most windows of a step; a step that has so many has ended.
pub(super) const MOST_WINDOWS: usize = 18_000;
/// Batches of a step: enough for Student's interval to be narrow, few enough that neighbours hardly
/// depend on each other (Schmeiser 1982 advises 10 to 30).
const BATCHES: usize = 20;
/// Correlation of neighbouring batches from which pairs of them are taken instead.
const CORRELATED: f64 = 0.2;
/// A step is looked at again when it is so much longer than at the last look: each look is a chance
/// to stop at a narrow interval that is narrow by luck.
const GROWTH_PER_LOOK: f64 = 1.1;
/// How far beyond its bound a step is clearly bad, so that its time box need not be waited for.
const CLEAR_MARGIN: f64 = 1.25;

/// What happened to operations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Arrivals that the schedule intended, dropped ones included.
    pub intended: u64,
    /// Answered, and well.
    pub answered: u64,
    /// Ended otherwise: timed out, refused, a check that failed.
    pub failed: u64,
    /// Never sent.
    pub dropped: u64,
    /// Response times from *intended* of all that were sent; what was given up counts with the time
    /// that it had waited.
    pub latencies: Latencies,
}

/// A piece of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// All operations that were intended, and those that ended, in it.
    pub all: Counts,
    /// The same by endpoint, at least for endpoints that have thresholds of their own.
    pub endpoints: BTreeMap<u32, Counts>,
}

/// Whether a step goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More windows are needed.
    Continue,
    /// It is known well enough, or its time is up.
    Done(Ended),
}

/// Why a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It did not, as far as the monitor was told: it was cut off.
    Early,
    /// p95 and throughput are known as narrowly as was asked for.
    Precise,
    /// It is so far beyond its bounds that more time changes nothing.
    ClearlyBad,
    /// Its time is up.
    TimeBox,
}

/// What was measured in a step, after settling. Estimates are `None` where nothing ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The planned arrivals per second.
    pub rate: f64,
    /// Its length in seconds, settling included.
    pub seconds: f64,
    /// Seconds at the beginning that were left out as settling.
    pub settling_seconds: f64,
    /// Arrivals per second that the schedule brought.
    pub offered_per_s: Option<Estimate>,
    /// Operations that ended, per second.
    pub throughput_per_s: Option<Estimate>,
    /// Operations that ended as a share of those intended.
    pub following: Option<Estimate>,
    /// Mean response time in nanoseconds.
    pub mean_ns: Option<Estimate>,
    /// 95 % were answered within so many nanoseconds.
    pub p95_ns: Option<Estimate>,
    /// Failed operations as a share of those that ended.
    pub error_share: Option<Estimate>,
    /// Dropped arrivals, settling left out.
    pub dropped: u64,
    /// The measures of the search's thresholds, in their order and units.
    pub limits: Vec<Option<Estimate>>,
    /// Whether response times still rose when it ended.
    pub growing: bool,
    /// Why it ended.
    pub ended: Ended,
}

/// Collects the windows of one step.
#[derive(Debug, Clone)]
pub struct StepMonitor {
    plan: StepPlan,
    config: SearchConfig,
    windows: Vec<Window>,
    seconds: f64,
    looked_at: f64,
    ended: Ended,
}

impl StepMonitor {
    /// A monitor of a step that has not begun.
    pub fn new(plan: &StepPlan, config: &SearchConfig) -> Self {
        Self {
            plan: plan.clone(),
            config: config.clone(),
            windows: Vec::new(),
            seconds: 0.0,
            looked_at: 0.0,
            ended: Ended::Early,
        }
    }

    /// Takes the next window and says whether the step goes on. Windows without length, and those
    /// that come after the end, are not taken.
    pub fn feed(&mut self, window: Window) -> Progress {
        if self.ended != Ended::Early {
            return Progress::Done(self.ended);
        }
        if window.seconds > 0.0 {
            self.seconds += window.seconds;
            self.windows.push(window);
        }
        self.ended = self.look();
        match self.ended {
            Ended::Early => Progress::Continue,
            ended => Progress::Done(ended),
        }
    }

    /// What is known so far.
    pub fn report(&self) -> StepReport {
        report(&self.plan, &self.config, &self.windows, self.ended).0
    }

    fn look(&mut self) -> Ended {
        // Sums of many short windows fall short of whole seconds by rounding.
        let is_reached = |seconds: f64| self.seconds + 1e-6 >= seconds;
        if is_reached(self.plan.seconds_at_most) || self.windows.len() >= MOST_WINDOWS {
            return Ended::TimeBox;
        }
        let is_due = is_reached(self.looked_at * GROWTH_PER_LOOK);
        if !is_due || !is_reached(self.plan.seconds_at_least) {
            return Ended::Early;
        }
        self.looked_at = self.seconds;
        let (report, is_independent) =
            report(&self.plan, &self.config, &self.windows, Ended::Early);
        if judge_report(&report, &self.config, CLEAR_MARGIN).0 == Judgement::Bad {
            return Ended::ClearlyBad;
        }
        let wanted = self.config.options().relative_half_width;
        let is_precise = |estimate: &Option<Estimate>| {
            estimate.is_some_and(|it| it.relative_half_width() <= wanted)
        };
        let is_settled = is_independent && !report.growing;
        if is_settled && is_precise(&report.p95_ns) && is_precise(&report.throughput_per_s) {
            Ended::Precise
        } else {
            Ended::Early
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.answered += other.answered;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.latencies.merge(&other.latencies);
    }

    fn ended(&self) -> u64 {
        self.answered + self.failed
    }

    fn measure(&self, seconds: f64, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Mean => self.latencies.mean_ns(),
            Measure::Quantile(share) => self.latencies.quantile_ns(share),
            Measure::Max => self.latencies.max_ns(),
            Measure::ErrorRate => share(self.failed, self.ended()),
            Measure::Rate => Some(self.answered as f64 / seconds),
            Measure::DroppedRate => share(self.dropped, self.intended),
        }
    }
}

/// Windows that were added up.
#[derive(Debug, Default)]
struct Batch {
    seconds: f64,
    counts: Counts,
}

impl Batch {
    fn sum(batches: &[Self]) -> Self {
        let mut sum = Self::default();
        for batch in batches {
            sum.seconds += batch.seconds;
            sum.counts.add(&batch.counts);
        }
        sum
    }
}

/// The batches of all operations or of one endpoint, the same in pairs, and their sum.
struct Batches {
    parts: Vec<Batch>,
    pairs: Vec<Batch>,
    whole: Batch,
}

impl Batches {
    fn of(windows: &[Window], endpoint: Option<u32>) -> Self {
        // At least two windows to a batch, so that a single one is no batch of its own.
        let count = (windows.len() / 2).clamp(1, BATCHES);
        let mut batches = Self {
            parts: Vec::with_capacity(count),
            pairs: Vec::new(),
            whole: Batch::default(),
        };
        for at in 0..count {
            let (from, to) = (at * windows.len() / count, (at + 1) * windows.len() / count);
            let mut part = Batch::default();
            for window in &windows[from..to] {
                part.seconds += window.seconds;
                let counts = match endpoint {
                    None => Some(&window.all),
                    Some(endpoint) => window.endpoints.get(&endpoint),
                };
                counts
                    .into_iter()
                    .for_each(|counts| part.counts.add(counts));
            }
            batches.parts.push(part);
        }
        batches.pairs = batches.parts.chunks(2).map(Batch::sum).collect();
        batches.whole = Batch::sum(&batches.pairs);
        batches
    }

    /// Any measure of a batch: the whole's value, its standard error and degrees of freedom. `None`
    /// where the whole has none, or where fewer than half of the batches have one: then their scatter
    /// does not speak for the step.
    fn value_and_error(&self, measure: impl Fn(&Batch) -> Option<f64>) -> Option<(f64, f64, f64)> {
        let value = measure(&self.whole)?;
        let mut of: Vec<f64> = self.parts.iter().filter_map(&measure).collect();
        if of.len() * 2 < self.parts.len() {
            return None;
        }
        if self.pairs.len() >= BATCHES / 2 && lag1_correlation(&of) > CORRELATED {
            of = self.pairs.iter().filter_map(&measure).collect();
        }
        let (error, freedom) = batch_error(&of, value)?;
        Some((value, error, freedom))
    }

    fn estimate(&self, measure: impl Fn(&Batch) -> Option<f64>) -> Option<Estimate> {
        let (value, error, freedom) = self.value_and_error(measure)?;
        Some(Estimate::new(value, error, freedom))
    }

    /// An estimate of a threshold's measure, in its units.
    fn limit(&self, measure: Measure) -> Option<Estimate> {
        let counts = &self.whole.counts;
        let take = |batch: &Batch| batch.counts.measure(batch.seconds, measure);
        match measure {
            // The longest time is what it is; it has no interval.
            Measure::Max => take(&self.whole).map(Estimate::exact),
            Measure::ErrorRate => Some(widen(self.estimate(take)?, counts.failed, counts.ended())),
            Measure::DroppedRate => {
                Some(widen(self.estimate(take)?, counts.dropped, counts.intended))
            }
            Measure::Rate => self.estimate(take),
            Measure::Mean | Measure::Quantile(_) => {
                let (value, error, freedom) = self.value_and_error(take)?;
                Some(Estimate::positive(value, error, freedom))
            }
        }
    }
}

/// A share's interval is at least Wilson's: batches in which nothing failed know nothing of rare failures.
fn widen(estimate: Estimate, part: u64, whole: u64) -> Estimate {
    let (low, high) = wilson(part as f64, whole as f64);
    Estimate {
        low: estimate.low.min(low).max(0.0),
        high: estimate.high.max(high).min(1.0),
        standard_error: estimate.standard_error.max((high - low) / 4.0),
        ..estimate
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The report, and whether the batches of response times hardly depend on each other: as long as they
/// do, the step is too short for its queue, and a narrow interval is not to be believed.
fn report(
    plan: &StepPlan,
    config: &SearchConfig,
    windows: &[Window],
    ended: Ended,
) -> (StepReport, bool) {
    let settled = settled_from(&mean_series(windows));
    let (settling, rest) = windows.split_at(settled);
    let length = |windows: &[Window]| windows.iter().map(|window| window.seconds).sum::<f64>();
    let all = Batches::of(rest, None);
    let means: Vec<f64> = all
        .parts
        .iter()
        .filter_map(|batch| batch.counts.latencies.mean_ns())
        .collect();
    let mut by_endpoint = BTreeMap::new();
    let limits = config.limits().iter().map(|limit| match limit.endpoint {
        None => all.limit(limit.measure),
        Some(endpoint) => by_endpoint
            .entry(endpoint)
            .or_insert_with(|| Batches::of(rest, Some(endpoint)))
            .limit(limit.measure),
    });
    let report = StepReport {
        rate: plan.rate,
        seconds: length(windows),
        settling_seconds: length(settling),
        limits: limits.collect(),
        offered_per_s: all.estimate(|it| Some(it.counts.intended as f64 / it.seconds)),
        throughput_per_s: all.estimate(|it| Some(it.counts.ended() as f64 / it.seconds)),
        following: all.estimate(|it| share(it.counts.ended(), it.counts.intended)),
        mean_ns: all.limit(Measure::Mean),
        p95_ns: all.limit(Measure::Quantile(0.95)),
        error_share: all.limit(Measure::ErrorRate),
        dropped: all.whole.counts.dropped,
        growing: is_growing(&means),
        ended,
    };
    (report, lag1_correlation(&means) <= CORRELATED)
}

/// Mean response times by window; a window in which nothing ended takes its predecessor's.
fn mean_series(windows: &[Window]) -> Vec<f64> {
    let mut last = 0.0;
    windows
        .iter()
        .map(|window| {
            last = window.all.latencies.mean_ns().unwrap_or(last);
            last
        })
        .collect()
}

fn is_time(measure: Measure) -> bool {
    matches!(measure, Measure::Mean | Measure::Quantile(_) | Measure::Max)
}

/// A rise counts only where it is also large: a queue that builds up, not a cache that ages.
fn is_growing(means: &[f64]) -> bool {
    const LEAST_GROWTH: f64 = 1.3;
    let third = means.len() / 3;
    if third == 0 || !rises(means) {
        return false;
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    mean(&means[means.len() - third..]) > LEAST_GROWTH * mean(&means[..third])
}

impl StepReport {
    /// Whether the schedule itself brought less than planned, which is the generator's fault.
    pub(super) fn is_under_offered(&self) -> bool {
        self.offered_per_s
            .is_none_or(|offered| offered.high < FOLLOWING_SHARE * self.rate)
    }

    /// Several reports of the same rate as one.
    pub(super) fn pooled(reports: &[&Self], config: &SearchConfig) -> Option<Self> {
        let [.., last] = reports else { return None };
        let pool = |is_positive: bool, take: &dyn Fn(&Self) -> Option<Estimate>| {
            let watched =
                |report: &&Self| Some((take(report)?, report.seconds - report.settling_seconds));
            let parts: Vec<(Estimate, f64)> = reports
                .iter()
                .copied()
                .filter_map(|it| watched(&it))
                .collect();
            Estimate::pooled(&parts, is_positive)
        };
        let limits = config.limits().iter().enumerate().map(|(at, limit)| {
            pool(is_time(limit.measure), &|report| {
                report.limits.get(at).copied().flatten()
            })
        });
        Some(Self {
            limits: limits.collect(),
            offered_per_s: pool(false, &|report| report.offered_per_s),
            throughput_per_s: pool(false, &|report| report.throughput_per_s),
            following: pool(false, &|report| report.following),
            mean_ns: pool(true, &|report| report.mean_ns),
            p95_ns: pool(true, &|report| report.p95_ns),
            error_share: pool(false, &|report| report.error_share),
            dropped: reports.iter().map(|report| report.dropped).sum(),
            growing: reports.iter().all(|report| report.growing),
            ..(*last).clone()
        })
    }
}
