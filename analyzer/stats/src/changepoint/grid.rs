//! Values on a scale where a step is a shift, and on a grid of cells as wide as their noise asks.

use crate::shift::{from_key, to_key};

/// Cells of the grid on each side of its centre.
pub(super) const HALF: i32 = 256;
/// Cells of the grid.
pub(super) const CELLS: usize = 512;
/// Cells per standard deviation of the noise's core: 256 cells reach 8 deviations.
pub(super) const PER_SIGMA: f64 = 32.0;
/// Half the width of the shortest interval with half of a normal distribution, in deviations.
const NORMAL_QUARTILE: f64 = 0.674_489_750_196_081_7;
/// Positions beyond this many cells are no further away.
const FAR: f64 = 1e6;
/// Noise below this part of the values is rounding.
const RESOLUTION: f64 = 1e-10;

/// The values, in logarithms where all of them are positive.
#[derive(Debug)]
pub(super) struct Scaled {
    pub(super) values: Vec<f64>,
    pub(super) logarithmic: bool,
}

impl Scaled {
    /// `None` where all values are equal.
    pub(super) fn new(values: &[f64]) -> Option<Self> {
        let first = *values.first()?;
        if values.iter().all(|value| *value == first) {
            return None;
        }
        let logarithmic = values.iter().all(|value| *value > 0.0);
        let values = if logarithmic {
            values.iter().map(|value| value.ln()).collect()
        } else {
            // Halves of halves: differences of the largest numbers must not overflow.
            values.iter().map(|value| value * 0.25).collect()
        };
        Some(Self {
            values,
            logarithmic,
        })
    }

    /// The difference of two scaled values in the unit of the series, from a level on.
    pub(super) fn unscaled(&self, difference: f64, from: f64) -> f64 {
        let unscaled = if self.logarithmic {
            from * difference.exp_m1()
        } else {
            difference * 4.0
        };
        // From the least to the largest number the difference itself may overflow.
        unscaled.clamp(f64::MIN, f64::MAX)
    }
}

/// Integer positions of samples: cells from the centre.
#[derive(Debug)]
pub(super) struct Positions {
    pub(super) cells: Vec<i32>,
}

impl Positions {
    /// Places the samples on a grid by the width of their noise.
    pub(super) fn new(values: &[f64], residuals: &[f64]) -> Option<Self> {
        // Whole numbers are sorted faster than numbers that may be NaN.
        let mut keys: Vec<u64> = residuals.iter().map(|value| to_key(*value)).collect();
        keys.sort_unstable();
        let sorted: Vec<f64> = keys.iter().map(|key| from_key(*key)).collect();
        let center = sorted[sorted.len() / 2];
        let largest = sorted[0].abs().max(sorted[sorted.len() - 1].abs());
        let floor = largest * RESOLUTION;
        let mut sigma = core_width(&sorted, floor)?;
        keys.clear();
        let steps = residuals.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        keys.extend(steps.map(to_key));
        let middle = keys.len() / 2;
        let (_, median, _) = keys.select_nth_unstable(middle);
        let steps = from_key(*median) / (NORMAL_QUARTILE * std::f64::consts::SQRT_2);
        if steps > floor {
            sigma = sigma.min(steps);
        }
        let factor = PER_SIGMA / sigma;
        let cells = values
            .iter()
            // Clamped before the cast, which therefore keeps the number.
            .map(|value| ((value - center) * factor).round().clamp(-FAR, FAR) as i32)
            .collect();
        Some(Self { cells })
    }
}

/// The standard deviation that a normal core of these sorted values has: from the shortest
/// interval with half of them (the shorth's length), of more where half of them are equal.
fn core_width(sorted: &[f64], floor: f64) -> Option<f64> {
    let n = sorted.len();
    for tenths in [5, 6, 7, 8, 9, 10] {
        let inside = (n * tenths / 10).clamp(2, n);
        let width = sorted[inside - 1..]
            .iter()
            .zip(sorted)
            .map(|(high, low)| high - low)
            .fold(f64::INFINITY, f64::min);
        if width > floor {
            // The shortest of many intervals is shorter than the one meant, by about 10 % at n = 100.
            return Some(width / (2.0 * NORMAL_QUARTILE) * (1.0 + 1.0 / (n as f64).sqrt()));
        }
    }
    None
}
