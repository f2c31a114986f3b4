//! How to search: options with their defaults, checked before anything is sent.

use crate::threshold::{Comparison, Measure, Threshold};

/// Most steps of any search.
pub const MOST_STEPS: usize = 200;
/// Longest step, in seconds: a monitor keeps all windows of its step.
const MOST_STEP_SECONDS: f64 = 3_600.0;
/// Shortest step: a few windows, so that there are batches at all.
const LEAST_STEP_SECONDS: f64 = 0.1;
/// Fewest steps: a rate that is held, one that is not, and one of them again.
const LEAST_STEPS: usize = 3;
/// One arrival in 1,000 seconds.
const LEAST_RATE: f64 = 0.001;
/// More than any generator offers.
const MOST_RATE: f64 = 1e9;
/// Percentile intervals of fewer resamples are not to be believed; more than the most are idle work.
const LEAST_RESAMPLES: f64 = 500.0;
const MOST_RESAMPLES: f64 = 100_000.0;
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

impl SearchOptions {
    fn check(&self) -> Result<(), ConfigError> {
        let highest = self.highest_rate;
        let shortest = self.step_seconds_at_least;
        let ranges = [
            ("highest_rate", highest, LEAST_RATE, MOST_RATE),
            ("lowest_rate", self.lowest_rate, LEAST_RATE, highest),
            ("start_rate", self.start_rate, self.lowest_rate, highest),
            ("factor", self.factor, 1.1, 10.0),
            (
                "relative_width",
                self.relative_width,
                LEAST_RELATIVE_WIDTH,
                0.5,
            ),
            (
                "relative_half_width",
                self.relative_half_width,
                LEAST_RELATIVE_WIDTH,
                0.5,
            ),
            (
                "step_seconds_at_least",
                shortest,
                LEAST_STEP_SECONDS,
                MOST_STEP_SECONDS,
            ),
            (
                "step_seconds_at_most",
                self.step_seconds_at_most,
                shortest,
                MOST_STEP_SECONDS,
            ),
            (
                "steps",
                self.steps as f64,
                LEAST_STEPS as f64,
                MOST_STEPS as f64,
            ),
            (
                "seconds",
                self.seconds,
                shortest,
                MOST_STEPS as f64 * MOST_STEP_SECONDS,
            ),
            (
                "resamples",
                self.resamples as f64,
                LEAST_RESAMPLES,
                MOST_RESAMPLES,
            ),
        ];
        for (option, value, least, most) in ranges {
            if !(value >= least && value <= most) {
                return Err(ConfigError::OutOfRange {
                    option,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
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
    #[error("option {option} is {value}, but must lie between {least} and {most}")]
    OutOfRange {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: f64,
        /// The least that makes sense.
        least: f64,
        /// The most.
        most: f64,
    },
}

impl SearchConfig {
    /// Checks options and takes the thresholds that can fail because of too much load. A threshold
    /// on the rate fails because of too little, and one of a stage has no stage here: they are not
    /// judged, and the result says so.
    pub fn new(options: SearchOptions, thresholds: &[Threshold]) -> Result<Self, ConfigError> {
        options.check()?;
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
