//! A series that grows: each sample costs little, and all of them are judged again when that may
//! tell something new.
//!
//! A cumulative sum (Page, "Continuous inspection schemes", 1954) of the distance from the last
//! level watches the new samples. It only decides when [`detect`] runs over what is kept: what is
//! reported is what `detect` says of the same samples, to the last bit.

use super::{ChangePoint, Options, detect};
use crate::robust::{mad, median};
use std::ops::Range;

/// Distance from the level, in deviations, that counts as none: half of a step of one deviation.
const SLACK: f64 = 0.5;
/// A sum beyond this asks for a look at the series: eight samples at one deviation and a half.
const LIMIT: f64 = 8.0;
/// Distances are clamped to so many deviations, so that two samples alone ask for nothing.
const FAR: f64 = 3.0;
/// A look comes at the earliest after this part of the samples, and at the latest after twice that
/// part, so that the work per sample does not grow with the series.
const EARLIEST: usize = 16;

/// A growing series with its change points.
#[derive(Debug, Clone)]
pub struct History {
    options: Options,
    capacity: usize,
    values: Vec<f64>,
    /// Index of the first sample that is kept.
    first: u64,
    unseen: usize,
    changes: Vec<ChangePoint>,
    level: f64,
    spread: f64,
    above: f64,
    below: f64,
}

impl History {
    /// An empty series that keeps at most so many samples, at least 64: when they are exceeded, the
    /// oldest quarter is forgotten.
    pub fn new(options: Options, capacity: usize) -> Self {
        Self {
            options,
            capacity: capacity.max(64),
            values: Vec::new(),
            first: 0,
            unseen: 0,
            changes: Vec::new(),
            level: 0.0,
            spread: 0.0,
            above: 0.0,
            below: 0.0,
        }
    }

    /// Adds a sample, NaN for a missing one. Returns whether the series was looked at again.
    ///
    /// At the latest a look comes when the samples have grown by an eighth since the last; sooner,
    /// after a sixteenth and [`Options::min_samples`], where they stray from the last level.
    pub fn append(&mut self, value: f64) -> bool {
        let full = self.values.len() == self.capacity;
        if full {
            let oldest = self.capacity / 4;
            self.values.drain(..oldest);
            self.first += oldest as u64;
        }
        self.values.push(value);
        self.unseen += 1;
        if value.is_finite() {
            let distance = (value - self.level) / self.spread;
            // Without any spread, a value is either the level (NaN) or far away.
            let distance = if distance.is_nan() {
                0.0
            } else {
                distance.clamp(-FAR, FAR)
            };
            self.above = (self.above + distance - SLACK).clamp(0.0, 2.0 * LIMIT);
            self.below = (self.below - distance - SLACK).clamp(0.0, 2.0 * LIMIT);
        }
        let least = self.options.min_samples.max(2);
        let earliest = (self.values.len() / EARLIEST).max(least);
        let strays = self.above.max(self.below) > LIMIT;
        // What is forgotten moves the indices of the changes.
        let due = full || self.unseen >= if strays { earliest } else { 2 * earliest };
        if due {
            self.look();
        }
        due
    }

    /// Judges all samples that are kept, now.
    pub fn look(&mut self) {
        self.unseen = 0;
        let before = self.changes.len();
        self.changes = detect(&self.values, &self.options);
        let start = self.changes.last().map_or(0, |change| change.index);
        let recent: Vec<f64> = self.values[start..]
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        if self.changes.len() > before {
            // The level that the sums strayed from is no longer the last.
            (self.above, self.below) = (0.0, 0.0);
        }
        self.level = median(&recent).unwrap_or(0.0);
        self.spread = mad(&recent).unwrap_or(0.0);
    }

    /// The change points as of the last look. Their indices count from the start of
    /// [`History::kept`].
    pub fn changes(&self) -> &[ChangePoint] {
        &self.changes
    }

    /// Which of all samples that were appended are kept, counted from 0.
    pub fn kept(&self) -> Range<u64> {
        self.first..self.first + self.values.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn stepped(seed: u64, at: usize, n: usize, step: f64) -> Vec<f64> {
        let mut values = Noise::new(seed).normals(n);
        for (place, value) in values.iter_mut().enumerate() {
            *value += 100.0 + if place < at { 0.0 } else { step };
        }
        values
    }

    #[test]
    fn every_look_says_what_detect_says() {
        let mut values = stepped(1, 300, 700, 4.0);
        values[100] = f64::NAN;
        let options = Options::default();
        let mut history = History::new(options, 400);
        let mut looks = 0;
        for (place, value) in values.iter().enumerate() {
            if history.append(*value) {
                looks += 1;
                let kept = history.kept();
                assert_eq!(kept.end, place as u64 + 1);
                let range = kept.start as usize..kept.end as usize;
                assert_eq!(history.changes(), detect(&values[range], &options));
            }
        }
        assert!((20..150).contains(&looks), "{looks} looks at 700 samples");
        assert!(history.kept().end - history.kept().start <= 400);
    }

    /// A step of four deviations is told before the sixteenth part of the series has passed twice.
    #[test]
    fn a_step_is_told_soon() {
        for seed in 0..20 {
            let values = stepped(seed, 500, 600, 4.0);
            let mut history = History::new(Options::default(), 10_000);
            let told = values.iter().position(|value| {
                history.append(*value);
                history
                    .changes()
                    .iter()
                    .any(|change| change.index.abs_diff(500) <= 3)
            });
            let told = told.expect("the step is found");
            assert!((502..565).contains(&told), "seed {seed}: told at {told}");
        }
    }

    #[test]
    fn constants_and_missing_samples_are_silent() {
        let mut history = History::new(Options::default(), 0);
        for place in 0..300 {
            history.append(if place % 3 == 0 { f64::NAN } else { 5.0 });
        }
        assert!(history.changes().is_empty());
        assert_eq!(history.kept().end, 300);
        for _ in 0..30 {
            history.append(7.0);
        }
        history.look();
        assert_eq!(history.changes().len(), 1, "{:?}", history.changes());
    }
}
