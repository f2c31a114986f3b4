//! The likelihood ratio of one step somewhere in a window, averaged over places and sizes.

use super::grid::HALF;
use super::model::{Model, index};

/// Sizes of a step on each side of zero.
const SIZES: usize = 9;
/// Signed sizes and no step.
const LANES: usize = 2 * SIZES + 1;
/// Ratio of one size to the next.
const RATIO: f64 = 1.5;
/// The largest size, in cells.
const LARGEST: f64 = 210.0;

/// The best split of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    /// First sample of the right part, from the start of the window.
    pub(super) at: usize,
    /// Logarithm of the averaged likelihood ratio, tempered for memory.
    pub(super) evidence: f64,
}

/// Scratch of a scan, and its grid of sizes.
#[derive(Debug)]
pub(super) struct Scan {
    sizes: [i32; LANES],
    sums: Vec<[f64; LANES]>,
    pairs: Vec<[(u8, u8); LANES]>,
}

/// Shares of the window for which the split of a step into two shifts is prepared.
const SHARES: usize = 32;

impl Scan {
    /// A scan whose smallest size suits series of this length.
    pub(super) fn new() -> Self {
        let mut sizes = [0; LANES];
        for step in 0..SIZES {
            let size = (LARGEST / RATIO.powi((SIZES - 1 - step) as i32)).round() as i32;
            sizes[SIZES + 1 + step] = size;
            sizes[SIZES - 1 - step] = -size;
        }
        let nearest = |wanted: f64| {
            let mut best = 0;
            for lane in 1..LANES {
                let gap = |lane: usize| (f64::from(sizes[lane]) - wanted).abs();
                if gap(lane) < gap(best) {
                    best = lane;
                }
            }
            // Fewer than 256 lanes.
            best as u8
        };
        let pairs = (0..=SHARES)
            .map(|share| {
                let left = share as f64 / SHARES as f64;
                let mut row = [(0, 0); LANES];
                for (slot, size) in row.iter_mut().zip(sizes) {
                    let size = f64::from(size);
                    *slot = (nearest(-size * (1.0 - left)), nearest(size * left));
                }
                row
            })
            .collect();
        Self {
            sizes,
            sums: Vec::new(),
            pairs,
        }
    }

    /// Scans residuals (cells from one common level) for one step with at least this many samples
    /// on each side.
    pub(super) fn best(&mut self, model: &Model, cells: &[i32], min_side: usize) -> Option<Split> {
        let n = cells.len();
        if n < 2 * min_side {
            return None;
        }
        self.fill(model, cells);
        let total = self.sums[n];
        let rest = total.iter().copied().fold(0.0, f64::max);
        let mut highest = f64::NEG_INFINITY;
        let mut at = 0;
        for split in min_side..=n - min_side {
            let row = &self.pairs[(split * SHARES + n / 2) / n];
            let before = &self.sums[split];
            for (left, right) in row {
                let (left, right) = (usize::from(*left), usize::from(*right));
                let ratio = before[left] + total[right] - before[right];
                if ratio > highest {
                    highest = ratio;
                    at = split;
                }
            }
        }
        let temper = 1.0 / model.inflation;
        let mut sum = 0.0;
        for split in min_side..=n - min_side {
            let row = &self.pairs[(split * SHARES + n / 2) / n];
            let before = &self.sums[split];
            for (left, right) in row {
                let (left, right) = (usize::from(*left), usize::from(*right));
                let ratio = (before[left] + total[right] - before[right] - highest) * temper;
                if ratio > -20.0 {
                    sum += ratio.exp();
                }
            }
        }
        let count = ((n - 2 * min_side + 1) * (LANES - 1)) as f64;
        Some(Split {
            at,
            evidence: (highest - rest) * temper + (sum / count).ln(),
        })
    }

    /// Prefix sums of the log-likelihood ratio of each shift against none.
    fn fill(&mut self, model: &Model, cells: &[i32]) {
        self.sums.clear();
        let mut row = [0.0; LANES];
        self.sums.push(row);
        let plain = model.table(0);
        let tables: Vec<&[f64]> = self.sizes.iter().map(|size| model.table(*size)).collect();
        for cell in cells {
            let cell = &(*cell).clamp(-HALF, HALF - 1);
            let null = plain[index(*cell)];
            for lane in 0..LANES {
                row[lane] += tables[lane][index(cell - self.sizes[lane])] - null;
            }
            row[SIZES] = 0.0;
            self.sums.push(row);
        }
    }
}
