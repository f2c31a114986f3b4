//! Quantiles, exclusions, merging and the compact form.

use proptest::prelude::*;

use super::*;
use crate::operation::Failure;
use crate::run::testing;

fn operation(endpoint: u32, intended_ns: u64, lasts_ns: u64) -> Operation {
    Operation {
        endpoint,
        status: 200,
        failure: None,
        intended_ns,
        sent_ns: intended_ns + 1_000,
        first_byte_ns: intended_ns + lasts_ns,
        done_ns: intended_ns + lasts_ns,
        bytes: 10,
    }
}

fn failed(failure: Failure, intended_ns: u64, lasts_ns: u64) -> Operation {
    Operation {
        failure: Some(failure),
        sent_ns: NEVER,
        ..operation(0, intended_ns, lasts_ns)
    }
}

const NEVER: u64 = crate::operation::NEVER_NS;
const SECOND: u64 = 1_000_000_000;

#[test]
fn cells_keep_endpoints_and_stages_apart() {
    let mut statistics = Statistics::new(&testing::scenario(&["a", "b"], &[2, 3]));
    statistics.record(&operation(0, SECOND, 5_000_000));
    statistics.record(&operation(1, SECOND, 6_000_000));
    statistics.record(&operation(1, 2 * SECOND, 7_000_000));
    // Intended after the end, by a journey that began before it: of the last stage.
    statistics.record(&operation(1, 6 * SECOND, 8_000_000));
    let count = |endpoint, stage| statistics.select(endpoint, stage).operations();
    assert_eq!(count(None, None), 4);
    assert_eq!(count(Some(0), None), 1);
    assert_eq!(count(Some(1), Some(0)), 1);
    assert_eq!(count(Some(1), Some(1)), 2);
    let last = statistics.select(Some(1), Some(1));
    assert_eq!(last.response().max_ns(), Some(8_000_000));
    assert_eq!(last.service().max_ns(), Some(7_999_000));
    assert_eq!(last.answered_by_stage_end(), 1, "one came after the end");
}

#[test]
fn the_warm_up_is_left_out_of_everything() {
    let mut scenario = testing::scenario(&["a"], &[10]);
    scenario.warm_up = std::time::Duration::from_secs(2);
    let mut statistics = Statistics::new(&scenario);
    statistics.record(&operation(0, SECOND, 900 * SECOND));
    statistics.record(&operation(0, 2 * SECOND, 1_000_000));
    let all = statistics.select(None, None);
    assert_eq!(all.operations(), 1);
    assert_eq!(all.response().max_ns(), Some(1_000_000));
    assert_eq!(statistics.warm_up_operations(), 1);
    assert_eq!(statistics.seconds(None, 20 * SECOND), Some(8.0));
    assert_eq!(statistics.rate_per_s(&all, None, 4 * SECOND), Some(0.5));
    assert_eq!(statistics.rate_per_s(&all, None, SECOND), None);
}

#[test]
fn what_was_given_up_counts_with_the_time_waited_and_what_was_dropped_does_not() {
    let mut statistics = Statistics::new(&testing::scenario(&["a"], &[10]));
    statistics.record(&failed(Failure::Timeout, 0, 5 * SECOND));
    statistics.record(&failed(Failure::Dropped, 0, 0));
    statistics.record(&failed(Failure::Dropped, 0, 0));
    statistics.record(&failed(Failure::Status, 0, SECOND));
    let all = statistics.select(None, None);
    assert_eq!(all.response().len(), 2);
    assert_eq!(all.response().mean_ns(), Some(3e9));
    assert_eq!(all.response().max_ns(), Some(5 * SECOND));
    assert_eq!(all.service().len(), 0, "none was sent");
    assert_eq!((all.operations(), all.failed(), all.dropped()), (4, 4, 2));
    assert_eq!(all.answered(), 1, "a bad status is an answer");
    assert_eq!(
        all.failures(),
        [
            (Failure::Dropped, 2),
            (Failure::Timeout, 1),
            (Failure::Status, 1)
        ]
    );
}

#[test]
fn memory_follows_the_scenario_and_not_the_operations() {
    let mut statistics = Statistics::new(&testing::scenario(&["a"], &[1_000]));
    let mut bytes = Vec::new();
    for round in 0..3_u64 {
        for at in 0..20_000_u64 {
            statistics.record(&operation(0, at * 1_000, at * 50_000));
        }
        bytes.push(statistics.to_bytes().len());
        assert_eq!(
            statistics.select(None, None).operations(),
            (round + 1) * 20_000
        );
    }
    assert!(bytes[2] < bytes[0] * 2, "{bytes:?}");
}

#[test]
fn statistics_of_another_scenario_or_of_nonsense_are_refused() {
    let own = Statistics::new(&testing::scenario(&["a"], &[1]));
    let mut other = Statistics::new(&testing::scenario(&["a", "b"], &[1]));
    other.record(&operation(1, 5, 1_000_000));
    let bytes = other.to_bytes();
    assert_eq!(
        own.read_alike(&bytes).map(drop),
        Err(StatisticsError::OtherScenario)
    );
    assert_eq!(
        own.clone().merge(&other),
        Err(StatisticsError::OtherScenario)
    );
    for end in 0..bytes.len() {
        assert!(other.read_alike(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(other.read_alike(&longer).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_that_travelled_and_were_merged_equal_the_whole(
        times in prop::collection::vec((0..2_u32, 0..10 * SECOND, 1_000..100 * SECOND), 1..300),
    ) {
        let scenario = testing::scenario(&["a", "b"], &[2, 8]);
        let mut whole = Statistics::new(&scenario);
        let mut parts = [Statistics::new(&scenario), Statistics::new(&scenario)];
        for (at, (endpoint, intended_ns, lasts_ns)) in times.iter().enumerate() {
            let operation = operation(*endpoint, *intended_ns, *lasts_ns);
            whole.record(&operation);
            parts[at % 2].record(&operation);
        }
        let mut merged = Statistics::new(&scenario);
        for part in &parts {
            let travelled = merged.read_alike(&part.to_bytes()).expect("own bytes");
            merged.merge(&travelled).expect("the same scenario");
        }
        for (endpoint, stage) in [(None, None), (Some(0), None), (Some(1), Some(1))] {
            let (one, two) = (whole.select(endpoint, stage), merged.select(endpoint, stage));
            prop_assert_eq!(one.outcomes, two.outcomes);
            prop_assert_eq!(one.bytes, two.bytes);
            prop_assert_eq!(one.response.sum_ns, two.response.sum_ns);
            for quantile in [0.0, 0.5, 0.95, 0.99, 1.0] {
                prop_assert_eq!(
                    one.response.quantile_ns(quantile),
                    two.response.quantile_ns(quantile)
                );
                prop_assert_eq!(
                    one.service.quantile_ns(quantile),
                    two.service.quantile_ns(quantile)
                );
            }
        }
    }

    #[test]
    fn quantiles_are_within_a_thousandth(
        mut times in prop::collection::vec(20_000..60 * SECOND, 1..200),
    ) {
        let mut statistics = Statistics::new(&testing::scenario(&["a"], &[10]));
        for ns in &times {
            statistics.record(&operation(0, 0, *ns));
        }
        times.sort_unstable();
        let response = statistics.select(None, None);
        for quantile in [0.5_f64, 0.9, 0.99] {
            let rank = (quantile * times.len() as f64).ceil() as usize;
            let truth = times[rank.max(1) - 1] as f64;
            let found = response.response().quantile_ns(quantile).expect("there are some") as f64;
            prop_assert!((found / truth - 1.0).abs() <= 0.001, "{found} for {truth}");
        }
    }
}
