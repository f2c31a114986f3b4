//! The Mann–Whitney test: whether values of one sample tend to be larger than another's.

use super::distribution::normal_two_sided;
use super::shift::to_key;

/// Up to this size of each sample the null distribution is computed exactly.
pub const EXACT_MAX: usize = 20;

/// The test's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which `b` is larger, ties counting one half.
    pub u: f64,
    /// Two-sided p-value under the hypothesis of equal distributions.
    pub p_value: f64,
}

/// Ranks from 1 in the order of the input; equal values share the mean of their ranks.
pub(super) fn mid_ranks(values: &[f64]) -> Vec<f64> {
    ranked(values).0
}

/// The ranks, and `Σ(t³ − t) / (N³ − N)` over groups of ties: the part of the variance that they
/// take away.
fn ranked(values: &[f64]) -> (Vec<f64>, f64) {
    // Whole numbers are sorted faster than numbers that may be NaN.
    let keys = values.iter().map(|value| to_key(*value));
    let mut order: Vec<(u64, usize)> = keys.zip(0..).collect();
    order.sort_unstable();
    let mut ranks = vec![0.0; values.len()];
    let cube = |count: usize| {
        let count = count as f64;
        count * count * count - count
    };
    let (mut start, mut tied) = (0, 0.0);
    for run in order.chunk_by(|a, b| values[a.1] == values[b.1]) {
        // Ranks start + 1 ..= start + len.
        let shared = start as f64 + (run.len() as f64 + 1.0) / 2.0;
        for (_, index) in run {
            ranks[*index] = shared;
        }
        start += run.len();
        tied += cube(run.len());
    }
    let share = if start < 2 { 0.0 } else { tied / cube(start) };
    (ranks, share)
}

/// Compares two samples. `effective_a` and `effective_b` are the numbers of independent values
/// that they are worth (their sizes, where they are independent).
///
/// Exact where both are independent, small and free of ties: Mann and Whitney, "On a test of
/// whether one of two random variables is stochastically larger" (1947). Otherwise normal, with
/// continuity correction and Lehmann's correction of the variance for ties ("Nonparametrics",
/// 1975, 1.4); the variance `m n (m + n + 1) / 12 = (m n)² (1/m + 1/n + 1/(m n)) / 12` takes the
/// effective sizes in its first two terms. `None` where a sample is empty.
pub fn mann_whitney(
    a: &[f64],
    b: &[f64],
    effective_a: f64,
    effective_b: f64,
) -> Option<MannWhitney> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let both: Vec<f64> = a.iter().chain(b).copied().collect();
    let (ranks, ties) = ranked(&both);
    let (m, n) = (a.len() as f64, b.len() as f64);
    let rank_sum: f64 = ranks[a.len()..].iter().sum();
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let independent = effective_a >= m && effective_b >= n;
    if independent && ties == 0.0 && a.len().max(b.len()) <= EXACT_MAX {
        return Some(MannWhitney {
            u,
            p_value: exact_two_sided(a.len(), b.len(), u),
        });
    }
    let deviation = deviation(a.len(), b.len(), effective_a, effective_b) * (1.0 - ties).sqrt();
    let distance = ((u - m * n / 2.0).abs() - 0.5).max(0.0);
    let p_value = if deviation == 0.0 {
        1.0
    } else {
        normal_two_sided(distance / deviation)
    };
    Some(MannWhitney { u, p_value })
}

/// Standard deviation of U under the null hypothesis, without ties.
pub(super) fn deviation(m: usize, n: usize, effective_a: f64, effective_b: f64) -> f64 {
    let pairs = m as f64 * n as f64;
    pairs * ((1.0 / effective_a + 1.0 / effective_b + 1.0 / pairs) / 12.0).sqrt()
}

fn exact_two_sided(m: usize, n: usize, u: f64) -> f64 {
    let (pairs, counts) = (m * n, null_counts(m, n));
    // Without ties U is a whole number between 0 and m n.
    let u = u as usize;
    let tail = u.min(pairs - u);
    let below: f64 = counts[..=tail].iter().sum();
    let all: f64 = counts.iter().sum();
    (2.0 * below / all).min(1.0)
}

/// The largest `c` with `P(U ≤ c) ≤ p` under the exact null distribution; `None` where even
/// `P(U = 0)` is larger.
pub(super) fn exact_critical(m: usize, n: usize, p: f64) -> Option<usize> {
    let counts = null_counts(m, n);
    let all: f64 = counts.iter().sum();
    let mut below = 0.0;
    let mut critical = None;
    for (u, count) in counts.iter().enumerate() {
        below += count;
        if below > p * all {
            break;
        }
        critical = Some(u);
    }
    critical
}

/// For every U, the number of arrangements of `m` and `n` distinct values that yield it, by the
/// coefficients of the Gaussian binomial. At most C(40, 20) ≈ 1.4e11: exact in f64.
fn null_counts(m: usize, n: usize) -> Vec<f64> {
    let pairs = m * n;
    let mut counts = vec![0.0; pairs + 1];
    counts[0] = 1.0;
    for i in 1..=m {
        // Multiply by 1 − x^(n+i) from the top, then divide by 1 − x^i from the bottom.
        for u in (n + i..=pairs).rev() {
            counts[u] -= counts[u - n - i];
        }
        for u in i..=pairs {
            counts[u] += counts[u - i];
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn test(a: &[f64], b: &[f64]) -> MannWhitney {
        mann_whitney(a, b, a.len() as f64, b.len() as f64).expect("two samples")
    }

    #[test]
    fn exact_values() {
        // Complete separation: 2 / C(m + n, m).
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        let result = test(&a, &b);
        assert_eq!(result.u, 25.0);
        assert!((result.p_value - 2.0 / 252.0).abs() < 1e-15);
        // U is 17 of 20, and 1 + 1 + 2 + 3 of C(9, 4) arrangements lie as far out on one side.
        let result = test(&[1.1, 2.2, 3.3, 0.4], &[2.5, 3.6, 4.7, 1.8, 5.9]);
        assert_eq!(result.u, 17.0);
        assert!(
            (result.p_value - 14.0 / 126.0).abs() < 1e-15,
            "{}",
            result.p_value
        );
    }

    /// Counting by brute force over every way to choose which ranks are the first sample's.
    #[test]
    fn the_exact_distribution_counts_arrangements() {
        for (m, n) in [(1, 1), (2, 3), (4, 4), (5, 2)] {
            let mut want = vec![0.0; m * n + 1];
            for chosen in 0..1_u32 << (m + n) {
                if chosen.count_ones() as usize == m {
                    let is_a = |i: usize| chosen >> i & 1 == 1;
                    let pairs = (0..m + n).flat_map(|i| (0..i).map(move |j| (i, j)));
                    want[pairs.filter(|(i, j)| !is_a(*i) && is_a(*j)).count()] += 1.0;
                }
            }
            assert_eq!(null_counts(m, n), want, "{m} and {n}");
        }
        let all: f64 = null_counts(20, 20).iter().sum();
        assert_eq!(all, 137_846_528_820.0);
    }

    #[test]
    fn ties_narrow_the_variance() {
        // Groups of 3, 4, 2 and 2 equal values: the variance is 39 (1 - 96 / 1716), and with the
        // continuity correction the distance is 12.
        let result = test(
            &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0],
            &[2.0, 3.0, 4.0, 4.0, 5.0, 5.0],
        );
        assert_eq!(result.u, 30.5);
        let z = 12.0 / (39.0_f64 * (1.0 - 96.0 / 1716.0)).sqrt();
        assert!(
            (result.p_value - normal_two_sided(z)).abs() < 1e-14,
            "{}",
            result.p_value
        );
        assert!(
            (result.p_value - 0.047_967).abs() < 1e-6,
            "{}",
            result.p_value
        );
        assert_eq!(test(&[7.0; 30], &[7.0; 30]).p_value, 1.0);
    }

    #[test]
    fn symmetric_and_blind_to_shift_and_order_within_samples() {
        let mut noise = Noise::new(9);
        for n in 1..40 {
            let (a, b) = (noise.normals(n), noise.normals(n + 3));
            let there = test(&a, &b);
            let back = test(&b, &a);
            assert_eq!(there.p_value, back.p_value);
            assert!((there.u + back.u - (n * (n + 3)) as f64).abs() < 1e-9);
            let scaled =
                |values: &[f64]| -> Vec<f64> { values.iter().rev().map(|v| v * 4.0).collect() };
            assert_eq!(test(&scaled(&a), &scaled(&b)), there);
        }
    }

    #[test]
    fn memory_makes_the_test_more_cautious() {
        let a: Vec<f64> = (0..40).map(f64::from).collect();
        let b: Vec<f64> = a.iter().map(|value| value + 15.5).collect();
        let independent = mann_whitney(&a, &b, 40.0, 40.0).expect("samples").p_value;
        let correlated = mann_whitney(&a, &b, 10.0, 10.0).expect("samples").p_value;
        assert!(
            independent < 1e-3 && correlated > 10.0 * independent,
            "{independent} {correlated}"
        );
    }

    /// Under the null hypothesis a p-value below 5 % comes in 5 % of all runs.
    #[test]
    fn holds_its_level() {
        let mut noise = Noise::new(21);
        for n in [8, 30] {
            let runs = 4_000;
            let low = (0..runs)
                .filter(|_| test(&noise.normals(n), &noise.normals(n)).p_value <= 0.05)
                .count();
            let share = low as f64 / f64::from(runs);
            // Three standard errors are 0.0103; exact tests stay below their level.
            assert!(share < 0.061 && share > 0.035, "n {n}: {share}");
        }
    }
}
