//! What must hold for a run to pass, such as `p95 < 200ms`, and whether it did. What is measured,
//! over which operations, is left to the caller.

mod parse;

use std::fmt;

pub use parse::{Selectable, ThresholdError};

use crate::scenario::quantity::{human_ns, three_digits};

/// One condition on one measure of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// Only operations of this endpoint (index into the scenario's endpoints).
    pub endpoint: Option<u32>,
    /// Only operations intended in this stage (index into the scenario's stages).
    pub stage: Option<usize>,
    /// The comparison that must hold.
    pub comparison: Comparison,
    /// In nanoseconds, as a share of 1, or per second, as the measure wants it.
    pub bound: f64,
    /// Ends the run as soon as it is broken.
    pub abort: bool,
    /// As it was written: `p95 < 200ms`.
    pub text: String,
}

/// What a threshold is about. Times count from *intended*.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Mean response time.
    Mean,
    /// A quantile of response times, between 0 and 1.
    Quantile(f64),
    /// The longest response time.
    Max,
    /// Failed operations as a share of all.
    ErrorRate,
    /// Answered operations per second.
    Rate,
    /// Dropped arrivals as a share of all.
    DroppedRate,
}

/// How a measure is held against its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether it holds.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Greater => value > bound,
            Self::AtLeast => value >= bound,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

/// What was measured of the operations that a threshold is about: those of its endpoint and stage,
/// after the warm-up.
pub struct Measured<'m> {
    /// Mean response time; NaN or anything else without operations.
    pub mean_ns: f64,
    /// The response time at a quantile between 0 and 1, censored operations included.
    pub quantile_ns: &'m dyn Fn(f64) -> f64,
    /// The longest response time.
    pub max_ns: f64,
    /// All operations, also those that failed, and dropped arrivals.
    pub operations: u64,
    /// Of those, the ones that failed, dropped arrivals included.
    pub failed: u64,
    /// Of those, arrivals that were dropped.
    pub dropped: u64,
    /// Of all operations, the ones that were answered in the time over which they are counted.
    pub answered: u64,
    /// Of all operations, the ones that were never answered, dropped arrivals included.
    pub unanswered: u64,
    /// The time over which they were counted.
    pub seconds: f64,
}

/// Whether a threshold held.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdResult {
    /// For people: `p95 183 ms < 200ms: passed`.
    pub text: String,
    /// The measured value in the unit of [`Threshold::bound`]; none without any operation.
    pub value: Option<f64>,
    /// Whether it held; none where there is too little data to say.
    pub passed: Option<bool>,
}

/// Judges one threshold. A quantile needs at least one operation expected beyond it: 20 operations
/// for p95, 100 for p99; everything else needs one operation. An upper bound on a quantile does not
/// hold when more operations were never answered than lie beyond that quantile.
pub fn evaluate(threshold: &Threshold, measured: &Measured<'_>) -> ThresholdResult {
    let share = |part: u64| part as f64 / measured.operations as f64;
    let value = match threshold.measure {
        _ if measured.operations == 0 => None,
        Measure::Mean => Some(measured.mean_ns),
        Measure::Quantile(quantile) => Some((measured.quantile_ns)(quantile)),
        Measure::Max => Some(measured.max_ns),
        Measure::ErrorRate => Some(share(measured.failed)),
        Measure::DroppedRate => Some(share(measured.dropped)),
        Measure::Rate => Some(measured.answered as f64 / measured.seconds),
    };
    let value = value.filter(|value| value.is_finite());
    let needed = operations_needed(threshold.measure);
    let passed = value
        .filter(|_| measured.operations >= needed)
        .map(|value| {
            threshold.comparison.holds(value, threshold.bound)
                && !is_lower_bound_alone(threshold, measured)
        });
    let verdict = match passed {
        Some(true) => "passed".to_owned(),
        Some(false) => "failed".to_owned(),
        None => format!(
            "too little data ({} of {needed} operations)",
            measured.operations
        ),
    };
    // The text is the measure, a space, the comparison and the bound.
    let (measure, condition) = match threshold.text.find(&format!(" {} ", threshold.comparison)) {
        Some(at) => threshold.text.split_at(at),
        None => (threshold.text.as_str(), ""),
    };
    let shown = value.map_or_else(String::new, |value| {
        format!(" {}", human(threshold.measure, value))
    });
    ThresholdResult {
        text: format!("{measure}{shown}{condition}: {verdict}"),
        value,
        passed,
    }
}

/// Whether a time that seems to be below its bound is only known to be at least what it is: so many
/// operations were never answered that, ranked behind all answered ones, they reach the quantile. A
/// target that refuses at once must not pass for a fast one.
fn is_lower_bound_alone(threshold: &Threshold, measured: &Measured<'_>) -> bool {
    let unanswered = measured.unanswered as f64 / measured.operations as f64;
    let is_upper = matches!(threshold.comparison, Comparison::Less | Comparison::AtMost);
    match threshold.measure {
        Measure::Quantile(quantile) => is_upper && unanswered > 1.0 - quantile,
        Measure::Mean | Measure::Max => is_upper && measured.unanswered == measured.operations,
        Measure::ErrorRate | Measure::DroppedRate | Measure::Rate => false,
    }
}

/// How many operations a measure needs before it says anything.
pub fn operations_needed(measure: Measure) -> u64 {
    match measure {
        // The small amount keeps 1 / (1 - 0.95) from becoming 21.
        Measure::Quantile(quantile) => (1.0 / (1.0 - quantile) - 1e-6).ceil() as u64,
        _ => 1,
    }
}

fn human(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Mean | Measure::Quantile(_) | Measure::Max => human_ns(value),
        Measure::ErrorRate | Measure::DroppedRate => format!("{} %", three_digits(value * 100.0)),
        Measure::Rate => format!("{}/s", three_digits(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(key: &str, bound: &str) -> Threshold {
        let selectable = Selectable {
            endpoints: &["home".to_owned()],
            stages: &["peak"],
        };
        Threshold::parse(key, bound, false, &selectable).expect("it is right")
    }

    fn measured(operations: u64) -> Measured<'static> {
        Measured {
            mean_ns: 50e6,
            quantile_ns: &|quantile| quantile * 200e6,
            max_ns: 250e6,
            operations,
            failed: operations / 50,
            dropped: operations / 100,
            answered: operations - operations / 100,
            unanswered: operations / 100,
            seconds: 10.0,
        }
    }

    #[test]
    fn a_target_that_refuses_is_not_fast() {
        let refused = |unanswered| Measured {
            unanswered,
            quantile_ns: &|_| 1e5,
            mean_ns: 1e5,
            ..measured(1_000)
        };
        let passed = |key: &str, unanswered| {
            evaluate(&threshold(key, "< 200ms"), &refused(unanswered)).passed
        };
        assert_eq!(passed("p95", 50), Some(true), "95 % are known to be fast");
        assert_eq!(passed("p95", 51), Some(false));
        assert_eq!(passed("mean", 999), Some(true), "shown as a lower bound");
        assert_eq!(passed("mean", 1_000), Some(false));
        assert_eq!(passed("max", 1_000), Some(false));
        let slow = evaluate(&threshold("p95", "> 50us"), &refused(1_000));
        assert_eq!(slow.passed, Some(true), "at least so slow is slow enough");
    }

    #[test]
    fn results_say_what_was_measured_and_whether_it_held() {
        let text = |key: &str, bound: &str| evaluate(&threshold(key, bound), &measured(1_000)).text;
        assert_eq!(text("p95", "< 200ms"), "p95 190 ms < 200ms: passed");
        assert_eq!(text("p99", "<= 150ms"), "p99 198 ms <= 150ms: failed");
        assert_eq!(text("mean", "< 0.1s"), "mean 50 ms < 0.1s: passed");
        assert_eq!(text("max", "< 250ms"), "max 250 ms < 250ms: failed");
        assert_eq!(text("error_rate", "< 1%"), "error_rate 2 % < 1%: failed");
        assert_eq!(
            text("dropped_rate", "<= 0.01"),
            "dropped_rate 1 % <= 0.01: passed"
        );
        assert_eq!(text("rate", "> 90/s"), "rate 99/s > 90/s: passed");
        assert_eq!(
            text("p95{endpoint=home}", "< 200ms"),
            "p95{endpoint=home} 190 ms < 200ms: passed"
        );
    }

    #[test]
    fn too_little_data_gives_no_verdict() {
        let result = evaluate(&threshold("p95", "< 200ms"), &measured(19));
        assert_eq!(result.passed, None);
        assert_eq!(
            result.text,
            "p95 190 ms < 200ms: too little data (19 of 20 operations)"
        );
        assert_eq!(
            evaluate(&threshold("p95", "< 200ms"), &measured(20)).passed,
            Some(true)
        );
        let none = evaluate(&threshold("rate", "> 1/s"), &measured(0));
        assert_eq!((none.value, none.passed), (None, None));
        assert_eq!(none.text, "rate > 1/s: too little data (0 of 1 operations)");
        assert_eq!(operations_needed(Measure::Quantile(0.999)), 1_000);
    }
}
