//! Exact quantiles by selection.
//!
//! The definition is type 7 of Hyndman and Fan, "Sample quantiles in statistical packages" (1996):
//! linear interpolation at position `(n - 1) p`, which R, NumPy and SQL's `percentile_cont` use.

/// The `p`-quantile of the values, whose order is changed; `None` where there are none or `p` is
/// outside 0 to 1.
pub fn quantile(values: &mut [f64], p: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=1.0).contains(&p) {
        return None;
    }
    let position = (values.len() - 1) as f64 * p;
    // The position lies within the slice, so the cast neither truncates nor wraps.
    let below = position.floor() as usize;
    let fraction = position - position.floor();
    let (_, lower, rest) = values.select_nth_unstable_by(below, f64::total_cmp);
    let lower = *lower;
    if fraction == 0.0 {
        return Some(lower);
    }
    let upper = rest.iter().copied().min_by(f64::total_cmp)?;
    Some(between(lower, upper, fraction))
}

/// Several quantiles of the same values, in the order of `ps`.
pub fn quantiles(values: &mut [f64], ps: &[f64]) -> Vec<Option<f64>> {
    // Selecting in ascending order would narrow the work; after the first few selections the slice
    // is nearly partitioned anyway, so plain repetition stays linear.
    ps.iter().map(|p| quantile(values, *p)).collect()
}

/// A convex combination: never outside its ends, also where their difference overflows.
pub(super) fn between(lower: f64, upper: f64, fraction: f64) -> f64 {
    if lower == upper {
        lower
    } else {
        lower * (1.0 - fraction) + upper * fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_r_type_7() {
        // R: quantile(c(7, 1, 3, 12, 5), c(0, .05, .25, .5, .9, 1))
        let values = [7.0, 1.0, 3.0, 12.0, 5.0];
        let expected = [1.0, 1.4, 3.0, 5.0, 10.0, 12.0];
        for (p, want) in [0.0, 0.05, 0.25, 0.5, 0.9, 1.0].into_iter().zip(expected) {
            let got = quantile(&mut values.clone(), p).expect("a quantile");
            assert!((got - want).abs() < 1e-12, "p {p}: {got} is not {want}");
        }
    }

    #[test]
    fn several_at_once_are_the_same_as_one_by_one() {
        let values: Vec<f64> = (0..101).map(|i| f64::from((i * 37) % 101)).collect();
        let ps = [0.99, 0.5, 0.01, 0.123];
        let all = quantiles(&mut values.clone(), &ps);
        let single: Vec<_> = ps
            .iter()
            .map(|p| quantile(&mut values.clone(), *p))
            .collect();
        assert_eq!(all, single);
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(quantile(&mut [1.0], 1.5), None);
        assert_eq!(quantile(&mut [1.0], f64::NAN), None);
        assert_eq!(quantile(&mut [f64::MAX, -f64::MAX], 0.5), Some(0.0));
    }
}
