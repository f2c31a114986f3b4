//! By how much one sample lies above another, and between which bounds.
//!
//! The Hodges–Lehmann estimate is the median of all pairwise differences; its interval consists of
//! two order statistics of the same differences. Both are found by exact selection, without ever
//! building the `m × n` differences.

use super::autocorrelation::{effective_size, lag1_of_ranks};
use super::distribution::normal_quantile;
use super::quantile::between;
use super::ranks::{EXACT_MAX, deviation, exact_critical, mann_whitney};

/// Values that differ by less than this part of the largest one count as equal in ranks: 4e-9. A
/// counter of seconds that grows by 0.14 every time yields rates of 0.14000000001 and
/// 0.13999999999, and ranks would take the noise of the last digits for more and less.
const RANK_RESOLUTION: f64 = 1.0 / (1_u64 << 28) as f64;

/// The shift from a first sample to a second one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Hodges–Lehmann estimate, in the samples' unit; positive where the second lies higher.
    pub shift: f64,
    /// Lower bound of the interval; `None` where so few independent samples allow no bound.
    pub ci_lo: Option<f64>,
    /// Upper bound of the interval, likewise.
    pub ci_hi: Option<f64>,
    /// Two-sided Mann–Whitney p-value.
    pub p_value: f64,
    /// Size of the first sample.
    pub n_a: usize,
    /// Size of the second sample.
    pub n_b: usize,
    /// Independent samples that the first is worth.
    pub effective_a: f64,
    /// Independent samples that the second is worth.
    pub effective_b: f64,
}

/// Estimates the shift from `a` to `b`, each in time order, with an interval of this confidence
/// (0 to 1, exclusive). `None` where a sample is empty.
///
/// Hodges and Lehmann, "Estimates of location based on rank tests" (1963); the interval as in
/// Hollander, Wolfe and Chicken, "Nonparametric statistical methods" (2014), 4.3, its width taken
/// from the effective sizes of [`lag1_of_ranks`].
pub fn shift(a: &[f64], b: &[f64], confidence: f64) -> Option<Shift> {
    let grid = grid(a, b);
    let (coarse_a, coarse_b) = (rounded(a, grid), rounded(b, grid));
    let effective_a = effective_size(a.len(), lag1_of_ranks(&coarse_a));
    let effective_b = effective_size(b.len(), lag1_of_ranks(&coarse_b));
    let test = mann_whitney(&coarse_a, &coarse_b, effective_a, effective_b)?;
    let sorted = |values: &[f64]| {
        let mut keys: Vec<u64> = values.iter().map(|value| to_key(*value)).collect();
        keys.sort_unstable();
        keys.into_iter().map(from_key).collect::<Vec<f64>>()
    };
    let differences = Differences {
        a: &sorted(a),
        b: &sorted(b),
    };
    let pairs = differences.len();
    let middle = between(
        differences.nth((pairs - 1) / 2),
        differences.nth(pairs / 2),
        0.5,
    );
    let margin = margin(a.len(), b.len(), effective_a, effective_b, confidence);
    Some(Shift {
        shift: middle,
        ci_lo: margin.map(|below| differences.nth(below)),
        ci_hi: margin.map(|above| differences.nth(pairs - 1 - above)),
        p_value: test.p_value,
        n_a: a.len(),
        n_b: b.len(),
        effective_a,
        effective_b,
    })
}

/// The largest power of two in the samples, times [`RANK_RESOLUTION`].
fn grid(a: &[f64], b: &[f64]) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    let largest = a
        .iter()
        .chain(b)
        .fold(0.0_f64, |largest, value| largest.max(value.abs()));
    f64::from_bits(largest.to_bits() & EXPONENT) * RANK_RESOLUTION
}

/// Rounds to multiples of a power of two, which is exact but for the rounding that is meant.
fn rounded(values: &[f64], grid: f64) -> Vec<f64> {
    let round = |value: &f64| {
        if grid.is_normal() {
            (value / grid).round() * grid
        } else {
            *value
        }
    };
    values.iter().map(round).collect()
}

/// How many of the pairwise differences lie outside the interval on each side; `None` where even
/// the widest interval does not reach the confidence.
fn margin(
    m: usize,
    n: usize,
    effective_a: f64,
    effective_b: f64,
    confidence: f64,
) -> Option<usize> {
    let tail = (1.0 - confidence) / 2.0;
    let independent = effective_a >= m as f64 && effective_b >= n as f64;
    if independent && m.max(n) <= EXACT_MAX {
        return exact_critical(m, n, tail);
    }
    let pairs = m as f64 * n as f64;
    let half_width = normal_quantile(1.0 - tail) * deviation(m, n, effective_a, effective_b);
    let outside = (pairs / 2.0 - half_width).floor() - 1.0;
    // Below `pairs / 2`, so it fits.
    (outside >= 0.0).then_some(outside as usize)
}

/// All differences `b[j] - a[i]` of two sorted samples.
struct Differences<'a> {
    a: &'a [f64],
    b: &'a [f64],
}

impl Differences<'_> {
    fn len(&self) -> usize {
        self.a.len() * self.b.len()
    }

    /// The difference with this index, from 0, in ascending order.
    ///
    /// Bounds are drawn together until few differences are left between them, which are then listed.
    /// Rounded subtraction is monotone, so counting and listing need one pass with two pointers
    /// each, and the answer is exact. Two turns of three guess, by how many differences lie
    /// within, where those a little above and a little below are; the third halves the
    /// floating-point numbers between the bounds, which takes at most 64 turns whatever they are.
    /// Bounds are differences that exist, so that many equal ones take few turns.
    fn nth(&self, index: usize) -> f64 {
        // Adding zero makes of the two zeros the ordinary one.
        let key = |difference: f64| to_key(difference + 0.0);
        let few = 2 * (self.a.len() + self.b.len());
        let mut low = key(self.b[0] - self.a[self.a.len() - 1]);
        let mut high = key(self.b[self.b.len() - 1] - self.a[0]);
        // Differences below `low`, and those not above `high`.
        let (mut below, mut within) = (0, self.len());
        let mut turn = 0;
        while low < high && within - below > few {
            let aim = (index - below) as f64 + [few as f64 / 3.0, few as f64 / -3.0, 0.0][turn];
            let share = (aim / (within - below) as f64).clamp(0.0, 1.0);
            let guess = key((1.0 - share) * from_key(low) + share * from_key(high));
            let middle = if turn < 2 && (low..high).contains(&guess) {
                guess
            } else {
                low + (high - low) / 2
            };
            turn = (turn + 1) % 3;
            let cut = self.cut(from_key(middle));
            if cut.count > index {
                (high, within) = (key(cut.largest), cut.count);
            } else {
                (low, below) = (key(cut.next), cut.count);
            }
        }
        if low < high {
            let mut left = self.list(from_key(low), from_key(high), within - below);
            let (_, found, _) = left.select_nth_unstable_by(index - below, f64::total_cmp);
            return *found + 0.0;
        }
        from_key(low) + 0.0
    }

    /// The differences between two bounds, both included, of which there are so many.
    fn list(&self, low: f64, high: f64, count: usize) -> Vec<f64> {
        let mut found = Vec::with_capacity(count);
        let (mut start, mut end) = (0, 0);
        for a in self.a {
            while start < self.b.len() && self.b[start] - a < low {
                start += 1;
            }
            while end < self.b.len() && self.b[end] - a <= high {
                end += 1;
            }
            found.extend(self.b[start..end.max(start)].iter().map(|b| b - a));
        }
        found
    }

    /// Cuts the differences in two at a limit. Steps without branches: which of the two pointers is
    /// next cannot be foretold.
    fn cut(&self, limit: f64) -> Cut {
        let (mut place, mut fitting, mut count) = (0, 0, 0);
        let (mut largest, mut next) = (f64::NEG_INFINITY, f64::INFINITY);
        while place < self.a.len() && fitting < self.b.len() {
            let difference = self.b[fitting] - self.a[place];
            let fits = difference <= limit;
            let (below, above) = if fits {
                (difference, f64::INFINITY)
            } else {
                (f64::NEG_INFINITY, difference)
            };
            largest = if below > largest { below } else { largest };
            next = if above < next { above } else { next };
            fitting += usize::from(fits);
            place += usize::from(!fits);
            count += if fits { 0 } else { fitting };
        }
        Cut {
            count: count + (self.a.len() - place) * fitting,
            largest,
            next,
        }
    }
}

/// Differences on both sides of a limit.
struct Cut {
    /// How many are not larger than the limit.
    count: usize,
    /// The largest of these.
    largest: f64,
    /// The least of the others.
    next: f64,
}

/// Numbers in the order of the floats that they stand for.
pub(crate) fn to_key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

pub(crate) fn from_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn naive(a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut all: Vec<f64> = a
            .iter()
            .flat_map(|a| b.iter().map(move |b| b - a))
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn selection_is_exact() {
        let mut noise = Noise::new(1);
        for (m, n) in [(1, 1), (1, 9), (7, 5), (30, 31)] {
            let mut a: Vec<f64> = noise.normals(m);
            let mut b: Vec<f64> = noise
                .normals(n)
                .iter()
                .map(|v| (v * 8.0).round() / 8.0)
                .collect();
            a.sort_by(f64::total_cmp);
            b.sort_by(f64::total_cmp);
            let differences = Differences { a: &a, b: &b };
            for (index, want) in naive(&a, &b).into_iter().enumerate() {
                assert_eq!(differences.nth(index), want, "{m} × {n} at {index}");
            }
        }
    }

    #[test]
    fn large_samples_are_not_capped() {
        let mut noise = Noise::new(2);
        let (a, b) = (noise.normals(60_000), noise.normals(50_000));
        let result = shift(&a, &b, 0.99).expect("samples");
        assert!(result.shift.abs() < 0.03, "{result:?}");
        assert!(result.ci_hi.expect("bound") - result.ci_lo.expect("bound") < 0.05);
    }

    #[test]
    fn takes_the_interval_from_the_exact_distribution() {
        let a = [1.1, 2.2, 3.3, 0.4];
        let b = [2.5, 3.6, 4.7, 1.8, 5.9];
        let all = naive(&a, &b);
        let result = shift(&a, &b, 0.95).expect("samples");
        assert_eq!(result.shift, (all[9] + all[10]) / 2.0);
        // Two-sided 95 % of 4 and 5: P(U ≤ 1) = 2/126 ≤ 0.025 < P(U ≤ 2) = 4/126.
        assert_eq!(result.ci_lo, Some(all[1]));
        assert_eq!(result.ci_hi, Some(all[18]));
    }

    #[test]
    fn equivariant_and_antisymmetric() {
        let mut noise = Noise::new(3);
        for n in 6..40 {
            let (a, b) = (noise.ar1(n, 0.5), noise.ar1(n + 2, 0.2));
            let there = shift(&a, &b, 0.99).expect("samples");
            let back = shift(&b, &a, 0.99).expect("samples");
            assert!((there.shift + back.shift).abs() < 1e-12);
            assert_eq!(there.p_value, back.p_value);
            assert_eq!(there.ci_lo.map(|low| -low), back.ci_hi);
            // Powers of two keep the arithmetic exact.
            let moved: Vec<f64> = b.iter().map(|value| value + 4096.0).collect();
            let far = shift(&a, &moved, 0.99).expect("samples");
            assert!((far.shift - there.shift - 4096.0).abs() < 1e-9);
            let scale = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| v * 0.25).collect() };
            let small = shift(&scale(&a), &scale(&b), 0.99).expect("samples");
            assert_eq!(small.shift, there.shift * 0.25);
            assert_eq!(small.ci_hi, there.ci_hi.map(|high| high * 0.25));
        }
    }

    #[test]
    fn degenerate_samples() {
        assert_eq!(shift(&[], &[1.0], 0.99), None);
        let constant = shift(&[2.0; 30], &[5.0; 30], 0.99).expect("samples");
        assert_eq!(
            (constant.shift, constant.ci_lo, constant.ci_hi),
            (3.0, Some(3.0), Some(3.0))
        );
        assert!(constant.p_value < 1e-9, "{constant:?}");
        let noisy: Vec<f64> = (0..30).map(|i| 0.6 + 1e-12 * f64::from(i / 8)).collect();
        let steady = shift(&[0.0; 30], &noisy, 0.99).expect("samples");
        assert_eq!(steady.effective_b, 30.0, "the last digits are no memory");
        assert!(steady.ci_lo.is_some_and(|low| low > 0.59), "{steady:?}");
        let same = shift(&[0.0; 30], &[-0.0; 30], 0.99).expect("samples");
        assert_eq!((same.shift, same.p_value), (0.0, 1.0));
        let few = shift(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.99).expect("samples");
        assert_eq!((few.ci_lo, few.ci_hi), (None, None));
    }

    /// The share of runs whose interval holds the true shift, and of those that had an interval.
    fn coverage(runs: u32, mut draw: impl FnMut() -> (Vec<f64>, Vec<f64>, f64)) -> (f64, f64) {
        let (mut covered, mut bounded) = (0, 0);
        for _ in 0..runs {
            let (a, b, truth) = draw();
            let result = shift(&a, &b, 0.99).expect("samples");
            let (Some(low), Some(high)) = (result.ci_lo, result.ci_hi) else {
                covered += 1;
                continue;
            };
            bounded += 1;
            covered += u32::from(low <= truth && truth <= high);
        }
        (
            f64::from(covered) / f64::from(runs),
            f64::from(bounded) / f64::from(runs),
        )
    }

    /// The tolerance below 99 % is stated per case: memory is estimated from the same few samples
    /// whose interval it widens. Three standard errors of the count are 0.005.
    #[test]
    fn the_interval_covers_the_shift() {
        let runs = 4_000;
        for (n, phi, least) in [
            (20, 0.0, 0.985),
            (20, 0.5, 0.982),
            (60, 0.3, 0.985),
            (60, 0.7, 0.98),
            (120, 0.9, 0.97),
        ] {
            let mut noise = Noise::new(1000 + n as u64);
            let (share, _) = coverage(runs, || {
                let b = noise.ar1(n, phi).iter().map(|value| value + 1.5).collect();
                (noise.ar1(n, phi), b, 1.5)
            });
            assert!(share >= least, "n {n}, phi {phi}: {share}");
        }
        let mut noise = Noise::new(4);
        let (share, bounded) = coverage(runs, || {
            let lognormal = |noise: &mut Noise, by: f64| -> Vec<f64> {
                noise
                    .normals(25)
                    .iter()
                    .map(|value| value.exp() + by)
                    .collect()
            };
            (lognormal(&mut noise, 0.0), lognormal(&mut noise, 0.7), 0.7)
        });
        assert!(
            share >= 0.985 && bounded > 0.99,
            "lognormal: {share}, bounded {bounded}"
        );
    }

    /// Independent samples must not be punished: the interval is near its nominal width.
    #[test]
    fn the_interval_is_not_needlessly_wide() {
        let mut noise = Noise::new(8);
        let widths: f64 = (0..500)
            .map(|_| {
                let result =
                    shift(&noise.normals(200), &noise.normals(200), 0.99).expect("samples");
                result.ci_hi.expect("bound") - result.ci_lo.expect("bound")
            })
            .sum();
        // Of a mean's interval: 2 × 2.576 × √(2 / 200) = 0.515; ranks need √(π/3) times as much.
        let mean = widths / 500.0;
        assert!(mean > 0.5 && mean < 0.62, "{mean}");
    }
}
