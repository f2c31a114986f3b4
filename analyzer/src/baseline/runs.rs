//! Baselines of load runs: what the last accepted runs of a scenario against a target came to, endpoint
//! by endpoint; and a run held against them.
//!
//! A run is accepted when its numbers can be believed and no finding says that it was worse; and from a
//! run that was, until somebody says that it is fixed, none is. Where somebody has accepted such a
//! finding, the baseline begins with that run. The statistics are [`driftline_stats::runs::against_past`]'s.

mod history;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::Array as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use driftline_stats::Sketch;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, optional};
use crate::engine::{Engine, EngineError, QueryOptions};

pub(crate) use history::{History, Said, baseline_id, pair_id, read};
pub use judge::compare_with_baseline;
pub(crate) use judge::{judge, now};

/// Runs that a baseline looks back on at most: enough to know what runs differ by, few enough to be
/// of late.
const MOST_RUNS: usize = 10;

/// What was usual for one endpoint of a scenario against a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBaseline {
    /// The scenario's name.
    pub scenario: String,
    /// What its text hashes to: runs of other hashes are other load.
    pub scenario_hash: String,
    /// What was loaded.
    pub target: String,
    /// The endpoint; empty for all of them together.
    pub endpoint: String,
    /// Each run, in order of time.
    pub runs: Vec<RunLevel>,
    /// Quantiles of the operations of all runs together, in ms, within 1 %; `None` where none has a
    /// latency.
    pub p50_ms: Option<f64>,
    /// The upper tail.
    pub p95_ms: Option<f64>,
    /// The far tail.
    pub p99_ms: Option<f64>,
    /// The same as a mergeable sketch, by `driftline_stats::Sketch` and in base64.
    pub sketch: String,
}

/// What one run came to at one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLevel {
    /// The run.
    pub run: String,
    /// Operations after its warm-up.
    pub operations: u64,
    /// Of these, failed ones.
    pub failed: u64,
    /// Answers per second.
    pub rate_per_s: f64,
    /// Exact quantiles of the latency in ms; `None` where no operation has one.
    pub p50_ms: Option<f64>,
    /// The upper tail.
    pub p95_ms: Option<f64>,
    /// The far tail.
    pub p99_ms: Option<f64>,
}

/// A level with the sketch of its latencies.
struct Sketched {
    level: RunLevel,
    sketch: Sketch,
}

/// The baselines of every scenario and target, as of a time in µs since 1970.
pub(crate) async fn take(engine: &Engine, until_us: i64) -> Result<Vec<RunBaseline>, EngineError> {
    let mut baselines = Vec::new();
    for history in read(engine, until_us).await? {
        baselines.extend(of(engine, &history, history.runs.len()).await?);
    }
    Ok(baselines)
}

/// The baseline of a scenario before one of its runs, or after all; by endpoint.
pub(crate) async fn of(
    engine: &Engine,
    history: &History,
    before: usize,
) -> Result<Vec<RunBaseline>, EngineError> {
    let accepted = history.accepted(before).into_iter();
    let names: Vec<&str> = accepted.map(|run| run.run.as_str()).collect();
    let mut by_endpoint = levels(engine, &names).await?;
    let mut baselines = Vec::with_capacity(by_endpoint.len());
    for (endpoint, by_run) in &mut by_endpoint {
        let mut merged = Sketch::default();
        let mut runs = Vec::with_capacity(names.len());
        for name in &names {
            if let Some(found) = by_run.remove(*name) {
                merged.merge(&found.sketch);
                runs.push(found.level);
            }
        }
        baselines.push(RunBaseline {
            scenario: history.scenario.clone(),
            scenario_hash: history.scenario_hash.clone(),
            target: history.target.clone(),
            endpoint: endpoint.clone(),
            runs,
            p50_ms: merged.quantile(0.5),
            p95_ms: merged.quantile(0.95),
            p99_ms: merged.quantile(0.99),
            sketch: BASE64.encode(merged.encode()),
        });
    }
    Ok(baselines)
}

/// What runs came to, by endpoint, with `""` for all of them, and run.
async fn levels(
    engine: &Engine,
    runs: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, Sketched>>, EngineError> {
    let mut all: BTreeMap<String, BTreeMap<String, Sketched>> = BTreeMap::new();
    if runs.is_empty() {
        return Ok(all);
    }
    let (runs, options) = QueryOptions::listed("run", runs.iter().copied());
    let sql = format!(
        "WITH scopes AS ( \
             SELECT run, endpoint, ts, latency_ms, succeeded, answered FROM run_requests WHERE run IN ({runs}) \
             UNION ALL \
             SELECT run, '' AS endpoint, ts, latency_ms, succeeded, answered FROM run_requests WHERE run IN ({runs}) \
         ), gathered AS ( \
             SELECT run, endpoint, array_agg(latency_ms) AS latencies, quantile_sketch(latency_ms) AS sketch, \
                 count(*) AS operations, sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS failed, \
                 sum(CASE WHEN answered THEN 1 ELSE 0 END) AS answered, \
                 CAST(max(ts) AS BIGINT) - CAST(min(ts) AS BIGINT) + 1 AS length_us \
             FROM scopes GROUP BY run, endpoint \
         ) \
         SELECT run, endpoint, operations, failed, 1e6 * answered / length_us AS rate_per_s, \
             list_quantile(latencies, 0.5) AS p50, list_quantile(latencies, 0.95) AS p95, \
             list_quantile(latencies, 0.99) AS p99, sketch \
         FROM gathered ORDER BY endpoint, run"
    );
    let rows = engine.collect(&sql, &options).await?;
    let columns = Columns::new("run levels", &rows)?;
    let [run, endpoint] = columns.each_text(["run", "endpoint"])?;
    let sketches = columns.binaries("sketch")?;
    let (operations, failed) = (columns.integers("operations")?, columns.integers("failed")?);
    let rates = columns.floats("rate_per_s")?;
    let [p50, p95, p99] = [
        columns.floats("p50")?,
        columns.floats("p95")?,
        columns.floats("p99")?,
    ];
    for row in 0..columns.rows() {
        // None where no operation has a latency.
        let sketch = match sketches.is_valid(row) {
            true => Sketch::decode(sketches.value(row)).map_err(|_| EngineError::Column {
                rule: "run levels".to_owned(),
                column: "sketch".to_owned(),
            })?,
            false => Sketch::default(),
        };
        let level = RunLevel {
            run: run.value(row).to_owned(),
            operations: operations.value(row).unsigned_abs(),
            failed: failed.value(row).unsigned_abs(),
            rate_per_s: rates.value(row),
            p50_ms: optional(&p50, row),
            p95_ms: optional(&p95, row),
            p99_ms: optional(&p99, row),
        };
        let by_run = all.entry(endpoint.value(row).to_owned()).or_default();
        by_run.insert(level.run.clone(), Sketched { level, sketch });
    }
    Ok(all)
}
