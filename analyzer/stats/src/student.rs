//! Student's t distribution, by the regularised incomplete beta function of `statrs`.
//!
//! The normal distribution is in [`crate::distribution`].

use statrs::function::beta::{beta_reg, inv_beta_reg};

/// `P(T ≤ t)` with `df` degrees of freedom, not necessarily whole; NaN where `df` is not positive
/// or `t` is NaN. Abramowitz and Stegun, 26.7.1.
pub fn student_cdf(t: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 || t.is_nan() {
        return f64::NAN;
    }
    let tail = 0.5 * beta_reg(df / 2.0, 0.5, df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// Two-sided p-value of a t statistic.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    2.0 * student_cdf(-t.abs(), df)
}

/// The `p`-quantile with `df` degrees of freedom: infinite at 0 and 1, NaN where `p` or `df` is
/// out of range.
pub fn student_quantile(p: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let tail = p.min(1.0 - p);
    if tail == 0.0 {
        return f64::INFINITY.copysign(p - 0.5);
    }
    let x = inv_beta_reg(df / 2.0, 0.5, 2.0 * tail);
    (df * (1.0 - x) / x).max(0.0).sqrt().copysign(p - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_published_tables() {
        // R: qt(0.995, c(1, 4, 8, 30)); pt(2, 5)
        for (df, want) in [
            (1.0, 63.656_741_162_871_6),
            (4.0, 4.604_094_871_349_99),
            (8.0, 3.355_387_331_333_4),
            (30.0, 2.749_995_653_567_23),
        ] {
            let got = student_quantile(0.995, df);
            assert!(
                (got / want - 1.0).abs() < 1e-6,
                "df {df}: {got} is not {want}"
            );
            assert!((student_quantile(0.005, df) + got).abs() < 1e-9 * got);
            assert!((student_two_sided(want, df) - 0.01).abs() < 1e-9);
        }
        assert!((student_cdf(2.0, 5.0) - 0.949_030_260_585_071).abs() < 1e-10);
    }

    #[test]
    fn defined_at_the_ends() {
        assert_eq!(student_quantile(1.0, 3.0), f64::INFINITY);
        assert_eq!(student_quantile(0.5, 3.0), 0.0);
        assert!(student_quantile(0.9, 0.0).is_nan() && student_cdf(f64::NAN, 2.0).is_nan());
        assert_eq!(student_cdf(f64::INFINITY, 3.0), 1.0);
    }
}
