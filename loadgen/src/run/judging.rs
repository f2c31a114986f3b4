//! Thresholds over live statistics.

use crate::recorder::Statistics;
use crate::scenario::Scenario;
use crate::threshold::{self, Comparison, Measure, Measured, Threshold};

/// A threshold as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// For people: `p95 183 ms < 200ms: passed`.
    pub text: String,
    /// As it was written.
    pub threshold: String,
    /// The value measured, in nanoseconds, as a share of 1, or per second.
    pub value: Option<f64>,
    /// Whether it holds; none where there is too little data.
    pub passed: Option<bool>,
    /// Whether the run ends when it is broken.
    pub abort: bool,
}

/// Judges every threshold of a scenario by what has been measured until `now_ns`.
pub(super) fn judge(scenario: &Scenario, statistics: &Statistics, now_ns: u64) -> Vec<Judged> {
    let judge_one = |one: &Threshold| {
        let measurement = statistics.select(one.endpoint, one.stage);
        let response = measurement.response();
        let quantile_ns = |quantile| {
            response
                .quantile_ns(quantile)
                .map_or(f64::NAN, |ns| ns as f64)
        };
        let answered = match one.stage {
            Some(_) => measurement.answered_by_stage_end(),
            None => measurement.answered_by_run_end(),
        };
        let result = threshold::evaluate(
            one,
            &Measured {
                mean_ns: response.mean_ns().unwrap_or(f64::NAN),
                quantile_ns: &quantile_ns,
                max_ns: response.max_ns().map_or(f64::NAN, |ns| ns as f64),
                operations: measurement.operations(),
                failed: measurement.failed(),
                dropped: measurement.dropped(),
                answered,
                unanswered: measurement.operations() - measurement.answered(),
                seconds: statistics.seconds(one.stage, now_ns).unwrap_or(f64::NAN),
            },
        );
        Judged {
            text: result.text,
            threshold: one.text.clone(),
            value: result.value,
            passed: result.passed,
            abort: one.abort,
        }
    };
    scenario.thresholds.iter().map(judge_one).collect()
}

/// The first threshold that is broken and ends the run.
pub(super) fn broken(judged: &[Judged]) -> Option<&Judged> {
    judged
        .iter()
        .find(|one| one.abort && one.passed == Some(false))
}

/// The tightest upper bound on response times, in µs.
pub(super) fn tightest_us(scenario: &Scenario) -> Option<f64> {
    let is_time = |one: &&Threshold| {
        matches!(
            one.measure,
            Measure::Mean | Measure::Quantile(_) | Measure::Max
        ) && matches!(one.comparison, Comparison::Less | Comparison::AtMost)
    };
    let bounds = scenario.thresholds.iter().filter(is_time);
    bounds.map(|one| one.bound / 1e3).reduce(f64::min)
}
