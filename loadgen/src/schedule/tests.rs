//! Laws that every schedule keeps.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const WHOLE: Share = Share { index: 0, of: 1 };

/// Stages as duration in milliseconds, rate at the beginning and at the end, and whether Poisson.
type Stages = Vec<(u64, u32, u32, bool)>;

fn scenario(seed: u64, stages: &[(u64, u32, u32, bool)]) -> Scenario {
    let mut text = format!(
        "seed = {seed}\n[[requests]]\npath = \"/a\"\nweight = 3\n[[requests]]\npath = \"/b\"\n"
    );
    for (ms, from, to, poisson) in stages {
        let arrival = if *poisson { "poisson" } else { "constant" };
        text += &format!(
            "[[stages]]\nduration = \"{ms}ms\"\nrate = {{ from = {from}, to = {to} }}\narrival = \"{arrival}\"\n"
        );
    }
    // So that something is sent even if all rates above are zero.
    text += "[[stages]]\nduration = \"1s\"\nrate = 3\n";
    Scenario::parse(&text, Path::new("")).expect("it is right")
}

fn stages(poisson: impl Strategy<Value = bool>) -> impl Strategy<Value = Stages> {
    prop::collection::vec((1u64..3_000, 0u32..400, 0u32..400, poisson), 1..5)
}

fn all(scenario: &Scenario, share: Share) -> Vec<Arrival> {
    Arrivals::new(scenario, share).collect()
}

proptest! {
    #[test]
    fn even_shares_together_are_the_whole(stages in stages(Just(false)), of in 1u32..7) {
        let scenario = scenario(3, &stages);
        let whole = all(&scenario, WHOLE);
        let mut united: Vec<Option<Arrival>> = vec![None; whole.len()];
        for index in 0..of {
            for (at, arrival) in all(&scenario, Share { index, of }).into_iter().enumerate() {
                united[at * of as usize + index as usize] = Some(arrival);
            }
        }
        let whole: Vec<Option<Arrival>> = whole.into_iter().map(Some).collect();
        prop_assert_eq!(united, whole);
    }

    #[test]
    fn even_counts_follow_the_integral(stages in stages(Just(false))) {
        let scenario = scenario(3, &stages);
        let arrivals = all(&scenario, WHOLE);
        prop_assert_eq!(arrivals.len() as u64, expected(&scenario));
        // At the end of every stage, and so at every time, within one arrival of the integral.
        let (mut integral, mut end_ns) = (0.0, 0);
        for (ms, from, to, _) in &stages {
            integral += f64::from(from + to) / 2.0 * *ms as f64 / 1e3;
            end_ns += ms * 1_000_000;
            let count = arrivals.iter().filter(|arrival| arrival.at_ns < end_ns).count();
            prop_assert!((count as f64 - integral).abs() <= 1.0, "{} for {}", count, integral);
        }
    }

    #[test]
    fn arrivals_are_in_order_within_the_run_and_repeat(
        stages in stages(any::<bool>()), seed in 0u64..1_000, of in 1u32..4
    ) {
        let scenario = scenario(seed, &stages);
        for index in 0..of {
            let share = Share { index, of };
            let arrivals = all(&scenario, share);
            prop_assert!(arrivals.is_sorted_by_key(|arrival| arrival.at_ns));
            let total = scenario.total().as_nanos() as u64;
            prop_assert!(arrivals.iter().all(|arrival| arrival.at_ns < total));
            prop_assert_eq!(arrivals, all(&scenario, share));
        }
    }
}

#[test]
fn a_constant_rate_is_even_to_the_nanosecond() {
    let scenario = scenario(1, &[(2_000, 500, 500, false)]);
    let arrivals = all(&scenario, WHOLE);
    assert_eq!(arrivals.len(), 1_003);
    for (at, arrival) in arrivals.iter().take(1_000).enumerate() {
        assert_eq!(arrival.at_ns, at as u64 * 2_000_000);
    }
    // The numbering goes on in the next stage, whose first arrival is due at its beginning.
    assert_eq!(arrivals[1_000].at_ns, 2_000_000_000);
    assert_eq!(arrivals[1_001].at_ns, 2_333_333_334);
}

#[test]
fn poisson_shares_have_the_mean_and_dispersion_of_their_rate() {
    let stages = [(100_000, 1_000, 1_000, true)];
    let scenario = scenario(42, &stages);
    for (of, mean) in [(1, 1_000.0), (4, 250.0)] {
        for index in 0..of {
            let arrivals = all(&scenario, Share { index, of });
            let mut counts = [0.0f64; 100];
            for arrival in arrivals
                .iter()
                .filter(|arrival| arrival.at_ns < 100_000_000_000)
            {
                counts[(arrival.at_ns / 1_000_000_000) as usize] += 1.0;
            }
            let found = counts.iter().sum::<f64>() / 100.0;
            let variance = counts
                .iter()
                .map(|count| (count - found).powi(2))
                .sum::<f64>()
                / 99.0;
            // The mean of 100 counts is within 4 standard errors; the ratio of variance and mean is
            // χ²/99, within 4 standard deviations of 1, each of √(2/99).
            assert!(
                (found - mean).abs() < 4.0 * (mean / 100.0).sqrt(),
                "{found}"
            );
            assert!(
                (variance / found - 1.0).abs() < 0.57,
                "{}",
                variance / found
            );
        }
    }
}

#[test]
fn poisson_ramps_follow_the_integral() {
    // From 0 to 2,000 per second in 50 s: a quarter of 50,000 arrivals in the first half.
    let scenario = scenario(42, &[(50_000, 0, 2_000, true)]);
    let arrivals = all(&scenario, WHOLE);
    let before = |ns: u64| arrivals.iter().filter(|arrival| arrival.at_ns < ns).count() as f64;
    // Within 4 standard deviations of a Poisson count.
    assert!((before(50_000_000_000) - 50_000.0).abs() < 4.0 * 50_000f64.sqrt());
    assert!((before(25_000_000_000) - 12_500.0).abs() < 4.0 * 12_500f64.sqrt());
}

#[test]
fn poisson_shares_are_independent_of_each_other() {
    let scenario = scenario(42, &[(1_000, 1_000, 1_000, true)]);
    let first = all(&scenario, Share { index: 0, of: 2 });
    let second = all(&scenario, Share { index: 1, of: 2 });
    assert_ne!(first, second);
    let both = first.len() + second.len();
    // Within 4 standard deviations of 1,003.
    assert!(both.abs_diff(1_003) < 127, "{both}");
}

#[test]
fn scenarios_without_rates_have_no_arrivals() {
    let text = "[[requests]]\npath = \"/\"\n[[stages]]\nduration = \"1s\"\nusers = 2\n";
    let scenario = Scenario::parse(text, Path::new("")).expect("it is right");
    assert_eq!(all(&scenario, WHOLE), []);
    assert_eq!(expected(&scenario), 0);
}
