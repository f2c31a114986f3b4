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
    /// The baseline's median.
    pub median: f64,
    /// The baseline's spread.
    pub mad: f64,
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
    let usual = baseline.map(by_series).unwrap_or_default();
    let mut rows: Vec<AnalysisRow> = summarise(&engine, window)
        .await?
        .into_iter()
        .map(|now| AnalysisRow {
            usual: usual.get(&key(&now)).map(|usual| place(&now, usual)),
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

fn place(now: &SeriesBaseline, usual: &SeriesBaseline) -> Usual {
    let distance = (now.median - usual.median).abs();
    let deviations = if distance == 0.0 {
        0.0
    } else {
        distance / usual.mad
    };
    let outside = now.median < usual.p5 || now.median > usual.p95;
    Usual {
        median: usual.median,
        mad: usual.mad,
        deviations,
        unusual: outside && deviations > UNUSUAL_DEVIATIONS,
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
}
