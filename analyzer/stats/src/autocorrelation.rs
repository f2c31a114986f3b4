//! How much less a series tells when its neighbours resemble each other.

use super::ranks::mid_ranks;

/// Lag-1 autocorrelation beyond this is taken as this: a longer memory cannot be told from a trend
/// in windows of tens of samples.
const MAX_CORRELATION: f64 = 0.98;
/// Series shorter than this have no usable estimate and count as independent.
const MIN_SAMPLES: usize = 5;

/// Lag-1 autocorrelation of the ranks of a series in time order, between 0 and 0.98.
///
/// Ranks, because the statistics that use it are rank statistics, and because one spike would
/// otherwise hide the memory of the rest. The estimate is corrected for its bias in short series by
/// `(n r + 1) / (n - 4)`: Orcutt and Winokur, "First order autoregression" (1969). Negative
/// values, which would promise more than independent samples do, count as 0.
pub fn lag1_of_ranks(series: &[f64]) -> f64 {
    let n = series.len();
    if n < MIN_SAMPLES {
        return 0.0;
    }
    let ranks = mid_ranks(series);
    let mean = (n as f64 + 1.0) / 2.0;
    let variance: f64 = ranks.iter().map(|rank| (rank - mean) * (rank - mean)).sum();
    if variance == 0.0 {
        return 0.0;
    }
    let covariance: f64 = ranks
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    let n = n as f64;
    let corrected = (n * covariance / variance + 1.0) / (n - 4.0);
    corrected.clamp(0.0, MAX_CORRELATION)
}

/// The number of independent samples that tell as much about the location as `n` samples of an
/// AR(1) series with this lag-1 autocorrelation: `n (1 - r) / (1 + r)`, at least 1. Bayley and
/// Hammersley, "The effective number of independent observations" (1946).
pub fn effective_size(n: usize, correlation: f64) -> f64 {
    let n = n as f64;
    (n * (1.0 - correlation) / (1.0 + correlation)).max(n.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn finds_the_memory_of_a_long_series() {
        for (seed, phi) in [(1, 0.0), (2, 0.3), (3, 0.6), (4, 0.9)] {
            let got = lag1_of_ranks(&Noise::new(seed).ar1(20_000, phi));
            // Of bivariate normal ranks the correlation is 6/π asin(φ/2).
            let want = 6.0 / std::f64::consts::PI * (phi / 2.0).asin();
            assert!((got - want).abs() < 0.025, "phi {phi}: {got} is not {want}");
        }
    }

    #[test]
    fn is_nearly_unbiased_in_short_series() {
        let mut noise = Noise::new(7);
        let runs = 4_000;
        let sum: f64 = (0..runs).map(|_| lag1_of_ranks(&noise.ar1(25, 0.6))).sum();
        let mean = sum / f64::from(runs);
        assert!((mean - 0.58).abs() < 0.05, "{mean}");
    }

    #[test]
    fn constants_and_alternation_count_as_independent() {
        assert_eq!(lag1_of_ranks(&[4.0; 30]), 0.0);
        let alternating: Vec<f64> = (0..30).map(|i| f64::from(i % 2)).collect();
        assert_eq!(lag1_of_ranks(&alternating), 0.0);
        assert_eq!(lag1_of_ranks(&[1.0, 2.0]), 0.0);
    }

    #[test]
    fn effective_size_shrinks_with_memory() {
        assert_eq!(effective_size(40, 0.0), 40.0);
        assert!((effective_size(40, 0.5) - 40.0 / 3.0).abs() < 1e-12);
        assert_eq!(effective_size(3, 0.98), 1.0);
        assert_eq!(effective_size(0, 0.0), 0.0);
    }
}
