//! How sure a share is: the exact interval of Clopper and Pearson, "The use of confidence or fiducial
//! limits illustrated in the case of the binomial" (1934).

use statrs::function::beta::inv_beta_reg;

/// The interval of the share that lies behind `hits` of `trials`, in which it lies with at least this
/// confidence; from 0 to 1 without any trial. Hits beyond the trials count as all of them.
pub fn interval(hits: u64, trials: u64, confidence: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let hits = hits.min(trials);
    let (k, n) = (hits as f64, trials as f64);
    let beyond = 0.5 * (1.0 - confidence.clamp(0.0, 1.0));
    let lo = match hits {
        0 => 0.0,
        _ => inv_beta_reg(k, n - k + 1.0, beyond),
    };
    let hi = match hits == trials {
        true => 1.0,
        false => inv_beta_reg(k + 1.0, n - k, 1.0 - beyond),
    };
    (lo, hi)
}

#[cfg(test)]
mod tests {
    use statrs::function::beta::beta_reg;

    use super::*;

    #[test]
    fn known_intervals() {
        // R: binom.test(7, 20)$conf.int
        let (lo, hi) = interval(7, 20, 0.95);
        assert!(
            (lo - 0.153_909_2).abs() < 1e-6 && (hi - 0.592_188_5).abs() < 1e-6,
            "{lo} {hi}"
        );
        // Of none in n, the upper limit is 1 - (α/2)^(1/n).
        let (lo, hi) = interval(0, 300, 0.95);
        assert_eq!(lo, 0.0);
        assert!(
            (hi - (1.0 - 0.025_f64.powf(1.0 / 300.0))).abs() < 1e-9,
            "{hi}"
        );
        assert_eq!(interval(300, 300, 0.95).1, 1.0);
        assert_eq!(interval(0, 0, 0.95), (0.0, 1.0));
        assert_eq!(interval(9, 3, 0.95), interval(3, 3, 0.95));
    }

    #[test]
    fn the_bounds_leave_what_they_should_beyond() {
        for trials in [1_u64, 2, 5, 17, 240, 4_000, 1_000_000] {
            for hits in [0, 1, trials / 200, trials / 3, trials - 1, trials] {
                let (lo, hi) = interval(hits, trials, 0.99);
                let (k, n) = (hits as f64, trials as f64);
                assert!(
                    lo <= k / n && k / n <= hi,
                    "{hits} of {trials}: {lo} to {hi}"
                );
                // P(X ≥ k | lo) and P(X ≤ k | hi) are half of a hundredth each.
                if hits > 0 {
                    let above = beta_reg(k, n - k + 1.0, lo);
                    assert!(
                        (above / 0.005 - 1.0).abs() < 1e-3,
                        "{hits} of {trials}: {above}"
                    );
                }
                if hits < trials {
                    let below = 1.0 - beta_reg(k + 1.0, n - k, hi);
                    assert!(
                        (below / 0.005 - 1.0).abs() < 1e-3,
                        "{hits} of {trials}: {below}"
                    );
                }
            }
        }
    }
}
