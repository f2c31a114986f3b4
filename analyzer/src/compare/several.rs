//! Comparing several load runs per side: what one run differs from the next by chance is then known,
//! and no single odd run can make a verdict.
//!
//! The statistics are `driftline_stats::runs`'s; here operations are gathered per run and endpoint.

use std::collections::BTreeMap;

use driftline_stats::runs::{
    Comparison, Design, ErrorCount, Metric, Options, RateCount, RunComparison as Compared,
    Verdict as RunVerdict, Worse, compare, compare_errors, compare_rates,
};
use driftline_stats::{median, quantile};

use super::Verdict;
use super::runs::{
    CompareRunsError, Known, RunCompareOptions, RunComparison, RunShift, known, notes,
};
use crate::columns::Columns;
use crate::engine::{Engine, EngineError, QueryOptions};

/// Fewer runs on a side cannot tell what runs differ by.
const LEAST_RUNS: usize = 2;

/// One endpoint's operations in one run.
#[derive(Debug, Clone, Default)]
struct Operations {
    latencies: Vec<f64>,
    requests: u64,
    failed: u64,
    answered: u64,
    /// Of the first and of the last, in µs.
    span: Option<(i64, i64)>,
}

impl Operations {
    /// From the first to the last.
    fn seconds(&self) -> f64 {
        self.span
            .map_or(0.0, |(first, last)| (last - first) as f64 / 1e6)
    }
}

/// Compares runs `b` with runs `a`, two or more on each side. Where run i of one side was made next
/// to run i of the other, what drifted meanwhile counts for both.
pub async fn compare_several(
    engine: &Engine,
    a: &[String],
    b: &[String],
    options: &RunCompareOptions,
) -> Result<RunComparison, CompareRunsError> {
    let all: Vec<&String> = a.iter().chain(b).collect();
    for (place, run) in all.iter().enumerate() {
        if all[..place].contains(run) {
            return Err(CompareRunsError::Same {
                run: (*run).clone(),
            });
        }
    }
    if a.len() < LEAST_RUNS || b.len() < LEAST_RUNS {
        return Err(CompareRunsError::TooFew { least: LEAST_RUNS });
    }
    let mut seen = Vec::with_capacity(all.len());
    for run in &all {
        seen.push(known(engine, run).await?);
    }
    let (notes, trusted) = notes_of(&seen);
    let (sides_a, sides_b) = seen.split_at(a.len());
    let stated = Options {
        confidence: options.confidence.unwrap_or(Options::default().confidence),
        min_effect_pct: options.min_effect_pct.unwrap_or_default(),
        design: design(sides_a, sides_b),
        ..Options::default()
    };
    let operations = gather(engine, &all).await?;
    let both =
        |by_run: &BTreeMap<String, Operations>| all.iter().all(|run| by_run.contains_key(*run));
    let judged: Vec<_> = operations
        .iter()
        .filter(|(_, by_run)| both(by_run))
        .collect();
    // The budget for false alarms is shared among the endpoints (Bonferroni).
    let stated = Options {
        false_alarms: stated.false_alarms / judged.len().max(1) as f64,
        ..stated
    };
    let mut shifts = Vec::new();
    for (endpoint, by_run) in judged {
        let side = |runs: &[String]| {
            runs.iter()
                .map(|run| by_run[run].clone())
                .collect::<Vec<_>>()
        };
        shifts.extend(shifts_of(endpoint, &side(a), &side(b), &stated));
        let rates = |runs: &[String]| -> Vec<RateCount> {
            let of_run = |run: &String| RateCount {
                events: by_run[run].answered,
                // An endpoint that is seldom asked has all of its run's time.
                seconds: operations[""][run].seconds(),
            };
            runs.iter().map(of_run).collect()
        };
        shifts.push(rate_shift(endpoint, &rates(a), &rates(b), &stated));
    }
    Ok(RunComparison {
        run_a: a.join(","),
        run_b: b.join(","),
        notes,
        trusted,
        shifts,
    })
}

/// Each run against the first one, each note once.
fn notes_of(seen: &[Known]) -> (Vec<String>, bool) {
    let mut all: Vec<String> = Vec::new();
    let mut trusted = true;
    for run in &seen[1..] {
        let (found, believed) = notes(&seen[0], run);
        trusted &= believed;
        for note in found {
            if !all.contains(&note) {
                all.push(note);
            }
        }
    }
    (all, trusted)
}

/// Interleaved when, in order of time, run i of one side stands beside run i of the other.
fn design(a: &[Known], b: &[Known]) -> Design {
    let mut order: Vec<(i64, usize)> = Vec::new();
    for side in [a, b] {
        order.extend(
            side.iter()
                .enumerate()
                .map(|(at, run)| (run.started_us, at)),
        );
    }
    order.sort_unstable();
    let beside = order
        .chunks(2)
        .all(|pair| matches!(pair, [x, y] if x.1 == y.1));
    match a.len() == b.len() && beside {
        true => Design::Interleaved,
        false => Design::Apart,
    }
}

/// By endpoint, with `""` for all of them, and run.
async fn gather(
    engine: &Engine,
    runs: &[&String],
) -> Result<BTreeMap<String, BTreeMap<String, Operations>>, EngineError> {
    let (runs, options) = QueryOptions::listed("run", runs.iter().map(|run| run.as_str()));
    let sql = format!(
        "SELECT run, endpoint, array_agg(latency_ms) AS latencies, count(*) AS requests, \
         sum(CASE WHEN succeeded THEN 0 ELSE 1 END) AS failed, \
         sum(CASE WHEN answered THEN 1 ELSE 0 END) AS answered, \
         CAST(min(ts) AS BIGINT) AS first, CAST(max(ts) AS BIGINT) AS last \
         FROM run_requests WHERE run IN ({runs}) GROUP BY run, endpoint ORDER BY endpoint, run"
    );
    let rows = engine.collect(&sql, &options).await?;
    let columns = Columns::new("operations", &rows)?;
    let (run, endpoint) = (columns.texts("run")?, columns.texts("endpoint")?);
    let latencies = columns.lists("latencies")?;
    let (requests, failed) = (columns.integers("requests")?, columns.integers("failed")?);
    let answered = columns.integers("answered")?;
    let (first, last) = (columns.integers("first")?, columns.integers("last")?);
    let mut all: BTreeMap<String, BTreeMap<String, Operations>> = BTreeMap::new();
    for (row, mut values) in latencies.into_iter().enumerate() {
        // In one order, whatever order the engine found them in.
        values.sort_by(f64::total_cmp);
        for endpoint in [endpoint.value(row), ""] {
            let by_run = all.entry(endpoint.to_owned()).or_default();
            let operations = by_run.entry(run.value(row).to_owned()).or_default();
            operations.latencies.extend_from_slice(&values);
            operations.requests += requests.value(row).unsigned_abs();
            operations.failed += failed.value(row).unsigned_abs();
            operations.answered += answered.value(row).unsigned_abs();
            let (from, until) = operations.span.unwrap_or((i64::MAX, i64::MIN));
            operations.span = Some((from.min(first.value(row)), until.max(last.value(row))));
        }
    }
    Ok(all)
}

fn shifts_of(
    endpoint: &str,
    a: &[Operations],
    b: &[Operations],
    options: &Options,
) -> Vec<RunShift> {
    let latencies =
        |side: &[Operations]| side.iter().map(|o| o.latencies.clone()).collect::<Vec<_>>();
    let compared = compare(&latencies(a), &latencies(b), options);
    let mut shifts = Vec::new();
    for (metric, share) in [(Metric::P50, 0.5), (Metric::P95, 0.95), (Metric::P99, 0.99)] {
        if let Some(found) = compared.get(metric) {
            let level = |side: &[Operations]| {
                let of_run = |o: &Operations| quantile(&mut o.latencies.clone(), share);
                median(&side.iter().filter_map(of_run).collect::<Vec<_>>())
            };
            shifts.push(RunShift {
                median_a: level(a),
                median_b: level(b),
                p_value: p_value(&compared, metric),
                ..shift(endpoint, found, "ms", compared.runs)
            });
        }
    }
    let errors = |side: &[Operations]| {
        let count = |o: &Operations| ErrorCount {
            failed: o.failed,
            requests: o.requests,
        };
        side.iter().map(count).collect::<Vec<_>>()
    };
    let level = |side: &[Operations]| {
        let (failed, requests) = side
            .iter()
            .fold((0, 0), |(f, r), o| (f + o.failed, r + o.requests));
        (requests > 0).then(|| failed as f64 / requests as f64)
    };
    let found = compare_errors(&errors(a), &errors(b), options);
    let points = |percent: Option<f64>| percent.map(|p| p / 100.0);
    shifts.push(RunShift {
        median_a: level(a),
        median_b: level(b),
        shift: points(found.effect_pct),
        ci_lo: points(found.ci_lo_pct),
        ci_hi: points(found.ci_hi_pct),
        ..shift(endpoint, &found, "1", [a.len(), b.len()])
    });
    shifts
}

/// Answers per second: of a closed model what the target gave, of an open one what it was asked for as
/// long as it kept up.
fn rate_shift(endpoint: &str, a: &[RateCount], b: &[RateCount], options: &Options) -> RunShift {
    let options = Options {
        worse: Worse::Lower,
        ..*options
    };
    let found = compare_rates(a, b, &options);
    let level = |side: &[RateCount]| {
        let there = side.iter().filter(|run| run.seconds > 0.0);
        median(
            &there
                .map(|run| run.events as f64 / run.seconds)
                .collect::<Vec<_>>(),
        )
    };
    RunShift {
        median_a: level(a),
        median_b: level(b),
        ..shift(endpoint, &found, "{operation}/s", [a.len(), b.len()])
    }
}

/// The centre's test speaks for the median, the tail's for the 99th percentile.
fn p_value(compared: &Compared, metric: Metric) -> Option<f64> {
    match metric {
        Metric::P50 => compared.centre_p_value,
        Metric::P99 => compared.tail_p_value,
        _ => None,
    }
}

fn shift(endpoint: &str, found: &Comparison, unit: &str, runs: [usize; 2]) -> RunShift {
    let metric = match found.metric {
        Metric::P50 => "p50",
        Metric::P95 => "p95",
        Metric::P99 => "p99",
        Metric::Mean => "mean",
        Metric::Rate => "rate",
        Metric::ErrorRate => "error_rate",
    };
    let count = |runs: usize| i64::try_from(runs).unwrap_or(i64::MAX);
    RunShift {
        endpoint: endpoint.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        median_a: None,
        median_b: None,
        shift: None,
        ci_lo: found.ci_lo_pct,
        ci_hi: found.ci_hi_pct,
        p_value: None,
        effect_pct: found.effect_pct,
        effect_lo_pct: found.ci_lo_pct,
        effect_hi_pct: found.ci_hi_pct,
        detectable_pct: found.detectable_pct,
        more_runs: found.more_runs,
        n_a: count(runs[0]),
        n_b: count(runs[1]),
        verdict: match found.verdict {
            RunVerdict::Regression => Verdict::Regression,
            RunVerdict::Improvement => Verdict::Improvement,
            RunVerdict::NoChange => Verdict::NoChange,
            RunVerdict::TooLittleData => Verdict::TooLittleData,
        },
    }
}
