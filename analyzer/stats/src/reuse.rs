//! Miss-ratio curves of a cache: what share of references an LRU cache of any size would miss.
//!
//! Sources: Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies"
//! (IBM Systems Journal 9, 1970), for stack distances; Waldspurger, Park, Garthwaite and Ahmad,
//! "Efficient MRC construction with SHARDS" (FAST 2015), for sampling keys by their hashes: at a
//! fixed rate (3.1), or a fixed number of keys with a threshold that falls (3.2), both with the
//! correction that they call SHARDS-adj (5.3).
//!
//! A key is followed if and only if its hash lies below a threshold, so that all of its references
//! are seen or none. The distance between two references to it is the size of what was touched
//! between, divided by the sampling rate.
//!
//! The curve is that of LRU. A cache that evicts by frequency, or by sampling as Redis does, has
//! another one, which is usually a little lower for skewed traffic. A time to live is respected
//! where [`Options::ttl`] says so: a key that is referenced after its lifetime is a miss at every
//! size. A lifetime is counted as an unbounded cache would, from the load at the first miss; a small
//! cache evicts and loads again before, so that its own lifetimes begin later and its misses are
//! slightly fewer than the curve says.
//!
//! What is hot, and what warming would bring, are in [`crate::hot`] and [`crate::warming`].

mod curve;
mod histogram;
mod stack;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod traces;

use std::collections::BinaryHeap;

pub use self::curve::{Interval, MissRatioCurve};
use self::histogram::{GROUPS, Histogram};
pub(crate) use self::stack::Stack;

/// With fewer followed keys than this a sampled curve says nothing: the relative error of a
/// distance is about one in the square root of the keys.
pub const FEWEST_KEYS: usize = 100;

/// Which keys are followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// Every key: exact stack distances. Memory grows with the distinct keys.
    All,
    /// This share of the keys, from 0 to 1. Memory grows with the distinct keys.
    Rate(f64),
    /// At most so many keys: the rate falls as more are met. Memory is bounded.
    Keys(usize),
    /// Every key of a trace that holds this share of all keys, above 0, and all references to them;
    /// [`ReuseSampler::left_out`] says how many others there were. Memory grows with the distinct keys.
    Taken(f64),
}

/// How a trace is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Which keys are followed.
    pub sampling: Sampling,
    /// Mixed into every hash: equal seeds follow equal keys.
    pub seed: u64,
    /// Lifetime of an entry, in the unit of [`Reference::at`].
    pub ttl: Option<u64>,
    /// So many references fill the cache and are not counted, so that the misses of an empty cache
    /// do not show in the curve.
    pub warm_up: u64,
}

/// One reference to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The key, as a hash of it.
    pub key: u64,
    /// The object's size in bytes, or 1 where sizes are counted in objects. Zero counts as 1.
    pub size: u64,
    /// When; only a time to live asks for it.
    pub at: u64,
}

/// What is known of a cache.
#[derive(Debug, Clone, PartialEq)]
pub enum Reuse {
    /// Nothing was traced, so nothing can be said.
    NoTrace,
    /// The trace is there, and too few of its keys were followed to reason about.
    TooFewKeys {
        /// References that were seen.
        references: u64,
        /// Keys that were followed.
        keys: usize,
    },
    /// The curve.
    Curve(MissRatioCurve),
}

/// Reads a trace, reference by reference.
#[derive(Debug, Clone)]
pub struct ReuseSampler {
    options: Options,
    /// Keys whose mixed hash is above are not followed.
    threshold: u64,
    /// Sampled keys, greatest hash first; used with [`Sampling::Keys`] alone.
    greatest: BinaryHeap<u64>,
    stack: Stack,
    histogram: Histogram,
    seen: u64,
    counted: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sampling: Sampling::Keys(8_192),
            seed: 0,
            ttl: None,
            warm_up: 0,
        }
    }
}

impl Reference {
    /// A reference of which neither size nor time matters.
    pub fn of(key: u64) -> Self {
        Self {
            key,
            size: 1,
            at: 0,
        }
    }
}

impl Reuse {
    /// Reads a whole trace.
    pub fn of(trace: impl IntoIterator<Item = Reference>, options: Options) -> Self {
        let mut sampler = ReuseSampler::new(options);
        for reference in trace {
            sampler.add(reference);
        }
        sampler.finish()
    }

    /// The curve, where there is one.
    pub fn curve(&self) -> Option<&MissRatioCurve> {
        match self {
            Self::Curve(curve) => Some(curve),
            Self::NoTrace | Self::TooFewKeys { .. } => None,
        }
    }
}

impl ReuseSampler {
    /// Begins with an empty cache. A rate outside of 0 to 1, or NaN, counts as the nearer end,
    /// NaN as 0; no keys count as one.
    pub fn new(options: Options) -> Self {
        let threshold = match options.sampling {
            // A cast of a float saturates, and takes NaN for 0.
            Sampling::Rate(rate) => (rate * 2.0_f64.powi(64)) as u64,
            Sampling::All | Sampling::Keys(_) | Sampling::Taken(_) => u64::MAX,
        };
        Self {
            options,
            threshold,
            greatest: BinaryHeap::new(),
            stack: Stack::default(),
            histogram: Histogram::default(),
            seen: 0,
            counted: 0,
        }
    }

    /// Takes in the next reference.
    pub fn add(&mut self, reference: Reference) {
        self.seen += 1;
        let counts = self.seen > self.options.warm_up;
        self.counted += u64::from(counts);
        let hash = mix(reference.key ^ self.options.seed);
        if hash <= self.threshold {
            self.follow(hash, reference, counts);
        }
    }

    /// Counts references that are not in a trace of some of the keys ([`Sampling::Taken`]).
    pub fn left_out(&mut self, references: u64) {
        self.seen += references;
        let counting = self.seen.saturating_sub(self.options.warm_up);
        self.counted += references.min(counting);
    }

    /// Keys that are followed now.
    pub fn keys(&self) -> usize {
        self.stack.len()
    }

    /// The share of keys that is followed now.
    pub fn rate(&self) -> f64 {
        match self.options.sampling {
            Sampling::Taken(rate) => rate.clamp(f64::MIN_POSITIVE, 1.0),
            _ => (self.threshold as f64 + 1.0) / 2.0_f64.powi(64),
        }
    }

    /// What the references so far say.
    pub fn finish(&self) -> Reuse {
        if self.counted == 0 {
            return Reuse::NoTrace;
        }
        if self.rate() < 1.0 && self.keys() < FEWEST_KEYS {
            return Reuse::TooFewKeys {
                references: self.counted,
                keys: self.keys(),
            };
        }
        Reuse::Curve(MissRatioCurve::new(
            &self.histogram,
            &self.stack.sizes(),
            self.counted,
            self.rate(),
        ))
    }

    fn follow(&mut self, hash: u64, reference: Reference, counts: bool) {
        let rate = self.rate();
        let touch = self.stack.touch(hash, reference.size.max(1), reference.at);
        if counts {
            let expired = match (self.options.ttl, &touch) {
                (Some(ttl), Some(touch)) => reference.at.saturating_sub(touch.loaded_at) >= ttl,
                _ => false,
            };
            // The least size of a cache that still holds the object: what was touched since, and
            // the object itself, which is not an estimate.
            let needed = touch.as_ref().filter(|_| !expired).map(|touch| {
                let others = (touch.others as f64 / rate).round();
                (others as u64).saturating_add(touch.own)
            });
            let group = (hash % GROUPS as u64) as usize;
            // Weighing by the rate of the moment is the paper's rescaling of counts by new over
            // old rate whenever the threshold falls, done at once.
            self.histogram.add(group, needed, 1.0 / rate);
        }
        if let Some(ttl) = self.options.ttl {
            self.stack.reload_after(hash, reference.at, ttl);
        }
        if let (Sampling::Keys(most), None) = (self.options.sampling, touch) {
            self.greatest.push(hash);
            self.shed(most.max(1));
        }
    }

    /// Lowers the threshold below the greatest followed hash until no more than `most` remain.
    fn shed(&mut self, most: usize) {
        while self.stack.len() > most {
            let Some(greatest) = self.greatest.pop() else {
                return;
            };
            self.stack.forget(greatest);
            self.threshold = greatest.saturating_sub(1);
        }
    }
}

/// The finaliser of SplitMix64 (see [`crate::noise`]): a bijection, so that two keys never share a
/// hash that they did not share before, and it also scatters keys that are small numbers.
pub(crate) fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
