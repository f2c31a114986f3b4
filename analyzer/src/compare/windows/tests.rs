//! Windows and canaries: what moved is found, what moved with its controls is not.

use driftline_stats::noise::Noise;

use super::*;

/// Ten minutes of seconds from a time on.
fn series(host: &str, labels: &str, from_s: i64, level: f64, seed: u64) -> PointSeries {
    let mut noise = Noise::new(seed);
    let at_s: Vec<i64> = (from_s..from_s + 600).collect();
    PointSeries {
        component: "http".to_owned(),
        host: host.to_owned(),
        metric: "latency".to_owned(),
        labels: labels.to_owned(),
        unit: "s".to_owned(),
        better: "lower".to_owned(),
        values: at_s
            .iter()
            .map(|_| level * (1.0 + 0.05 * noise.normal()))
            .collect(),
        at_s,
    }
}

/// The same load on every host: a swell over ten minutes.
fn swollen(mut series: PointSeries) -> PointSeries {
    for (at_s, value) in series.at_s.iter().zip(&mut series.values) {
        *value *= 1.0 + 0.1 * (*at_s as f64 / 40.0).sin();
    }
    series
}

fn selector(text: &str) -> Selector {
    text.parse().expect("a selector")
}

#[test]
fn what_moved_between_two_windows_is_found() {
    let a: Vec<PointSeries> = (0..20)
        .map(|n| series(&format!("h{n}"), "", 0, 10.0, n))
        .collect();
    let mut b: Vec<PointSeries> = (0..20)
        .map(|n| {
            let level = if n == 3 { 11.0 } else { 10.0 };
            series(&format!("h{n}"), "", 1_000, level, 100 + n)
        })
        .collect();
    b.push(series("new", "", 1_000, 10.0, 7));
    let shifts = two_windows(&a, &b, &WindowOptions::default());
    assert_eq!(
        shifts.len(),
        20,
        "what is new has nothing to be held against"
    );
    assert_eq!(
        (shifts[0].verdict, shifts[0].host.as_str()),
        (Verdict::Regression, "h3")
    );
    let (lo, hi) = shifts[0].interval_pct.expect("an interval");
    assert!(lo < 10.0 && 10.0 < hi, "{lo} to {hi}");
    let quiet = |shift: &WindowShift| shift.verdict == Verdict::NoChange;
    assert!(shifts[1..].iter().all(quiet), "{shifts:?}");
    assert!(shifts[1].detectable_pct.is_some_and(|pct| pct < 10.0));
    let few = |mut series: PointSeries| {
        series.values.truncate(4);
        series.at_s.truncate(4);
        series
    };
    let short = two_windows(
        &[few(a[0].clone())],
        &[few(b[0].clone())],
        &WindowOptions::default(),
    );
    assert_eq!(short[0].verdict, Verdict::TooLittleData);
}

#[test]
fn what_the_controls_did_too_is_taken_off() {
    let version = |n: u64| if n == 0 { "version=2" } else { "version=1" };
    let at = |from_s: i64, level: f64, canary: f64, seed: u64| -> Vec<PointSeries> {
        (0..6)
            .map(|n| {
                let level = level * if n == 0 { canary } else { 1.0 };
                swollen(series(
                    &format!("h{n}"),
                    version(n),
                    from_s,
                    level,
                    seed + n,
                ))
            })
            .collect()
    };
    let (canary, controls) = (selector("version=2"), selector("version=1"));
    let compare = |before: &[PointSeries], after: &[PointSeries]| {
        canaries(
            Some(before),
            after,
            (&canary, &controls),
            &WindowOptions::default(),
        )
    };
    // Everything got slower by half, and the canary no more than the others.
    let with_all = compare(&at(0, 10.0, 1.0, 1), &at(1_000, 15.0, 1.0, 50));
    assert_eq!((with_all.len(), with_all[0].controls), (1, 5));
    assert_eq!(with_all[0].verdict, Verdict::NoChange, "{with_all:?}");
    // The canary alone got slower by a tenth on top.
    let alone = compare(&at(0, 10.0, 1.0, 1), &at(1_000, 15.0, 1.1, 50));
    assert_eq!(alone[0].verdict, Verdict::Regression, "{alone:?}");
    let (lo, hi) = alone[0].interval_pct.expect("an interval");
    assert!(lo < 10.0 && 10.0 < hi, "{lo} to {hi}");
    // In one window, level is held against level.
    let after = at(1_000, 15.0, 1.3, 50);
    let beside = canaries(
        None,
        &after,
        (&canary, &controls),
        &WindowOptions::default(),
    );
    assert_eq!(beside.len(), 1);
    let effect = beside[0].effect_pct.expect("an effect");
    assert!((20.0..40.0).contains(&effect), "{effect}");
    assert!(
        canaries(
            None,
            &after,
            (&selector("version=3"), &controls),
            &WindowOptions::default()
        )
        .is_empty()
    );
}

#[test]
fn selectors_are_pairs() {
    let series = series("h1", "a=b,c=d", 0, 1.0, 1);
    assert!(selector("host=h1,a=b").selects(&series));
    assert!(selector("component=http").selects(&series));
    assert!(!selector("a=b,c=e").selects(&series));
    for wrong in ["", "host", "=x", "host=", "a=b,"] {
        assert!(wrong.parse::<Selector>().is_err(), "{wrong}");
    }
}
