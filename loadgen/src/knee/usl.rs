//! The Universal Scalability Law (Gunther 1993; *Guerrilla Capacity Planning*, 2007):
//! X(N) = λN / (1 + σ(N − 1) + κN(N − 1)), with the throughput X at concurrency N, the throughput λ
//! of one, contention σ and coherency κ. Fitted to steps, with bootstrap intervals. Which steps are
//! steady enough for a fit is left to the search.

mod fit;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::statistics::{Estimate, normal_below, student_975};
pub(super) use fit::Law;
use fit::{Observation, fit};

/// Fewest points for a fit: one more than needed for a residual's degrees of freedom to be two.
const LEAST_POINTS: usize = 5;
/// Parameters of the law.
const PARAMETERS: usize = 3;
/// A κ below this share of its estimate counts as 0: the fit put it at its bound.
const NEXT_TO_NOTHING: f64 = 1e-6;

/// A steady step as the law sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPoint {
    /// Operations under way: throughput × mean response time, by Little's law (Little 1961).
    pub concurrency: f64,
    /// Operations that ended, per second.
    pub throughput_per_s: f64,
    /// Standard error of the concurrency.
    pub concurrency_error: f64,
    /// Standard error of the throughput.
    pub throughput_error: f64,
}

/// The law's parameters, fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UslFit {
    /// Throughput of one operation at a time, per second.
    pub lambda: Estimate,
    /// Contention: the share that queues for what only one can have.
    pub sigma: Estimate,
    /// Coherency: what each pair costs for keeping itself consistent.
    pub kappa: Estimate,
    /// Where throughput is highest; `None` where the steps cannot tell κ from 0: as far as they
    /// show, it is still scaling.
    pub peak: Option<UslPeak>,
    /// What it was fitted to.
    pub points: Vec<UslPoint>,
    /// Resamples behind the intervals.
    pub resamples: usize,
}

/// The highest throughput that the law foresees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPeak {
    /// N* = √((1 − σ) / κ).
    pub concurrency: Estimate,
    /// X(N*), per second.
    pub throughput_per_s: Estimate,
}

impl UslPoint {
    /// From throughput per second and mean response time in nanoseconds.
    pub fn from_little(throughput: Estimate, mean_ns: Estimate) -> Self {
        let mean_s = mean_ns.value * 1e-9;
        Self {
            concurrency: throughput.value * mean_s,
            throughput_per_s: throughput.value,
            // The schedule fixes the throughput, so the error of N is almost that of the mean.
            concurrency_error: throughput.value * mean_ns.standard_error * 1e-9,
            throughput_error: throughput.standard_error,
        }
    }
}

impl UslFit {
    /// Fits the law. `None` with fewer than five points, where concurrency hardly differs between
    /// them, or where nothing fits.
    ///
    /// The intervals come from resampled residuals (Efron and Tibshirani 1993, 9.5), which are
    /// standardised by the points' errors and scaled up for the parameters that were fitted; and
    /// they are expanded percentile intervals (Hesterberg 2015): plain percentiles are too narrow
    /// for so few points.
    pub fn of(points: &[UslPoint], seed: u64, resamples: usize) -> Option<Self> {
        const LEAST_SPREAD: f64 = 1.5;
        let (least, most) = points
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(low, high), point| {
                (low.min(point.concurrency), high.max(point.concurrency))
            });
        if points.len() < LEAST_POINTS || most < LEAST_SPREAD * least {
            return None;
        }
        let (law, observations) = fit_points(points)?;
        let drawn = resample(&law, &observations, seed, resamples);
        if drawn.len() * 2 < resamples {
            return None;
        }
        let freedom = (points.len() - PARAMETERS) as f64;
        let tail = normal_below(-student_975(freedom));
        let interval = |of: &dyn Fn(&Law) -> f64| interval(of(&law), drawn.iter().map(of), tail);
        let kappa = interval(&|law| law.kappa);
        let is_finite = law.sigma < 1.0 && kappa.low > NEXT_TO_NOTHING * kappa.value;
        let peak = is_finite.then(|| UslPeak {
            concurrency: interval(&Law::peak),
            throughput_per_s: interval(&|law| law.throughput(law.peak())),
        });
        Some(Self {
            lambda: interval(&|law| law.lambda),
            sigma: interval(&|law| law.sigma),
            kappa,
            peak,
            points: points.to_vec(),
            resamples: drawn.len(),
        })
    }

    /// The throughput per second at a concurrency.
    pub fn throughput(&self, concurrency: f64) -> f64 {
        self.law().throughput(concurrency)
    }

    /// The concurrency at which the law first gives a throughput; `None` beyond its peak.
    pub fn concurrency(&self, throughput_per_s: f64) -> Option<f64> {
        self.law().concurrency(throughput_per_s)
    }

    fn law(&self) -> Law {
        Law {
            lambda: self.lambda.value,
            sigma: self.sigma.value,
            kappa: self.kappa.value,
        }
    }
}

/// Fits with weights that depend on the fit: an error of the concurrency is one of the throughput
/// times the law's slope ("effective variance", Orear 1982). An open model fixes the throughput, so
/// that nearly all error is in the concurrency.
fn fit_points(points: &[UslPoint]) -> Option<(Law, Vec<Observation>)> {
    const ROUNDS: usize = 4;
    let mut observations: Vec<Observation> = points
        .iter()
        .map(|point| Observation {
            concurrency: point.concurrency,
            throughput: point.throughput_per_s,
            error: point.throughput_per_s,
        })
        .collect();
    let mut law = fit(&observations, None)?;
    for _ in 0..ROUNDS {
        for (observation, point) in observations.iter_mut().zip(points) {
            // The slope is taken where the law meets the throughput: at the observed concurrency it
            // would be steeper for errors to one side than to the other.
            let at = law
                .concurrency(point.throughput_per_s)
                .unwrap_or(point.concurrency);
            let carried = law.slope(at) * point.concurrency_error;
            let variance = point.throughput_error.powi(2) + carried.powi(2);
            observation.error = variance.sqrt().max(point.throughput_per_s * 1e-4);
        }
        law = fit(&observations, Some(law))?;
    }
    Some((law, observations))
}

/// Laws fitted to the fit plus residuals drawn with replacement; those that do not fit are left out.
fn resample(law: &Law, observations: &[Observation], seed: u64, resamples: usize) -> Vec<Law> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let count = observations.len();
    let scale = (count as f64 / (count - PARAMETERS) as f64).sqrt();
    let mut residuals: Vec<f64> = observations
        .iter()
        .map(|it| (it.throughput - law.throughput(it.concurrency)) / it.error * scale)
        .collect();
    let mean = residuals.iter().sum::<f64>() / count as f64;
    residuals.iter_mut().for_each(|residual| *residual -= mean);
    (0..resamples)
        .filter_map(|_| {
            let drawn: Vec<Observation> = observations
                .iter()
                .map(|it| Observation {
                    throughput: law.throughput(it.concurrency)
                        + it.error * residuals[random.random_range(0..count)],
                    ..*it
                })
                .collect();
            fit(&drawn, Some(*law))
        })
        .collect()
}

fn interval(value: f64, drawn: impl Iterator<Item = f64>, tail: f64) -> Estimate {
    let mut sorted: Vec<f64> = drawn.map(|it| it.min(f64::MAX)).collect();
    sorted.sort_by(f64::total_cmp);
    let last = (sorted.len() - 1) as f64;
    let at = |share: f64| sorted[(share * last).round() as usize];
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let variance = sorted.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / last;
    Estimate {
        value,
        low: at(tail).min(value),
        high: at(1.0 - tail).max(value),
        standard_error: variance.sqrt().min(f64::MAX),
    }
}
