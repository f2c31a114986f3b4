//! How large a step is: its effect with an interval, in the unit of the series and relative.

use super::grid::Scaled;
use super::search::Step;
use crate::robust::median;
use crate::shift::shift;

/// Whether the level rose or fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The new level is higher.
    Up,
    /// The new level is lower.
    Down,
}

/// A lasting step of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Index of the first sample of the new level.
    pub index: usize,
    /// The step in the unit of the series, positive where the level rose.
    pub effect: f64,
    /// The step relative to the level before; `None` where that is zero.
    pub relative: Option<f64>,
    /// Bounds of the relative step, or of the absolute one where there is no relative one, at the
    /// confidence of the options; `None` where the parts are too short for a bound.
    pub interval: Option<(f64, f64)>,
    /// The share of unchanged series in which a scan finds as much as this anywhere.
    pub p_value: f64,
    /// Whether the level rose or fell.
    pub direction: Direction,
}

/// Describes the steps that were found.
pub(super) fn describe(
    values: &[f64],
    residuals: &[f64],
    scaled: &Scaled,
    steps: &[Step],
    confidence: f64,
) -> Vec<ChangePoint> {
    let mut changes = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        let from = if place == 0 { 0 } else { steps[place - 1].at };
        let to = steps.get(place + 1).map_or(values.len(), |next| next.at);
        let Some(moved) = shift(
            &residuals[from..step.at],
            &residuals[step.at..to],
            confidence,
        ) else {
            continue;
        };
        let level = median(&values[from..step.at]).unwrap_or(0.0);
        let effect = scaled.unscaled(moved.shift, level);
        let relative = |difference: f64| {
            if level == 0.0 {
                difference
            } else {
                (difference / level.abs()).clamp(f64::MIN, f64::MAX)
            }
        };
        let bound = |bound: f64| relative(scaled.unscaled(bound, level));
        changes.push(ChangePoint {
            index: step.at,
            effect,
            relative: (level != 0.0).then(|| relative(effect)),
            interval: moved
                .ci_lo
                .zip(moved.ci_hi)
                .map(|(low, high)| (bound(low), bound(high))),
            p_value: step.p_value,
            direction: if effect >= 0.0 {
                Direction::Up
            } else {
                Direction::Down
            },
        });
    }
    changes
}
