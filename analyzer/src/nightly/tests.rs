//! A night as a whole: the same to the last byte on any number of threads, and a defined answer to
//! what no series should hold.

use std::sync::Arc;

use driftline_schemas::{
    Better, Category, Component, Labels, MetricDef, MetricKind, MetricRef, SampleBatch, Series,
};
use driftline_stats::noise::Noise;

use super::*;
use crate::engine::EngineConfig;
use crate::lake::Lake;
use crate::testing::{S, T0, lake, samples};

const DAY_S: i64 = 86_400;
const STEP_S: i64 = 600;
const METRIC: &str = "system.memory.linux.available";
const COUNTER: &str = "system.network.io";

/// Two days of points of one series.
fn series(metric: &str, name: &str, value: impl FnMut(i64) -> Option<f64>) -> SampleBatch {
    let labels = [("unit", name)];
    let mut value = value;
    let rows: Vec<(i64, f64)> = (0..2 * DAY_S / STEP_S)
        .filter_map(|n| Some((T0 + n * STEP_S * S, value(n)?)))
        .collect();
    samples(
        rows.iter()
            .map(|(ts_us, value)| (metric, labels.as_slice(), *ts_us, *value)),
    )
}

fn second_day() -> NightlyOptions {
    NightlyOptions {
        day: Window {
            from_us: T0 + DAY_S * S,
            until_us: T0 + 2 * DAY_S * S,
        },
        ..NightlyOptions::default()
    }
}

async fn night_of(lake: Lake, partitions: usize) -> Nightly {
    let config = EngineConfig {
        partitions,
        ..EngineConfig::default()
    };
    let engine = Engine::over(lake, &config).await.expect("an engine");
    nightly(&engine, &second_day()).await.expect("an analysis")
}

#[tokio::test]
async fn any_number_of_partitions_and_threads_says_the_same() {
    let mut noise = Noise::new(4);
    let mut files = Vec::new();
    for number in 0..12 {
        let step = if number % 4 == 0 { -30.0 } else { 0.0 };
        let name = format!("u{number}");
        files.push(series(METRIC, &name, |n| {
            let moved = if n >= 210 { step } else { 0.0 };
            Some(100.0 + moved + noise.normal())
        }));
    }
    let (_dir, one) = lake(&files, &[]);
    let (_other, four) = lake(&files, &[]);
    let (one, four) = (night_of(one, 1).await, night_of(four, 4).await);
    assert_eq!(one.series, 12);
    assert_eq!(one.findings.len(), 1, "{:?}", one.findings);
    assert_eq!(one.findings[0].evidence.len(), 3);
    // Down to the last digit, in which -0 and 0 differ too.
    assert_eq!(format!("{one:?}"), format!("{four:?}"));

    let whole = Window {
        from_us: T0,
        until_us: T0 + 2 * DAY_S * S,
    };
    let (_dir, lake) = lake(&files, &[]);
    let engine = crate::testing::engine(lake).await;
    let (step_s, all) = super::series(&engine, whole).await.expect("series");
    let all: Vec<&PointSeries> = all.iter().collect();
    let judging = changes::judging(&second_day(), step_s);
    let first = format!("{:?}", changes::on_threads(1, &all, step_s, &judging));
    for threads in [2, 4, 50] {
        let other = format!("{:?}", changes::on_threads(threads, &all, step_s, &judging));
        assert_eq!(other, first, "{threads} threads");
    }
}

#[test]
fn very_many_series_are_looked_at_in_longer_steps_and_too_many_refused() {
    let step = |series, days| super::step_of(series, days * DAY_S).ok();
    assert_eq!(step(10_000, 1), Some(60));
    assert_eq!(step(10_000, 15), Some(3_600), "below 2,016 points each");
    assert_eq!(step(30_000, 1), Some(3_600), "43 million minutes");
    assert_eq!(step(100_000, 15), Some(86_400), "36 million hours");
    assert_eq!(step(400_000, 15), Some(86_400));
    let error = super::step_of(1_000_000, 15 * DAY_S).expect_err("too many");
    let text = error.to_string();
    assert!(
        text.starts_with("1000000 series are more than the 400000"),
        "{text}"
    );
}

/// One series at a time beside a quiet one: what is told of it.
async fn told(batches: &[SampleBatch], fresh: &[SampleBatch]) -> Vec<String> {
    let (_dir, lake) = lake(batches, fresh);
    let night = night_of(lake, 2).await;
    let findings = night.findings.iter();
    let evidence = findings.flat_map(|finding| &finding.evidence);
    evidence.map(|evidence| evidence.name.clone()).collect()
}

fn quiet(seed: u64) -> impl FnMut(i64) -> Option<f64> {
    let mut noise = Noise::new(seed);
    move |_| Some(100.0 + noise.normal())
}

#[tokio::test]
async fn samples_that_come_unsorted_or_twice_are_those_that_came_in_order() {
    let mut noise = Noise::new(7);
    let moved = series(METRIC, "a", |n| {
        Some(100.0 + noise.normal() + if n >= 200 { 20.0 } else { 0.0 })
    });
    let in_order = told(std::slice::from_ref(&moved), &[]).await;
    assert_eq!(in_order, [format!("{METRIC}{{unit=a}}")]);
    let mut reversed = moved.clone();
    reversed.samples.reverse();
    assert_eq!(told(&[reversed], &[]).await, in_order);
    // A file of the first half that is read again beside all of it, as after a collector's restart.
    let mut again = moved.clone();
    again.samples.truncate(144);
    assert_eq!(told(&[moved, again], &[]).await, in_order);
}

#[tokio::test]
async fn what_no_series_should_hold_is_no_finding() {
    let mut outlier = quiet(1);
    let mut gap = quiet(2);
    let mut spoilt = quiet(3);
    let (mut total, mut seconds) = (0.0, quiet(4));
    let three = |n: i64| (n % 96 == 0).then_some(n as f64);
    let batches = [
        series(METRIC, "constant", |_| Some(5.0)),
        series(METRIC, "three", three),
        series(METRIC, "outlier", |n| match n {
            220 => Some(1e300),
            _ => outlier(n),
        }),
        // Half a day without samples, over midnight.
        series(METRIC, "gap", |n| match n {
            110..180 => None,
            _ => gap(n),
        }),
        series(METRIC, "spoilt", |n| match n % 9 {
            0 => Some(f64::NAN),
            4 => Some(f64::INFINITY),
            _ => spoilt(n),
        }),
        // A counter that begins anew, twice on the day.
        series(COUNTER, "reset", |n| {
            if n == 170 || n == 230 {
                total = 0.0;
            }
            total += 600.0 * seconds(n)?;
            Some(total)
        }),
    ];
    assert_eq!(told(&batches, &[]).await, Vec::<String>::new());
}

/// The clock jumps ahead by half a year on the first day and comes back: the samples in between lie on
/// no day that is analysed, and those after it are judged as if nothing had been.
#[tokio::test]
async fn a_clock_that_jumps_moves_no_other_day() {
    let mut noise = Noise::new(9);
    let mut batch = series(METRIC, "a", |n| {
        Some(100.0 + noise.normal() + if n >= 200 { 20.0 } else { 0.0 })
    });
    for sample in &mut batch.samples[60..80] {
        sample.ts_us += 180 * DAY_S * S;
    }
    assert_eq!(told(&[batch], &[]).await, [format!("{METRIC}{{unit=a}}")]);
}

#[tokio::test]
async fn a_day_without_samples_is_empty() {
    let (_dir, lake) = lake(&[], &[]);
    let night = night_of(lake, 1).await;
    assert!(night.is_empty());
    assert_eq!((night.rows, night.notes.len()), (0, 1));
}

/// An exporter that was upgraded counts in milliseconds what it counted in seconds.
#[tokio::test]
async fn a_unit_that_changes_is_said() {
    let points = |unit: &str, name: &str, level: f64| {
        let mut noise = Noise::new(3);
        let metric = MetricRef::Custom(Arc::new(MetricDef {
            name: "app.latency".to_owned(),
            component: Component::Http,
            unit: unit.to_owned(),
            kind: MetricKind::Gauge,
            category: Category::Latency,
            better: Better::Lower,
        }));
        let series = Series {
            metric,
            labels: Labels::new(&[("unit", name)]),
        };
        let rows = (0..288).map(|n| {
            let value = level * (1.0 + 0.01 * noise.normal());
            (series.clone(), T0 + n * STEP_S * S, value)
        });
        SampleBatch::from_rows(rows.collect::<Vec<_>>())
    };
    let batches = [points("s", "old", 0.2), points("ms", "new", 200.0)];
    let (_dir, lake) = lake(&[], &batches);
    let night = night_of(lake, 2).await;
    assert_eq!((night.series, night.findings.len()), (2, 0));
    let note = night.notes.iter().find(|note| note.contains("app.latency"));
    assert!(
        note.is_some_and(|note| note.contains("ms and s")),
        "{:?}",
        night.notes
    );
}
