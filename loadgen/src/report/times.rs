//! A distribution of times: exact count, mean and longest, quantiles within 0.1 %, and from where on
//! they are only lower bounds. Which times belong together is left to [`super::group`].

use hdrhistogram::Histogram;

use super::{HistogramRow, PercentileRow, Time, Times};

/// Buckets are narrower than 0.1 % of their values.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Times beyond a day count as a day, so that a broken clock cannot make a histogram grow.
pub(super) const LONGEST_NS: u64 = 24 * 3_600 * 1_000_000_000;
/// Shares beyond a point of the percentile curve, in percent of what the last nine left over: evenly
/// spread on a logarithmic axis, and whole numbers so that the curve is the same on every machine.
const TAILS: [u64; 20] = [
    100, 89, 79, 71, 63, 56, 50, 45, 40, 35, 32, 28, 25, 22, 20, 18, 16, 14, 13, 11,
];
/// The percentile curve ends at this many nines, however many operations there are.
const MAX_NINES: u32 = 7;
/// Bits below the leading one that tell the buckets of the chart apart: eight for each doubling.
const BUCKET_BITS: u32 = 3;

/// Times in nanoseconds, in whatever order they came.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    histogram: Histogram<u64>,
    sum_ns: u128,
    max_ns: u64,
    /// The shortest of those that were given up.
    censored_from_ns: Option<u64>,
    /// Operations that have no time at all, though they should have one.
    absent: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS);
        Self {
            histogram: histogram.expect("three digits are allowed"),
            sum_ns: 0,
            max_ns: 0,
            censored_from_ns: None,
            absent: 0,
        }
    }
}

impl Distribution {
    pub(super) fn record(&mut self, ns: u64, is_censored: bool) {
        let ns = ns.min(LONGEST_NS);
        self.histogram
            .record(ns)
            .expect("a histogram that resizes itself takes every value");
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
        if is_censored {
            self.censored_from_ns = Some(self.censored_from_ns.map_or(ns, |first| first.min(ns)));
        }
    }

    /// An operation that was never sent: nothing was waited for, so that any time would flatter. The
    /// quantiles that it could have moved beyond what was measured become lower bounds.
    pub(super) fn record_absent(&mut self) {
        self.absent += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("a histogram that resizes itself takes every other");
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
        self.absent += other.absent;
        self.censored_from_ns = match (self.censored_from_ns, other.censored_from_ns) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    pub(super) fn mean_ns(&self) -> f64 {
        self.sum_ns as f64 / self.histogram.len() as f64
    }

    pub(super) fn max_ns(&self) -> f64 {
        match self.is_empty() {
            true => f64::NAN,
            false => self.max_ns as f64,
        }
    }

    /// The time at a quantile; NaN without any.
    pub(super) fn quantile_ns(&self, quantile: f64) -> f64 {
        match self.is_empty() {
            true => f64::NAN,
            false => self.at_ranks(&[rank(quantile, self.histogram.len())])[0] as f64,
        }
    }

    pub(super) fn times(&self) -> Option<Times> {
        if self.is_empty() {
            return None;
        }
        let points = self.quantiles(&[0.5, 0.95, 0.99, 0.999]);
        let is_censored = self.censored_from_ns.is_some() || self.absent > 0;
        let exact = |ns: f64| Time {
            ms: ns / 1e6,
            at_least: is_censored,
        };
        Some(Times {
            mean: exact(self.mean_ns().round()),
            p50: points[0],
            p95: points[1],
            p99: points[2],
            p999: points[3],
            max: exact(self.max_ns as f64),
        })
    }

    /// The curve from the shortest time to the longest, with as many nines as there are operations
    /// for.
    pub(super) fn percentiles(&self) -> Vec<PercentileRow> {
        if self.is_empty() {
            return Vec::new();
        }
        let len = self.histogram.len();
        let points =
            (0..MAX_NINES).flat_map(|nines| TAILS.map(|tail| (tail, 100 * 10u64.pow(nines))));
        // A point needs an operation beyond it.
        let quantiles: Vec<f64> = points
            .take_while(|(tail, of)| u128::from(len) * u128::from(*tail) >= u128::from(*of))
            .map(|(tail, of)| (of - tail) as f64 / of as f64)
            .collect();
        let times = self.quantiles(&quantiles).into_iter();
        quantiles
            .iter()
            .zip(times)
            .map(|(quantile, time)| PercentileRow {
                quantile: *quantile,
                time,
            })
            .collect()
    }

    /// Coarse buckets for a chart.
    pub(super) fn buckets(&self) -> Vec<HistogramRow> {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        for step in self.histogram.iter_recorded() {
            let at = bucket_of(self.histogram.lowest_equivalent(step.value_iterated_to()));
            match rows.last_mut() {
                Some((last, count)) if *last == at => *count += step.count_since_last_iteration(),
                _ => rows.push((at, step.count_since_last_iteration())),
            }
        }
        rows.into_iter()
            .map(|(at, count)| HistogramRow {
                from_ms: bucket_from(at) as f64 / 1e6,
                until_ms: bucket_from(at + 1) as f64 / 1e6,
                count,
            })
            .collect()
    }

    /// Times at ascending quantiles of a distribution that is not empty.
    fn quantiles(&self, quantiles: &[f64]) -> Vec<Time> {
        let len = self.histogram.len();
        let ranks: Vec<u64> = quantiles.iter().map(|at| rank(*at, len)).collect();
        // Where operations without a time would stand if they had taken for ever.
        let with_absent: Vec<u64> = quantiles
            .iter()
            .map(|at| rank(*at, len + self.absent))
            .collect();
        let times = self.at_ranks(&ranks);
        let shifted = self.at_ranks(&with_absent);
        let first = self
            .censored_from_ns
            .map_or(u64::MAX, |ns| self.histogram.lowest_equivalent(ns));
        (0..quantiles.len())
            .map(|at| Time {
                ms: times[at] as f64 / 1e6,
                at_least: with_absent[at] > len || shifted[at] >= first,
            })
            .collect()
    }

    /// Times at ascending ranks from 1; a rank beyond the last has the longest time.
    fn at_ranks(&self, ranks: &[u64]) -> Vec<u64> {
        let mut times = Vec::with_capacity(ranks.len());
        let mut seen = 0;
        for step in self.histogram.iter_recorded() {
            seen += step.count_since_last_iteration();
            while times.len() < ranks.len() && ranks[times.len()] <= seen {
                times.push(step.value_iterated_to().min(self.max_ns));
            }
            if times.len() == ranks.len() {
                break;
            }
        }
        times.resize(ranks.len(), self.max_ns);
        times
    }
}

/// Eight buckets for each doubling, one for each value below eight.
fn bucket_of(ns: u64) -> u64 {
    let exponent = ns.max(1).ilog2().saturating_sub(BUCKET_BITS);
    (u64::from(exponent) << BUCKET_BITS) + (ns >> exponent)
}

/// The smallest value of a bucket.
fn bucket_from(bucket: u64) -> u64 {
    let octave = (bucket >> BUCKET_BITS).saturating_sub(1);
    (bucket - (octave << BUCKET_BITS)) << octave
}

/// The rank from 1 of a quantile among so many values: the smallest that has at least that share of
/// them at or below it.
pub(super) fn rank(quantile: f64, len: u64) -> u64 {
    // The factor keeps 0.95 × 20 = 19.000000000000004 from becoming 20.
    let rank = (quantile * len as f64 * (1.0 - 1e-12)).ceil() as u64;
    rank.clamp(1, len.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = (u64, bool)>) -> Distribution {
        let mut distribution = Distribution::default();
        for (ns, is_censored) in times {
            distribution.record(ns, is_censored);
        }
        distribution
    }

    #[test]
    fn a_quantile_is_a_lower_bound_from_the_first_censored_time_on() {
        let times = (1..=100)
            .map(|at| (at * 1_000_000, at == 97))
            .collect::<Vec<_>>();
        let summary = of(times).times().expect("it has times");
        let marks = summary.named().map(|(_, time)| time.at_least);
        assert_eq!(marks, [true, false, false, true, true, true]);
        assert_eq!(summary.max.ms, 100.0);
        assert_eq!(summary.mean.ms, 50.5);
    }

    #[test]
    fn operations_without_a_time_bound_the_quantiles_that_they_reach() {
        let mut distribution = of((1..=96).map(|at| (at * 1_000_000, false)));
        (0..4).for_each(|_| distribution.record_absent());
        let summary = distribution.times().expect("it has times");
        let marks = summary.named().map(|(_, time)| time.at_least);
        assert_eq!(marks, [true, false, false, true, true, true]);
        assert_eq!(summary.max.ms, 96.0);
    }

    #[test]
    fn ranks_are_the_smallest_that_hold_the_share() {
        assert_eq!(rank(0.95, 20), 19);
        assert_eq!(rank(0.95, 21), 20);
        assert_eq!(rank(0.5, 1), 1);
        assert_eq!(rank(0.99, 700), 693);
        assert_eq!(rank(0.0, 5), 1);
        assert_eq!(rank(0.999, 1_000), 999);
    }

    #[test]
    fn without_times_there_is_nothing_to_say() {
        let none = Distribution::default();
        assert_eq!(none.times(), None);
        assert!(none.quantile_ns(0.5).is_nan() && none.max_ns().is_nan());
        assert!(none.percentiles().is_empty() && none.buckets().is_empty());
    }

    #[test]
    fn buckets_hold_every_time_once() {
        let rows = of((0..1_000).map(|at| (at * at * 1_000, false))).buckets();
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 1_000);
        for ns in [0, 1, 7, 8, 9, 15, 16, 17, 1_000, 123_456_789, LONGEST_NS] {
            let bucket = bucket_of(ns);
            assert!(
                (bucket_from(bucket)..bucket_from(bucket + 1)).contains(&ns),
                "{ns}"
            );
        }
        assert!(
            rows.windows(2)
                .all(|pair| pair[0].until_ms <= pair[1].from_ms)
        );
    }
}
