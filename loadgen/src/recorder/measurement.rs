//! What was measured of a selection of operations: histograms of response and service time, and
//! exact counts. Which operations these are is [`super::Statistics`]' business.

use hdrhistogram::Histogram;

use crate::operation::{Failure, NEVER_NS, Operation};

/// Quantiles are within 0.1 %: three significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;
/// The finest distinction between times; below 16 µs it is what limits a quantile's precision.
const FINEST_NS: u64 = 16;
/// What a histogram has room for at first; it grows with the values.
const FIRST_LONGEST_NS: u64 = 1_000_000_000;
/// Times beyond a day count as a day, so that a broken clock cannot make a histogram grow.
pub(super) const LONGEST_NS: u64 = 24 * 3_600 * 1_000_000_000;
/// One count for success, and one for each failure.
pub(super) const OUTCOMES: usize = Failure::ALL.len() + 1;

/// Times and counts of a selection of operations.
#[derive(Debug, Clone)]
pub struct Measurement {
    pub(super) response: Times,
    pub(super) service: Times,
    /// By the number of the failure; 0 for none.
    pub(super) outcomes: [u64; OUTCOMES],
    pub(super) bytes: u64,
    pub(super) answered_by_stage_end: u64,
    pub(super) answered_by_run_end: u64,
}

/// A distribution of times in nanoseconds.
#[derive(Debug, Clone)]
pub struct Times {
    pub(super) histogram: Histogram<u64>,
    pub(super) sum_ns: u128,
    pub(super) max_ns: u64,
}

impl Default for Measurement {
    fn default() -> Self {
        Self {
            response: Times::default(),
            service: Times::default(),
            outcomes: [0; OUTCOMES],
            bytes: 0,
            answered_by_stage_end: 0,
            answered_by_run_end: 0,
        }
    }
}

impl Measurement {
    /// Response times, from *intended*. An operation that was given up is in here with the time
    /// that it was waited for; dropped arrivals are not: nothing was waited for.
    pub fn response(&self) -> &Times {
        &self.response
    }

    /// Service times, from *sent*, of the operations that were sent.
    pub fn service(&self) -> &Times {
        &self.service
    }

    /// All operations, dropped arrivals included.
    pub fn operations(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Operations to which a whole answer came, whatever the checks say of it.
    pub fn answered(&self) -> u64 {
        let failed_but_answered = Failure::ALL
            .into_iter()
            .filter(|failure| failure.was_answered());
        self.outcomes[0]
            + failed_but_answered
                .map(|failure| self.count(failure))
                .sum::<u64>()
    }

    /// Operations that failed, dropped arrivals included.
    pub fn failed(&self) -> u64 {
        self.outcomes[1..].iter().sum()
    }

    /// Arrivals that were dropped.
    pub fn dropped(&self) -> u64 {
        self.count(Failure::Dropped)
    }

    /// How often one failure happened.
    pub fn count(&self, failure: Failure) -> u64 {
        self.outcomes[failure as usize]
    }

    /// The failures that happened, the most frequent first.
    pub fn failures(&self) -> Vec<(Failure, u64)> {
        let counts = Failure::ALL.map(|failure| (failure, self.count(failure)));
        let mut happened: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        happened.sort_by_key(|(failure, count)| (std::cmp::Reverse(*count), *failure));
        happened
    }

    /// Bytes received.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Answers that came before the end of the stage in which they were intended.
    pub fn answered_by_stage_end(&self) -> u64 {
        self.answered_by_stage_end
    }

    /// Answers that came before the end of the last stage.
    pub fn answered_by_run_end(&self) -> u64 {
        self.answered_by_run_end
    }

    /// Takes one operation.
    pub(super) fn record(&mut self, operation: &Operation, stage_end_ns: u64, run_end_ns: u64) {
        let failure = operation.failure;
        self.outcomes[failure.map_or(0, |failure| failure as usize)] += 1;
        self.bytes = self.bytes.saturating_add(operation.bytes);
        if failure.is_none_or(Failure::was_answered) {
            self.answered_by_stage_end += u64::from(operation.done_ns <= stage_end_ns);
            self.answered_by_run_end += u64::from(operation.done_ns <= run_end_ns);
        }
        if has_response_time(operation) {
            let waited_ns = operation.done_ns.saturating_sub(operation.intended_ns);
            self.response.record(waited_ns);
        }
        if let Some(ns) = service_ns(operation) {
            self.service.record(ns);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.answered_by_stage_end += other.answered_by_stage_end;
        self.answered_by_run_end += other.answered_by_run_end;
    }
}

impl Default for Times {
    fn default() -> Self {
        let mut histogram =
            Histogram::new_with_bounds(FINEST_NS, FIRST_LONGEST_NS, SIGNIFICANT_DIGITS)
                .expect("the bounds are constants that work");
        histogram.auto(true);
        Self {
            histogram,
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Times {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Their mean, exactly; none without any.
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum_ns as f64 / self.len() as f64)
    }

    /// The longest, exactly; none without any.
    pub fn max_ns(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max_ns)
    }

    /// The time that a share of them (0 to 1) does not exceed, within 0.1 % or 16 ns; none without
    /// any.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let found = || self.histogram.value_at_quantile(quantile).min(self.max_ns);
        (!self.is_empty()).then(found)
    }

    /// What has come since an earlier state of the same times: only its quantiles are meaningful.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut recent = self.clone();
        // What was there before is in here too; where it is not, all counts as recent.
        if recent.histogram.subtract(&earlier.histogram).is_err() {
            return recent;
        }
        recent.sum_ns = recent.sum_ns.saturating_sub(earlier.sum_ns);
        recent
    }

    /// Every time, to the histogram's resolution, and how often it came.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.histogram.iter_recorded();
        recorded.map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    fn record(&mut self, ns: u64) {
        let ns = ns.min(LONGEST_NS);
        self.histogram
            .record(ns)
            .expect("a histogram that grows takes every time up to a day");
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.histogram.is_empty() {
            return;
        }
        self.histogram
            .add(&other.histogram)
            .expect("a histogram that grows takes every other");
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

/// Whether the time of an operation says anything about the target. An arrival that found no room
/// was given up in the very moment it was due: as a response time of 0 it would make an overloaded
/// target look fast.
fn has_response_time(operation: &Operation) -> bool {
    !matches!(
        operation.failure,
        Some(Failure::Dropped | Failure::Backpressure)
    )
}

/// Nanoseconds from when it was sent until it was done, if it was sent.
fn service_ns(operation: &Operation) -> Option<u64> {
    (operation.sent_ns != NEVER_NS).then(|| operation.done_ns.saturating_sub(operation.sent_ns))
}
