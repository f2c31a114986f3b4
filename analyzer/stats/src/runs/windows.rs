//! Comparing two windows of one autocorrelated series.
//!
//! Runs are compared in [`super`].

use super::pooled::Bounded;
use super::{Comparison, LEAST_VALUES, Metric, Options, Scale, too_little};
use crate::student::student_quantile;
use crate::{effective_size, finite, quantile};

/// Independent samples that each window must be worth, even if its memory is as long as its upper
/// confidence limit: an interval that is given only where the memory happened to look short would
/// not hold.
const LEAST_EFFECTIVE: f64 = 6.0;
/// Standard errors to that limit.
const GATE_ERRORS: f64 = 2.5;
/// Standard errors above the estimate at which the memory widens the interval.
const INTERVAL_ERRORS: f64 = 0.5;
/// Part of a window that the trimmed mean leaves out at each end.
const TRIM: f64 = 0.1;

/// Compares the level of window `b` with that of `a`, each in time order: relative to `a` where all
/// values are positive. NaN and infinities are left out. Too little data where a window is worth
/// fewer than six independent samples, or where a value is not positive.
pub fn compare_windows(a: &[f64], b: &[f64], options: &Options) -> Comparison {
    let (a, b) = (finite(a.iter().copied()), finite(b.iter().copied()));
    let positive = a.iter().chain(&b).all(|value| *value > 0.0);
    if a.len().min(b.len()) < LEAST_VALUES || !positive {
        return too_little(Metric::P50);
    }
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let (a, b) = (logs(&a), logs(&b));
    let (least, both) = (a.len().min(b.len()), (a.len() + b.len()) as f64);
    let memory = memory(&a, &b);
    let memory_error = ((1.0 - memory * memory) / both).sqrt();
    let longest = (memory + GATE_ERRORS * memory_error).min(1.0);
    if effective_size(least, longest) < LEAST_EFFECTIVE {
        return too_little(Metric::P50);
    }
    let cautious = memory + INTERVAL_ERRORS * memory_error;
    let (Some(of_a), Some(of_b)) = (Level::of(&a, cautious), Level::of(&b, cautious)) else {
        return too_little(Metric::P50);
    };
    let error = (of_a.variance + of_b.variance).sqrt();
    let freedom = of_a.effective + of_b.effective - 2.0;
    let half = student_quantile(0.5 + 0.5 * options.confidence, freedom) * error;
    let shift = of_b.mean - of_a.mean;
    let bounded = Bounded {
        shift,
        low: Some(shift - half),
        high: Some(shift + half),
    };
    let scale = Scale::new(options, a.len().min(b.len()));
    scale.bounded(Metric::P50, Some(bounded), 0.0)
}

/// A window's trimmed mean and its variance: Tukey and McLaughlin, "Less vulnerable confidence and
/// significance procedures for location" (1963), with the effective size.
struct Level {
    mean: f64,
    variance: f64,
    effective: f64,
}

impl Level {
    fn of(values: &[f64], memory: f64) -> Option<Self> {
        let mut scratch = values.to_vec();
        let (low, high) = (
            quantile(&mut scratch, TRIM)?,
            quantile(&mut scratch, 1.0 - TRIM)?,
        );
        let n = values.len() as f64;
        let cut = (n * TRIM).floor() as usize;
        scratch.sort_by(f64::total_cmp);
        let kept = &scratch[cut..values.len() - cut];
        let winsorised: Vec<f64> = values.iter().map(|value| value.clamp(low, high)).collect();
        let center = winsorised.iter().sum::<f64>() / n;
        let squares: f64 = winsorised
            .iter()
            .map(|value| (value - center).powi(2))
            .sum();
        let effective = effective_size(values.len(), memory);
        Some(Self {
            mean: kept.iter().sum::<f64>() / kept.len() as f64,
            variance: squares / (n - 1.0) / (1.0 - 2.0 * TRIM).powi(2) / effective,
            effective,
        })
    }
}

/// Lag-1 correlation of both windows about their own levels.
fn memory(a: &[f64], b: &[f64]) -> f64 {
    let of = |values: &[f64]| crate::lag1_of_ranks(values) * values.len() as f64;
    (of(a) + of(b)) / (a.len() + b.len()) as f64
}
