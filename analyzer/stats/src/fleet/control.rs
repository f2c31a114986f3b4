//! What the rest of the fleet does at the same time: control series and their subtraction.

use super::parallel;

/// Subtracts from a series what its controls do at the same time: per sample the median of the
/// controls, each measured from its own median. All series must be on one scale (for relative
/// changes: logarithms). A median, so that controls that move on their own do not count as long as
/// they are fewer than half. Samples without any known control, or that are not finite, become NaN;
/// without controls the series stays as it is.
pub fn subtract_controls(series: &[f64], controls: &[&[f64]]) -> Vec<f64> {
    if controls.is_empty() {
        return series.to_vec();
    }
    let centers: Vec<f64> = controls
        .iter()
        .map(|c| crate::median(&crate::finite(c.iter().copied())).unwrap_or(f64::NAN))
        .collect();
    let mut known = Vec::with_capacity(controls.len());
    series
        .iter()
        .enumerate()
        .map(|(i, value)| {
            known.clear();
            known.extend(
                controls
                    .iter()
                    .zip(&centers)
                    .filter_map(|(control, center)| control.get(i).map(|v| v - center))
                    .filter(|v| v.is_finite()),
            );
            match crate::quantile(&mut known, 0.5) {
                Some(center) if value.is_finite() => value - center,
                _ => f64::NAN,
            }
        })
        .collect()
}

/// Per sample the median over the given series; NaN where none is known.
pub(super) fn common(series: &[&[f64]], length: usize, threads: usize) -> Vec<f64> {
    const BLOCK: usize = 64;
    let blocks = parallel::map(threads, length.div_ceil(BLOCK), |block| {
        let mut known = Vec::with_capacity(series.len());
        (block * BLOCK..((block + 1) * BLOCK).min(length))
            .map(|i| {
                known.clear();
                known.extend(series.iter().map(|s| s[i]).filter(|v| v.is_finite()));
                crate::quantile(&mut known, 0.5).unwrap_or(f64::NAN)
            })
            .collect::<Vec<f64>>()
    });
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_share_goes_and_what_one_does_stays() {
        let shared = [0.0, 3.0, -2.0, 1.0, 5.0, 0.5];
        let control: Vec<Vec<f64>> = (0..5)
            .map(|k| shared.iter().map(|v| v + f64::from(k)).collect())
            .collect();
        let mut controls: Vec<&[f64]> = control.iter().map(Vec::as_slice).collect();
        let wild = [9.0, -50.0, 80.0, 7.0, f64::NAN, 1e9];
        controls.push(&wild);
        let step = [0.0, 0.0, 0.0, 2.0, 2.0, 2.0];
        let series: Vec<f64> = shared.iter().zip(step).map(|(a, b)| 10.0 + a + b).collect();
        let got = subtract_controls(&series, &controls);
        // The wild control may move the median to a neighbour; all others agree exactly.
        let jump = got[3] - got[0];
        assert!((jump - 2.0).abs() < 1e-9, "{got:?}");
        assert!(
            got.windows(2)
                .enumerate()
                .all(|(i, p)| i == 2 || (p[1] - p[0]).abs() < 1e-9)
        );
    }

    #[test]
    fn gaps_and_missing_controls() {
        assert_eq!(subtract_controls(&[1.0, 2.0], &[]), vec![1.0, 2.0]);
        let got = subtract_controls(&[1.0, f64::NAN, 3.0], &[&[5.0, 5.0]]);
        assert_eq!(got[0], 1.0);
        assert!(got[1].is_nan() && got[2].is_nan());
    }
}
