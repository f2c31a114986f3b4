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
/// Weeks that a series must hold of its weekends.
const MIN_WEEKS: usize = 2;
/// Share of the spread between equal phases at which a cycle counts as found.
const MAX_RATIO: f64 = 0.6;

/// The series without its cycle and, for a daily one, without its weekends; `None` where it has no
/// cycle. The mean level stays.
pub fn remove(values: &[f64]) -> Option<Vec<f64>> {
    let period = period(values)?;
    let mut residuals = values.to_vec();
    subtract(&mut residuals, period);
    if period > 12 && values.len() >= MIN_WEEKS * 7 * period {
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
///
/// What came once is no week's: of two samples of a phase, and of two weekends, the one that differs
/// less counts.
fn weekly(values: &[f64], day: usize) -> Option<(usize, usize, f64)> {
    let (week, length) = (7 * day, 2 * day);
    let level = crate::robust::median(values)?;
    let mut phase = Vec::new();
    let profile: Vec<f64> = (0..week)
        .map(|first| {
            phase.clear();
            phase.extend(values[first..].iter().step_by(week).map(|v| v - level));
            usual(&mut phase)
        })
        .collect();
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
    let start = best.0;
    let depth = usual(&mut depths(values, start, day));
    let spread = crate::robust::mad(values)?;
    (depth.abs() > 0.25 * spread).then_some((start, length, depth))
}

/// By how much each weekend differs from the working days around it, of those that are there by more
/// than half.
fn depths(values: &[f64], start: usize, day: usize) -> Vec<f64> {
    let (week, length, n) = (7 * day, 2 * day, values.len());
    let mean = |from: usize, until: usize| {
        let part = values.get(from..until.min(n)).unwrap_or_default();
        (part.iter().sum::<f64>(), part.len())
    };
    // The first may have begun before the series.
    let firsts = (start..n + week).step_by(week);
    firsts
        .filter_map(|end_of_week| {
            let from = end_of_week as i64 - week as i64;
            let place = |at: i64| usize::try_from(at).unwrap_or(0);
            let days = |count: usize| (count * day) as i64;
            let (inside, count) = mean(place(from), place(from + days(2)));
            let before = mean(place(from - days(2)), place(from));
            let after = mean(place(from + days(2)), place(from + days(4)));
            let around = before.1 + after.1;
            (2 * count > length && around > 0)
                .then(|| inside / count as f64 - (before.0 + after.0) / around as f64)
        })
        .collect()
}

/// The median; of two the one that is nearer to zero.
fn usual(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values {
        [] => 0.0,
        [one] => *one,
        [low, high] if low.abs() < high.abs() => *low,
        [_, high] => *high,
        more if more.len() % 2 == 1 => more[more.len() / 2],
        more => 0.5 * (more[more.len() / 2 - 1] + more[more.len() / 2]),
    }
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

    /// Of seventeen days some hold two weekends and some three.
    #[test]
    fn two_weekends_are_enough() {
        let mut noise = Noise::new(3);
        for _ in 0..20 {
            let series = Kind::Daily.series(&mut noise, &[1.0; 17 * 24]);
            let logarithms: Vec<f64> = series.iter().map(|value| value.ln()).collect();
            let rest = remove(&logarithms).expect("a cycle");
            let spread = mad(&rest).expect("a spread");
            assert!(spread > 0.015 && spread < 0.025, "{spread}");
        }
    }

    /// Two days that differ once are not taken for a weekend: they keep their level.
    #[test]
    fn what_came_once_stays() {
        let mut noise = Noise::new(4);
        for first in [3, 8, 13] {
            let value = |at: usize| {
                let time = at as f64 / 24.0 * std::f64::consts::TAU;
                let away = if (first * 24..(first + 2) * 24).contains(&at) {
                    0.2
                } else {
                    0.0
                };
                time.sin() + away + 0.02 * noise.normal()
            };
            let series: Vec<f64> = (0..16 * 24).map(value).collect();
            let rest = remove(&series).expect("a cycle");
            let inside = median(&rest[first * 24..(first + 2) * 24]).expect("a median");
            let outside = median(&rest).expect("a median");
            assert!((inside - outside - 0.2).abs() < 0.03, "{first}: {inside}");
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
