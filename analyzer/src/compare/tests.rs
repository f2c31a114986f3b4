//! Comparisons of windows whose truth is known.

use driftline_schemas::SampleBatch;

use super::*;
use crate::testing::{Row, S, T0, engine, lake, samples};
use driftline_stats::benjamini_hochberg;
use driftline_stats::noise::Noise;

const WRITE: &[(&str, &str)] = &[("system.device", "vda"), ("disk.io.direction", "write")];
const BUSY: &[(&str, &str)] = &[("cpu.logical_number", "0"), ("cpu.mode", "user")];
const IDLE: &[(&str, &str)] = &[("cpu.logical_number", "0"), ("cpu.mode", "idle")];
const STALL: &[(&str, &str)] = &[
    ("system.pressure.resource", "cpu"),
    ("system.pressure.type", "some"),
];
const DIRTY: &str = "system.memory.linux.dirty";
const AVAILABLE: &str = "system.memory.linux.available";

/// Forty quiet seconds, then, if `loaded`, forty under load; noise as hosts have it.
fn host(seed: u64, loaded: bool) -> SampleBatch {
    let mut noise = Noise::new(seed);
    let mut jitter = noise.ar1(80, 0.4).into_iter();
    let (mut busy, mut written, mut stalled) = (0.0, 0.0, 0.0);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for s in 0..80 {
        let wobble = jitter.next().expect("jitter");
        let heavy = loaded && s >= 40;
        busy += if heavy { 0.95 } else { 0.05 + 0.01 * wobble };
        written += if heavy { 5e7 } else { 2e5 + 1e4 * wobble };
        stalled += if heavy { 0.6 } else { 0.0 };
        let at = T0 + s * S;
        rows.push(("system.cpu.time", BUSY, at, busy));
        rows.push(("system.cpu.time", IDLE, at, s as f64 - busy));
        rows.push(("system.disk.io", WRITE, at, written));
        rows.push(("system.pressure.stall_time", STALL, at, stalled));
        rows.push((AVAILABLE, &[], at, 8e9 + 1e7 * noise.normal()));
        rows.push((DIRTY, &[], at, 1e6 * (5.0 + noise.normal())));
        if s % 15 == 0 {
            rows.push(("system.file_handle.count", &[], at, 1000.0 + s as f64));
        }
    }
    samples(rows)
}

const A: Window = Window {
    from_us: T0,
    until_us: T0 + 40 * S,
};
const B: Window = Window {
    from_us: T0 + 41 * S,
    until_us: T0 + 80 * S,
};

async fn compared(batch: SampleBatch) -> Vec<SeriesShift> {
    let (_dir, lake) = lake(&[batch], &[]);
    let options = CompareOptions::default();
    compare(&engine(lake).await, A, B, &options)
        .await
        .expect("a comparison")
}

fn of<'a>(shifts: &'a [SeriesShift], metric: &str, labels: &str) -> &'a SeriesShift {
    let found = shifts
        .iter()
        .find(|shift| shift.metric == metric && shift.labels == labels);
    found.expect(metric)
}

#[tokio::test]
async fn load_is_found_and_told_from_noise() {
    let shifts = compared(host(1, true)).await;
    let cpu = of(&shifts, "system.cpu.utilization", "");
    assert_eq!(
        (cpu.verdict, cpu.n_a, cpu.n_b),
        (Verdict::Regression, 39, 39)
    );
    let (low, high) = (cpu.ci_lo.expect("a bound"), cpu.ci_hi.expect("a bound"));
    assert!(low <= 0.9 && high >= 0.9 && high - low < 0.05, "{cpu:?}");
    assert!(cpu.p_value.expect("a p-value") < 0.001);
    let stall = of(
        &shifts,
        "system.pressure.stall_time",
        "system.pressure.resource=cpu,system.pressure.type=some",
    );
    assert_eq!(stall.verdict, Verdict::Regression);
    assert_eq!(stall.effect_pct, None, "nothing is a percentage of zero");
    let disk = of(
        &shifts,
        "system.disk.io",
        "disk.io.direction=write,system.device=vda",
    );
    assert_eq!(
        (disk.verdict, disk.unit.as_str()),
        (Verdict::Change, "By/s")
    );
    for quiet in [AVAILABLE, DIRTY] {
        assert_eq!(of(&shifts, quiet, "").verdict, Verdict::NoChange, "{quiet}");
    }
    let few = of(&shifts, "system.file_handle.count", "");
    assert_eq!((few.verdict, few.n_a), (Verdict::TooLittleData, 3));
    assert_eq!(
        shifts[0].metric, "system.cpu.utilization",
        "what matters comes first"
    );
    let verdicts: Vec<Verdict> = shifts.iter().map(|shift| shift.verdict).collect();
    assert!(verdicts.is_sorted(), "{verdicts:?}");
}

#[tokio::test]
async fn less_load_is_an_improvement() {
    let (_dir, lake) = lake(&[host(2, true)], &[]);
    let engine = engine(lake).await;
    let shifts = compare(&engine, B, A, &CompareOptions::default())
        .await
        .expect("a comparison");
    assert_eq!(
        of(&shifts, "system.cpu.utilization", "").verdict,
        Verdict::Improvement
    );
}

/// At 99 % and with a minimum effect, twenty quiet hosts bring no alarm.
#[tokio::test]
async fn quiet_stays_quiet() {
    for seed in 10..30 {
        let shifts = compared(host(seed, false)).await;
        let loud: Vec<_> = shifts
            .iter()
            .filter(|s| !matches!(s.verdict, Verdict::NoChange | Verdict::TooLittleData))
            .collect();
        assert!(loud.is_empty(), "seed {seed}: {loud:?}");
    }
}

#[tokio::test]
async fn p_values_are_corrected_as_benjamini_and_hochberg_say() {
    let (_dir, lake) = lake(&[host(3, true)], &[]);
    let engine = engine(lake).await;
    let shifts = compare(&engine, A, B, &CompareOptions::default())
        .await
        .expect("a comparison");
    let judged: Vec<&SeriesShift> = shifts
        .iter()
        .filter(|shift| shift.verdict != Verdict::TooLittleData)
        .collect();
    let mut raw = Vec::new();
    for shift in &judged {
        let sql = "SELECT (shift(a, b))['p_value'] AS p FROM (SELECT \
             array_agg(value ORDER BY ts) FILTER (WHERE ts < $a1) AS a, \
             array_agg(value ORDER BY ts) FILTER (WHERE ts >= $b0 AND ts < $b1) AS b \
             FROM derived_series WHERE metric = $metric AND labels = $labels)";
        let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
        let parameters = vec![
            ("a1".to_owned(), timestamp(A.until_us)),
            ("b0".to_owned(), timestamp(B.from_us)),
            ("b1".to_owned(), timestamp(B.until_us)),
            ("metric".to_owned(), text(&shift.metric)),
            ("labels".to_owned(), text(&shift.labels)),
        ];
        let options = crate::QueryOptions {
            parameters,
            timeout: None,
        };
        let rows = engine.collect(sql, &options).await.expect("a p-value");
        let columns = Columns::new("test", &rows).expect("columns");
        raw.push(columns.floats("p").expect("numbers").value(0));
    }
    for (shift, want) in judged.iter().zip(benjamini_hochberg(&raw)) {
        let got = shift.p_value.expect("a p-value");
        assert!(
            (got - want).abs() <= 1e-12 * want,
            "{}: {got} is not {want}",
            shift.metric
        );
    }
}

#[tokio::test]
async fn the_minimum_effect_is_the_caller_s() {
    let (_dir, lake) = lake(&[host(4, true)], &[]);
    let engine = engine(lake).await;
    let strict = CompareOptions {
        confidence: None,
        min_effect_pct: Some(150.0),
    };
    let shifts = compare(&engine, A, B, &strict).await.expect("a comparison");
    assert!(
        shifts
            .iter()
            .all(|s| matches!(s.verdict, Verdict::NoChange | Verdict::TooLittleData))
    );
}

#[tokio::test]
async fn nothing_yields_nothing() {
    let (_dir, lake) = lake(&[], &[]);
    let options = CompareOptions::default();
    let shifts = compare(&engine(lake).await, A, B, &options)
        .await
        .expect("a comparison");
    assert!(shifts.is_empty());
}
