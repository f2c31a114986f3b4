//! How much a mean of correlated samples scatters, and how often noise alone shows a step.

use crate::autocorrelation::lag1_of_ranks;
use crate::distribution::normal_quantile;

/// Fewer effective samples than this leave nothing to estimate a variance from.
const MIN_FREEDOM: f64 = 3.0;

/// Noise around a piecewise constant level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NoiseModel {
    /// Square root of the long-run variance: the mean of n samples has the standard error
    /// `long_run / √n`.
    pub(super) long_run: f64,
    /// Degrees of freedom of the estimate.
    pub(super) freedom: f64,
}

impl NoiseModel {
    /// Estimated from residuals of which `levels` means were subtracted; `None` where too few are
    /// left or nothing varies.
    ///
    /// The long-run variance is the marginal one times `1 + 2 Σ ρ`: the larger of an AR(1) model's
    /// `(1 + φ) / (1 - φ)` (Bayley and Hammersley, 1946), exact for short memories, and of the sum
    /// of autocorrelations with Bartlett's weights (Newey and West, "A simple, positive
    /// semi-definite … covariance matrix", 1987), which also sees a weak but long memory. Taking the
    /// larger errs on the quiet side.
    pub(super) fn estimate(residuals: &[f64], levels: usize) -> Option<Self> {
        let n = residuals.len() as f64;
        let free = n - levels as f64;
        if free < MIN_FREEDOM {
            return None;
        }
        let square: f64 = residuals.iter().map(|r| r * r).sum();
        let phi = lag1_of_ranks(residuals);
        let ratio = ((1.0 + phi) / (1.0 - phi)).max(window_ratio(residuals, square));
        let long_run = (square / free * ratio).sqrt();
        let freedom = (n / ratio - levels as f64).max(MIN_FREEDOM);
        (long_run > 0.0 && long_run.is_finite()).then_some(Self { long_run, freedom })
    }

    /// The normal deviate that is as rare as this one, of which the variance was estimated: the
    /// signed root of the likelihood ratio, `√(ν ln(1 + t²/ν))`.
    pub(super) fn deviate(&self, statistic: f64) -> f64 {
        let t = statistic / self.long_run;
        (self.freedom * (t * t / self.freedom).ln_1p())
            .sqrt()
            .copysign(t)
    }

    /// Half the width of the two-sided interval of a difference of means over `n1` and `n2` samples.
    pub(super) fn half_width(&self, n1: f64, n2: f64, confidence: f64) -> f64 {
        let z = normal_quantile(0.5 + confidence / 2.0);
        // The inverse of `deviate`: Student's quantile, nearly.
        let t = (self.freedom * (z * z / self.freedom).exp_m1()).sqrt();
        t * self.long_run * (1.0 / n1 + 1.0 / n2).sqrt()
    }
}

/// `1 + 2 Σ w ρ` with Bartlett's weights over `4 (n / 100)^(1/3) + 4` lags; at least 1.
fn window_ratio(residuals: &[f64], square: f64) -> f64 {
    if square <= 0.0 {
        return 1.0;
    }
    let n = residuals.len();
    let lags = ((4.0 * (n as f64 / 100.0).cbrt()) as usize + 4).min(n.saturating_sub(1));
    let mut ratio = 1.0;
    for lag in 1..=lags {
        let covariance: f64 = residuals[lag..]
            .iter()
            .zip(residuals)
            .map(|(a, b)| a * b)
            .sum();
        ratio += 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * covariance / square;
    }
    ratio.max(1.0)
}

/// Natural logarithm of the probability that the largest standardised CUSUM of `n` independent
/// normal values, with at least `side` on each side, reaches `z` in either direction: Miller and
/// Siegmund, "Maximally selected chi square statistics" (1982),
/// `φ(z) ((z - 1/z) ln((1-ε)²/ε²) + 4/z)`. Memory between samples only makes it rarer.
pub(super) fn ln_tail(z: f64, n: usize, side: usize) -> f64 {
    // The approximation is one of the tail; near the centre the answer is "certainly".
    if z < 1.5 {
        return 0.0;
    }
    let edge = (side as f64 / n as f64).clamp(1e-9, 0.5);
    let spread = 2.0 * ((1.0 - edge) / edge).ln();
    let ln_density = -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln();
    (ln_density + ((z - 1.0 / z) * spread + 4.0 / z).ln()).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn long_run_variance_of_ar1() {
        for (seed, phi) in [(1, 0.0), (2, 0.4), (3, 0.7)] {
            let x = Noise::new(seed).ar1(20_000, phi);
            let got = NoiseModel::estimate(&x, 1).expect("noise").long_run;
            let want = ((1.0 + phi) / (1.0 - phi)).sqrt();
            assert!(
                (got / want - 1.0).abs() < 0.06,
                "phi {phi}: {got} is not {want}"
            );
        }
    }

    #[test]
    fn nothing_to_estimate() {
        assert_eq!(NoiseModel::estimate(&[], 0), None);
        assert_eq!(NoiseModel::estimate(&[1.0, 2.0], 1), None);
        assert_eq!(NoiseModel::estimate(&[0.0; 50], 1), None);
    }

    #[test]
    fn tail_is_an_upper_bound_and_not_a_wide_one() {
        let (n, side, runs) = (200, 6, 4_000);
        let mut noise = Noise::new(8);
        let mut beyond = 0;
        for _ in 0..runs {
            let x = noise.normals(n);
            let total: f64 = x.iter().sum();
            let mut left = 0.0;
            let most = (1..n)
                .map(|t| {
                    left += x[t - 1];
                    let (a, b) = (t as f64, (n - t) as f64);
                    let inside = t >= side && n - t >= side;
                    if inside {
                        (left - total * a / n as f64).abs() * (n as f64 / (a * b)).sqrt()
                    } else {
                        0.0
                    }
                })
                .fold(0.0, f64::max);
            beyond += usize::from(most >= 3.2);
        }
        let (got, bound) = (beyond as f64 / f64::from(runs), ln_tail(3.2, n, side).exp());
        assert!(got <= bound && got >= bound / 4.0, "{got}, bound {bound}");
    }
}
