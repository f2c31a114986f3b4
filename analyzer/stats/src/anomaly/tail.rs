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

    /// The surprise `-log10 P(residual ≥ x)` by the past alone, after which `x` belongs to it. 0 below
    /// the tail and while there is too little past.
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
        let e = |k: &str, d: f64| {
            std::env::var(k)
                .ok()
                .and_then(|v| v.parse().ok())
                .unwrap_or(d)
        };
        let alike = self.above(x / e("ALIKE", 1.2));
        if alike >= e("SEEN", 2.0) * self.weight {
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
