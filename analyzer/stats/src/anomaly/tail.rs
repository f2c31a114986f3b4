//! How improbable a residual is among its own past: a decaying histogram in logarithmic bins, and a
//! generalised Pareto tail beyond its high quantile. Which residuals are worth ranking is for the caller.

/// Neighbouring bin edges stand in this ratio, hence a residual is known to about 4 %.
const BIN_RATIO: f64 = 1.08;
/// Bins kept: eight decades below the largest residual; what is smaller counts but has no place.
const BINS: usize = 240;
/// Refits are spaced by this part of the samples seen, and by no more than [`MAX_SPACING`].
const REFIT_PART: u64 = 100;
/// The most samples between two refits.
const MAX_SPACING: u64 = 64;
/// Weights grow until here, then all are scaled back: far from the limits of `f64`.
const RESCALE_AT: f64 = 1e12;
/// The part of the past that is called its tail.
const TAIL_PART: f64 = 0.02;
/// The fewest samples that a tail is fitted to.
const TAIL_SAMPLES: f64 = 8.0;
/// The shape of the generalised Pareto tail: heavier than exponential, so that skewed telemetry
/// does not alarm at each of its peaks. Fixed, as the shape's estimate from a few dozen samples is worth little.
const SHAPE: f64 = 0.2;

/// Residuals of at least `x / ALIKE` count as precedents of `x`.
const ALIKE: f64 = 1.2;
/// From so many precedents on, their share bounds the surprise whatever the fitted tail says: a spike that comes every
/// night is not news. The bound is the conformal p-value, `(alike + 1) / (n + 1)` (Vovk, Gammerman and Shafer 2005).
const PRECEDENTS: f64 = 3.0;

/// The past of one one-sided residual.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    bins: Vec<f64>,
    /// The bin number, on the scale of [`bin_of`], of `bins[0]`; none before the first positive residual.
    base: Option<i32>,
    total: f64,
    weight: f64,
    growth: f64,
    seen: u64,
    refit_at: u64,
    threshold: f64,
    part: f64,
    scale: f64,
    warm: u64,
}

impl Tail {
    /// An empty past that forgets over about `memory` samples, and ranks nothing before `warm` of them.
    pub(super) fn new(memory: f64, warm: u64) -> Self {
        Self {
            bins: vec![0.0; BINS],
            base: None,
            total: 0.0,
            weight: 1.0,
            growth: 1.0 / (1.0 - 1.0 / memory.max(2.0)),
            seen: 0,
            refit_at: warm,
            threshold: 0.0,
            part: TAIL_PART,
            scale: 0.0,
            warm,
        }
    }

    /// The surprise `-log10 P(residual ≥ x)` by the past alone, after which `x` belongs to it. 0 below the tail
    /// and while there is too little past. `floor` is the least scale, in the residual's unit: rounding is no news.
    pub(super) fn rank(&mut self, x: f64, floor: f64) -> f64 {
        let surprise = if self.seen >= self.warm {
            if self.seen >= self.refit_at {
                self.refit();
                self.refit_at = self.seen + 1 + (self.seen / REFIT_PART).min(MAX_SPACING - 1);
            }
            self.surprise(x, floor)
        } else {
            0.0
        };
        self.insert(x);
        surprise
    }

    fn surprise(&self, x: f64, floor: f64) -> f64 {
        let excess = x - self.threshold;
        if excess <= 0.0 {
            return 0.0;
        }
        let scale = self.scale.max(floor).max(f64::MIN_POSITIVE);
        let fitted =
            -self.part.log10() + (SHAPE * excess / scale).ln_1p() / SHAPE / std::f64::consts::LN_10;
        let alike = self.above(x / ALIKE);
        if alike >= PRECEDENTS * self.weight {
            return fitted.min(-((alike + self.weight) / self.total).min(1.0).log10());
        }
        fitted
    }

    /// The weight of the residuals from the bin of `x` on.
    fn above(&self, x: f64) -> f64 {
        let Some(base) = self.base else { return 0.0 };
        let from = (bin_of(x) - base).clamp(0, BINS as i32) as usize;
        self.bins[from..].iter().sum()
    }

    /// Places the threshold at the edge above which the tail lies, and fits its scale by the mean
    /// excess, `σ / (1 - ξ)` for the generalised Pareto distribution (Hosking and Wallis 1987).
    fn refit(&mut self) {
        let wanted = (TAIL_PART * self.total).max(TAIL_SAMPLES * self.weight);
        let Some(base) = self.base else {
            self.threshold = 0.0;
            self.part = (self.weight / self.total).min(1.0);
            self.scale = 0.0;
            return;
        };
        let mut above = 0.0;
        let mut moment = 0.0;
        let mut edge = 0.0;
        for index in (0..BINS).rev() {
            above += self.bins[index];
            moment += self.bins[index] * bin_middle(base + index as i32);
            edge = bin_edge(base + index as i32);
            if above >= wanted {
                break;
            }
        }
        self.threshold = edge;
        self.part = (above.max(self.weight) / self.total).min(1.0);
        let mean = if above > 0.0 {
            moment / above - edge
        } else {
            0.0
        };
        self.scale = mean.max(0.0) * (1.0 - SHAPE);
    }

    fn insert(&mut self, x: f64) {
        self.seen += 1;
        self.weight *= self.growth;
        self.total += self.weight;
        if x > 0.0 {
            let bin = bin_of(x);
            let base = self.base.get_or_insert(bin - BINS as i32 / 2);
            let beyond = bin - (*base + BINS as i32 - 1);
            if beyond > 0 {
                let shift = (beyond as usize).min(BINS);
                self.bins.copy_within(shift.., 0);
                self.bins[BINS - shift..].fill(0.0);
                *base += beyond;
            }
            if bin >= *base {
                self.bins[(bin - *base) as usize] += self.weight;
            }
        }
        if self.weight > RESCALE_AT {
            let down = 1.0 / self.weight;
            self.bins.iter_mut().for_each(|bin| *bin *= down);
            self.total *= down;
            self.weight = 1.0;
        }
    }
}

fn bin_of(x: f64) -> i32 {
    (x.ln() / BIN_RATIO.ln()).floor() as i32
}

fn bin_edge(bin: i32) -> f64 {
    (f64::from(bin) * BIN_RATIO.ln()).exp()
}

fn bin_middle(bin: i32) -> f64 {
    bin_edge(bin) * 0.5 * (1.0 + BIN_RATIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const WARM: u64 = 100;

    /// A past of `n` normal residuals.
    fn past(seed: u64, n: usize) -> (Tail, Noise) {
        let (mut tail, mut noise) = (Tail::new(8_000.0, WARM), Noise::new(seed));
        for _ in 0..n {
            tail.rank(noise.normal(), 0.0);
        }
        (tail, noise)
    }

    #[test]
    fn surprise_is_near_the_true_tail_and_errs_to_the_quiet_side() {
        let (mut tail, mut noise) = past(7, 4_000);
        let n = 40_000;
        let mut beyond = [0_u32; 2];
        for _ in 0..n {
            let surprise = tail.rank(noise.normal(), 0.0);
            beyond[0] += u32::from(surprise >= 2.0);
            beyond[1] += u32::from(surprise >= 4.0);
        }
        // Nominal 400 and 4 of 40,000. Precedents down to `x / ALIKE` and the heavy shape make alarms rarer.
        assert!((30..=400).contains(&beyond[0]), "{beyond:?}");
        assert!(beyond[1] <= 8, "{beyond:?}");
    }

    #[test]
    fn unit_of_measure_does_not_matter() {
        let mut noise = Noise::new(5);
        let (mut plain, mut scaled) = (Tail::new(500.0, WARM), Tail::new(500.0, WARM));
        // Powers of two keep the values exact, yet bins are cut elsewhere: equal to a bin's width.
        for _ in 0..3_000 {
            let x = noise.normal();
            let (a, b) = (plain.rank(x, 0.0), scaled.rank(x * 2_f64.powi(200), 0.0));
            // Just beyond the threshold the surprise begins at that of the tail's part, hence only the far tail.
            assert!(a.max(b) < 2.5 || (a - b).abs() < 0.7, "{a} {b}");
        }
        assert!(plain.rank(20.0, 0.0) > 6.0);
    }

    #[test]
    fn what_came_often_is_no_news() {
        let (mut tail, mut noise) = past(11, 1_000);
        let mut surprises = Vec::new();
        for _ in 0..10 {
            surprises.push(tail.rank(30.0, 0.0));
            for _ in 0..300 {
                tail.rank(noise.normal(), 0.0);
            }
        }
        assert!(surprises[0] > 6.0, "{surprises:?}");
        assert!(surprises[4..].iter().all(|&s| s < 3.0), "{surprises:?}");
    }

    #[test]
    fn forgets_over_its_memory() {
        let mut tail = Tail::new(300.0, WARM);
        let mut noise = Noise::new(13);
        for i in 0..6_000 {
            let scale = if i < 1_000 { 100.0 } else { 1.0 };
            tail.rank(scale * noise.normal(), 0.0);
        }
        assert!(tail.rank(40.0, 0.0) > 5.0);
    }

    #[test]
    fn extremes_stay_finite() {
        let mut tail = Tail::new(100.0, 10);
        for i in 0..5_000 {
            let x = [0.0, 1e-300, 1e150, -1e150, 5e-324][i % 5];
            assert!(tail.rank(x, 0.0).is_finite());
        }
        let mut constant = Tail::new(100.0, 10);
        for _ in 0..200 {
            assert_eq!(constant.rank(0.0, 1e-9), 0.0);
        }
        assert!(constant.rank(1.0, 1e-9) > 4.0);
    }
}
