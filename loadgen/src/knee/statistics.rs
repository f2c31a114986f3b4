//! The statistics of a step: intervals from batch means, the end of settling, drift, rank
//! correlation. All of it is pure; what is judged with it is left to the search.

use serde::{Deserialize, Serialize};

/// The level of every interval here.
pub const CONFIDENCE: f64 = 0.95;

/// A value with its interval of [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// The standard error that the interval comes from.
    pub standard_error: f64,
}

impl Estimate {
    /// A value with its standard error and degrees of freedom; Student's interval.
    pub fn new(value: f64, standard_error: f64, freedom: f64) -> Self {
        let half = student_975(freedom) * standard_error;
        Self {
            value,
            low: value - half,
            high: value + half,
            standard_error,
        }
    }

    /// The same for a positive value whose errors grow with it, such as a response time: the interval
    /// is symmetric in the logarithm. A step that happened to be calm knows too little of its own
    /// variance, and a plain interval would then lie too low.
    pub(super) fn positive(value: f64, standard_error: f64, freedom: f64) -> Self {
        const WIDEST: f64 = 20.0;
        if value <= 0.0 {
            return Self::new(value, standard_error, freedom);
        }
        let factor = (student_975(freedom) * standard_error / value)
            .min(WIDEST)
            .exp();
        Self {
            value,
            low: value / factor,
            high: value * factor,
            standard_error,
        }
    }

    /// A value that is known without error.
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            low: value,
            high: value,
            standard_error: 0.0,
        }
    }

    /// Half the interval's width, relative to the value; a value of 0 with any width is infinitely wide.
    pub fn relative_half_width(&self) -> f64 {
        let half = (self.high - self.low) / 2.0;
        if half == 0.0 {
            0.0
        } else {
            half / self.value.abs()
        }
    }

    /// One estimate from several of the same thing, weighted as given: by how long each was watched.
    /// Weights of inverse variances would favour what was calm by chance, since calm steps have both
    /// low response times and low variances. Where the parts disagree more than their errors allow,
    /// their scatter is the error. `None` of nothing.
    pub(super) fn pooled(parts: &[(Self, f64)], is_positive: bool) -> Option<Self> {
        let [(first, _), rest @ ..] = parts else {
            return None;
        };
        if rest.is_empty() {
            return Some(*first);
        }
        let whole: f64 = parts.iter().map(|part| part.1).sum();
        if whole <= 0.0 {
            return None;
        }
        let sum = |of: &dyn Fn(&Self, f64) -> f64| -> f64 {
            parts
                .iter()
                .map(|(it, weight)| of(it, weight / whole))
                .sum()
        };
        let value = sum(&|it, weight| weight * it.value);
        let within = sum(&|it, weight| (weight * it.standard_error).powi(2));
        let count = parts.len() as f64;
        let between =
            sum(&|it, weight| (weight * (it.value - value)).powi(2)) * count / (count - 1.0);
        let error = within.max(between).sqrt();
        // Each part brings nine degrees of freedom or more (ten batches).
        let freedom = 9.0 * count;
        Some(if is_positive {
            Self::positive(value, error, freedom)
        } else {
            Self::new(value, error, freedom)
        })
    }
}

/// The 0.975 quantile of Student's distribution.
pub(super) fn student_975(freedom: f64) -> f64 {
    const SMALL: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    const Z: f64 = 1.959_964;
    let whole = freedom.floor().max(1.0) as usize;
    match SMALL.get(whole - 1) {
        Some(&quantile) => quantile,
        // The first two terms of the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5).
        None => {
            let n = whole as f64;
            Z + (Z.powi(3) + Z) / (4.0 * n)
                + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n * n)
        }
    }
}

/// The standard normal distribution's share below a value (Abramowitz and Stegun 7.1.26, within 1e-7).
pub(super) fn normal_below(value: f64) -> f64 {
    let x = value.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = series * (-x * x).exp() / 2.0;
    if value < 0.0 { tail } else { 1.0 - tail }
}

/// The standard error of `centre` from batch values around it, and its degrees of freedom.
///
/// Batch means (Law and Kelton, *Simulation Modeling and Analysis*, 9.5.3), with two departures.
/// The squares are taken around the whole step's value ("sectioning", Asmussen and Glynn 2007,
/// III.5a), so that the bias of a quantile of few operations widens the interval instead of moving
/// it. And where neighbouring batches are still correlated, the variance is multiplied by
/// (1 + r) / (1 - r) with r their lag-1 correlation, and the degrees of freedom shrink alike.
/// `None` with fewer than three batches.
pub(super) fn batch_error(batches: &[f64], centre: f64) -> Option<(f64, f64)> {
    const MOST_CORRELATION: f64 = 0.8;
    let count = batches.len();
    if count < 3 {
        return None;
    }
    let squares: f64 = batches.iter().map(|value| (value - centre).powi(2)).sum();
    if squares == 0.0 {
        return Some((0.0, (count - 1) as f64));
    }
    let lag1 = lag1_correlation(batches).clamp(0.0, MOST_CORRELATION);
    let inflation = (1.0 + lag1) / (1.0 - lag1);
    let variance = squares / ((count - 1) as f64 * count as f64) * inflation;
    let freedom = ((count - 1) as f64 / inflation).max(2.0);
    Some((variance.sqrt(), freedom))
}

/// Correlation of neighbouring values. The usual estimate is too low by about 1/n (Kendall 1954), which
/// is given back; without variation it is 0.
pub(super) fn lag1_correlation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let around: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let neighbours: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    if around > 0.0 {
        neighbours / around + 1.0 / count
    } else {
        0.0
    }
}

/// How many values at the beginning belong to settling, by MSER-5 (White 1997; White, Cobb and
/// Spratt 2000): the truncation that leaves the least standard error of the mean, over means of five.
/// At most the first half is given up; with fewer than 20 values nothing is.
pub(super) fn settled_from(values: &[f64]) -> usize {
    const GROUP: usize = 5;
    const LEAST: usize = 20;
    if values.len() < LEAST {
        return 0;
    }
    let means: Vec<f64> = values
        .chunks_exact(GROUP)
        .map(|group| group.iter().sum::<f64>() / GROUP as f64)
        .collect();
    let statistic = |from: usize| {
        let rest = &means[from..];
        let count = rest.len() as f64;
        let mean = rest.iter().sum::<f64>() / count;
        rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count * count)
    };
    let mut best = (0, statistic(0));
    for from in 1..=means.len() / 2 {
        let at = statistic(from);
        if at < best.1 {
            best = (from, at);
        }
    }
    best.0 * GROUP
}

/// Whether values rise beyond doubt: Mann-Kendall's test (Mann 1945, Kendall 1975) at 0.1 %, one-sided.
pub(super) fn rises(values: &[f64]) -> bool {
    const Z_999: f64 = 3.090;
    let count = values.len();
    if count < 6 {
        return false;
    }
    let mut score = 0_i64;
    for (at, early) in values.iter().enumerate() {
        for late in &values[at + 1..] {
            score += match late.total_cmp(early) {
                std::cmp::Ordering::Less => -1,
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 1,
            };
        }
    }
    let n = count as f64;
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    (score - 1) as f64 / deviation > Z_999
}

/// Wilson's interval (1927) of a share, from how many of how many.
pub(super) fn wilson(part: f64, whole: f64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    if whole <= 0.0 {
        return (0.0, 1.0);
    }
    let share = part / whole;
    let denominator = 1.0 + Z * Z / whole;
    let centre = (share + Z * Z / (2.0 * whole)) / denominator;
    let half =
        Z / denominator * (share * (1.0 - share) / whole + (Z / (2.0 * whole)).powi(2)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Spearman's rank correlation, ties sharing their mean rank; `None` with fewer than three pairs or
/// where one side does not vary.
pub(super) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let left = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let right = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let (mut both, mut of_left, mut of_right) = (0.0, 0.0, 0.0);
    for (l, r) in left.iter().zip(&right) {
        both += (l - mean) * (r - mean);
        of_left += (l - mean).powi(2);
        of_right += (r - mean).powi(2);
    }
    (of_left > 0.0 && of_right > 0.0).then(|| both / (of_left * of_right).sqrt())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let before = order.partition_point(|&at| values[at] < values[tied[0]]);
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&at| ranks[at] = rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn batch_intervals_cover_the_mean_of_a_correlated_series() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let mut covered = 0;
        for _ in 0..400 {
            let mut state = 0.0;
            let batches: Vec<f64> = (0..20)
                .map(|_| {
                    let noise: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
                    state = 0.4 * state + noise;
                    state
                })
                .collect();
            let mean = batches.iter().sum::<f64>() / 20.0;
            let (error, freedom) = batch_error(&batches, mean).expect("enough batches");
            let estimate = Estimate::new(mean, error, freedom);
            covered += u32::from(estimate.low <= 0.0 && estimate.high >= 0.0);
        }
        assert!((360..=396).contains(&covered), "{covered} of 400");
    }

    #[test]
    fn settling_is_cut_where_it_ends() {
        let values: Vec<f64> = (0..60)
            .map(|at| {
                if at < 10 {
                    50.0 - f64::from(at)
                } else {
                    10.0 + f64::from(at % 3)
                }
            })
            .collect();
        assert_eq!(settled_from(&values), 10);
        assert_eq!(settled_from(&values[..12]), 0, "too few to say");
        assert_eq!(settled_from(&[5.0; 60]), 0);
    }

    #[test]
    fn only_a_rising_series_rises() {
        let rising: Vec<f64> = (0..20).map(f64::from).collect();
        let falling: Vec<f64> = (0..20).rev().map(f64::from).collect();
        let shuffled: Vec<f64> = (0..20).map(|at| f64::from(at * 7 % 20)).collect();
        assert!(rises(&rising));
        assert!(!rises(&falling) && !rises(&shuffled) && !rises(&rising[..4]));
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert_eq!(student_975(4.9), 2.776);
        assert!((student_975(40.0) - 2.021).abs() < 0.001);
        assert!((student_975(1e6) - 1.960).abs() < 0.001);
        assert!((normal_below(-1.959_964) - 0.025).abs() < 1e-6);
        assert!((normal_below(1.0) - 0.841_345).abs() < 1e-6);
        let (low, high) = wilson(0.0, 1_000.0);
        assert!(low.abs() < 1e-12 && (high - 0.003_83).abs() < 1e-4);
    }

    #[test]
    fn ranks_share_ties() {
        assert_eq!(ranks(&[10.0, 30.0, 10.0, 20.0]), [1.5, 4.0, 1.5, 3.0]);
        let grown = [(1.0, 0.1), (2.0, 0.4), (3.0, 0.9), (4.0, 0.9)];
        assert!(spearman(&grown).expect("it varies") > 0.9);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]), None);
    }

    #[test]
    fn pooling_narrows_what_agrees_and_widens_what_does_not() {
        let one = Estimate::new(100.0, 2.0, 9.0);
        let pooled = |other: f64| {
            let other = Estimate::new(other, 2.0, 9.0);
            Estimate::pooled(&[(one, 30.0), (other, 30.0)], true).expect("two")
        };
        let agreeing = pooled(101.0);
        assert!(agreeing.standard_error < 1.5 && (agreeing.value - 100.5).abs() < 1e-9);
        assert!(pooled(140.0).standard_error > 15.0);
        assert_eq!(Estimate::pooled(&[], false), None);
        let same = [(Estimate::exact(1.0), 5.0); 2];
        assert_eq!(Estimate::pooled(&same, false), Some(Estimate::exact(1.0)));
    }
}
