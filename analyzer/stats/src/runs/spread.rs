//! What run-level estimates say about a shift when the spread between runs is unknown.
//!
//! Each run gives one estimate whose sampling variance is known from its hundreds of requests; the
//! run itself adds an effect of its own, of which a handful of runs tells little. Ordinary t tests
//! pretend to know nothing of the first and lose most of their power; pooling pretends that the
//! second is not there. Here the standard deviations of the run effects are integrated out over a
//! prior: the shift's posterior is a mixture of normal distributions, one for each point of a grid.
//! DerSimonian and Laird, "Meta-analysis in clinical trials" (1986) for the model; Gelman, "Prior
//! distributions for variance parameters in hierarchical models" (2006) for integrating over it.

use crate::distribution::normal_cdf;
use std::f64::consts::PI;

/// Standard deviations of run effects on the log scale that the grid spans, from 0.2 % to 60 %.
const LEAST: f64 = 0.002;
const LARGEST: f64 = 0.6;
/// Points of the grid besides zero: of an arm's own effect, and of the effect shared by a pair.
const OWN_POINTS: usize = 24;
const SHARED_POINTS: usize = 16;
/// Variances below the rounding of doubles count as this.
const LEAST_VARIANCE: f64 = 1e-30;
/// Standard deviations beyond which a normal distribution has nothing that a double could show.
const REACH: f64 = 40.0;
/// Steps towards a posterior quantile: were all of them halvings, a part in 1e18 of the bracket.
const MOST_STEPS: u32 = 60;
/// A step below this part of the standard error ends the search.
const CONVERGED: f64 = 1e-12;

/// The prior of the run effects, on the log scale. The total standard deviation is zero with
/// probability `none`, else Lomax distributed: density `(1 + r / scale)^-(1 + tail)`. The share
/// `own²/total²` of what a pair does not have in common is Beta(`own`, `shared`) distributed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    pub(super) none: f64,
    pub(super) scale: f64,
    pub(super) tail: f64,
    pub(super) own: f64,
    pub(super) shared: f64,
}

/// An estimate from one run and its variance within the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) variance: f64,
}

/// The posterior distribution of a shift: a mixture of normal distributions.
#[derive(Debug, Clone)]
pub(super) struct Posterior(Vec<Part>);

#[derive(Debug, Clone, Copy)]
struct Part {
    weight: f64,
    mean: f64,
    deviation: f64,
}

impl Posterior {
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().map(|part| part.weight * part.mean).sum()
    }

    /// The standard error to expect of a repetition: without the spread of the parts' means.
    pub(super) fn standard_error(&self) -> f64 {
        let variance: f64 = self
            .0
            .iter()
            .map(|part| part.weight * part.deviation * part.deviation)
            .sum();
        variance.sqrt()
    }

    /// The probability that the shift is at most `x`.
    pub(super) fn below(&self, x: f64) -> f64 {
        let sum: f64 = self
            .0
            .iter()
            .map(|part| part.weight * normal_cdf((x - part.mean) / part.deviation))
            .sum();
        sum.clamp(0.0, 1.0)
    }

    /// The `p`-quantile: Newton's steps, halvings where one would leave the bracket.
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let ends = self.0.iter().filter(|part| part.weight > 0.0);
        let (mut low, mut high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), part| {
            let reach = REACH * part.deviation;
            (l.min(part.mean - reach), h.max(part.mean + reach))
        });
        let settled = CONVERGED * self.standard_error();
        let mut x = self.mean().clamp(low, high);
        for _ in 0..MOST_STEPS {
            let excess = self.below(x) - p;
            if excess < 0.0 {
                low = x;
            } else {
                high = x;
            }
            let newton = x - excess / self.density(x);
            let next = if newton > low && newton < high {
                newton
            } else {
                0.5 * (low + high)
            };
            let moved = (next - x).abs();
            x = next;
            if moved <= settled {
                break;
            }
        }
        x
    }

    fn density(&self, x: f64) -> f64 {
        let of = |part: &Part| {
            let z = (x - part.mean) / part.deviation;
            part.weight * (-0.5 * z * z).exp() / (part.deviation * (2.0 * PI).sqrt())
        };
        self.0.iter().map(of).sum()
    }
}

/// The shift from `a` to `b` where run `i` of one was measured beside run `i` of the other, so that
/// drift of the environment moves both. `None` unless there are equally many, at least two.
///
/// With own effects of standard deviation `t` in each run and shared effects `u` in each pair, the
/// differences have variance `w_a + w_b + 2 t²`, and the pairs' means, which are independent of
/// them where the arms are alike, `(w_a + w_b) / 4 + t² / 2 + u²`: means that hardly vary bound `t`
/// as well, which doubles what the runs tell about it.
pub(super) fn paired(a: &[Estimate], b: &[Estimate], prior: &Prior) -> Option<Posterior> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let pairs = || a.iter().zip(b);
    let differences: Vec<Estimate> = pairs()
        .map(|(a, b)| Estimate {
            value: b.value - a.value,
            variance: a.variance + b.variance,
        })
        .collect();
    let means: Vec<Estimate> = pairs()
        .map(|(a, b)| Estimate {
            value: 0.5 * (a.value + b.value),
            variance: 0.25 * (a.variance + b.variance),
        })
        .collect();
    let (own, shared) = (grid(OWN_POINTS), grid(SHARED_POINTS));
    let mut parts = Vec::with_capacity(own.len());
    for (i, (t, t_step)) in own.iter().enumerate() {
        let fit = Fit::new(&differences, 2.0 * t * t)?;
        let mut levels = Vec::with_capacity(shared.len());
        for (j, (u, u_step)) in shared.iter().enumerate() {
            let level = Fit::new(&means, 0.5 * t * t + u * u)?;
            let log_prior = if i + j == 0 {
                prior.none.ln()
            } else {
                prior.log_density(*t, *u) + (t_step * u_step).ln()
            };
            levels.push(log_prior + level.log_likelihood);
        }
        parts.push((fit.log_likelihood + log_sum(&levels), fit));
    }
    mixture(&parts)
}

/// The shift from `a` to `b` measured apart from each other, with one spread of the run effects for
/// both. `None` unless each has an estimate and one has two.
pub(super) fn independent(a: &[Estimate], b: &[Estimate], prior: &Prior) -> Option<Posterior> {
    if a.is_empty() || b.is_empty() || a.len() + b.len() < 3 {
        return None;
    }
    let mut parts = Vec::new();
    for (i, (t, step)) in grid(OWN_POINTS).iter().enumerate() {
        let fit = Fit::difference(a, b, t * t)?;
        let log_prior = if i == 0 {
            prior.none.ln()
        } else {
            prior.log_total(*t) + step.ln()
        };
        parts.push((log_prior + fit.log_likelihood, fit));
    }
    mixture(&parts)
}

/// The shift where the standard deviation of the run effects is known from elsewhere. `None` where
/// a side has no estimate.
pub(super) fn known(a: &[Estimate], b: &[Estimate], deviation: f64) -> Option<Posterior> {
    let fit = Fit::difference(a, b, deviation * deviation)?;
    mixture(&[(0.0, fit)])
}

impl Prior {
    /// Log density of the total standard deviation, given that there is an effect.
    fn log_total(&self, total: f64) -> f64 {
        (1.0 - self.none).ln() - self.scale.ln() - (1.0 + self.tail) * (total / self.scale).ln_1p()
    }

    /// Log density of own and shared standard deviations. In polar coordinates the angle's density
    /// is that of the Beta distributed share times its derivative `2 sin cos`.
    fn log_density(&self, own: f64, shared: f64) -> f64 {
        let total = own.hypot(shared);
        let share = (own / total).powi(2).clamp(1e-3, 1.0 - 1e-3);
        self.log_total(total) - total.ln()
            + (self.own - 0.5) * share.ln()
            + (self.shared - 0.5) * (1.0 - share).ln()
    }
}

/// A weighted mean under given variances, and how well they explain the values.
#[derive(Debug, Clone, Copy)]
struct Fit {
    mean: f64,
    variance: f64,
    log_likelihood: f64,
}

impl Fit {
    /// The restricted likelihood, the mean integrated out: Patterson and Thompson, "Recovery of
    /// inter-block information when block sizes are unequal" (1971).
    fn new(estimates: &[Estimate], extra: f64) -> Option<Self> {
        let (mut precision, mut weighted, mut log_variances) = (0.0, 0.0, 0.0);
        for estimate in estimates {
            let variance = (estimate.variance + extra).max(LEAST_VARIANCE);
            precision += 1.0 / variance;
            weighted += estimate.value / variance;
            log_variances += variance.ln();
        }
        let mean = weighted / precision;
        let squares: f64 = estimates
            .iter()
            .map(|estimate| {
                let variance = (estimate.variance + extra).max(LEAST_VARIANCE);
                (estimate.value - mean).powi(2) / variance
            })
            .sum();
        mean.is_finite().then_some(Self {
            mean,
            variance: 1.0 / precision,
            log_likelihood: -0.5 * (log_variances + precision.ln() + squares),
        })
    }

    fn difference(a: &[Estimate], b: &[Estimate], extra: f64) -> Option<Self> {
        let (a, b) = (Self::new(a, extra)?, Self::new(b, extra)?);
        Some(Self {
            mean: b.mean - a.mean,
            variance: a.variance + b.variance,
            log_likelihood: a.log_likelihood + b.log_likelihood,
        })
    }
}

fn mixture(parts: &[(f64, Fit)]) -> Option<Posterior> {
    let logs: Vec<f64> = parts.iter().map(|(log, _)| *log).collect();
    let all = log_sum(&logs);
    all.is_finite().then(|| {
        let part = |(log, fit): &(f64, Fit)| Part {
            weight: (log - all).exp(),
            mean: fit.mean,
            deviation: fit.variance.sqrt(),
        };
        Posterior(parts.iter().map(part).collect())
    })
}

/// The logarithm of the sum of exponentials.
fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::MIN, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// Zero and a geometric grid, each point with the width that it stands for.
fn grid(points: usize) -> Vec<(f64, f64)> {
    let ratio = (LARGEST / LEAST).powf(1.0 / (points - 1) as f64);
    let mut values = vec![0.0];
    values.extend((0..points).map(|i| LEAST * ratio.powi(i as i32)));
    let step = |i: usize| {
        let below = if i == 0 { 0.0 } else { values[i - 1] };
        let above = values.get(i + 1).copied().unwrap_or(values[i]);
        0.5 * (above - below)
    };
    (0..values.len()).map(|i| (values[i], step(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use crate::student::student_quantile;

    const PRIOR: Prior = Prior {
        none: 0.2,
        scale: 0.02,
        tail: 1.5,
        own: 1.5,
        shared: 2.0,
    };

    fn estimates(noise: &mut Noise, n: usize, deviation: f64, variance: f64) -> Vec<Estimate> {
        (0..n)
            .map(|_| Estimate {
                value: (deviation.powi(2) + variance).sqrt() * noise.normal(),
                variance,
            })
            .collect()
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        let mut noise = Noise::new(3);
        for deviation in [0.0, 0.02, 0.2] {
            let a = estimates(&mut noise, 5, deviation, 4e-4);
            let b = estimates(&mut noise, 5, deviation, 4e-4);
            for posterior in [paired(&a, &b, &PRIOR), independent(&a, &b, &PRIOR)] {
                let posterior = posterior.expect("a posterior");
                for p in [1e-4, 0.005, 0.3, 0.5, 0.995] {
                    let got = posterior.below(posterior.quantile(p));
                    assert!((got / p - 1.0).abs() < 1e-9, "{p}: {got}");
                }
            }
        }
    }

    #[test]
    fn a_known_spread_gives_the_normal_interval() {
        let one = |value| Estimate {
            value,
            variance: 0.03,
        };
        let posterior = known(&[one(1.0), one(3.0)], &[one(5.0)], 0.1).expect("a posterior");
        let error = (0.04_f64 / 2.0 + 0.04).sqrt();
        assert!((posterior.mean() - 3.0).abs() < 1e-12);
        assert!((posterior.standard_error() - error).abs() < 1e-12);
        assert!((posterior.quantile(0.995) - 3.0 - 2.575_829_303_5 * error).abs() < 1e-9);
    }

    /// Between what is known of the requests alone and what only the runs tell.
    #[test]
    fn the_interval_lies_between_pooling_and_student() {
        let one = |value: f64| Estimate {
            value,
            variance: 1e-4,
        };
        let a: Vec<Estimate> = [0.00, 0.01, -0.01, 0.005, -0.005].map(one).to_vec();
        let b: Vec<Estimate> = [0.02, 0.03, -0.02, -0.025, 0.01].map(one).to_vec();
        let posterior = paired(&a, &b, &PRIOR).expect("a posterior");
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b.value - a.value).collect();
        let mean = differences.iter().sum::<f64>() / 5.0;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let student = student_quantile(0.995, 4.0) * (squares / 4.0 / 5.0).sqrt();
        let pooled = 2.575_829_303_5 * (2e-4_f64 / 5.0).sqrt();
        let half = 0.5 * (posterior.quantile(0.995) - posterior.quantile(0.005));
        assert!(half > pooled && half < student, "{pooled} {half} {student}");
    }

    #[test]
    fn too_few_estimates_have_no_posterior() {
        let one = Estimate {
            value: 1.0,
            variance: 0.0,
        };
        assert!(paired(&[one], &[one], &PRIOR).is_none());
        assert!(paired(&[one; 2], &[one; 3], &PRIOR).is_none());
        assert!(independent(&[one], &[one], &PRIOR).is_none());
        assert!(known(&[], &[one], 0.1).is_none());
        let constant = paired(&[one; 3], &[one; 3], &PRIOR).expect("a posterior");
        assert!(constant.mean() == 0.0 && constant.quantile(0.995).abs() < 1e-9);
    }
}
