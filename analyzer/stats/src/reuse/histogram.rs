//! Weighted counts of the cache sizes that references need, by group of keys.

/// Keys fall into so many groups by their hashes; how the groups differ gives the interval.
pub(super) const GROUPS: usize = 32;
/// Buckets per octave: neighbours differ by less than 0.8 %.
const PER_OCTAVE: usize = 128;
/// Sizes below are counted one by one.
const EXACT: u64 = 2 * PER_OCTAVE as u64;

/// Weights per group.
pub(super) type Weights = [f64; GROUPS];

/// At most 57 octaves of buckets, whatever the trace; no more than up to the greatest size met.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    pub(super) buckets: Vec<Weights>,
    /// References that no cache could have answered.
    pub(super) never: Weights,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            never: [0.0; GROUPS],
        }
    }
}

impl Histogram {
    /// Counts a reference that a cache of at least `needed` answers; `None` where none does.
    pub(super) fn add(&mut self, group: usize, needed: Option<u64>, weight: f64) {
        match needed {
            None => self.never[group] += weight,
            Some(needed) => {
                let bucket = bucket(needed);
                if bucket >= self.buckets.len() {
                    self.buckets.resize(bucket + 1, [0.0; GROUPS]);
                }
                self.buckets[bucket][group] += weight;
            }
        }
    }
}

/// The bucket of a size.
pub(super) fn bucket(size: u64) -> usize {
    if size < EXACT {
        return size as usize;
    }
    let octave = size.ilog2() as usize;
    let shift = octave - PER_OCTAVE.ilog2() as usize;
    // The leading bit is set, so this is from PER_OCTAVE to just below twice that.
    let leading = (size >> shift) as usize;
    shift * PER_OCTAVE + leading
}

/// The least size in a bucket.
pub(super) fn least(bucket: usize) -> u64 {
    if bucket < EXACT as usize {
        return bucket as u64;
    }
    let shift = bucket / PER_OCTAVE - 1;
    let leading = (bucket - shift * PER_OCTAVE) as u128;
    u64::try_from(leading << shift).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ascending_narrow_and_hold_their_sizes() {
        let mut before = None;
        for size in (0..5_000).chain((0..400).map(|i| 5_000 + i * i * 1_000_003)) {
            let at = bucket(size);
            assert!(least(at) <= size && size < least(at + 1), "{size}");
            assert!(before.is_none_or(|before| before <= at), "{size}");
            if size >= EXACT {
                let width = (least(at + 1) - least(at)) as f64;
                assert!(width / size as f64 <= 1.0 / PER_OCTAVE as f64, "{size}");
            }
            before = Some(at);
        }
        assert!(bucket(u64::MAX) < 58 * PER_OCTAVE);
        assert_eq!(least(bucket(u64::MAX) + 1), u64::MAX);
    }
}
