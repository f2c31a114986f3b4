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
    let mut products = [0.0; ORDER + 1];
    let mut late = [0.0; ORDER + 1];
    for value in values {
        late.rotate_right(1);
        late[0] = value - mean;
        for (product, early) in products.iter_mut().zip(late) {
            *product += late[0] * early;
        }
    }
    let variance = products[0];
    if variance > 0.0 {
        products.map(|product| product / variance)
    } else {
        let mut none = [0.0; ORDER + 1];
        none[0] = 1.0;
        none
    }
}

/// Levinson's recursion for the Yule-Walker equations of `n` samples, up to the order that Schwarz's
/// criterion prefers ("Estimating the dimension of a model", 1978): a longer memory than the samples
/// tell of would make every step look less sure.
pub(super) fn autoregression(correlations: &[f64], n: usize) -> Autoregression {
    let n = n as f64;
    let mut phi = [0.0; ORDER];
    let mut error: f64 = 1.0;
    let mut best = Autoregression {
        long_run: 1.0,
        innovation: 1.0,
    };
    let mut least = 0.0;
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
        let criterion = n * error.ln() + n.ln() * order as f64;
        if criterion < least {
            least = criterion;
            let gain = (1.0 - phi.iter().sum::<f64>()).max(0.02);
            best = Autoregression {
                long_run: error / (gain * gain),
                innovation: error,
            };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn knows_the_long_run_variance_of_an_autoregression() {
        for (seed, phi) in [(1, 0.0), (2, 0.3), (3, 0.6), (4, 0.8)] {
            let series = Noise::new(seed).ar1(40_000, phi);
            let found = autoregression(&correlations(&series), series.len());
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
        let found = autoregression(&correlations(&[3.0; 50]), 50);
        assert_eq!((found.long_run, found.innovation), (1.0, 1.0));
    }
}
