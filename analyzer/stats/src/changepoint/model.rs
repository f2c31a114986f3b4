//! The noise of a series: the density of its residuals, and how long its memory is.

use super::grid::{CELLS, HALF};

/// Levels of additional smoothing: a larger step is searched on a coarser grid of sizes, so its
/// alternative has to be as much wider.
const LEVELS: usize = 3;
/// Share of the density that is spread widely, so that no sample counts as impossible.
const BACKGROUND: f64 = 0.04;
/// Order of the autoregression whose long-run variance tempers the likelihood.
const ORDER: usize = 3;
/// Largest inflation of the variance of a mean: longer memory cannot be told from drift.
const MAX_INFLATION: f64 = 60.0;

/// Logarithms of the density per cell.
#[derive(Debug)]
pub(super) struct Model {
    tables: [Vec<f64>; LEVELS],
    /// By how much memory inflates the variance of a mean.
    pub(super) inflation: f64,
}

impl Model {
    /// Learns the noise from residuals in cells; `segments` levels were removed from them.
    pub(super) fn new(residuals: &[i32], segments: usize) -> Self {
        let mut histogram = vec![0.0; CELLS];
        for cell in residuals {
            histogram[index(*cell)] += 1.0;
        }
        let tables = densities(&histogram, residuals.len() as f64);
        let mut model = Self {
            tables,
            inflation: 1.0,
        };
        model.inflation = model.memory(residuals, segments);
        model
    }

    /// Logarithm of the density at each cell, smoothed for steps of this many cells.
    pub(super) fn table(&self, step: i32) -> &[f64] {
        match step.abs() {
            0..=30 => &self.tables[0],
            31..=70 => &self.tables[1],
            _ => &self.tables[2],
        }
    }

    /// The long-run variance of the score relative to its variance, by an autoregression:
    /// `(1 - Σ φ r) / (1 - Σ φ)²` of the Yule-Walker equations, at least 1.
    fn memory(&self, residuals: &[i32], segments: usize) -> f64 {
        const REACH: i32 = 12;
        let table = &self.tables[0];
        let score: Vec<f64> = residuals
            .iter()
            .map(|cell| table[index(cell - REACH)] - table[index(cell + REACH)])
            .collect();
        let n = score.len() as f64;
        let mean = score.iter().sum::<f64>() / n;
        let score: Vec<f64> = score.iter().map(|value| value - mean).collect();
        let variance: f64 = score.iter().map(|value| value * value).sum();
        if variance <= 0.0 {
            return 1.0;
        }
        let order = ORDER.min(score.len() / 20);
        let mut correlations = [0.0; ORDER + 1];
        correlations[0] = 1.0;
        // Removing a level from each segment lowers every correlation by about one over its length.
        let bias = segments as f64 / n;
        for (lag, correlation) in correlations.iter_mut().enumerate().skip(1) {
            let sum: f64 = score[lag.min(score.len())..]
                .iter()
                .zip(&score)
                .map(|(late, early)| late * early)
                .sum();
            *correlation = sum / variance + bias * (1.0 + 2.0 * (sum / variance).max(0.0));
        }
        long_run(&correlations[..=order]).clamp(1.0, MAX_INFLATION)
    }
}

/// Levinson's recursion for the Yule-Walker equations, and the long-run variance of the result.
fn long_run(correlations: &[f64]) -> f64 {
    let mut phi = [0.0; ORDER];
    let mut error = 1.0;
    for order in 1..correlations.len() {
        let mut reflection = correlations[order];
        for lag in 1..order {
            reflection -= phi[lag - 1] * correlations[order - lag];
        }
        reflection = (reflection / error).clamp(-0.98, 0.98);
        let before = phi;
        for lag in 1..order {
            phi[lag - 1] -= reflection * before[order - lag - 1];
        }
        phi[order - 1] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    let gain = (1.0 - phi.iter().sum::<f64>()).max(0.02);
    error / (gain * gain)
}

/// The index of a cell in a table; what lies beyond the grid counts into its outermost cells.
pub(super) fn index(cell: i32) -> usize {
    // Between 0 and 511 after the clamp.
    (cell + HALF).clamp(0, CELLS as i32 - 1) as usize
}

/// Log densities: kernel smoothing at the bandwidth under which each cell is best foretold by the
/// others, then the wider levels.
fn densities(histogram: &[f64], n: f64) -> [Vec<f64>; LEVELS] {
    let widest = (0.9 * super::grid::PER_SIGMA * n.powf(-0.2)).max(2.0);
    let mut best: Option<(f64, Vec<f64>)> = None;
    for shrink in [2.0, 1.0, 0.5, 0.25] {
        let radius = radius(widest * shrink);
        let smooth = smoothed(histogram, radius, 3);
        let own = peak(radius);
        let mut fit = 0.0;
        for (count, density) in histogram.iter().zip(&smooth) {
            if *count > 0.0 {
                let others = (density - count * own).max(0.0) / n;
                fit += count * (others + 0.02 / CELLS as f64).ln();
            }
        }
        // A narrower kernel has to be clearly better.
        if best.as_ref().is_none_or(|(least, _)| fit > least + 2.0) {
            best = Some((fit, smooth));
        }
    }
    let narrow = best.map(|(_, smooth)| smooth).unwrap_or_default();
    let wide = smoothed(&narrow, 24, 2);
    let mixed: Vec<f64> = narrow
        .iter()
        .zip(&wide)
        .map(|(narrow, wide)| {
            (1.0 - BACKGROUND) * narrow / n + BACKGROUND * (0.8 * wide / n + 0.2 / CELLS as f64)
        })
        .collect();
    let logarithms = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let middle = smoothed(&mixed, 7, 2);
    let far = smoothed(&middle, 18, 2);
    [logarithms(&mixed), logarithms(&middle), logarithms(&far)]
}

/// The radius of three box filters in a row whose standard deviation is this.
fn radius(deviation: f64) -> usize {
    // A box of 2 r + 1 cells has the variance ((2 r + 1)² - 1) / 12.
    let width = (4.0 * deviation * deviation + 1.0).sqrt();
    // Small and positive.
    (((width - 1.0) / 2.0).round() as usize).max(1)
}

/// The weight of a cell in its own smoothed value, after three boxes.
fn peak(radius: usize) -> f64 {
    let width = 2.0 * radius as f64 + 1.0;
    (3.0 * width * width + 1.0) / (4.0 * width * width * width)
}

/// Repeated moving averages; at the ends the outermost cell keeps what would leave the grid.
fn smoothed(values: &[f64], radius: usize, passes: usize) -> Vec<f64> {
    let mut current = values.to_vec();
    let mut sums = vec![0.0; values.len() + 2 * radius + 1];
    let width = 2 * radius + 1;
    for _ in 0..passes {
        let mut sum = 0.0;
        for (place, slot) in sums.iter_mut().enumerate() {
            *slot = sum;
            if place >= radius && place < radius + current.len() {
                sum += current[place - radius];
            }
        }
        for (place, slot) in current.iter_mut().enumerate() {
            let high = sums.get(place + width).copied().unwrap_or(sum);
            *slot = (high - sums[place]).max(0.0) / width as f64;
        }
    }
    current
}
