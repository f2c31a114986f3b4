//! Unchanged series that follow the day, for measuring what a detector does with few days of them.

use std::f64::consts::TAU;

use super::Noise;

/// Days of a week that a working week leaves quiet.
const QUIET_DAYS: usize = 2;

/// The shape of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    /// None: what is held against the others.
    Flat,
    /// One smooth wave.
    Wave,
    /// Two waves of different height, as of lunch and evening.
    TwoPeaks,
    /// Low at night, high by day, within an hour from one to the other.
    Office,
    /// Flat but for one hour.
    Batch,
    /// Two waves on five days, and a third of them on two.
    WorkingWeek,
}

impl Cycle {
    /// All shapes.
    pub const ALL: [Self; 6] = [
        Self::Flat,
        Self::Wave,
        Self::TwoPeaks,
        Self::Office,
        Self::Batch,
        Self::WorkingWeek,
    ];

    /// The level at a time of the day from 0 to 1, between about -1 and 1.
    fn level(self, day: usize, time: f64) -> f64 {
        let bump = |at: f64, width: f64| {
            let away = (time - at + 0.5).rem_euclid(1.0) - 0.5;
            (-0.5 * (away / width).powi(2)).exp()
        };
        let ramp = |at: f64| ((time - at) * 24.0).clamp(0.0, 1.0);
        match self {
            Self::Flat => 0.0,
            Self::Wave => (TAU * time).sin(),
            Self::TwoPeaks => 1.2 * bump(0.52, 0.06) + 1.8 * bump(0.83, 0.08) - 0.5,
            Self::Office => 2.0 * (ramp(0.33) - ramp(0.75)) - 1.0,
            Self::Batch if (0.1..0.142).contains(&time) => 2.0,
            Self::Batch => 0.0,
            Self::WorkingWeek => {
                let quiet = if day % 7 < QUIET_DAYS { 1.0 / 3.0 } else { 1.0 };
                quiet * (Self::TwoPeaks.level(day, time) + 0.5) - 0.5
            }
        }
    }
}

/// A series that follows the day around one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Days {
    /// The shape of a day.
    pub cycle: Cycle,
    /// Half the distance between night and day, relative to the level.
    pub depth: f64,
    /// By how much that differs from day to day, relative.
    pub unsteadiness: f64,
    /// Relative deviation of the noise.
    pub deviation: f64,
    /// Its correlation over an hour: 0 is white.
    pub memory: f64,
    /// Samples of a day.
    pub per_day: usize,
    /// Which day of the week is the first.
    pub weekday: usize,
}

impl Days {
    /// One of all that are usual: depths of 3 to 60 %, noise of 1 to 8 %.
    pub fn any(noise: &mut Noise, cycle: Cycle, memory: f64, per_day: usize) -> Self {
        Self {
            cycle,
            depth: 0.03 * 20.0_f64.powf(noise.uniform()),
            unsteadiness: 0.03,
            deviation: 0.01 * 8.0_f64.powf(noise.uniform()),
            memory,
            per_day,
            weekday: (7.0 * noise.uniform()) as usize,
        }
    }

    /// Whether the last day of a series of so many samples is one of the two quiet days of a
    /// [`Cycle::WorkingWeek`], or the one after them.
    pub fn ends_at_a_weekend(&self, n: usize) -> bool {
        (n / self.per_day + self.weekday) % 7 <= QUIET_DAYS
    }

    /// A series that ends at midnight, whose level is multiplied by `factors`, one for each sample.
    pub fn series(&self, noise: &mut Noise, factors: &[f64]) -> Vec<f64> {
        let per_day = self.per_day as f64;
        let phi = self.memory.powf(24.0 / per_day);
        let noises = noise.ar1(factors.len(), phi);
        let days = factors.len() / self.per_day + 1;
        let depths: Vec<f64> = (0..days)
            .map(|_| self.depth * (1.0 + self.unsteadiness * noise.normal()))
            .collect();
        // The last sample of the last day is the one before midnight.
        let missing = days * self.per_day - factors.len();
        let place = |at: usize| at + missing;
        (0..factors.len())
            .map(|at| {
                let (day, time) = (place(at) / self.per_day, place(at) % self.per_day);
                let level =
                    depths[day] * self.cycle.level(day + self.weekday, time as f64 / per_day);
                100.0 * (level + self.deviation * noises[at]).exp() * factors[at]
            })
            .collect()
    }
}
