//! What comparisons say where the answer is known. Sizes are small here; the documentation quotes
//! the same generator at thousands of cases.

use super::*;
use crate::noise::{LoadRuns, Noise};

const SPREADS: [f64; 3] = [0.0, 0.03, 0.06];

fn found(result: &RunComparison, metric: Metric) -> Comparison {
    *result.get(metric).expect("every metric is compared")
}

fn is_change(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Regression | Verdict::Improvement)
}

fn holds(found: &Comparison, truth_pct: f64) -> bool {
    found.ci_lo_pct.is_some_and(|low| low <= truth_pct)
        && found.ci_hi_pct.is_some_and(|high| truth_pct <= high)
}

#[test]
fn says_nothing_when_nothing_changed_and_its_intervals_cover() {
    let cases = 250;
    let (mut alarms, mut covered) = (0, 0);
    for (seed, run_deviation) in SPREADS.into_iter().enumerate() {
        let mut noise = Noise::new(100 + seed as u64);
        let case = LoadRuns {
            run_deviation,
            ..LoadRuns::default()
        };
        for _ in 0..cases {
            let [a, b] = case.draw(&mut noise);
            let result = compare(&a, &b, &Options::default());
            alarms += u32::from(
                result
                    .metrics
                    .iter()
                    .any(|metric| is_change(metric.verdict)),
            );
            covered += u32::from(holds(&found(&result, Metric::P50), 0.0));
        }
    }
    // Of 750 comparisons 1 % are 7.5; three standard errors more are 16.
    assert!(alarms <= 15, "{alarms} alarms");
    assert!((735..750).contains(&covered), "{covered} of 750 covered");
}

/// The share of cases in which this metric's verdict is `regression`.
fn power(case: LoadRuns, metric: Metric, seed: u64) -> f64 {
    let cases = 70;
    let mut noise = Noise::new(seed);
    let mut seen = 0;
    for run_deviation in SPREADS {
        let case = LoadRuns {
            run_deviation,
            ..case
        };
        for _ in 0..cases {
            let [a, b] = case.draw(&mut noise);
            let result = compare(&a, &b, &Options::default());
            seen += u32::from(found(&result, metric).verdict == Verdict::Regression);
        }
    }
    f64::from(seen) / (3 * cases) as f64
}

/// Three standard errors of 210 cases are 0.10 at one third and 0.07 at nine tenths.
#[test]
fn finds_changes_of_the_centre_and_of_the_tail() {
    let shifted = |percent: f64| LoadRuns {
        shift: (percent / 100.0).ln_1p(),
        ..LoadRuns::default()
    };
    let small = power(shifted(5.0), Metric::P50, 11);
    let large = power(shifted(10.0), Metric::P50, 12);
    let tail = LoadRuns {
        tail: 2.0_f64.ln(),
        ..LoadRuns::default()
    };
    let slow = power(tail, Metric::P99, 13);
    assert!(small > 0.27 && small < 0.6, "5 %: {small}");
    assert!(large > 0.79, "10 %: {large}");
    assert!(slow > 0.57, "tail twice as slow: {slow}");
}

#[test]
fn the_effect_is_estimated_and_bounded() {
    let case = LoadRuns {
        shift: 0.3_f64.ln_1p(),
        run_deviation: 0.01,
        ..LoadRuns::default()
    };
    let [a, b] = case.draw(&mut Noise::new(4));
    let result = compare(&a, &b, &Options::default());
    for metric in [Metric::P95, Metric::P99] {
        assert!(holds(&found(&result, metric), 30.0), "{result:?}");
    }
    for metric in [Metric::P50, Metric::Mean] {
        let found = found(&result, metric);
        assert_eq!(found.verdict, Verdict::Regression, "{found:?}");
        assert!(holds(&found, 30.0), "{found:?}");
        assert!(
            found
                .detectable_pct
                .is_some_and(|least| least > 1.0 && least < 60.0),
            "{found:?}"
        );
        assert_eq!(found.more_runs, None);
    }
    assert_eq!(result.runs, [5, 5]);
}

#[test]
fn sides_change_places_and_units_do_not_matter() {
    let mut noise = Noise::new(5);
    let case = LoadRuns {
        shift: 0.1,
        run_deviation: 0.02,
        ..LoadRuns::default()
    };
    for _ in 0..5 {
        let [a, b] = case.draw(&mut noise);
        let there = found(&compare(&a, &b, &Options::default()), Metric::P50);
        let back = found(&compare(&b, &a, &Options::default()), Metric::P50);
        let log = |percent: Option<f64>| (percent.expect("a bound") / 100.0).ln_1p();
        assert!((log(there.effect_pct) + log(back.effect_pct)).abs() < 1e-9);
        assert!((log(there.ci_lo_pct) + log(back.ci_hi_pct)).abs() < 1e-9);
        let in_ns = |side: &[Vec<f64>]| -> Vec<Vec<f64>> {
            side.iter()
                .map(|run| run.iter().map(|ms| ms * 1e6).collect())
                .collect()
        };
        let scaled = found(
            &compare(&in_ns(&a), &in_ns(&b), &Options::default()),
            Metric::P50,
        );
        assert_eq!(scaled.verdict, there.verdict);
        assert!((log(scaled.ci_hi_pct) - log(there.ci_hi_pct)).abs() < 1e-9);
        assert_eq!(
            compare(&a, &b, &Options::default()),
            compare(&a, &b, &Options::default())
        );
    }
}

#[test]
fn options_decide_what_counts() {
    let case = LoadRuns {
        shift: 0.2_f64.ln_1p(),
        ..LoadRuns::default()
    };
    let [a, b] = case.draw(&mut Noise::new(6));
    let with = |options: Options| found(&compare(&a, &b, &options), Metric::P50);
    let plain = Options::default();
    assert_eq!(with(plain).verdict, Verdict::Regression);
    let better = Options {
        worse: Worse::Lower,
        ..plain
    };
    assert_eq!(with(better).verdict, Verdict::Improvement);
    assert!(with(better).detectable_pct.is_some_and(|least| least < 0.0));
    // The estimate is about 20 %, so a bound beyond 19 % is out of reach.
    let gated = with(Options {
        min_effect_pct: 19.0,
        ..plain
    });
    assert_eq!(gated.verdict, Verdict::NoChange, "{gated:?}");
    assert_eq!(gated.ci_lo_pct, with(plain).ci_lo_pct);
    let apart = with(Options {
        design: Design::Apart,
        ..plain
    });
    assert!(holds(&apart, 20.0), "{apart:?}");
    let one_run = |options| found(&compare(&a[..1], &b[..1], &options), Metric::P50);
    assert_eq!(one_run(plain).verdict, Verdict::TooLittleData);
    let known = one_run(Options {
        run_deviation: Some(0.02),
        ..plain
    });
    assert!(holds(&known, 20.0), "{known:?}");
}

#[test]
fn more_runs_are_advised_where_they_would_settle_it() {
    let case = LoadRuns {
        shift: 0.03,
        run_deviation: 0.03,
        ..LoadRuns::default()
    };
    let mut noise = Noise::new(8);
    let results = (0..20).map(|_| {
        let [a, b] = case.draw(&mut noise);
        found(&compare(&a, &b, &Options::default()), Metric::P50)
    });
    let unsettled: Vec<Comparison> = results.filter(|r| r.verdict == Verdict::NoChange).collect();
    assert!(unsettled.len() > 10);
    for one in &unsettled {
        let beyond = one.effect_pct.expect("an effect").abs() / one.detectable_pct.expect("one");
        // Five runs see this part of the effect; the number grows with the inverse square.
        let want = 5.0 * (1.0 / beyond.powi(2) - 1.0);
        match one.more_runs {
            Some(more) => assert!((more as f64) < 1.5 * want + 2.0, "{one:?} {want}"),
            None => assert!(want > 600.0, "{one:?} {want}"),
        }
    }
}

#[test]
fn bad_input_is_left_out_or_too_little() {
    let none: &[Vec<f64>] = &[];
    for (a, b) in [
        (none, none),
        (&[vec![]][..], &[vec![1.0; 9]][..]),
        (&[vec![1.0, 2.0, 3.0]][..], &[vec![1.0, 2.0, 3.0]][..]),
        (
            &[vec![-1.0, 0.0, f64::NAN], vec![f64::INFINITY]][..],
            &[vec![1.0; 9]][..],
        ),
    ] {
        let result = compare(a, b, &Options::default());
        assert!(
            result
                .metrics
                .iter()
                .all(|m| m.verdict == Verdict::TooLittleData),
            "{result:?}"
        );
    }
    let [mut a, b] = LoadRuns::default().draw(&mut Noise::new(9));
    let clean = found(&compare(&a, &b, &Options::default()), Metric::P50);
    a[0].extend([f64::NAN, -5.0, f64::NEG_INFINITY]);
    let result = compare(&a, &b, &Options::default());
    assert_eq!((result.left_out, found(&result, Metric::P50)), (3, clean));
    // One giant outlier does not move the centre by a tenth of its interval.
    a[1][7] = 1e300;
    let moved = found(&compare(&a, &b, &Options::default()), Metric::P50);
    let width = clean.ci_hi_pct.expect("a bound") - clean.ci_lo_pct.expect("a bound");
    let by = moved.effect_pct.expect("an effect") - clean.effect_pct.expect("an effect");
    assert!(by.abs() < 0.1 * width, "{by} of {width}");
    a.pop();
    assert_eq!(compare(&a, &b, &Options::default()).runs, [4, 5]);
}

#[test]
fn constants_are_compared_exactly() {
    let constant = |value: f64| vec![vec![value; 60]; 4];
    let same = compare(&constant(2.0), &constant(2.0), &Options::default());
    assert!(
        same.metrics.iter().all(|m| !is_change(m.verdict)),
        "{same:?}"
    );
    let p50 = found(
        &compare(&constant(2.0), &constant(2.5), &Options::default()),
        Metric::P50,
    );
    assert_eq!(p50.verdict, Verdict::Regression);
    assert!(
        (p50.effect_pct.expect("an effect") - 25.0).abs() < 1e-6,
        "{p50:?}"
    );
}

#[test]
fn rates_and_errors_are_compared() {
    let rate = |events| RateCount {
        events,
        seconds: 10.0,
    };
    let options = Options {
        worse: Worse::Lower,
        ..Options::default()
    };
    let steady = [rate(10_000), rate(10_080), rate(9_950), rate(10_020)];
    let less = [rate(8_010), rate(7_950), rate(8_090), rate(8_000)];
    assert_eq!(
        compare_rates(&steady, &less, &options).verdict,
        Verdict::Regression
    );
    assert_eq!(
        compare_rates(&steady, &steady, &options).verdict,
        Verdict::NoChange
    );
    assert_eq!(
        compare_rates(&steady, &[rate(0)], &options).verdict,
        Verdict::TooLittleData
    );

    let errors = |failed| ErrorCount {
        failed,
        requests: 1_000,
    };
    let plain = Options::default();
    let few = [errors(2), errors(3), errors(1), errors(2)];
    let many = [errors(20), errors(24), errors(18), errors(22)];
    let worse = compare_errors(&few, &many, &plain);
    assert_eq!(worse.verdict, Verdict::Regression);
    assert!(
        (worse.effect_pct.expect("points") - 1.9).abs() < 1e-9,
        "{worse:?}"
    );
    let none = compare_errors(&[errors(0); 3], &[errors(0); 3], &plain);
    assert_eq!(
        (none.verdict, none.effect_pct),
        (Verdict::NoChange, Some(0.0))
    );
    assert!(
        none.ci_hi_pct.is_some_and(|high| high > 0.0 && high < 0.5),
        "{none:?}"
    );
    // Runs that differ this much among themselves explain what pooled counts would not.
    let wild = [errors(0), errors(60), errors(2), errors(30)];
    assert_eq!(
        compare_errors(&few, &wild, &plain).verdict,
        Verdict::NoChange
    );
    assert_eq!(
        compare_errors(&[], &few, &plain).verdict,
        Verdict::TooLittleData
    );
}

/// The level of windows with memory: given an interval it holds, otherwise there is none.
#[test]
fn windows_with_memory_are_covered_or_too_little() {
    let options = Options::default();
    let cases = 800;
    for (n, phi, least_answered) in [(60, 0.0, 0.95), (120, 0.6, 0.9), (400, 0.9, 0.9)] {
        let mut noise = Noise::new(n as u64);
        let (mut answered, mut covered) = (0, 0);
        for _ in 0..cases {
            let series: Vec<f64> = noise
                .ar1(2 * n, phi)
                .iter()
                .map(|v| (0.05 * v).exp())
                .collect();
            let found = compare_windows(&series[..n], &series[n..], &options);
            answered += u32::from(found.verdict != Verdict::TooLittleData);
            covered += u32::from(holds(&found, 0.0));
        }
        let share = f64::from(covered) / f64::from(answered);
        // Three standard errors at 0.985 are 0.013.
        assert!(share >= 0.972, "n {n}, phi {phi}: {share}");
        assert!(
            f64::from(answered) >= least_answered * f64::from(cases),
            "{n} {phi}: {answered}"
        );
    }
    let series: Vec<f64> = Noise::new(1)
        .ar1(60, 0.9)
        .iter()
        .map(|v| (0.05 * v).exp())
        .collect();
    let few = compare_windows(&series[..30], &series[30..], &options);
    assert_eq!(few.verdict, Verdict::TooLittleData);
    let negative = compare_windows(&[-1.0; 50], &[1.0; 50], &options);
    assert_eq!(negative.verdict, Verdict::TooLittleData);
    let step = compare_windows(&[1.0; 50], &[1.2; 50], &options);
    assert_eq!(step.verdict, Verdict::Regression, "{step:?}");
}
