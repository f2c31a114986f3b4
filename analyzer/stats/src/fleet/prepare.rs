//! One series made comparable with the others: relative to its level, without its cycle, without
//! its short incidents. What it shares with the rest of the fleet is left to the caller.

use crate::robust::{MAD_TO_SIGMA, mad, median};

/// Fewer finite values than this tell nothing of a step.
const MIN_VALUES: usize = 12;
/// Whole cycles that a profile needs: the median of three still ignores one that is out of line.
const MIN_CYCLES: usize = 3;
/// Deviations from the running median beyond this many robust standard deviations are incidents
/// (or outliers). Normal noise passes it once in 10⁸ samples; what heavy tails lose is symmetric.
const INCIDENT_SIGMAS: f64 = 6.0;

/// A series as parts of its level; gaps and incidents are NaN.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) residual: Vec<f64>,
    /// Standard deviation of its noise from sample to sample, robustly; positive.
    pub(super) sigma: f64,
    /// Whether the residual is a difference of logarithms, not a quotient by the level.
    pub(super) logarithmic: bool,
}

impl Prepared {
    /// A difference of residuals as a part of the level.
    pub(super) fn relative(&self, difference: f64) -> f64 {
        if self.logarithmic {
            difference.exp_m1()
        } else {
            difference
        }
    }
}

/// The series on a grid of `length` samples; `None` where it is constant or has too few values.
pub(super) fn prepare(
    values: &[f64],
    length: usize,
    period: Option<usize>,
    incident: usize,
) -> Option<Prepared> {
    let known = crate::finite(values.iter().copied());
    if known.len() < MIN_VALUES {
        return None;
    }
    let logarithmic = known.iter().all(|value| *value > 0.0);
    let level = median(&known)?;
    // Values of both signs have no logarithm; their typical size stands in for a level near zero.
    let size = median(&known.iter().map(|v| v.abs()).collect::<Vec<_>>())?;
    let unit = if level.abs() >= size / 2.0 {
        level.abs()
    } else {
        size
    };
    let unit = if unit > 0.0 {
        unit
    } else {
        mad(&known).filter(|s| *s > 0.0).unwrap_or(1.0)
    };
    let mut residual: Vec<f64> = (0..length)
        .map(|i| match values.get(i) {
            Some(value) if !value.is_finite() => f64::NAN,
            Some(value) if logarithmic => value.ln() - level.ln(),
            Some(value) => value / unit - level / unit,
            None => f64::NAN,
        })
        .collect();
    if let Some(period) = period {
        remove_cycle(&mut residual, period);
    }
    leave_out_incidents(&mut residual, incident, INCIDENT_SIGMAS);
    let sigma = short_run_sigma(&residual)?;
    Some(Prepared {
        residual,
        sigma,
        logarithmic,
    })
}

/// Subtracts the typical cycle: per phase the median over cycles of the distance to the cycle's
/// own median, so that a step or an incident in some of the cycles changes nothing. The profile is
/// shrunk by the part of its spread that noise alone explains (James and Stein, "Estimation with
/// quadratic loss", 1961), so that a series without a cycle is left as it is.
fn remove_cycle(residual: &mut [f64], period: usize) {
    if period < 2 || residual.len() / period < MIN_CYCLES {
        return;
    }
    let mut by_phase: Vec<Vec<f64>> = vec![Vec::new(); period];
    for cycle in residual.chunks(period) {
        // An incomplete last cycle has another median; it is corrected, but teaches nothing.
        if cycle.len() < period {
            continue;
        }
        let Some(level) = median(&crate::finite(cycle.iter().copied())) else {
            continue;
        };
        for (phase, value) in cycle.iter().enumerate() {
            if value.is_finite() {
                by_phase[phase].push(value - level);
            }
        }
    }
    let profile: Vec<f64> = by_phase.iter().map(|v| median(v).unwrap_or(0.0)).collect();
    let center = profile.iter().sum::<f64>() / period as f64;
    let spread = profile.iter().map(|v| (v - center).powi(2)).sum::<f64>() / period as f64;
    // The variance of a median of c normal values is π/2 σ²/c.
    let noise = by_phase
        .iter()
        .map(|v| mad(v).unwrap_or(0.0).powi(2) / v.len().max(1) as f64)
        .sum::<f64>()
        * std::f64::consts::FRAC_PI_2
        / period as f64;
    if spread <= noise {
        return;
    }
    let shrink = 1.0 - noise / spread;
    for (i, value) in residual.iter_mut().enumerate() {
        *value -= shrink * (profile[i % period] - center);
    }
}

/// Makes gaps of runs of up to `incident` samples that stand out from the running median over
/// twice as many and one: Hampel, "The influence curve and its role in robust estimation" (1974).
/// A median keeps the edge of a step, so the samples at a step stay.
pub(super) fn leave_out_incidents(values: &mut [f64], incident: usize, sigmas: f64) {
    if incident == 0 {
        return;
    }
    let running = running_median(values, 2 * incident + 1);
    let mut deviations: Vec<f64> = values
        .iter()
        .zip(&running)
        .map(|(value, center)| (value - center).abs())
        .filter(|deviation| deviation.is_finite())
        .collect();
    let Some(spread) = crate::quantile(&mut deviations, 0.5).filter(|spread| *spread > 0.0) else {
        return;
    };
    let limit = sigmas * spread * MAD_TO_SIGMA;
    for (value, center) in values.iter_mut().zip(&running) {
        if (*value - center).abs() > limit {
            *value = f64::NAN;
        }
    }
}

/// The median of the `width` samples around each sample; at the ends of the first and last `width`.
/// Gaps are left out; the median of gaps alone is NaN.
fn running_median(values: &[f64], width: usize) -> Vec<f64> {
    let width = width.min(values.len());
    let mut window: Vec<f64> = Vec::with_capacity(width);
    let insert = |window: &mut Vec<f64>, value: f64| {
        if value.is_finite() {
            window.insert(window.partition_point(|v| *v < value), value);
        }
    };
    values[..width].iter().for_each(|v| insert(&mut window, *v));
    let middle = |window: &[f64]| match window.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => window[n / 2],
        n => (window[n / 2 - 1] + window[n / 2]) / 2.0,
    };
    let mut start = 0;
    let mut medians = Vec::with_capacity(values.len());
    for i in 0..values.len() {
        let wanted = i.saturating_sub(width / 2).min(values.len() - width);
        while start < wanted {
            let leaving = values[start];
            if leaving.is_finite() {
                window.remove(window.partition_point(|v| *v < leaving));
            }
            insert(&mut window, values[start + width]);
            start += 1;
        }
        medians.push(middle(&window));
    }
    medians
}

/// The noise's standard deviation from the differences of neighbours, which steps and slow drifts
/// hardly touch. Series that mostly repeat a value have a MAD of zero: there the mean absolute
/// difference is taken, which for normal noise is `2 σ / √π`. `None` where nothing ever changes.
fn short_run_sigma(values: &[f64]) -> Option<f64> {
    let differences: Vec<f64> = values
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|difference| difference.is_finite())
        .collect();
    let robust = mad(&differences)? / std::f64::consts::SQRT_2;
    if robust > 0.0 {
        return Some(robust);
    }
    let mean = differences.iter().map(|d| d.abs()).sum::<f64>() / differences.len() as f64;
    let sigma = mean * std::f64::consts::PI.sqrt() / 2.0;
    (sigma > 0.0 && sigma.is_finite()).then_some(sigma)
}
