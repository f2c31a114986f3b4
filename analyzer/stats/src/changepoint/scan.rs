//! The evidence for one step somewhere in a window: a likelihood ratio averaged over places and
//! levels.
//!
//! With `M(part) = Σ w exp(log f(part - level) - log f(part))` over a grid of levels, the evidence
//! for a split is `M(before) M(after) / M(all)`: two levels against one, neither of them known.
//! The sum over pairs of levels is a product of sums, so that a window costs one pass. Memory
//! tempers the logarithms: they are divided by the inflation of the variance of a mean.

use super::fast::{exp2, log2};
use super::grid::{CELLS, PER_SIGMA};
use super::model::{Model, index};
use std::f64::consts::{LN_2, LOG2_E};

/// Levels on each side of the centre.
const SIZES: usize = 10;
/// Levels other than the centre.
const LEVELS: usize = 2 * SIZES;
/// Levels that are summed in one pass over the samples.
const TOGETHER: usize = 4;
/// The weight of the centre, which is the most likely level, in weights of a level.
const CENTRE: f32 = 4.0;
/// The furthest level, in cells.
pub(super) const LARGEST: i32 = 210;
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

/// Scratch of scans. All logarithms are to the base 2.
#[derive(Debug, Default)]
pub(super) struct Scan {
    places: Vec<usize>,
    /// For each level a row with the tempered log-likelihood ratio of the samples before each place
    /// against the centre, and at last that of all samples.
    sums: Vec<f32>,
    /// For each place the logarithm of the averaged likelihood of a level on each side.
    ratios: Vec<f32>,
    largest: Vec<f32>,
    totals: Vec<f32>,
}

impl Scan {
    /// Scans residuals (cells from one common level) for one step with at least this many samples
    /// on each side. Only where there is as much evidence as asked for, the place is exact.
    pub(super) fn best(
        &mut self,
        model: &Model,
        cells: &[i32],
        min_side: usize,
        enough: f64,
    ) -> Option<Split> {
        let n = cells.len();
        if n < 2 * min_side {
            return None;
        }
        let stride = |place: usize| (place.min(n - place) / RESOLUTION).max(1);
        self.places.clear();
        let mut place = min_side;
        while place <= n - min_side {
            self.places.push(place);
            place += stride(place);
        }
        let one_level = self.evaluate(model, cells);
        let (best, most) = highest(&self.ratios);
        let mut sum = 0.0;
        for (place, ratio) in self.places.iter().zip(&self.ratios) {
            sum += stride(*place) as f32 * exp2(ratio - most);
        }
        let count = (n - 2 * min_side + 1) as f32;
        let evidence =
            f64::from(most - one_level + log2(sum / count)) * LN_2 - model.inflation.ln();
        let at = self.places[best];
        if evidence < enough {
            return Some(Split { at, evidence });
        }
        let (first, last) = (at.saturating_sub(stride(at)), at + stride(at));
        self.places.clear();
        self.places
            .extend(first.max(min_side)..=last.min(n - min_side));
        self.evaluate(model, cells);
        let (best, _) = highest(&self.ratios);
        let at = self.places[best];
        Some(Split { at, evidence })
    }

    /// Fills the ratios of the places and returns what one level for all samples is worth.
    fn evaluate(&mut self, model: &Model, cells: &[i32]) -> f32 {
        let width = self.places.len() + 1;
        self.sums.resize(LEVELS * width, 0.0);
        let rows = self.sums.chunks_exact_mut(TOGETHER * width);
        for (four, rows) in levels(cells.len()).chunks_exact(TOGETHER).zip(rows) {
            let four = four.first_chunk().expect("as many as a chunk has");
            add_up(model, cells, &self.places, four, rows);
        }
        self.ratios.clear();
        self.ratios.resize(width, 0.0);
        self.add_log_means(|sum, _| sum);
        let one_level = self.ratios[width - 1];
        self.add_log_means(|sum, all| all - sum);
        self.ratios.pop();
        one_level
    }

    /// Adds to each ratio the logarithm of the mean over levels of a likelihood, which is told from
    /// the sum before the place and that of all samples.
    fn add_log_means(&mut self, side: impl Fn(f32, f32) -> f32) {
        let width = self.ratios.len();
        self.largest.clear();
        self.largest.resize(width, 0.0);
        for row in self.sums.chunks_exact(width) {
            let all = row[width - 1];
            for (largest, sum) in self.largest.iter_mut().zip(row) {
                let value = side(*sum, all);
                *largest = if value > *largest { value } else { *largest };
            }
        }
        self.totals.clear();
        let centre = self.largest.iter().map(|largest| CENTRE * exp2(-largest));
        self.totals.extend(centre);
        for row in self.sums.chunks_exact(width) {
            let all = row[width - 1];
            let sums = row.iter().zip(&self.largest);
            for (total, (sum, largest)) in self.totals.iter_mut().zip(sums) {
                *total += exp2(side(*sum, all) - largest);
            }
        }
        let means = self.largest.iter().zip(&self.totals);
        for (ratio, (largest, total)) in self.ratios.iter_mut().zip(means) {
            *ratio += largest + log2(total / (LEVELS as f32 + CENTRE));
        }
    }
}

/// Sums of the tempered log-likelihood ratios of four levels before each place, one row each.
fn add_up(
    model: &Model,
    cells: &[i32],
    places: &[usize],
    levels: &[i32; TOGETHER],
    rows: &mut [f32],
) {
    let centre = model.table(0);
    let tables: [&[f32; CELLS]; TOGETHER] = levels.map(|level| model.table(level));
    let width = places.len() + 1;
    let scale = LOG2_E / model.inflation;
    let mut sums = [0.0_f64; TOGETHER];
    let mut from = 0;
    for (column, to) in places.iter().copied().chain([cells.len()]).enumerate() {
        let mut part = [0.0_f32; TOGETHER];
        for cell in &cells[from..to] {
            // The mask changes nothing, and tells the compiler so.
            let cell = index(*cell) & (CELLS - 1);
            let null = centre[cell];
            part = std::array::from_fn(|lane| part[lane] + (tables[lane][cell] - null));
        }
        for (lane, part) in part.into_iter().enumerate() {
            sums[lane] += f64::from(part);
            rows[lane * width + column] = (sums[lane] * scale) as f32;
        }
        from = to;
    }
}

/// Levels in cells for a window of this length: both signs of a geometric sequence.
fn levels(n: usize) -> [i32; LEVELS] {
    let smallest = (SMALLEST * PER_SIGMA / (n as f64).sqrt()).clamp(1.0, 40.0);
    let ratio = (f64::from(LARGEST) / smallest).powf(1.0 / (SIZES - 1) as f64);
    let mut levels = [0; LEVELS];
    let mut size = smallest;
    for pair in levels.chunks_exact_mut(2) {
        // Between 1 and 210.
        let cells = size.round() as i32;
        pair.copy_from_slice(&[cells, -cells]);
        size *= ratio;
    }
    levels
}

/// The first of the largest values with its place.
fn highest(values: &[f32]) -> (usize, f32) {
    let mut highest = (0, f32::NEG_INFINITY);
    for (place, value) in values.iter().enumerate() {
        if *value > highest.1 {
            highest = (place, *value);
        }
    }
    highest
}
