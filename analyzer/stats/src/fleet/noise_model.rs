//! How much a mean of correlated samples scatters, and how often noise alone shows a step.

use crate::distribution::normal_quantile;

/// Fewer effective samples than this leave nothing to estimate a variance from.
const MIN_FREEDOM: f64 = 3.0;

/// Memory beyond this cannot be told from a trend in some hundred samples.
const MAX_MEMORY: f64 = 0.98;
/// Rounds of the bias correction, which needs the ratio that it corrects.
const ROUNDS: usize = 4;

/// Noise around a piecewise constant level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NoiseModel {
    samples: f64,
    levels: f64,
    /// Standard deviation of a sample.
    marginal: f64,
    /// The long-run variance in units of the marginal one: the mean of n samples has the variance
    /// `marginal² ratio / n`.
    pub(super) ratio: f64,
}

impl NoiseModel {
    /// Estimated from residuals of which `levels` means were subtracted; `None` where too few are
    /// left or nothing varies.
    pub(super) fn estimate(residuals: &[f64], levels: usize) -> Option<Self> {
        let free = residuals.len() as f64 - levels as f64;
        if free < MIN_FREEDOM {
            return None;
        }
        let square: f64 = residuals.iter().map(|r| r * r).sum();
        let marginal = (square / free).sqrt();
        (marginal > 0.0 && marginal.is_finite()).then(|| Self {
            samples: residuals.len() as f64,
            levels: levels as f64,
            marginal,
            ratio: long_run_ratio(residuals, square, levels),
        })
    }

    /// The same with no less memory than this ratio says.
    pub(super) fn at_least(self, ratio: f64) -> Self {
        Self {
            ratio: self.ratio.max(ratio),
            ..self
        }
    }

    fn long_run(&self) -> f64 {
        self.marginal * self.ratio.sqrt()
    }

    /// Degrees of freedom of the estimate: the effective samples less the means.
    fn freedom(&self) -> f64 {
        (self.samples / self.ratio - self.levels).max(MIN_FREEDOM)
    }

    /// The normal deviate that is as rare as this statistic, whose variance was estimated: the
    /// signed root of the likelihood ratio, `√(ν ln(1 + t²/ν))`.
    pub(super) fn deviate(&self, statistic: f64) -> f64 {
        let (t, freedom) = (statistic / self.long_run(), self.freedom());
        (freedom * (t * t / freedom).ln_1p()).sqrt().copysign(t)
    }

    /// Half the width of the two-sided interval of a difference of means over `n1` and `n2` samples.
    pub(super) fn half_width(&self, n1: f64, n2: f64, confidence: f64) -> f64 {
        let z = normal_quantile(0.5 + confidence / 2.0);
        // The inverse of `deviate`: Student's quantile, nearly.
        let freedom = self.freedom();
        let t = (freedom * (z * z / freedom).exp_m1()).sqrt();
        t * self.long_run() * (1.0 / n1 + 1.0 / n2).sqrt()
    }
}

/// The long-run variance in units of the marginal one, `1 + 2 Σ ρ`, of residuals of which `levels`
/// means were subtracted and whose squares sum to `square`; at least 1.
///
/// Two estimates, and the larger counts, because a long memory taken for a short one raises false
/// alarms: Bartlett's weighted sum over some lags (Newey and West, "A simple, positive semi-definite
/// … covariance matrix", 1987), and the sum `1 + 2 ρ₁ / (1 - φ)` of autocorrelations that decay by φ
/// after the first lag, which is an AR(1) process with or without white noise on it; φ is the slope of
/// the autocorrelations on their predecessors. Subtracting a mean lowers every autocorrelation by
/// about the ratio over n (Marriott and Pope, "Bias in the estimation of autocorrelations", 1954), so
/// it is added back, once per level, and the ratio is taken anew.
fn long_run_ratio(residuals: &[f64], square: f64, levels: usize) -> f64 {
    let n = residuals.len();
    let lags = ((4.0 * (n as f64 / 100.0).cbrt()) as usize + 4).min(n / 4);
    if square <= 0.0 || lags == 0 {
        return 1.0;
    }
    let raw: Vec<f64> = (1..=lags)
        .map(|lag| {
            residuals[lag..]
                .iter()
                .zip(residuals)
                .map(|(a, b)| a * b)
                .sum::<f64>()
                / square
        })
        .collect();
    let mut ratio = 1.0;
    for _ in 0..ROUNDS {
        let bias = levels as f64 * ratio / n as f64;
        let corrected: Vec<f64> = raw.iter().map(|r| r + bias).collect();
        let (mut product, mut squares) = (0.0, 0.0);
        for pair in corrected.windows(2) {
            product += pair[0] * pair[1];
            squares += pair[0] * pair[0];
        }
        let phi = if squares > 0.0 {
            (product / squares).clamp(0.0, MAX_MEMORY)
        } else {
            0.0
        };
        let decaying = 1.0 + 2.0 * corrected[0].max(0.0) / (1.0 - phi);
        let weighted: f64 = corrected
            .iter()
            .enumerate()
            .map(|(k, r)| 2.0 * (1.0 - (k + 1) as f64 / (lags + 1) as f64) * r)
            .sum();
        ratio = decaying
            .max(1.0 + weighted)
            .clamp(1.0, (n as f64 / MIN_FREEDOM).max(1.0));
    }
    ratio
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
            let got = NoiseModel::estimate(&x, 1).expect("noise").long_run();
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
