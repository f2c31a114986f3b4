//! Simulated targets. Their truth follows from their parameters; nothing here shares code with what
//! is tested but the types that go in and out.

use std::collections::BTreeMap;

use driftline_loadgen::knee::{
    Counts, Progress, StepMonitor, StepPlan, StepResult, UslPoint, Window,
};
use driftline_loadgen::threshold::{Comparison, Measure, Threshold};

const WINDOW_S: f64 = 0.5;

/// A target together with its generator.
pub(crate) trait World {
    fn run(&mut self, plan: &StepPlan, monitor: &mut StepMonitor) -> StepResult;
}

pub(crate) fn p95_below(bound_s: f64) -> Threshold {
    Threshold {
        measure: Measure::Quantile(0.95),
        endpoint: None,
        stage: None,
        comparison: Comparison::Less,
        bound: bound_s * 1e9,
        abort: false,
        text: format!("p95 < {:.0}ms", bound_s * 1e3),
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the worlds draw some hundred million numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn seed_from_u64(seed: u64) -> Self {
        let mut random = Self(seed);
        random.share();
        random
    }

    /// Between 0 and 1, without 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }
}

/// The law's true parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Law {
    pub(crate) lambda: f64,
    pub(crate) sigma: f64,
    pub(crate) kappa: f64,
}

impl Law {
    fn random(random: &mut Random) -> Self {
        Self {
            lambda: random.between(20.0, 60.0),
            sigma: random.between(0.02, 0.12),
            kappa: random.between(3e-4, 3e-3),
        }
    }

    pub(crate) fn throughput(&self, n: f64) -> f64 {
        n / self.response_s(n)
    }

    pub(crate) fn peak(&self) -> f64 {
        ((1.0 - self.sigma) / self.kappa).sqrt()
    }

    fn response_s(&self, n: f64) -> f64 {
        (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0)) / self.lambda
    }

    /// Concurrency at a throughput below the peak, by bisection.
    fn concurrency(&self, throughput: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.peak().min(1e6));
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.throughput(middle) < throughput {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A server under the law: exponential response times, whose mean wanders slowly (first-order
/// autoregression of its logarithm), and a queue that grows beyond the peak.
#[derive(Debug)]
pub(crate) struct ScaledServer {
    pub(crate) law: Law,
    pub(crate) generator_rate: f64,
    pub(crate) error_share: f64,
    pub(crate) stalled_step: Option<usize>,
    knee_concurrency: f64,
    random: Random,
}

const WANDER: f64 = 0.10;
const WANDER_KEPT: f64 = 0.5;

impl ScaledServer {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::seed_from_u64(seed);
        let law = Law::random(&mut random);
        Self {
            law,
            generator_rate: f64::INFINITY,
            error_share: 0.0,
            stalled_step: None,
            knee_concurrency: law.peak() * random.between(0.4, 0.9),
            random,
        }
    }

    pub(crate) fn knee(&self) -> f64 {
        self.law.throughput(self.knee_concurrency)
    }

    /// The p95 at the true knee.
    pub(crate) fn bound_s(&self) -> f64 {
        self.law.response_s(self.knee_concurrency) * p95_of_unit_mean()
    }
}

/// The 0.95 quantile of an exponential time of mean 1 times a log-normal factor of mean 1, by
/// numerical integration over the factor.
fn p95_of_unit_mean() -> f64 {
    let beyond = |time: f64| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for at in -400_i32..=400 {
            let z = f64::from(at) / 50.0;
            let weight = (-z * z / 2.0).exp();
            let factor = (WANDER * z - WANDER * WANDER / 2.0).exp();
            sum += weight * (-time / factor).exp();
            weights += weight;
        }
        sum / weights
    };
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > 0.05 {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

impl World for ScaledServer {
    fn run(&mut self, plan: &StepPlan, monitor: &mut StepMonitor) -> StepResult {
        let capacity = self.law.throughput(self.law.peak().min(1e6));
        let is_stable = plan.rate < capacity;
        let at = self.law.concurrency(plan.rate.min(capacity * 0.999));
        let steady_s = self.law.response_s(at);
        let (mut backlog, mut wander, mut number) = (0.0, WANDER * normal(&mut self.random), 0);
        let is_stalled = self.stalled_step == Some(plan.number);
        loop {
            number += 1;
            let fresh = (1.0 - WANDER_KEPT * WANDER_KEPT).sqrt() * WANDER;
            wander = WANDER_KEPT * wander + fresh * normal(&mut self.random);
            let mean_s = steady_s * (wander - WANDER * WANDER / 2.0).exp();
            let intended = arrivals(
                &mut self.random,
                plan.rate.min(self.generator_rate) * WINDOW_S,
            );
            let mut ended = intended;
            if !is_stable {
                ended = ended.min(arrivals(&mut self.random, capacity * WINDOW_S));
                backlog += (intended - ended) as f64;
            }
            // A second and a half in every four without an answer, and then all of them at once.
            let stall_s = if is_stalled && number % 8 < 3 {
                1.5
            } else {
                0.0
            };
            let mut all = Counts {
                intended,
                ..Counts::default()
            };
            for _ in 0..ended {
                let time_s = exponential(&mut self.random) * mean_s + backlog / capacity + stall_s;
                all.latencies.record((time_s * 1e9) as u64);
                let is_failed = self.error_share > 0.0 && self.random.share() < self.error_share;
                all.failed += u64::from(is_failed);
                all.answered += u64::from(!is_failed);
            }
            let endpoints = BTreeMap::from([(0, all.clone())]);
            if let Progress::Done(_) = monitor.feed(Window {
                seconds: WINDOW_S,
                all,
                endpoints,
            }) {
                break;
            }
        }
        let is_limited = plan.rate > self.generator_rate;
        StepResult {
            report: monitor.report(),
            generator_limited: is_limited.then(|| "sends came too late".to_owned()),
        }
    }
}

/// A single server with exponential service times and Poisson arrivals, request by request.
#[derive(Debug)]
pub(crate) struct Line {
    service_rate: f64,
    pub(crate) bound_s: f64,
    random: Random,
}

impl Line {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::seed_from_u64(seed);
        let service_rate = random.between(150.0, 400.0);
        let load = random.between(0.6, 0.85);
        Self {
            service_rate,
            bound_s: 20_f64.ln() / (service_rate * (1.0 - load)),
            random,
        }
    }

    /// Response times are exponential with rate μ − λ, hence p95 = ln 20 / (μ − λ).
    pub(crate) fn knee(&self) -> f64 {
        self.service_rate - 20_f64.ln() / self.bound_s
    }
}

impl World for Line {
    fn run(&mut self, plan: &StepPlan, monitor: &mut StepMonitor) -> StepResult {
        let (mut now, mut free, mut until) = (0.0, 0.0_f64, WINDOW_S);
        let mut windows: BTreeMap<u64, Counts> = BTreeMap::new();
        loop {
            now += exponential(&mut self.random) / plan.rate;
            while now >= until {
                let at = (until / WINDOW_S).round() as u64 - 1;
                let all = windows.remove(&at).unwrap_or_default();
                let window = Window {
                    seconds: WINDOW_S,
                    all,
                    endpoints: BTreeMap::new(),
                };
                if let Progress::Done(_) = monitor.feed(window) {
                    return StepResult {
                        report: monitor.report(),
                        generator_limited: None,
                    };
                }
                until += WINDOW_S;
            }
            free = free.max(now) + exponential(&mut self.random) / self.service_rate;
            windows.entry((now / WINDOW_S) as u64).or_default().intended += 1;
            let ended = windows.entry((free / WINDOW_S) as u64).or_default();
            ended.answered += 1;
            ended.latencies.record(((free - now) * 1e9) as u64);
        }
    }
}

/// Ten concurrencies of a closed model under a random law.
pub(crate) fn closed_points(seed: u64, noise: f64) -> (Law, Vec<UslPoint>) {
    let law = Law::random(&mut Random::seed_from_u64(seed ^ 0x5eed));
    (law, points_of(&law, seed, noise))
}

pub(crate) fn points_of(law: &Law, seed: u64, noise: f64) -> Vec<UslPoint> {
    let mut random = Random::seed_from_u64(seed);
    [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0]
        .map(|n| {
            let truth = law.throughput(n);
            UslPoint {
                concurrency: n,
                throughput_per_s: truth * (1.0 + noise * normal(&mut random)),
                concurrency_error: 0.0,
                throughput_error: truth * noise,
            }
        })
        .to_vec()
}

fn exponential(random: &mut Random) -> f64 {
    -(1.0 - random.share()).ln()
}

/// Box and Muller 1958.
fn normal(random: &mut Random) -> f64 {
    let angle = std::f64::consts::TAU * random.share();
    (2.0 * exponential(random)).sqrt() * angle.cos()
}

/// Poisson, by its normal approximation where it is good.
fn arrivals(random: &mut Random, mean: f64) -> u64 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
    }
    let (mut sum, mut count) = (exponential(random), 0);
    while sum < mean {
        sum += exponential(random);
        count += 1;
    }
    count
}
