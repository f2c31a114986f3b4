//! A small mergeable histogram of response times: one for every window of a step, merged into
//! batches many times over. Its bins grow with the value (64 to each doubling, so that a bin is at
//! most 1.6 % wide), and only the touched range is stored and merged; a fixed-size histogram would
//! spend most of its time on bins that are empty.

/// Bins to each doubling of the value.
const BINS_PER_DOUBLING: u64 = 64;
/// The binary logarithm of [`BINS_PER_DOUBLING`].
const BIN_BITS: u32 = BINS_PER_DOUBLING.trailing_zeros();
/// Longest time that is told apart: what is longer counts as this long (about 19 hours).
const LONGEST_NS: u64 = 1 << 46;

/// Response times in nanoseconds; exact in count and mean, within 0.8 % in quantiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    first: usize,
    counts: Vec<u64>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Latencies {
    /// Takes one response time. An operation that was never answered counts with the time that it
    /// had waited when it was given up: it took at least that long.
    pub fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Takes the same response time several times.
    pub fn record_n(&mut self, ns: u64, times: u64) {
        if times == 0 {
            return;
        }
        let ns = ns.min(LONGEST_NS);
        let bin = bin_of(ns);
        self.cover(bin, bin);
        self.counts[bin - self.first] += times;
        self.count += times;
        self.sum_ns += u128::from(ns) * u128::from(times);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Takes everything that another one holds.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.cover(other.first, other.first + other.counts.len() - 1);
        let shift = other.first - self.first;
        for (to, from) in self.counts[shift..].iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean in nanoseconds, exact.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }

    /// The longest, in nanoseconds.
    pub fn max_ns(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max_ns as f64)
    }

    /// A quantile in nanoseconds, interpolated within its bin; `share` is between 0 and 1.
    pub fn quantile_ns(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0.0;
        for (offset, &count) in self.counts.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                let (low, width) = bounds_of(self.first + offset);
                let within = ((wanted - below) / count).clamp(0.0, 1.0);
                return Some((low + width * within).min(self.max_ns as f64));
            }
            below += count;
        }
        self.max_ns()
    }

    fn cover(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.first = low;
            self.counts.resize(high - low + 1, 0);
            return;
        }
        if low < self.first {
            let missing = self.first - low;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = low;
        }
        let length = high - self.first + 1;
        if length > self.counts.len() {
            self.counts.resize(length, 0);
        }
    }
}

fn bin_of(ns: u64) -> usize {
    if ns < BINS_PER_DOUBLING {
        return ns as usize;
    }
    let doubling = ns.ilog2() - BIN_BITS;
    let within = (ns >> doubling) - BINS_PER_DOUBLING;
    (BINS_PER_DOUBLING * u64::from(doubling + 1) + within) as usize
}

/// Lower bound and width of a bin.
fn bounds_of(bin: usize) -> (f64, f64) {
    let bin = bin as u64;
    if bin < BINS_PER_DOUBLING {
        return (bin as f64, 1.0);
    }
    let doubling = bin / BINS_PER_DOUBLING - 1;
    let within = bin % BINS_PER_DOUBLING + BINS_PER_DOUBLING;
    ((within << doubling) as f64, (1_u64 << doubling) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_stay_within_one_bin(mut times in prop::collection::vec(0_u64..1 << 40, 1..200), share in 0.0_f64..=1.0) {
            let mut whole = Latencies::default();
            times.iter().for_each(|&ns| whole.record(ns));
            times.sort_unstable();
            let rank = ((share * times.len() as f64).ceil() as usize).max(1) - 1;
            let truth = times[rank] as f64;
            let found = whole.quantile_ns(share).expect("there are times");
            prop_assert!((found - truth).abs() <= truth / 64.0 + 1.0, "{found} for {truth}");
            prop_assert_eq!(whole.count(), times.len() as u64);
        }

        #[test]
        fn parts_merge_into_the_whole(left in prop::collection::vec(0_u64..1 << 40, 0..50), right in prop::collection::vec(0_u64..1 << 40, 0..50)) {
            let of = |times: &[u64]| {
                let mut latencies = Latencies::default();
                times.iter().for_each(|&ns| latencies.record(ns));
                latencies
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let whole = of(&[left, right].concat());
            prop_assert_eq!(merged.quantile_ns(0.95), whole.quantile_ns(0.95));
            prop_assert_eq!(merged.mean_ns(), whole.mean_ns());
            prop_assert_eq!(merged.max_ns(), whole.max_ns());
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Latencies::default().quantile_ns(0.5), None);
        assert_eq!(Latencies::default().mean_ns(), None);
    }
}
