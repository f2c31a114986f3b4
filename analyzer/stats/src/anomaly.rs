//! A streaming, causal anomaly detector for one series: constant work and memory per sample.
//!
//! Each sample gives a few residuals: its jump from a short mean, its distance from a long mean, the activity of late,
//! its excess over what earlier days saw at this time, and the novelty of the latest window's shape. Each is ranked in
//! the tail of its own past (`tail`), so that one threshold on a probability serves every series, whatever its unit
//! and noise. A last tail ranks the surprise of late, as many small surprises in a row are one too:
//! the idea of Numenta's
//! anomaly likelihood (Ahmad, Lavin, Purdy and Agha, "Unsupervised real-time anomaly detection for streaming
//! data", 2017). Persistent changes, grouping over series and findings are left to others.

mod daily;
mod pattern;
mod tail;

use daily::Daily;
use pattern::Pattern;
use tail::Tail;

/// Residuals ranked for each sample.
const RESIDUALS: usize = 9;
/// The first of them, which are neither of patterns nor of days.
const PLAIN: usize = 5;
/// Samples over which the short mean forgets.
const SHORT: f64 = 8.0;
/// Samples over which the long mean forgets.
const LONG: f64 = 500.0;
/// Samples over which the activity, the mean absolute step, forgets.
const ACTIVITY: f64 = 16.0;
/// Samples over which the surprise of late is averaged.
const LATE: f64 = 30.0;
/// The most that one sample adds to the surprise of late: one spike is not a run of them.
const LATE_LIMIT: f64 = 8.0;
/// Samples averaged for each point of the coarse pattern.
const POOL: usize = 4;
/// Samples before a window may serve as a precedent.
const PATTERN_GAP: usize = 20;
/// Added to the surprise of a pattern's novelty, which seldom alarms falsely: the distance to the
/// nearest of many is steady.
const PATTERN_BONUS: f64 = 0.5;
/// Taken from the surprise of a daily excess: a week of days is a small past.
const DAILY_MALUS: f64 = 0.5;
/// Differences below this part of the value are rounding.
const RESOLUTION: f64 = 1e-9;
/// Values beyond are taken as this: residuals and their sums stay finite.
const LARGEST: f64 = 1e150;
/// Seconds between samples at which the threshold holds as it is: what monitoring keeps by default.
const REFERENCE_INTERVAL_S: f64 = 300.0;
/// The most that a faster series adds to the threshold: reached at about ten seconds.
const FASTEST: f64 = 1.5;
/// Samples over which the interval between samples is averaged.
const INTERVAL: f64 = 500.0;
/// A longer interval is a gap, and counts as this.
const GAP_S: f64 = 3_600.0;
/// The least scale of the surprise of late.
const LATE_FLOOR: f64 = 1e-3;

/// What alarms, and how often. The defaults serve every series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The surprise, `-log10` of the tail probability of a residual, from which a sample is an anomaly,
    /// at five minutes between samples or more; faster series need up to 1.5 more.
    pub threshold: f64,
    /// Samples up to which the threshold holds as it is. Beyond, it grows by one for each tenfold
    /// length, so that the expected number of false alarms
    /// grows with the logarithm of the length only.
    pub budget: f64,
    /// Samples that must pass without an anomalous one before the next alarm, at least.
    pub hold: u64,
    /// The same as a part of the samples seen, of which no more than `memory` count.
    pub hold_part: f64,
    /// Samples over which the past of a residual is forgotten.
    pub memory: f64,
    /// Samples of a residual before it is ranked.
    pub warm_up: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: 3.6,
            budget: 10_000.0,
            hold: 60,
            hold_part: 0.05,
            memory: 8_000.0,
            warm_up: 100,
        }
    }
}

/// On which side of the expected value an anomaly lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Above or equal.
    Up,
    /// Below.
    Down,
}

/// One alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anomaly {
    /// The number of the sample, from 0, counting those that were left out.
    pub index: u64,
    /// The surprise, `-log10` of a tail probability, bonus or malus of its kind included.
    pub score: f64,
    /// What the most surprised view expected, in the values' unit: the short or long mean, or the
    /// nearest bound of earlier days.
    pub expected: f64,
    /// The side on which the value lies.
    pub direction: Direction,
}

/// The detector of one series. Feed samples in the order of time.
#[derive(Debug, Clone)]
pub struct Detector {
    options: Options,
    seen: u64,
    used: u64,
    previous: f64,
    previous_s: i64,
    interval_s: ForgettingMean,
    short: ForgettingMean,
    long: ForgettingMean,
    activity: ForgettingMean,
    late: ForgettingMean,
    daily: Daily,
    fine: Pattern,
    coarse: Pattern,
    tails: [Tail; RESIDUALS],
    late_tail: Tail,
    /// The last anomalous sample, by the count of used ones.
    anomalous_at: Option<u64>,
}

/// One view of a sample: how far off in which sense, and what was expected instead.
#[derive(Debug, Clone, Copy)]
struct Residual {
    size: f64,
    bonus: f64,
    expected: f64,
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new(options: Options) -> Self {
        let tail = Tail::new(options.memory, options.warm_up);
        Self {
            options,
            seen: 0,
            used: 0,
            previous: 0.0,
            previous_s: 0,
            interval_s: ForgettingMean::new(INTERVAL),
            short: ForgettingMean::new(SHORT),
            long: ForgettingMean::new(LONG),
            activity: ForgettingMean::new(ACTIVITY),
            late: ForgettingMean::new(LATE),
            daily: Daily::new(),
            fine: Pattern::new(1, PATTERN_GAP),
            coarse: Pattern::new(POOL, PATTERN_GAP),
            // The surprise of late is nought while the others warm up, which is no past to rank it by.
            late_tail: Tail::new(options.memory, options.warm_up.saturating_mul(2)),
            tails: std::array::from_fn(|_| tail.clone()),
            anomalous_at: None,
        }
    }

    /// Judges one sample by those before it. NaN and infinities count as seen but are left out. `timestamp_s` serves
    /// the time of day and the pace only: gaps, repeats and clock jumps are allowed.
    pub fn push(&mut self, timestamp_s: i64, value: f64) -> Option<Anomaly> {
        let index = self.seen;
        self.seen += 1;
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        if self.used == 0 {
            self.previous = value;
            self.previous_s = timestamp_s;
            self.short.push(value);
            self.long.push(value);
        }
        self.used += 1;
        let interval_s = timestamp_s.saturating_sub(self.previous_s) as f64;
        if interval_s > 0.0 {
            self.interval_s.push(interval_s.min(GAP_S));
        }
        self.previous_s = timestamp_s;
        let (score, expected) = self.judge(timestamp_s, value);
        self.short.push(value);
        self.long.push(value);
        self.previous = value;
        if score < self.bar() || !self.released() {
            return None;
        }
        let direction = if value >= expected {
            Direction::Up
        } else {
            Direction::Down
        };
        Some(Anomaly {
            index,
            score,
            expected,
            direction,
        })
    }

    /// The surprise of a sample, and what was expected by the view that it surprises most.
    fn judge(&mut self, timestamp_s: i64, value: f64) -> (f64, f64) {
        let residuals = self.residuals(timestamp_s, value);
        let floor = RESOLUTION * value.abs().max(self.long.mean.abs());
        let (mut score, mut expected) = (0.0, self.short.mean);
        let mut plain = 0.0_f64;
        for (kind, (tail, residual)) in self.tails.iter_mut().zip(residuals).enumerate() {
            let Some(residual) = residual else { continue };
            let surprise = tail.rank(residual.size, floor);
            if kind < PLAIN {
                plain = plain.max(surprise);
            }
            if surprise > 0.0 && surprise + residual.bonus > score {
                (score, expected) = (surprise + residual.bonus, residual.expected);
            }
        }
        let late = self.late.push(plain.min(LATE_LIMIT));
        let surprise = self.late_tail.rank(late, LATE_FLOOR);
        if surprise > score {
            (score, expected) = (surprise, self.long.mean);
        }
        (score, expected)
    }

    /// Both sides of each view; the first `PLAIN` are those whose surprise is averaged.
    fn residuals(&mut self, timestamp_s: i64, value: f64) -> [Option<Residual>; RESIDUALS] {
        let (short, long) = (self.short.mean, self.long.mean);
        let activity = self.activity.push((value - self.previous).abs());
        let envelope = self.daily.envelope(timestamp_s, value);
        let fine = self.fine.novelty(value);
        let coarse = self.coarse.novelty(value);
        let view = |size, bonus, expected| {
            Some(Residual {
                size,
                bonus,
                expected,
            })
        };
        [
            view(value - short, 0.0, short),
            view(short - value, 0.0, short),
            view(value - long, 0.0, long),
            view(long - value, 0.0, long),
            view(activity, 0.0, short),
            view(fine, PATTERN_BONUS, short),
            view(coarse, PATTERN_BONUS, long),
            envelope.and_then(|seen| view(value - seen.high, -DAILY_MALUS, seen.high)),
            envelope.and_then(|seen| view(seen.low - value, -DAILY_MALUS, seen.low)),
        ]
    }

    /// The surprise that an anomaly needs at the present length and pace. False alarms are budgeted by time: ten
    /// times the samples in an hour need a tenth of the probability each.
    fn bar(&self) -> f64 {
        let length = (self.used as f64 / self.options.budget).log10().max(0.0);
        let pace = if self.interval_s.weight > 0.0 {
            (REFERENCE_INTERVAL_S / self.interval_s.mean).log10()
        } else {
            0.0
        };
        self.options.threshold + length + pace.clamp(0.0, FASTEST)
    }

    /// Whether an anomalous sample may alarm: not while the state that alarmed lasts, and not soon after it.
    fn released(&mut self) -> bool {
        let past = (self.used as f64).min(self.options.memory);
        let hold = self
            .options
            .hold
            .max((self.options.hold_part * past) as u64);
        let before = self.anomalous_at.replace(self.used);
        before.is_none_or(|at| self.used - at > hold)
    }
}

/// A mean whose weights fall by `1 - 1/samples` with age, exact from the first value on.
#[derive(Debug, Clone)]
struct ForgettingMean {
    keep: f64,
    weight: f64,
    mean: f64,
}

impl ForgettingMean {
    fn new(samples: f64) -> Self {
        Self {
            keep: 1.0 - 1.0 / samples,
            weight: 0.0,
            mean: 0.0,
        }
    }

    fn push(&mut self, value: f64) -> f64 {
        self.weight = self.weight * self.keep + 1.0;
        self.mean += (value - self.mean) / self.weight;
        self.mean
    }
}

/// The anomalies of a whole series, as [`Detector::push`] finds them one by one. Of slices of
/// unequal length the shorter counts.
pub fn detect(timestamps_s: &[i64], values: &[f64], options: Options) -> Vec<Anomaly> {
    let mut detector = Detector::new(options);
    timestamps_s
        .iter()
        .zip(values)
        .filter_map(|(&timestamp_s, &value)| detector.push(timestamp_s, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const FIVE_MINUTES_S: i64 = 300;

    fn at(interval_s: i64, values: &[f64]) -> Vec<Anomaly> {
        let times: Vec<i64> = (0..values.len() as i64).map(|i| i * interval_s).collect();
        detect(&times, values, Options::default())
    }

    #[test]
    fn a_spike_alarms_once_where_it_begins() {
        let mut values = Noise::new(1).normals(1_500);
        for value in &mut values[1_000..1_010] {
            *value -= 30.0;
        }
        let found = at(FIVE_MINUTES_S, &values);
        let near: Vec<_> = found
            .iter()
            .filter(|a| (990..1_050).contains(&a.index))
            .collect();
        assert_eq!(near.len(), 1, "{found:?}");
        assert_eq!((near[0].index, near[0].direction), (1_000, Direction::Down));
        assert!(
            near[0].expected.abs() < 3.0 && near[0].score > 5.0,
            "{near:?}"
        );
        assert!(found.len() <= 3, "{found:?}");
    }

    #[test]
    fn a_missing_day_is_seen_though_each_value_is_ordinary() {
        let mut noise = Noise::new(2);
        let values: Vec<f64> = (0..12 * 288)
            .map(|i| {
                let busy = (96..216).contains(&(i % 288)) && i / 288 != 10;
                (if busy { 80.0 } else { 20.0 }) + noise.normal()
            })
            .collect();
        let found = at(FIVE_MINUTES_S, &values);
        let day = 10 * 288 + 90..11 * 288;
        assert!(
            found.iter().any(|a| day.contains(&(a.index as usize))),
            "{found:?}"
        );
    }

    #[test]
    fn later_values_change_nothing() {
        let values = Noise::new(4).ar1(3_000, 0.8);
        let whole = at(FIVE_MINUTES_S, &values);
        let part = at(FIVE_MINUTES_S, &values[..2_000]);
        let early: Vec<_> = whole.into_iter().filter(|a| a.index < 2_000).collect();
        assert_eq!(early, part);
    }

    #[test]
    fn fast_noise_is_quiet() {
        let alarms: usize = (0..4)
            .map(|seed| {
                let mut noise = Noise::new(100 + seed);
                at(1, &noise.normals(10_000)).len() + at(1, &noise.ar1(10_000, 0.9)).len()
            })
            .sum();
        // Eight series of 10,000 seconds; at five minutes the same noise gives about one alarm each.
        assert!(alarms <= 2, "{alarms}");
    }

    #[test]
    fn bad_input_is_left_out_or_survived() {
        assert!(at(60, &[]).is_empty());
        assert!(at(60, &[1.0, f64::NAN, 1e308]).is_empty());
        assert!(at(60, &[5.0; 2_000]).is_empty());
        let mut values = vec![5.0; 2_000];
        values[50] = f64::NAN;
        values[60] = f64::INFINITY;
        values[1_500] = f64::MAX;
        let found = at(60, &values);
        assert_eq!(found.first().map(|a| a.index), Some(1_500), "{found:?}");
        assert!(
            found
                .iter()
                .all(|a| a.score.is_finite() && a.expected.is_finite())
        );
        let mut detector = Detector::new(Options::default());
        for i in 0..1_000 {
            let time = [i64::MIN, i64::MAX, 0, 0, -5][i % 5];
            detector.push(time, [1.0, -1e308, 1e308, 0.0, 5e-324][i % 5]);
        }
    }
}
