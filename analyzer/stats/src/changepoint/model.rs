//! The noise of a series: the density of its residuals, and how long its memory is.

use super::fast::ln;
use super::grid::{CELLS, HALF};
use super::memory::{ORDER, autoregression, correlations};

/// Levels of additional smoothing: a larger step is searched on a coarser grid of sizes, so its
/// alternative has to be as much wider.
const LEVELS: usize = 3;
/// Share of the density that is spread widely, so that no sample counts as impossible.
const BACKGROUND: f32 = 0.04;
/// By how much the fit of a narrower kernel has to be better, in units of log-likelihood.
const BETTER: f32 = 2.0;
/// Largest inflation of the variance of a mean: longer memory cannot be told from drift.
const MAX_INFLATION: f64 = 400.0;

/// Logarithms of the density per cell.
#[derive(Debug)]
pub(super) struct Model {
    tables: Box<[[f32; CELLS]; LEVELS]>,
    /// By how much memory inflates the variance of a mean.
    pub(super) inflation: f64,
}

impl Model {
    /// Learns the noise from residuals in cells; `segments` levels were removed from them.
    pub(super) fn new(residuals: &[i32], segments: usize) -> Self {
        let mut histogram = [0.0_f32; CELLS];
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
    pub(super) fn table(&self, step: i32) -> &[f32; CELLS] {
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
            .map(|cell| f64::from(table[index(cell - REACH)] - table[index(cell + REACH)]))
            .collect();
        let mut correlations = correlations(&score);
        // Removing a level from each segment lowers every correlation by about one over its length.
        let bias = segments as f64 / score.len() as f64;
        for correlation in &mut correlations[1..] {
            *correlation += bias * (1.0 + 2.0 * correlation.max(0.0));
        }
        let order = ORDER.min(score.len() / 20);
        autoregression(&correlations[..=order])
            .long_run
            .clamp(1.0, MAX_INFLATION)
    }
}

/// The index of a cell in a table; what lies beyond the grid counts into its outermost cells.
pub(super) fn index(cell: i32) -> usize {
    // Between 0 and 511 after the clamp.
    (cell + HALF).clamp(0, CELLS as i32 - 1) as usize
}

/// Log densities: kernel smoothing at the bandwidth under which each cell is best foretold by the
/// others, then the wider levels.
fn densities(histogram: &[f32; CELLS], n: f64) -> Box<[[f32; CELLS]; LEVELS]> {
    let widest = (1.8 * super::grid::PER_SIGMA * n.powf(-0.2)).max(4.0);
    let scale = 1.0 / n as f32;
    let mut narrow = *histogram;
    let mut most = f32::NEG_INFINITY;
    for shrink in [1.0, 0.5, 0.25, 0.125] {
        let radius = radius(widest * shrink);
        let mut smooth = *histogram;
        smoothe(&mut smooth, radius, 3);
        let fit = foretold(histogram, &smooth, peak(radius), scale);
        // A narrower kernel has to be clearly better.
        if fit <= most + BETTER {
            break;
        }
        most = fit;
        narrow = smooth;
    }
    let mut wide = narrow;
    smoothe(&mut wide, 24, 2);
    let mut tables = Box::new([[0.0; CELLS]; LEVELS]);
    for (slot, (narrow, wide)) in tables[0].iter_mut().zip(narrow.iter().zip(&wide)) {
        let floor = BACKGROUND * (0.8 * wide * scale + 0.2 / CELLS as f32);
        *slot = (1.0 - BACKGROUND) * narrow * scale + floor;
    }
    tables[1] = tables[0];
    smoothe(&mut tables[1], 7, 2);
    tables[2] = tables[1];
    smoothe(&mut tables[2], 18, 2);
    for value in tables.as_flattened_mut() {
        *value = ln(value.max(f32::MIN_POSITIVE));
    }
    tables
}

/// The log-likelihood of the samples, each foretold by those in other cells.
fn foretold(histogram: &[f32; CELLS], smooth: &[f32; CELLS], own: f32, scale: f32) -> f32 {
    let mut fit = [0.0_f32; 4];
    let cells = histogram.chunks_exact(4).zip(smooth.chunks_exact(4));
    for (counts, densities) in cells {
        for ((fit, count), density) in fit.iter_mut().zip(counts).zip(densities) {
            let others = (density - count * own).max(0.0) * scale;
            *fit += count * ln(others + 0.02 / CELLS as f32);
        }
    }
    (fit[0] + fit[1]) + (fit[2] + fit[3])
}

/// The radius of three box filters in a row whose standard deviation is this.
fn radius(deviation: f64) -> usize {
    // A box of 2 r + 1 cells has the variance ((2 r + 1)² - 1) / 12.
    let width = (4.0 * deviation * deviation + 1.0).sqrt();
    // Small and positive.
    (((width - 1.0) / 2.0).round() as usize).clamp(1, CELLS / 4)
}

/// The weight of a cell in its own smoothed value, after three boxes.
fn peak(radius: usize) -> f32 {
    let width = 2.0 * radius as f32 + 1.0;
    (3.0 * width * width + 1.0) / (4.0 * width * width * width)
}

/// Repeated moving averages; what would leave the grid is lost to the background.
fn smoothe(values: &mut [f32; CELLS], radius: usize, passes: usize) {
    let mut sums = [0.0_f32; CELLS + 1];
    let scale = 1.0 / (2 * radius + 1) as f32;
    for _ in 0..passes {
        let mut sum = 0.0;
        for (slot, value) in sums[1..].iter_mut().zip(values.iter()) {
            sum += value;
            *slot = sum;
        }
        for (place, slot) in values.iter_mut().enumerate().take(radius) {
            *slot = sums[place + radius + 1] * scale;
        }
        let inner = sums[2 * radius + 1..]
            .iter()
            .zip(&sums[..CELLS - 2 * radius]);
        for (slot, (high, low)) in values[radius..].iter_mut().zip(inner) {
            *slot = (high - low).max(0.0) * scale;
        }
        for place in CELLS - radius..CELLS {
            values[place] = (sum - sums[place - radius]).max(0.0) * scale;
        }
    }
}
