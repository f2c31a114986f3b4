//! Location and spread that a few wild values do not move.

use super::quantile::quantile;

/// Makes the MAD of normal noise estimate its standard deviation: `1 / Φ⁻¹(3/4)`. Rousseeuw and
/// Croux, "Alternatives to the median absolute deviation" (1993).
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The median; with an even count the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(&mut values.to_vec(), 0.5)
}

/// The median absolute deviation from the median, times [`MAD_TO_SIGMA`], in the values' unit.
pub fn mad(values: &[f64]) -> Option<f64> {
    let center = median(values)?;
    let mut deviations: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
    quantile(&mut deviations, 0.5).map(|raw| raw * MAD_TO_SIGMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn known_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        // R: mad(c(1, 2, 3, 4, 100)) = 1.4826
        let spread = mad(&[1.0, 2.0, 3.0, 4.0, 100.0]).expect("a spread");
        assert!((spread - 1.4826).abs() < 1e-5, "{spread}");
        assert_eq!(mad(&[5.0, 5.0, 5.0]), Some(0.0));
        assert_eq!(mad(&[]), None);
    }

    #[test]
    fn equivariant_under_shift_and_scale() {
        let mut noise = Noise::new(11);
        for n in 1..60 {
            let values = noise.normals(n);
            let moved: Vec<f64> = values.iter().map(|value| 8.0 - 4.0 * value).collect();
            let (m, s) = (median(&values).expect("median"), mad(&values).expect("mad"));
            assert!((median(&moved).expect("median") - (8.0 - 4.0 * m)).abs() < 1e-12);
            assert!((mad(&moved).expect("mad") - 4.0 * s).abs() < 1e-12);
        }
    }

    #[test]
    fn estimates_the_standard_deviation_of_normal_noise() {
        let values: Vec<f64> = Noise::new(3)
            .normals(40_000)
            .iter()
            .map(|v| 2.5 * v)
            .collect();
        let spread = mad(&values).expect("a spread");
        // The MAD's own standard error here is 1.17 σ / √n ≈ 0.015.
        assert!((spread - 2.5).abs() < 0.06, "{spread}");
    }
}
