//! The evidence for one step somewhere in a window: a likelihood ratio averaged over places and
//! levels.
//!
//! With `M(part) = Σ w exp(log f(part - level) - log f(part))` over a grid of levels, the evidence
//! for a split is `M(before) M(after) / M(all)`: two levels against one, neither of them known.
//! The sum over pairs of levels is a product of sums, so that a window costs one pass. Memory
//! tempers the logarithms: they are divided by the inflation of the variance of a mean.

use super::fast::{exp, ln};
use super::grid::{CELLS, HALF};
use super::model::{Model, index};

/// Levels on each side of the centre.
const SIZES: usize = 10;
/// Levels: these and four zeros, whole vectors in all. No level is the most likely one.
const LANES: usize = 24;
/// The furthest level, in cells.
const LARGEST: f64 = 210.0;
/// The nearest level, in standard errors of a mean of the window.
const SMALLEST: f64 = 2.0;

/// Places are tried at distances of this part of the shorter side: a step that is found so much
/// too early or late loses as little of its likelihood.
const RESOLUTION: usize = 16;

/// The best split of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    /// First sample of the right part, from the start of the window.
    pub(super) at: usize,
    /// Logarithm of the averaged likelihood ratio, tempered for memory, less the logarithm of the
    /// inflation, which is estimated less surely the larger it is.
    pub(super) evidence: f64,
}

/// Scratch of scans.
#[derive(Debug, Default)]
pub(super) struct Scan {
    sums: Vec<[f32; LANES]>,
}

impl Scan {
    /// Scans residuals (cells from one common level) for one step with at least this many samples
    /// on each side.
    pub(super) fn best(&mut self, model: &Model, cells: &[i32], min_side: usize) -> Option<Split> {
        let n = cells.len();
        if n < 2 * min_side {
            return None;
        }
        self.fill(model, cells);
        let temper = (1.0 / model.inflation) as f32;
        let one_level = log_mean(&self.sums[n], temper);
        let mut highest = f32::NEG_INFINITY;
        let (mut at, mut reach) = (min_side, 1);
        let mut sum = 0.0;
        let mut split = min_side;
        while split <= n - min_side {
            let stride = (split.min(n - split) / RESOLUTION).max(1);
            let ratio = self.ratio(split, temper) - one_level;
            if ratio > highest {
                sum = sum * f64::from(highest - ratio).exp() + stride as f64;
                (highest, at, reach) = (ratio, split, stride);
            } else {
                sum += stride as f64 * f64::from(ratio - highest).exp();
            }
            split += stride;
        }
        let count = (n - 2 * min_side + 1) as f64;
        let evidence = f64::from(highest) + (sum / count).ln() - model.inflation.ln();
        let (first, last) = (at.saturating_sub(reach), at + reach);
        for near in first.max(min_side)..=last.min(n - min_side) {
            let ratio = self.ratio(near, temper) - one_level;
            if ratio > highest {
                (highest, at) = (ratio, near);
            }
        }
        Some(Split { at, evidence })
    }

    /// Logarithm of the averaged likelihood of a level on each side of a split.
    fn ratio(&self, split: usize, temper: f32) -> f32 {
        let before = &self.sums[split];
        let mut after = self.sums[self.sums.len() - 1];
        for (after, before) in after.iter_mut().zip(before) {
            *after -= before;
        }
        log_mean(before, temper) + log_mean(&after, temper)
    }

    /// Prefix sums of the log-likelihood ratio of each level against the centre.
    fn fill(&mut self, model: &Model, cells: &[i32]) {
        self.sums.clear();
        self.sums.reserve(cells.len() + 1);
        let levels = levels(cells.len());
        let mut row = [0.0_f64; LANES];
        self.sums.push([0.0; LANES]);
        let plain = model.table(0);
        let tables: [&[f32; CELLS]; LANES] = std::array::from_fn(|lane| model.table(levels[lane]));
        for cell in cells {
            let cell = (*cell).clamp(-HALF, HALF - 1);
            let null = plain[index(cell)];
            for lane in 0..2 * SIZES {
                row[lane] += f64::from(tables[lane][index(cell - levels[lane])] - null);
            }
            self.sums.push(row.map(|value| value as f32));
        }
    }
}

/// Levels in cells for a window of this length: both signs of a geometric sequence, then zeros.
fn levels(n: usize) -> [i32; LANES] {
    let smallest = (SMALLEST * super::grid::PER_SIGMA / (n as f64).sqrt()).clamp(1.0, 40.0);
    let ratio = (LARGEST / smallest).powf(1.0 / (SIZES - 1) as f64);
    let mut levels = [0; LANES];
    let mut size = smallest;
    for step in 0..SIZES {
        // Between 1 and 210.
        let cells = size.round() as i32;
        levels[2 * step] = cells;
        levels[2 * step + 1] = -cells;
        size *= ratio;
    }
    levels
}

/// Logarithm of the mean over levels of the tempered likelihood ratios.
fn log_mean(sums: &[f32; LANES], temper: f32) -> f32 {
    let mut largest = [0.0_f32; 4];
    for four in sums.chunks_exact(4) {
        for (most, value) in largest.iter_mut().zip(four) {
            *most = if *value > *most { *value } else { *most };
        }
    }
    let largest = largest[0].max(largest[1]).max(largest[2].max(largest[3]));
    let mut total = [0.0_f32; 4];
    for four in sums.chunks_exact(4) {
        for (total, value) in total.iter_mut().zip(four) {
            *total += exp((value - largest) * temper);
        }
    }
    let total = (total[0] + total[1]) + (total[2] + total[3]);
    largest * temper + ln(total / LANES as f32)
}
