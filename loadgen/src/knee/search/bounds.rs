//! Whatever a target does, the search ends within its bounds.

use proptest::prelude::*;

use super::Search;
use super::level::MOST_VOTES;
use crate::knee::{Ended, Estimate, SearchConfig, SearchOptions, StepReport, StepResult, Verdict};
use crate::threshold::{Comparison, Measure, Threshold};

fn limit() -> Threshold {
    Threshold {
        measure: Measure::Quantile(0.95),
        endpoint: None,
        stage: None,
        comparison: Comparison::Less,
        bound: 100.0,
        abort: false,
        text: "p95 < 100ns".to_owned(),
    }
}

/// A step whose p95 lies at `value` with a standard error of `error`.
fn result(rate: f64, value: f64, error: f64, is_limited: bool) -> StepResult {
    let p95 = Estimate::new(value, error, 19.0);
    let at_rate = Some(Estimate::new(rate, rate * 0.01, 19.0));
    StepResult {
        report: StepReport {
            rate,
            seconds: 20.0,
            settling_seconds: 0.0,
            offered_per_s: at_rate,
            throughput_per_s: at_rate,
            following: Some(Estimate::exact(1.0)),
            mean_ns: Some(p95),
            p95_ns: Some(p95),
            error_share: Some(Estimate::exact(0.0)),
            dropped: 0,
            limits: vec![Some(p95)],
            growing: false,
            ended: Ended::Precise,
        },
        generator_limited: is_limited.then(|| "late".to_owned()),
    }
}

fn run(options: SearchOptions, mut step: impl FnMut(f64) -> StepResult) -> crate::knee::Knee {
    let options = SearchOptions {
        resamples: 500,
        ..options
    };
    let config = SearchConfig::new(options, &[limit()]).expect("the options fit");
    let mut search = Search::new(config);
    while let Some(plan) = search.next() {
        assert_eq!(search.next(), Some(plan.clone()), "asking changes nothing");
        let result = step(plan.rate);
        search.observe(result);
    }
    search.finish()
}

proptest! {
    // Each case ends with a bootstrap, which is slow without optimisation.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_search_ends_within_its_bounds(
        outcomes in prop::collection::vec((1.0_f64..200.0, 0.0_f64..40.0, prop::bool::weighted(0.1)), 1..64),
        start in 1.0_f64..1_000.0,
        factor in 1.1_f64..4.0,
        steps in 3_usize..80,
        seconds in 60.0_f64..5_000.0,
    ) {
        let options = SearchOptions { start_rate: start, factor, highest_rate: 50_000.0, steps, seconds, ..SearchOptions::default() };
        let mut at = 0;
        let knee = run(options, |rate| {
            let (value, error, is_limited) = outcomes[at % outcomes.len()];
            at += 1;
            result(rate, value, error, is_limited)
        });
        prop_assert!(knee.steps.len() <= steps);
        let total: f64 = knee.steps.iter().map(|step| step.report.seconds).sum();
        // These steps take what they want; the last one may begin with ten seconds left.
        prop_assert!(total <= seconds + 20.0, "{total} of {seconds}");
        for step in &knee.steps {
            prop_assert!((1.0..=50_000.0).contains(&step.report.rate));
            let same = knee.steps.iter().filter(|other| other.report.rate == step.report.rate).count();
            prop_assert!(same <= MOST_VOTES);
        }
        prop_assert_eq!(knee.rate.is_some(), knee.interval.is_some());
        if let (Some(rate), Some((low, high))) = (knee.rate, knee.interval) {
            prop_assert!(low < high && low <= rate && rate <= high);
            prop_assert!(matches!(knee.verdict, Verdict::Found | Verdict::TimeBox));
        }
        prop_assert!(knee.verdict != Verdict::Found || knee.rate.is_some());
    }

    #[test]
    fn an_exact_target_is_bracketed_exactly(truth in 2.0_f64..40_000.0, start in 1.0_f64..1_000.0) {
        let options = SearchOptions { start_rate: start, highest_rate: 50_000.0, ..SearchOptions::default() };
        let knee = run(options, |rate| result(rate, 100.0 * rate / truth, 0.0, false));
        prop_assert_eq!(knee.verdict, Verdict::Found);
        let (low, high) = knee.interval.expect("found");
        prop_assert!(low <= truth && truth <= high && (high - low) / truth < 0.06);
        let rate = knee.rate.expect("found");
        prop_assert!((rate / truth - 1.0).abs() < 0.01, "{rate} of {truth}");
    }
}

#[test]
fn a_search_that_runs_out_of_steps_says_so() {
    let options = SearchOptions {
        steps: 6,
        ..SearchOptions::default()
    };
    let knee = run(options, |rate| result(rate, rate, 0.0, false));
    assert_eq!((knee.verdict, knee.steps.len()), (Verdict::TimeBox, 6));
    let (low, high) = knee.interval.expect("it has a bracket");
    assert!(low <= 100.0 && 100.0 <= high && high - low > 5.0);
    let climbing = SearchOptions {
        steps: 3,
        ..SearchOptions::default()
    };
    let knee = run(climbing, |rate| result(rate, 1.0, 0.0, false));
    assert_eq!((knee.verdict, knee.rate), (Verdict::TimeBox, None));
    assert_eq!(knee.held_rate, Some(200.0));
}

#[test]
fn a_rate_that_stays_on_the_bound_lies_within_the_interval() {
    let knee = run(SearchOptions::default(), |rate| {
        let error = if (90.0..115.0).contains(&rate) {
            30.0
        } else {
            0.0
        };
        result(rate, rate, error, false)
    });
    assert_eq!(knee.verdict, Verdict::Found);
    let (low, high) = knee.interval.expect("found");
    assert!(low < 90.0 && high >= 115.0, "{low} to {high}");
}
