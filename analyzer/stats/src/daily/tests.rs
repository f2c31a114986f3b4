//! Rates and power over days that are few.

use super::*;
use crate::noise::{Cycle, Days, Noise};

const PER_DAY: usize = 144;
/// As of the nightly analysis.
const MIN_EFFECT: f64 = 0.05;

/// Whether the last day has a change whose near bound is large enough, and where.
fn alarm(values: &[f64]) -> Option<usize> {
    alarm_of(values, &Options::of_day(PER_DAY))
}

fn alarm_of(values: &[f64], options: &Options) -> Option<usize> {
    let large = |change: &&ChangePoint| {
        let Some((lo, hi)) = change.interval else {
            return false;
        };
        let near = if change.effect > 0.0 { lo } else { -hi };
        change.index + PER_DAY >= values.len() && near >= MIN_EFFECT
    };
    let changes = detect(values, options);
    changes.iter().find(large).map(|change| change.index)
}

/// 14 series of each shape and number of days; at the 10 per 1,000 that are allowed, 17 alarms of 700 have
/// the probability 1e-3.
#[test]
fn unchanged_days_are_silent_from_the_first_on() {
    let (mut alarms, mut judged) = (0, 0);
    for cycle in Cycle::ALL
        .into_iter()
        .filter(|cycle| *cycle != Cycle::WorkingWeek)
    {
        for (halves, memory) in (1..=10).zip([0.0, 0.6].into_iter().cycle()) {
            let mut noise = Noise::new(100 * halves as u64 + cycle as u64);
            for _ in 0..14 {
                let kind = Days::any(&mut noise, cycle, memory, PER_DAY);
                let series = kind.series(&mut noise, &vec![1.0; halves * PER_DAY / 2]);
                alarms += usize::from(alarm(&series).is_some());
                judged += 1;
            }
        }
    }
    assert_eq!(judged, 700);
    assert!(alarms < 17, "{alarms} alarms in {judged} series");
}

#[test]
fn weekends_are_told_once() {
    let mut alarms = 0;
    for seed in 0..60 {
        let mut noise = Noise::new(seed);
        let kind = Days::any(&mut noise, Cycle::WorkingWeek, 0.0, PER_DAY);
        let series = kind.series(&mut noise, &vec![1.0; 10 * PER_DAY]);
        alarms += usize::from(alarm(&series).is_some());
    }
    assert!(alarms <= 3, "{alarms} alarms in 60 series");
}

/// Where the weekend is not known to be one, 16 of 300 such series raise an alarm; with 5 per 1,000, 7 alarms
/// have the probability 1e-3. Of steps by a half two thirds are still found then.
#[test]
fn a_first_weekend_is_quiet_but_for_what_moves_at_once() {
    let (mut alarms, mut hits, mut judged) = (0, 0, 0);
    for seed in 0..600 {
        let mut noise = Noise::new(seed);
        let kind = Days::any(&mut noise, Cycle::WorkingWeek, 0.0, PER_DAY);
        let n = (3 + seed as usize % 4) * PER_DAY;
        if !kind.ends_at_a_weekend(n) {
            continue;
        }
        let options = Options {
            weekend: true,
            ..Options::of_day(PER_DAY)
        };
        judged += 1;
        let unchanged = kind.series(&mut noise, &vec![1.0; n]);
        alarms += usize::from(alarm_of(&unchanged, &options).is_some());
        let factors: Vec<f64> = (0..n)
            .map(|at| if at < n - 60 { 1.0 } else { 1.5 })
            .collect();
        let found = alarm_of(&kind.series(&mut noise, &factors), &options);
        hits += usize::from(found.is_some_and(|at| at.abs_diff(n - 60) <= 6));
    }
    assert!(judged > 200, "{judged}");
    assert!(alarms < 7, "{alarms} of {judged}");
    assert!(2 * hits > judged, "{hits} of {judged}");
}

/// Three standard errors below the .90 that `daily_rates` measures.
#[test]
fn a_fifth_more_is_found_on_the_third_day() {
    let mut hits = 0;
    for seed in 0..60 {
        let mut noise = Noise::new(seed);
        let kind = Days::any(&mut noise, Cycle::ALL[seed as usize % 5], 0.0, PER_DAY);
        let n = 3 * PER_DAY;
        let factors: Vec<f64> = (0..n)
            .map(|at| if at < n - 60 { 1.0 } else { 1.2 })
            .collect();
        let found = alarm(&kind.series(&mut noise, &factors));
        hits += u32::from(found.is_some_and(|at| at.abs_diff(n - 60) <= 6));
    }
    assert!(hits >= 47, "{hits} of 60");
}

#[test]
fn the_day_after_a_step_is_quiet_and_gaps_keep_their_place() {
    let mut noise = Noise::new(5);
    let kind = Days {
        depth: 0.3,
        deviation: 0.02,
        ..Days::any(&mut noise, Cycle::Office, 0.0, PER_DAY)
    };
    let stepped = |days: usize, at: usize, noise: &mut Noise| {
        let factors: Vec<f64> = (0..days * PER_DAY)
            .map(|place| if place < at { 1.0 } else { 1.3 })
            .collect();
        kind.series(noise, &factors)
    };
    let mut series = stepped(3, 2 * PER_DAY + 70, &mut noise);
    series[PER_DAY + 20..PER_DAY + 50].fill(f64::NAN);
    let found = alarm(&series).expect("the step");
    assert!(found.abs_diff(2 * PER_DAY + 70) <= 3, "{found}");
    for days in [3, 4, 5] {
        let series = stepped(days, (days - 2) * PER_DAY + 70, &mut noise);
        assert_eq!(alarm(&series), None, "after {days} days");
    }
}

#[test]
fn gaps_in_time_keep_their_place_however_long_they_are() {
    let mut noise = Noise::new(6);
    let kind = Days {
        depth: 0.3,
        deviation: 0.02,
        ..Days::any(&mut noise, Cycle::Office, 0.0, PER_DAY)
    };
    let n = 4 * PER_DAY;
    let factors: Vec<f64> = (0..n)
        .map(|at| if at < n - 60 { 1.0 } else { 1.3 })
        .collect();
    let series = kind.series(&mut noise, &factors);
    let there: Vec<usize> = (0..n).filter(|at| !(200..260).contains(at)).collect();
    let values: Vec<f64> = there.iter().map(|at| series[*at]).collect();
    let mut at_s: Vec<i64> = there.iter().map(|at| *at as i64 * 600).collect();
    let options = Options::of_day(PER_DAY);
    let found = detect_at(&at_s, &values, 600, &options);
    let last = found.last().expect("the step");
    assert!(there[last.index].abs_diff(n - 60) <= 3, "{found:?}");
    // Years in between are no places to be filled.
    at_s[0] = -i64::from(u32::MAX) * 600;
    let found = detect_at(&at_s, &values, 600, &options);
    assert_eq!(found, changepoint::detect(&values, &options.steps));
    at_s[0] = i64::MIN;
    assert_eq!(detect_at(&at_s, &values, 1, &options), found);
    assert_eq!(detect_at(&[], &[], 600, &options), []);
}

#[test]
fn bad_input_has_a_defined_answer() {
    let options = Options::of_day(PER_DAY);
    for n in [0, 1, 30, 100, 300, 1_000] {
        for value in [f64::NAN, 0.0, 1.0, -1e308, f64::INFINITY] {
            assert_eq!(detect(&vec![value; n], &options), []);
        }
    }
    let mut outlier = vec![1.0; 400];
    outlier[300] = 1e300;
    assert_eq!(detect(&outlier, &options), []);
    assert_eq!(detect(&[1.0, 2.0, 3.0], &Options::of_day(0)), []);
}
