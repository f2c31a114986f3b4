//! The memory of noise, as an autoregression.

/// Order of the autoregression: enough for blocks and short memory, few enough for 100 samples.
pub(super) const ORDER: usize = 3;

/// What an autoregression tells, relative to the variance of the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Autoregression {
    /// The variance of the mean of many samples, times their number.
    pub(super) long_run: f64,
    /// The variance of what cannot be foretold.
    pub(super) innovation: f64,
}

/// Autocorrelations at the lags 0 to [`ORDER`], by the biased estimate, which is positive definite.
pub(super) fn correlations(values: &[f64]) -> [f64; ORDER + 1] {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let values: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let variance: f64 = values.iter().map(|value| value * value).sum();
    let mut correlations = [0.0; ORDER + 1];
    correlations[0] = 1.0;
    if variance > 0.0 {
        for (lag, correlation) in correlations.iter_mut().enumerate().skip(1) {
            let pairs = values.iter().skip(lag).zip(&values);
            *correlation = pairs.map(|(late, early)| late * early).sum::<f64>() / variance;
        }
    }
    correlations
}

/// Levinson's recursion for the Yule-Walker equations.
pub(super) fn autoregression(correlations: &[f64]) -> Autoregression {
    let mut phi = [0.0; ORDER];
    let mut error = 1.0;
    for order in 1..correlations.len() {
        let mut reflection = correlations[order];
        for lag in 1..order {
            reflection -= phi[lag - 1] * correlations[order - lag];
        }
        reflection = (reflection / error).clamp(-0.98, 0.98);
        let before = phi;
        for lag in 1..order {
            phi[lag - 1] -= reflection * before[order - lag - 1];
        }
        phi[order - 1] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    let gain = (1.0 - phi.iter().sum::<f64>()).max(0.02);
    Autoregression {
        long_run: error / (gain * gain),
        innovation: error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn knows_the_long_run_variance_of_an_autoregression() {
        for (seed, phi) in [(1, 0.0), (2, 0.3), (3, 0.6), (4, 0.8)] {
            let series = Noise::new(seed).ar1(40_000, phi);
            let found = autoregression(&correlations(&series));
            let want = (1.0 + phi) / (1.0 - phi);
            assert!(
                (found.long_run / want - 1.0).abs() < 0.08,
                "{found:?}, not {want}"
            );
            assert!(
                (found.innovation / (1.0 - phi * phi) - 1.0).abs() < 0.05,
                "{found:?}"
            );
        }
    }

    #[test]
    fn constants_have_no_memory() {
        let found = autoregression(&correlations(&[3.0; 50]));
        assert_eq!((found.long_run, found.innovation), (1.0, 1.0));
    }
}
