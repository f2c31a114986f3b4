//! Whether a series has an hour of the day, or of the week, by which it is better known than without.

use driftline_stats::{mad, median};
use serde::{Deserialize, Serialize};

const HOUR_S: i64 = 3_600;
/// Cycles that must be seen of a period before it is believed.
const LEAST_CYCLES: i64 = 3;
/// The part of the variance that an hour must explain, the number of hours allowed for.
const LEAST_EXPLAINED: f64 = 0.2;
/// What the week must explain beyond the day.
const LEAST_MORE: f64 = 0.05;
/// Values count up to this many deviations from the middle: one wild hour is no season.
const CLIP: f64 = 5.0;

/// What an hour counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Midnight UTC: 24 hours.
    Day,
    /// Midnight UTC before a Monday: 168 hours.
    Week,
}

/// What is usual by the hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Season {
    /// What the hours count from.
    pub period: Period,
    /// The part of the variance that the hours explain, adjusted for their number.
    pub explained: f64,
    /// The median of each hour; `None` of hours without points.
    pub medians: Vec<Option<f64>>,
    /// The spread about them: median absolute deviation, scaled to estimate a standard deviation.
    pub mad: f64,
}

impl Period {
    const fn hours(self) -> usize {
        match self {
            Self::Day => 24,
            Self::Week => 168,
        }
    }

    /// Which of its hours a time lies in.
    pub fn hour(self, at_s: i64) -> usize {
        let hours = self.hours() as i64;
        // The epoch was a Thursday, three days after a Monday.
        let since_monday = at_s.div_euclid(HOUR_S) + 3 * 24;
        since_monday.rem_euclid(hours) as usize
    }
}

impl Season {
    /// The season of points in order of time; `None` where no hour says more than none.
    pub fn of(at_s: &[i64], values: &[f64]) -> Option<Self> {
        let (first, last) = (at_s.first()?, at_s.last()?);
        let enough =
            |period: Period| last - first >= LEAST_CYCLES * period.hours() as i64 * HOUR_S - HOUR_S;
        let explained = |period| match enough(period) {
            true => explained(period, at_s, values),
            false => None,
        };
        let day = explained(Period::Day).filter(|part| *part >= LEAST_EXPLAINED);
        let week = explained(Period::Week).filter(|part| *part >= LEAST_EXPLAINED);
        let (period, explained) = match (day, week) {
            (Some(day), Some(week)) if week < day + LEAST_MORE => (Period::Day, day),
            (_, Some(week)) => (Period::Week, week),
            (Some(day), None) => (Period::Day, day),
            (None, None) => return None,
        };
        let mut by_hour: Vec<Vec<f64>> = vec![Vec::new(); period.hours()];
        for (at_s, value) in at_s.iter().zip(values) {
            by_hour[period.hour(*at_s)].push(*value);
        }
        let medians: Vec<Option<f64>> = by_hour.iter().map(|values| median(values)).collect();
        let about = |(at_s, value): (&i64, &f64)| Some(value - medians[period.hour(*at_s)]?);
        let residuals: Vec<f64> = at_s.iter().zip(values).filter_map(about).collect();
        Some(Self {
            period,
            explained,
            mad: mad(&residuals)?,
            medians,
        })
    }

    /// What is usual at a time in seconds since 1970; `None` where its hour had no points.
    pub fn median_at(&self, at_s: i64) -> Option<f64> {
        let hour = self.medians.get(self.period.hour(at_s));
        hour.copied().flatten()
    }
}

/// The adjusted coefficient of determination of the hours' means: Ezekiel, "Methods of correlation
/// analysis" (1930).
fn explained(period: Period, at_s: &[i64], values: &[f64]) -> Option<f64> {
    let (center, spread) = (median(values)?, mad(values)?);
    if spread <= 0.0 {
        return None;
    }
    let (lo, hi) = (center - CLIP * spread, center + CLIP * spread);
    let mut groups = vec![(0.0, 0.0_f64); period.hours()];
    let clipped: Vec<f64> = values.iter().map(|value| value.clamp(lo, hi)).collect();
    for (at_s, value) in at_s.iter().zip(&clipped) {
        let group = &mut groups[period.hour(*at_s)];
        group.0 += value;
        group.1 += 1.0;
    }
    let n = clipped.len() as f64;
    let used = groups.iter().filter(|group| group.1 > 0.0).count() as f64;
    if n - used < 1.0 || used < 2.0 {
        return None;
    }
    let mean = clipped.iter().sum::<f64>() / n;
    let total: f64 = clipped.iter().map(|value| (value - mean).powi(2)).sum();
    let within: f64 = at_s
        .iter()
        .zip(&clipped)
        .map(|(at_s, value)| {
            let (sum, count) = groups[period.hour(*at_s)];
            (value - sum / count).powi(2)
        })
        .sum();
    (total > 0.0).then(|| 1.0 - (within / (n - used)) / (total / (n - 1.0)))
}

#[cfg(test)]
mod tests {
    use driftline_stats::noise::Noise;

    use super::*;

    /// Points every ten minutes over so many days, from a Monday on.
    fn points(days: i64, level: impl Fn(i64) -> f64) -> (Vec<i64>, Vec<f64>) {
        let mut noise = Noise::new(3);
        let monday = 4 * 86_400;
        let at_s: Vec<i64> = (0..days * 144).map(|n| monday + n * 600).collect();
        let values = at_s.iter().map(|at_s| level(*at_s) + noise.normal());
        (at_s.clone(), values.collect())
    }

    #[test]
    fn a_day_is_told_from_a_week_and_noise_from_both() {
        let busy = |at_s: i64| {
            if at_s.rem_euclid(86_400) < 8 * HOUR_S {
                0.0
            } else {
                5.0
            }
        };
        let (at_s, values) = points(28, busy);
        let day = Season::of(&at_s, &values).expect("a season");
        assert_eq!((day.period, day.medians.len()), (Period::Day, 24));
        assert!(day.explained > 0.7, "{}", day.explained);
        assert!(day.mad > 0.9 && day.mad < 1.1, "{}", day.mad);
        let (night, noon) = (day.medians[3], day.medians[12]);
        let rise = noon.expect("an hour") - night.expect("an hour");
        assert!((rise - 5.0).abs() < 0.5, "{rise}");

        let weekend = |at_s: i64| {
            busy(at_s)
                * if Period::Week.hour(at_s) >= 120 {
                    0.0
                } else {
                    1.0
                }
        };
        let (at_s, values) = points(28, weekend);
        let week = Season::of(&at_s, &values).expect("a season");
        assert_eq!((week.period, week.medians.len()), (Period::Week, 168));
        // A fortnight has not seen the week often enough.
        let (at_s, values) = points(14, weekend);
        let short = Season::of(&at_s, &values).expect("a season");
        assert_eq!(short.period, Period::Day);

        for level in [0.0, 7.0] {
            let (at_s, values) = points(28, |_| level);
            assert_eq!(Season::of(&at_s, &values), None);
        }
        let (at_s, values) = points(2, busy);
        assert_eq!(Season::of(&at_s, &values), None, "two days are no habit");
        assert_eq!(Season::of(&[], &[]), None);
        assert_eq!(Season::of(&[0; 9], &[1.0; 9]), None);
    }

    #[test]
    fn hours_count_from_monday() {
        assert_eq!(Period::Day.hour(13 * HOUR_S + 59), 13);
        assert_eq!(Period::Week.hour(0), 72);
        assert_eq!(Period::Week.hour(-3 * 86_400), 0);
    }
}
