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
