//! Whether the slow requests of one side are slower than the other's, once what moved all requests
//! alike has been removed.
//!
//! A difference of the p99 looks at a handful of requests. The score looks at every request beyond
//! a few robust standard deviations: how many there are on each side, and, given that, how their
//! ranks divide between the sides. Under equal tails both are distribution-free.

use crate::distribution::normal_two_sided;
use crate::quantile;
use crate::robust::MAD_TO_SIGMA;
use std::f64::consts::FRAC_1_SQRT_2;

/// Thresholds in robust standard deviations above the median: the first meets tails that grow out
/// of the body, the last tails that are apart from it.
const THRESHOLDS: [f64; 3] = [2.0, 2.5, 3.0];
/// The threshold at which the requests beyond it are counted.
const COUNTED: f64 = 2.5;
/// Ranks beyond the threshold are raised to this power: the furthest out say most.
const RANK_POWER: i32 = 2;
/// At least so many requests are looked at: where fewer lie beyond, the threshold is lowered.
const LEAST_BEYOND: usize = 8;
/// Fewer requests per side than this have no tail to speak of.
const LEAST_REQUESTS: usize = 50;
/// Independent tests that the greatest of the five correlated scores counts as. On the safe side: in
/// 24,000 comparisons without a change its 0.3 % point is at |z| = 3.19, the 0.2 % point at 3.27, as
/// of two tests.
const EFFECTIVE_TESTS: f64 = 2.2;
/// Degrees of freedom with which the expectation that runs do not differ weighs against the
/// observed dispersion between them.
const EXPECTATION: f64 = 8.0;

/// The greatest of the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TailScore {
    /// Positive where the second side's tail is the slower one; about standard normal for a single
    /// score.
    pub(super) z: f64,
    /// Two-sided, corrected for choosing the greatest.
    pub(super) p_value: f64,
}

/// A request beyond the threshold: its score and whose it is.
#[derive(Debug, Clone, Copy)]
struct Beyond {
    value: f64,
    run: usize,
}

/// Compares residuals, run by run; those of `b` are first lowered by `by`. `None` where a side has
/// fewer than 50 requests, or where nothing varies.
pub(super) fn score(a: &[Vec<f64>], b: &[Vec<f64>], by: f64) -> Option<TailScore> {
    let size = |side: &[Vec<f64>]| side.iter().map(Vec::len).sum::<usize>();
    if size(a).min(size(b)) < LEAST_REQUESTS {
        return None;
    }
    let lowered = b.iter().map(|run| run.iter().map(|v| v - by).collect());
    let runs: Vec<Vec<f64>> = a.iter().cloned().chain(lowered).collect();
    let mut pooled = runs.concat();
    let median = quantile(&mut pooled, 0.5)?;
    let spread = (quantile(&mut pooled, 0.75)? - median) * MAD_TO_SIGMA;
    if spread <= 0.0 {
        return None;
    }
    let mut ordered: Vec<Beyond> = runs
        .iter()
        .enumerate()
        .flat_map(|(run, values)| {
            values
                .iter()
                .map(move |value| Beyond { value: *value, run })
        })
        .filter(|request| request.value > median)
        .collect();
    ordered.sort_by(|x, y| y.value.total_cmp(&x.value).then(x.run.cmp(&y.run)));
    let layout = Layout {
        sizes: runs.iter().map(Vec::len).collect(),
        first_of_b: a.len(),
    };
    let mut z = 0.0_f64;
    for threshold in THRESHOLDS {
        let beyond = beyond(&ordered, median + threshold * spread);
        let ranked = layout.conditional(beyond, &rank_scores(beyond));
        let mut scores = vec![ranked];
        if threshold == COUNTED {
            let counted = layout.count(beyond);
            // Given the counts, ranks know nothing of them: the sum of both is as variable as two.
            scores.extend([counted, (ranked + counted) * FRAC_1_SQRT_2]);
        }
        for score in scores {
            if score.abs() > z.abs() {
                z = score;
            }
        }
    }
    let single = normal_two_sided(z);
    Some(TailScore {
        z,
        p_value: 1.0 - (1.0 - single).powf(EFFECTIVE_TESTS),
    })
}

/// The requests beyond a limit, but at least [`LEAST_BEYOND`] and never half of a tie.
fn beyond(ordered: &[Beyond], limit: f64) -> &[Beyond] {
    let mut count = ordered.partition_point(|request| request.value > limit);
    count = count.max(LEAST_BEYOND.min(ordered.len()));
    while count > 0 && count < ordered.len() && ordered[count].value == ordered[count - 1].value {
        count += 1;
    }
    &ordered[..count]
}

/// Powers of the ranks from the threshold outwards, equal values sharing the mean of theirs.
fn rank_scores(beyond: &[Beyond]) -> Vec<f64> {
    let count = beyond.len();
    let single = |i: usize| ((count - i) as f64 / (count + 1) as f64).powi(RANK_POWER);
    let mut scores = Vec::with_capacity(count);
    for tie in beyond.chunk_by(|x, y| x.value == y.value) {
        let start = scores.len();
        let sum: f64 = (start..start + tie.len()).map(single).sum();
        scores.extend(std::iter::repeat_n(sum / tie.len() as f64, tie.len()));
    }
    scores
}

/// Which runs there are: first those of one side, then those of the other.
struct Layout {
    sizes: Vec<usize>,
    first_of_b: usize,
}

impl Layout {
    /// How far the mean scores beyond the threshold differ, given how many each side has: the
    /// permutation variance is `s² (1/n_a + 1/n_b)`.
    fn conditional(&self, beyond: &[Beyond], scores: &[f64]) -> f64 {
        let count = beyond.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let mut sums = vec![0.0; self.sizes.len()];
        let (mut number, mut total) = ([0.0_f64; 2], [0.0_f64; 2]);
        for (request, score) in beyond.iter().zip(scores) {
            sums[request.run] += score - mean;
            let side = usize::from(request.run >= self.first_of_b);
            number[side] += 1.0;
            total[side] += score - mean;
        }
        if number[0].min(number[1]) < 2.0 || variance <= 0.0 {
            return 0.0;
        }
        let difference = total[1] / number[1] - total[0] / number[0];
        let error = (variance * (1.0 / number[0] + 1.0 / number[1])).sqrt();
        let expected = variance * count / self.total();
        difference / (error * self.dispersion(&sums, expected).sqrt())
    }

    /// How far the numbers of requests beyond the threshold differ: hypergeometric.
    fn count(&self, beyond: &[Beyond]) -> f64 {
        let (total, count) = (self.total(), beyond.len() as f64);
        let mut counts = vec![0.0; self.sizes.len()];
        for request in beyond {
            counts[request.run] += 1.0;
        }
        let of_b: f64 = counts[self.first_of_b..].iter().sum();
        let share: f64 = self.sizes[self.first_of_b..]
            .iter()
            .map(|n| *n as f64)
            .sum::<f64>()
            / total;
        let rate = count / total;
        let variance = count * share * (1.0 - share) * (1.0 - rate) * total / (total - 1.0);
        if variance <= 0.0 {
            return 0.0;
        }
        let dispersion = self.dispersion(&counts, rate * (1.0 - rate));
        (of_b - count * share) / (variance * dispersion).sqrt()
    }

    fn total(&self) -> f64 {
        self.sizes.iter().map(|n| *n as f64).sum()
    }

    /// By how much runs of one side differ more than requests that know nothing of their run, at
    /// least 1. `expected` is the variance that each request contributes. Few runs estimate it
    /// badly, so the estimate is drawn towards 1.
    fn dispersion(&self, sums: &[f64], expected: f64) -> f64 {
        let (mut squares, mut chance, mut freedom) = (0.0, 0.0, 0.0);
        for side in [0..self.first_of_b, self.first_of_b..self.sizes.len()] {
            let size: f64 = self.sizes[side.clone()].iter().map(|n| *n as f64).sum();
            let sum: f64 = sums[side.clone()].iter().sum();
            for run in side.clone() {
                let part = self.sizes[run] as f64 / size;
                squares += (sums[run] - part * sum).powi(2);
                chance += expected * self.sizes[run] as f64 * (1.0 - part);
            }
            freedom += (side.len() as f64 - 1.0).max(0.0);
        }
        if chance <= 0.0 {
            return 1.0;
        }
        let shrunk = (EXPECTATION + freedom * squares / chance) / (EXPECTATION + freedom);
        shrunk.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn side(noise: &mut Noise, runs: usize, shape: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
        let run = |noise: &mut Noise| noise.normals(150).into_iter().map(&shape).collect();
        (0..runs).map(|_| run(noise)).collect()
    }

    /// Whatever the distribution, small p-values are as rare as they say.
    #[test]
    fn holds_its_level() {
        let mut noise = Noise::new(2);
        let (cases, mut low) = (600, 0);
        for case in 0..cases {
            let shape = |z: f64| if case % 2 == 0 { z } else { (0.8 * z).exp() };
            let (a, b) = (side(&mut noise, 5, shape), side(&mut noise, 5, shape));
            low += u32::from(score(&a, &b, 0.0).expect("a score").p_value < 0.05);
        }
        // 30 expected at the most; three standard errors are 16.
        assert!((8..46).contains(&low), "{low}");
    }

    /// The whole of a run's tail comes and goes together: runs must count, not requests.
    #[test]
    fn tails_that_differ_between_runs_are_dispersed() {
        let mut noise = Noise::new(3);
        let mut bursts = |runs: usize| -> Vec<Vec<f64>> {
            (0..runs)
                .map(|_| {
                    let burst = if noise.uniform() < 0.5 { 30 } else { 2 };
                    let mut run = noise.normals(150);
                    for value in run.iter_mut().take(burst) {
                        *value = 4.0 + value.abs();
                    }
                    run
                })
                .collect()
        };
        let low = (0..300)
            .filter(|_| {
                let (a, b) = (bursts(5), bursts(5));
                score(&a, &b, 0.0).expect("a score").p_value < 0.003
            })
            .count();
        // Few runs tell little of their dispersion: one in ten is the price, against 0.3 %.
        assert!(low < 30, "{low}");
    }

    #[test]
    fn ties_and_constants() {
        assert_eq!(score(&[vec![1.0; 60]], &[vec![1.0; 60]], 0.0), None);
        assert_eq!(score(&[vec![1.0; 9]], &[vec![2.0; 9]], 0.0), None);
        let few_values = [(0..120).map(|i| f64::from(i % 4)).collect::<Vec<f64>>()];
        let same = score(&few_values, &few_values, 0.0).expect("a score");
        assert_eq!((same.z, same.p_value), (0.0, 1.0));
    }
}
