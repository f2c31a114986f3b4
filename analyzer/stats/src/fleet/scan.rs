//! Where one series steps: a CUSUM over seeded intervals, with a p-value after selection.

use super::noise_model::{NoiseModel, ln_tail};
use super::prepare::leave_out_incidents;

/// Lengths of neighbouring layers of intervals stand in this ratio: `1/√2` of Kovács, Bühlmann, Li
/// and Munk, "Seeded binary segmentation" (2023).
const DECAY: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// The shortest interval, in the least number of samples per side.
const SHORTEST_IN_SIDES: usize = 4;
/// Samples this many robust standard deviations from the running median are left out: at the
/// average of a group an incident stands out further than in its series.
const INCIDENT_SIGMAS: f64 = 5.0;

/// A step in a series, in places of the grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// The first sample of the new level.
    pub(super) at: usize,
    /// The first sample of the interval on which it is clearest.
    pub(super) from: usize,
    /// One past the last sample of that interval.
    pub(super) to: usize,
    /// The CUSUM in the unit of the series.
    statistic: f64,
    /// The noise around the levels that the interval and the step leave.
    pub(super) noise: NoiseModel,
    /// Samples on the interval, the least number per side, and intervals that were looked at.
    samples: usize,
    side: usize,
    intervals: usize,
}

impl Step {
    /// Natural logarithm of the probability that noise with at least this memory
    /// ([`NoiseModel::ratio`]) shows as much anywhere in this series: by Bonferroni over the
    /// intervals, each of which could have shown it.
    pub(super) fn ln_p(&self, ratio: f64) -> f64 {
        let z = self.noise.at_least(ratio).deviate(self.statistic);
        (ln_tail(z, self.samples, self.side) + (self.intervals as f64).ln()).min(0.0)
    }
}

/// The known samples of a series, and their places on the grid.
pub(super) struct Dense {
    pub(super) places: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl Dense {
    /// Without gaps and without incidents of up to `incident` samples.
    pub(super) fn new(mut series: Vec<f64>, incident: usize) -> Self {
        leave_out_incidents(&mut series, incident, INCIDENT_SIGMAS);
        let places: Vec<usize> = (0..series.len())
            .filter(|i| series[*i].is_finite())
            .collect();
        let values = places.iter().map(|i| series[*i]).collect();
        Self { places, values }
    }

    /// The number of known samples before a place of the grid.
    pub(super) fn rank(&self, place: usize) -> usize {
        self.places.partition_point(|p| *p < place)
    }

    /// Mean over known samples `from..to`.
    pub(super) fn mean(&self, from: usize, to: usize) -> f64 {
        self.values[from..to].iter().sum::<f64>() / (to - from) as f64
    }

    /// The noise around a level that changes at these ranks (ascending).
    pub(super) fn noise(&self, changes: &[usize]) -> Option<NoiseModel> {
        let mut residuals = Vec::with_capacity(self.values.len());
        let mut from = 0;
        let mut levels = 0;
        for to in changes.iter().copied().chain([self.values.len()]) {
            if to > from {
                let mean = self.mean(from, to);
                residuals.extend(self.values[from..to].iter().map(|v| v - mean));
                levels += 1;
                from = to;
            }
        }
        NoiseModel::estimate(&residuals, levels)
    }
}

/// The clearest step of a series, however likely under noise; `None` where it is too short or does
/// not vary.
pub(super) fn clearest_step(series: &Dense, side: usize) -> Option<Step> {
    let side = side.max(2);
    let n = series.values.len();
    if n < SHORTEST_IN_SIDES * side {
        return None;
    }
    let sums = prefix_sums(&series.values);
    let inverse: Vec<f64> = (0..=n).map(|i| 1.0 / i.max(1) as f64).collect();
    let intervals = seeded_intervals(n, SHORTEST_IN_SIDES * side);
    let mut best = (0.0, side, 0, n);
    for &(from, to) in &intervals {
        let (square, at) = largest_square(&sums[from..=to], side, &inverse);
        if square > best.0 {
            best = (square, from + at, from, to);
        }
    }
    let (square, at, from, to) = best;
    // Pieces too short for a mean of their own join their neighbour.
    let mut changes = vec![at];
    if from >= side {
        changes.insert(0, from);
    }
    if n - to >= side {
        changes.push(to);
    }
    let noise = series.noise(&changes)?;
    Some(Step {
        at: series.places[at],
        from: series.places[from],
        to: series.places[to - 1] + 1,
        statistic: square.sqrt(),
        noise,
        samples: to - from,
        side,
        intervals: intervals.len(),
    })
}

fn prefix_sums(values: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0);
    for value in values {
        sum += value;
        sums.push(sum);
    }
    sums
}

/// The largest squared CUSUM within an interval given by its prefix sums, and the split where it is.
fn largest_square(sums: &[f64], side: usize, inverse: &[f64]) -> (f64, usize) {
    let n = sums.len() - 1;
    let mean = (sums[n] - sums[0]) * inverse[n];
    let mut best = (0.0, side);
    for split in side..=n - side {
        let excess = sums[split] - sums[0] - mean * split as f64;
        let square = excess * excess * n as f64 * inverse[split] * inverse[n - split];
        if square > best.0 {
            best = (square, split);
        }
    }
    best
}

/// Seeded intervals of at least `shortest` samples: the whole, then layers of intervals of a length
/// that decays by [`DECAY`], evenly spread with at least half overlap.
fn seeded_intervals(n: usize, shortest: usize) -> Vec<(usize, usize)> {
    let mut intervals = Vec::new();
    let mut length = n as f64;
    while length >= shortest as f64 {
        let count = (2.0 * (n as f64 / length).ceil()) as usize - 1;
        let size = (length.ceil() as usize).min(n);
        for k in 0..count {
            let from = if count == 1 {
                0
            } else {
                (n - size) * k / (count - 1)
            };
            intervals.push((from, from + size));
        }
        length *= DECAY;
    }
    intervals
}
