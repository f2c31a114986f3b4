//! Onsets in a live series: a level that left what it was of late and stays away, told within a few
//! points, and the return from it.
//!
//! The statistic is the least (for a fall: the greatest) of the last `run` points: a run of points
//! all beyond a bound. Its own past, over the same sliding runs, says how far runs stray by
//! themselves, whatever the noise's shape and memory: autocorrelated or bursty series have long runs
//! in their past. An onset is a run that strays `margin` times farther from the median than the
//! farthest run of the reference did. Order statistics of the series itself need no model of its
//! distribution; the margin is what extrapolates beyond the longest past, and the program
//! `onset_rates` measures what it costs in false alarms and finds in steps.
//!
//! Grouping over series, seasons and telling people are left to others.

use std::collections::VecDeque;

use crate::quantiles;

/// Points between the run that is judged and its reference: those of an onset that has just begun.
const GUARD: usize = 3;
/// Judgements between two exact counts of the reference's farthest runs.
const REFRESH: u32 = 6;
/// Single points within these quantiles are no strangers, however short their runs were: series of
/// two modes or of few distinct values hardly have runs.
const BULK: [f64; 3] = [0.1, 0.5, 0.9];
/// A longer silence than so many steps ends a run.
const GAP_STEPS: i64 = 3;

/// How an onset is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Seconds between points.
    pub step_s: i64,
    /// Points that must all be away.
    pub run: usize,
    /// Points of the reference at most: the last two hours at ten seconds.
    pub reference: usize,
    /// Points of the reference before anything is judged.
    pub warm_up: usize,
    /// How much farther than the reference's farthest run, with a long reference. With a short one it
    /// grows by the factor `1 + warm_up / points`.
    pub margin: f64,
    /// The least difference that counts, as a part of the reference's median.
    pub min_share: f64,
    /// Points back within the reference's bounds before an onset is over.
    pub recovery: usize,
    /// An onset that lasts so many points is the new level.
    pub adopt: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            step_s: 10,
            run: 3,
            reference: 720,
            warm_up: 180,
            margin: 2.0,
            min_share: 0.0,
            recovery: 6,
            adopt: 360,
        }
    }
}

/// Which way a level went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Above its reference.
    Up,
    /// Below it.
    Down,
}

/// A level that has left its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// The time of the first point of the run, in seconds.
    pub at_s: i64,
    /// The reference's median.
    pub before: f64,
    /// The run's median.
    pub after: f64,
    /// What the run had to pass, in the values' unit.
    pub bound: f64,
    /// The rank of the run among those of the reference alone: `1 / (runs + 1)`, whatever the
    /// distribution, if runs are exchangeable. The margin makes it far smaller.
    pub p_value: f64,
    /// Which way.
    pub direction: Direction,
}

/// What a point brings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// The level has left its reference.
    Began(Onset),
    /// It is back.
    Ended,
    /// It has stayed for so long that it is the new level.
    Adopted,
}

/// The detector of one series. Constant memory; points in the order of time.
#[derive(Debug, Clone)]
pub struct OnsetDetector {
    options: Options,
    /// The least difference from the median that counts, in the values' unit.
    min_effect: f64,
    reference: VecDeque<f64>,
    /// Points that are too young for the reference.
    young: VecDeque<(i64, f64)>,
    last_s: i64,
    bounds: Option<Bounds>,
    judged_since: u32,
    away: Option<Away>,
}

/// Beyond which a run is an onset, of a reference of some time.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    median: f64,
    /// The farthest runs.
    highest: f64,
    lowest: f64,
    upper: f64,
    lower: f64,
}

/// An onset that lasts.
#[derive(Debug, Clone)]
struct Away {
    bounds: Bounds,
    direction: Direction,
    points: VecDeque<f64>,
    lasted: usize,
    back: usize,
}

impl OnsetDetector {
    /// A detector that has seen nothing. `min_effect` is in the values' unit: smaller differences from
    /// the median do not count.
    pub fn new(options: Options, min_effect: f64) -> Self {
        Self {
            options,
            min_effect: min_effect.max(0.0),
            reference: VecDeque::new(),
            young: VecDeque::new(),
            last_s: i64::MIN,
            bounds: None,
            judged_since: 0,
            away: None,
        }
    }

    /// Whether the level is away from its reference.
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Whether there is enough of a past to judge by.
    pub fn is_warm(&self) -> bool {
        self.reference.len() >= self.options.warm_up
    }

    /// Takes a point. NaN, infinities and points that are not later than the last one are left out.
    pub fn push(&mut self, at_s: i64, value: f64) -> Option<Change> {
        let last = (self.last_s > i64::MIN).then_some(self.last_s);
        if !value.is_finite() || last.is_some_and(|last| at_s <= last) {
            return None;
        }
        if self.away.is_some() {
            self.last_s = at_s;
            return self.follow(value);
        }
        if last.is_some_and(|last| at_s - last > GAP_STEPS * self.options.step_s) {
            self.grow_up(0);
        }
        self.last_s = at_s;
        self.young.push_back((at_s, value));
        self.grow_up(self.options.run + GUARD);
        let onset = self.judge()?;
        let points = self.run().collect();
        let before = self.young.len() - self.options.run;
        self.young.truncate(before);
        self.grow_up(0);
        self.away = self.bounds.map(|bounds| Away {
            bounds,
            direction: onset.direction,
            points,
            lasted: self.options.run,
            back: 0,
        });
        Some(Change::Began(onset))
    }

    /// Lets all but the youngest into the reference, which keeps its length.
    fn grow_up(&mut self, young: usize) {
        let old = self.young.len().saturating_sub(young);
        let grown = self.young.drain(..old).map(|young| young.1);
        self.reference.extend(grown);
        let most = self.reference.len().saturating_sub(self.options.reference);
        self.reference.drain(..most);
    }

    /// The last points, as many as a run has.
    fn run(&self) -> impl Iterator<Item = f64> {
        let skipped = self.young.len().saturating_sub(self.options.run);
        self.young.iter().skip(skipped).map(|young| young.1)
    }

    fn judge(&mut self) -> Option<Onset> {
        if !self.is_warm() || self.young.len() < self.options.run {
            return None;
        }
        let least = self.run().fold(f64::INFINITY, f64::min);
        let most = self.run().fold(f64::NEG_INFINITY, f64::max);
        self.judged_since += 1;
        let stale = self.judged_since >= REFRESH || self.bounds.is_none();
        // Bounds of a moment ago are good enough to pass a point that is within them.
        let strays = |bounds: &Bounds| least > bounds.upper || most < bounds.lower;
        if stale || self.bounds.as_ref().is_some_and(strays) {
            self.bounds = self.bounds_now();
            self.judged_since = 0;
        }
        let bounds = self.bounds.filter(strays)?;
        let (direction, bound) = match least > bounds.upper {
            true => (Direction::Up, bounds.upper),
            false => (Direction::Down, bounds.lower),
        };
        let first = self.young.len() - self.options.run;
        Some(Onset {
            at_s: self.young.get(first)?.0,
            before: bounds.median,
            after: crate::median(&self.run().collect::<Vec<_>>())?,
            bound,
            p_value: 1.0 / self.reference.len().max(1) as f64,
            direction,
        })
    }

    fn bounds_now(&self) -> Option<Bounds> {
        let values: Vec<f64> = self.reference.iter().copied().collect();
        let bulk: Option<Vec<f64>> = quantiles(&mut values.clone(), &BULK).into_iter().collect();
        let [mut lowest, median, mut highest] = bulk?.try_into().ok()?;
        for run in values.windows(self.options.run) {
            highest = run
                .iter()
                .copied()
                .fold(f64::INFINITY, f64::min)
                .max(highest);
            lowest = run
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max)
                .min(lowest);
        }
        let points = values.len().max(1) as f64;
        let least = self.min_effect.max(self.options.min_share * median.abs());
        let margin = 1.0 + self.options.margin * (1.0 + self.options.warm_up as f64 / points);
        Some(Bounds {
            median,
            highest,
            lowest,
            upper: median + (margin * (highest - median)).max(least),
            lower: median - (margin * (median - lowest)).max(least),
        })
    }

    /// Whether an onset that lasts is over, or has become the new level.
    fn follow(&mut self, value: f64) -> Option<Change> {
        let away = self.away.as_mut()?;
        away.lasted += 1;
        away.points.push_back(value);
        while away.points.len() > self.options.reference {
            away.points.pop_front();
        }
        // Half the way back counts: the noise around the old level must not keep it away.
        let bounds = away.bounds;
        let is_back = match away.direction {
            Direction::Up => value <= (bounds.highest + bounds.upper) / 2.0,
            Direction::Down => value >= (bounds.lowest + bounds.lower) / 2.0,
        };
        away.back = if is_back { away.back + 1 } else { 0 };
        if away.back >= self.options.recovery {
            // What has happened is a part of what is usual: the same again within the reference's
            // time is told once.
            let happened = std::mem::take(&mut away.points);
            self.away = None;
            self.bounds = None;
            self.young.clear();
            self.reference.extend(happened);
            self.grow_up(0);
            return Some(Change::Ended);
        }
        if away.lasted >= self.options.adopt {
            self.reference = std::mem::take(&mut away.points);
            self.away = None;
            self.bounds = None;
            self.young.clear();
            return Some(Change::Adopted);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Kind, Noise};

    fn feed(detector: &mut OnsetDetector, from: usize, values: &[f64]) -> Vec<(usize, Change)> {
        let mut changes = Vec::new();
        for (i, value) in values.iter().enumerate() {
            let at = from + i;
            changes.extend(detector.push(10 * at as i64, *value).map(|c| (at, c)));
        }
        changes
    }

    #[test]
    fn a_step_is_told_with_its_third_point_and_its_end_a_minute_after() {
        let mut noise = Noise::new(1);
        let mut values: Vec<f64> = noise.normals(600).iter().map(|v| 100.0 + v).collect();
        values[400..500].iter_mut().for_each(|v| *v += 30.0);
        let mut detector = OnsetDetector::new(Options::default(), 1.0);
        let changes = feed(&mut detector, 0, &values);
        let (at, Change::Began(onset)) = changes[0] else {
            panic!("{changes:?}");
        };
        assert_eq!(
            (at, onset.at_s, onset.direction),
            (402, 4_000, Direction::Up)
        );
        assert!((onset.before - 100.0).abs() < 0.3 && (onset.after - 130.0).abs() < 3.0);
        assert_eq!(changes[1..], [(505, Change::Ended)]);
        assert!(!detector.is_away());
    }

    #[test]
    fn falls_are_told_too_and_a_level_that_stays_is_adopted() {
        let mut noise = Noise::new(2);
        let mut values: Vec<f64> = noise.normals(1_200).iter().map(|v| 100.0 + v).collect();
        values[300..].iter_mut().for_each(|v| *v -= 40.0);
        values[900..].iter_mut().for_each(|v| *v += 40.0);
        let mut detector = OnsetDetector::new(Options::default(), 1.0);
        let changes = feed(&mut detector, 0, &values);
        let kinds: Vec<_> = changes
            .iter()
            .map(|(at, change)| match change {
                Change::Began(onset) => (*at, Some(onset.direction)),
                _ => (*at, None),
            })
            .collect();
        let down = (302, Some(Direction::Down));
        let adopted = (302 + 357, None);
        assert_eq!(kinds, [down, adopted, (902, Some(Direction::Up))]);
    }

    #[test]
    fn two_odd_points_a_spike_in_the_past_and_small_steps_are_nothing() {
        let mut noise = Noise::new(3);
        let mut values: Vec<f64> = noise.normals(600).iter().map(|v| 100.0 + v).collect();
        values[350] = 1e9;
        values[400..402].iter_mut().for_each(|v| *v += 500.0);
        values[500..].iter_mut().for_each(|v| *v += 20.0);
        let mut detector = OnsetDetector::new(Options::default(), 25.0);
        assert_eq!(feed(&mut detector, 0, &values), []);
    }

    #[test]
    fn constant_series_judge_by_the_least_effect_alone() {
        let mut values = vec![0.0; 400];
        values[300..].iter_mut().for_each(|v| *v = 0.5);
        let mut detector = OnsetDetector::new(Options::default(), 1.0);
        assert_eq!(feed(&mut detector, 0, &values), []);
        let mut detector = OnsetDetector::new(Options::default(), 0.1);
        assert_eq!(feed(&mut detector, 0, &values).len(), 1);
    }

    #[test]
    fn bad_points_are_left_out_and_a_gap_ends_a_run() {
        let mut detector = OnsetDetector::new(Options::default(), 1.0);
        let mut noise = Noise::new(4);
        feed(&mut detector, 0, &noise.normals(300));
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(detector.push(4_000, value), None);
        }
        assert_eq!(detector.push(10, 99.0), None, "not later than the last");
        // Two points away, a silence, and one more are not three in a row.
        for at_s in [3_000, 3_010, 4_000] {
            assert_eq!(detector.push(at_s, 50.0), None, "{at_s}");
        }
        assert!(!detector.is_away());
    }

    #[test]
    fn nothing_is_told_before_there_is_a_past() {
        let mut values = vec![1.0; 200];
        values[100..].iter_mut().for_each(|v| *v = 50.0);
        let mut detector = OnsetDetector::new(Options::default(), 1.0);
        assert_eq!(feed(&mut detector, 0, &values), []);
        assert!(detector.is_warm());
    }

    /// A day at ten seconds of 20 series of each kind: at most one false onset per 100 series and day
    /// (measured: see the documentation of the detector).
    #[test]
    fn unchanged_series_are_left_alone() {
        let mut told = 0;
        for kind in Kind::ALL {
            let mut noise = Noise::new(500 + kind as u64);
            for _ in 0..20 {
                let values = kind.series(&mut noise, &vec![1.0; 8_640]);
                let level = crate::median(&values).expect("a level");
                let mut detector = OnsetDetector::new(Options::default(), 0.1 * level.abs());
                let changes = feed(&mut detector, 0, &values);
                told += changes
                    .iter()
                    .filter(|(_, change)| matches!(change, Change::Began(_)))
                    .count();
            }
        }
        assert!(told <= 2, "{told} false onsets in 200 series and days");
    }
}
