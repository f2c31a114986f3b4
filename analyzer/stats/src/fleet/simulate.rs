//! Fleets with known events, for the tests: shared noise, noise of a service and of a series, a
//! daily cycle, incidents that return.

use super::{Event, FleetSeries};
use crate::noise::Noise;

/// What a simulated fleet is made of.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) services: usize,
    pub(super) hosts: usize,
    pub(super) samples: usize,
    pub(super) events: usize,
    pub(super) incidents: usize,
    /// Longest incident in samples.
    pub(super) longest_incident: usize,
    /// Memory of a service's noise.
    pub(super) phi: f64,
    /// Degrees of freedom of the heavy-tailed noise of a series; `None` for normal noise.
    pub(super) tails: Option<u32>,
    /// Part of the samples that are missing.
    pub(super) gaps: f64,
    /// Whether events go down as well as up.
    pub(super) both_ways: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            services: 30,
            hosts: 5,
            samples: 336,
            events: 12,
            incidents: 15,
            longest_incident: 6,
            phi: 0.4,
            tails: None,
            gaps: 0.0,
            both_ways: false,
        }
    }
}

/// An event that was put in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Truth {
    pub(super) at: usize,
    pub(super) effect: f64,
    /// Places of the series that moved.
    pub(super) series: Vec<usize>,
}

pub(super) const METRICS: [&str; 2] = ["latency", "cpu"];

/// A fleet and its events.
pub(super) fn fleet(recipe: &Recipe, seed: u64) -> (Vec<FleetSeries>, Vec<Truth>) {
    let mut noise = Noise::new(seed);
    let n = recipe.samples;
    let shared: Vec<f64> = noise.ar1(n, 0.85).iter().map(|v| 0.004 * v).collect();
    let mut truth = Vec::new();
    let mut logs = Vec::new();
    let mut names = Vec::new();
    for service in 0..recipe.services {
        let own: Vec<f64> = noise.ar1(n, recipe.phi).iter().map(|v| 0.009 * v).collect();
        for host in 0..recipe.hosts {
            for metric in METRICS {
                let level = 2.0 + 3.0 * noise.uniform();
                let season = 0.02 + 0.04 * noise.uniform();
                let sigma = 0.008 + 0.01 * noise.uniform();
                let series: Vec<f64> = (0..n)
                    .map(|i| {
                        let phase = (i % 24) as f64 / 24.0 * std::f64::consts::TAU;
                        level
                            + season * phase.sin()
                            + shared[i]
                            + own[i]
                            + sigma * draw(&mut noise, recipe.tails)
                    })
                    .collect();
                logs.push(series);
                names.push((service, host, metric));
            }
        }
    }
    // At most one event per service, so that the truth is never in doubt.
    let mut order: Vec<(u64, usize)> = (0..recipe.services)
        .map(|s| (noise.next_u64(), s))
        .collect();
    order.sort_unstable();
    for (_, service) in order.into_iter().take(recipe.events) {
        let host = below(&mut noise, recipe.hosts);
        let metric = METRICS[below(&mut noise, 2)];
        let kind = below(&mut noise, 3);
        let sizes: &[f64] = if kind == 0 {
            &[0.02, 0.03, 0.05, 0.1]
        } else {
            &[0.05, 0.1]
        };
        let effect = sizes[below(&mut noise, sizes.len())];
        let down = recipe.both_ways && below(&mut noise, 2) == 0;
        let effect = if down { -effect } else { effect };
        let at = n / 3 + below(&mut noise, n / 2);
        let series: Vec<usize> = (0..names.len())
            .filter(|i| {
                let (s, h, m) = names[*i];
                s == service && (kind != 1 || h == host) && (kind != 2 || m == metric)
            })
            .collect();
        for i in &series {
            logs[*i][at..]
                .iter_mut()
                .for_each(|v| *v += f64::ln_1p(effect));
        }
        truth.push(Truth { at, effect, series });
    }
    for _ in 0..recipe.incidents {
        let service = below(&mut noise, recipe.services);
        let at = 20 + below(&mut noise, n - 40);
        let end = at + 1 + below(&mut noise, recipe.longest_incident);
        for (series, name) in logs.iter_mut().zip(&names) {
            if name.0 == service {
                series[at..end].iter_mut().for_each(|v| *v += 0.26);
            }
        }
    }
    let series = logs
        .into_iter()
        .zip(names)
        .map(|(log, (service, host, metric))| {
            let values = log
                .into_iter()
                .map(|v| {
                    if noise.uniform() < recipe.gaps {
                        f64::NAN
                    } else {
                        v.exp()
                    }
                })
                .collect();
            let labels = [
                ("service", format!("s{service}")),
                ("host", format!("h{host}")),
                ("metric", metric.to_owned()),
            ];
            FleetSeries {
                name: format!("s{service}/h{host}/{metric}"),
                labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
                values,
                weight: 1.0,
            }
        });
    (series.collect(), truth)
}

fn draw(noise: &mut Noise, tails: Option<u32>) -> f64 {
    let z = noise.normal();
    match tails {
        None => z,
        Some(freedom) => {
            let square: f64 = (0..freedom).map(|_| noise.normal().powi(2)).sum();
            z / (square / f64::from(freedom)).sqrt()
        }
    }
}

fn below(noise: &mut Noise, n: usize) -> usize {
    ((noise.uniform() * n as f64) as usize).min(n.saturating_sub(1))
}

/// What a search found of the truth.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Score {
    pub(super) events: usize,
    pub(super) found: usize,
    pub(super) spurious: usize,
    pub(super) alarms: usize,
    pub(super) right_alarms: usize,
    /// Found events of which the pooled interval holds the true effect.
    pub(super) covered: usize,
}

impl Score {
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.found += other.found;
        self.spurious += other.spurious;
        self.alarms += other.alarms;
        self.right_alarms += other.right_alarms;
        self.covered += other.covered;
    }
}

/// An event is found when one finding within five samples holds at least half of its series and is
/// at least half pure; an alarm is a member that moved.
pub(super) fn score(truth: &[Truth], events: &[Event]) -> Score {
    const MARGIN: usize = 5;
    let mut score = Score {
        events: truth.len(),
        ..Score::default()
    };
    let mut found = vec![false; truth.len()];
    for event in events {
        let moved: Vec<usize> = event
            .members
            .iter()
            .filter(|m| m.moved)
            .map(|m| m.series)
            .collect();
        score.alarms += moved.len();
        let mut right = false;
        for (k, one) in truth
            .iter()
            .enumerate()
            .filter(|(_, t)| t.at.abs_diff(event.index) <= MARGIN)
        {
            let inside = moved.iter().filter(|i| one.series.contains(i)).count();
            score.right_alarms += inside;
            if 2 * inside >= one.series.len() && 2 * inside >= moved.len() {
                right = true;
                if !found[k] {
                    score.covered +=
                        usize::from(event.ci_lo <= one.effect && one.effect <= event.ci_hi);
                }
                found[k] = true;
            }
        }
        score.spurious += usize::from(!right);
    }
    score.found = found.iter().filter(|f| **f).count();
    score
}
