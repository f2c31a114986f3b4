//! The noise of a series: the density of its residuals, and how long its memory is.

use super::fast::{exp2, log2};
use super::grid::{CELLS, HALF, PER_SIGMA};
use super::memory::{ORDER, autoregression, correlations};
use super::scan::LARGEST;
use std::cell::OnceCell;
use std::f32::consts::LN_2;

/// Share of the density that is spread widely, so that no sample counts as impossible.
const BACKGROUND: f32 = 0.04;
/// By how much the fit of a narrower kernel has to be better, in units of log-likelihood.
const BETTER: f32 = 2.0;
/// Powers of a density that are tried to undo what a kernel has widened. The broadest kernel asks for up
/// to 1.4; more than the last of these raises alarms in skewed noise.
const POWERS: [f32; 3] = [1.0, 1.15, 1.3];
/// What a density is at least, in units of an even one, where it is foretold.
const LEAST: f32 = 0.02;
/// Largest inflation of the variance of a mean: longer memory cannot be told from drift.
const MAX_INFLATION: f64 = 400.0;
/// Cells of a table: those of the grid moved by a level to either side.
const MOVED: usize = CELLS + 2 * LARGEST as usize;
/// Largest radius of a box filter.
const MAX_RADIUS: usize = 64;
/// The mass of a density in whole numbers: two boxes of 49 cells keep it below 2^31.
const MASS: f32 = (1 << 25) as f32;
/// Counts beyond this are halved until they fit: three boxes keep them below 2^31.
const MAX_COUNT: usize = 1 << 22;

/// The density per cell, as logarithms.
#[derive(Debug)]
pub(super) struct Model {
    plain: [f32; MOVED],
    density: [f32; CELLS],
    /// Smoothed for larger steps, once a scan asks for it.
    wider: OnceCell<Box<[[f32; MOVED]; 2]>>,
    /// By how much memory inflates the variance of a mean.
    pub(super) inflation: f64,
}

impl Model {
    /// Learns the noise from residuals in cells; `segments` levels were removed from them.
    pub(super) fn new(residuals: &[i32], segments: usize) -> Self {
        let density = density(residuals);
        let mut model = Self {
            plain: logarithms(&density),
            density,
            wider: OnceCell::new(),
            inflation: 1.0,
        };
        model.inflation = model.memory(residuals, segments);
        model
    }

    /// Logarithm of the density at each cell around this level. A larger step is searched on a
    /// coarser grid of sizes, so its alternative is smoothed to be as much wider.
    pub(super) fn table(&self, level: i32) -> &[f32; CELLS] {
        let wider = || {
            self.wider.get_or_init(|| {
                let wider = boxes::<2>(&whole(&self.density), 7, MASS);
                let widest = boxes::<2>(&whole(&wider), 18, MASS);
                Box::new([logarithms(&wider), logarithms(&widest)])
            })
        };
        let table = match level.abs() {
            0..=30 => &self.plain,
            31..=70 => &wider()[0],
            _ => &wider()[1],
        };
        // Between 0 and twice the largest level after the clamp.
        let start = (LARGEST - level.clamp(-LARGEST, LARGEST)) as usize;
        table[start..]
            .first_chunk()
            .expect("a level leaves a grid's width of cells")
    }

    /// By how much a sample there is likelier around a slightly higher level than around a lower one.
    pub(super) fn score(&self, cell: i32) -> f32 {
        const REACH: i32 = 12;
        let at = |cell: i32| {
            // Within the table after the clamp.
            self.plain[(cell + HALF + LARGEST).clamp(0, MOVED as i32 - 1) as usize]
        };
        at(cell - REACH) - at(cell + REACH)
    }

    /// The long-run variance of the score relative to its variance, by an autoregression:
    /// `(1 - Σ φ r) / (1 - Σ φ)²` of the Yule-Walker equations, at least 1.
    fn memory(&self, residuals: &[i32], segments: usize) -> f64 {
        let score: Vec<f64> = residuals
            .iter()
            .map(|cell| f64::from(self.score(*cell)))
            .collect();
        let mut correlations = correlations(&score);
        // Removing a level from each segment lowers every correlation by about one over its length.
        let bias = segments as f64 / score.len() as f64;
        for correlation in &mut correlations[1..] {
            *correlation += bias * (1.0 + 2.0 * correlation.max(0.0));
        }
        let longest = ORDER.min(score.len() / 20);
        autoregression(&correlations[..=longest], score.len())
            .long_run
            .clamp(1.0, MAX_INFLATION)
    }
}

/// The index of a cell in a table; what lies beyond the grid counts into its outermost cells.
pub(super) fn index(cell: i32) -> usize {
    // Between 0 and 511 after the clamp.
    (cell + HALF).clamp(0, CELLS as i32 - 1) as usize
}

/// The density of the samples in each cell, over a background.
fn density(residuals: &[i32]) -> [f32; CELLS] {
    let mut histogram = [0_u32; CELLS];
    for cell in residuals {
        histogram[index(*cell)] += 1;
    }
    let mut n = residuals.len();
    while n > MAX_COUNT {
        histogram = histogram.map(|count| count.div_ceil(2));
        n = histogram.iter().map(|count| *count as usize).sum();
    }
    let mut density = kernel(&histogram, n as f64);
    let wide = boxes::<2>(&whole(&density), 24, MASS);
    for (density, wide) in density.iter_mut().zip(&wide) {
        let floor = BACKGROUND * (0.8 * wide + 0.2 / CELLS as f32);
        *density = (1.0 - BACKGROUND) * *density + floor;
    }
    density
}

/// Logarithms of a density, with those of the outermost cells on either side.
fn logarithms(density: &[f32; CELLS]) -> [f32; MOVED] {
    let mut table = [0.0; MOVED];
    let (before, rest) = table.split_at_mut(LARGEST as usize);
    let (inner, after) = rest.split_at_mut(CELLS);
    for (slot, density) in inner.iter_mut().zip(density) {
        *slot = log2(density.max(f32::MIN_POSITIVE)) * LN_2;
    }
    before.fill(inner[0]);
    after.fill(inner[CELLS - 1]);
    table
}

/// The density of the samples by the kernel under which each cell is best foretold by the others.
fn kernel(histogram: &[u32; CELLS], n: f64) -> [f32; CELLS] {
    let broadest = (1.8 * PER_SIGMA * n.powf(-0.2)).max(4.0);
    let mut density = [0.0; CELLS];
    let mut most = f32::NEG_INFINITY;
    for shrink in [1.0, 0.5, 0.25, 0.125] {
        let radius = radius(broadest * shrink);
        let smooth = boxes::<3>(histogram, radius, n as f32);
        let fit = foretold(histogram, &smooth, peak(radius) / n as f32);
        // A narrower kernel has to be clearly better.
        if fit <= most + BETTER {
            break;
        }
        most = fit;
        density = smooth;
    }
    sharpen(&mut density, most, n as f32);
    density
}

/// Takes back what the kernel has widened: the power of the density, scaled to one in all, that
/// foretells `n` samples best; a normal density that a normal kernel has widened is one again. `foretold`
/// is the log-likelihood of the samples under the density as it is.
fn sharpen(density: &mut [f32; CELLS], foretold: f32, n: f32) {
    let mut logs = [0.0_f32; CELLS];
    for (log, density) in logs.iter_mut().zip(density.iter()) {
        *log = log2(*density + LEAST / CELLS as f32);
    }
    let mut best = (f32::NEG_INFINITY, 1.0, 1.0);
    for power in POWERS {
        let sum = sum_of_powers(&logs, power);
        let fit = power * foretold - n * log2(sum) * LN_2;
        if fit <= best.0 {
            break;
        }
        best = (fit, power, sum);
    }
    let (_, power, sum) = best;
    if power > 1.0 {
        for (slot, log) in density.iter_mut().zip(&logs) {
            *slot = exp2(power * log) / sum;
        }
    }
}

/// The sum of the powers of what these are the logarithms of.
fn sum_of_powers(logs: &[f32; CELLS], power: f32) -> f32 {
    let mut sums = [0.0_f32; 8];
    for logs in logs.chunks_exact(8) {
        sums = std::array::from_fn(|lane| sums[lane] + exp2(power * logs[lane]));
    }
    sums.iter().sum()
}

/// The log-likelihood of the samples, each foretold by those in other cells.
fn foretold(histogram: &[u32; CELLS], density: &[f32; CELLS], own: f32) -> f32 {
    let mut fit = [0.0_f32; 4];
    let cells = histogram.chunks_exact(4).zip(density.chunks_exact(4));
    for (counts, density) in cells {
        fit = std::array::from_fn(|lane| {
            // Below 2^22.
            let count = counts[lane] as i32 as f32;
            let others = density[lane] - count * own;
            let others = if others > 0.0 { others } else { 0.0 };
            fit[lane] + count * log2(others + LEAST / CELLS as f32)
        });
    }
    ((fit[0] + fit[1]) + (fit[2] + fit[3])) * LN_2
}

/// The radius of three box filters in a row whose standard deviation is this.
fn radius(deviation: f64) -> usize {
    // A box of 2 r + 1 cells has the variance ((2 r + 1)² - 1) / 12.
    let width = (4.0 * deviation * deviation + 1.0).sqrt();
    // Small and positive.
    (((width - 1.0) / 2.0).round() as usize).clamp(1, MAX_RADIUS)
}

/// The weight of a cell in its own smoothed value, after three boxes.
fn peak(radius: usize) -> f32 {
    let width = 2.0 * radius as f32 + 1.0;
    (3.0 * width * width + 1.0) / (4.0 * width * width * width)
}

/// A density in whole numbers, of [`MASS`] in all.
fn whole(density: &[f32; CELLS]) -> [u32; CELLS] {
    density.map(|value| (value * MASS + 0.5) as i32 as u32)
}

/// Two or three moving averages in a row; what leaves the grid is lost to the background.
///
/// A sum over a box is a difference of running sums, so that of several boxes is the difference as
/// many times over of as many running sums in each other. In whole numbers these differences are
/// exact, even where the sums overflow.
fn boxes<const PASSES: usize>(values: &[u32; CELLS], radius: usize, mass: f32) -> [f32; CELLS] {
    const REACH: usize = 3 * MAX_RADIUS + 2;
    let width = 2 * radius + 1;
    let mut running = [0_u32; CELLS + 2 * REACH];
    let (inner, after) = running[REACH..].split_at_mut(CELLS);
    let mut sums = [0_u32; PASSES];
    let mut next = |value: u32| {
        let mut add = value;
        for sum in &mut sums {
            *sum = sum.wrapping_add(add);
            add = *sum;
        }
        add
    };
    for (slot, value) in inner.iter_mut().zip(values) {
        *slot = next(*value);
    }
    for slot in &mut after[..PASSES * radius] {
        *slot = next(0);
    }
    // The sum that ends the furthest is `PASSES × radius` cells after the centre.
    let at = |back: usize| &running[REACH + PASSES * radius - back * width..][..CELLS];
    let scale = 1.0 / (mass * (width as f32).powi(PASSES as i32));
    let mut smooth = [0.0; CELLS];
    if PASSES == 2 {
        let terms = at(0).iter().zip(at(1)).zip(at(2));
        for (slot, ((a, b), c)) in smooth.iter_mut().zip(terms) {
            let sum = a.wrapping_sub(b.wrapping_mul(2)).wrapping_add(*c);
            *slot = sum as i32 as f32 * scale;
        }
    } else {
        let terms = at(0).iter().zip(at(1)).zip(at(2)).zip(at(3));
        for (slot, (((a, b), c), d)) in smooth.iter_mut().zip(terms) {
            let middle = b.wrapping_sub(*c).wrapping_mul(3);
            let sum = a.wrapping_sub(middle).wrapping_sub(*d);
            *slot = sum as i32 as f32 * scale;
        }
    }
    smooth
}
