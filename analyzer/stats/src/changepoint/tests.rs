//! The detector as its callers see it.

use super::*;
use crate::noise::{Kind, Noise};

fn found(values: &[f64]) -> Vec<ChangePoint> {
    detect(values, &Options::default())
}

/// A normal series around 100 with this relative step at a place.
fn stepped(seed: u64, n: usize, at: usize, step: f64) -> Vec<f64> {
    let noise = Noise::new(seed).normals(n);
    let level = |place| {
        if place < at {
            100.0
        } else {
            100.0 * (1.0 + step)
        }
    };
    noise
        .iter()
        .enumerate()
        .map(|(place, noise)| level(place) + noise)
        .collect()
}

#[test]
fn finds_a_step_with_its_effect() {
    for (seed, step) in [(1, 0.05), (2, -0.05), (3, 0.02), (4, -0.5)] {
        let changes = found(&stepped(seed, 200, 150, step));
        assert_eq!(changes.len(), 1, "{changes:?}");
        let change = changes[0];
        assert!(change.index.abs_diff(150) <= 3, "{change:?}");
        assert!((change.effect - 100.0 * step).abs() < 1.0, "{change:?}");
        let (low, high) = change.interval.expect("enough samples for an interval");
        assert!(low < step && step < high && high - low < 0.02, "{change:?}");
        assert!(change.p_value <= 0.005, "{change:?}");
        let up = change.direction == Direction::Up;
        assert_eq!(up, step > 0.0);
    }
}

#[test]
fn ten_samples_after_a_step_are_enough() {
    let changes = found(&stepped(5, 160, 150, 0.05));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].index.abs_diff(150) <= 1, "{changes:?}");
}

#[test]
fn negative_values_and_zeros_are_not_taken_in_logarithms() {
    let values: Vec<f64> = stepped(6, 200, 100, 0.05)
        .iter()
        .map(|value| value - 100.0)
        .collect();
    let changes = found(&values);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!((changes[0].effect - 5.0).abs() < 0.6, "{changes:?}");
}

#[test]
fn indices_refer_to_the_slice_with_its_gaps() {
    let mut values = stepped(8, 200, 150, 0.1);
    for gap in [3, 40, 41, 149, 160] {
        values[gap] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][gap % 3];
    }
    let changes = found(&values);
    assert_eq!(
        changes
            .iter()
            .map(|change| change.index)
            .collect::<Vec<_>>(),
        [150]
    );
    assert_eq!(found(&[f64::NAN; 100]), []);
}

#[test]
fn a_daily_cycle_is_no_change_and_hides_none() {
    let mut noise = Noise::new(8);
    let factors: Vec<f64> = (0..600)
        .map(|hour| if hour < 500 { 1.0 } else { 1.05 })
        .collect();
    let changes = found(&Kind::Daily.series(&mut noise, &factors));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].index.abs_diff(500) <= 4, "{changes:?}");
}

#[test]
fn bad_input_has_a_defined_answer() {
    assert_eq!(found(&[]), []);
    assert_eq!(found(&[1.0, 2.0, 3.0]), []);
    assert_eq!(found(&[4.0; 300]), []);
    assert_eq!(found(&[0.0; 300]), []);
    let mut outlier = vec![1.0; 100];
    outlier[50] = 1e300;
    assert_eq!(found(&outlier), []);
    let mut noisy = Noise::new(9).normals(100);
    noisy[70] = -1e308;
    assert_eq!(found(&noisy), []);
    let extremes: Vec<f64> = (0..60)
        .map(|place| if place % 2 == 0 { f64::MAX } else { f64::MIN })
        .collect();
    assert_eq!(found(&extremes), []);
    let leap: Vec<f64> = (0..60)
        .map(|place| if place < 30 { 1e-300 } else { 1e300 })
        .collect();
    assert!(found(&leap).iter().all(|change| change.effect.is_finite()));
}

#[test]
fn a_clean_step_between_constants_is_found() {
    let values: Vec<f64> = (0..60)
        .map(|place| if place < 40 { 2.0 } else { 3.0 })
        .collect();
    let changes = found(&values);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].index, 40);
    assert!((changes[0].effect - 1.0).abs() < 1e-12, "{changes:?}");
}

/// The goal is 5 alarms per 1,000 unchanged series over all kinds; of 600 series at that rate, 10
/// or more alarms have the probability 1e-3.
#[test]
fn unchanged_series_are_silent() {
    let mut alarms = 0;
    for kind in Kind::ALL {
        let mut noise = Noise::new(500 + kind as u64);
        for _ in 0..60 {
            let series = kind.series(&mut noise, &vec![1.0; kind.usual_length()]);
            alarms += found(&series).len();
        }
    }
    assert!(alarms < 10, "{alarms} alarms in 600 series");
}

/// Power over all kinds with 30 samples after a step of 5 %: the goal is .97; the bound is three
/// standard errors of 200 series below it.
#[test]
fn steps_of_five_per_cent_are_found() {
    let mut hits = 0;
    for kind in Kind::ALL {
        let mut noise = Noise::new(900 + kind as u64);
        let at = kind.usual_length() * 3 / 5;
        for _ in 0..20 {
            let factors: Vec<f64> = (0..at + 30)
                .map(|i| if i < at { 1.0 } else { 1.05 })
                .collect();
            let changes = found(&kind.series(&mut noise, &factors));
            hits += u32::from(changes.iter().any(|change| change.index.abs_diff(at) <= 9));
        }
    }
    assert!(hits >= 187, "{hits} of 200");
}

#[test]
fn equal_input_gives_equal_output() {
    let values = stepped(10, 2_000, 1_200, 0.01);
    let bits = |changes: Vec<ChangePoint>| -> Vec<(usize, u64, u64)> {
        let bits = |change: &ChangePoint| {
            (
                change.index,
                change.effect.to_bits(),
                change.p_value.to_bits(),
            )
        };
        changes.iter().map(bits).collect()
    };
    assert_eq!(bits(found(&values)), bits(found(&values)));
    assert_eq!(found(&values).len(), 1);
}
