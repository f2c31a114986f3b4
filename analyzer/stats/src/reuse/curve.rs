//! The curve and what it answers.

use super::histogram::{GROUPS, Histogram, Weights, bucket, least};
use super::stack::Sizes;
use crate::student::student_quantile;

/// The share of references that an LRU cache misses, by its size: in objects, or in bytes where the
/// trace knew sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct MissRatioCurve {
    /// References that were counted, followed or not.
    pub references: u64,
    /// The share of keys that was followed at the end.
    pub rate: f64,
    /// Keys that were followed at the end.
    pub keys: usize,
    /// Estimate of the distinct keys.
    pub distinct_keys: f64,
    /// Estimate of the size of all distinct keys together: nothing more is ever in the cache.
    pub footprint: f64,
    /// Keys of equal size that vary as these do, per unit of size.
    keys_per_size: f64,
    /// Misses of a cache that is one smaller than the least size of each bucket, and last of one
    /// that holds everything: per group.
    misses: Vec<Weights>,
}

/// A value between its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
}

impl MissRatioCurve {
    pub(super) fn new(histogram: &Histogram, sizes: &Sizes, references: u64, rate: f64) -> Self {
        let mut misses = vec![histogram.never];
        for weights in histogram.buckets.iter().rev() {
            let above = misses[misses.len() - 1];
            misses.push(std::array::from_fn(|group| above[group] + weights[group]));
        }
        misses.reverse();
        Self {
            references,
            rate,
            keys: sizes.keys,
            distinct_keys: sizes.keys as f64 / rate,
            footprint: sizes.sum / rate,
            keys_per_size: sizes.sum / sizes.sum_of_squares,
            misses,
        }
    }

    /// The share of references that a cache of this size misses, from 0 to 1.
    ///
    /// Misses are divided by all references, not by the followed ones: by chance the sample holds
    /// more or fewer of the hottest keys than its share, and since these hit in any cache, the
    /// difference belongs to the hits (SHARDS-adj).
    pub fn miss_ratio(&self, size: f64) -> f64 {
        let misses: f64 = self.misses_at(size).iter().sum();
        (misses / self.references as f64).clamp(0.0, 1.0)
    }

    /// The miss ratio with an interval of this confidence, which adds two causes of error in
    /// quadrature: which keys were followed, by the spread of the miss counts among groups of keys
    /// (random groups: Wolter, "Introduction to variance estimation", 2007, 2.2), and how far
    /// distances are off, a binomial proportion of the keys in the cache, times the slope.
    pub fn miss_ratio_interval(&self, size: f64, confidence: f64) -> Interval {
        let chosen = self.spread(&self.misses_at(size));
        let off = self.distance_error(size);
        let sloped = 0.5 * (self.miss_ratio(size - off) - self.miss_ratio(size + off));
        let value = self.miss_ratio(size);
        around(value, chosen.hypot(sloped), confidence, (0.0, 1.0))
    }

    /// How much the miss ratio falls if a cache of this size grows by a share of it (0.1 for 10 %),
    /// with an interval of this confidence. Both ratios come from the same keys, so that most of
    /// their error cancels.
    pub fn gain(&self, size: f64, growth: f64, confidence: f64) -> Interval {
        let larger = size * (1.0 + growth);
        let (before, after) = (self.misses_at(size), self.misses_at(larger));
        let fewer: Weights = std::array::from_fn(|group| before[group] - after[group]);
        let gain = |size: f64| self.miss_ratio(size) - self.miss_ratio(size * (1.0 + growth));
        let off = self.distance_error(size);
        let sloped = 0.5 * (gain(size - off) - gain(size + off)).abs();
        let error = self.spread(&fewer).hypot(sloped);
        around(gain(size), error, confidence, (-1.0, 1.0))
    }

    /// The least miss ratio that any size reaches: what was never referenced before, or had expired.
    pub fn floor(&self) -> f64 {
        self.miss_ratio(f64::INFINITY)
    }

    /// The working set: the least size with this share of the hits that an unbounded cache has.
    /// `None` where nothing ever hits or the share is outside of 0 to 1.
    pub fn working_set(&self, share: f64) -> Option<f64> {
        let most = 1.0 - self.floor();
        if most <= 0.0 || !(0.0..=1.0).contains(&share) {
            return None;
        }
        // A sum that is taken in another order may be off by its last bits.
        let wanted = 1.0 - share * most + 1e-12;
        let reached = |misses: &Weights| misses.iter().sum::<f64>() / self.references as f64;
        let at = self
            .misses
            .partition_point(|misses| reached(misses).min(1.0) > wanted);
        Some(least(at).saturating_sub(1) as f64)
    }

    /// Misses per group of a cache of this size, interpolated within a bucket.
    fn misses_at(&self, size: f64) -> Weights {
        let last = self.misses.len() - 1;
        // A reference that needs s hits from size s on: the misses at s are those above s, which
        // begin at s + 1. Casts of floats saturate, and take NaN for 0.
        let from = (size.max(0.0).floor() as u64).saturating_add(1);
        let at = bucket(from);
        if at >= last {
            return self.misses[last];
        }
        let (low, high) = (least(at), least(at + 1));
        let share = (from - low) as f64 / (high - low) as f64;
        let (here, next) = (self.misses[at], self.misses[at + 1]);
        std::array::from_fn(|group| here[group] * (1.0 - share) + next[group] * share)
    }

    /// Standard error of a share of references that is a sum over groups of keys.
    fn spread(&self, groups: &Weights) -> f64 {
        let mean = groups.iter().sum::<f64>() / GROUPS as f64;
        let squares: f64 = groups.iter().map(|group| (group - mean).powi(2)).sum();
        let variance = squares * GROUPS as f64 / (GROUPS as f64 - 1.0);
        // Nothing is left to chance where every key is followed.
        (variance * (1.0 - self.rate)).sqrt() / self.references as f64
    }

    /// Standard error of a distance of this size.
    fn distance_error(&self, size: f64) -> f64 {
        let keys = (size * self.keys_per_size).max(1.0);
        let relative = ((1.0 - self.rate) / (self.rate * keys)).sqrt();
        size * relative
    }
}

fn around(value: f64, error: f64, confidence: f64, (least, most): (f64, f64)) -> Interval {
    let t = student_quantile(0.5 + 0.5 * confidence, GROUPS as f64 - 1.0);
    let half = if error == 0.0 { 0.0 } else { t * error };
    Interval {
        value,
        lo: (value - half).max(least),
        hi: (value + half).min(most),
    }
}
