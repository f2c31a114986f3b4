//! Comparing counts: events per time, and failures among requests.
//!
//! Latencies are compared in [`super`].

use super::spread::Estimate;
use super::{Comparison, LEAST_VALUES, Metric, Options, Scale, Verdict, posterior, too_little};
use crate::distribution::normal_quantile;
use crate::student::student_quantile;

/// Events of one run in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateCount {
    /// How many events.
    pub events: u64,
    /// In how many seconds.
    pub seconds: f64,
}

/// Failures of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCount {
    /// Failed requests.
    pub failed: u64,
    /// All requests.
    pub requests: u64,
}

/// Compares events per time. Within a run they count as a Poisson process, of which the logarithm
/// of the rate has variance `1 / events`; the spread between runs is estimated as that of
/// latencies. Runs without events or time are left out.
pub fn compare_rates(a: &[RateCount], b: &[RateCount], options: &Options) -> Comparison {
    let usable = |run: &RateCount| run.events > 0 && run.seconds.is_finite() && run.seconds > 0.0;
    let estimate = |run: &RateCount| Estimate {
        value: (run.events as f64 / run.seconds).ln(),
        variance: 1.0 / run.events as f64,
    };
    let estimates = |runs: &[RateCount]| -> Vec<Estimate> {
        runs.iter()
            .filter(|run| usable(run))
            .map(estimate)
            .collect()
    };
    let (a, b) = (estimates(a), estimates(b));
    posterior(&a, &b, options).map_or(too_little(Metric::Rate), |found| {
        let scale = Scale::new(options, a.len().min(b.len()));
        scale.normal(Metric::Rate, &found, options.false_alarms)
    })
}

/// One side's failures.
struct Failures {
    share: f64,
    /// Bounds of Wilson's interval.
    low: f64,
    high: f64,
}

/// Compares failures per request, in percentage points; the minimum effect is in points as well.
/// Newcombe, "Interval estimation for the difference between independent proportions" (1998),
/// method 10, the number of requests divided by the dispersion between runs. Runs without requests
/// are left out; more failures than requests count as all of them.
pub fn compare_errors(a: &[ErrorCount], b: &[ErrorCount], options: &Options) -> Comparison {
    let usable = |runs: &[ErrorCount]| -> Vec<(f64, f64)> {
        let some = runs.iter().filter(|run| run.requests > 0);
        some.map(|run| (run.failed.min(run.requests) as f64, run.requests as f64))
            .collect()
    };
    let (a, b) = (usable(a), usable(b));
    let requests = |runs: &[(f64, f64)]| runs.iter().map(|run| run.1).sum::<f64>();
    if a.is_empty() || b.is_empty() || requests(&a).min(requests(&b)) < LEAST_VALUES as f64 {
        return too_little(Metric::ErrorRate);
    }
    let (dispersion, freedom) = dispersion(&a, &b);
    let tail = 0.5 * (1.0 - options.confidence);
    // Without dispersion the binomial's variance is known and the normal quantile serves.
    let critical = if dispersion > 1.0 {
        student_quantile(1.0 - tail, freedom)
    } else {
        normal_quantile(1.0 - tail)
    };
    let (of_a, of_b) = (
        wilson(&a, dispersion, critical),
        wilson(&b, dispersion, critical),
    );
    let shift = of_b.share - of_a.share;
    let below = (of_b.share - of_b.low).hypot(of_a.high - of_a.share);
    let above = (of_b.high - of_b.share).hypot(of_a.share - of_a.low);
    let (low, high) = (shift - below, shift + above);
    let gate = options.min_effect_pct.max(0.0) / 100.0;
    let scale = Scale::new(options, a.len().min(b.len()));
    let verdict = if low > gate {
        scale.direction(1.0)
    } else if high < -gate {
        scale.direction(-1.0)
    } else {
        Verdict::NoChange
    };
    let found = below * (1.0 + normal_quantile(super::POWER) / critical);
    let gap = shift.abs() - gate;
    let needed = scale.runs as f64 * ((found / gap).powi(2) - 1.0);
    let advised = needed.ceil().max(1.0);
    let unsettled = verdict == Verdict::NoChange && advised <= super::MOST_FURTHER_RUNS;
    Comparison {
        metric: Metric::ErrorRate,
        verdict,
        effect_pct: Some(100.0 * shift),
        ci_lo_pct: Some(100.0 * low),
        ci_hi_pct: Some(100.0 * high),
        detectable_pct: Some(100.0 * (gate + found)),
        // At most a thousand, so it fits.
        more_runs: unsettled.then_some(advised as usize),
    }
}

/// Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
fn wilson(runs: &[(f64, f64)], dispersion: f64, critical: f64) -> Failures {
    let failed: f64 = runs.iter().map(|run| run.0).sum();
    let requests: f64 = runs.iter().map(|run| run.1).sum();
    let share = failed / requests;
    let n = requests / dispersion;
    let square = critical * critical / n;
    let middle = share + 0.5 * square;
    let half = (square * (share * (1.0 - share) + 0.25 * square)).sqrt();
    Failures {
        share,
        low: ((middle - half) / (1.0 + square)).clamp(0.0, share),
        high: ((middle + half) / (1.0 + square)).clamp(share, 1.0),
    }
}

/// Pearson's chi-square of the runs over its degrees of freedom, at least 1: McCullagh and Nelder,
/// "Generalized linear models" (1989), 4.5.
fn dispersion(a: &[(f64, f64)], b: &[(f64, f64)]) -> (f64, f64) {
    let (mut square, mut freedom) = (0.0, 0.0);
    for side in [a, b] {
        let share =
            side.iter().map(|run| run.0).sum::<f64>() / side.iter().map(|run| run.1).sum::<f64>();
        let variance = share * (1.0 - share);
        if side.len() > 1 && variance > 0.0 {
            freedom += side.len() as f64 - 1.0;
            square += side
                .iter()
                .map(|run| (run.0 - run.1 * share).powi(2) / (run.1 * variance))
                .sum::<f64>();
        }
    }
    if freedom > 0.0 {
        ((square / freedom).max(1.0), freedom)
    } else {
        (1.0, 1.0)
    }
}
