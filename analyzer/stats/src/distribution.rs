//! The normal distribution, to about twelve digits.

use std::f64::consts::{PI, SQRT_2};

/// Terms after which the series must have converged.
const MAX_TERMS: u32 = 200;
/// A term below this part of the sum no longer matters.
const CONVERGED: f64 = 1e-17;
/// Levels of the continued fraction: exact to the last digits from [`SERIES_LIMIT`] on.
const LEVELS: u32 = 60;
/// Beyond this argument the error function is computed by its continued fraction.
const SERIES_LIMIT: f64 = 2.0;

/// `P(Z ≤ z)` of the standard normal distribution.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / SQRT_2)
}

/// Two-sided p-value of a standard normal statistic.
pub fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / SQRT_2).min(1.0)
}

/// The complementary error function, by the Maclaurin series near 0 and by Laplace's continued
/// fraction further out: Abramowitz and Stegun, 7.1.6 and 7.1.14.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < SERIES_LIMIT {
        let mut term = x;
        let mut sum = x;
        for n in 1..MAX_TERMS {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
            if term < sum * CONVERGED {
                break;
            }
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    let mut fraction = 0.0;
    for n in (1..=LEVELS).rev() {
        fraction = 0.5 * f64::from(n) / (x + fraction);
    }
    (-x * x).exp() / (PI.sqrt() * (x + fraction))
}

/// The quantile of the standard normal distribution: Wichura, algorithm AS 241 (PPND16), relative
/// error about 1e-16. Infinite at 0 and 1.
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&CENTRAL.0, r) / polynomial(&CENTRAL.1, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-tail.ln()).sqrt();
    let (table, r) = if r <= 5.0 {
        (&MIDDLE, r - 1.6)
    } else {
        (&FAR, r - 5.0)
    };
    (polynomial(&table.0, r) / polynomial(&table.1, r)).copysign(q)
}

/// Horner's scheme; the first coefficient is the constant.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| sum * x + coefficient)
}

type Rational = ([f64; 8], [f64; 8]);

#[rustfmt::skip]
static CENTRAL: Rational = (
    [3.387_132_872_796_366_6, 1.331_416_678_917_843_8e2, 1.971_590_950_306_551_3e3, 1.373_169_376_550_946e4,
     4.592_195_393_154_987e4, 6.726_577_092_700_87e4, 3.343_057_558_358_813e4, 2.509_080_928_730_122_7e3],
    [1.0, 4.231_333_070_160_091e1, 6.871_870_074_920_579e2, 5.394_196_021_424_751e3,
     2.121_379_430_158_659_7e4, 3.930_789_580_009_271e4, 2.872_908_573_572_194_3e4, 5.226_495_278_852_854e3],
);
#[rustfmt::skip]
static MIDDLE: Rational = (
    [1.423_437_110_749_683_5, 4.630_337_846_156_546, 5.769_497_221_460_691, 3.647_848_324_763_204_5,
     1.270_458_252_452_368_4, 2.417_807_251_774_506e-1, 2.272_384_498_926_918_4e-2, 7.745_450_142_783_414e-4],
    [1.0, 2.053_191_626_637_759, 1.676_384_830_183_803_8, 6.897_673_349_851e-1,
     1.481_039_764_274_800_8e-1, 1.519_866_656_361_645_7e-2, 5.475_938_084_995_345e-4, 1.050_750_071_644_416_9e-9],
);
#[rustfmt::skip]
static FAR: Rational = (
    [6.657_904_643_501_103, 5.463_784_911_164_114, 1.784_826_539_917_291_3, 2.965_605_718_285_048_7e-1,
     2.653_218_952_657_612_4e-2, 1.242_660_947_388_078_4e-3, 2.711_555_568_743_487_6e-5, 2.010_334_399_292_288_1e-7],
    [1.0, 5.998_322_065_558_88e-1, 1.369_298_809_227_358e-1, 1.487_536_129_085_061_5e-2,
     7.868_691_311_456_133e-4, 1.846_318_317_510_054_8e-5, 1.421_511_758_316_446e-7, 2.044_263_103_389_939_8e-15],
);

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, relative: f64) {
        assert!(
            (got - want).abs() <= want.abs() * relative,
            "{got} is not {want}"
        );
    }

    #[test]
    fn normal_values_of_published_tables() {
        close(normal_cdf(0.0), 0.5, 1e-15);
        close(normal_cdf(1.0), 0.841_344_746_068_542_9, 1e-13);
        close(normal_cdf(-3.0), 1.349_898_031_630_094_6e-3, 1e-12);
        close(normal_two_sided(6.0), 1.973_175_290_075_396e-9, 1e-11);
        close(normal_quantile(0.995), 2.575_829_303_548_900_4, 1e-14);
        close(
            normal_quantile(0.75),
            1.0 / crate::robust::MAD_TO_SIGMA,
            1e-14,
        );
        close(normal_quantile(1e-12), -7.034_483_825_301_132, 1e-13);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
    }

    #[test]
    fn quantile_and_distribution_are_inverse() {
        for i in 1..2_000 {
            let p = f64::from(i) / 2_000.0;
            close(normal_cdf(normal_quantile(p)), p, 1e-12);
        }
    }
}
