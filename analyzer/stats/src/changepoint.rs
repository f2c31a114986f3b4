//! When a series shifted its level, by how much, and how surely.
//!
//! [`detect`] looks for lasting steps. It removes a daily or weekly cycle, learns the noise of the
//! series (the density of its residuals and how long its memory is), and scans a likelihood ratio
//! that averages over every place and a grid of sizes of a step. The average over all
//! alternatives is what makes the p-value hold after the split was chosen: under no change its
//! expectation is about 1, whatever the noise, so that one threshold serves every series. Steps
//! are searched with the others in place, so several changes do not hide one another.
//!
//! Single odd samples, and what moved at the same time in other series, are left to others.

mod calibration;
mod candidates;
mod effect;
mod fast;
mod grid;
mod history;
mod memory;
mod model;
mod proposals;
mod scan;
mod search;

pub use effect::{ChangePoint, Direction};
pub use history::History;

use crate::seasonal;

/// Larger p-values are not calibrated.
const MAX_P_VALUE: f64 = 0.01;

/// What a detection may be told. The default serves every kind of series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Largest p-value that is reported: the share of unchanged series that raise an alarm. No more
    /// than 0.01: evidence so weak that an average over alternatives would not favour a step is
    /// none.
    pub max_p_value: f64,
    /// Samples that each side of a change has at least; no less than 2.
    pub min_samples: usize,
    /// Confidence of the interval of the effect, between 0 and 1.
    pub confidence: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_p_value: 0.005,
            min_samples: 6,
            confidence: 0.99,
        }
    }
}

/// The lasting steps of a series in time order, first to last.
///
/// NaN and infinities are left out, and indices refer to the slice as given. Too short and
/// constant series have no change points. Samples are taken as evenly spaced.
pub fn detect(values: &[f64], options: &Options) -> Vec<ChangePoint> {
    let mut kept = Vec::with_capacity(values.len());
    let mut places = Vec::new();
    for (place, value) in values.iter().enumerate() {
        if value.is_finite() {
            if kept.len() != place && places.is_empty() {
                places.extend(0..kept.len());
            }
            if kept.len() != place {
                places.push(place);
            }
            kept.push(*value);
        }
    }
    let place = |index: usize| places.get(index).copied().unwrap_or(index);
    let min_side = options.min_samples.max(2);
    if kept.len() < 2 * min_side {
        return Vec::new();
    }
    let Some(scaled) = grid::Scaled::new(&kept) else {
        return Vec::new();
    };
    let residuals = seasonal::remove(&scaled.values);
    let residuals = residuals.as_deref().unwrap_or(&scaled.values);
    let found = search::steps(residuals, min_side, options.max_p_value.min(MAX_P_VALUE));
    effect::describe(&kept, residuals, &scaled, &found, options.confidence)
        .into_iter()
        .map(|mut change| {
            change.index = place(change.index);
            change
        })
        .collect()
}

#[cfg(test)]
mod tests;
