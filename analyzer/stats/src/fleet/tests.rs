//! The search against simulated fleets with known events.

use super::simulate::{Recipe, Score, fleet, score};
use super::*;

fn options() -> Options {
    Options {
        period: Some(24),
        threads: 2,
        ..Options::default()
    }
}

fn over(recipe: &Recipe, seeds: std::ops::Range<u64>) -> Score {
    let mut total = Score::default();
    for seed in seeds {
        let (series, truth) = fleet(recipe, seed);
        for e in detect(&series, &options()) {
            let near = truth
                .iter()
                .filter(|t| {
                    t.series
                        .iter()
                        .any(|i| e.members.iter().any(|m| m.series == *i))
                })
                .map(|t| {
                    (
                        t.at,
                        t.effect,
                        t.series.len(),
                        (&series[t.series[0]].name).clone(),
                    )
                })
                .collect::<Vec<_>>();
            let s = score(&truth, &[e.clone()]);
            if s.spurious > 0 || s.covered < s.found {
                eprintln!(
                    "  seed {seed} at {} {:?} n {} {:.3} [{:.3} {:.3}] p {:.1e} pur {:.2} | truth {:?} {}",
                    e.index,
                    e.constraint,
                    e.members.len(),
                    e.effect,
                    e.ci_lo,
                    e.ci_hi,
                    e.p_value,
                    e.purity,
                    near,
                    if s.spurious > 0 { "SPURIOUS" } else { "cover" }
                );
            }
        }
        let one = score(&truth, &detect(&series, &options()));
        total.add(one);
    }
    eprintln!("{recipe:?}: {total:?}");
    total
}

#[test]
fn finds_the_events_of_a_fleet_and_nothing_else() {
    let total = over(&Recipe::default(), 100..125);
    assert!(total.found * 100 >= total.events * 96, "{total:?}");
    assert!(total.spurious <= 3, "{total:?}");
    assert!(total.right_alarms * 100 >= total.alarms * 97, "{total:?}");
}

#[test]
fn hard() {
    over(
        &Recipe {
            both_ways: true,
            ..Recipe::default()
        },
        200..220,
    );
    over(
        &Recipe {
            both_ways: true,
            longest_incident: 20,
            ..Recipe::default()
        },
        200..220,
    );
    over(
        &Recipe {
            phi: 0.8,
            ..Recipe::default()
        },
        200..220,
    );
    over(
        &Recipe {
            tails: Some(3),
            ..Recipe::default()
        },
        200..220,
    );
    over(
        &Recipe {
            gaps: 0.2,
            ..Recipe::default()
        },
        200..220,
    );
    over(
        &Recipe {
            services: 3,
            events: 1,
            incidents: 2,
            ..Recipe::default()
        },
        200..240,
    );
    over(
        &Recipe {
            samples: 168,
            ..Recipe::default()
        },
        200..220,
    );
}

#[test]
fn quiet() {
    over(
        &Recipe {
            events: 0,
            ..Recipe::default()
        },
        300..340,
    );
    over(
        &Recipe {
            events: 0,
            phi: 0.8,
            longest_incident: 20,
            ..Recipe::default()
        },
        300..340,
    );
    over(
        &Recipe {
            events: 0,
            phi: 0.95,
            ..Recipe::default()
        },
        300..340,
    );
    over(
        &Recipe {
            events: 0,
            tails: Some(3),
            gaps: 0.1,
            ..Recipe::default()
        },
        300..340,
    );
    over(
        &Recipe {
            events: 0,
            services: 2,
            hosts: 2,
            incidents: 1,
            ..Recipe::default()
        },
        300..500,
    );
    over(
        &Recipe {
            events: 0,
            samples: 100,
            incidents: 1,
            ..Recipe::default()
        },
        300..340,
    );
    over(
        &Recipe {
            events: 0,
            samples: 50,
            incidents: 1,
            ..Recipe::default()
        },
        300..340,
    );
}

#[test]
fn nulls() {
    use crate::noise::Noise;
    for n in [60, 100, 336, 1440] {
        for (phi, white) in [
            (0.0, 0.0),
            (0.4, 0.0),
            (0.4, 0.5),
            (0.6, 0.5),
            (0.8, 0.0),
            (0.8, 0.5),
            (0.9, 0.0),
            (0.95, 0.5),
        ] {
            let mut noise = Noise::new(n as u64);
            let runs = 1500;
            let mut p: Vec<f64> = (0..runs)
                .map(|_| {
                    let x: Vec<f64> = noise
                        .ar1(n, phi)
                        .iter()
                        .map(|v| v + white * noise.normal())
                        .collect();
                    super::scan::clearest_step(&super::scan::Dense::new(x, 4), 6)
                        .map_or(0.0, |s| s.ln_p)
                })
                .collect();
            p.sort_by(f64::total_cmp);
            let q = |f: f64| p[(f * runs as f64) as usize] / std::f64::consts::LN_10;
            eprintln!(
                "n {n} phi {phi} white {white}: log10 p at .1: {:.2} .01: {:.2} .001: {:.2}",
                q(0.1),
                q(0.01),
                q(0.001)
            );
        }
    }
}

#[test]
fn debug_quiet() {
    over(
        &Recipe {
            events: 0,
            phi: 0.8,
            incidents: 0,
            ..Recipe::default()
        },
        300..310,
    );
    over(
        &Recipe {
            events: 0,
            phi: 0.8,
            ..Recipe::default()
        },
        300..310,
    );
    over(
        &Recipe {
            events: 0,
            phi: 0.8,
            longest_incident: 20,
            ..Recipe::default()
        },
        300..310,
    );
    over(
        &Recipe {
            events: 0,
            phi: 0.95,
            incidents: 0,
            ..Recipe::default()
        },
        300..304,
    );
}
