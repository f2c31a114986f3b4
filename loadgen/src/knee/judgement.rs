//! How a step is judged: each condition holds, fails, or is not sure because its interval straddles
//! the bound.

use serde::{Deserialize, Serialize};

use super::StepResult;
use super::config::SearchConfig;
use super::monitor::StepReport;
use super::statistics::Estimate;
use crate::threshold::{Comparison, Measure};

/// The share of the offered rate that must be completed; below it throughput has stopped following.
pub(super) const FOLLOWING_SHARE: f64 = 0.95;
/// The share of failed operations that is allowed where no threshold says otherwise.
pub(super) const ALLOWED_ERRORS: f64 = 0.01;

/// How a step or a rate is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// All conditions surely hold.
    Good,
    /// A condition surely fails.
    Bad,
    /// An interval straddles its bound.
    Unsure,
    /// The generator did not offer what was planned.
    GeneratorLimited,
}

/// Why a step is not good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// This threshold failed.
    Threshold(String),
    /// Less was completed than was offered.
    ThroughputFlat,
    /// More operations failed than is allowed without a threshold.
    Errors,
    /// Arrivals were dropped: they waited for a connection in vain.
    Dropped,
    /// Response times were still growing when the step ended.
    Growing,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Threshold(text) => write!(f, "threshold `{text}` failed"),
            Self::ThroughputFlat => f.write_str("throughput stopped following the offered rate"),
            Self::Errors => f.write_str("too many operations failed"),
            Self::Dropped => f.write_str("arrivals were dropped"),
            Self::Growing => f.write_str("response times kept growing"),
        }
    }
}

/// Judges one step.
pub(super) fn judge(result: &StepResult, config: &SearchConfig) -> (Judgement, Vec<Reason>) {
    if result.generator_limited.is_some() {
        return (Judgement::GeneratorLimited, Vec::new());
    }
    judge_report(&result.report, config, 1.0)
}

/// Judges what was measured. With a `margin` above 1 only what is beyond a bound by this factor
/// fails, which tells what is clearly bad.
pub(super) fn judge_report(
    report: &StepReport,
    config: &SearchConfig,
    margin: f64,
) -> (Judgement, Vec<Reason>) {
    let mut failed = Vec::new();
    let mut unsure = Vec::new();
    let mut take = |holds: Option<bool>, reason: Reason| match holds {
        Some(true) => {}
        Some(false) => failed.push(reason),
        None => unsure.push(reason),
    };
    for (limit, estimate) in config.limits().iter().zip(&report.limits) {
        let bound = limit.bound * margin;
        let holds = estimate.and_then(|it| holds_below(&it, limit.comparison, bound));
        take(holds, Reason::Threshold(limit.text.clone()));
    }
    let following = report.following.and_then(|it| {
        let missing = Estimate {
            value: -it.value,
            low: -it.high,
            high: -it.low,
            ..it
        };
        holds_below(&missing, Comparison::AtMost, -FOLLOWING_SHARE / margin)
    });
    take(following, Reason::ThroughputFlat);
    if !config.judges(Measure::ErrorRate) {
        let bound = ALLOWED_ERRORS * margin;
        let holds = report
            .error_share
            .and_then(|it| holds_below(&it, Comparison::AtMost, bound));
        take(holds, Reason::Errors);
    }
    if !config.judges(Measure::DroppedRate) {
        take(Some(report.dropped == 0), Reason::Dropped);
    }
    if report.growing {
        take(None, Reason::Growing);
    }
    if !failed.is_empty() {
        (Judgement::Bad, failed)
    } else if !unsure.is_empty() {
        (Judgement::Unsure, unsure)
    } else {
        (Judgement::Good, Vec::new())
    }
}

/// Whether an upper bound surely holds, surely fails, or neither. The far end of the interval is
/// held against the bound, so that an exact value is judged as the comparison says.
fn holds_below(estimate: &Estimate, comparison: Comparison, bound: f64) -> Option<bool> {
    if comparison.holds(estimate.high, bound) {
        Some(true)
    } else if comparison.holds(estimate.low, bound) || !estimate.low.is_finite() {
        None
    } else {
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_straddles_is_not_sure() {
        let at = |low, high| Estimate {
            value: (low + high) / 2.0,
            low,
            high,
            standard_error: 1.0,
        };
        assert_eq!(
            holds_below(&at(1.0, 9.0), Comparison::Less, 10.0),
            Some(true)
        );
        assert_eq!(holds_below(&at(9.0, 11.0), Comparison::Less, 10.0), None);
        assert_eq!(
            holds_below(&at(11.0, 12.0), Comparison::Less, 10.0),
            Some(false)
        );
        assert_eq!(
            holds_below(&Estimate::exact(10.0), Comparison::Less, 10.0),
            Some(false)
        );
        assert_eq!(
            holds_below(&Estimate::exact(10.0), Comparison::AtMost, 10.0),
            Some(true)
        );
    }
}
