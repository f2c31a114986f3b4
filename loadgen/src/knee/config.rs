//! How to search: options with their defaults, checked before anything is sent.

use crate::threshold::{Comparison, Measure, Threshold};

/// Most steps of any search.
pub const MOST_STEPS: usize = 200;
/// Longest step, in seconds: a monitor keeps all windows of its step.
const MOST_STEP_SECONDS: f64 = 3_600.0;
/// The narrowest interval that a search may ask for; below it noise decides.
const LEAST_RELATIVE_WIDTH: f64 = 0.005;

/// What a user may choose.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOptions {
    /// The first rate, in arrivals per second.
    pub start_rate: f64,
    /// Rates are multiplied by it until one is not held.
    pub factor: f64,
    /// The lowest rate to try.
    pub lowest_rate: f64,
    /// The highest rate to try.
    pub highest_rate: f64,
    /// Width of the knee's interval, relative to the knee.
    pub relative_width: f64,
    /// Half width of the intervals of a step's p95 and throughput, relative to them.
    pub relative_half_width: f64,
    /// Shortest step, in seconds.
    pub step_seconds_at_least: f64,
    /// Longest step, in seconds.
    pub step_seconds_at_most: f64,
    /// Most steps.
    pub steps: usize,
    /// Most seconds of all steps together.
    pub seconds: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            start_rate: 50.0,
            factor: 2.0,
            lowest_rate: 1.0,
            highest_rate: 100_000.0,
            relative_width: 0.05,
            relative_half_width: 0.05,
            step_seconds_at_least: 10.0,
            step_seconds_at_most: 60.0,
            steps: 40,
            seconds: 3_600.0,
            seed: 1,
            resamples: 1_000,
        }
    }
}

/// Options and thresholds that make sense together.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchConfig {
    options: SearchOptions,
    limits: Vec<Threshold>,
    notes: Vec<String>,
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A value out of its range.
    #[error("option {option} is {value}, but must be {must}")]
    OutOfRange {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        must: String,
    },
}

impl SearchConfig {
    /// Checks options and takes the thresholds that can fail because of too much load. A threshold
    /// on the rate fails because of too little, and one of a stage has no stage here: they are not
    /// judged, and the result says so.
    pub fn new(options: SearchOptions, thresholds: &[Threshold]) -> Result<Self, ConfigError> {
        let o = &options;
        let below_end = format!("positive and at most the highest rate {}", o.highest_rate);
        let longest = format!("at least the shortest step and at most {MOST_STEP_SECONDS}");
        let most = format!("between 3 and {MOST_STEPS}");
        let checks: [(&'static str, f64, bool, &str); 10] = [
            (
                "highest_rate",
                o.highest_rate,
                is_positive(o.highest_rate),
                "positive",
            ),
            (
                "lowest_rate",
                o.lowest_rate,
                is_within(o.lowest_rate, f64::MIN_POSITIVE, o.highest_rate),
                &below_end,
            ),
            (
                "start_rate",
                o.start_rate,
                is_within(o.start_rate, o.lowest_rate, o.highest_rate),
                "between the lowest and the highest rate",
            ),
            (
                "factor",
                o.factor,
                is_within(o.factor, 1.1, 10.0),
                "between 1.1 and 10",
            ),
            (
                "relative_width",
                o.relative_width,
                is_within(o.relative_width, LEAST_RELATIVE_WIDTH, 0.5),
                "between 0.005 and 0.5",
            ),
            (
                "relative_half_width",
                o.relative_half_width,
                is_within(o.relative_half_width, LEAST_RELATIVE_WIDTH, 0.5),
                "between 0.005 and 0.5",
            ),
            (
                "step_seconds_at_least",
                o.step_seconds_at_least,
                is_positive(o.step_seconds_at_least),
                "positive",
            ),
            (
                "step_seconds_at_most",
                o.step_seconds_at_most,
                is_within(
                    o.step_seconds_at_most,
                    o.step_seconds_at_least,
                    MOST_STEP_SECONDS,
                ),
                &longest,
            ),
            (
                "steps",
                o.steps as f64,
                (3..=MOST_STEPS).contains(&o.steps),
                &most,
            ),
            (
                "resamples",
                o.resamples as f64,
                (500..=100_000).contains(&o.resamples),
                "between 500 and 100000",
            ),
        ];
        for (option, value, is_right, must) in checks {
            if !is_right {
                let must = must.to_owned();
                return Err(ConfigError::OutOfRange {
                    option,
                    value,
                    must,
                });
            }
        }
        if !is_positive(o.seconds) {
            let must = "positive".to_owned();
            return Err(ConfigError::OutOfRange {
                option: "seconds",
                value: o.seconds,
                must,
            });
        }
        let mut limits = Vec::new();
        let mut notes = Vec::new();
        for threshold in thresholds {
            match why_not_judged(threshold) {
                None => limits.push(threshold.clone()),
                Some(why) => notes.push(format!("`{}` was not judged: {why}", threshold.text)),
            }
        }
        Ok(Self {
            options,
            limits,
            notes,
        })
    }

    /// The options.
    pub fn options(&self) -> &SearchOptions {
        &self.options
    }

    /// The thresholds that are judged.
    pub fn limits(&self) -> &[Threshold] {
        &self.limits
    }

    /// What was left out, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a threshold judges this measure of all endpoints.
    pub(super) fn judges(&self, measure: Measure) -> bool {
        let is_whole = |limit: &Threshold| limit.endpoint.is_none() && limit.measure == measure;
        self.limits.iter().any(is_whole)
    }
}

fn why_not_judged(threshold: &Threshold) -> Option<&'static str> {
    let is_upper = matches!(threshold.comparison, Comparison::Less | Comparison::AtMost);
    if threshold.measure == Measure::Rate {
        Some("the search itself chooses the rate")
    } else if threshold.stage.is_some() {
        Some("the search has steps in place of the scenario's stages")
    } else if !is_upper {
        Some("more load cannot break a lower bound")
    } else {
        None
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn is_within(value: f64, low: f64, high: f64) -> bool {
    value.is_finite() && value >= low && value <= high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(measure: Measure, comparison: Comparison, text: &str) -> Threshold {
        Threshold {
            measure,
            endpoint: None,
            stage: None,
            comparison,
            bound: 1.0,
            abort: false,
            text: text.to_owned(),
        }
    }

    #[test]
    fn thresholds_that_load_cannot_break_are_named() {
        let staged = Threshold {
            stage: Some(1),
            ..threshold(Measure::Mean, Comparison::Less, "mean < 1ns")
        };
        let thresholds = [
            threshold(Measure::Quantile(0.95), Comparison::Less, "p95 < 1ns"),
            threshold(Measure::Rate, Comparison::Greater, "rate > 1/s"),
            staged,
        ];
        let config =
            SearchConfig::new(SearchOptions::default(), &thresholds).expect("defaults fit");
        assert_eq!(config.limits(), &thresholds[..1]);
        assert_eq!(config.notes().len(), 2);
        assert!(config.notes()[0].starts_with("`rate > 1/s` was not judged"));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let wrong = [
            (
                SearchOptions {
                    start_rate: f64::NAN,
                    ..SearchOptions::default()
                },
                "start_rate",
            ),
            (
                SearchOptions {
                    factor: 1.0,
                    ..SearchOptions::default()
                },
                "factor",
            ),
            (
                SearchOptions {
                    highest_rate: 10.0,
                    ..SearchOptions::default()
                },
                "start_rate",
            ),
            (
                SearchOptions {
                    steps: 0,
                    ..SearchOptions::default()
                },
                "steps",
            ),
            (
                SearchOptions {
                    seconds: 0.0,
                    ..SearchOptions::default()
                },
                "seconds",
            ),
            (
                SearchOptions {
                    step_seconds_at_most: 5.0,
                    ..SearchOptions::default()
                },
                "step_seconds_at_most",
            ),
        ];
        for (options, name) in wrong {
            let error = SearchConfig::new(options, &[]).expect_err("out of range");
            assert!(
                error.to_string().starts_with(&format!("option {name} is")),
                "{error}"
            );
        }
    }
}
