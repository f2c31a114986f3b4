//! Unchanged series of the kinds that systems produce, for measuring what a detector does.
//!
//! What is tuned on this noise is judged on other noise: the parameters here are those of no
//! particular data set.

use super::Noise;

/// Samples of a cycle over a day, one an hour.
const DAY: usize = 24;
/// Samples of a week.
const WEEK: usize = 7 * DAY;

/// A kind of noise around a constant level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Normal, relative deviation 1 %.
    Gaussian,
    /// Lognormal, relative deviation 3 %.
    Lognormal,
    /// Student's t with three degrees of freedom, relative scale 1 %.
    HeavyTailed,
    /// AR(1) with memory 0.6, relative deviation 2 %.
    Autoregressive,
    /// Two modes about 4 % apart, of 0.6 % each.
    Bimodal,
    /// Normal with 2 % of samples 1.3 to 3 times as high.
    Spikes,
    /// Normal, rounded to steps of the size of the deviation.
    Quantised,
    /// A cycle over the day and lower weekends, noise 2 %.
    Daily,
    /// Peaks and a long tail, as repeated benchmarks of one binary have them.
    Resampled,
    /// The same drawn in blocks: neighbours come together.
    ResampledBlocks,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Gaussian,
        Self::Lognormal,
        Self::HeavyTailed,
        Self::Autoregressive,
        Self::Bimodal,
        Self::Spikes,
        Self::Quantised,
        Self::Daily,
        Self::Resampled,
        Self::ResampledBlocks,
    ];

    /// Samples of a usual series of this kind: a year of working days, four weeks of hours.
    pub fn usual_length(self) -> usize {
        if self == Self::Daily { 4 * WEEK } else { 250 }
    }

    /// A series whose level is multiplied by `factors`, one for each sample.
    pub fn series(self, noise: &mut Noise, factors: &[f64]) -> Vec<f64> {
        let n = factors.len();
        let level = (12.0 * noise.uniform() - 3.0).exp();
        let relative = self.relative(noise, n);
        let values = relative.iter().zip(factors).map(|(r, f)| level * r * f);
        if self == Self::Quantised {
            let quantum = 0.01 * level;
            values.map(|v| (v / quantum).round() * quantum).collect()
        } else {
            values.collect()
        }
    }

    fn relative(self, noise: &mut Noise, n: usize) -> Vec<f64> {
        let around = |values: Vec<f64>, deviation: f64| -> Vec<f64> {
            values.iter().map(|value| 1.0 + deviation * value).collect()
        };
        match self {
            Self::Gaussian | Self::Quantised => around(noise.normals(n), 0.01),
            Self::Lognormal => noise.normals(n).iter().map(|v| (0.03 * v).exp()).collect(),
            Self::HeavyTailed => {
                let values = (0..n)
                    .map(|_| noise.student3().clamp(-60.0, 60.0))
                    .collect();
                around(values, 0.01)
            }
            Self::Autoregressive => around(noise.ar1(n, 0.6), 0.02),
            Self::Bimodal => {
                let share = 0.15 + 0.2 * noise.uniform();
                let values = (0..n).map(|_| {
                    let upper = if noise.uniform() < share { 0.04 } else { 0.0 };
                    upper + 0.006 * noise.normal()
                });
                around(values.collect(), 1.0)
            }
            Self::Spikes => (0..n)
                .map(|_| {
                    let value = 1.0 + 0.01 * noise.normal();
                    let high = noise.uniform() < 0.02;
                    value
                        * if high {
                            1.3 + 1.7 * noise.uniform()
                        } else {
                            1.0
                        }
                })
                .collect(),
            Self::Daily => daily(noise, n),
            Self::Resampled => resampled(noise, n, 1),
            Self::ResampledBlocks => resampled(noise, n, 12),
        }
    }
}

fn daily(noise: &mut Noise, n: usize) -> Vec<f64> {
    let start = (noise.uniform() * WEEK as f64) as usize;
    let weekend = 1.0 - 0.2 * noise.uniform();
    (0..n)
        .map(|i| {
            let hour = start + i;
            let phase = hour as f64 / DAY as f64 * std::f64::consts::TAU;
            let quiet = hour % WEEK >= 5 * DAY;
            let cycle = 1.0 + 0.1 * phase.sin() + 0.03 * (2.0 * phase).cos();
            cycle * if quiet { weekend } else { 1.0 } * (1.0 + 0.02 * noise.normal())
        })
        .collect()
}

/// Draws from a pool of measurements, in blocks of up to this length.
fn resampled(noise: &mut Noise, n: usize, block: usize) -> Vec<f64> {
    let pool = pool(noise, 200);
    let mut values = Vec::with_capacity(n + block);
    while values.len() < n {
        let from = (noise.uniform() * pool.len() as f64) as usize;
        let length = if block == 1 {
            1
        } else {
            2 + (noise.uniform() * (block - 1) as f64) as usize
        };
        values.extend((from..from + length).map(|place| pool[place % pool.len()]));
    }
    values.truncate(n);
    values
}

/// Measurements in time order: a sharp peak, one or two more modes that come in stretches, and a
/// tail, with few significant digits.
fn pool(noise: &mut Noise, n: usize) -> Vec<f64> {
    let width = 0.0015 * (3.0 * noise.uniform()).exp();
    let spread = width * (2.0 + 6.0 * noise.uniform());
    let tail = 0.02 + 0.06 * noise.uniform();
    let (mode, share) = (1.0 + spread * noise.normal(), 0.3 * noise.uniform());
    let stay = 0.2 + 0.6 * noise.uniform();
    let memory = 0.5 * noise.uniform();
    let quantum = width * 0.1 * (1.0 + 3.0 * noise.uniform());
    let drift = noise.ar1(n, memory);
    let mut other = false;
    drift
        .iter()
        .map(|wander| {
            if noise.uniform() > stay {
                other = noise.uniform() < share;
            }
            let kind = noise.uniform();
            let value = if kind < tail {
                1.0 + spread * noise.student3().abs().min(40.0)
            } else if kind < tail + 0.3 {
                1.0 + spread * wander
            } else if other {
                mode + width * wander
            } else {
                1.0 + width * wander
            };
            ((value.max(0.2) / quantum).round() * quantum).max(quantum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::median;

    #[test]
    fn every_kind_keeps_its_level_but_for_the_factors() {
        for kind in Kind::ALL {
            let mut ratios = Vec::new();
            for seed in 0..40 {
                let factors: Vec<f64> = (0..1_344)
                    .map(|i| if i < 672 { 1.0 } else { 1.2 })
                    .collect();
                let series = kind.series(&mut Noise::new(seed), &factors);
                assert!(
                    series.iter().all(|value| value.is_finite() && *value > 0.0),
                    "{kind:?}"
                );
                let before = median(&series[..672]).expect("samples");
                ratios.push(median(&series[672..]).expect("samples") / before);
            }
            let ratio = median(&ratios).expect("ratios");
            assert!((ratio - 1.2).abs() < 0.02, "{kind:?}: {ratio}");
        }
    }
}
