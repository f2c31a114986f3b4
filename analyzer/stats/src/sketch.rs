//! A mergeable quantile sketch: a histogram over fixed buckets of equal relative width.
//!
//! Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees" (VLDB 2019). Buckets grow by the factor γ = 2^(1/35), so that the
//! middle of a value's bucket is within (γ − 1)/(γ + 1) = 0.9902 % of the value. Where the paper
//! takes a logarithm, whose last bit differs between mathematics libraries, a bucket here is found
//! by the exponent and a table of 35 bounds per octave: equal values fall into equal buckets on
//! every machine.
//!
//! A sketch is a function of the multiset of its values: neither the order of additions nor that of
//! merges shows in its bytes. What stands around it in a rollup is left to [`crate::rollup`].

mod bucket;
mod codec;
#[cfg(test)]
mod tests;
pub(crate) mod varint;

use std::fmt;

use self::bucket::Bucket;
use crate::quantile::between;

/// The greatest relative error of an estimated order statistic.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Adjacent buckets that a sketch keeps per sign: 117 octaves, 35 decades. Values that are smaller
/// than the greatest of their sign by more than that share the lowest bucket, as in the paper's
/// section 2.2; their estimates are then too large in magnitude, never those of greater values.
pub const MAX_BUCKETS: usize = 4096;

/// Bytes that are not a sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SketchError {
    /// The bytes end before the sketch does.
    Truncated,
    /// A newer layout.
    Version(u8),
    /// Contradictory content; the words say which.
    Malformed(&'static str),
}

/// A histogram of finite values with their exact extremes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    positive: Buckets,
    negative: Buckets,
    /// Zeros, and values too small to be normal numbers (below 2.3e-308).
    zeros: u64,
    extremes: Option<(f64, f64)>,
}

/// Counts of the buckets of one sign, ascending by magnitude; none is zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Buckets(Vec<(Bucket, u64)>);

impl Sketch {
    /// A sketch of these values; NaN and infinities are left out.
    pub fn of(values: &[f64]) -> Self {
        let mut sketch = Self::default();
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for value in values.iter().filter(|value| value.is_finite()) {
            match Bucket::of(value.abs()) {
                None => sketch.zeros += 1,
                Some(bucket) if *value > 0.0 => positive.push(bucket),
                Some(bucket) => negative.push(bucket),
            }
            sketch.widen(*value, *value);
        }
        sketch.positive = Buckets::counted(positive);
        sketch.negative = Buckets::counted(negative);
        sketch
    }

    /// Takes in one value; NaN and infinities are left out, which the answer says.
    pub fn add(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        match Bucket::of(value.abs()) {
            None => self.zeros = self.zeros.saturating_add(1),
            Some(bucket) if value > 0.0 => self.positive.add(bucket),
            Some(bucket) => self.negative.add(bucket),
        }
        self.widen(value, value);
        true
    }

    /// Takes in all values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        self.zeros = self.zeros.saturating_add(other.zeros);
        if let Some((min, max)) = other.extremes {
            self.widen(min, max);
        }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        let signs = self.positive.count().saturating_add(self.negative.count());
        signs.saturating_add(self.zeros)
    }

    /// The least value, exactly; `None` where there is none.
    pub fn min(&self) -> Option<f64> {
        self.extremes.map(|(min, _)| min)
    }

    /// The greatest value, exactly; `None` where there is none.
    pub fn max(&self) -> Option<f64> {
        self.extremes.map(|(_, max)| max)
    }

    /// The `p`-quantile by the definition of [`crate::quantile()`] (Hyndman and Fan's type 7), over
    /// order statistics that are each within [`RELATIVE_ERROR`] of their true values. `p` = 0 and 1
    /// are exact. `None` where there are no values or `p` is outside 0 to 1.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let (min, max) = self.extremes?;
        if !(0.0..=1.0).contains(&p) {
            return None;
        }
        let last = self.count() - 1;
        let position = last as f64 * p;
        // Within 0 to `last`, but for the rounding of counts above 2^53, which `min` takes back.
        let below = (position.floor() as u64).min(last);
        let fraction = position - position.floor();
        let at = |rank: u64| match rank {
            0 => min,
            rank if rank >= last => max,
            rank => self.order_statistic(rank).clamp(min, max),
        };
        let lower = at(below);
        if fraction == 0.0 {
            return Some(lower);
        }
        Some(between(lower, at(below + 1), fraction))
    }

    /// Several quantiles, in the order of `ps`.
    pub fn quantiles(&self, ps: &[f64]) -> Vec<Option<f64>> {
        ps.iter().map(|p| self.quantile(*p)).collect()
    }

    /// The sketch as bytes, the same for equal sketches.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size_hint());
        codec::encode(self, &mut bytes);
        bytes
    }

    /// Reads what [`Self::encode`] wrote. Only those bytes are taken: what decodes encodes again to
    /// the same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = varint::Reader::new(bytes);
        let sketch = codec::decode(&mut reader)?;
        reader.finish()?;
        Ok(sketch)
    }

    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        codec::encode(self, bytes);
    }

    pub(crate) fn decode_from(reader: &mut varint::Reader<'_>) -> Result<Self, SketchError> {
        codec::decode(reader)
    }

    fn size_hint(&self) -> usize {
        32 + 2 * (self.positive.0.len() + self.negative.0.len())
    }

    fn widen(&mut self, min: f64, max: f64) {
        // Adding a zero turns -0 into 0, so that the order of the two does not show.
        let (low, high) = self.extremes.unwrap_or((min, max));
        self.extremes = Some((low.min(min) + 0.0, high.max(max) + 0.0));
    }

    /// The middle of the bucket that holds the value of this rank, 0 being the least.
    fn order_statistic(&self, rank: u64) -> f64 {
        let mut below = 0_u64;
        for (bucket, count) in self.negative.0.iter().rev() {
            below = below.saturating_add(*count);
            if rank < below {
                return -bucket.middle();
            }
        }
        below = below.saturating_add(self.zeros);
        if rank < below {
            return 0.0;
        }
        for (bucket, count) in &self.positive.0 {
            below = below.saturating_add(*count);
            if rank < below {
                return bucket.middle();
            }
        }
        // Ranks lie below the count, which is the sum of these.
        self.extremes.map_or(0.0, |(_, max)| max)
    }
}

impl Buckets {
    fn counted(mut buckets: Vec<Bucket>) -> Self {
        buckets.sort_unstable();
        let runs = buckets.chunk_by(|a, b| a == b);
        let mut counted = Self(runs.map(|run| (run[0], run.len() as u64)).collect());
        counted.collapse();
        counted
    }

    fn add(&mut self, bucket: Bucket) {
        match self.0.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) => self.0.insert(at, (bucket, 1)),
        }
        self.collapse();
    }

    fn merge(&mut self, other: &Self) {
        let mut merged: Vec<(Bucket, u64)> = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a.0 > b.0 => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            let Some((bucket, count)) = next else { break };
            match merged.last_mut() {
                Some(last) if last.0 == *bucket => last.1 = last.1.saturating_add(*count),
                _ => merged.push((*bucket, *count)),
            }
        }
        self.0 = merged;
        self.collapse();
    }

    /// Moves what lies more than [`MAX_BUCKETS`] below the greatest bucket into the lowest that is
    /// kept. Since the greatest bucket only ever rises, it makes no difference when this happens.
    fn collapse(&mut self) {
        let Some((greatest, _)) = self.0.last() else {
            return;
        };
        let lowest = greatest.lowest_beside();
        let outside = self.0.partition_point(|(bucket, _)| *bucket < lowest);
        if outside == 0 {
            return;
        }
        let moved = total(&self.0[..outside]);
        self.0.drain(..outside);
        match self.0.first_mut() {
            Some(first) if first.0 == lowest => first.1 = first.1.saturating_add(moved),
            _ => self.0.insert(0, (lowest, moved)),
        }
    }

    fn count(&self) -> u64 {
        total(&self.0)
    }
}

fn total(buckets: &[(Bucket, u64)]) -> u64 {
    let counts = buckets.iter().map(|(_, count)| *count);
    counts.fold(0, u64::saturating_add)
}

impl fmt::Display for SketchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end before the sketch does"),
            Self::Version(found) => write!(
                f,
                "a sketch of version {found} is newer than this build reads; upgrade it"
            ),
            Self::Malformed(reason) => write!(f, "the bytes are not a sketch: {reason}"),
        }
    }
}

impl std::error::Error for SketchError {}
