//! Places where a change may be: seeded binary segmentation of the cleaned series.
//!
//! Kovács, Bühlmann, Li and Munk, "Seeded binary segmentation: a general methodology for fast and
//! optimal changepoint detection" (2023). The candidates only tell which parts of a series may
//! have levels of their own, so that the noise can be learnt around them; the scan decides.

use super::grid::PER_SIGMA;
use super::memory::{autoregression, correlations};

/// Each layer of intervals is this much shorter than the one before.
const DECAY: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// A sample further than this many deviations from the median of it and its neighbours is moved.
const SPIKE: f64 = 2.5;
/// Penalty of a candidate in units of the long-run variance times the logarithm of the length.
const PENALTY: f64 = 3.0;
/// Log-likelihood that a level has to be worth, in units of the logarithm of the length: half for
/// each of its place, its size, and once more for the choice among many.
const PRICE: f64 = 1.0;
/// Largest autocorrelation between neighbours.
const MAX_MEMORY: f64 = 0.9;

/// The first samples of the parts, without the first part.
pub(super) fn split(cells: &[i32], min_side: usize) -> Vec<usize> {
    let cleaned = cleaned(cells);
    let n = cleaned.len();
    let (variance, long_run) = variances(&cleaned);
    let penalty = PENALTY * long_run * (n as f64).ln();
    let mut sums = Vec::with_capacity(n + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for value in &cleaned {
        sum += value;
        sums.push(sum);
    }
    let squares: f64 = cleaned.iter().map(|value| value * value).sum();
    if squares - sum * sum / n as f64 <= variance * n as f64 + penalty {
        // No split can explain more than the noise does not.
        return Vec::new();
    }
    let inverse: Vec<f64> = (0..=n).map(|length| 1.0 / length as f64).collect();
    let mut found = Vec::new();
    let mut length = n as f64;
    while length >= 2.0 * min_side as f64 {
        let count = if length >= n as f64 {
            1.0
        } else {
            2.0 * (n as f64 / length).ceil() - 1.0
        };
        let shift = if count > 1.0 {
            (n as f64 - length) / (count - 1.0)
        } else {
            0.0
        };
        for step in 0..count as usize {
            let from = (step as f64 * shift).floor() as usize;
            let to = ((step as f64 * shift + length).ceil() as usize).min(n);
            if let Some((gain, at)) = strongest(&sums, &inverse, (from, to), min_side)
                && gain > penalty
            {
                found.push((gain, at, from, to));
            }
        }
        length *= DECAY;
    }
    worthwhile(&cleaned, &sums, chosen(found, &sums, penalty))
}

/// Of the splits and what is left as the weakest are dropped, the ones whose levels foretell the
/// samples best for their number; none where memory foretells as well: then the series wanders,
/// and levels would only follow it.
fn worthwhile(cleaned: &[f64], sums: &[f64], mut splits: Vec<usize>) -> Vec<usize> {
    let n = cleaned.len() as f64;
    let alone = innovations(cleaned, &[]);
    let mut best = (0.0, Vec::new());
    while !splits.is_empty() {
        let better = (alone / innovations(cleaned, &splits).max(f64::MIN_POSITIVE)).ln();
        let worth = 0.5 * n * better - PRICE * n.ln() * splits.len() as f64;
        if worth > best.0 {
            best = (worth, splits.clone());
        }
        let weakest = weakest(&splits, sums);
        splits.remove(weakest.1);
    }
    best.1
}

/// The sum of squares of what neither the levels nor the memory around them foretell.
fn innovations(cleaned: &[f64], splits: &[usize]) -> f64 {
    let mut residuals = Vec::with_capacity(cleaned.len());
    let mut from = 0;
    for to in splits.iter().copied().chain([cleaned.len()]) {
        let part = &cleaned[from..to];
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        residuals.extend(part.iter().map(|value| value - mean));
        from = to;
    }
    let squares: f64 = residuals.iter().map(|value| value * value).sum();
    squares * autoregression(&correlations(&residuals), residuals.len()).innovation
}

/// The greedy choice: the strongest first, then those whose interval holds no chosen one.
fn chosen(mut found: Vec<(f64, usize, usize, usize)>, sums: &[f64], penalty: f64) -> Vec<usize> {
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut splits: Vec<usize> = Vec::new();
    for (_, at, from, to) in found {
        let place = splits.partition_point(|split| *split < at);
        let free_left = place == 0 || splits[place - 1] <= from;
        let free_right = place == splits.len() || splits[place] >= to;
        if free_left && free_right {
            splits.insert(place, at);
        }
    }
    // Neighbours may have been chosen for one and the same step.
    while !splits.is_empty() {
        let (gain, place) = weakest(&splits, sums);
        if gain >= penalty {
            break;
        }
        splits.remove(place);
    }
    splits
}

/// The least gain of a split between its neighbours, and its place among the splits.
fn weakest(splits: &[usize], sums: &[f64]) -> (f64, usize) {
    let mut weakest = (f64::INFINITY, 0);
    for place in 0..splits.len() {
        let from = if place == 0 { 0 } else { splits[place - 1] };
        let to = splits.get(place + 1).copied().unwrap_or(sums.len() - 1);
        let gain = gain(sums, from, splits[place], to);
        if gain < weakest.0 {
            weakest = (gain, place);
        }
    }
    weakest
}

/// By how much a split lowers the sum of squares.
fn gain(sums: &[f64], from: usize, at: usize, to: usize) -> f64 {
    let (left, right) = ((at - from) as f64, (to - at) as f64);
    let all = left + right;
    let excess = sums[at] - sums[from] - (sums[to] - sums[from]) * left / all;
    excess * excess * all / (left * right)
}

/// The split of an interval that gains most. `inverse[k]` is `1 / k`.
fn strongest(
    sums: &[f64],
    inverse: &[f64],
    (from, to): (usize, usize),
    min_side: usize,
) -> Option<(f64, usize)> {
    let last = (to - from).checked_sub(min_side)?;
    let mean = (sums[to] - sums[from]) * inverse[to - from];
    let mut best = (f64::NEG_INFINITY, 0);
    let places = sums.get(from + min_side..=from + last)?;
    for (left, sum) in (min_side..).zip(places) {
        let excess = sum - sums[from] - mean * left as f64;
        let gain = excess * excess * (inverse[left] + inverse[to - from - left]);
        if gain > best.0 {
            best = (gain, from + left);
        }
    }
    (best.1 > 0).then_some(best)
}

/// The samples with spikes drawn to their neighbours.
fn cleaned(cells: &[i32]) -> Vec<f64> {
    let reach = (SPIKE * PER_SIGMA) as i32;
    (0..cells.len())
        .map(|place| {
            let here = cells[place];
            let before = cells[place.saturating_sub(1)];
            let after = cells[(place + 1).min(cells.len() - 1)];
            let median = before.min(after).max(before.max(after).min(here));
            f64::from(here.clamp(median - reach, median + reach))
        })
        .collect()
}

/// The variance and the long-run variance of an AR(1) process with these differences over one and two steps, which
/// sparse changes of the level hardly touch.
fn variances(values: &[f64]) -> (f64, f64) {
    let variogram = |lag: usize| {
        let sum: f64 = values[lag..]
            .iter()
            .zip(values)
            .map(|(late, early)| (late - early).powi(2).min(40.0 * PER_SIGMA * PER_SIGMA))
            .sum();
        0.5 * sum / (values.len() - lag) as f64
    };
    let (one, two) = (variogram(1), variogram(2));
    if one <= 0.0 {
        return (1.0, 1.0);
    }
    let memory = (two / one - 1.0).clamp(0.0, MAX_MEMORY);
    let variance = one / (1.0 - memory);
    (variance, variance * (1.0 + memory) / (1.0 - memory))
}
