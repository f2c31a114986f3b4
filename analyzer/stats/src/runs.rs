//! Comparing load-test runs: by how much one side is slower, how sure that is, and what would have
//! been seen.
//!
//! A side is a list of runs, a run a list of latencies. Requests of one run resemble each other more
//! than those of two, so runs count, not requests. Verdicts on all metrics of one comparison share
//! one false-alarm budget: the centre and the tail are tested, and only when one of them moved do
//! the other metrics have a say. Reading runs and writing findings is left to the analyzer.

mod counts;
mod past;
mod pooled;
mod sides;
mod spread;
mod tail;
mod windows;

pub use counts::{ErrorCount, RateCount, compare_errors, compare_rates};
pub use past::{AgainstPast, LEAST_PAST_RUNS, against_past};
pub use windows::compare_windows;

use crate::distribution::normal_quantile;
use sides::Side;
use spread::{Estimate, Posterior, Prior};

/// Sides with fewer requests or samples than this are not judged.
const LEAST_VALUES: usize = 6;
/// Parts of the false-alarm budget that the tests of the centre and of the tail have.
const CENTRE_SHARE: f64 = 0.78;
const TAIL_SHARE: f64 = 0.22;
/// The probability with which the minimum detectable effect would have been found.
const POWER: f64 = 0.8;
/// More further runs than this are no advice.
const MOST_FURTHER_RUNS: f64 = 1_000.0;
/// Effects beyond `e^±700` are not represented.
const MOST_LOG: f64 = 700.0;

/// Interleaved runs share the drift of their environment: what is left to each run is smaller. Few
/// runs hide a part of their spread; expecting large ones makes p-values hold at each spread, not
/// only on average, and costs less power than a smaller level (`compare_rates`).
const INTERLEAVED: Prior = Prior {
    none: 0.03,
    scale: 0.05,
    tail: 2.0,
    own: 1.4,
    shared: 3.0,
};
/// Runs apart from each other: the whole spread is theirs. Nearly flat, so that p-values hold however
/// large it is.
const APART: Prior = Prior {
    none: 0.01,
    scale: 0.1,
    tail: 0.5,
    own: 1.0,
    shared: 1.0,
};

/// How the runs of the two sides were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Design {
    /// Run `i` of one side right before or after run `i` of the other: drift moves both. Where the
    /// numbers of runs differ, they count as apart.
    #[default]
    Interleaved,
    /// One side after the other, or on other machines.
    Apart,
}

/// The direction in which worse lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Worse {
    /// More is worse: latencies, errors.
    #[default]
    Higher,
    /// Less is worse: throughput.
    Lower,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Of the intervals, between 0 and 1. Default 0.99.
    pub confidence: f64,
    /// The probability that a comparison without any change says that there is one. Default 0.01.
    pub false_alarms: f64,
    /// Changes that may be smaller than this do not count: the interval's bound must lie beyond it.
    /// In percent, 0 or more. Default 0.
    pub min_effect_pct: f64,
    /// Default: higher.
    pub worse: Worse,
    /// Default: interleaved.
    pub design: Design,
    /// Standard deviation of the effect that a run has on all of its requests, as a part (0.03 is
    /// 3 %), where it is known from earlier runs. Without it each side needs two runs.
    pub run_deviation: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            confidence: 0.99,
            false_alarms: 0.01,
            min_effect_pct: 0.0,
            worse: Worse::Higher,
            design: Design::Interleaved,
            run_deviation: None,
        }
    }
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Worse, by more than the minimum effect.
    Regression,
    /// Better, by more than the minimum effect.
    Improvement,
    /// No change is shown; [`Comparison::detectable_pct`] says what would have been.
    NoChange,
    /// No interval can be given.
    TooLittleData,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The median latency.
    P50,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The mean latency.
    Mean,
    /// Events per time.
    Rate,
    /// Failed requests per request; its effects are in percentage points.
    ErrorRate,
}

/// What is said of one metric. Effects are relative to `a`, in percent (percentage points of an
/// error rate).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// What is compared.
    pub metric: Metric,
    /// The verdict.
    pub verdict: Verdict,
    /// The estimated change; `None` where there is nothing to estimate it from.
    pub effect_pct: Option<f64>,
    /// Lower bound of the interval; `None` where no bound can be given.
    pub ci_lo_pct: Option<f64>,
    /// Upper bound, likewise.
    pub ci_hi_pct: Option<f64>,
    /// The change for the worse that would have been found with a probability of 80 %.
    pub detectable_pct: Option<f64>,
    /// Without a change: how many more runs per side (samples, of windows) would probably show one
    /// of the estimated size, or that it is below the minimum effect. `None` beyond 1,000.
    pub more_runs: Option<usize>,
}

/// All metrics of a comparison of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// p50, p95, p99 and mean, in this order.
    pub metrics: Vec<Comparison>,
    /// The p-value of the centre's test.
    pub centre_p_value: Option<f64>,
    /// The p-value of the tail's test, the shift of the centre removed.
    pub tail_p_value: Option<f64>,
    /// Runs of each side that had requests.
    pub runs: [usize; 2],
    /// Latencies left out because they were not positive finite numbers.
    pub left_out: usize,
}

impl RunComparison {
    /// What is said of this metric.
    pub fn get(&self, metric: Metric) -> Option<&Comparison> {
        self.metrics.iter().find(|found| found.metric == metric)
    }
}

/// Compares `b` with the baseline `a`, each a list of runs in the order of measurement. Latencies
/// that are not positive finite numbers, and runs without any, are left out.
pub fn compare(a: &[Vec<f64>], b: &[Vec<f64>], options: &Options) -> RunComparison {
    let (logs_a, logs_b) = (logarithms(a), logarithms(b));
    let kept = |runs: &[Vec<f64>]| runs.iter().map(Vec::len).sum::<usize>();
    let left_out = kept(a) + kept(b) - kept(&logs_a) - kept(&logs_b);
    // A pair of which one run is missing has lost its partner, not its place.
    let (logs_a, logs_b) = drop_empty(logs_a, logs_b);
    let runs = [logs_a.len(), logs_b.len()];
    let result = RunComparison {
        metrics: [Metric::P50, Metric::P95, Metric::P99, Metric::Mean]
            .map(too_little)
            .to_vec(),
        centre_p_value: None,
        tail_p_value: None,
        runs,
        left_out,
    };
    match (Side::new(logs_a), Side::new(logs_b)) {
        (Some(a), Some(b)) if a.requests().min(b.requests()) >= LEAST_VALUES => {
            judged(&a, &b, options, result)
        }
        _ => result,
    }
}

fn judged(a: &Side, b: &Side, options: &Options, mut result: RunComparison) -> RunComparison {
    let locations = sides::locations(a, b);
    let Some(centre) = posterior(&locations.a, &locations.b, options) else {
        return result;
    };
    let scale = Scale::new(options, a.runs.len().min(b.runs.len()));
    let centre_alpha = options.false_alarms * CENTRE_SHARE;
    let tail_alpha = options.false_alarms * TAIL_SHARE;
    result.centre_p_value = Some(two_sided(&centre, 0.0));
    let mut p50 = scale.normal(Metric::P50, &centre, centre_alpha);
    let far = |p| pooled::shift(a, b, &centre, p, options.confidence);
    let mut p95 = scale.bounded(Metric::P95, far(0.95), centre.standard_error());
    let mut p99 = scale.bounded(Metric::P99, far(0.99), centre.standard_error());
    let (tail_p_value, tail_verdict) = tail_verdict(a, b, &scale, tail_alpha);
    result.tail_p_value = tail_p_value;
    let mean = posterior(&means(a), &means(b), options);
    let mut mean = mean.map_or(too_little(Metric::Mean), |mean| {
        scale.normal(Metric::Mean, &mean, 1.0 - options.confidence)
    });
    let changed = |verdict| matches!(verdict, Verdict::Regression | Verdict::Improvement);
    let tail_agrees = p99
        .effect_pct
        .is_some_and(|effect| tail_verdict == scale.direction(effect) && changed(tail_verdict));
    if !changed(p50.verdict) && !tail_agrees {
        for other in [&mut p95, &mut p99, &mut mean] {
            if changed(other.verdict) {
                other.verdict = Verdict::NoChange;
            }
        }
    }
    // The tail's test needs no bound of the p99 itself.
    if tail_agrees || (!changed(p99.verdict) && tail_p_value.is_some()) {
        p99.verdict = if tail_agrees {
            tail_verdict
        } else {
            Verdict::NoChange
        };
    }
    for metric in [&mut p50, &mut p95, &mut p99, &mut mean] {
        if changed(metric.verdict) {
            metric.more_runs = None;
        }
    }
    result.metrics = vec![p50, p95, p99, mean];
    result
}

/// The tail's p-value without a minimum effect, and its verdict with it.
fn tail_verdict(a: &Side, b: &Side, scale: &Scale<'_>, alpha: f64) -> (Option<f64>, Verdict) {
    let (residuals_a, residuals_b) = (a.residuals(), b.residuals());
    let at = |by: f64| tail::score(&residuals_a, &residuals_b, by);
    let Some(plain) = at(0.0) else {
        return (None, Verdict::TooLittleData);
    };
    let gate = if plain.z > 0.0 {
        scale.gate_up
    } else {
        scale.gate_down
    };
    let gated = if gate == 0.0 { Some(plain) } else { at(gate) };
    let found = gated.is_some_and(|score| score.p_value < alpha && score.z * plain.z > 0.0);
    let verdict = if found {
        scale.direction(plain.z)
    } else {
        Verdict::NoChange
    };
    (Some(plain.p_value), verdict)
}

/// The logarithms of the runs' means, with the variance that their requests give them.
fn means(side: &Side) -> Vec<Estimate> {
    let mean = |run: &Vec<f64>| run.iter().map(|log| log.exp()).sum::<f64>() / run.len() as f64;
    let of_runs: Vec<f64> = side.runs.iter().map(mean).collect();
    let squares: f64 = side
        .runs
        .iter()
        .zip(&of_runs)
        .map(|(run, mean)| {
            run.iter()
                .map(|log| (log.exp() / mean - 1.0).powi(2))
                .sum::<f64>()
        })
        .sum();
    let freedom = (side.requests() - side.runs.len()).max(1) as f64;
    let variance = squares / freedom * side.inflation;
    of_runs
        .iter()
        .zip(&side.runs)
        .map(|(mean, run)| Estimate {
            value: mean.ln(),
            variance: variance / run.len() as f64,
        })
        .collect()
}

fn posterior(a: &[Estimate], b: &[Estimate], options: &Options) -> Option<Posterior> {
    if let Some(deviation) = options.run_deviation {
        return spread::known(a, b, deviation);
    }
    if a.len().min(b.len()) < 2 {
        return None;
    }
    match options.design {
        Design::Interleaved if a.len() == b.len() => spread::paired(a, b, &INTERLEAVED),
        _ => spread::independent(a, b, &APART),
    }
}

fn two_sided(posterior: &Posterior, at: f64) -> f64 {
    let below = posterior.below(at);
    (2.0 * below.min(1.0 - below)).min(1.0)
}

fn too_little(metric: Metric) -> Comparison {
    Comparison {
        metric,
        verdict: Verdict::TooLittleData,
        effect_pct: None,
        ci_lo_pct: None,
        ci_hi_pct: None,
        detectable_pct: None,
        more_runs: None,
    }
}

fn logarithms(runs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let usable = |value: &&f64| value.is_finite() && **value > 0.0;
    let of_run = |run: &Vec<f64>| run.iter().filter(usable).map(|value| value.ln()).collect();
    runs.iter().map(of_run).collect()
}

/// Leaves out runs without requests; of pairs, both.
fn drop_empty(a: Vec<Vec<f64>>, b: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let full = |run: &Vec<f64>| !run.is_empty();
    if a.len() == b.len() {
        let pairs = a.into_iter().zip(b);
        return pairs.filter(|(a, b)| full(a) && full(b)).unzip();
    }
    let keep = |side: Vec<Vec<f64>>| side.into_iter().filter(full).collect();
    (keep(a), keep(b))
}

/// Turns shifts on the log scale into percent and verdicts.
struct Scale<'a> {
    options: &'a Options,
    runs: usize,
    /// The logarithms of the least effects that count, upwards and downwards.
    gate_up: f64,
    gate_down: f64,
}

impl<'a> Scale<'a> {
    fn new(options: &'a Options, runs: usize) -> Self {
        let gate = options.min_effect_pct.max(0.0) / 100.0;
        Self {
            options,
            runs,
            gate_up: gate.ln_1p(),
            gate_down: (-gate.min(1.0 - f64::EPSILON)).ln_1p(),
        }
    }

    /// What a change in this direction is.
    fn direction(&self, change: f64) -> Verdict {
        match (change > 0.0, self.options.worse) {
            (true, Worse::Higher) | (false, Worse::Lower) => Verdict::Regression,
            _ => Verdict::Improvement,
        }
    }

    /// The verdict of two bounds on the log scale.
    fn verdict(&self, low: Option<f64>, high: Option<f64>) -> Verdict {
        match (low, high) {
            (Some(low), _) if low > self.gate_up => self.direction(1.0),
            (_, Some(high)) if high < self.gate_down => self.direction(-1.0),
            (None, _) | (_, None) => Verdict::TooLittleData,
            _ => Verdict::NoChange,
        }
    }

    /// A metric with a posterior, tested at this level.
    fn normal(&self, metric: Metric, posterior: &Posterior, alpha: f64) -> Comparison {
        let tail = 0.5 * (1.0 - self.options.confidence);
        let shift = posterior.mean();
        let reach = shift - posterior.quantile(0.5 * alpha);
        let tested = (
            posterior.quantile(0.5 * alpha),
            posterior.quantile(1.0 - 0.5 * alpha),
        );
        self.comparison(
            metric,
            (
                shift,
                Some(posterior.quantile(tail)),
                Some(posterior.quantile(1.0 - tail)),
            ),
            self.verdict(Some(tested.0), Some(tested.1)),
            Some((reach, posterior.standard_error())),
        )
    }

    /// A metric with bounds.
    fn bounded(&self, metric: Metric, bounded: Option<pooled::Bounded>, least: f64) -> Comparison {
        let Some(found) = bounded else {
            return too_little(metric);
        };
        let half = found
            .low
            .zip(found.high)
            .map(|(low, high)| 0.5 * (high - low));
        let critical = normal_quantile(0.5 + 0.5 * self.options.confidence);
        self.comparison(
            metric,
            (found.shift, found.low, found.high),
            self.verdict(found.low, found.high),
            half.map(|half| (half, (half / critical).max(least))),
        )
    }

    fn comparison(
        &self,
        metric: Metric,
        (shift, low, high): (f64, Option<f64>, Option<f64>),
        verdict: Verdict,
        reach: Option<(f64, f64)>,
    ) -> Comparison {
        let found = reach.map(|(half, error)| half + normal_quantile(POWER) * error);
        let towards_worse = |by: f64| match self.options.worse {
            Worse::Higher => percent(self.gate_up + by),
            Worse::Lower => percent(self.gate_down - by),
        };
        Comparison {
            metric,
            verdict,
            effect_pct: Some(percent(shift)),
            ci_lo_pct: low.map(percent),
            ci_hi_pct: high.map(percent),
            detectable_pct: found.map(towards_worse),
            more_runs: found.and_then(|found| self.more_runs(shift, found)),
        }
    }

    /// Distances shrink with the root of the number of runs.
    fn more_runs(&self, shift: f64, found: f64) -> Option<usize> {
        let gate = if shift > 0.0 {
            self.gate_up
        } else {
            self.gate_down
        };
        let needed = self.runs as f64 * (found / (shift - gate)).powi(2);
        let further = (needed - self.runs as f64).ceil().max(1.0);
        // At most a thousand, so it fits.
        (further <= MOST_FURTHER_RUNS).then_some(further as usize)
    }
}

fn percent(log: f64) -> f64 {
    100.0 * log.clamp(-MOST_LOG, MOST_LOG).exp_m1()
}

#[cfg(test)]
mod tests;
