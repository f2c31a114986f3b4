//! How concentrated references are on few keys.

use std::collections::BTreeMap;

/// Ranks with fewer references than this are left out of the exponent: below, the order of the
/// ranks is chance rather than popularity.
pub const FEWEST_PER_RANK: u64 = 20;
/// An exponent from fewer ranks than this is none.
pub const FEWEST_RANKS: usize = 10;
/// Greatest exponent that is told apart; beyond, the first key has everything.
const MOST_EXPONENT: f64 = 20.0;

/// Keys by the number of their references, most first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Popularity {
    ranks: Vec<(u64, u64)>,
    references: u64,
}

/// An exponent of Zipf's law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zipf {
    /// The r-th key has a share in proportion to 1 / r^exponent.
    pub exponent: f64,
    /// Its standard error, if the references were independent. Bursts make it larger.
    pub standard_error: f64,
    /// Ranks that it was taken from.
    pub ranks: usize,
}

impl Popularity {
    /// Counts a trace. Equal counts are ordered by key.
    pub fn of(trace: &[u64]) -> Self {
        let mut counts = BTreeMap::new();
        for key in trace {
            *counts.entry(*key).or_insert(0_u64) += 1;
        }
        let mut ranks: Vec<(u64, u64)> = counts.into_iter().collect();
        ranks.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
        Self {
            ranks,
            references: trace.len() as u64,
        }
    }

    /// The `k` most popular keys with their counts, most first; fewer where there are fewer.
    pub fn top(&self, k: usize) -> &[(u64, u64)] {
        &self.ranks[..k.min(self.ranks.len())]
    }

    /// The share of all references that go to the `k` most popular keys, from 0 to 1; `None`
    /// without references. The top keys of a short trace are partly those that were lucky, so that
    /// their share in later traffic is less: [`crate::warming`] measures it there.
    pub fn share_of_top(&self, k: usize) -> Option<f64> {
        if self.references == 0 {
            return None;
        }
        let top: u64 = self.top(k).iter().map(|(_, count)| count).sum();
        Some(top as f64 / self.references as f64)
    }

    /// The exponent of Zipf's law by maximum likelihood over the ranks that have at least
    /// [`FEWEST_PER_RANK`] references, given that a reference goes to one of them. The likelihood
    /// of counts n_r over ranks 1 to R is greatest where the expectation of ln r under the law is
    /// its mean over the references; the exponent's information is the variance of ln r times the
    /// number of references. This is the maximum-likelihood estimate of an exponential family on
    /// ln r (Lehmann and Casella, "Theory of point estimation", 1998, 2.5 and 6.3; for Zipf's law:
    /// Goldstein, Morris and Yen, "Problems with fitting to the power-law distribution", 2004).
    ///
    /// `None` with fewer than [`FEWEST_RANKS`] such ranks.
    pub fn zipf(&self) -> Option<Zipf> {
        let many = |(_, count): &(u64, u64)| *count >= FEWEST_PER_RANK;
        let ranks = self.ranks.partition_point(many);
        if ranks < FEWEST_RANKS {
            return None;
        }
        let logs: Vec<f64> = (1..=ranks).map(|rank| (rank as f64).ln()).collect();
        let counts = self.ranks[..ranks].iter().map(|(_, count)| *count as f64);
        let (sum, weighted) = counts
            .zip(&logs)
            .fold((0.0, 0.0), |(sum, weighted), (n, ln)| {
                (sum + n, weighted + n * ln)
            });
        let wanted = weighted / sum;
        // The expectation of ln r falls as the exponent rises, so halving finds it.
        let (mut low, mut high) = (0.0, MOST_EXPONENT);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if moments(&logs, middle).0 > wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        let exponent = 0.5 * (low + high);
        let (_, variance) = moments(&logs, exponent);
        Some(Zipf {
            exponent,
            standard_error: 1.0 / (sum * variance).sqrt(),
            ranks,
        })
    }
}

/// Mean and variance of ln r under Zipf's law.
fn moments(logs: &[f64], exponent: f64) -> (f64, f64) {
    let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
    for ln in logs {
        let weight = (-exponent * ln).exp();
        sum += weight;
        first += weight * ln;
        second += weight * ln * ln;
    }
    let mean = first / sum;
    (mean, second / sum - mean * mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reuse::traces::{cycle, scan, zipf};

    #[test]
    fn counts_are_ranked_with_ties_by_key() {
        let popularity = Popularity::of(&[5, 1, 9, 1, 9, 3]);
        assert_eq!(popularity.top(9), [(1, 2), (9, 2), (3, 1), (5, 1)]);
        assert_eq!(popularity.share_of_top(1), Some(1.0 / 3.0));
        assert_eq!(popularity.share_of_top(2), Some(2.0 / 3.0));
        assert_eq!(popularity.share_of_top(0), Some(0.0));
        assert_eq!(popularity.share_of_top(99), Some(1.0));
        assert_eq!(Popularity::of(&[]).share_of_top(1), None);
    }

    #[test]
    fn finds_the_exponent_that_made_the_trace() {
        for (seed, exponent) in [(1, 0.6), (2, 0.8), (3, 1.0), (4, 1.3)] {
            let trace = zipf(20_000, exponent, 300_000, seed);
            let found = Popularity::of(&trace).zipf().expect("ranks");
            println!("{exponent}: {found:?}");
            let off = (found.exponent - exponent).abs();
            assert!(off < 0.03, "{exponent}: {found:?}");
            assert!(found.standard_error < 0.02, "{found:?}");
        }
    }

    #[test]
    fn equal_popularity_has_exponent_zero_and_few_references_have_none() {
        let even = Popularity::of(&cycle(0, 50, 5_000)).zipf().expect("ranks");
        assert!(even.exponent < 1e-9, "{even:?}");
        assert_eq!(Popularity::of(&scan(0, 5_000)).zipf(), None);
        assert_eq!(Popularity::of(&[]).zipf(), None);
    }
}
