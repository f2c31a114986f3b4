//! Cycles of a calendar: finds and removes them.
//!
//! Samples are taken as evenly spaced. The cycles that are tried are those of people and their
//! calendars at usual spacings of samples; other periods are left in the series, where the
//! memory of the noise accounts for them.

/// Periods that are tried, shortest first: a week of days, a year of months, a day of hours, of
/// half hours, of quarters, of ten and of five minutes, and of minutes.
const PERIODS: [usize; 8] = [7, 12, 24, 48, 96, 144, 288, 1440];
/// Cycles that a series must hold of its period.
const MIN_CYCLES: usize = 5;
/// Share of the spread between equal phases at which a cycle counts as found.
const MAX_RATIO: f64 = 0.6;

/// The series without its cycle and, for a daily one, without its weekends; `None` where it has no
/// cycle. The mean level stays.
pub fn remove(values: &[f64]) -> Option<Vec<f64>> {
    let period = period(values)?;
    let mut residuals = values.to_vec();
    subtract(&mut residuals, period);
    if period > 12 && values.len() >= 3 * 7 * period {
        let week = weekly(&residuals, period);
        if let Some((start, length, depth)) = week {
            for (place, value) in residuals.iter_mut().enumerate() {
                if (place + 7 * period - start) % (7 * period) < length {
                    *value -= depth;
                }
            }
            // The weekends were part of the profile's spread, so it is taken once more.
            subtract(&mut residuals, period);
        }
    }
    Some(residuals)
}

/// The period whose phases agree best, if they agree far better than samples half a period apart.
fn period(values: &[f64]) -> Option<usize> {
    let mut best = None;
    for period in PERIODS {
        if values.len() < MIN_CYCLES * period {
            break;
        }
        let apart = distance(values, period / 2);
        let ratio = distance(values, period) / apart;
        if apart > 0.0 && ratio < MAX_RATIO && best.is_none_or(|(least, _)| ratio < least) {
            best = Some((ratio, period));
        }
    }
    best.map(|(_, period)| period)
}

/// Mean distance of samples this far apart.
fn distance(values: &[f64], lag: usize) -> f64 {
    let sum: f64 = values[lag..]
        .iter()
        .zip(values)
        .map(|(late, early)| (late - early).abs())
        .sum();
    sum / (values.len() - lag) as f64
}

/// Subtracts from each phase its centre, relative to the mean of all centres.
fn subtract(values: &mut [f64], period: usize) {
    let mut phase = Vec::with_capacity(values.len() / period + 1);
    let mut profile: Vec<f64> = (0..period)
        .map(|first| {
            phase.clear();
            phase.extend(values[first..].iter().step_by(period));
            center(&mut phase)
        })
        .collect();
    let mean = profile.iter().sum::<f64>() / period as f64;
    profile.iter_mut().for_each(|value| *value -= mean);
    for (value, center) in values.iter_mut().zip(profile.iter().cycle()) {
        *value -= center;
    }
}

/// The mean of the middle three fifths.
pub(crate) fn center(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let cut = values.len() / 5;
    let middle = &values[cut..values.len() - cut];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// The stretch of two days in a week that differs most from the rest: its start, its length and by
/// how much it differs; `None` where the week is flat.
fn weekly(values: &[f64], day: usize) -> Option<(usize, usize, f64)> {
    let week = 7 * day;
    let mut profile = vec![0.0; week];
    let mut phase = Vec::new();
    for (first, slot) in profile.iter_mut().enumerate() {
        phase.clear();
        phase.extend(values[first..].iter().step_by(week));
        *slot = crate::robust::median(&phase)?;
    }
    let length = 2 * day;
    let total: f64 = profile.iter().sum();
    let contrast = |inside: f64| inside / length as f64 - (total - inside) / (week - length) as f64;
    let mut inside: f64 = profile[..length].iter().sum();
    let mut best = (0, contrast(inside));
    for start in 1..week {
        inside += profile[(start + length - 1) % week] - profile[start - 1];
        if contrast(inside).abs() > best.1.abs() {
            best = (start, contrast(inside));
        }
    }
    let (start, depth) = best;
    let spread = crate::robust::mad(values)?;
    (depth.abs() > 0.25 * spread).then_some((start, length, depth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Kind, Noise};
    use crate::robust::{mad, median};

    #[test]
    fn a_day_and_its_weekends_are_removed() {
        let mut noise = Noise::new(1);
        for _ in 0..10 {
            let series = Kind::Daily.series(&mut noise, &[1.0; 672]);
            let logarithms: Vec<f64> = series.iter().map(|value| value.ln()).collect();
            let rest = remove(&logarithms).expect("a cycle");
            let spread = mad(&rest).expect("a spread");
            // The noise is 2 %; the profile takes a share of it along.
            assert!(spread > 0.017 && spread < 0.023, "{spread}");
            let moved = median(&rest).expect("a median") - median(&logarithms).expect("a median");
            assert!(moved.abs() < 0.1, "{moved}");
        }
    }

    #[test]
    fn noise_has_no_cycle() {
        let mut noise = Noise::new(2);
        for n in [10, 100, 672, 3_000] {
            assert_eq!(remove(&noise.normals(n)), None);
            assert_eq!(remove(&noise.ar1(n, 0.8)), None);
            assert_eq!(remove(&vec![1.0; n]), None);
        }
    }
}
