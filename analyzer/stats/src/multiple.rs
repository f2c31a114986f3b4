//! Many tests at once.

/// Adjusted p-values that control the false discovery rate: Benjamini and Hochberg, "Controlling
/// the false discovery rate" (1995). In the order of the input; equal to R's
/// `p.adjust(p, "BH")`.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let tests = p_values.len() as f64;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*b].total_cmp(&p_values[*a]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least = 1.0_f64;
    for (from_top, index) in order.into_iter().enumerate() {
        let rank = tests - from_top as f64;
        least = least.min(p_values[index] * (tests / rank));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn agrees_with_r() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.8), "BH")
        let got = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005, 0.8]);
        for (got, want) in got.into_iter().zip([0.025, 0.05, 0.05, 0.025, 0.8]) {
            assert!((got - want).abs() < 1e-12, "{got} is not {want}");
        }
    }

    #[test]
    fn keeps_order_and_never_lowers() {
        let mut noise = Noise::new(5);
        let p: Vec<f64> = (0..200).map(|_| noise.uniform().powi(3)).collect();
        let adjusted = benjamini_hochberg(&p);
        for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
            assert!(adjusted[i] >= p[i] && adjusted[i] <= 1.0);
            assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}
