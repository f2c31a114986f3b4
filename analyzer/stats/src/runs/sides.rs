//! What each side's runs say on the log scale: a location for every run, how precisely its requests
//! determine it, and what is left of the requests once it is removed.

use super::spread::Estimate;
use crate::quantile;

/// Parts of a run's requests that the trimmed mean leaves out at its ends: outliers are slow far more
/// often than fast. It is 1.4 times as efficient as the median of lognormal latencies with a few slow
/// requests.
const TRIM_LOW: f64 = 0.05;
const TRIM_HIGH: f64 = 0.1;
/// Half-width of the quantile window from which the density at the median is taken.
const DENSITY_WINDOW: f64 = 0.1;
/// How many standard errors the medians' shift may differ from the trimmed means' before a change
/// of shape is assumed and the medians alone speak: 0.3 % of comparisons without such a change.
const SHAPE_LIMIT: f64 = 3.0;
/// Memory within runs is believed when it exceeds this many standard errors.
const MEMORY_LIMIT: f64 = 2.0;
/// Correlation beyond this is taken as this.
const MAX_MEMORY: f64 = 0.98;

/// One side: its runs' logarithms, in the order of measurement.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) runs: Vec<Vec<f64>>,
    trimmed: Vec<f64>,
    medians: Vec<f64>,
    /// How many requests count as one, because neighbours resemble each other.
    pub(super) inflation: f64,
    influence: Influence,
}

/// Variances of one request's influence on the estimates: divided by the number of requests they
/// are the estimates' variances. Hampel, "The influence curve and its role in robust estimation"
/// (1974).
#[derive(Debug, Clone, Copy)]
struct Influence {
    trimmed: f64,
    median: f64,
    /// Of the difference between the two.
    between: f64,
}

/// Estimates of the runs' locations, run by run.
pub(super) struct Locations {
    pub(super) a: Vec<Estimate>,
    pub(super) b: Vec<Estimate>,
}

impl Side {
    /// `None` where a run is empty or there is none.
    pub(super) fn new(runs: Vec<Vec<f64>>) -> Option<Self> {
        let mut trimmed = Vec::with_capacity(runs.len());
        let mut medians = Vec::with_capacity(runs.len());
        for run in &runs {
            let mut sorted = run.clone();
            sorted.sort_by(f64::total_cmp);
            trimmed.push(trimmed_mean(&sorted)?);
            medians.push(quantile(&mut sorted, 0.5)?);
        }
        let residuals = residuals(&runs, &trimmed);
        let inflation = inflation(&residuals);
        let mut pooled: Vec<f64> = residuals.concat();
        pooled.sort_by(f64::total_cmp);
        let influence = Influence::of(&pooled)?;
        Some(Self {
            runs,
            trimmed,
            medians,
            inflation,
            influence,
        })
    }

    pub(super) fn requests(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// What is left of each run's requests once its location is removed.
    pub(super) fn residuals(&self) -> Vec<Vec<f64>> {
        residuals(&self.runs, &self.trimmed)
    }

    fn estimates(&self, values: &[f64], influence: f64) -> Vec<Estimate> {
        let variance = |run: &Vec<f64>| influence * self.inflation / run.len() as f64;
        values
            .iter()
            .zip(&self.runs)
            .map(|(value, run)| Estimate {
                value: *value,
                variance: variance(run),
            })
            .collect()
    }

    /// Mean difference between medians and trimmed means over all runs, and its variance.
    fn skew(&self) -> (f64, f64) {
        let runs = self.runs.len() as f64;
        let differences = self.medians.iter().zip(&self.trimmed).map(|(m, t)| m - t);
        let variance: f64 = self
            .runs
            .iter()
            .map(|run| self.influence.between * self.inflation / run.len() as f64)
            .sum();
        (differences.sum::<f64>() / runs, variance / (runs * runs))
    }
}

/// Locations whose difference is the shift of the median. Where both sides have the same shape,
/// every location shifts alike and the most precise one serves; where the medians contradict it,
/// they serve themselves.
pub(super) fn locations(a: &Side, b: &Side) -> Locations {
    let ((skew_a, variance_a), (skew_b, variance_b)) = (a.skew(), b.skew());
    let same_shape = (skew_b - skew_a).powi(2) <= SHAPE_LIMIT.powi(2) * (variance_a + variance_b);
    let of = |side: &Side| {
        if same_shape {
            side.estimates(&side.trimmed, side.influence.trimmed)
        } else {
            side.estimates(&side.medians, side.influence.median)
        }
    };
    Locations { a: of(a), b: of(b) }
}

impl Influence {
    /// From pooled, sorted residuals.
    fn of(sorted: &[f64]) -> Option<Self> {
        let mut values = sorted.to_vec();
        let mut at = |p: f64| quantile(&mut values, p);
        let (low, high, middle) = (at(TRIM_LOW)?, at(1.0 - TRIM_HIGH)?, at(0.5)?);
        let window = at(0.5 + DENSITY_WINDOW)? - at(0.5 - DENSITY_WINDOW)?;
        let half_inverse_density = window / (4.0 * DENSITY_WINDOW);
        let n = sorted.len() as f64;
        let winsorised = |x: f64| x.clamp(low, high) / (1.0 - TRIM_LOW - TRIM_HIGH);
        let sign = |x: f64| f64::from(i8::from(x > middle) - i8::from(x < middle));
        let median = |x: f64| sign(x) * half_inverse_density;
        let variance = |f: &dyn Fn(f64) -> f64| {
            let mean: f64 = sorted.iter().map(|x| f(*x)).sum::<f64>() / n;
            let squares: f64 = sorted.iter().map(|x| (f(*x) - mean).powi(2)).sum();
            squares / (n - 1.0).max(1.0)
        };
        Some(Self {
            trimmed: variance(&winsorised),
            median: variance(&median),
            between: variance(&|x| median(x) - winsorised(x)),
        })
    }
}

fn trimmed_mean(sorted: &[f64]) -> Option<f64> {
    let cut = |part: f64| (sorted.len() as f64 * part).floor() as usize;
    let kept = &sorted[cut(TRIM_LOW)..sorted.len() - cut(TRIM_HIGH)];
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
}

fn residuals(runs: &[Vec<f64>], locations: &[f64]) -> Vec<Vec<f64>> {
    runs.iter()
        .zip(locations)
        .map(|(run, location)| run.iter().map(|value| value - location).collect())
        .collect()
}

/// `(1 + r) / (1 - r)` of the requests' lag-1 correlation within runs (see
/// [`crate::effective_size`]), 1 where it is no more than chance.
fn inflation(residuals: &[Vec<f64>]) -> f64 {
    let mut pooled: Vec<f64> = residuals.concat();
    let (Some(low), Some(high)) = (
        quantile(&mut pooled, TRIM_LOW),
        quantile(&mut pooled, 1.0 - TRIM_HIGH),
    ) else {
        return 1.0;
    };
    let (mut products, mut squares, mut steps) = (0.0, 0.0, 0.0);
    for run in residuals {
        let bounded: Vec<f64> = run.iter().map(|value| value.clamp(low, high)).collect();
        let mean = bounded.iter().sum::<f64>() / bounded.len() as f64;
        squares += bounded.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        for pair in bounded.windows(2) {
            products += (pair[0] - mean) * (pair[1] - mean);
            steps += 1.0;
        }
    }
    let correlation = if squares > 0.0 {
        products / squares
    } else {
        0.0
    };
    if correlation <= MEMORY_LIMIT / f64::sqrt(f64::max(steps, 1.0)) {
        return 1.0;
    }
    let correlation = correlation.min(MAX_MEMORY);
    (1.0 + correlation) / (1.0 - correlation)
}
