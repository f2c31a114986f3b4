//! A one-shot analysis: some seconds of a host's samples, never stored, as rows that a person
//! understands.
//!
//! Collecting is left to the caller. The samples become tables in memory, so that the same views
//! and the same SQL look at them as at everything else.

use std::collections::HashMap;

use driftline_schemas::{Category, Component, SampleBatch};

use crate::baseline::{Baseline, SeriesBaseline, summarise};
use crate::compare::Window;
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::lake::Lake;

/// A value is called unusual beyond this many deviations from the baseline's median: of normal
/// noise 2 in 1,000 values are.
pub const UNUSUAL_DEVIATIONS: f64 = 3.0;

/// One series over the seconds that were collected.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisRow {
    /// The median over the seconds, with its series.
    pub now: SeriesBaseline,
    /// What is usual, where it is known.
    pub usual: Option<Usual>,
}

/// A row's place in its baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// The baseline's median: of this hour of the day or week, where the baseline knows it.
    pub median: f64,
    /// The baseline's spread about it.
    pub mad: f64,
    /// Whether both are those of the hour.
    pub of_the_hour: bool,
    /// How many spreads the value lies from that median; infinite where the baseline never moved
    /// and the value did.
    pub deviations: f64,
    /// Whether that is worth a word: far out, and outside of the baseline's middle 90 %.
    pub unusual: bool,
}

/// Analyses the samples of a host. Rows come by component, then by category (utilisation,
/// saturation, errors, latency, throughput), those that a person looks at first before others.
pub async fn analyze(
    host: &str,
    batches: &[SampleBatch],
    baseline: Option<&Baseline>,
    config: &EngineConfig,
) -> Result<Vec<AnalysisRow>, EngineError> {
    let times = || {
        batches
            .iter()
            .flat_map(|batch| &batch.samples)
            .map(|sample| sample.ts_us)
    };
    let (Some(from_us), Some(last_us)) = (times().min(), times().max()) else {
        return Ok(Vec::new());
    };
    let engine = Engine::over(Lake::in_memory(host, batches)?, config).await?;
    let window = Window {
        from_us,
        until_us: last_us.saturating_add(1),
    };
    let at_s = from_us.midpoint(last_us).div_euclid(1_000_000);
    let usual = baseline.map(by_series).unwrap_or_default();
    let mut rows: Vec<AnalysisRow> = summarise(&engine, window)
        .await?
        .into_iter()
        .map(|now| AnalysisRow {
            usual: usual.get(&key(&now)).map(|usual| place(&now, usual, at_s)),
            now,
        })
        .collect();
    rows.sort_by_cached_key(|row| {
        let now = &row.now;
        (
            order(
                &now.component,
                Component::ALL.map(Component::as_str).as_slice(),
            ),
            order(
                &now.category,
                Category::ALL.map(Category::as_str).as_slice(),
            ),
            !now.headline,
            now.metric.clone(),
            now.labels.clone(),
        )
    });
    Ok(rows)
}

type SeriesKey<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn key(series: &SeriesBaseline) -> SeriesKey<'_> {
    (
        &series.component,
        &series.host,
        &series.metric,
        &series.labels,
        &series.unit,
    )
}

fn by_series(baseline: &Baseline) -> HashMap<SeriesKey<'_>, &SeriesBaseline> {
    baseline
        .series
        .iter()
        .map(|series| (key(series), series))
        .collect()
}

fn place(now: &SeriesBaseline, usual: &SeriesBaseline, at_s: i64) -> Usual {
    let (median, mad, narrowed) = level(usual, at_s);
    let distance = (now.median - median).abs();
    let deviations = if distance == 0.0 { 0.0 } else { distance / mad };
    let (low, high) = (
        median + narrowed * (usual.p5 - usual.median),
        median + narrowed * (usual.p95 - usual.median),
    );
    let outside = now.median < low || now.median > high;
    Usual {
        median,
        mad,
        of_the_hour: narrowed < 1.0,
        deviations,
        unusual: outside && deviations > UNUSUAL_DEVIATIONS,
    }
}

/// The level that is usual at a time, its spread, and by what part the spread of all hours is that of
/// one. Samples vary more than the points that a season is made of, so that its own spread is
/// no more than the least: the standard deviation of samples falls by the root of what hours do not
/// explain of their variance.
fn level(usual: &SeriesBaseline, at_s: i64) -> (f64, f64, f64) {
    let season = usual.season.as_ref();
    let of_hour = season.and_then(|season| Some((season, season.median_at(at_s)?)));
    match of_hour {
        Some((season, median)) => {
            let narrowed = (1.0 - season.explained).clamp(0.0, 1.0).sqrt();
            (median, season.mad.max(narrowed * usual.mad), narrowed)
        }
        None => (usual.median, usual.mad, 1.0),
    }
}

/// Place in a fixed order; unknown words come last.
fn order(word: &str, words: &[&str]) -> usize {
    words
        .iter()
        .position(|known| *known == word)
        .unwrap_or(words.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline;
    use crate::testing::{HOST, S, T0, engine, lake, samples};

    const AVAILABLE: &str = "system.memory.linux.available";
    const LOAD: &str = "system.cpu.load_average.1m";
    const RECEIVE: &[(&str, &str)] = &[
        ("network.interface.name", "eth0"),
        ("network.io.direction", "receive"),
    ];

    fn seconds(from_s: i64, count: i64, available: f64) -> SampleBatch {
        samples((from_s..from_s + count).flat_map(|s| {
            let at = T0 + s * S;
            [
                (AVAILABLE, [].as_slice(), at, available + (s % 5) as f64),
                (LOAD, &[], at, 0.5),
                ("system.network.io", RECEIVE, at, 100.0 * s as f64),
            ]
        }))
    }

    #[tokio::test]
    async fn rows_stand_beside_what_is_usual() {
        let (_dir, lake) = lake(&[seconds(0, 60, 1000.0)], &[]);
        let window = Window {
            from_us: T0,
            until_us: T0 + 60 * S,
        };
        let usual = baseline::take(&engine(lake).await, "b", window)
            .await
            .expect("a baseline");
        let now = [seconds(100, 3, 900.0), seconds(103, 3, 900.0)];
        let config = EngineConfig::default();
        let rows = analyze(HOST, &now, Some(&usual), &config)
            .await
            .expect("an analysis");
        let names: Vec<(&str, &str)> = rows
            .iter()
            .map(|r| (r.now.category.as_str(), r.now.metric.as_str()))
            .collect();
        let want = [
            ("utilisation", AVAILABLE),
            ("saturation", LOAD),
            ("throughput", "system.network.io"),
        ];
        assert_eq!(names, want);
        let memory = rows[0].usual.expect("a baseline");
        assert!(
            memory.unusual && memory.median == 1002.0 && memory.deviations > 50.0,
            "{memory:?}"
        );
        for row in &rows[1..] {
            let usual = row.usual.expect("a baseline");
            assert!(!usual.unusual && usual.deviations == 0.0, "{row:?}");
        }
        assert_eq!(
            (rows[2].now.median, rows[2].now.unit.as_str()),
            (100.0, "By/s")
        );
        let other = analyze("other", &now, Some(&usual), &config)
            .await
            .expect("an analysis");
        assert!(
            other.iter().all(|row| row.usual.is_none()),
            "another host's baseline"
        );
        assert!(
            analyze(HOST, &[], None, &config)
                .await
                .expect("an analysis")
                .is_empty()
        );
    }
    /// Ten days of points every ten minutes that are twice as high from eight o'clock on.
    #[test]
    fn an_hour_is_held_against_its_own_level() {
        let mut noise = driftline_stats::noise::Noise::new(1);
        let day = 86_400;
        let at_s: Vec<i64> = (0..1_440).map(|n| n * 600).collect();
        let values: Vec<f64> = at_s
            .iter()
            .map(|at_s| {
                let busy = at_s.rem_euclid(day) >= 8 * 3_600;
                let level = if busy { 200.0 } else { 100.0 };
                level + 5.0 * noise.normal()
            })
            .collect();
        let quantile = |share| driftline_stats::quantile(&mut values.clone(), share);
        let series = |median: f64| SeriesBaseline {
            component: "host".to_owned(),
            host: HOST.to_owned(),
            metric: LOAD.to_owned(),
            labels: String::new(),
            unit: "1".to_owned(),
            category: "saturation".to_owned(),
            better: "lower".to_owned(),
            headline: true,
            n: 1_440,
            median,
            mad: driftline_stats::mad(&values).expect("a spread"),
            p5: quantile(0.05).expect("points"),
            p50: median,
            p95: quantile(0.95).expect("points"),
            p99: quantile(0.99).expect("points"),
            season: crate::baseline::Season::of(&at_s, &values),
        };
        let usual = series(quantile(0.5).expect("points"));
        let (night_s, noon_s) = (20 * day + 3 * 3_600, 20 * day + 12 * 3_600);
        for (level, at_s, unusual) in [
            (101.0, night_s, false),
            (200.0, night_s, true),
            (199.0, noon_s, false),
            (100.0, noon_s, true),
        ] {
            let found = place(&series(level), &usual, at_s);
            assert!(found.of_the_hour);
            assert_eq!(found.unusual, unusual, "{level} at {at_s}: {found:?}");
        }
        let all_hours = SeriesBaseline {
            season: None,
            ..usual
        };
        let found = place(&series(200.0), &all_hours, night_s);
        assert!(!found.of_the_hour && !found.unusual, "{found:?}");
    }
}
